"""Protocol lines of contatto deliver: events, queries and answers."""

from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec

LONGEST_ID: Final = 128
LATEST_TS: Final = 253_402_300_800_000_000
"""The year 10000: no calendar goes further."""

type Id = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_ID)]
type Ts = Annotated[int, msgspec.Meta(ge=0, lt=LATEST_TS)]
type Amount = Annotated[int, msgspec.Meta(ge=0, le=10**15)]
type Window = Annotated[int, msgspec.Meta(ge=0, le=28 * 86_400)]
type Count = Annotated[int, msgspec.Meta(ge=0, le=10**6)]
type Days = Annotated[int, msgspec.Meta(ge=0, le=366)]
type Features = dict[str, Any]


class LineGoal(StrEnum):
    LEAD = "lead"
    CONVERSATION = "conversation"


class Status(StrEnum):
    ON = "on"
    OFF = "off"


class LineBudgetMode(StrEnum):
    DAY = "day"
    TOTAL = "total"
    INFINITE = "infinite"


class LineBidType(StrEnum):
    NO_BID = "no_bid"
    CUSTOM = "custom"


class LinePacing(StrEnum):
    SMOOTH = "smooth"
    FAST = "fast"


class LineLeadSource(StrEnum):
    CHAT = "chat"
    FORM = "form"
    MARKED = "marked"


class Quality(StrEnum):
    QUALIFIED = "qualified"
    UNQUALIFIED = "unqualified"
    CONVERTED = "converted"


class LineBillingEvent(StrEnum):
    OCPM = "OCPM"


class ProtocolLine(msgspec.Struct, tag_field="type", gc=False):
    """Event or query at a time ``ts``, in microseconds since 1970."""

    ts: Ts


class AdGroupLine(ProtocolLine, tag="adgroup"):
    """New state of an ad group; ad groups share the budget of their campaign, if it has one.

    A viewer sees its ads at most ``frequency`` times in any ``frequency_schedule`` days.
    """

    adgroup_id: Id
    advertiser_id: Id
    goal: LineGoal = LineGoal.LEAD
    status: Status = Status.ON
    budget_mode: LineBudgetMode = LineBudgetMode.INFINITE
    budget_micros: Amount | None = None
    bid_type: LineBidType = LineBidType.NO_BID
    bid_micros: Amount | None = None
    pacing: LinePacing = LinePacing.SMOOTH
    billing_event: LineBillingEvent = LineBillingEvent.OCPM
    countries: list[str] | None = None
    timezone: str = "UTC"
    starts_ts: Ts | None = None
    ends_ts: Ts | None = None
    click_window_s: Window | None = 7 * 86_400
    view_window_s: Window | None = 86_400
    campaign_id: str = ""
    campaign_mode: LineBudgetMode = LineBudgetMode.INFINITE
    campaign_micros: Amount | None = None
    frequency: Count | None = None
    frequency_schedule: Days | None = None


class AdLine(ProtocolLine, tag="ad"):
    ad_id: Id
    adgroup_id: Id
    features: Features | None = None


class RequestLine(ProtocolLine, tag="request"):
    """Ad request; ``floor_micros`` is the reserve price."""

    request_id: Id
    viewer_id: Id
    country: str = ""
    features: Features | None = None
    floor_micros: Amount = 0


class ViewLine(ProtocolLine, tag="view"):
    request_id: Id


class ClickLine(ProtocolLine, tag="click"):
    request_id: Id


class ConversationLine(ProtocolLine, tag="conversation"):
    viewer_id: Id
    advertiser_id: Id


class SpamLine(ProtocolLine, tag="spam"):
    viewer_id: Id
    advertiser_id: Id


class LeadLine(ProtocolLine, tag="lead"):
    viewer_id: Id
    advertiser_id: Id
    source: LineLeadSource = LineLeadSource.CHAT


class QualityLine(ProtocolLine, tag="quality"):
    viewer_id: Id
    advertiser_id: Id
    status: Quality


class RankCandidate(msgspec.Struct, gc=False):
    viewer_id: Id
    country: str = ""
    features: Features | None = None


class RankLine(ProtocolLine, tag="rank"):
    """Lookalike query: rank candidates by their similarity to the best leads of an ad group."""

    ask_id: Id
    advertiser_id: Id
    adgroup_id: Id
    candidates: list[RankCandidate]
    seeds: list[str] = []


class ReportLine(ProtocolLine, tag="report"):
    ask_id: Id


type AnyLine = (
    AdGroupLine
    | AdLine
    | RequestLine
    | ViewLine
    | ClickLine
    | ConversationLine
    | SpamLine
    | LeadLine
    | QualityLine
    | RankLine
    | ReportLine
)


class Decision(msgspec.Struct, gc=False):
    """Answer to an ad request; without an ad the probabilities are 0."""

    request_id: str
    ad_id: str | None
    adgroup_id: str | None
    offer_micros: int
    price_micros: int
    p_click: float
    p_conversation: float
    p_spam: float
    p_lead: float
    propensity: float


class Ranking(msgspec.Struct, gc=False):
    ask_id: str
    scores: list[float]


class GroupReport(msgspec.Struct, gc=False):
    adgroup_id: str
    spend_micros: int
    views: int
    clicks: int
    conversations: int
    spam: int
    leads: int
    predicted_leads: float
    phase: str
    bid_multiplier: float


class Reporting(msgspec.Struct, gc=False):
    ask_id: str
    adgroups: list[GroupReport]


type AnswerLine = Decision | Ranking | Reporting
