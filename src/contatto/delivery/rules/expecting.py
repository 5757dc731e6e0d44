"""What a budget is expected to bring: a range of conversions, from what they cost lately.

Theory. Conversions for the money follow a gamma distribution: those of the ad group, and with the weight of
PRIOR conversions those of all ad groups of its goal. What comes of a budget is then negative binomial, and
days differ beyond that by DRIFT: learning, tiring and competition. The range holds what comes in 8 of 10
cases. DRIFT was chosen so that it does in a world of the simulator (linear, seed 201), which others then
bore out; tests/delivery/test_expecting.py plays one.
"""

import math
from dataclasses import dataclass
from typing import Final

PRIOR: Final = 5.0
"""As many conversions of its own count as much as those of all ad groups of the goal."""
DRIFT: Final = 0.1
"""The variance of how much conversions for the money change from some days to the next, as a share."""
_TENTH: Final = 1.2816
"""The quantile of the normal distribution that leaves a tenth above it."""


@dataclass(frozen=True, slots=True)
class Earned:
    """Conversions, and the money that they took (micros)."""

    conversions: int
    spend_micros: int


@dataclass(frozen=True, slots=True)
class Expected:
    """Conversions that a budget is expected to bring: in eight of ten cases from ``low`` to ``high``."""

    low: int
    middle: float
    high: int


def expect(own: Earned, like: Earned, budget_micros: int) -> Expected | None:
    """What a budget is expected to bring an ad group.

    Args:
        own: what it earned lately.
        like: what all ad groups of its goal did, its own included.
        budget_micros: the money that is spent.

    Returns:
        None where there is nothing to go by: no money was spent on this goal, or nothing came of it.
    """
    if not like.spend_micros or not like.conversions:
        return None
    usual = like.conversions / like.spend_micros
    shape = own.conversions + PRIOR
    middle = budget_micros * shape / (own.spend_micros + PRIOR / usual)
    if middle <= 0.0:
        return Expected(0, 0.0, 0)
    variance = middle + middle**2 * (1.0 / shape + DRIFT)
    low, high = (_quantile(middle, variance, z) for z in (-_TENTH, _TENTH))
    return Expected(math.floor(low), middle, max(math.ceil(high), 1))


def _quantile(mean: float, variance: float, z: float) -> float:
    """A quantile of the gamma distribution with this mean and variance.

    Source: E. B. Wilson and M. M. Hilferty, PNAS 17 (1931).
    """
    share = variance / (9.0 * mean**2)
    return float(mean * max(1.0 - share + z * math.sqrt(share), 0.0) ** 3)
