"""Operators, their placements, whom they admit, which ads they approve, and what ad accounts have with them.

An operator is a tenant like a business, with members and tokens of its own. What it shares with a business
stands in rows that name both; nothing else of the one can be reached by the other.
Money is micros of the placement's currency, which is that of the ad account.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

DEFAULT_MOST_VIEWS: Final = 0
"""No limit on how often a person sees ads in a placement."""


class Category(StrEnum):
    """What a business advertises; a placement may take some of these alone."""

    ALCOHOL = "alcohol"
    AUTOMOTIVE = "automotive"
    BEAUTY = "beauty"
    DATING = "dating"
    EDUCATION = "education"
    EVENTS = "events"
    FASHION = "fashion"
    FINANCE = "finance"
    FOOD = "food"
    GAMBLING = "gambling"
    HEALTH = "health"
    HOME = "home"
    JOBS = "jobs"
    POLITICS = "politics"
    PROPERTY = "property"
    RETAIL = "retail"
    SERVICES = "services"
    SPORTS = "sports"
    TECHNOLOGY = "technology"
    TRAVEL = "travel"
    OTHER = "other"


class AdmissionState(StrEnum):
    """How a business stands with an operator; only the ads of an admitted one compete."""

    ASKED = "asked"
    ADMITTED = "admitted"
    REFUSED = "refused"
    SUSPENDED = "suspended"
    LEFT = "left"


class ReviewState(StrEnum):
    """What an operator said of an ad as it was sent in."""

    PENDING = "pending"
    APPROVED = "approved"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Operator:
    """A tenant that owns placements. ``business_id`` is the tenant, whose members run the marketplace.

    A person's day, for the limit of views, is a day of ``timezone``. ``is_listed`` says that every business
    of the installation may ask to be admitted; else only who has a code gets in.
    """

    business_id: str
    name: str
    timezone: str
    is_listed: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Placement:
    """A place for ads in what the operator shows; ``business_id`` is the operator.

    ``floor_micros`` is the least price of a thousand views. ``categories`` are those that are taken, all if
    empty; ``blocked`` are businesses whose ads are never shown here. ``most_views`` is how many ads a person
    sees here on a day at most; 0 for no limit.
    """

    id: str
    business_id: str
    name: str
    currency: str
    floor_micros: int
    categories: tuple[str, ...]
    blocked: tuple[str, ...]
    most_views: int
    is_on: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Admission:
    """A business and an operator; the names are as they were when the business asked last."""

    operator_id: str
    business_id: str
    operator_name: str
    business_name: str
    state: AdmissionState
    category: Category
    reason: str
    asked_at: datetime
    decided_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AdReview:
    """An ad as a viewer sees it, sent to an operator; another digest is another revision."""

    operator_id: str
    business_id: str
    ad_id: str
    digest: str
    number: int
    business_name: str
    name: str
    headline: str
    text: str
    ad_format: str
    call_to_action: str
    video_id: str
    state: ReviewState
    reason: str
    sent_at: datetime
    reviewed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OperatorBalance:
    """What an ad account paid an operator, may owe it, and was charged in its placements."""

    operator_id: str
    business_id: str
    ad_account_id: str
    number: int
    name: str
    currency: str
    paid_in_micros: int = 0
    credit_micros: int = 0
    charged_micros: int = 0

    @property
    def left_micros(self) -> int:
        """What is left of what was paid in; less than 0 where something is owed."""
        return self.paid_in_micros - self.charged_micros

    @property
    def room_micros(self) -> int:
        """What may still be charged."""
        return max(self.left_micros + self.credit_micros, 0)


@dataclass(frozen=True, slots=True)
class OperatorPayment:
    """A payment of an ad account to an operator, or back (below 0)."""

    id: str
    operator_id: str
    business_id: str
    ad_account_id: str
    at: datetime
    day: str
    micros: int
    note: str


@dataclass(frozen=True, slots=True)
class PlacedDay:
    """What the views and clicks of an ad group in a placement cost on a day of its ad account, and earned.

    Conversations and leads count on the day of the touch that earned them.
    """

    operator_id: str
    business_id: str
    placement_id: str
    ad_account_id: str
    ad_group_id: str
    day: str
    views: int
    clicks: int
    charged_micros: int
    conversations: int = 0
    leads: int = 0


@dataclass(frozen=True, slots=True)
class AskedDay:
    """How often a placement was asked for an ad on a day (UTC), and how often there was one."""

    business_id: str
    placement_id: str
    day: str
    asked: int
    filled: int


@dataclass(frozen=True, slots=True)
class Field:
    """Who may compete in an operator's placements, as it was read at a time.

    ``admitted`` are its admissions by business, ``approved`` the ads with their digests, ``rooms`` what may
    still be charged, by ad account.
    """

    operator: Operator
    read_at: datetime
    placements: dict[str, Placement]
    admitted: dict[str, Admission]
    approved: frozenset[tuple[str, str]]
    rooms: dict[str, int]
