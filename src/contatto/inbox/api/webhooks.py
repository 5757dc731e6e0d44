"""The routes of the inbox: platform webhooks and the chat page's own API, both in plain Starlette."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType, field
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from contatto.channels.actions import webhook_verify_token
from contatto.channels.connectors.webchat import WebchatDelivery
from contatto.channels.model import ChannelAccount, ChannelApp, Connector, MessageKind, Platform
from contatto.channels.registry import CONNECTORS, AppIndex
from contatto.channels.rules import serves_platform
from contatto.inbox import rules
from contatto.inbox.actions.incoming import Backlog
from contatto.inbox.actions.threads import conversation_id_of, message_id_of
from contatto.inbox.auth import ChatLimits, admit_newcomer, admit_sender, chat_visitor
from contatto.inbox.model import Message, Photo
from contatto.inbox.store import conversations, messages
from contatto.inbox.store.receipts import APPEND_RECEIPT, seal_receipt
from contatto.kit import errors
from contatto.kit.api_types import Answer
from contatto.kit.db.tx import Row, Tx
from contatto.kit.errors import Refused
from contatto.kit.http import DirectRoute, HotRoute, json_answer, read_body
from contatto.kit.ids import new_secret
from contatto.kit.texts import JSON_ERRORS
from contatto.kit.timestamps import micros
from contatto.ui.context import Context, context_of, part_of
from contatto.ui.live import SIGN_OF_LIFE, sse, sse_answer
from contatto.ui.render import iso

_RECEIVED: Final = json_answer({"received": True})
"""The same answer for every webhook; what is sent with it is added to a message of each."""
_PLATFORMS: Final = {platform.value: platform for platform in Platform}
_MOST_UNSENT: Final = 40
_NOBODYS: Final = ChannelApp("", "", Platform.TIKTOK, new_secret("nobody"))
"""Stands for an app that there is not: it is answered as one whose secret did not sign."""


class _Written(msgspec.Struct):
    client_message_id: str
    text: str


_written: Final = msgspec.json.Decoder(_Written)


class PhotoSize(Answer, frozen=True):
    width: int
    height: int


class FormOffer(Answer, frozen=True):
    page_id: str


class ChatMessage(Answer, frozen=True):
    """A message as the chat page is told of it; a picture that is gone is null."""

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
    """Take a platform's webhook: find the apps, bound, verify the raw body, store, answer; then work."""
    context = context_of(request)
    connector, apps = await _list_apps(request)
    raw = await read_body(request)
    signed = _list_signers(context, request.headers, connector, apps, raw)
    await part_of(request, Backlog).hold()
    # one body may hold several events: each is a delivery of its own, and all are kept before the answer
    pieces = connector.split(raw)
    stored = [
        _store_receipt(context, app.business_id, connector, piece) for app in signed for piece in pieces
    ]
    await (stored[0] if len(stored) == 1 else asyncio.gather(*stored))
    return _RECEIVED


async def answer_challenge(request: Request) -> Response:
    """Answer a platform's question whether this address is ours, with what it sent along."""
    connector, apps = await _list_apps(request)
    for app in apps:
        token = webhook_verify_token(context_of(request).vault, app)
        answer = connector.challenge(request.query_params, token)
        if answer is not None:
            return PlainTextResponse(answer)
    raise Refused(errors.NOT_FOUND, "The verify token is wrong, or this platform does not ask.")


async def _list_apps(request: Request) -> tuple[Connector, list[ChannelApp]]:
    """The connector of a webhook's platform, and the apps of its address: each business has ids of its own.

    Raises:
        Refused: NOT_FOUND, for a platform that there is not.
    """
    platform = _PLATFORMS.get(request.path_params["platform"])
    if platform is None:
        raise Refused(errors.NOT_FOUND, "There is no such platform.")
    named = await part_of(request, AppIndex).list_named(request.path_params["app_id"])
    return CONNECTORS[platform], [app for app in named if serves_platform(app, platform)]


def _list_signers(
    context: Context, headers: Headers, connector: Connector, apps: list[ChannelApp], raw: bytes
) -> list[ChannelApp]:
    """The apps whose secret signed a body: that of one business, or of several that share an app.

    Each of these gets it, and refuses what is for an account that it has not. Whether anybody has an app of
    this id shows in no answer.

    Raises:
        Refused: UNSIGNED or STALE.
    """
    now, tolerance = context.clock.now(), context.settings.webhook_tolerance_s
    signers, refusals = list[ChannelApp](), list[Refused]()
    for app in apps or [_NOBODYS]:
        try:
            connector.verify_signature(headers, raw, app.secret, now, tolerance)
            signers.append(app)
        except Refused as refused:
            refusals.append(refused)
    if not signers:
        raise next((refusal for refusal in refusals if refusal.code is errors.STALE), refusals[0])
    return signers


def _store_receipt(context: Context, business_id: str, connector: Connector, raw: bytes) -> Awaitable[None]:
    """Hand a delivery over; it is durable, and sealed, once what is given back has been awaited."""
    at = context.clock.now()

    def row() -> Row:
        receipt = rules.receipt_row(business_id, connector.platform, connector.label(raw), at)
        return seal_receipt(context.vault, receipt, raw)

    return context.db.append(APPEND_RECEIPT[context.db.engine.dialect.name], row)


async def write_chat_message(request: Request) -> Response:
    """Take a customer's message from the chat page; the same ``client_message_id`` again changes nothing."""
    context = context_of(request)
    account, visitor = await chat_visitor(request)
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise Refused(errors.UNREADABLE, "Send JSON.")
    now = context.clock.now()
    raw = await read_body(request)
    written = _read_written(raw)
    part_of(request, ChatLimits).messages.check(f"{account.id}:{visitor}", now.timestamp())
    admit_sender(request, account)
    conversation_id = conversation_id_of(account, visitor)
    conversation_key = (account.business_id, conversation_id)
    if await context.db.read(lambda tx: conversations.find_conversation(tx, *conversation_key)) is None:
        await context.db.write(lambda tx: admit_newcomer(tx, request, account, conversation_id))
    delivery = WebchatDelivery(account.id, visitor, written.client_message_id, written.text, micros(now))
    body = msgspec.json.encode(delivery)
    await _store_receipt(context, account.business_id, CONNECTORS[Platform.WEBCHAT], body)
    message_id = message_id_of(account, f"{visitor}:{written.client_message_id}")
    return json_answer({"accepted": True, "message_id": message_id})


def _read_written(raw: bytes) -> _Written:
    try:
        written = _written.decode(raw)
    except JSON_ERRORS as error:
        raise Refused(errors.UNREADABLE, "Send client_message_id and text as JSON.") from error
    if not 0 < len(written.text.strip()) <= rules.TEXT_LIMIT:
        raise Refused(errors.INVALID, f"text: write 1 to {rules.TEXT_LIMIT} characters.")
    rules.check_client_id(written.client_message_id)
    return written


async def list_chat_messages(request: Request) -> Response:
    """The visitor's own thread: messages only; inline notices are no messages and never leave here.

    ``unsent`` are the ids that the page gave to what it could not send for certain; it is told under which
    ids these stand in the thread, if they ever came.
    """
    context = context_of(request)
    account, visitor = await chat_visitor(request)
    after = _after(request)
    unsent = request.query_params.get("unsent", "").split(",")[:_MOST_UNSENT]
    ids = {
        client_id: message_id_of(account, f"{visitor}:{client_id}")
        for client_id in unsent
        if 8 <= len(client_id) <= 64
    }

    def read(tx: Tx) -> ChatThread:
        conversation_id = conversation_id_of(account, visitor)
        conversation = conversations.find_conversation(tx, account.business_id, conversation_id)
        new_messages = messages.list_messages_after(tx, account.business_id, conversation_id, after)
        read_at = iso(conversation.business_read_at) if conversation else None
        return ChatThread(show_messages(tx, account, new_messages), read_at, ids)

    return json_answer(await context.db.read(read))


def _after(request: Request) -> int:
    after = request.query_params.get("after", "0")
    return int(after) if after.isascii() and after.isdecimal() and len(after) < 19 else 0


async def stream_chat(request: Request) -> Response:
    """The visitor's thread as server-sent events: ``message``, ``read`` by the business, ``typing``."""
    context = context_of(request)
    account, visitor = await chat_visitor(request)
    return sse_answer(_follow_thread(context, account, visitor, _after(request)))


async def _follow_thread(
    context: Context, account: ChannelAccount, visitor: str, last: int
) -> AsyncIterator[str]:
    conversation_id = conversation_id_of(account, visitor)
    yield "retry: 1000\n\n"
    async for event in context.live.follow(account.business_id, None):
        if event is None:
            yield SIGN_OF_LIFE
        elif conversation_id not in event.payload:
            continue
        elif event.name == "member_typing":
            yield sse("typing", "{}")
        elif event.name == "conversation_read":
            read_at = await context.db.read(lambda tx: _read_at(tx, account, conversation_id))
            yield sse("read", msgspec.json.encode({"read_at": read_at}).decode())
        elif event.name in ("message_sent", "message_received"):
            for message in await _read_after(context, account, conversation_id, last):
                last = max(last, message.seq)
                yield sse("message", msgspec.json.encode(message).decode())


def _read_at(tx: Tx, account: ChannelAccount, conversation_id: str) -> str | None:
    conversation = conversations.find_conversation(tx, account.business_id, conversation_id)
    return iso(conversation.business_read_at) if conversation else None


async def _read_after(
    context: Context, account: ChannelAccount, conversation_id: str, seq: int
) -> list[ChatMessage]:
    def read(tx: Tx) -> list[ChatMessage]:
        new_messages = messages.list_messages_after(tx, account.business_id, conversation_id, seq)
        return show_messages(tx, account, new_messages)

    return await context.db.read(read)


def show_messages(tx: Tx, account: ChannelAccount, chat_messages: list[Message]) -> list[ChatMessage]:
    """Messages as the chat page is told of them."""
    photos = messages.list_photos(
        tx, account.business_id, {message.photo for message in chat_messages if message.photo}
    )
    return [_shown(message, photos.get(message.photo or "")) for message in chat_messages]


def _shown(message: Message, photo: Photo | None) -> ChatMessage:
    size = PhotoSize(photo.width, photo.height) if photo else None
    return ChatMessage(
        message.seq,
        message.id,
        message.sender.value,
        message.text,
        iso(message.at),
        size if message.kind is MessageKind.PHOTO else UNSET,
        FormOffer(message.form) if message.form else UNSET,
    )


routes = [
    DirectRoute("/webhooks/{platform}/{app_id}", receive_webhook, methods=["POST"]),
    HotRoute("/webhooks/{platform}/{app_id}", answer_challenge, methods=["GET"]),
    HotRoute("/chat/{account_id}/messages", list_chat_messages, methods=["GET"]),
    DirectRoute("/chat/{account_id}/messages", write_chat_message, methods=["POST"]),
    HotRoute("/chat/{account_id}/stream", stream_chat, methods=["GET"]),
]
