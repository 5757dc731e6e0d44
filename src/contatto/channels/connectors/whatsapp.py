"""WhatsApp Business Platform (Cloud API): messages with the ad they came from, statuses, and sending a text.

A person's id is a phone number here, so the inbox keeps it sealed.

Source: Meta for Developers, WhatsApp Cloud API: webhooks ``{object, entry: [{id, changes: [{field, value:
{metadata, contacts, messages, statuses}}]}]}``, ``referral`` with ``source_id`` and ``ctwa_clid`` in the
first message after an ad that clicks to WhatsApp; ``POST /{phone number id}/messages`` with
``biz_opaque_callback_data``, which comes back in statuses.
"""

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


class _Text(msgspec.Struct):
    body: str = ""


class _Message(msgspec.Struct, rename={"sender": "from"}):
    id: str
    sender: str
    timestamp: str | int
    type: str = ""
    text: _Text | None = None
    referral: meta.Referral | None = None


class _Status(msgspec.Struct):
    id: str
    status: str
    timestamp: str | int
    recipient_id: str
    biz_opaque_callback_data: str = ""
    errors: list[dict[str, Any]] = []


class _Profile(msgspec.Struct):
    name: str = ""


class _Contact(msgspec.Struct):
    wa_id: str = ""
    profile: _Profile | None = None


class _Metadata(msgspec.Struct):
    phone_number_id: str


class _Value(msgspec.Struct):
    metadata: _Metadata
    contacts: list[_Contact] = []
    messages: list[_Message] = []
    statuses: list[_Status] = []


class _Change(msgspec.Struct):
    field: str
    value: _Value


class _Entry(msgspec.Struct):
    changes: list[_Change]


class _Body(msgspec.Struct):
    object: str
    entry: list[_Entry]


class _SentMessage(msgspec.Struct):
    id: str


class _Answer(msgspec.Struct):
    messages: list[_SentMessage]


_OBJECT: Final = "whatsapp_business_account"
_bodies: Final = msgspec.json.Decoder(_Body)
_answers: Final = msgspec.json.Decoder(_Answer)
_anything: Final = msgspec.json.Decoder()
_PROGRESS: Final = {
    "sent": SendProgress.SENT, "delivered": SendProgress.DELIVERED, "failed": SendProgress.FAILED,
}  # fmt: skip


class WhatsApp(meta.MetaApp):
    """Connector of the WhatsApp Business Platform."""

    platform = Platform.WHATSAPP
    dialect = Dialect(meta.GRAPH, text_limit=4_096, window=ReplyWindow(24, None), ids_are_contacts=True)

    def split(self, raw: bytes) -> tuple[bytes, ...]:
        """Split into one delivery per message and status, with only the parts that it needs."""
        try:
            body = _bodies.decode(raw)
            is_ours = body.object == _OBJECT
            return meta.cut_body(raw, _pieces(body, _anything.decode(raw))) if is_ours else (raw,)
        except JSON_ERRORS:
            return (raw,)

    def label(self, raw: bytes) -> Label:
        value = _read(raw)
        if isinstance(value, Unusable):
            return Label.of_unreadable(raw)
        account = value.metadata.phone_number_id[:128]
        if value.messages:
            return Label(f"message:{meta.hashed(value.messages[0].id)}", account)
        status = value.statuses[0]
        return Label(f"status:{status.status[:32]}:{meta.hashed(status.id)}", account)

    def parse(self, raw: bytes) -> Incoming:
        value = _read(raw)
        if isinstance(value, Unusable):
            return value
        if value.messages:
            message = value.messages[0]
            at = _at(message.timestamp)
            is_text = message.type == "text"
            if at is None or not message.id or not message.sender or (is_text and message.text is None):
                return Unusable("missing_fields")
            return Chatted(
                message_id=message.id,
                conversation_id=message.sender,
                person_id=message.sender,
                person_name=_names(value.contacts).get(message.sender, ""),
                sender=Sender.CUSTOMER,
                kind=MessageKind.TEXT if is_text else MessageKind.OTHER,
                text=message.text.body if is_text and message.text else message.type,
                at=at,
                tap=meta.ad_tap(message.referral),
            )
        return _status(value.statuses[0])

    def reply(self, out: Outgoing) -> HttpRequest:
        body = {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": out.person_id,
            "type": "text",
            "text": {"preview_url": False, "body": out.text},
            "biz_opaque_callback_data": out.message_id,
        }
        return meta.message_request(out, body)

    def ask_account(self, access: AccountAccess) -> HttpRequest:
        return meta.account_request(access, "verified_name,display_phone_number")

    def outcome(self, answer: HttpAnswer) -> SendOutcome:
        if answer.status != 200:
            return meta.problem(answer)
        try:
            sent = _answers.decode(answer.body).messages
        except JSON_ERRORS:
            return Failed("unreadable_answer")
        return Sent(sent[0].id if sent else "")


def _pieces(body: _Body, document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each message with its sender's name, each status, and each other change unchanged."""
    for entry, plain_entry in zip(body.entry, document["entry"], strict=True):
        for change, plain in zip(entry.changes, plain_entry["changes"], strict=True):
            if change.field != "messages":
                yield _piece(plain)
                continue
            names = _names(change.value.contacts)
            account = change.value.metadata.phone_number_id
            for kind in ("messages", "statuses"):
                for item in plain["value"].get(kind, ()):
                    sender = item["from"] if kind == "messages" else ""
                    shared: dict[str, Any] = {"metadata": {"phone_number_id": account[: meta.SHARED_LIMIT]}}
                    if sender and sender in names:
                        name = names[sender][: meta.SHARED_LIMIT]
                        shared["contacts"] = [{"wa_id": sender, "profile": {"name": name}}]
                    value = shared | {kind: [item]}
                    yield _piece({"field": "messages", "value": value})


def _piece(change: dict[str, Any]) -> dict[str, Any]:
    return {"object": _OBJECT, "entry": [{"changes": [change]}]}


def _names(contacts: list[_Contact]) -> dict[str, str]:
    return {contact.wa_id: contact.profile.name for contact in contacts if contact.profile}


def _read(raw: bytes) -> _Value | Unusable:
    """Return the value of a delivery of one event, or why it is not one event."""
    try:
        body = _bodies.decode(raw)
    except JSON_ERRORS:
        return Unusable("unreadable_envelope")
    changes = [change for entry in body.entry for change in entry.changes]
    count = sum(len(change.value.messages) + len(change.value.statuses) for change in changes)
    if body.object == _OBJECT and count == len(changes) == 1 and changes[0].field == "messages":
        return changes[0].value
    return Unusable(meta.TOO_MANY if count > 1 and body.object == _OBJECT else "unknown_event")


def _at(timestamp: str | int) -> datetime | None:
    text = str(timestamp)
    is_time = text.isascii() and text.isdigit() and len(text) < 12 and 0 < int(text) < meta.LATEST_S
    return from_micros(int(text) * 1_000_000) if is_time else None


def _status(status: _Status) -> Incoming:
    at = _at(status.timestamp)
    if at is None or not status.id or not status.recipient_id:
        return Unusable("missing_fields")
    if status.status == "read":
        return WasRead(status.recipient_id, status.recipient_id, at)
    progress = _PROGRESS.get(status.status)
    if progress is None:
        return Unusable("unknown_event")
    code = next((error.get("code") for error in status.errors), None)
    reason = f"platform_{code}" if progress is SendProgress.FAILED and isinstance(code, int) else ""
    return Progressed(
        message_id=status.id,
        conversation_id=status.recipient_id,
        person_id=status.recipient_id,
        progress=progress,
        at=at,
        echo_of=status.biz_opaque_callback_data[:64],
        reason=reason[:64],
    )
