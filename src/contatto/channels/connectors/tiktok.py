"""TikTok Business Messaging: webhook signature, the four messaging events as values, and sending a text.

Source: TikTok Business API v1.3, Business Messaging webhooks: header ``TikTok-Signature: t=<unix>,s=<hex>``,
``s`` = HMAC-SHA256(app secret, "<t>.<raw body>"); envelope ``{client_key, event, create_time, user_openid,
content}`` in which ``content`` is JSON text. Sending: ``POST /business/message/send/``, always answered
with 200 and a ``code``. Accounts API: ``GET /business/get/`` with a list of fields.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache, partial
from typing import Final
from urllib.parse import urlencode

import msgspec

from contatto.channels import model
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.outbound.model import Failed, HttpAnswer, HttpRequest, NotNow, retry_after_s
from contatto.kit.values import JSON_ERRORS, from_micros, read_number

SIGNATURE_HEADER: Final = "tiktok-signature"
_LATEST_MS: Final = 4_102_444_800_000
"""The year 2100: a time beyond it is a mistake of unit, not a time."""


class _Envelope(msgspec.Struct):
    event: str
    user_openid: str
    content: str
    create_time: int = 0
    client_key: str = ""


class _User(msgspec.Struct):
    id: str = ""
    role: str = ""


class _Text(msgspec.Struct):
    body: str = ""


class _AdTouch(msgspec.Struct):
    ad_id: str | int = ""
    advertiser_id: str | int = ""
    ad_name: str = ""
    timestamp: int = 0


class _Referral(msgspec.Struct):
    source: str = ""
    ad: _AdTouch | None = None


class _Read(msgspec.Struct):
    last_read_timestamp: int = 0


class _Content(msgspec.Struct, rename={"sender_name": "from", "receiver_name": "to"}):
    """Fields of an event; the decoder ignores all others, since the platform adds new ones at will."""

    sender_name: str = ""
    receiver_name: str = ""
    unique_identifier: str = ""
    from_user: _User | None = None
    to_user: _User | None = None
    conversation_id: str = ""
    message_id: str = ""
    timestamp: int = 0
    type: str = ""
    text: _Text | None = None
    referral: _Referral | None = None
    read: _Read | None = None


class _SentMessage(msgspec.Struct):
    message_id: str = ""


class _SentData(msgspec.Struct):
    message: _SentMessage | None = None


class _Profile(msgspec.Struct):
    display_name: str = ""
    username: str = ""


class _ProfileAnswer(msgspec.Struct):
    data: _Profile | None = None


class _Answer(msgspec.Struct):
    code: int
    data: _SentData | None = None


_NOT_NOW: Final = {
    **dict.fromkeys((40064, 40100, 40132, 61000), "too_fast"),
    **dict.fromkeys((50000, 50002, 60001), "platform_away"),
}
_TOKEN_REFUSED: Final = frozenset({40001, 40102, 40104, 40105, 40110, 40130})
_answers: Final = msgspec.json.Decoder(_Answer)
_profiles: Final = msgspec.json.Decoder(_ProfileAnswer)
_envelopes: Final = msgspec.json.Decoder(_Envelope)
_contents: Final = msgspec.json.Decoder(_Content)


class TikTok(model.Connector):
    platform = model.Platform.TIKTOK
    dialect = model.Dialect(
        "https://business-api.tiktok.com", text_limit=6_000, window=model.ReplyWindow(48, 10)
    )

    def verify_signature(
        self, headers: Mapping[str, str], raw: bytes, secret: str, at: datetime, tolerance_s: int
    ) -> None:
        """Check ``TikTok-Signature``. Raises UNSIGNED; STALE for a time beyond the tolerance."""
        pairs = [part.strip().partition("=")[::2] for part in headers.get(SIGNATURE_HEADER, "").split(",")]
        parts = dict(pairs)
        signed_at, signature = parts.get("t", ""), parts.get("s", "")
        if len(parts) < len(pairs):  # a repeated key, which two parsers could read differently
            raise Refused(errors.UNSIGNED)
        if not (signed_at.isascii() and signed_at.isdigit() and len(signed_at) <= 12):
            raise Refused(errors.UNSIGNED)
        expected = sign_body(raw, secret, int(signed_at)).partition("s=")[2]
        if not hmac.compare_digest(signature.encode(), expected.encode()):
            raise Refused(errors.UNSIGNED)
        if abs(at.timestamp() - int(signed_at)) > tolerance_s:
            raise Refused(errors.STALE)

    def label(self, raw: bytes) -> model.Label:
        try:
            envelope = _envelopes.decode(raw)
        except JSON_ERRORS:
            return model.Label.of_unreadable(raw)
        content = envelope.content.encode("utf-8", "surrogatepass")
        try:
            message_id = _contents.decode(content).message_id
        except JSON_ERRORS:
            message_id = ""
        key = message_id if 0 < len(message_id) <= 128 else hashlib.sha256(content).hexdigest()
        return model.Label(
            f"{envelope.user_openid[:64]}:{envelope.event[:32]}:{key}", envelope.user_openid[:128]
        )

    def parse(self, raw: bytes) -> model.Incoming:
        try:
            envelope = _envelopes.decode(raw)
        except JSON_ERRORS:
            return model.Unusable("unreadable_envelope")
        reader = _READERS.get(envelope.event)
        if reader is None:
            return model.Unusable("unknown_event")
        try:
            content = _contents.decode(envelope.content.encode("utf-8", "surrogatepass"))
        except JSON_ERRORS:
            return model.Unusable("unreadable_content")
        moment = content.timestamp or envelope.create_time * 1000
        if not content.conversation_id or not 0 < moment < _LATEST_MS:
            return model.Unusable("missing_fields")
        return reader(content, from_micros(moment * 1000))

    def reply(self, out: model.Outgoing) -> HttpRequest:
        body = {
            "business_id": out.account,
            "recipient_type": "CONVERSATION",
            "recipient": out.conversation_id,
            "message_type": "TEXT",
            "text": {"body": out.text},
        }
        headers = {"Access-Token": out.access_token, "Content-Type": "application/json"}
        url = f"{out.base_url}/open_api/v1.3/business/message/send/"
        return HttpRequest("POST", url, headers, msgspec.json.encode(body))

    def ask_account(self, access: model.AccountAccess) -> HttpRequest:
        query = urlencode({"business_id": access.account, "fields": '["display_name","username"]'})
        url = f"{access.base_url}/open_api/v1.3/business/get/?{query}"
        return HttpRequest("GET", url, {"Access-Token": access.access_token}, b"")

    def read_account(self, answer: HttpAnswer) -> model.AccountSeen | NotNow | Failed:
        outcome = self.outcome(answer)
        if not isinstance(outcome, model.Sent):
            return outcome
        try:
            profile = _profiles.decode(answer.body).data or _Profile()
        except JSON_ERRORS:
            return Failed("unreadable_answer")
        return model.AccountSeen(profile.display_name, profile.username)

    def outcome(self, answer: HttpAnswer) -> model.SendOutcome:
        if answer.status == 429 or answer.status >= 500:
            return NotNow(f"http_{answer.status}", retry_after_s(answer))
        try:
            content = _answers.decode(answer.body)
        except JSON_ERRORS:
            return Failed(f"http_{answer.status}")
        if content.code == 0 and answer.status == 200:
            return model.Sent(
                content.data.message.message_id if content.data and content.data.message else ""
            )
        if content.code in _NOT_NOW:
            return NotNow(_NOT_NOW[content.code], retry_after_s(answer))
        if answer.status in (401, 403) or content.code in _TOKEN_REFUSED:
            return Failed(model.LOST_ACCESS)
        return Failed(f"platform_{content.code}"[:64])


def sign_body(raw: bytes, secret: str, signed_at: int) -> str:
    signature = _keyed(secret).copy()
    signature.update(b"%d." % signed_at + raw)
    return f"t={signed_at},s={signature.hexdigest()}"


@lru_cache(maxsize=1_024)
def _keyed(secret: str) -> hmac.HMAC:
    """Return the keyed HMAC state of a secret; cached, since keying costs more than signing."""
    return hmac.new(secret.encode(), digestmod="sha256")


def _message(content: _Content, at: datetime, sender: model.Sender) -> model.Incoming:
    is_customer = sender is model.Sender.CUSTOMER
    person = content.from_user if is_customer else content.to_user
    person_id = (person.id if person else "") or content.unique_identifier
    if not content.message_id or not person_id:
        return model.Unusable("missing_fields")
    is_text = content.type == "text"
    if is_text and content.text is None:
        return model.Unusable("missing_fields")
    return model.Chatted(
        message_id=content.message_id,
        conversation_id=content.conversation_id,
        person_id=person_id,
        person_name=content.sender_name if is_customer else content.receiver_name,
        sender=sender,
        kind=model.MessageKind.TEXT if is_text else model.MessageKind.OTHER,
        text=content.text.body if is_text and content.text else content.type,
        at=at,
    )


def _referral(content: _Content, at: datetime) -> model.Incoming:
    person_id = (content.from_user.id if content.from_user else "") or content.unique_identifier
    touch = content.referral.ad if content.referral else None
    number = read_number(str(touch.ad_id)) if touch else None
    if not person_id or touch is None or number is None:
        return model.Unusable("missing_fields")
    advertiser = read_number(str(touch.advertiser_id))
    tap = model.AdTap(number, headline=touch.ad_name[:200], advertiser=str(advertiser or ""))
    return model.Referred(content.conversation_id, person_id, content.sender_name, at, tap)


def _read(content: _Content, at: datetime) -> model.Incoming:
    person_id = (content.from_user.id if content.from_user else "") or content.unique_identifier
    if not person_id:
        return model.Unusable("missing_fields")
    moment = content.read.last_read_timestamp if content.read else 0
    return model.WasRead(
        content.conversation_id, person_id, from_micros(moment * 1000) if 0 < moment < _LATEST_MS else at
    )


_READERS: Final[dict[str, Callable[[_Content, datetime], model.Incoming]]] = {
    "im_receive_msg": partial(_message, sender=model.Sender.CUSTOMER),
    "im_send_msg": partial(_message, sender=model.Sender.BUSINESS),
    "im_referral_msg": _referral,
    "im_mark_read_msg": _read,
}
