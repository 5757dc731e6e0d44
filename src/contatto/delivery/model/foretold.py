"""What was foretold of ads that were shown, beside what came: counted by day, and drawn as curves."""

from dataclasses import dataclass
from enum import StrEnum

import msgspec


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

    asked: int = 0
    came: int = 0
    expected: float = 0.0


class Tally(msgspec.Struct, array_like=True):
    """Estimates of one question beside what came; ``loss`` is the log loss of all, in nats.

    ``cells`` are narrow steps of chances, by number (see `rules/foretelling`).
    """

    loss: float = 0.0
    cells: dict[int, Cell] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToldDay:
    """The estimates of a day (UTC, of the moment at which the ad was chosen) for ads of one ad account."""

    ad_account_id: str
    day: str
    question: Question
    tally: Tally


@dataclass(frozen=True, slots=True)
class Bin:
    """About a tenth of all estimates: their mean, the share that came, and its 95 % interval."""

    asked: int
    came: int
    told: float
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LossOfDay:
    """The mean log loss of a day, and of who knows the rate of all days and nothing else; in nats."""

    day: str
    asked: int
    came: int
    loss: float
    of_rate: float


@dataclass(frozen=True, slots=True)
class Curve:
    """How estimates of one question did.

    ``expected`` is how many were foretold of the ``asked``. ``loss`` and ``of_rate`` are as in `LossOfDay`,
    over all days. ``distance`` is the mean distance of what was told and what came, over the bins.
    """

    question: Question
    asked: int
    came: int
    expected: float
    loss: float
    of_rate: float
    distance: float
    bins: tuple[Bin, ...]
    days: tuple[LossOfDay, ...]
