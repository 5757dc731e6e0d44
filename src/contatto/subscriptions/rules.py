"""Payloads, signatures and retry plans of pushes, and the outcome of answers.

Source: TikTok Business API v1.3, webhooks: leads carry ``X-Open-Signature``, messages ``TikTok-Signature``.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from contatto.crm.connectors.webhook import sign_event
from contatto.forms.rules.views import sample_email, sample_phone
from contatto.kit.outbound.model import RetryPlan
from contatto.subscriptions.model import HOOKS, Entity

RETRY_AFTER_S: Final = (1, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 21_600, 36_000)
"""Seconds before each retry; 24 hours in all."""
RETRY_MESSAGES_AFTER_S: Final = (*RETRY_AFTER_S, *(28_800,) * 6)
"""Seconds before each retry of messages; 72 hours in all."""
PLANS: Final = {
    Entity.LEAD: RetryPlan(RETRY_AFTER_S, timedelta(hours=30)),
    Entity.DIRECT_MESSAGE: RetryPlan(RETRY_MESSAGES_AFTER_S, timedelta(hours=90)),
    **dict.fromkeys(HOOKS, RetryPlan(RETRY_AFTER_S, timedelta(hours=30))),
}
"""Retries of each entity; the deadline is later than the last retry, because of jitter."""
KINDS: Final = {
    Entity.LEAD: "lead_push",
    Entity.DIRECT_MESSAGE: "message_push",
    Entity.LEAD_CREATED: "lead_created_hook",
    Entity.LEAD_CHANGED: "lead_changed_hook",
}
"""Kinds of outbound requests of pushes."""
MOST_SUBSCRIPTIONS: Final = 100
URL_LIMIT: Final = 2_048
SECRET_LIMIT: Final = 256
HTTP_GONE: Final = 410
HOOK_APP: Final = "hook"
"""App id of hooks."""
LEAD_OBJECT: Final = 1
"""Object number of leads in pushes."""


def encode_payload(content: Any) -> bytes:
    """Encode JSON in ASCII with escapes, so that body and signed text are the same bytes."""
    return json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode()


def push_headers(entity: Entity, body: bytes, secret: str, at: datetime, push_id: int = 0) -> dict[str, str]:
    """Return the headers of a push with its signature; each attempt is signed anew.

    Source: Standard Webhooks, specification 1.0, for hooks.
    """
    kind = {"Content-Type": "application/json", "User-Agent": "Contatto"}
    at_s = int(at.timestamp())
    if entity is Entity.LEAD:
        return kind | {"X-Open-Signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}
    if entity in HOOKS:
        message_id = f"push-{push_id}"
        signed = " ".join(sign_event(key, message_id, at_s, body) for key in secret.split())
        return kind | {"webhook-id": message_id, "webhook-timestamp": str(at_s), "webhook-signature": signed}
    signature = hmac.new(secret.encode(), b"%d.%s" % (at_s, body), hashlib.sha256)
    return kind | {"TikTok-Signature": f"t={at_s},s={signature.hexdigest()}"}


def hook_payload(entity: Entity, lead: Mapping[str, str], at: datetime) -> bytes:
    """Return the body of a hook: one flat object without unknown values."""
    values = {name: text for name, text in lead.items() if text and name != "lead_url"}
    header = {"id": lead.get("lead_id", ""), "event": entity.value, "sent_at": int(at.timestamp())}
    return encode_payload(header | values)


SAMPLE_LEAD: Final = {
    "lead_id": "1", "name": "Sample Lead", "first_name": "Sample", "last_name": "Lead",
    "email": sample_email(1), "phone": sample_phone(1), "status": "raw", "owner": "agent@example.com",
    "labels": "VIP", "lead_source": "DIRECT_MESSAGE", "created_at": "2026-01-01T00:00:00+00:00",
    "campaign_id": "1", "campaign_name": "Campaign", "adgroup_id": "1", "adgroup_name": "Ad group",
    "ad_id": "1", "ad_name": "Ad", "form_name": "Form", "answer:Budget": "100",
}  # fmt: skip
"""A fictional lead with every field of a hook."""


def lead_payload(entry: Mapping[str, Any], changes: Mapping[str, str], at: datetime) -> bytes:
    """Return the body of a lead push; ``changes`` are its field values."""
    listed = [{"field": field, "value": value} for field, value in changes.items()]
    content = {"object": LEAD_OBJECT, "time": int(at.timestamp()), "entry": [{**entry, "changes": listed}]}
    return encode_payload(content)


def message_payload(event: str, open_id: str, app_id: str, content: Mapping[str, Any], at_s: int) -> bytes:
    """Return the body of a message push; its content is JSON text."""
    envelope = {
        "client_key": app_id,
        "event": event,
        "create_time": at_s,
        "user_openid": open_id,
        "content": json.dumps(content, ensure_ascii=True, separators=(",", ":")),
    }
    return encode_payload(envelope)


def destination_of(callback_url: str) -> str:
    """Return host and port of an address, the unit of the circuit breaker."""
    return urlsplit(callback_url).netloc.rpartition("@")[2].lower()[:300]
