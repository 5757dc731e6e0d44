"""Campaigns, ad groups and ads, and the values of their settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from contatto.kit.values import SealedIn
from contatto.measurement.model import Goal


class NodeStatus(StrEnum):
    """Status of a campaign, an ad group or an ad as the advertiser sets it; deleted is final."""

    ACTIVE = "active"
    PAUSED = "paused"
    DELETED = "deleted"


EVERY_STATUS: Final = frozenset(NodeStatus)


class NodeKind(StrEnum):
    """The three levels of an ad account; the values are parts of URLs."""

    CAMPAIGN = "campaigns"
    AD_GROUP = "ad-groups"
    AD = "ads"


type Place = tuple[NodeKind, int]
"""A level, and the API's id of a node there."""


class BudgetMode(StrEnum):
    """Budget mode; the values are the API's."""

    INFINITE = "BUDGET_MODE_INFINITE"
    DAY = "BUDGET_MODE_DAY"
    TOTAL = "BUDGET_MODE_TOTAL"
    DYNAMIC_DAY = "BUDGET_MODE_DYNAMIC_DAILY_BUDGET"
    """A daily average: one day may take up to 125 % of it."""


class BidType(StrEnum):
    NO_BID = "BID_TYPE_NO_BID"
    CUSTOM = "BID_TYPE_CUSTOM"


class BillingEvent(StrEnum):
    OCPM = "OCPM"
    """Charged per thousand views, with bids that optimize for the goal."""


class Pacing(StrEnum):
    SMOOTH = "PACING_MODE_SMOOTH"
    FAST = "PACING_MODE_FAST"


class ScheduleType(StrEnum):
    FROM_NOW = "SCHEDULE_FROM_NOW"
    START_END = "SCHEDULE_START_END"


DIRECT_MESSAGE: Final = "LEAD_GEN_CLICK_TO_TT_DIRECT_MESSAGE"
"""The promotion type of all our ad groups: a tap opens a chat."""


class ClickWindow(StrEnum):
    OFF = "OFF"
    ONE_DAY = "ONE_DAY"
    SEVEN_DAYS = "SEVEN_DAYS"
    FOURTEEN_DAYS = "FOURTEEN_DAYS"
    TWENTY_EIGHT_DAYS = "TWENTY_EIGHT_DAYS"


class ViewWindow(StrEnum):
    OFF = "OFF"
    ONE_DAY = "ONE_DAY"
    SEVEN_DAYS = "SEVEN_DAYS"


class EventCount(StrEnum):
    """Counting of a person's conversions, each or the first; the values are the API's."""

    UNSET = "UNSET"
    EVERY = "EVERY"
    ONCE = "ONCE"


WINDOW_DAYS: Final[Mapping[str, int | None]] = {
    "OFF": None,
    "ONE_DAY": 1,
    "SEVEN_DAYS": 7,
    "FOURTEEN_DAYS": 14,
    "TWENTY_EIGHT_DAYS": 28,
}
"""Days of each window; None means that such touches never count."""


class AgeGroup(StrEnum):
    """Ages that can be chosen; the values are the API's, the last one is open."""

    FROM_13 = "AGE_13_17"
    FROM_18 = "AGE_18_24"
    FROM_25 = "AGE_25_34"
    FROM_35 = "AGE_35_44"
    FROM_45 = "AGE_45_54"
    FROM_55 = "AGE_55_100"


@dataclass(frozen=True, slots=True)
class Targeting:
    """Targeting of an ad group beside its countries; an empty part means everybody.

    Audiences are named by their numbers, as the API does.
    """

    languages: tuple[str, ...] = ()
    age_groups: tuple[str, ...] = ()
    interest_category_ids: tuple[str, ...] = ()
    audience_ids: tuple[str, ...] = ()
    excluded_audience_ids: tuple[str, ...] = ()


def targeting_of(source: object) -> Targeting:
    """Return the targeting of an ad group, or of its form."""
    return Targeting(**{name: getattr(source, name) for name in Targeting.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class FrequencyCap:
    """Frequency cap: most views of an ad group by one person in any period of this many days."""

    views: int
    days: int


@dataclass(frozen=True, slots=True)
class Money:
    """Budget and bid of an ad group, in micros of the ad account's currency; None where there is none."""

    budget_mode: BudgetMode
    budget_micros: int | None
    bid_type: BidType
    bid_micros: int | None


@dataclass(frozen=True, slots=True)
class Campaign:
    """Parent of ad groups; ``number`` is the API's ``campaign_id``."""

    id: str
    business_id: str
    number: int
    ad_account_id: str
    name: str
    budget_mode: BudgetMode
    budget_micros: int | None
    status: NodeStatus
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class AdGroup:
    """Goal, targeting, budget and windows of its ads; ``number`` is the API's ``adgroup_id``.

    Without ``ends_at`` it serves until it is stopped. The windows say for how long after a click or a view a
    conversion is credited to it. ``channel_account_id`` is the default channel account of its ads, and
    ``page_id`` their default instant form, which may be empty.
    """

    id: str
    business_id: str
    number: int
    campaign_id: str
    ad_account_id: str
    channel_account_id: str
    name: str
    goal: Goal
    countries: tuple[str, ...]
    budget_mode: BudgetMode
    budget_micros: int | None
    bid_type: BidType
    bid_micros: int | None
    pacing: Pacing
    starts_at: datetime
    ends_at: datetime | None
    click_window: ClickWindow
    view_window: ViewWindow
    status: NodeStatus
    created_at: datetime
    updated_at: datetime
    page_id: str = ""
    location_ids: tuple[str, ...] = ()
    """Locations behind the countries, which may be cities; empty if countries were chosen directly."""
    languages: tuple[str, ...] = ()
    age_groups: tuple[str, ...] = ()
    interest_category_ids: tuple[str, ...] = ()
    audience_ids: tuple[str, ...] = ()
    excluded_audience_ids: tuple[str, ...] = ()
    engaged_window: ViewWindow = ViewWindow.OFF
    """Saved and shown without effect: our ads are pictures and texts, which have no engaged views."""
    event_count: EventCount = EventCount.UNSET
    """Saved and shown without effect: all leads of one person are one lead here."""
    frequency: int | None = None
    """Views that one person may have in ``frequency_schedule`` days; both None without a frequency cap."""
    frequency_schedule: int | None = None

    @property
    def cap(self) -> FrequencyCap | None:
        if self.frequency is None or self.frequency_schedule is None:
            return None
        return FrequencyCap(self.frequency, self.frequency_schedule)


class Audit(StrEnum):
    """Review state of an ad; the values are the API's."""

    AUDITING = "AUDITING"
    PASS = "PASS"  # noqa: S105 - the word of the API for "approved"
    REJECTED = "REJECTED"


@dataclass(frozen=True, slots=True)
class WelcomeMessage:
    """The first message of an ad's chat and its suggested questions; ``number`` is ``auto_message_id``."""

    id: str
    business_id: str
    number: int
    ad_account_id: str
    title: str
    content: str
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Ad:
    """Ad that a person sees and taps; ``number`` is the API's ``ad_id``.

    ``auto_message_id`` is the welcome message and ``page_id`` the instant form, both empty where there is
    none. Only an ad that passed its review is shown; ``audit_reason`` says why one was rejected.
    """

    id: str
    business_id: str
    number: int
    ad_group_id: str
    campaign_id: str
    ad_account_id: str
    channel_account_id: str
    name: str
    headline: str
    text: str
    ad_format: str
    call_to_action: str
    auto_message_id: str
    page_id: str
    video_id: str
    status: NodeStatus
    created_at: datetime
    updated_at: datetime
    audit: Audit = Audit.PASS
    audit_reason: str = ""


type AdNode = Campaign | AdGroup | Ad
NODE_CLASSES: Final[Mapping[NodeKind, type[AdNode]]] = {
    NodeKind.CAMPAIGN: Campaign,
    NodeKind.AD_GROUP: AdGroup,
    NodeKind.AD: Ad,
}


@dataclass(frozen=True, slots=True)
class Draft:
    """A member's saved entries in the form of a new campaign, ad group or ad.

    ``parent`` is the number of its parent, 0 for a campaign; ``typed`` is the form as JSON.
    """

    business_id: str
    member_id: str
    kind: NodeKind
    parent: int
    typed: Annotated[str, SealedIn("ad_drafts.typed", ("member_id", "kind", "parent"))]
    saved_at: datetime


class Check(StrEnum):
    """The three country checks of a goal (R4 to R6)."""

    CHANNEL_ACCOUNT = "channel_account"
    AD_ACCOUNT = "ad_account"
    TARGETS = "targeting"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One country check: the countries that it looked at, and those that fail it."""

    check: Check
    countries: tuple[str, ...]
    failing: tuple[str, ...]


class NextStep(StrEnum):
    """Step that remains before an ad group can be created."""

    TURN_ON_CAPTURE = "turn_on_capture"


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts for the checks of an ad group: three sets of countries, and the capture switch.

    ``channel_account_id`` only appears in messages.
    """

    channel_account_id: str
    account_country: str
    ad_account_country: str
    target_countries: tuple[str, ...]
    capture_on: bool


@dataclass(frozen=True, slots=True)
class Spent:
    """Spend of an ad group on a day, and in total."""

    day_micros: int = 0
    ever_micros: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Page of a list; ``number`` counts from 1."""

    number: int = 1
    size: int = 1_000


@dataclass(frozen=True, slots=True)
class NodeFilter:
    """Filter of an ad account's campaigns, ad groups or ads; None means no limit.

    Numbers are the API's ids; those of a higher level select all that is under them.
    """

    campaign_numbers: frozenset[int] | None = None
    ad_group_numbers: frozenset[int] | None = None
    ad_numbers: frozenset[int] | None = None
    name_part: str = ""
    statuses: frozenset[NodeStatus] = frozenset({NodeStatus.ACTIVE, NodeStatus.PAUSED})
    goals: frozenset[Goal] | None = None


@dataclass(frozen=True, slots=True)
class LiveAd:
    """An active, approved ad with its active ad group and campaign."""

    ad: Ad
    ad_group: AdGroup
    campaign: Campaign
