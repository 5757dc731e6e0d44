"""Subscriptions of external programs, and their pushes."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from contatto.integrations.model import LedgerEntry


class Entity(StrEnum):
    """Subject of a subscription, as the API names it; the last two are for hooks."""

    LEAD = "LEAD"
    DIRECT_MESSAGE = "DIRECT_MESSAGE"
    LEAD_CREATED = "lead.created"
    LEAD_CHANGED = "lead.changed"


HOOKS: Final = (Entity.LEAD_CREATED, Entity.LEAD_CHANGED)
"""Entities of hooks: webhooks with their own secret, such as to Zapier or n8n."""


@dataclass(frozen=True, slots=True)
class NewSubscription:
    """Subscription of a program to leads or messages, to create; its secret signs each push.

    Only entity LEAD has a ``lead_source`` and the number of a form, ``page_number``; 0 means all forms. If an
    access token (``token_id``) made the subscription, it ends with that token. A hook may have two secrets,
    separated by a space, the newer first.
    """

    entity: Entity
    app_id: str
    secret: str = field(repr=False)
    callback_url: str
    ad_account_id: str = ""
    lead_source: str = ""
    page_number: int = 0
    token_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription(NewSubscription):
    """Subscription; while it is paused, pushes wait."""

    id: str
    business_id: str
    number: int
    created_at: datetime
    ended_at: datetime | None = None
    end_reason: str = ""
    paused_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Push(LedgerEntry):
    """Push to one subscription, without its body; ``subject_id`` is its lead or message.

    ``reason`` is the result of the last attempt: an HTTP status, or an error code.
    """

    subscription_id: str
    subject_id: str


@dataclass(frozen=True, slots=True)
class SubscriptionEnded:
    """Event: a subscription ended for a ``reason``."""

    business_id: str
    subscription_id: str
    reason: str
