"""Protocol lines, logged decisions, predictions, and learning phases."""

from dataclasses import dataclass
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
    features: dict[str, Any] | None = None


class RequestLine(ProtocolLine, tag="request"):
    """Ad request; ``floor_micros`` is the reserve price."""

    request_id: Id
    viewer_id: Id
    country: str = ""
    features: dict[str, Any] | None = None
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
    features: dict[str, Any] | None = None


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


NOBODY: Final = ""
"""The viewer of a request without consent; their history is never stored."""


class EntryKind(StrEnum):
    AD_GROUP = "ad_group"
    AD = "ad"
    LINES = "lines"
    """Ad groups and ads before the first model; the nonce is their digest, see `Record.lines`."""
    DECISION = "decision"
    VIEW = "view"
    CLICK = "click"
    CONVERSATION = "conversation"
    LEAD = "lead"
    SPAM = "spam"
    QUALITY = "quality"


@dataclass(frozen=True, slots=True)
class Entry:
    """Entry of the delivery log, numbered by ``seq`` without gaps per business.

    ``nonce`` identifies the impression (0 for none), ``touch_id`` and ``person_id`` the view or click.
    ``body`` holds the encoded details. ``ts`` and ``arrived_ts``, the time of logging, are microseconds.
    """

    business_id: str
    seq: int
    kind: EntryKind
    ts: int
    nonce: int
    ad_id: str
    touch_id: int | None
    person_id: str | None
    body: bytes
    arrived_ts: int = 0


class Hurdle(StrEnum):
    """Reason that excluded an ad group from an auction; the first that applies."""

    NOT_ELIGIBLE = "not_eligible"
    COUNTRY = "country"
    OTHER_TOKEN = "other_token"  # noqa: S105 — no secret
    """The access token of the request does not cover the ad account."""
    SCHEDULE = "schedule"
    CHANNEL = "channel"
    LANGUAGE = "language"
    AGE = "age"
    INTERESTS = "interests"
    AUDIENCE = "audience"
    FREQUENCY = "frequency"
    BUDGET = "budget"
    CURRENCY = "currency"
    REVIEW = "review"
    BALANCE = "balance"


class GroupSnapshot(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Auction inputs of an ad group besides the model.

    ``available`` is the highest bid that its budget allows, in micros for a thousand views. ``multiplier`` is
    the value of a conversion in micros. ``offset_s`` is the UTC offset of its time zone.
    """

    number: int
    available: float
    multiplier: float
    offset_s: float


class Features(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Snapshot of a decision's hashed features for learning: arrays as bytes.

    ``hashes``, ``values`` and ``kinds`` are the request's, ``between`` the interactions of viewer and ad.
    """

    hashes: bytes
    values: bytes
    kinds: bytes
    between: bytes


class Record(msgspec.Struct, array_like=True, gc=False):
    """Logged decision: the request, all inputs of the auction besides the model, and the answer.

    Ads and ad groups are the API's numbers. ``ts`` is in microseconds since 1970, ``floor_micros``,
    ``offer_micros`` and ``price_micros`` are for a thousand views. ``viewer`` is a pseudonym, or empty.
    ``history`` is the viewer's, as bytes by the name of the array. ``ad`` is 0 for no ad.
    ``p`` and ``raw`` are the calibrated and the raw predictions. ``seed`` and ``number`` seed the draw.

    ``placement`` is the id of an operator's placement, where businesses compete with one ad each.
    ``to_beat_micros`` is then the lowest bid that wins against the other businesses. The winner pays that or
    the reserve price, never the bid of another ad of the same business.

    ``trial`` is the viewer's group in the experiment that measures the lift of learning; below 0 in the
    random arm.

    ``left_out`` has the `Hurdle` of each excluded ad group. ``added`` are ad groups and ads that differ from
    the model's. Before the first model these are all of them, so the log holds them once, in an entry with
    the nonce ``lines``.
    """

    nonce: int
    version: int
    seed: int
    number: int
    ts: int
    viewer: str
    country: str
    floor_micros: int
    features: dict[str, Any]
    ads: list[int]
    groups: list[GroupSnapshot]
    added: list[AdGroupLine | AdLine]
    left_out: dict[int, str]
    history: dict[str, bytes]
    ad: int = 0
    ad_group: int = 0
    offer_micros: int = 0
    price_micros: int = 0
    propensity: float = 1.0
    p: tuple[float, ...] = ()
    raw: tuple[float, ...] = ()
    shown: Features | None = None
    placement: str = ""
    to_beat_micros: int = 0
    trial: int = 0
    lines: int = 0


class OutcomeBody(msgspec.Struct, array_like=True, frozen=True):
    """Encoded details of an outcome after a click: the source of a lead, or its quality.

    ``ts`` is the time of the outcome if it was logged late; 0 for the time of the entry.
    """

    value: str = ""
    ts: int = 0


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """Published model version; learning goes on after the entry ``through``.

    ``origin`` is how it was made, ``entries`` the number of entries learned since the version before.
    ``size`` is in bytes; ``has_blob`` tells whether these are still stored.
    """

    business_id: str
    version: int
    through: int
    made_at: int
    origin: str
    size: int
    sha256: str
    entries: int
    has_blob: bool


class Question(StrEnum):
    """Predicted outcome, in the order of the learner's heads.

    A conversation depends on a click; a lead and spam depend on a conversation.
    """

    CLICK = "click"
    CONVERSATION = "conversation"
    LEAD = "lead"
    SPAM = "spam"
    """The conversation is spam."""


class Cell(msgspec.Struct, array_like=True):
    """Narrow bin of predictions: their number, the actual outcomes, and the sum of the predictions."""

    cases: int = 0
    actual: int = 0
    expected: float = 0.0


class PredictionTally(msgspec.Struct, array_like=True):
    """Predictions of one question beside actual outcomes; ``loss`` is their total log loss in nats.

    ``cells`` are narrow bins of predictions by number (see `evaluation.cell_of`).
    """

    loss: float = 0.0
    cells: dict[int, Cell] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PredictionDay:
    """Predictions for one ad account on the UTC day of the decisions."""

    ad_account_id: str
    day: str
    question: Question
    tally: PredictionTally


@dataclass(frozen=True, slots=True)
class Bin:
    """About a tenth of all predictions: their mean, the actual share, and its 95 % interval."""

    cases: int
    actual: int
    predicted: float
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class DailyLoss:
    """Mean log loss of a day, and that of the constant mean rate of all days (``of_rate``), in nats."""

    day: str
    cases: int
    actual: int
    loss: float
    of_rate: float


@dataclass(frozen=True, slots=True)
class Curve:
    """Calibration curve of one question.

    ``expected`` is the sum of the predictions of all ``cases``. ``loss`` and ``of_rate`` are as in
    `DailyLoss`, over all days. ``distance`` is the mean calibration error over the bins.
    """

    question: Question
    cases: int
    actual: int
    expected: float
    loss: float
    of_rate: float
    distance: float
    bins: tuple[Bin, ...]
    days: tuple[DailyLoss, ...]


class InfluenceSource(StrEnum):
    """Kind of feature that influences a prediction."""

    FIELD = "field"
    """A field of the request, with its interactions with ads."""
    AD = "ad"
    AD_FIELD = "ad_field"
    """A feature that ads share, such as their format."""
    HISTORY = "history"
    """Earlier actions of the viewer."""
    KIND = "kind"
    """Latent class of the viewer."""
    HOUR = "hour"
    WEEKDAY = "weekday"
    SHOWN = "shown"
    """Frequency and recency of the ad for the viewer."""
    TAPPED = "tapped"
    """Earlier click of the viewer on the ad."""
    CONTACTED = "known"
    """Earlier conversation or lead of the viewer with the advertiser."""


class ValueOdds(msgspec.Struct, array_like=True, frozen=True):
    """Value of a field, and its mean odds ratio."""

    value: str
    times: float


class Influence(msgspec.Struct, array_like=True, frozen=True):
    """Influence of one source on the predictions of a question.

    ``times`` is its typical odds ratio: the exponential of the standard deviation of its part of the score.
    ``name`` is that of a field. ``most`` and ``least`` are the frequent values with the extreme odds ratios.
    """

    question: Question
    source: InfluenceSource
    name: str
    times: float
    most: ValueOdds | None = None
    least: ValueOdds | None = None


class Phase(StrEnum):
    LEARNING = "learning"
    LEARNED = "learned"
    LIMITED = "limited"
    """Not learned in the time for it."""


class Reason(StrEnum):
    """Reason that keeps an ad group from learning, in the order of the checks."""

    FEW_CONVERSIONS = "few_conversions"
    """The time for learning is not over yet."""
    TOO_FEW_LEADS = "too_few_leads"
    TOO_FEW_CONVERSATIONS = "too_few_conversations"
    LITTLE_TRAFFIC = "little_traffic"
    """Hardly any requests match the targeting."""
    LOW_BID = "low_bid"
    """The cost target wins too few auctions, or results cost many times as much."""
    LITTLE_BUDGET = "little_budget"
    """The budget is too low for the conversions that learning needs."""


class GroupState(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Learning state of an ad group; ``number`` is the API's, money is micros.

    ``multiplier`` is the current value of a conversion. ``earned`` are the conversions of its goal so far;
    ``needed`` ones end the learning phase. Counts are of attributed outcomes.
    """

    number: int
    multiplier: float
    phase: Phase
    reasons: list[Reason]
    earned: int
    needed: int
    views: int
    clicks: int
    conversations: int
    spam: int
    leads: int
    predicted_leads: float
    spent_micros: int
