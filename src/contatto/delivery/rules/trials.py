"""The trial that measures what learning brings: for some viewers the ad is drawn by lot.

Theory. Viewers with consent fall into groups by a keyed hash of whom delivery remembers them as, so a person
stays in one group and nobody can tell which from outside. Groups 1 to BUCKETS are served as learned, groups
-1 to -BUCKETS by lot. Both are sold the same places at the same prices: the auction is held as learned for
everybody, and says whether the place is filled and what it costs. By lot, any ad group that can pay is drawn
instead of the winner, with the chance of its share of views. So only who sees what differs between both,
and conversions for each view tell what learning brings.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from contatto.delivery.rules.hashing import hash_once

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
    number = hash_once("trial", viewer)
    bucket = 1 + number % BUCKETS
    return -bucket if (number // BUCKETS) % 1_000_003 < share * 1_000_003 else bucket


@dataclass(frozen=True, slots=True)
class Arm:
    """What one way of serving spent and brought, in all groups of viewers. Money is micros."""

    views: int
    spend_micros: int
    conversions: int
    by_bucket: tuple[tuple[int, int], ...]
    """Conversions and views of each group of viewers."""

    @property
    def cost_micros(self) -> int | None:
        """The cost of a conversion, rounded down; None where there is none."""
        return self.spend_micros // self.conversions if self.conversions else None


@dataclass(frozen=True, slots=True)
class Pair:
    """What an ad group brought where it was chosen as learned, and where it was drawn."""

    learned: Arm
    by_lot: Arm


@dataclass(frozen=True, slots=True)
class Lift:
    """How much more conversions the same views bring as learned than by lot: 0.23 for 23 % more.

    ``low`` and ``high`` bound it with 95 % confidence. All three are None while there is too little, and
    ``missing`` then says how many more conversions it takes of those served by lot, and of the others.
    """

    lift: float | None
    low: float | None
    high: float | None
    missing: tuple[int, int] = (0, 0)


def add_arms(arms: Sequence[Arm]) -> Arm:
    """Several ad groups that were served in one way, in sum."""
    parts = [[arm.by_bucket[bucket] for arm in arms] for bucket in range(BUCKETS)]
    return Arm(
        sum(arm.views for arm in arms),
        sum(arm.spend_micros for arm in arms),
        sum(arm.conversions for arm in arms),
        tuple((sum(came for came, _ in part), sum(views for _, views in part)) for part in parts),
    )


def measure_lift(pairs: Sequence[Pair]) -> Lift:
    """Compare conversions of ad groups with those that lots would have had in as many views of each.

    Learning spends more views on the ad groups that have more to gain; so each is compared with itself, and
    one that was not seen both ways is left out. Viewers are the ones who are drawn, so the variance is that
    of their groups (the delta method for a ratio of sums), and the quantile is Student's, with the degrees
    of freedom of Welch.

    Source: W. G. Cochran, Sampling Techniques (ratio estimators, standardisation); B. L. Welch, Biometrika 34
    (1947).
    """
    both = [pair for pair in pairs if pair.learned.views and pair.by_lot.views]
    came = sum(pair.learned.conversions for pair in both)
    by_lot = sum(pair.by_lot.conversions for pair in both)
    missing = (max(ENOUGH_CONVERSIONS - by_lot, 0), max(ENOUGH_CONVERSIONS - came, 0))
    if any(missing):
        return Lift(None, None, None, missing)
    factors = [pair.learned.views / pair.by_lot.views for pair in both]
    expected = sum(factor * pair.by_lot.conversions for factor, pair in zip(factors, both, strict=True))
    ratio = math.log(came / expected)
    variances = [
        _variance([(1.0 / came, pair.learned) for pair in both]) or 1.0 / came,
        _variance([(each / expected, pair.by_lot) for each, pair in zip(factors, both, strict=True)])
        or 1.0 / by_lot,
    ]
    freedom = sum(variances) ** 2 / sum(variance**2 / (BUCKETS - 1) for variance in variances)
    reach = _student(freedom) * math.sqrt(sum(variances))
    return Lift(math.expm1(ratio), math.expm1(ratio - reach), math.expm1(ratio + reach))


def _variance(weighed: Sequence[tuple[float, Arm]]) -> float:
    """The variance of the logarithm of a weighed sum of conversions, each for as many views as there were."""
    apart = [0.0] * BUCKETS
    for weight, arm in weighed:
        rate = arm.conversions / arm.views
        for bucket, (came, views) in enumerate(arm.by_bucket):
            apart[bucket] += weight * (came - rate * views)
    return BUCKETS / (BUCKETS - 1) * sum(each**2 for each in apart)


def _student(freedom: float) -> float:
    """The quantile of Student's t that leaves 2.5 % above it, to three digits from 5 degrees of freedom on.

    Source: M. Abramowitz and I. Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z = _SURE
    first = (z**3 + z) / 4.0
    second = (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0
    third = (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / 384.0
    return z + first / freedom + second / freedom**2 + third / freedom**3
