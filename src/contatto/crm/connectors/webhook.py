"""A program of the business that is told of each change of a lead, by a signed webhook.

The body is an event ``{"type", "timestamp", "data"}``. ``webhook-id`` is the same for every copy of it, so
that a receiver leaves out what it has seen. Two secrets may sign at once, while one replaces the other.

Source: Standard Webhooks, specification 1.0 (symmetric signatures ``v1``, secrets ``whsec_`` in base64).
"""

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from contatto.crm.connectors.contract import plain_reply, same_text
from contatto.crm.model.operations import (
    Denied,
    Erase,
    Erased,
    Link,
    Operation,
    Reply,
    Unsupported,
    Write,
    Written,
)
from contatto.crm.model.traits import ErasureLevel, Setting, Traits
from contatto.kit.i18n import N_
from contatto.kit.outbound.model import HttpAnswer, HttpRequest

PREFIX: Final = "whsec_"
CHANGED: Final = "lead.changed"
ERASED: Final = "lead.erased"


class Webhook:
    """The connector of signed webhooks; the receiver answers with 2xx, and has no records to be read."""

    traits = Traits(
        name="webhook",
        label="Webhook",
        settings=(
            Setting(
                "secret",
                N_("Signing secret"),
                is_secret=True,
                prefix=PREFIX,
                example="whsec_…",
                help=N_("It starts with whsec_. Your program uses it to verify each message."),
            ),
            Setting(
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

    def ask(self, link: Link, operation: Operation) -> HttpRequest | Reply:
        if isinstance(operation, Write):
            message_id = f"{operation.external_id}.{operation.revision}"
            data = {
                "id": operation.external_id,
                "revision": operation.revision,
                "fields": dict(operation.values),
                "note": operation.note,
            }
            return _event(link, message_id, CHANGED, operation.occurred_at, data)
        if isinstance(operation, Erase):
            message_id = f"{operation.external_id}.erased"
            return _event(link, message_id, ERASED, link.now, {"id": operation.external_id})
        return Unsupported()

    def read(self, link: Link, operation: Operation, answer: HttpAnswer, memory: str) -> Reply:
        """Any 2xx takes the event. What is not allowed in may be let in again: it stays in the queue."""
        if answer.status == 401:
            return Denied("401")
        wrong = plain_reply(answer)
        if wrong is not None:
            return wrong
        return Erased(is_partial=True) if isinstance(operation, Erase) else Written()

    def record_url(self, link: Link, record_id: str) -> str:
        return ""

    def agrees(self, field: str, written: str, found: str) -> bool:
        return same_text(written, found)


def _event(link: Link, message_id: str, kind: str, at: datetime, data: dict[str, Any]) -> HttpRequest | Reply:
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
