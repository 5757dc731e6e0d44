"""Conversations, messages and sending in the API v1.3."""

from datetime import timedelta
from typing import Annotated, Final, Literal
from urllib.parse import quote

from fastapi import File, Form, UploadFile
from msgspec import UNSET, Meta, UnsetType
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from contatto.accounts.auth import ApiCaller, HotRoute, api_routes
from contatto.accounts.model import Access, BusinessId, Caller, Credential, Permission, ReadAudit
from contatto.accounts.store import is_token_live, list_ad_accounts
from contatto.channels.model import Platform
from contatto.channels.store import CONNECTORS, load_channel
from contatto.inbox import rules
from contatto.inbox.actions import threads
from contatto.inbox.actions.replies import send_reply
from contatto.inbox.model import MemberTyping, Message
from contatto.inbox.rules import TEXT_LIMIT
from contatto.inbox.store import conversations, desk, messages
from contatto.inbox.store.messages import find_message, list_photos, list_referrals, photos
from contatto.kit import api_types, errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused, check_found
from contatto.kit.ids import new_id
from contatto.kit.untrusted_files import PICTURE_LIMIT
from contatto.kit.values import micros
from contatto.ui.requests import context_of

router: Final = api_routes("Business messages", "/business/message")


class ConversationQuery(api_types.ApiModel):
    """STRANGER: the business has not answered yet; SINGLE: it has."""

    business_id: api_types.TextId
    conversation_type: Literal["STRANGER", "SINGLE"]
    limit: int = Field(100, ge=1, le=100)
    cursor: int = Field(0, ge=0, le=1_000_000)


class ContentQuery(api_types.ApiModel):
    business_id: api_types.TextId
    conversation_id: api_types.TextId
    limit: int = Field(20, ge=1, le=20)
    cursor: int = Field(0, ge=0, le=(1 << 63) - 1)


class AdReferralInfo(api_types.Answer, frozen=True):
    """An ad that led into the conversation; ``advertiser_id`` is empty for an unknown ad account."""

    advertiser_id: str
    ad_id: str
    ad_name: str
    timestamp: Annotated[int, Meta(description="Seconds since 1970, UTC.")]
    embed_url: str


class ReferralInfo(api_types.Answer, frozen=True):
    ad: list[AdReferralInfo]
    short_link: list[str]


class ConversationInfo(api_types.Answer, frozen=True):
    conversation_id: str
    business_id: str
    update_time: Annotated[int, Meta(description="Milliseconds since 1970, UTC.")]
    up_time: int
    referral: ReferralInfo


class ConversationList(api_types.Answer, frozen=True):
    conversations: list[ConversationInfo]
    has_more: bool
    cursor: int


class TextContent(api_types.Answer, frozen=True):
    body: str


class ImageContent(api_types.Answer, frozen=True):
    media_id: str


class MessageTag(api_types.Answer, frozen=True):
    source: threads.MessageSource


class MessageInfo(api_types.Answer, frozen=True, kw_only=True):
    """A message, with the part that its type has."""

    message_id: str
    conversation_id: str
    message_type: threads.MessageType
    timestamp: Annotated[int, Meta(description="Milliseconds since 1970, UTC.")]
    text: TextContent | UnsetType = UNSET
    image: ImageContent | UnsetType = UNSET
    from_user: threads.SideInfo
    to_user: threads.SideInfo
    message_tag: MessageTag


class MessageList(api_types.Answer, frozen=True):
    messages: list[MessageInfo]
    participants: list[threads.SideInfo]
    has_more: bool
    cursor: int


@router.transact("/conversation/list/", Permission.READ_INBOX)
def list_business_conversations(tx: Tx, caller: Caller, query: ConversationQuery) -> ConversationList:
    """List the conversations of an account, latest first.

    ``referral.ad`` holds every ad that the person came from, oldest first, with the time in seconds.
    """
    account = load_channel(tx, caller.business_id, query.business_id)
    matching_conversations = desk.list_conversations_of_account(
        tx, caller.business_id, account.id, (query.cursor, query.limit + 1),
        is_answered=query.conversation_type == "SINGLE",
    )  # fmt: skip
    numbers: dict[str, str] = {
        ad_account.id: str(ad_account.number) for ad_account in list_ad_accounts(tx, caller.business_id)
    }
    rows = []
    for conversation in matching_conversations[: query.limit]:
        at_ms = micros(conversation.last_message_at) // 1_000 if conversation.last_message_at else 0
        # The ads that the person clicked, ours and external ones, oldest first.
        ads = [
            AdReferralInfo(
                numbers.get(touch.ad_account_id, ""), str(ad.ad_number), ad.ad_name, touch.ts // 1_000_000, ""
            )
            for touch, ad in threads.list_own_taps(tx, conversation)
        ]
        for tap in list_referrals(tx, conversation.business_id, conversation.id):
            at_s = micros(tap.at) // 1_000_000
            ads.append(AdReferralInfo(tap.advertiser, str(tap.ad_number), tap.headline, at_s, ""))
        referral = ReferralInfo(sorted(ads, key=lambda ad: (ad.timestamp, ad.ad_id)), [])
        ids = threads.shown_id(account, conversation), threads.business_open_id(account)
        rows.append(ConversationInfo(*ids, at_ms, at_ms, referral))
    has_more = len(matching_conversations) > query.limit
    cursor = query.cursor + len(rows)
    return ConversationList(rows, has_more, cursor)


@router.transact("/content/list/", Permission.READ_INBOX, ReadAudit.FOLDED)
def list_business_messages(tx: Tx, caller: Caller, query: ContentQuery) -> MessageList:
    """List the messages of a conversation, latest first, 20 at most; ``cursor`` leads to earlier ones.

    What only the business sees, such as notices and notes, is never among them.
    """
    account = load_channel(tx, caller.business_id, query.business_id)
    conversation = threads.load_business_conversation(tx, account, query.conversation_id)
    person = conversations.load_person(tx, caller.business_id, conversation.person_id)
    matching_messages = messages.list_messages(
        tx, caller.business_id, conversation.id, query.limit + 1, query.cursor or None
    )[::-1]
    shown = matching_messages[: query.limit]
    shown_messages: list[MessageInfo] = []
    for message in shown:
        kind = threads.MESSAGE_TYPES[message.kind]
        sides = threads.show_sides(account, person, message.sender)
        is_text = kind == "TEXT" and not message.photo
        shown_messages.append(
            MessageInfo(
                message_id=message.id,
                conversation_id=threads.shown_id(account, conversation),
                message_type=kind,
                timestamp=micros(message.at) // 1_000,
                text=TextContent(message.text) if is_text else UNSET,
                image=ImageContent(message.photo) if message.photo else UNSET,
                from_user=sides.from_user,
                to_user=sides.to_user,
                message_tag=MessageTag(threads.source_of_message(message)),
            )
        )
    return MessageList(
        messages=shown_messages,
        participants=[*threads.show_sides(account, person, matching_messages[0].sender)]
        if matching_messages
        else [],
        has_more=len(matching_messages) > query.limit,
        cursor=shown[-1].seq if shown else 0,
    )


_BUTTON_LIMITS: Final = {"QA_BUTTON_CARD": 20, "QA_LINK_CARD": 40}


class TextPart(api_types.ApiModel):
    body: Annotated[str, Field(min_length=1, max_length=TEXT_LIMIT)]


class ImagePart(api_types.ApiModel):
    media_id: Annotated[str, Field(max_length=64)]


class Button(api_types.ApiModel):
    type: Literal["REPLY"] = "REPLY"
    title: Annotated[str, Field(min_length=1, max_length=40)]
    id: Annotated[str, Field(max_length=40)] = ""


class Template(api_types.ApiModel):
    """A question with 1 to 3 answers; here it is sent as a text with numbered lines."""

    type: Literal["QA_BUTTON_CARD", "QA_LINK_CARD"]
    title: Annotated[str, Field(min_length=1, max_length=40)]
    buttons: Annotated[list[Button], Field(min_length=1, max_length=3)]


class SharedPost(api_types.ApiModel):
    """A post of the account; here it is sent as a text with its address."""

    item_id: api_types.ApiId


class SendBody(api_types.ApiModel):
    """``business_id`` is a channel account: its id on the platform, or the one of Settings."""

    business_id: api_types.TextId
    recipient_type: Literal["CONVERSATION"] = "CONVERSATION"
    recipient: api_types.TextId
    message_type: Literal["TEXT", "IMAGE", "SHARE_POST", "TEMPLATE", "SENDER_ACTION"]
    text: TextPart | None = None
    image: ImagePart | None = None
    share_post: SharedPost | None = None
    template: Template | None = None
    sender_action: Literal["TYPING", "MARK_READ"] | None = None


class CapabilityQuery(api_types.ApiModel):
    business_id: api_types.TextId
    conversation_id: api_types.TextId
    conversation_type: Literal["STRANGER", "SINGLE"] = "SINGLE"
    capability_types: api_types.JsonText[
        Annotated[list[Literal["IMAGE_SEND"]], Field(min_length=1, max_length=10)]
    ]


class MessageId(api_types.Answer, frozen=True):
    """Empty after a SENDER_ACTION, which sends no message."""

    message_id: str


class SentMessage(api_types.Answer, frozen=True):
    message: MessageId


class MediaInfo(api_types.Answer, frozen=True):
    media_id: str
    media_type: Literal["IMAGE"]


class CapabilityInfo(api_types.Answer, frozen=True):
    capability_type: Literal["IMAGE_SEND"]
    capability_result: bool


class Capabilities(api_types.Answer, frozen=True):
    capability_infos: list[CapabilityInfo]


@router.post("/send/", Permission.WRITE_INBOX)
async def send_business_message(
    request: Request, caller: ApiCaller, body: SendBody
) -> api_types.Answered[SentMessage]:
    """Send a message into a conversation.

    A business cannot write first. On TikTok it may send 10 messages within 48 hours of the person's last
    one; the eleventh is refused with code 40064, a later one with 40002. ``SENDER_ACTION`` sends no message,
    and its ``message_id`` is empty. A template and a shared post leave as texts.
    """
    # Refuse a message without the part that its type needs, or with a button that is too long.
    name = body.message_type.lower()
    if getattr(body, name) is None:
        raise Refused(errors.INVALID, f"{name}: it is needed with message_type {body.message_type}.")
    if body.message_type == "TEMPLATE" and body.template is not None:
        most = _BUTTON_LIMITS[body.template.type]
        if any(len(button.title) > most for button in body.template.buttons):
            raise Refused(errors.INVALID, f"template.buttons.title: write {most} characters at most.")
    context = context_of(request)
    business_id, is_action = caller.business_id, body.message_type == "SENDER_ACTION"
    is_typing = is_action and body.sender_action == "TYPING"

    def work(tx: Tx) -> str:
        """Return the id of the message, or for an action that of the conversation."""
        account = load_channel(tx, business_id, body.business_id)
        conversation = threads.load_business_conversation(tx, account, body.recipient)
        if is_action:
            if body.sender_action == "MARK_READ":
                threads.note_conversation_read(tx, business_id, conversation.id)
            return conversation.id
        photo = body.image.media_id if body.message_type == "IMAGE" and body.image else None
        text = body.text.body if body.message_type == "TEXT" and body.text else ""
        if body.message_type == "TEMPLATE" and body.template is not None:
            answers = [f"{number}. {button.title}" for number, button in enumerate(body.template.buttons, 1)]
            text = "\n".join([body.template.title, *answers])
        if body.message_type == "SHARE_POST" and body.share_post is not None:
            name = account.handle.removeprefix("@") if account.platform is Platform.TIKTOK else ""
            text = f"https://www.tiktok.com/@{quote(name)}/video/{body.share_post.item_id}"
        message = Message.of_business(new_id(), conversation.id, text, tx.now, caller.display_name, photo)
        if photo is not None and photo not in list_photos(tx, business_id, [message]):
            raise Refused(errors.NOT_FOUND, "image.media_id: there is no such picture; upload it first.")
        return send_reply(tx, business_id, conversation.id, message).id

    sent_id = await (context.db.read(work) if is_typing else context.db.write(work))
    if is_typing:
        typing = MemberTyping(business_id, sent_id, caller.subject_id, caller.display_name)
        context.live.broadcast_transient(business_id, typing)
    return api_types.api_answer(
        SentMessage(MessageId("" if is_action else sent_id)), api_types.request_id_of(request)
    )


@router.post("/media/upload/", Permission.WRITE_INBOX)
async def upload_business_media(
    request: Request,
    caller: ApiCaller,
    business_id: Annotated[api_types.TextId, Form()],
    file: Annotated[
        UploadFile, File(description="A picture; it is written anew, without what it says of its maker.")
    ],
    media_type: Annotated[Literal["IMAGE"], Form()] = "IMAGE",
) -> api_types.Answered[MediaInfo]:
    """Upload a picture; its ``media_id`` is good for a day, or as long as a message shows it."""
    context = context_of(request)
    await context.db.read(lambda tx: load_channel(tx, caller.business_id, business_id))
    if (file.size or 0) > PICTURE_LIMIT:
        raise Refused(errors.PHOTO_TOO_LARGE)
    picture = await context.uploads.remake(await file.read(), caller.subject_id)
    media_id = await context.db.write(lambda tx: photos.save(tx, caller.business_id, picture))
    return api_types.api_answer(MediaInfo(media_id, media_type), api_types.request_id_of(request))


@router.transact("/capabilities/get/", Permission.READ_INBOX)
def get_capabilities(tx: Tx, caller: Caller, query: CapabilityQuery) -> Capabilities:
    """Return whether an account can send pictures into a conversation."""
    account = load_channel(tx, caller.business_id, query.business_id)
    threads.load_business_conversation(tx, account, query.conversation_id)
    takes_photos = CONNECTORS[account.platform].dialect.takes_photos
    return Capabilities([CapabilityInfo(name, takes_photos) for name in query.capability_types])


MEDIA_KEY: Final = "media links"
LINK: Final = timedelta(minutes=10)
_SAFE: Final = {"Content-Security-Policy": "default-src 'none'; sandbox", "Cache-Control": "no-store"}


class MediaBody(api_types.ApiModel):
    """``media_id`` is what a message of the conversation names as its picture."""

    business_id: api_types.TextId
    conversation_id: api_types.TextId
    message_id: api_types.TextId
    media_id: Annotated[str, Field(min_length=1, max_length=64)]
    media_type: Literal["IMAGE", "VIDEO"] = "IMAGE"


class MediaLink(api_types.Answer, frozen=True):
    download_url: str


@router.post("/media/download/", Permission.READ_INBOX, ReadAudit.EACH)
async def download_business_media(
    request: Request, caller: ApiCaller, body: MediaBody
) -> api_types.Answered[MediaLink]:
    """Return a link to the picture of a message. It works without a token.

    It is good for ten minutes, and no longer than the access token that asked for it.
    """
    context, business_id = context_of(request), caller.business_id
    account = await context.db.read(lambda tx: load_channel(tx, business_id, body.business_id))
    conversation = await context.db.read(
        lambda tx: threads.load_business_conversation(tx, account, body.conversation_id)
    )
    message = await context.db.read(lambda tx: find_message(tx, business_id, body.message_id))
    if message is None or message.conversation_id != conversation.id:
        raise Refused(errors.NOT_FOUND, "message_id: there is no such message in this conversation.")
    pictures = await context.db.read(lambda tx: list_photos(tx, business_id, [message]))
    if body.media_id not in pictures:
        raise Refused(errors.NOT_FOUND, "media_id: this message has no such picture.")
    until = int((context.clock.now() + LINK).timestamp())
    signer = context.vault.signer(MEDIA_KEY)
    token = rules.media_token(business_id, caller.subject_id, body.media_id, until, signer)
    url = f"{context.settings.base_url}/media?token={quote(token)}"
    return api_types.api_answer(MediaLink(url), api_types.request_id_of(request))


async def send_media(request: Request) -> Response:
    """Return the picture of a link that we signed. Raises Refused: UNSIGNED, LINK_EXPIRED, NOT_FOUND."""
    context = context_of(request)
    signer = context.vault.signer(MEDIA_KEY)
    now_s = int(context.clock.now().timestamp())
    token = request.query_params.get("token", "")
    business_id, holder, digest = rules.read_media_token(token, now_s, signer)
    if not await context.db.read(lambda tx: is_token_live(tx, BusinessId(business_id), holder)):
        raise Refused(errors.LINK_EXPIRED, "The access token that asked for it was revoked.")
    photo = await context.db.read(lambda tx: photos.find(tx, business_id, digest))
    media_type, picture = check_found(photo, "There is no such picture any more.")
    return Response(picture, media_type=media_type, headers=_SAFE)


routes = [HotRoute("GET", "/media", send_media, Access(Credential.ADDRESS))]
