"""Operators of marketplaces: placements, admissions, ad reviews and balances.

An operator is a tenant like a business, with its own members and tokens. Shared rows name both tenants;
neither can read other rows of the other. Money is micros of the currency of the placement and the ad account.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Category(StrEnum):
    """Category of a business; a placement may accept only some categories."""

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
    """State of a business's admission; only ads of admitted businesses compete."""

    REQUESTED = "asked"
    ADMITTED = "admitted"
    REFUSED = "refused"
    SUSPENDED = "suspended"
    WITHDRAWN = "left"


class ReviewState(StrEnum):
    """State of the review of a revision of an ad."""

    PENDING = "pending"
    APPROVED = "approved"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Operator:
    """A tenant that owns placements; members of ``business_id`` run the marketplace.

    The limit of views per person counts days in ``timezone``. With ``is_listed`` every business of the
    installation may ask for admission; else a code is required.
    """

    business_id: str
    name: str
    timezone: str
    is_listed: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Placement:
    """A place for ads on the operator's site; ``business_id`` is the operator.

    ``floor_micros`` is the lowest price of a thousand views. ``categories`` are the accepted ones, all if
    empty; ``blocked`` are excluded businesses. ``most_views`` is the most ads a person sees here on a day; 0
    for no limit.
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
    """Relation of a business to an operator, with their names at the last request."""

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
    """A revision of an ad, sent to an operator for review.

    ``digest`` identifies the revision, ``number`` is the ad's id in the API.
    """

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


type BalanceKey = tuple[str, str]
"""Operator (or "" for the balance of the ad account itself), and ad account."""


@dataclass(frozen=True, slots=True)
class Balance:
    """Payments, credit and charges of an ad account, at an operator or (without ``operator_id``) its own.

    With ``is_limited``, as always at an operator, charges stop at the payments plus the credit; else only
    budgets limit them. Operators cannot read ad accounts, so their rows have its number, name and currency.
    """

    operator_id: str
    business_id: str
    ad_account_id: str
    is_limited: bool = False
    number: int = 0
    name: str = ""
    currency: str = ""
    paid_in_micros: int = 0
    credit_micros: int = 0
    charged_micros: int = 0

    @property
    def left_micros(self) -> int:
        """Return payments minus charges; below 0 the account owes money."""
        return self.paid_in_micros - self.charged_micros

    @property
    def chargeable_micros(self) -> int:
        """Return the amount that may still be charged to a limited account."""
        return max(self.left_micros + self.credit_micros, 0)


@dataclass(frozen=True, slots=True)
class BalanceEntry:
    """Payment into a balance, or a refund (below 0)."""

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
    """Counts and charges of an ad group in a placement on a day of its ad account.

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
class RequestDay:
    """Requests for a placement on a day of its operator; ``filled`` counts those that got an ad.

    The day is in the operator's time zone.
    """

    business_id: str
    placement_id: str
    day: str
    asked: int
    filled: int


@dataclass(frozen=True, slots=True)
class OperatorSnapshot:
    """Placements, members, approved ads and balances of an operator.

    ``admitted`` are admissions by business, ``approved`` the ads with their digests, and ``chargeable`` the
    amounts in micros that may still be charged, by ad account.
    """

    operator: Operator
    placements: dict[str, Placement]
    admitted: dict[str, Admission]
    approved: frozenset[tuple[str, str]]
    chargeable: dict[str, int]
