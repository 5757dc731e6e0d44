"""What a model says, corrected by what came since: an online calibration that follows how a business changes.

Theory. A corrected log-odds is ``shift + slope * log_odds``. Both wander a little with each outcome, and are
followed by a Kalman filter for logistic regression: sure at first, and open to what is new for ever.

Source: McCormick, Raftery, Madigan and Burd 2012 (dynamic logistic regression).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, isnan
from typing import Final

_SHIFT_WANDERS: Final = 0.001
"""How much the variance of the shift grows with each outcome: it remembers some hundred of them."""
_SLOPE_WANDERS: Final = 0.00003
_MOST: Final = 12.0
"""Log-odds beyond this are as sure as this."""
_STEEPEST: Final = 30.0


@dataclass(frozen=True, slots=True)
class Correction:
    """Where shift and slope are, their variances, and what both share; at first the model is right."""

    shift: float = 0.0
    slope: float = 1.0
    of_shift: float = 0.3
    of_slope: float = 0.05
    of_both: float = 0.0

    def chance(self, log_odds: float) -> float:
        """The corrected chance that belongs to what the model says."""
        corrected = self.shift + self.slope * _held(log_odds)
        return 1.0 / (1.0 + exp(-max(min(corrected, _STEEPEST), -_STEEPEST)))

    def learn(self, log_odds: float, came: float) -> "Correction":
        """What is known after one more outcome: 1 or 0, of which the model had said so much before."""
        expected, held = self.chance(log_odds), _held(log_odds)
        of_shift, of_slope = self.of_shift + _SHIFT_WANDERS, self.of_slope + _SLOPE_WANDERS
        to_shift = of_shift + self.of_both * held
        to_slope = self.of_both + of_slope * held
        sharp = expected * (1.0 - expected)
        share = 1.0 / (1.0 + sharp * (to_shift + to_slope * held))
        step = share * (came - expected)
        return Correction(
            self.shift + step * to_shift,
            self.slope + step * to_slope,
            of_shift - share * sharp * to_shift * to_shift,
            of_slope - share * sharp * to_slope * to_slope,
            self.of_both - share * sharp * to_shift * to_slope,
        )


def correct_by(outcomes: Iterable[tuple[float, bool]], before: Correction) -> Correction:
    """A correction after outcomes, in their order: what the model had said, and what came."""
    for said, came in outcomes:
        before = before.learn(said, float(came))
    return before


def _held(log_odds: float) -> float:
    return 0.0 if isnan(log_odds) else max(min(log_odds, _MOST), -_MOST)
