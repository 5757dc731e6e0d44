"""What a model goes by: how much each thing that is known moves its estimates."""

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from contatto.delivery.model.foretold import Question


class Source(StrEnum):
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
    KNOWN = "known"
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
    source: Source
    name: str
    times: float
    most: ValueOdds | None = None
    least: ValueOdds | None = None


@dataclass(frozen=True, slots=True)
class Influences:
    """What the model of a business goes by, strongest first, as it was at a moment (microseconds)."""

    at: int
    found: list[Influence]
