"""What a model says, corrected by what came since: an online calibration that follows how a business changes.

Theory. A corrected log-odds is ``shift + slope * log_odds``. Both wander a little with each outcome, and are
filtered as in dynamic logistic regression. How much they wander nobody knows: some speeds are followed side
by side, and each counts by how likely it found what came lately; where nothing changes the calm one wins.

Source: McCormick, Raftery, Madigan and Burd 2012 (dynamic logistic regression and dynamic model averaging).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, isnan
from typing import Final

_SPEEDS: Final = (0.0, 0.001, 0.01)
"""How much the variance of the shift grows with each outcome."""
_SLOPE: Final = 0.03
"""How much of that the slope gets."""
_FIRST_SHIFT: Final = 0.3
_FIRST_SLOPE: Final = 0.05
_MEMORY: Final = 0.99
"""How much of the evidence for a speed is left after one more outcome."""
_MOST: Final = 12.0
_LEAST: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Follower:
    """One speed: where shift and slope are taken to be, their variances, and what both share."""

    speed: float
    shift: float = 0.0
    slope: float = 1.0
    of_shift: float = _FIRST_SHIFT
    of_slope: float = _FIRST_SLOPE
    of_both: float = 0.0

    def chance(self, log_odds: float) -> float:
        """The corrected chance."""
        return _chance(self.shift + self.slope * log_odds)

    def follow(self, log_odds: float, came: float) -> "Follower":
        """Move towards what came: 1 or 0."""
        expected = self.chance(log_odds)
        of_shift, of_slope = self.of_shift + self.speed, self.of_slope + _SLOPE * self.speed
        to_shift = of_shift + self.of_both * log_odds
        to_slope = self.of_both + of_slope * log_odds
        sharp = expected * (1.0 - expected)
        share = 1.0 / (1.0 + sharp * (to_shift + to_slope * log_odds))
        step = share * (came - expected)
        return Follower(
            self.speed,
            self.shift + step * to_shift,
            self.slope + step * to_slope,
            of_shift - share * sharp * to_shift * to_shift,
            of_slope - share * sharp * to_slope * to_slope,
            self.of_both - share * sharp * to_shift * to_slope,
        )


@dataclass(frozen=True, slots=True)
class Correction:
    """Followers of several speeds, and how much each counts; the weights add up to one."""

    followers: tuple[Follower, ...] = tuple(Follower(speed) for speed in _SPEEDS)
    weights: tuple[float, ...] = tuple(1.0 / len(_SPEEDS) for _ in _SPEEDS)

    def chance(self, log_odds: float) -> float:
        """The corrected chance that belongs to what the model says."""
        held = _held(log_odds)
        return sum(
            weight * each.chance(held) for weight, each in zip(self.weights, self.followers, strict=True)
        )

    def learn(self, log_odds: float, came: float) -> "Correction":
        """What is known after one more outcome: 1 or 0, of which the model had said so much before."""
        held = _held(log_odds)
        told = []
        for weight, each in zip(self.weights, self.followers, strict=True):
            chance = each.chance(held)
            told.append(max(weight, _LEAST) ** _MEMORY * (chance if came else 1.0 - chance))
        total = sum(told)
        return Correction(
            tuple(each.follow(held, came) for each in self.followers), tuple(each / total for each in told)
        )


def correct_by(outcomes: Iterable[tuple[float, bool]], before: Correction) -> Correction:
    """A correction after outcomes, in their order: what the model had said, and what came."""
    for said, came in outcomes:
        before = before.learn(said, float(came))
    return before


def _held(log_odds: float) -> float:
    return 0.0 if isnan(log_odds) else max(min(log_odds, _MOST), -_MOST)


def _chance(log_odds: float) -> float:
    return 1.0 / (1.0 + exp(-max(min(log_odds, 30.0), -30.0)))
