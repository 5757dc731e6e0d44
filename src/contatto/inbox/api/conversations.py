"""Conversations and their messages in the API v1.3."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType
from pydantic import Field
from starlette.requests import Request

from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.accounts.store import list_ad_accounts
from contatto.channels.model import ChannelAccount
from contatto.inbox.actions.threads import (
    MESSAGE_TYPES,
    MessageSource,
    MessageType,
    SideInfo,
    business_open_id,
    load_business_account,
    load_business_conversation,
    show_sides,
    shown_id,
    source_of_message,
)
from contatto.inbox.model import Conversation, Message, Person
from contatto.inbox.store import conversations, messages
from contatto.inbox.store.receipts import list_referrals
from contatto.kit.api_types import Answer, ApiModel, TextId, describe_query, read_query, request_id_of
from contatto.kit.db.tx import Tx
from contatto.kit.http import Answered, api_answer
from contatto.kit.openapi import ApiRouter
from contatto.kit.timestamps import micros
from contatto.measurement.model import TouchKind
from contatto.measurement.store import list_measured_ads, list_touches_of
from contatto.ui.context import context_of

router: Final = ApiRouter(prefix="/open_api/v1.3/business/message", tags=["Business messages"])


class ConversationQuery(ApiModel):
    """STRANGER: the business has not answered yet; SINGLE: it has."""

    business_id: TextId
    conversation_type: Literal["STRANGER", "SINGLE"]
    limit: int = Field(100, ge=1, le=100)
    cursor: int = Field(0, ge=0, le=1_000_000)


class ContentQuery(ApiModel):
    business_id: TextId
    conversation_id: TextId
    limit: int = Field(20, ge=1, le=20)
    cursor: int = Field(0, ge=0, le=(1 << 63) - 1)


class AdReferralInfo(Answer, frozen=True):
    """An ad that led into the conversation; the ad account is empty for one that is not of this house."""

    advertiser_id: str
    ad_id: str
    ad_name: str
    timestamp: Annotated[int, Meta(description="Seconds since 1970, UTC.")]
    embed_url: str


class ReferralInfo(Answer, frozen=True):
    ad: list[AdReferralInfo]
    short_link: list[str]


class ConversationInfo(Answer, frozen=True):
    conversation_id: str
    business_id: str
    update_time: Annotated[int, Meta(description="Milliseconds since 1970, UTC.")]
    up_time: int
    referral: ReferralInfo


class ConversationList(Answer, frozen=True):
    conversations: list[ConversationInfo]
    has_more: bool
    cursor: int


class TextContent(Answer, frozen=True):
    body: str


class ImageContent(Answer, frozen=True):
    media_id: str


class MessageTag(Answer, frozen=True):
    source: MessageSource


class MessageInfo(Answer, frozen=True, kw_only=True):
    """A message, with the part that its type has."""

    message_id: str
    conversation_id: str
    message_type: MessageType
    timestamp: Annotated[int, Meta(description="Milliseconds since 1970, UTC.")]
    text: TextContent | UnsetType = UNSET
    image: ImageContent | UnsetType = UNSET
    from_user: SideInfo
    to_user: SideInfo
    message_tag: MessageTag


class MessageList(Answer, frozen=True):
    messages: list[MessageInfo]
    participants: list[SideInfo]
    has_more: bool
    cursor: int


@router.get("/conversation/list/", openapi_extra=describe_query(ConversationQuery))
async def list_business_conversations(request: Request, caller: ApiCaller) -> Answered[ConversationList]:
    """List the conversations of an account, latest first.

    ``referral.ad`` holds every ad that the person came from, oldest first, with the time in seconds.
    """
    require(caller, Permission.READ_INBOX)
    query = read_query(request, ConversationQuery)

    def work(tx: Tx) -> ConversationList:
        account = load_business_account(tx, caller.business_id, query.business_id)
        matching_conversations = conversations.list_conversations_of_account(
            tx, caller.business_id, account.id, (query.cursor, query.limit + 1),
            is_answered=query.conversation_type == "SINGLE",
        )  # fmt: skip
        numbers: dict[str, str] = {
            conversation.id: str(conversation.number)
            for conversation in list_ad_accounts(tx, caller.business_id)
        }
        rows = [
            _show_conversation(tx, account, conversation, numbers)
            for conversation in matching_conversations[: query.limit]
        ]
        has_more = len(matching_conversations) > query.limit
        cursor = query.cursor + len(rows)
        return ConversationList(rows, has_more, cursor)

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


@router.get("/content/list/", openapi_extra=describe_query(ContentQuery))
async def list_business_messages(request: Request, caller: ApiCaller) -> Answered[MessageList]:
    """The messages of a conversation, latest first, 20 at most; ``cursor`` leads to earlier ones.

    What only the business sees, such as notices and notes, is never among them.
    """
    require(caller, Permission.READ_INBOX)
    query = read_query(request, ContentQuery)

    def work(tx: Tx) -> MessageList:
        account = load_business_account(tx, caller.business_id, query.business_id)
        conversation = load_business_conversation(tx, account, query.conversation_id)
        person = conversations.load_person(tx, caller.business_id, conversation.person_id)
        matching_messages = messages.list_messages_before(
            tx, caller.business_id, conversation.id, query.cursor or None, query.limit + 1
        )
        shown = matching_messages[: query.limit]
        return MessageList(
            messages=[_show_message(account, conversation, person, message) for message in shown],
            participants=[*show_sides(account, person, matching_messages[0].sender)]
            if matching_messages
            else [],
            has_more=len(matching_messages) > query.limit,
            cursor=shown[-1].seq if shown else 0,
        )

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


def _show_conversation(
    tx: Tx, account: ChannelAccount, conversation: Conversation, numbers: Mapping[str, str]
) -> ConversationInfo:
    at_ms = micros(conversation.last_message_at) // 1_000 if conversation.last_message_at else 0
    return ConversationInfo(
        conversation_id=shown_id(account, conversation),
        business_id=business_open_id(account),
        update_time=at_ms,
        up_time=at_ms,
        referral=ReferralInfo(_show_ads(tx, conversation, numbers), []),
    )


def _show_ads(tx: Tx, conversation: Conversation, numbers: Mapping[str, str]) -> list[AdReferralInfo]:
    """Each ad that was tapped on the way into the conversation, ours and others, oldest first."""
    touches = list_touches_of(tx, conversation.business_id, conversation.person_id)
    taps = [touch for touch in touches if touch.kind is TouchKind.CLICK]
    ads = list_measured_ads(tx, conversation.business_id, {touch.ad_id for touch in taps})
    rows = [
        AdReferralInfo(
            advertiser_id=numbers.get(touch.ad_account_id, ""),
            ad_id=str(ads[touch.ad_id].ad_number),
            ad_name=ads[touch.ad_id].ad_name,
            timestamp=touch.ts // 1_000_000,
            embed_url="",
        )
        for touch in taps
        if touch.ad_id in ads and not ads[touch.ad_id].is_outside  # these are told of below
    ]
    rows += [
        AdReferralInfo(
            referral.advertiser,
            str(referral.ad_number),
            referral.headline,
            micros(referral.at) // 1_000_000,
            "",
        )
        for referral in list_referrals(tx, conversation.business_id, conversation.id)
    ]
    return sorted(rows, key=lambda row: (row.timestamp, row.ad_id))


def _show_message(
    account: ChannelAccount, conversation: Conversation, person: Person, message: Message
) -> MessageInfo:
    kind = MESSAGE_TYPES[message.kind]
    sides = show_sides(account, person, message.sender)
    is_text = kind == "TEXT" and not message.photo
    return MessageInfo(
        message_id=message.id,
        conversation_id=shown_id(account, conversation),
        message_type=kind,
        timestamp=micros(message.at) // 1_000,
        text=TextContent(message.text) if is_text else UNSET,
        image=ImageContent(message.photo) if message.photo else UNSET,
        from_user=sides.from_user,
        to_user=sides.to_user,
        message_tag=MessageTag(source_of_message(message)),
    )
