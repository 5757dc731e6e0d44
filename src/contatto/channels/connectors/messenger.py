"""Messenger and Instagram: messages, the ads behind them, receipts, and replies.

Source: Meta for Developers, Messenger Platform and Instagram messaging: webhooks ``{object: page | instagram,
entry: [{id, time, messaging: [{sender, recipient, timestamp, message | postback | referral | read |
delivery}]}]}``; ``referral`` with ``ad_id`` and ``source: ADS``; echoes carry ``is_echo`` and the
``metadata`` that was sent; ``POST /{id}/messages``.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import msgspec

from contatto.channels.connectors import meta
from contatto.channels.model import (
    AccountAccess,
    Chatted,
    Dialect,
    Incoming,
    Label,
    MessageKind,
    Outgoing,
    Platform,
    Progressed,
    Referred,
    ReplyWindow,
    Sender,
    SendOutcome,
    SendProgress,
    Sent,
    Unusable,
    WasRead,
)
from contatto.kit.outbound.model import Failed, HttpAnswer, HttpRequest
from contatto.kit.values import JSON_ERRORS, from_micros


class _Party(msgspec.Struct):
    id: str


class _Message(msgspec.Struct):
    mid: str
    text: str | None = None
    is_echo: bool = False
    metadata: str = ""
    referral: meta.Referral | None = None


class _Postback(msgspec.Struct):
    mid: str = ""
    title: str = ""
    referral: meta.Referral | None = None


class _Read(msgspec.Struct):
    watermark: int = 0


class _Delivery(msgspec.Struct):
    mids: list[str] = []


class _Event(msgspec.Struct):
    sender: _Party
    recipient: _Party
    timestamp: int
    message: _Message | None = None
    postback: _Postback | None = None
    referral: meta.Referral | None = None
    read: _Read | None = None
    delivery: _Delivery | None = None


class _Entry(msgspec.Struct):
    id: str
    messaging: list[_Event]


class _Body(msgspec.Struct):
    object: str
    entry: list[_Entry]


class _Answer(msgspec.Struct):
    message_id: str = ""


_bodies: Final = msgspec.json.Decoder(_Body)
_answers: Final = msgspec.json.Decoder(_Answer)
_anything: Final = msgspec.json.Decoder()


class _MetaMessaging(meta.MetaApp):
    """Shared connector; platforms differ in webhook object and text limit."""

    def __init__(self, platform: Platform, body_object: str, text_limit: int) -> None:
        self.platform = platform
        self.dialect = Dialect(meta.GRAPH, text_limit, ReplyWindow(24, None))
        self._object = body_object

    def split(self, raw: bytes) -> tuple[bytes, ...]:
        """Split into one delivery per messaging event, and per message of a delivery receipt."""
        try:
            body = _bodies.decode(raw)
            is_ours = body.object == self._object
            return meta.cut_body(raw, _pieces(body, _anything.decode(raw))) if is_ours else (raw,)
        except JSON_ERRORS:
            return (raw,)

    def label(self, raw: bytes) -> Label:
        entry = self._read(raw)
        if isinstance(entry, Unusable):
            return Label.of_unreadable(raw)
        # The natural key of an event: a message by its id, all else by its content.
        account, message = entry.id[:128], entry.messaging[0].message
        if message is None:
            return Label(f"{account}:event:{hashlib.sha256(raw).hexdigest()}", account)
        key = message.mid if 0 < len(message.mid) <= 128 else meta.hashed(message.mid)
        return Label(f"{account}:message:{key}", account)

    def parse(self, raw: bytes) -> Incoming:
        entry = self._read(raw)
        if isinstance(entry, Unusable):
            return entry
        event = entry.messaging[0]
        if not 0 < event.timestamp < meta.LATEST_S * 1000:
            return Unusable("missing_fields")
        at = from_micros(event.timestamp * 1000)
        if event.message is not None:
            return _message(event, event.message, at)
        return _read_news(event, event.sender.id, at) if event.sender.id else Unusable("missing_fields")

    def reply(self, out: Outgoing) -> HttpRequest:
        body = {
            "recipient": {"id": out.person_id},
            "messaging_type": "RESPONSE",
            "message": {"text": out.text, "metadata": out.message_id},
        }
        return meta.message_request(out, body)

    def ask_account(self, access: AccountAccess) -> HttpRequest:
        return meta.account_request(access, "name,username")

    def outcome(self, answer: HttpAnswer) -> SendOutcome:
        if answer.status != 200:
            return meta.problem(answer)
        try:
            return Sent(_answers.decode(answer.body).message_id)
        except JSON_ERRORS:
            return Failed("unreadable_answer")

    def _read(self, raw: bytes) -> _Entry | Unusable:
        """Return the account of a delivery with its one event, or why it is not one event."""
        try:
            body = _bodies.decode(raw)
        except JSON_ERRORS:
            return Unusable("unreadable_envelope")
        entries = [entry for entry in body.entry if entry.messaging]
        if body.object != self._object or not entries:
            return Unusable("unreadable_envelope")
        is_one = len(entries) == len(entries[0].messaging) == 1
        return entries[0] if is_one else Unusable(meta.TOO_MANY)


class Messenger(_MetaMessaging):
    """Connector of pages on Facebook."""

    def __init__(self) -> None:
        super().__init__(Platform.MESSENGER, "page", 2_000)


class Instagram(_MetaMessaging):
    """Connector of professional accounts on Instagram."""

    def __init__(self) -> None:
        super().__init__(Platform.INSTAGRAM, "instagram", 1_000)


def _pieces(body: _Body, document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for entry, plain_entry in zip(body.entry, document["entry"], strict=True):
        for event, plain in zip(entry.messaging, plain_entry["messaging"], strict=True):
            for one in _split_receipt(event) or [plain]:
                account = entry.id[: meta.SHARED_LIMIT]
                yield {"object": body.object, "entry": [{"id": account, "messaging": [one]}]}


def _split_receipt(event: _Event) -> list[dict[str, Any]]:
    """Split a receipt of several delivered messages into one for each; return none for other events."""
    if event.delivery is None or event.message is not None or event.read is not None:
        return []
    mids = event.delivery.mids[: meta.MOST_PIECES + 1]
    party, recipient = (
        {"id": participant.id[: meta.SHARED_LIMIT + 1]} for participant in (event.sender, event.recipient)
    )
    shared = {"sender": party, "recipient": recipient, "timestamp": event.timestamp}
    return [shared | {"delivery": {"mids": [mid]}} for mid in mids] if len(mids) > 1 else []


def _read_news(event: _Event, person: str, at: datetime) -> Incoming:
    """Read a receipt, or a tap on an ad or on a button of an automatic message."""
    if event.read is not None:
        is_time = 0 < event.read.watermark < meta.LATEST_S * 1000
        return WasRead(person, person, from_micros(event.read.watermark * 1000) if is_time else at)
    if event.delivery is not None and event.delivery.mids and event.delivery.mids[0]:
        return Progressed(event.delivery.mids[0], person, person, SendProgress.DELIVERED, at)
    postback = event.postback
    tap = meta.ad_tap(event.referral or (postback.referral if postback else None))
    if tap is not None:
        return Referred(person, person, "", tap.ad_number, at, tap)
    if postback is not None and postback.mid and postback.title:
        text = postback.title  # the button's text is the person's message
        return Chatted(postback.mid, person, person, "", Sender.CUSTOMER, MessageKind.TEXT, text, at)
    return Unusable("unknown_event")


def _message(event: _Event, message: _Message, at: datetime) -> Incoming:
    person = event.recipient.id if message.is_echo else event.sender.id
    if not person or not message.mid:
        return Unusable("missing_fields")
    return Chatted(
        message_id=message.mid,
        conversation_id=person,
        person_id=person,
        person_name="",
        sender=Sender.BUSINESS if message.is_echo else Sender.CUSTOMER,
        kind=MessageKind.OTHER if message.text is None else MessageKind.TEXT,
        text="attachment" if message.text is None else message.text,
        at=at,
        tap=meta.ad_tap(message.referral or event.referral),
        echo_of=message.metadata[:64] if message.is_echo else "",
    )
