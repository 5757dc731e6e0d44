"""Results of delivery: expected conversions, lift of the trial, lookalikes, and curves to draw."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contatto.ads.rules.targeting import known_countries
from contatto.audiences.model import LookalikeSize, LookalikeSpec
from contatto.delivery.model import Compared, Stage
from contatto.learning.features import hash_once
from contatto.learning.model import Bin, DailyLoss

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


SHARES: Final = {LookalikeSize.NARROW: 0.01, LookalikeSize.BALANCED: 0.05, LookalikeSize.BROAD: 0.10}
"""Which part of the viewers who can be reached is taken in."""
LEAST_KNOWN: Final = 100
"""Among fewer viewers nobody stands out."""
_SYSTEMS: Final = {"IOS": ("ios", "iphone", "ipad"), "ANDROID": ("android",)}
_NO_PHONES: Final = ("desktop", "laptop", "computer", "tv")
"""What publishers call devices that run neither."""
_FIRST_POWER: Final = 0.45
_FIRST_DEVIATION: Final = 0.6
_LAST_DEVIATION: Final = 0.35
_HALF_LEARNED: Final = 10.0
"""What made the lift true in the simulator: without a lead, with many, and with how many it is half way."""
_NINE_OF_TEN: Final = 1.281552
"""The quantile of the normal distribution that leaves a tenth above it."""


@dataclass(frozen=True, slots=True)
class Alike:
    """Who was found: ``lift`` is how many times the chance of all ``known`` ones theirs is.

    In eight of ten cases it lies between ``low`` and ``high``. All three are None where nobody was found.
    """

    viewers: tuple[str, ...]
    known: int
    lift: float | None = None
    low: float | None = None
    high: float | None = None


class Wanted:
    """Whom a lookalike may take in, by where and on what they were last.

    Of what a publisher calls a device only the system is understood; one that names none rules nothing out.
    """

    def __init__(self, spec: LookalikeSpec) -> None:
        self._countries = known_countries(spec.location_ids) if spec.location_ids else None
        self._system = spec.mobile_os if spec.mobile_os in _SYSTEMS else ""

    def takes(self, country: str, device: str) -> bool:
        if self._countries is not None and country.upper() not in self._countries:
            return False
        if not self._system:
            return True
        said = device.lower()
        runs = {name for name, words in _SYSTEMS.items() if any(word in said for word in words)}
        return self._system in runs if runs else not any(word in said for word in _NO_PHONES)


def choose_alike(
    scores: Mapping[str, float], size: LookalikeSize, left_out: Collection[str], leads: int = 0
) -> Alike:
    """The viewers with the best scores.

    Args:
        scores: of the viewers, by whom delivery remembers them as; 0 for one who cannot be reached.
        size: how many are taken in.
        left_out: who is not taken in: the people of the source.
        leads: what the ad groups whose scores these are have had.
    """
    able = {viewer: score for viewer, score in scores.items() if score > 0.0 and viewer not in left_out}
    if len(able) < LEAST_KNOWN:
        return Alike((), len(able))
    order = sorted(able, key=lambda viewer: (-able[viewer], viewer))
    chosen = tuple(order[: max(round(SHARES[size] * len(order)), 1)])
    ordered = np.array([able[viewer] for viewer in order])
    low, middle, high = (_lift(ordered, len(chosen), power) for power in powers_after(leads))
    return Alike(chosen, len(able), middle, low, high)


def powers_after(leads: int) -> tuple[float, float, float]:
    """The power of scores after so many leads: in eight of ten cases between the first and the last."""
    known = leads**2 / (leads**2 + _HALF_LEARNED**2)
    middle = _FIRST_POWER + (1.0 - _FIRST_POWER) * known
    deviation = _FIRST_DEVIATION + (_LAST_DEVIATION - _FIRST_DEVIATION) * known
    return max(middle - _NINE_OF_TEN * deviation, 0.0), middle, middle + _NINE_OF_TEN * deviation


def _lift(ordered: NDArray[np.float64], count: int, power: float) -> float:
    """Return how many times the mean of all that of the first ones is."""
    true = (ordered / ordered[0]) ** power
    return float(true[:count].mean() / true.mean())


SIZE: Final = 1000
_STEPS: Final = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_LABELS: Final = 6


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was foretold (from the start of the line on) against what came (upwards), 0 to ``top``."""

    top: float
    line: str
    points: str
    intervals: str


@dataclass(frozen=True, slots=True)
class Losses:
    """Two lines by day between ``low`` and ``top``: the loss, and what the day's rate loses.

    ``labels`` are the days below the axis, "" where there is no room for one.
    """

    low: float
    top: float
    loss: str
    loss_points: str
    of_rate: str
    labels: tuple[str, ...]


def round_up(value: float) -> float:
    """The next number with one digit, or one and a half."""
    if value <= 0.0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in _STEPS if step * power >= value * (1.0 - 1e-9))


def draw_bins(bins: Sequence[Bin]) -> Calibration:
    """The curve of some bins; intervals that leave the box end at its edge."""
    top = min(round_up(1.05 * max((max(each.predicted, each.share) for each in bins), default=0.0)), 1.0)

    def across(share: float) -> float:
        return _scaled(share, 0.0, top)

    places = [(across(each.predicted), SIZE - across(each.share)) for each in bins]
    intervals = [
        f"M{across(each.predicted)} {SIZE - across(each.low)}V{SIZE - across(each.high)}" for each in bins
    ]
    return Calibration(top, _line(places), _points(places), "".join(intervals))


def draw_losses(days: Sequence[DailyLoss]) -> Losses:
    """The lines of some days, of which each has something that was foretold."""
    values = [value for day in days for value in (day.loss, day.of_rate)] or [0.0]
    step = round_up(max(max(values) - min(values), max(values) * 0.05) / 2.0)
    low = max(floor(min(values) / step) * step, 0.0)
    top = max(ceil(max(values) / step) * step, low + step)
    slot = SIZE / max(len(days), 1)
    every = max(1, -(-len(days) // _LABELS))
    across = [round(slot * (number + 0.5), 1) for number in range(len(days))]
    loss, of_rate = (
        [(x, round(SIZE - _scaled(value, low, top), 1)) for x, value in zip(across, some, strict=True)]
        for some in ([each.loss for each in days], [each.of_rate for each in days])
    )
    labels = tuple(each.day if number % every == 0 else "" for number, each in enumerate(days))
    return Losses(low, top, _line(loss), _points(loss), _line(of_rate), labels)


def _scaled(value: float, low: float, top: float) -> float:
    return round(SIZE * min(max((value - low) / (top - low), 0.0), 1.0), 1)


def _line(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in places) if places else ""


def _points(places: Sequence[tuple[float, float]]) -> str:
    return "".join(f"M{x} {y}h.01" for x, y in places)


LEAST_CAME: Final = 20
"""A question of which fewer came, or did not, has no say: its losses are chance."""
WORST: Final = 0.02
"""No question may be foretold worse than what serves by a larger share of its loss."""


def judge_again(compared: Sequence[Compared]) -> Stage:
    """LEARNING where it may serve, else how it ends.

    Questions count alike, whatever they are asked of: clicks would else outvote leads. On the whole it has to
    be no worse than what served in those days, which had learned them all along.
    """
    heard = [each for each in compared if min(each.came, each.asked - each.came) >= LEAST_CAME]
    if not heard:
        return Stage.TOO_LITTLE
    worse = [each.loss / each.served - 1.0 for each in heard if each.served > 0.0]
    # a loss that is no number is neither above nor below: it must not pass
    is_good = all(share <= WORST for share in worse) and sum(worse) <= 0.0
    return Stage.LEARNING if is_good and worse else Stage.KEPT
