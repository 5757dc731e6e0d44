"""Subscriptions of programs outside, and the pushes that go to them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final


class Entity(StrEnum):
    """What is subscribed to, in the words of the API; the last two are what hooks are told of."""

    LEAD = "LEAD"
    DIRECT_MESSAGE = "DIRECT_MESSAGE"
    LEAD_CREATED = "lead.created"
    LEAD_CHANGED = "lead.changed"


HOOKS: Final = (Entity.LEAD_CREATED, Entity.LEAD_CHANGED)
"""What hooks are told of; each has a secret of its own."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """A program that is told of leads or messages; its secret signs each push.

    ``lead_source`` is empty for messages, ``page_number`` 0 for all forms. A subscription ends with the
    access token ``token_id`` that it was made with, if it was. While it is paused, pushes wait. The secret
    of a hook may be two, parted by a space, of which the first is the newer.
    """

    id: str
    business_id: str
    number: int
    entity: Entity
    app_id: str
    secret: str = field(repr=False)
    callback_url: str
    ad_account_id: str
    lead_source: str
    page_number: int
    token_id: str
    created_at: datetime
    ended_at: datetime | None = None
    end_reason: str = ""
    paused_at: datetime | None = None


class PushState(StrEnum):
    """What became of a push; dead is one that no further try will bring."""

    DUE = "due"
    SENT = "sent"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Push:
    """A push to one subscription, without its body; ``subject_id`` is the lead or message that it tells of.

    ``answer`` says what came of the last try: an HTTP status, or the trouble on the way.
    """

    id: int
    business_id: str
    subscription_id: str
    subject_id: str
    state: PushState
    answer: str
    created_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class SubscriptionEnded:
    """A subscription got its last push; ``reason`` says why."""

    business_id: str
    subscription_id: str
    reason: str
