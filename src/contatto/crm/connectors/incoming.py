"""Changes that a CRM, or a program beside it, posts to us: whether it signed them, and what they say.

Source: Standard Webhooks, specification 1.0 (symmetric signatures ``v1``; the id is the idempotency key).
"""

import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final

import msgspec

from contatto.crm.connectors.webhook import sign_event
from contatto.crm.model.operations import Cursor, RecordChange
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.texts import JSON_ERRORS

CHANGED: Final = "record.changed"
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


_event: Final = msgspec.json.Decoder(_Event)


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
        event = _event.decode(body)
    except JSON_ERRORS as error:
        raise Refused(errors.INVALID, "The event needs a type and data.") from error
    told = event.data if isinstance(event.data, list) else [event.data]
    return [_change(each) for each in told] if event.type == CHANGED else []


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
