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
from typing import Annotated, Any, ClassVar, Final

import msgspec

from contatto.crm import model as crm
from contatto.crm.connectors import json_api as api
from contatto.integrations.model import Denied
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_
from contatto.kit.outbound.model import HttpAnswer, HttpRequest
from contatto.kit.values import JSON_ERRORS

PREFIX: Final = "whsec_"
CHANGED: Final = "lead.changed"
ERASED: Final = "lead.erased"


def _encode(link: crm.CrmLink, operation: crm.WriteRecord | crm.EraseRecord) -> HttpRequest | crm.Reply:
    data: dict[str, Any] = {"id": operation.external_id}
    message_id, kind, at = f"{operation.external_id}.erased", ERASED, link.now
    if isinstance(operation, crm.WriteRecord):
        message_id, kind = f"{operation.external_id}.{operation.revision}", CHANGED
        at, fields = operation.occurred_at, dict(operation.values)
        data |= {"revision": operation.revision, "fields": fields, "note": operation.note}
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


class Webhook(api.JsonApi):
    """Connector of signed webhooks; a receiver answers with 2xx, and has no records to read."""

    traits = crm.ConnectorTraits(
        name="webhook",
        label="Webhook",
        settings=(
            crm.ConnectorSetting(
                "secret",
                N_("Signing secret"),
                is_secret=True,
                prefix=PREFIX,
                example="whsec_…",
                help=N_("It starts with whsec_. Your program uses it to verify each message."),
            ),
            crm.ConnectorSetting(
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
        takes_anything=True,
    )

    access = ("secret",)
    encode = staticmethod(_encode)
    readers: ClassVar[api.Readers] = {
        crm.WriteRecord: lambda _link, _, _body, _memory: crm.Written(),
        crm.EraseRecord: lambda _link, _, _body, _memory: crm.Erased(is_partial=True),
    }

    def read_error(
        self, link: crm.CrmLink, operation: crm.Operation, answer: HttpAnswer, body: Any, memory: Any
    ) -> crm.Reply | None:
        """Read the status alone; after 401 events queue until a member reconnects."""
        return Denied("401") if answer.status == 401 else None


def sign_event(secret: str, message_id: str, at_s: int, body: bytes) -> str:
    """Return the signature ``v1,…`` of an event. Raises ValueError: the secret is no base64."""
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


class _Change(msgspec.Struct, rename={"external_id": "lead_id", "is_gone": "is_deleted"}):
    """Changed values; a field without a value did not change."""

    record_id: _Id = ""
    external_id: _Id = ""
    status: _Text | None = None
    owner: _Text | None = None
    value: _Text | None = None
    by: _Text = ""
    is_gone: bool = False
    moved_to: _Id = ""


class _Event(msgspec.Struct):
    type: str
    data: _Change | Annotated[list[_Change], msgspec.Meta(max_length=MOST_CHANGES)]


_event_decoder: Final = msgspec.json.Decoder(_Event)


def read_signed_changes(
    headers: Mapping[str, str], body: bytes, secret: str, at: datetime, tolerance_s: int
) -> tuple[str, list[crm.RecordChange]]:
    """Return the id of a message and its changes, none for another type of event.

    Raises UNSIGNED, STALE; INVALID.
    """
    message_id, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    signatures = headers.get("webhook-signature", "").split()[:10]
    is_time = sent.isascii() and sent.isdigit() and len(sent) < 12
    if not (secret and is_time and 0 < len(message_id) <= _ID_LIMIT):
        raise Refused(errors.UNSIGNED)
    expected = sign_event(secret, message_id, int(sent), body).encode()
    if not any(hmac.compare_digest(expected, text.encode("utf-8", "replace")) for text in signatures):
        raise Refused(errors.UNSIGNED)
    if abs(at.timestamp() - int(sent)) > tolerance_s:
        raise Refused(errors.STALE)
    try:
        event = _event_decoder.decode(body)
    except JSON_ERRORS as error:
        raise Refused(errors.INVALID, "The event needs a type and data.") from error
    changes = event.data if isinstance(event.data, list) else [event.data]
    if event.type != RECORD_CHANGED:
        changes = []
    return message_id, [
        crm.RecordChange(**msgspec.structs.asdict(change), cursor=crm.Cursor()) for change in changes
    ]
