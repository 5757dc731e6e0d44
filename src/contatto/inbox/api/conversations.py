"""Conversations and their messages in the API v1.3."""

from typing import Any, Final, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.accounts.store import list_ad_accounts
from contatto.channels.model import ChannelAccount
from contatto.inbox.actions.business import (
    MESSAGE_TYPES,
    business_open_id,
    load_business_account,
    load_business_conversation,
    show_sides,
    shown_id,
    source_of_message,
)
from contatto.inbox.model import Conversation, Message, Person
from contatto.inbox.store import conversations, messages, persons
from contatto.inbox.store.referrals import list_referrals
from contatto.kit.api_types import ApiModel, TextId, describe_query, read_query, request_id_of
from contatto.kit.db.tx import Tx
from contatto.kit.http import api_answer
from contatto.kit.timestamps import micros
from contatto.measurement.model import TouchKind
from contatto.measurement.store import list_measured_ads, list_touches_of
from contatto.ui.context import context_of

router: Final = APIRouter(prefix="/open_api/v1.3/business/message", tags=["Business messages"])


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


@router.get("/conversation/list/", openapi_extra=describe_query(ConversationQuery))
async def list_business_conversations(request: Request, caller: ApiCaller) -> Response:
    """List the conversations of an account, latest first.

    ``referral.ad`` holds every ad that the person came from, oldest first, with the time in seconds.
    """
    require(caller, Permission.READ_INBOX)
    query = read_query(request, ConversationQuery)

    def work(tx: Tx) -> dict[str, Any]:
        account = load_business_account(tx, caller.business_id, query.business_id)
        found = conversations.list_conversations_of_account(
            tx, caller.business_id, account.id, (query.cursor, query.limit + 1),
            is_answered=query.conversation_type == "SINGLE",
        )  # fmt: skip
        numbers = {each.id: str(each.number) for each in list_ad_accounts(tx, caller.business_id)}
        rows = [_show_conversation(tx, account, each, numbers) for each in found[: query.limit]]
        has_more = len(found) > query.limit
        cursor = query.cursor + len(rows)
        return {"conversations": rows, "has_more": has_more, "cursor": cursor}

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


@router.get("/content/list/", openapi_extra=describe_query(ContentQuery))
async def list_business_messages(request: Request, caller: ApiCaller) -> Response:
    """The messages of a conversation, latest first, 20 at most; ``cursor`` leads to earlier ones.

    What only the business sees, such as notices and notes, is never among them.
    """
    require(caller, Permission.READ_INBOX)
    query = read_query(request, ContentQuery)

    def work(tx: Tx) -> dict[str, Any]:
        account = load_business_account(tx, caller.business_id, query.business_id)
        conversation = load_business_conversation(tx, account, query.conversation_id)
        person = persons.load_person(tx, caller.business_id, conversation.person_id)
        found = messages.list_messages_before(
            tx, caller.business_id, conversation.id, query.cursor or None, query.limit + 1
        )
        shown = found[: query.limit]
        return {
            "messages": [_show_message(account, conversation, person, each) for each in shown],
            "participants": list(show_sides(account, person, found[0].sender).values()) if found else [],
            "has_more": len(found) > query.limit,
            "cursor": shown[-1].seq if shown else 0,
        }

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


def _show_conversation(
    tx: Tx, account: ChannelAccount, found: Conversation, numbers: dict[Any, str]
) -> dict[str, Any]:
    at_ms = micros(found.last_message_at) // 1_000 if found.last_message_at else 0
    return {
        "conversation_id": shown_id(account, found),
        "business_id": business_open_id(account),
        "update_time": at_ms,
        "up_time": at_ms,
        "referral": {"ad": _show_ads(tx, found, numbers), "short_link": []},
    }


def _show_ads(tx: Tx, found: Conversation, numbers: dict[Any, str]) -> list[dict[str, Any]]:
    """Each ad that was tapped on the way into the conversation, ours and others, oldest first."""
    touches = list_touches_of(tx, found.business_id, found.person_id)
    taps = [touch for touch in touches if touch.kind is TouchKind.CLICK]
    ads = list_measured_ads(tx, found.business_id, {touch.ad_id for touch in taps})
    rows = [
        {
            "advertiser_id": numbers.get(touch.ad_account_id, ""),
            "ad_id": str(ads[touch.ad_id].ad_number),
            "ad_name": ads[touch.ad_id].ad_name,
            "timestamp": touch.ts // 1_000_000,
            "embed_url": "",
        }
        for touch in taps
        if touch.ad_id in ads
    ]
    rows += [
        {
            "advertiser_id": "",
            "ad_id": str(each.ad_number),
            "ad_name": each.headline,
            "timestamp": micros(each.at) // 1_000_000,
            "embed_url": "",
        }
        for each in list_referrals(tx, found.business_id, found.id)
    ]
    return sorted(rows, key=lambda row: (row["timestamp"], row["ad_id"]))


def _show_message(
    account: ChannelAccount, conversation: Conversation, person: Person, message: Message
) -> dict[str, Any]:
    kind = MESSAGE_TYPES[message.kind]
    part: dict[str, Any] = {"text": {"body": message.text}} if kind == "TEXT" else {}
    if message.photo:
        part = {"image": {"media_id": message.photo}}
    return {
        "message_id": message.id,
        "conversation_id": shown_id(account, conversation),
        "message_type": kind,
        "timestamp": micros(message.at) // 1_000,
        **part,
        **show_sides(account, person, message.sender),
        "message_tag": {"source": source_of_message(message)},
    }
