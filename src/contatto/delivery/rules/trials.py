"""The trial that measures what learning brings: for some viewers the ad is drawn by lot.

Theory. Viewers with consent fall into groups by a keyed hash of whom delivery remembers them as, so a person
stays in one group and nobody can tell which from outside. Groups 1 to BUCKETS are served as learned, groups
-1 to -BUCKETS by lot. For these an ad group offers the same for everybody: what a conversion is worth to it
now, times its conversions for each view so far (at first: those that are expected of anybody). Of the ads
whose offer reaches the floor one is drawn, each alike. It pays as in any auction: the floor or the best offer
of another ad group, never more than its own.
"""

import math
from dataclasses import dataclass
from typing import Final

from contatto.delivery.rules.hashing import name_hash

BUCKETS: Final = 20
"""So many groups each way of serving is counted in; how far these differ tells how sure the lift is."""
ENOUGH_CONVERSIONS: Final = 20
"""With fewer conversions of either way no lift is told: the interval would not hold what it promises."""
_SURE: Final = 1.959964
"""The quantile of the normal distribution that leaves 2.5 % above it."""


def trial_of(viewer: str, share: float) -> int:
    """The group of a viewer: below 0 for the ``share`` of viewers that are served by lot, 0 without a trial.

    Args:
        viewer: whom delivery remembers them as, which is a keyed hash.
        share: 0 to 1.
    """
    if not share:
        return 0
    number = name_hash("trial", viewer)
    bucket = 1 + number % BUCKETS
    return -bucket if (number // BUCKETS) % 1_000_003 < share * 1_000_003 else bucket


@dataclass(frozen=True, slots=True)
class Arm:
    """What one way of serving spent and brought, in all its groups. Money is micros."""

    views: int
    spend_micros: int
    conversions: int
    by_bucket: tuple[tuple[int, int], ...]
    """Conversions and spend of each group."""

    @property
    def cost_micros(self) -> int | None:
        """The cost of a conversion, rounded down; None where there is none."""
        return self.spend_micros // self.conversions if self.conversions else None


@dataclass(frozen=True, slots=True)
class Lift:
    """How much more conversions the same money brings as learned than by lot: 0.23 for 23 % more.

    ``low`` and ``high`` bound it with 95 % confidence. All three are None while there is too little, and
    ``missing`` then says how many more conversions it takes of those served by lot, and of the others.
    """

    lift: float | None
    low: float | None
    high: float | None
    missing: tuple[int, int] = (0, 0)


def measure_lift(learned: Arm, by_lot: Arm) -> Lift:
    """Compare conversions for the same money, on the scale of logarithms.

    Viewers are the ones who are drawn, so the variance of an arm is that of its groups of viewers (the
    delta method for a ratio of sums), and the quantile is Student's, with the degrees of freedom of Welch.

    Source: W. G. Cochran, Sampling Techniques (ratio estimators); B. L. Welch, Biometrika 34 (1947).
    """
    missing = tuple(max(ENOUGH_CONVERSIONS - arm.conversions, 0) for arm in (by_lot, learned))
    if any(missing) or not by_lot.spend_micros or not learned.spend_micros:
        return Lift(None, None, None, (missing[0], missing[1]))
    ratio = _log_rate(learned) - _log_rate(by_lot)
    variances = [_variance(learned), _variance(by_lot)]
    freedom = sum(variances) ** 2 / sum(each**2 / (BUCKETS - 1) for each in variances)
    reach = _student(freedom) * math.sqrt(sum(variances))
    return Lift(math.expm1(ratio), math.expm1(ratio - reach), math.expm1(ratio + reach))


def _log_rate(arm: Arm) -> float:
    return math.log(arm.conversions) - math.log(arm.spend_micros)


def _variance(arm: Arm) -> float:
    """The variance of the logarithm of conversions for the money."""
    apart = [(came / arm.conversions - spent / arm.spend_micros) ** 2 for came, spent in arm.by_bucket]
    return BUCKETS / (BUCKETS - 1) * sum(apart) or 1.0 / arm.conversions


def _student(freedom: float) -> float:
    """The quantile of Student's t that leaves 2.5 % above it, to three digits from 5 degrees of freedom on.

    Source: M. Abramowitz and I. Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z = _SURE
    first = (z**3 + z) / 4.0
    second = (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0
    third = (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / 384.0
    return z + first / freedom + second / freedom**2 + third / freedom**3
