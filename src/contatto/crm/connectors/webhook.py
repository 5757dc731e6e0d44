"""Signed webhooks: the connector, and changes that programs post to us.

The body is an event ``{"type", "timestamp", "data"}``. ``webhook-id`` is the same for every copy of an event,
so that a receiver drops duplicates. Two secrets may sign at once, while one replaces the other.

Source: Standard Webhooks, specification 1.0 (symmetric signatures ``v1``, secrets ``whsec_`` in base64; the
id is the idempotency key).
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec

from contatto.crm.connectors.json_api import plain_reply, same_text
from contatto.crm.model import (
    ConnectorSetting,
    ConnectorTraits,
    CrmLink,
    Cursor,
    Denied,
    Erased,
    EraseRecord,
    ErasureLevel,
    Operation,
    RecordChange,
    Reply,
    Unsupported,
    WriteRecord,
    Written,
)
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_
from contatto.kit.outbound.model import HttpAnswer, HttpRequest
from contatto.kit.texts import JSON_ERRORS

PREFIX: Final = "whsec_"
CHANGED: Final = "lead.changed"
ERASED: Final = "lead.erased"


class Webhook:
    """The connector of signed webhooks; the receiver answers with 2xx, and has no records to be read."""

    traits = ConnectorTraits(
        name="webhook",
        label="Webhook",
        settings=(
            ConnectorSetting(
                "secret",
                N_("Signing secret"),
                is_secret=True,
                prefix=PREFIX,
                example="whsec_…",
                help=N_("It starts with whsec_. Your program uses it to verify each message."),
            ),
            ConnectorSetting(
                "old_secret",
                N_("Previous signing secret"),
                is_secret=True,
                prefix=PREFIX,
                is_required=False,
                help=N_(
                    "For changing the secret: messages carry both signatures until you clear this field."
                ),
            ),
        ),
        finds_by=(),
        describes=False,
        reads_back=False,
        upserts=True,
        erases=ErasureLevel.PARTIAL,
        takes_anything=True,
    )

    def ask(self, link: CrmLink, operation: Operation) -> HttpRequest | Reply:
        if isinstance(operation, WriteRecord):
            message_id = f"{operation.external_id}.{operation.revision}"
            data = {
                "id": operation.external_id,
                "revision": operation.revision,
                "fields": dict(operation.values),
                "note": operation.note,
            }
            return _event(link, message_id, CHANGED, operation.occurred_at, data)
        if isinstance(operation, EraseRecord):
            message_id = f"{operation.external_id}.erased"
            return _event(link, message_id, ERASED, link.now, {"id": operation.external_id})
        return Unsupported()

    def read(self, link: CrmLink, operation: Operation, answer: HttpAnswer, memory: str) -> Reply:
        """Any 2xx takes the event. What is not allowed in may be let in again: it stays in the queue."""
        if answer.status == 401:
            return Denied("401")
        wrong = plain_reply(answer)
        if wrong is not None:
            return wrong
        return Erased(is_partial=True) if isinstance(operation, EraseRecord) else Written()

    def record_url(self, link: CrmLink, record_id: str) -> str:
        return ""

    def agrees(self, field: str, written: str, found: str) -> bool:
        return same_text(written, found)


def _event(
    link: CrmLink, message_id: str, kind: str, at: datetime, data: dict[str, Any]
) -> HttpRequest | Reply:
    content = {"type": kind, "timestamp": at.astimezone(UTC).isoformat(), "data": data}
    body = msgspec.json.encode(content)
    at_s = int(link.now.timestamp())
    secrets = [link.secrets.get(name, "") for name in ("secret", "old_secret")]
    try:
        signatures = [sign_event(secret, message_id, at_s, body) for secret in secrets if secret]
    except ValueError:
        return Denied("bad_secret")
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Contatto",
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(signatures),
    }
    return HttpRequest("POST", link.address, headers, body)


def sign_event(secret: str, message_id: str, at_s: int, body: bytes) -> str:
    """A signature ``v1,…`` of an event.

    Raises:
        ValueError: the secret is no base64.
    """
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("the secret is no base64") from error
    signed = b"%s.%d.%s" % (message_id.encode(), at_s, body)
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


RECORD_CHANGED: Final = "record.changed"
MOST_CHANGES: Final = 100
_ID_LIMIT: Final = 200

type _Id = Annotated[str, msgspec.Meta(max_length=_ID_LIMIT)]
type _Text = Annotated[str, msgspec.Meta(max_length=500)]


class _Change(msgspec.Struct):
    """What is left out was not changed."""

    record_id: _Id = ""
    lead_id: _Id = ""
    status: _Text | None = None
    owner: _Text | None = None
    value: _Text | None = None
    by: _Text = ""
    is_deleted: bool = False
    moved_to: _Id = ""


class _Event(msgspec.Struct):
    type: str
    data: _Change | Annotated[list[_Change], msgspec.Meta(max_length=MOST_CHANGES)]


_event_decoder: Final = msgspec.json.Decoder(_Event)


def check_signature(
    headers: Mapping[str, str], body: bytes, secret: str, now: datetime, tolerance_s: int
) -> str:
    """The id of a message that was signed with this secret, not long ago.

    Raises:
        Refused: UNSIGNED, STALE.
    """
    message_id, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "").split()[:10]
    plain = sent.isascii() and sent.isdigit() and len(sent) < 12
    if not (secret and plain and 0 < len(message_id) <= _ID_LIMIT):
        raise Refused(errors.UNSIGNED)
    wanted = sign_event(secret, message_id, int(sent), body).encode()
    if not any(hmac.compare_digest(wanted, each.encode("utf-8", "replace")) for each in given):
        raise Refused(errors.UNSIGNED)
    if abs(now.timestamp() - int(sent)) > tolerance_s:
        raise Refused(errors.STALE)
    return message_id


def read_changes(body: bytes) -> list[RecordChange]:
    """What a message says that was changed; nothing for another type of event.

    Raises:
        Refused: INVALID.
    """
    try:
        event = _event_decoder.decode(body)
    except JSON_ERRORS as error:
        raise Refused(errors.INVALID, "The event needs a type and data.") from error
    told = event.data if isinstance(event.data, list) else [event.data]
    return [_change(each) for each in told] if event.type == RECORD_CHANGED else []


def _change(told: _Change) -> RecordChange:
    return RecordChange(
        told.record_id,
        Cursor(),
        told.lead_id,
        told.status,
        told.owner,
        told.value,
        told.by,
        told.is_deleted,
        told.moved_to,
    )
