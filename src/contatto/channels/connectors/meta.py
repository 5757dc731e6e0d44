"""Meta's platforms: WhatsApp, Messenger and Instagram.

Source: Meta for Developers, Webhooks: header ``X-Hub-Signature-256: sha256=<hex>``, HMAC-SHA256(app secret,
raw body), with no time in it; Meta verifies a new address with
``GET ?hub.mode=subscribe&hub.verify_token=…&hub.challenge=…``.
Graph API, Error handling: ``{"error": {"code", "error_subcode", "message"}}``; reading a node:
``GET /{id}?fields=…``.

Messenger Platform and Instagram messaging: webhooks ``{object: page | instagram, entry: [{id, time,
messaging: [{sender, recipient, timestamp, message | postback | referral | read | delivery}]}]}``;
``referral`` with ``ad_id`` and ``source: ADS``; echoes carry ``is_echo`` and the ``metadata`` that was sent;
``POST /{id}/messages``.

WhatsApp Cloud API: webhooks ``{object, entry: [{id, changes: [{field, value: {metadata, contacts, messages,
statuses}}]}]}``, ``referral`` with ``source_id`` and ``ctwa_clid`` in the first message after an ad that
clicks to WhatsApp; ``POST /{phone number id}/messages`` with ``biz_opaque_callback_data``, which comes back
in statuses. A person's id is a phone number there, so the inbox keeps it sealed.
"""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, Final
from urllib.parse import quote

import msgspec

from contatto.channels import model
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.outbound.model import Failed, HttpAnswer, HttpRequest, NotNow, retry_after_s
from contatto.kit.values import JSON_ERRORS, from_micros, read_number

GRAPH: Final = "https://graph.facebook.com"
VERSION: Final = "v23.0"
SIGNATURE_HEADER: Final = "x-hub-signature-256"
LATEST_S: Final = 4_102_444_800
"""The year 2100: a time beyond it is a mistake of unit, not a time."""
MOST_PIECES: Final = 400
"""Most events of one body. Platforms put fewer into 64 KiB; only forged bodies have more."""
SHARED_LIMIT: Final = 128
"""Most characters of an id or name that is copied into every piece of a body."""
TOO_MANY: Final = "too_many_events"
# Error codes of the Graph API, see `problem`.
_TOKEN_REFUSED: Final = frozenset({0, 3, 10, 102, 190, *range(200, 300)})
_TOO_FAST: Final = frozenset({4, 17, 32, 341, 368, 613, 80007, 130429, 131048, 131056})
_AWAY: Final = frozenset({1, 2, 131000, 131016, 133004})
_WINDOW: Final = frozenset({131047, 2018278, 2534022})
"""Re-engagement: the person wrote too long ago (the last two are subcodes of Messenger and Instagram)."""
_NOT_REACHED: Final = frozenset({131026, 131051, 551, 1545041, 2018108})


class _Error(msgspec.Struct):
    code: int = -1
    error_subcode: int = -1


class _ErrorAnswer(msgspec.Struct):
    error: _Error | None = None


class _Account(msgspec.Struct):
    """A phone number of WhatsApp (its first two fields), a page, or an account of Instagram."""

    verified_name: str = ""
    display_phone_number: str = ""
    name: str = ""
    username: str = ""


class _SentMessage(msgspec.Struct):
    id: str


class _SentReply(msgspec.Struct):
    """Answer of Messenger and Instagram (``message_id``), or of WhatsApp (``messages``)."""

    message_id: str = ""
    messages: list[_SentMessage] = []


_error_answers: Final = msgspec.json.Decoder(_ErrorAnswer)
_sent_replies: Final = msgspec.json.Decoder(_SentReply)
_accounts: Final = msgspec.json.Decoder(_Account)


class MetaApp(model.Connector):
    """Base of Meta's connectors: signature, verification and splitting of webhooks, and names of accounts."""

    account_fields = "name,username"
    body_object: str
    bodies: msgspec.json.Decoder[Any]

    def pieces(self, body: Any, document: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield each event of a body as a body of its own; ``document`` is the body in plain values."""
        raise NotImplementedError

    def split(self, raw: bytes) -> tuple[bytes, ...]:
        """Split into one delivery per event; a body without an event, or with too many, stays whole."""
        try:
            body = self.bodies.decode(raw)
            if body.object != self.body_object:
                return (raw,)
            first_pieces = islice(self.pieces(body, _anything.decode(raw)), MOST_PIECES + 1)
            deliveries = tuple(msgspec.json.encode(piece) for piece in first_pieces)
        except JSON_ERRORS:
            return (raw,)
        return deliveries if 0 < len(deliveries) <= MOST_PIECES else (raw,)

    def verify_signature(
        self, headers: Mapping[str, str], raw: bytes, secret: str, at: datetime, tolerance_s: int
    ) -> None:
        """Check the signature. It has no time, so natural keys detect replays instead. Raises UNSIGNED."""
        signature = headers.get(SIGNATURE_HEADER, "")
        if not hmac.compare_digest(signature.encode(), sign_body(raw, secret).encode()):
            raise Refused(errors.UNSIGNED)

    def challenge(self, query: Mapping[str, str], verify_token: str) -> str | None:
        received_token, challenge = query.get("hub.verify_token", ""), query.get("hub.challenge", "")
        is_ours = hmac.compare_digest(received_token.encode(), verify_token.encode())
        is_sane = 0 < len(challenge) <= 200 and challenge.isprintable()
        return challenge if query.get("hub.mode") == "subscribe" and is_ours and is_sane else None

    def outcome(self, answer: HttpAnswer) -> model.SendOutcome:
        if answer.status != 200:
            return problem(answer)
        try:
            sent = _sent_replies.decode(answer.body)
        except JSON_ERRORS:
            return Failed("unreadable_answer")
        return model.Sent(sent.messages[0].id if sent.messages else sent.message_id)

    def ask_account(self, access: model.AccountAccess) -> HttpRequest:
        headers = {"Authorization": f"Bearer {access.access_token}"}
        account = quote(access.account, safe="")
        url = f"{access.base_url}/{VERSION}/{account}?fields={self.account_fields}"
        return HttpRequest("GET", url, headers, b"")

    def read_account(self, answer: HttpAnswer) -> model.AccountSeen | NotNow | Failed:
        if answer.status != 200:
            return problem(answer)
        try:
            profile = _accounts.decode(answer.body)
        except JSON_ERRORS:
            return Failed("unreadable_answer")
        return model.AccountSeen(
            profile.verified_name or profile.name, profile.display_phone_number or profile.username
        )


class Referral(msgspec.Struct):
    """An ad as WhatsApp (``source_id``, ``ctwa_clid``) or Messenger and Instagram (``ad_id``) name it."""

    source: str = ""
    source_type: str = ""
    source_id: str = ""
    ad_id: str | int = ""
    ctwa_clid: str = ""
    headline: str = ""
    body: str = ""
    ads_context_data: dict[str, Any] | None = None


def sign_body(raw: bytes, secret: str) -> str:
    return f"sha256={hmac.new(secret.encode(), raw, 'sha256').hexdigest()}"


def hashed(text: str) -> str:
    """Hash an id for a natural key where it may hold a phone number, as those of WhatsApp do."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def ad_tap(referral: Referral | None) -> model.AdTap | None:
    """Return the ad of a referral; None for another source, such as a link, or without an id of the ad."""
    if referral is None or not (referral.source_type == "ad" or referral.source == "ADS"):
        return None
    ad_number = read_number(referral.source_id or str(referral.ad_id))
    title = (referral.ads_context_data or {}).get("ad_title")
    headline = referral.headline or (title if isinstance(title, str) else "")
    if ad_number is None and not referral.ctwa_clid:
        return None
    return model.AdTap(ad_number or 0, referral.ctwa_clid[:512], headline[:200], referral.body[:500])


def message_request(out: model.Outgoing, body: dict[str, Any]) -> HttpRequest:
    headers = {"Authorization": f"Bearer {out.access_token}", "Content-Type": "application/json"}
    url = f"{out.base_url}/{VERSION}/{quote(out.account, safe='')}/messages"
    return HttpRequest("POST", url, headers, msgspec.json.encode(body))


def problem(answer: HttpAnswer) -> NotNow | Failed:
    """Classify an error response of the Graph API."""
    try:
        error = _error_answers.decode(answer.body).error or _Error()
    except JSON_ERRORS:
        error = _Error()
    for reason, codes in (("too_fast", _TOO_FAST), ("platform_away", _AWAY)):
        if error.code in codes:
            return NotNow(reason, retry_after_s(answer))
    if answer.status == 429 or answer.status >= 500:
        return NotNow(f"http_{answer.status}", retry_after_s(answer))
    error_codes = {error.code, error.error_subcode}
    if error_codes & _WINDOW:
        return Failed("window_closed")
    if error_codes & _NOT_REACHED:
        return Failed("person_not_reached")
    if answer.status in (401, 403) or error.code in _TOKEN_REFUSED:
        return Failed(model.LOST_ACCESS)
    return Failed(f"platform_{error.code}" if error.code > 0 else f"http_{answer.status}")


class _Party(msgspec.Struct):
    id: str


class _Message(msgspec.Struct):
    mid: str
    text: str | None = None
    is_echo: bool = False
    metadata: str = ""
    referral: Referral | None = None


class _Postback(msgspec.Struct):
    mid: str = ""
    title: str = ""
    referral: Referral | None = None


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
    referral: Referral | None = None
    read: _Read | None = None
    delivery: _Delivery | None = None


class _Entry(msgspec.Struct):
    id: str
    messaging: list[_Event]


class _Body(msgspec.Struct):
    object: str
    entry: list[_Entry]


_bodies: Final = msgspec.json.Decoder(_Body)
_anything: Final = msgspec.json.Decoder()


class MetaMessaging(MetaApp):
    """Connector of Messenger and Instagram, which differ in ``object`` and text limit."""

    def __init__(self, platform: model.Platform, body_object: str, text_limit: int) -> None:
        self.platform = platform
        self.dialect = model.Dialect(GRAPH, text_limit, model.ReplyWindow(24, None))
        self.body_object, self.bodies = body_object, _bodies

    def pieces(self, body: _Body, document: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield each event; a receipt of several delivered messages becomes one for each."""
        for entry, plain_entry in zip(body.entry, document["entry"], strict=True):
            for event, plain in zip(entry.messaging, plain_entry["messaging"], strict=True):
                single_events = [plain]
                mids = event.delivery.mids[: MOST_PIECES + 1] if event.delivery else []
                if len(mids) > 1 and event.message is None and event.read is None:
                    # A longer id stays too long, so that the inbox refuses it.
                    sender, recipient = (
                        {"id": participant.id[: SHARED_LIMIT + 1]}
                        for participant in (event.sender, event.recipient)
                    )
                    shared = {"sender": sender, "recipient": recipient, "timestamp": event.timestamp}
                    single_events = [shared | {"delivery": {"mids": [mid]}} for mid in mids]
                for single_event in single_events:
                    account = entry.id[:SHARED_LIMIT]
                    yield {"object": body.object, "entry": [{"id": account, "messaging": [single_event]}]}

    def label(self, raw: bytes) -> model.Label:
        entry = self._read(raw)
        if isinstance(entry, model.Unusable):
            return model.Label.of_unreadable(raw)
        # The natural key of an event: a message by its id, all else by its content.
        account, message = entry.id[:128], entry.messaging[0].message
        if message is None:
            return model.Label(f"{account}:event:{hashlib.sha256(raw).hexdigest()}", account)
        key = message.mid if 0 < len(message.mid) <= 128 else hashed(message.mid)
        return model.Label(f"{account}:message:{key}", account)

    def parse(self, raw: bytes) -> model.Incoming:
        entry = self._read(raw)
        if isinstance(entry, model.Unusable):
            return entry
        event = entry.messaging[0]
        if not 0 < event.timestamp < LATEST_S * 1000:
            return model.Unusable("missing_fields")
        at = from_micros(event.timestamp * 1000)
        message = event.message
        if message is not None:
            person = event.recipient.id if message.is_echo else event.sender.id
            if not person or not message.mid:
                return model.Unusable("missing_fields")
            return model.Chatted(
                message_id=message.mid,
                conversation_id=person,
                person_id=person,
                person_name="",
                sender=model.Sender.BUSINESS if message.is_echo else model.Sender.CUSTOMER,
                kind=model.MessageKind.OTHER if message.text is None else model.MessageKind.TEXT,
                text="attachment" if message.text is None else message.text,
                at=at,
                tap=ad_tap(message.referral or event.referral),
                echo_of=message.metadata[:64] if message.is_echo else "",
            )
        return (
            _read_event(event, event.sender.id, at) if event.sender.id else model.Unusable("missing_fields")
        )

    def reply(self, out: model.Outgoing) -> HttpRequest:
        body = {
            "recipient": {"id": out.person_id},
            "messaging_type": "RESPONSE",
            "message": {"text": out.text, "metadata": out.message_id},
        }
        return message_request(out, body)

    def _read(self, raw: bytes) -> _Entry | model.Unusable:
        """Return the account of a delivery with its one event, or why it is not one event."""
        try:
            body = _bodies.decode(raw)
        except JSON_ERRORS:
            return model.Unusable("unreadable_envelope")
        entries = [entry for entry in body.entry if entry.messaging]
        if body.object != self.body_object or not entries:
            return model.Unusable("unreadable_envelope")
        is_one = len(entries) == len(entries[0].messaging) == 1
        return entries[0] if is_one else model.Unusable(TOO_MANY)


def _read_event(event: _Event, person: str, at: datetime) -> model.Incoming:
    """Read a receipt, or a tap on an ad or on a button of an automatic message."""
    if event.read is not None:
        is_time = 0 < event.read.watermark < LATEST_S * 1000
        return model.WasRead(person, person, from_micros(event.read.watermark * 1000) if is_time else at)
    if event.delivery is not None and event.delivery.mids and event.delivery.mids[0]:
        return model.Progressed(event.delivery.mids[0], person, person, model.SendProgress.DELIVERED, at)
    postback = event.postback
    tap = ad_tap(event.referral or (postback.referral if postback else None))
    if tap is not None:
        return model.Referred(person, person, "", at, tap)
    if postback is not None and postback.mid and postback.title:
        text = postback.title  # the button's text is the person's message
        return model.Chatted(
            postback.mid, person, person, "", model.Sender.CUSTOMER, model.MessageKind.TEXT, text, at
        )
    return model.Unusable("unknown_event")


class _Text(msgspec.Struct):
    body: str = ""


class _WhatsAppMessage(msgspec.Struct, rename={"sender": "from"}):
    id: str
    sender: str
    timestamp: str | int
    type: str = ""
    text: _Text | None = None
    referral: Referral | None = None


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
    messages: list[_WhatsAppMessage] = []
    statuses: list[_Status] = []


class _Change(msgspec.Struct):
    field: str
    value: _Value


class _WhatsAppEntry(msgspec.Struct):
    changes: list[_Change]


class _WhatsAppBody(msgspec.Struct):
    object: str
    entry: list[_WhatsAppEntry]


_OBJECT: Final = "whatsapp_business_account"
_whatsapp_bodies: Final = msgspec.json.Decoder(_WhatsAppBody)
_PROGRESS: Final = {progress.value: progress for progress in model.SendProgress}


class WhatsApp(MetaApp):
    platform = model.Platform.WHATSAPP
    account_fields = "verified_name,display_phone_number"
    body_object = _OBJECT
    bodies = _whatsapp_bodies
    dialect = model.Dialect(
        GRAPH, text_limit=4_096, window=model.ReplyWindow(24, None), ids_are_contacts=True
    )

    def pieces(self, body: _WhatsAppBody, document: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield each message with its sender's name, each status, and each other change unchanged."""
        for entry, plain_entry in zip(body.entry, document["entry"], strict=True):
            for change, plain in zip(entry.changes, plain_entry["changes"], strict=True):
                if change.field != "messages":
                    yield {"object": _OBJECT, "entry": [{"changes": [plain]}]}
                    continue
                names = _names(change.value.contacts)
                account = change.value.metadata.phone_number_id
                for kind in ("messages", "statuses"):
                    for item in plain["value"].get(kind, ()):
                        sender = item["from"] if kind == "messages" else ""
                        shared: dict[str, Any] = {"metadata": {"phone_number_id": account[:SHARED_LIMIT]}}
                        if sender and sender in names:
                            name = names[sender][:SHARED_LIMIT]
                            shared["contacts"] = [{"wa_id": sender, "profile": {"name": name}}]
                        value = shared | {kind: [item]}
                        yield {
                            "object": _OBJECT,
                            "entry": [{"changes": [{"field": "messages", "value": value}]}],
                        }

    def label(self, raw: bytes) -> model.Label:
        value = _read_value(raw)
        if isinstance(value, model.Unusable):
            return model.Label.of_unreadable(raw)
        account = value.metadata.phone_number_id[:128]
        if value.messages:
            return model.Label(f"message:{hashed(value.messages[0].id)}", account)
        status = value.statuses[0]
        return model.Label(f"status:{status.status[:32]}:{hashed(status.id)}", account)

    def parse(self, raw: bytes) -> model.Incoming:
        value = _read_value(raw)
        if isinstance(value, model.Unusable):
            return value
        if value.messages:
            message = value.messages[0]
            at = _at(message.timestamp)
            is_text = message.type == "text"
            if at is None or not message.id or not message.sender or (is_text and message.text is None):
                return model.Unusable("missing_fields")
            return model.Chatted(
                message_id=message.id,
                conversation_id=message.sender,
                person_id=message.sender,
                person_name=_names(value.contacts).get(message.sender, ""),
                sender=model.Sender.CUSTOMER,
                kind=model.MessageKind.TEXT if is_text else model.MessageKind.OTHER,
                text=message.text.body if is_text and message.text else message.type,
                at=at,
                tap=ad_tap(message.referral),
            )
        return _status(value.statuses[0])

    def reply(self, out: model.Outgoing) -> HttpRequest:
        body = {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": out.person_id,
            "type": "text",
            "text": {"preview_url": False, "body": out.text},
            "biz_opaque_callback_data": out.message_id,
        }
        return message_request(out, body)


def _names(contacts: list[_Contact]) -> dict[str, str]:
    return {contact.wa_id: contact.profile.name for contact in contacts if contact.profile}


def _read_value(raw: bytes) -> _Value | model.Unusable:
    """Return the value of a delivery of one event, or why it is not one event."""
    try:
        body = _whatsapp_bodies.decode(raw)
    except JSON_ERRORS:
        return model.Unusable("unreadable_envelope")
    changes = [change for entry in body.entry for change in entry.changes]
    count = sum(len(change.value.messages) + len(change.value.statuses) for change in changes)
    if body.object == _OBJECT and count == len(changes) == 1 and changes[0].field == "messages":
        return changes[0].value
    return model.Unusable(TOO_MANY if count > 1 and body.object == _OBJECT else "unknown_event")


def _at(timestamp: str | int) -> datetime | None:
    text = str(timestamp)
    is_time = text.isascii() and text.isdigit() and len(text) < 12 and 0 < int(text) < LATEST_S
    return from_micros(int(text) * 1_000_000) if is_time else None


def _status(status: _Status) -> model.Incoming:
    at = _at(status.timestamp)
    if at is None or not status.id or not status.recipient_id:
        return model.Unusable("missing_fields")
    if status.status == "read":
        return model.WasRead(status.recipient_id, status.recipient_id, at)
    progress = _PROGRESS.get(status.status)
    if progress is None:
        return model.Unusable("unknown_event")
    code = next((error.get("code") for error in status.errors), None)
    reason = f"platform_{code}" if progress is model.SendProgress.FAILED and isinstance(code, int) else ""
    return model.Progressed(
        message_id=status.id,
        conversation_id=status.recipient_id,
        person_id=status.recipient_id,
        progress=progress,
        at=at,
        echo_of=status.biz_opaque_callback_data[:64],
        reason=reason[:64],
    )
