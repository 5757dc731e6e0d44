"""Decisions with their inputs, predictions beside outcomes, and learning phases."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from contatto.learning.lines import AdGroupLine, AdLine

NOBODY: Final = ""
"""Whom a request without consent is for: nothing is remembered of the viewer."""


class EntryKind(StrEnum):
    AD_GROUP = "ad_group"
    AD = "ad"
    LINES = "lines"
    """Ad groups and ads that no model knows yet; its nonce is the digest by which decisions name them."""
    DECISION = "decision"
    VIEW = "view"
    CLICK = "click"
    CONVERSATION = "conversation"
    LEAD = "lead"
    SPAM = "spam"
    QUALITY = "quality"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that delivery learns from; ``seq`` counts the entries of a business without a gap.

    ``nonce`` is the impression that it is about (0: of none), ``touch_id`` and ``person_id`` are those of a
    view or a click, ``body`` is what else is known of it. ``ts`` is in microseconds since 1970, and so is
    ``arrived_ts``, when the log got it: nobody knew of it before.
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
    """Why an ad group could not take part in an auction; the first one that holds."""

    NOT_ELIGIBLE = "not_eligible"
    COUNTRY = "country"
    OTHER_TOKEN = "other_token"  # noqa: S105 — no secret
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
    """What the auction knew of an ad group besides the model: budget left, multiplier, and zone.

    ``available`` is in micros of a thousand views, ``multiplier`` is what a conversion is worth (micros),
    ``offset_s`` the seconds that its zone is ahead of UTC.
    """

    number: int
    available: float
    multiplier: float
    offset_s: float


class Features(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The hashed features of the request as they were, for learning: arrays as bytes."""

    hashes: bytes
    values: bytes
    kinds: bytes
    between: bytes


class Record(msgspec.Struct, array_like=True, gc=False):
    """A decision: the request, all that the answer depended on besides the model, and the answer.

    Ads and ad groups are the API's numbers. ``ts`` is in microseconds since 1970, ``floor_micros``,
    ``offer_micros`` and ``price_micros`` are for a thousand views. ``viewer`` is a pseudonym, or NOBODY.
    ``history`` is the viewer's, as bytes by the name of the array. ``ad`` is 0 for no ad.

    ``placement`` is the id of an operator's placement, where businesses compete: each enters with the ad that
    it would show. ``to_beat_micros`` is then the least offer that wins the place from the others. Who wins
    pays that or the floor, never what other ads of their own would pay.

    ``trial`` is the viewer's group in the trial that measures what learning brings (see `rules/trials`).

    ``added`` are the ad groups and ads that differ from what the model knows. Before there is a model these
    are all of them, so the log holds them once, in an entry of their own whose nonce is ``lines``.
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
    """The body of what a viewer did after a click: a word of what it was.

    ``ts`` is when it happened, where the log was told later; 0 for the time of the entry.
    """

    value: str = ""
    ts: int = 0


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A published model: what was learned from all entries up to ``through``.

    ``origin`` says how it came to be; ``size`` is in bytes; ``has_blob`` whether its bytes are still kept.
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
    """What is foretold, in the order of the learner's heads: each of those that the one before it names."""

    CLICK = "click"
    """Whether who saw the ad taps it."""
    CONVERSATION = "conversation"
    """Whether who tapped it writes."""
    LEAD = "lead"
    """Whether who wrote becomes a lead."""
    SPAM = "spam"
    """Whether a chat turns out to be spam."""


class Cell(msgspec.Struct, array_like=True):
    """Chances that are almost the same: how often one was told, how often it came, and their sum."""

    cases: int = 0
    actual: int = 0
    expected: float = 0.0


class PredictionTally(msgspec.Struct, array_like=True):
    """Estimates of one question beside what came; ``loss`` is the log loss of all, in nats.

    ``cells`` are narrow steps of chances, by number (see `rules/foretelling`).
    """

    loss: float = 0.0
    cells: dict[int, Cell] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PredictionDay:
    """The estimates of a day (UTC, of the moment at which the ad was chosen) for ads of one ad account."""

    ad_account_id: str
    day: str
    question: Question
    tally: PredictionTally


@dataclass(frozen=True, slots=True)
class Bin:
    """About a tenth of all estimates: their mean, the share that came, and its 95 % interval."""

    cases: int
    actual: int
    predicted: float
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class DailyLoss:
    """The mean log loss of a day, and of who knows the rate of all days and nothing else; in nats."""

    day: str
    cases: int
    actual: int
    loss: float
    of_rate: float


@dataclass(frozen=True, slots=True)
class Curve:
    """How estimates of one question did.

    ``expected`` is how many were foretold of the ``asked``. ``loss`` and ``of_rate`` are as in `DailyLoss`,
    over all days. ``distance`` is the mean distance of what was told and what came, over the bins.
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
    """What something that moves an estimate is."""

    FIELD = "field"
    """What a request says: a field of it, and how that goes with each ad."""
    AD = "ad"
    """The ad by itself."""
    AD_FIELD = "ad_field"
    """What ads have in common: their format, their words."""
    HISTORY = "history"
    """What the viewer did before."""
    KIND = "kind"
    """The kind of viewers that the viewer is of."""
    HOUR = "hour"
    WEEKDAY = "weekday"
    SHOWN = "shown"
    """How often the viewer saw the ad before, and how long ago."""
    TAPPED = "tapped"
    """Whether the viewer tapped the ad before."""
    CONTACTED = "known"
    """Whether the viewer wrote to the advertiser before, or is a lead."""
    EARLIER = "earlier"
    """How likely the questions before this one were."""


class ValueOdds(msgspec.Struct, array_like=True, frozen=True):
    """A value of a field, and by what it multiplies the odds on the average of those who have it."""

    value: str
    times: float


class Influence(msgspec.Struct, array_like=True, frozen=True):
    """How much one thing moves the estimates of a question.

    ``times`` is by what it typically multiplies or divides the odds: the exponential of the standard
    deviation of what it adds to the score. ``name`` is that of a field.
    ``most`` and ``least`` are the values that raise and lower the odds most, of those that many viewers have.
    """

    question: Question
    source: InfluenceSource
    name: str
    times: float
    most: ValueOdds | None = None
    least: ValueOdds | None = None


@dataclass(frozen=True, slots=True)
class Influences:
    """What the model of a business goes by, strongest first, as it was at a moment (microseconds)."""

    at: int
    entries: list[Influence]


class Phase(StrEnum):
    LEARNING = "learning"
    LEARNED = "learned"
    LIMITED = "limited"


class Reason(StrEnum):
    """Why an ad group has not learned, in the order in which they are looked for."""

    FEW_CONVERSIONS = "few_conversions"
    """Time alone brings the rest."""
    TOO_FEW_LEADS = "too_few_leads"
    TOO_FEW_CONVERSATIONS = "too_few_conversations"
    LITTLE_TRAFFIC = "little_traffic"
    """Hardly anybody asks for an ad where this ad group may serve."""
    LOW_BID = "low_bid"
    """What a conversion may cost wins next to no place."""
    LITTLE_BUDGET = "little_budget"
    """The budget does not pay for the conversions that learning takes."""


class GroupState(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What the learner says of an ad group; ``number`` is the API's. Money is micros.

    ``multiplier`` is what a conversion is worth to it now. Counts are of what was credited to decisions.
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
