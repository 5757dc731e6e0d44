"""Platform webhooks, the chat page's routes, and automatic messages."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from functools import partial
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType, field
from pydantic import BeforeValidator, Field
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from contatto.accounts.auth import DirectRoute, HotRoute, api_routes
from contatto.accounts.model import Access, Caller, Credential, Permission
from contatto.channels.actions import webhook_verify_token
from contatto.channels.connectors.webchat import WebchatDelivery
from contatto.channels.model import SERVED, ChannelAccount, ChannelApp, Connector, MessageKind, Platform
from contatto.channels.store import CONNECTORS, AppIndex, load_channel
from contatto.inbox import rules
from contatto.inbox.actions.incoming import conversation_id_of, message_id_of
from contatto.inbox.actions.replies import AutoMessageEdit, keep_account_automatic, numbered_messages
from contatto.inbox.actions.threads import business_open_id
from contatto.inbox.auth import ChatLimits, admit_newcomer, admit_sender, chat_visitor
from contatto.inbox.model import AutomaticKind, PreparedReply
from contatto.inbox.store import conversations, messages
from contatto.inbox.store.conversations import Backlog, receipt_row
from contatto.inbox.store.desk import load_automatic
from contatto.kit import errors
from contatto.kit.api_types import Answer, ApiId, ApiModel, IdText, TextId, json_answer, read_body
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_secret
from contatto.kit.values import JSON_ERRORS, micros, read_number
from contatto.measurement.rules import natural_number
from contatto.ui.live import HEARTBEAT, sse, sse_answer
from contatto.ui.render import iso
from contatto.ui.requests import context_of, part_of

_RECEIVED: Final = json_answer({"received": True})
"""Shared by all webhooks: middleware adds headers to the response, not to this object."""
_PLATFORMS: Final = {platform.value: platform for platform in Platform}
_MOST_UNSENT: Final = 40
_UNKNOWN_APP: Final = ChannelApp("", "", Platform.TIKTOK, new_secret("nobody"))
"""Unknown apps get the same answer as a wrong signature, so that ids cannot be guessed."""


class _ChatMessageBody(msgspec.Struct):
    client_message_id: str
    text: str


_message_decoder: Final = msgspec.json.Decoder(_ChatMessageBody)


class PhotoSize(Answer, frozen=True):
    width: int
    height: int


class FormOffer(Answer, frozen=True):
    page_id: str


class ChatMessage(Answer, frozen=True):
    """A message as the chat page shows it; a deleted picture is null."""

    seq: int
    id: str
    sender: str = field(name="from")
    text: str
    at: str
    photo: PhotoSize | UnsetType | None = UNSET
    form: FormOffer | UnsetType = UNSET


class ChatThread(Answer, frozen=True):
    messages: list[ChatMessage]
    read_at: str | None
    ids: dict[str, str]


async def receive_webhook(request: Request) -> Response:
    """Verify and store a platform's webhook, and answer; the worker processes it later."""
    context = context_of(request)
    connector, apps = await _list_apps(request)
    raw = await read_body(request)
    # Each app with a secret that signed the body gets the delivery; several businesses may share an app.
    at, tolerance = context.clock.now(), context.settings.webhook_tolerance_s
    signed, refusals = list[ChannelApp](), list[Refused]()
    for app in apps or [_UNKNOWN_APP]:
        try:
            connector.verify_signature(request.headers, raw, app.secret, at, tolerance)
            signed.append(app)
        except Refused as refused:
            refusals.append(refused)
    if not signed:
        raise next((refusal for refusal in refusals if refusal.code is errors.STALE), refusals[0])
    await part_of(request, Backlog).hold()
    # one body may hold several events: each is a delivery of its own, and all are kept before the answer
    pieces = connector.split(raw)
    stored = [
        _store_receipt(request, app.business_id, connector, piece) for app in signed for piece in pieces
    ]
    await (stored[0] if len(stored) == 1 else asyncio.gather(*stored))
    return _RECEIVED


async def answer_challenge(request: Request) -> Response:
    """Answer a platform's check that this address is ours, with the value that it sent."""
    connector, apps = await _list_apps(request)
    for app in apps:
        token = webhook_verify_token(context_of(request).vault, app)
        answer = connector.challenge(request.query_params, token)
        if answer is not None:
            return PlainTextResponse(answer)
    raise Refused(errors.NOT_FOUND, "The verify token is wrong, or this platform does not ask.")


async def _list_apps(request: Request) -> tuple[Connector, list[ChannelApp]]:
    """Return a webhook's connector, and the apps with the id of its address. Raises NOT_FOUND."""
    platform = _PLATFORMS.get(request.path_params["platform"])
    if platform is None:
        raise Refused(errors.NOT_FOUND, "There is no such platform.")
    apps = await part_of(request, AppIndex).list_named(request.path_params["app_id"])
    return CONNECTORS[platform], [app for app in apps if platform in SERVED[app.platform]]


def _store_receipt(request: Request, business_id: str, connector: Connector, raw: bytes) -> Awaitable[None]:
    """Store a delivery; it is durable, and sealed, once the returned value has been awaited."""
    context = context_of(request)
    row = partial(receipt_row, context.vault, business_id, connector, raw, context.clock.now())
    return part_of(request, Backlog).receipts.submit(row)


async def write_chat_message(request: Request) -> Response:
    """Take a customer's message from the chat page; the same ``client_message_id`` again changes nothing."""
    context = context_of(request)
    account, visitor = await chat_visitor(request)
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise Refused(errors.UNREADABLE, "Send JSON.")
    at = context.clock.now()
    try:
        written = _message_decoder.decode(await read_body(request))
    except JSON_ERRORS as error:
        raise Refused(errors.UNREADABLE, "Send client_message_id and text as JSON.") from error
    if not 0 < len(written.text.strip()) <= rules.TEXT_LIMIT:
        raise Refused(errors.INVALID, f"text: write 1 to {rules.TEXT_LIMIT} characters.")
    rules.check_client_id(written.client_message_id)
    part_of(request, ChatLimits).messages.check(f"{account.id}:{visitor}", at.timestamp())
    admit_sender(request, account)
    conversation_id = conversation_id_of(account, visitor)
    conversation_key = (account.business_id, conversation_id)
    if await context.db.read(lambda tx: conversations.find_conversation(tx, *conversation_key)) is None:
        await context.db.write(lambda tx: admit_newcomer(tx, request, account, conversation_id))
    delivery = WebchatDelivery(account.id, visitor, written.client_message_id, written.text, micros(at))
    body = msgspec.json.encode(delivery)
    await _store_receipt(request, account.business_id, CONNECTORS[Platform.WEBCHAT], body)
    message_id = message_id_of(account, f"{visitor}:{written.client_message_id}")
    return json_answer({"accepted": True, "message_id": message_id})


async def list_chat_messages(request: Request) -> Response:
    """Return the messages of the visitor's own thread, without notices for members.

    ``unsent`` are the page's ids of messages without a response; the answer names their ids in the thread,
    if they arrived.
    """
    context = context_of(request)
    account, visitor = await chat_visitor(request)
    after = read_number(request.query_params.get("after", "")) or 0
    unsent = request.query_params.get("unsent", "").split(",")[:_MOST_UNSENT]
    ids = {
        client_id: message_id_of(account, f"{visitor}:{client_id}")
        for client_id in unsent
        if 8 <= len(client_id) <= 64
    }
    thread_ids = account.business_id, conversation_id_of(account, visitor)
    conversation, new_messages = await context.db.read(
        lambda tx: (
            conversations.find_conversation(tx, *thread_ids),
            show_new_messages(tx, account, thread_ids[1], after),
        )
    )
    read_at = conversation.business_read_at if conversation else None
    return json_answer(ChatThread(new_messages, iso(read_at) if read_at else None, ids))


async def stream_chat(request: Request) -> Response:
    """Stream the visitor's thread as events: ``message``, ``read`` by the business, ``typing``."""
    context = context_of(request)
    account, visitor = await chat_visitor(request)
    last = read_number(request.query_params.get("after", "")) or 0
    ids = account.business_id, conversation_id_of(account, visitor)

    async def follow() -> AsyncIterator[str]:
        nonlocal last
        yield "retry: 1000\n\n"
        async for event in context.live.follow(account.business_id, None):
            if event is None:
                yield HEARTBEAT
            elif ids[1] not in event.payload:
                continue
            elif event.name == "member_typing":
                yield sse("typing", "{}")
            elif event.name == "conversation_read":
                conversation = await context.db.read(lambda tx: conversations.find_conversation(tx, *ids))
                read_at = conversation.business_read_at if conversation else None
                values = {"read_at": iso(read_at) if read_at else None}
                yield sse("read", msgspec.json.encode(values).decode())
            elif event.name in ("message_sent", "message_received"):
                read_new = partial(show_new_messages, account=account, conversation_id=ids[1], last=last)
                for message in await context.db.read(read_new):
                    last = max(last, message.seq)
                    yield sse("message", msgspec.json.encode(message).decode())

    return sse_answer(follow())


def show_new_messages(tx: Tx, account: ChannelAccount, conversation_id: str, last: int) -> list[ChatMessage]:
    """Return the messages after the sequence number ``last``, as the chat page shows them."""
    chat_messages = messages.list_messages_after(tx, account.business_id, conversation_id, last)
    photos = messages.list_photos(tx, account.business_id, chat_messages)
    sizes = {digest: PhotoSize(photo.width, photo.height) for digest, photo in photos.items()}
    return [
        ChatMessage(
            message.seq,
            message.id,
            message.sender.value,
            message.text,
            iso(message.at),
            sizes.get(message.photo or "") if message.kind is MessageKind.PHOTO else UNSET,
            FormOffer(message.form) if message.form else UNSET,
        )
        for message in chat_messages
    ]


routes = [
    DirectRoute("POST", "/webhooks/{platform}/{app_id}", receive_webhook, Access(Credential.PLATFORM)),
    HotRoute("GET", "/webhooks/{platform}/{app_id}", answer_challenge, Access(Credential.PLATFORM)),
    HotRoute("GET", "/chat/{account_id}/messages", list_chat_messages, Access(Credential.VISITOR)),
    DirectRoute("POST", "/chat/{account_id}/messages", write_chat_message, Access(Credential.VISITOR)),
    HotRoute("GET", "/chat/{account_id}/stream", stream_chat, Access(Credential.VISITOR)),
]


router: Final = api_routes("Business messages", "/business/message/auto_message")


class AutoWelcome(ApiModel):
    content: str


class AutoQuestion(ApiModel):
    question: str
    answer: str


class Prompt(ApiModel):
    title: str
    content: str


class OfKind(ApiModel):
    """``business_id`` is a channel account: its id on the platform, or the one of Settings."""

    business_id: TextId
    auto_message_type: AutomaticKind


class MessageBody(OfKind):
    """The part that fits the type.

    A welcome has 250 characters at most, a question 80 and its answer 200, the title of a prompt 18 and its
    content 150.
    """

    welcome_message: AutoWelcome | None = None
    suggested_question: AutoQuestion | None = None
    chat_prompt: Prompt | None = None


class ChangeBody(MessageBody):
    auto_message_id: ApiId


class OneBody(OfKind):
    auto_message_id: ApiId


class SortBody(OfKind):
    """The message that comes first, or several in their order."""

    auto_message_id: Annotated[
        list[ApiId],
        BeforeValidator(lambda ids: ids if isinstance(ids, list) else [ids]),
        Field(min_length=1, max_length=10),
    ]


class StatusBody(OfKind):
    operation_status: Literal["ENABLE", "DISABLE"]


class AutoQuery(OfKind):
    auto_message_id: ApiId | None = None


class AutoMessageId(Answer, frozen=True):
    auto_message_id: IdText


class ChangedAutoMessage(Answer, frozen=True):
    """The message that was changed; nothing when all of a type were."""

    auto_message: AutoMessageId | UnsetType = UNSET


class WelcomeContent(Answer, frozen=True):
    content: str


class QuestionContent(Answer, frozen=True):
    question: str
    answer: str


class PromptContent(Answer, frozen=True):
    title: str
    content: str


class AutoMessageInfo(Answer, frozen=True):
    """A message, with the part of its type."""

    auto_message_id: IdText
    auto_message_type: AutomaticKind
    audit_status: Literal["APPROVED"] = "APPROVED"
    welcome_message: WelcomeContent | UnsetType = UNSET
    suggested_question: QuestionContent | UnsetType = UNSET
    chat_prompt: PromptContent | UnsetType = UNSET


class AutoMessages(Answer, frozen=True):
    business_id: str
    operation_status: Literal["ENABLE", "DISABLE"]
    auto_messages: list[AutoMessageInfo]


@router.transact("/create/", Permission.WRITE_INBOX)
def create_business_auto_message(tx: Tx, caller: Caller, body: MessageBody) -> ChangedAutoMessage:
    """Add a welcome message, one of 3 suggested questions, or one of 6 chat prompts.

    They take effect on the chat pages of this installation; for accounts of platforms they are kept and
    shown, and what the platform sends by itself is set there. Keyword replies are set in Settings alone.
    """
    new = _read_reply(body)
    edit = AutoMessageEdit(tx, caller.business_id, body.business_id, body.auto_message_type)
    if any(message.ask == new.ask for message in edit.messages.values()):
        says = "%(name)s: this account already has one. Update it, or delete it first."
        raise Refused(errors.INVALID, says, name=edit.part)
    edit.save([*edit.messages.values(), new])
    number = natural_number(edit.account.id, body.auto_message_type, new.ask)
    return ChangedAutoMessage(AutoMessageId(str(number)))


@router.transact("/update/", Permission.WRITE_INBOX)
def update_business_auto_message(tx: Tx, caller: Caller, body: ChangeBody) -> ChangedAutoMessage:
    """Change a message; it keeps its id and its place."""
    number, new = body.auto_message_id, _read_reply(body)
    edit = AutoMessageEdit(tx, caller.business_id, body.business_id, body.auto_message_type)
    edit.check([number])
    changed = [*(edit.messages | {number: replace(new, number=number)}).values()]
    if sum(message.ask == new.ask for message in changed) > 1:
        raise Refused(errors.INVALID, "%(name)s: this account already has one.", name=edit.part)
    edit.save(changed)
    return ChangedAutoMessage(AutoMessageId(str(number)))


@router.transact("/delete/", Permission.WRITE_INBOX)
def delete_business_auto_message(tx: Tx, caller: Caller, body: OneBody) -> ChangedAutoMessage:
    """Take a message away."""
    edit = AutoMessageEdit(tx, caller.business_id, body.business_id, body.auto_message_type)
    edit.check([body.auto_message_id])
    edit.save([message for number, message in edit.messages.items() if number != body.auto_message_id])
    return ChangedAutoMessage(AutoMessageId(str(body.auto_message_id)))


@router.transact("/sort/", Permission.WRITE_INBOX)
def sort_business_auto_messages(tx: Tx, caller: Caller, body: SortBody) -> ChangedAutoMessage:
    """Put a question or a prompt first, or several in their order; the others follow as they were."""
    edit = AutoMessageEdit(tx, caller.business_id, body.business_id, body.auto_message_type)
    edit.check(body.auto_message_id)
    numbers = dict.fromkeys([*body.auto_message_id, *edit.messages])
    edit.save([edit.messages[number] for number in numbers])
    return ChangedAutoMessage(AutoMessageId(str(body.auto_message_id[0])))


@router.transact("/status/update/", Permission.WRITE_INBOX)
def update_auto_message_status(tx: Tx, caller: Caller, body: StatusBody) -> ChangedAutoMessage:
    """Turn all messages of a type on or off."""
    account = load_channel(tx, caller.business_id, body.business_id)
    content, revision = load_automatic(tx, account.business_id, account.id)
    off = set(content.off) - {body.auto_message_type.value}
    if body.operation_status == "DISABLE":  # disabled messages stay stored
        off.add(body.auto_message_type.value)
    keep_account_automatic(tx, account, replace(content, off=tuple(sorted(off))), revision)
    return ChangedAutoMessage()


@router.transact("/get/", Permission.READ_INBOX)
def get_business_auto_messages(tx: Tx, caller: Caller, query: AutoQuery) -> AutoMessages:
    """List the messages of a type, in their order; each is approved at once, without a moderator."""
    account = load_channel(tx, caller.business_id, query.business_id)
    content, _ = load_automatic(tx, account.business_id, account.id)
    messages_by_number = numbered_messages(account, content, query.auto_message_type)
    kind = query.auto_message_type
    shown = [
        AutoMessageInfo(
            str(number),
            kind,
            welcome_message=WelcomeContent(reply.say) if kind is AutomaticKind.WELCOME else UNSET,
            suggested_question=QuestionContent(reply.ask, reply.say)
            if kind is AutomaticKind.QUESTION
            else UNSET,
            chat_prompt=PromptContent(reply.ask, reply.say) if kind is AutomaticKind.PROMPT else UNSET,
        )
        for number, reply in messages_by_number.items()
        if query.auto_message_id in (None, number)
    ]
    status: Literal["ENABLE", "DISABLE"]
    status = "DISABLE" if query.auto_message_type in content.off else "ENABLE"
    return AutoMessages(business_open_id(account), status, shown)


def _read_reply(body: MessageBody) -> PreparedReply:
    """Return the part of a body for its type. Raises Refused: INVALID, naming a missing part."""
    if body.auto_message_type is AutomaticKind.WELCOME and body.welcome_message:
        if not body.welcome_message.content.strip():
            raise Refused(errors.INVALID, "welcome_message.content: write something.")
        return PreparedReply("", body.welcome_message.content.strip())
    if body.auto_message_type is AutomaticKind.QUESTION and body.suggested_question:
        return PreparedReply(body.suggested_question.question.strip(), body.suggested_question.answer.strip())
    if body.auto_message_type is AutomaticKind.PROMPT and body.chat_prompt:
        return PreparedReply(body.chat_prompt.title.strip(), body.chat_prompt.content.strip())
    name = body.auto_message_type.value.lower()
    raise Refused(
        errors.INVALID, f"{name}: it is needed with auto_message_type {body.auto_message_type.value}."
    )
