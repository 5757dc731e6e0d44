"""Forecasts, lift of the trial, lookalikes, curves to draw, and the verdict on a relearned model."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final

import numpy as np

from contatto.ads.rules.goals import known_countries
from contatto.audiences.model import LookalikeSize, LookalikeSpec
from contatto.delivery.model import LossComparison, Stage
from contatto.learning.features import hash_once
from contatto.learning.model import Bin, DailyLoss

PRIOR: Final = 5.0
"""The prior rate of all ad groups of a goal weighs as much as this many conversions."""
DRIFT: Final = 0.1
"""Relative variance of the cost per conversion between periods."""
_TENTH: Final = 1.2816
"""The 90 % quantile of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Earnings:
    """Conversions, and their cost in micros."""

    conversions: int
    spend_micros: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """Conversions that a budget brings, with an 80 % interval from ``low`` to ``high``."""

    low: int
    middle: float
    high: int


def forecast(own: Earnings, similar: Earnings, budget_micros: int) -> Forecast | None:
    """Predict the conversions that a budget brings an ad group.

    The interval uses quantiles of the gamma distribution (E. B. Wilson and M. M. Hilferty, PNAS 17, 1931).

    Args:
        own: recent results of the ad group.
        similar: recent results of all ad groups of its goal, its own included.
        budget_micros: the amount to spend.

    Returns:
        None without any spending or conversions for this goal.
    """
    if not similar.spend_micros or not similar.conversions:
        return None
    usual = similar.conversions / similar.spend_micros
    shape = own.conversions + PRIOR
    middle = budget_micros * shape / (own.spend_micros + PRIOR / usual)
    if middle <= 0.0:
        return Forecast(0, 0.0, 0)
    variance = middle + middle**2 * (1.0 / shape + DRIFT)
    share = variance / (9.0 * middle**2)
    low, high = (float(middle * max(1.0 - share + z * math.sqrt(share), 0.0) ** 3) for z in (-_TENTH, _TENTH))
    return Forecast(math.floor(low), middle, max(math.ceil(high), 1))


BUCKETS: Final = 20
"""Groups of viewers in each arm; their differences give the variance of the lift."""
ENOUGH_CONVERSIONS: Final = 20
"""With fewer conversions in an arm the interval of the lift would not be reliable."""
_SURE: Final = 1.959964
"""The 97.5 % quantile of the normal distribution."""


def trial_of(viewer: str, share: float) -> int:
    """Return the group of a viewer: below 0 in the random arm, above 0 in the learned arm, 0 without a trial.

    Args:
        viewer: the pseudonym for delivery, which is a keyed hash.
        share: the share of viewers in the random arm, 0 to 1.
    """
    if not share:
        return 0
    number = hash_once("trial", viewer)
    bucket = 1 + number % BUCKETS
    return -bucket if (number // BUCKETS) % 1_000_003 < share * 1_000_003 else bucket


@dataclass(frozen=True, slots=True)
class Arm:
    """Results of one arm of the trial in all groups of viewers; money is micros."""

    views: int
    spend_micros: int
    conversions: int
    by_bucket: tuple[tuple[int, int], ...]
    """Conversions and views by group of viewers."""

    @property
    def cost_micros(self) -> int | None:
        """Return the cost of a conversion, rounded down; None without conversions."""
        return self.spend_micros // self.conversions if self.conversions else None


@dataclass(frozen=True, slots=True)
class TrialArms:
    """Results of an ad group in the learned and in the random arm."""

    learned: Arm
    random: Arm


@dataclass(frozen=True, slots=True)
class Lift:
    """Additional conversions of the learned arm for the same views: 0.23 for 23 % more.

    ``low`` and ``high`` bound the 95 % interval. All three are None with too few conversions; ``missing``
    then counts the conversions that the random and the learned arm still need.
    """

    lift: float | None
    low: float | None
    high: float | None
    missing: tuple[int, int] = (0, 0)


def add_arms(arms: Sequence[Arm]) -> Arm:
    """Sum the results of several ad groups in one arm."""
    buckets = [[arm.by_bucket[bucket] for arm in arms] for bucket in range(BUCKETS)]
    return Arm(
        sum(arm.views for arm in arms),
        sum(arm.spend_micros for arm in arms),
        sum(arm.conversions for arm in arms),
        tuple((sum(count for count, _ in bucket), sum(views for _, views in bucket)) for bucket in buckets),
    )


def measure_lift(pairs: Sequence[TrialArms]) -> Lift:
    """Compare the conversions of both arms for equal numbers of views of each ad group.

    Learning moves views to ad groups with more potential. So each ad group is compared with itself, and one
    with views in a single arm is left out. Viewers are randomized, so the variance is that of their groups
    (the delta method for a ratio of sums). The quantile is Student's, with Welch's degrees of freedom.

    Source: W. G. Cochran, Sampling Techniques (ratio estimators, standardisation); B. L. Welch, Biometrika 34
    (1947).
    """
    both = [pair for pair in pairs if pair.learned.views and pair.random.views]
    learned = sum(pair.learned.conversions for pair in both)
    random = sum(pair.random.conversions for pair in both)
    missing = (max(ENOUGH_CONVERSIONS - random, 0), max(ENOUGH_CONVERSIONS - learned, 0))
    if any(missing):
        return Lift(None, None, None, missing)
    factors = [pair.learned.views / pair.random.views for pair in both]
    expected = sum(factor * pair.random.conversions for factor, pair in zip(factors, both, strict=True))
    ratio = math.log(learned / expected)
    variances = [
        _variance([(1.0 / learned, pair.learned) for pair in both]) or 1.0 / learned,
        _variance([(factor / expected, pair.random) for factor, pair in zip(factors, both, strict=True)])
        or 1.0 / random,
    ]
    freedom = sum(variances) ** 2 / sum(variance**2 / (BUCKETS - 1) for variance in variances)
    reach = _student(freedom) * math.sqrt(sum(variances))
    return Lift(math.expm1(ratio), math.expm1(ratio - reach), math.expm1(ratio + reach))


def _variance(weighted: Sequence[tuple[float, Arm]]) -> float:
    """Return the variance of the logarithm of a weighted sum of conversions, given the views."""
    deviations = [0.0] * BUCKETS
    for weight, arm in weighted:
        rate = arm.conversions / arm.views
        for bucket, (count, views) in enumerate(arm.by_bucket):
            deviations[bucket] += weight * (count - rate * views)
    return BUCKETS / (BUCKETS - 1) * sum(deviation**2 for deviation in deviations)


def _student(freedom: float) -> float:
    """Return the 97.5 % quantile of Student's t, to three digits from 5 degrees of freedom on.

    Source: M. Abramowitz and I. Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z = _SURE
    first = (z**3 + z) / 4.0
    second = (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0
    third = (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / 384.0
    return z + first / freedom + second / freedom**2 + third / freedom**3


SHARES: Final = {LookalikeSize.NARROW: 0.01, LookalikeSize.BALANCED: 0.05, LookalikeSize.BROAD: 0.10}
"""Share of the reachable viewers in a lookalike, by size."""
LEAST_KNOWN: Final = 100
"""With fewer viewers scores do not discriminate."""
_SYSTEMS: Final = {"IOS": ("ios", "iphone", "ipad"), "ANDROID": ("android",)}
_NO_PHONES: Final = ("desktop", "laptop", "computer", "tv")
"""Words of publishers for devices with neither system."""
_FIRST_POWER: Final = 0.45
_FIRST_DEVIATION: Final = 0.6
_LAST_DEVIATION: Final = 0.35
_HALF_LEARNED: Final = 10.0
"""Calibration of the predicted lift in the simulator: without leads, with many, and halfway."""
_NINE_OF_TEN: Final = 1.281552
"""The 90 % quantile of the normal distribution."""


@dataclass(frozen=True, slots=True)
class LookalikeMatch:
    """Members of a lookalike; ``lift`` is their predicted lead rate divided by that of all ``known`` viewers.

    ``low`` and ``high`` bound the 80 % interval. All three are None without members.
    """

    viewers: tuple[str, ...]
    known: int
    lift: float | None = None
    low: float | None = None
    high: float | None = None


class LookalikeFilter:
    """Filter of viewers by their last country and device.

    Only the system of a device matters; a device without a known system passes.
    """

    def __init__(self, spec: LookalikeSpec) -> None:
        self._countries = known_countries(spec.location_ids) if spec.location_ids else None
        self._system = spec.mobile_os if spec.mobile_os in _SYSTEMS else ""

    def takes(self, country: str, device: str) -> bool:
        if self._countries is not None and country.upper() not in self._countries:
            return False
        if not self._system:
            return True
        words = device.lower()
        systems = {name for name, marks in _SYSTEMS.items() if any(mark in words for mark in marks)}
        return self._system in systems if systems else not any(word in words for word in _NO_PHONES)


def choose_lookalikes(
    scores: Mapping[str, float], size: LookalikeSize, left_out: Collection[str], leads: int = 0
) -> LookalikeMatch:
    """Choose the viewers with the best scores.

    Args:
        scores: by pseudonym; 0 for a viewer who cannot be reached.
        size: the share of viewers to choose.
        left_out: excluded viewers: the people of the source.
        leads: the number of leads of the ad groups that gave the scores.
    """
    able = {viewer: score for viewer, score in scores.items() if score > 0.0 and viewer not in left_out}
    if len(able) < LEAST_KNOWN:
        return LookalikeMatch((), len(able))
    order = sorted(able, key=lambda viewer: (-able[viewer], viewer))
    chosen = tuple(order[: max(round(SHARES[size] * len(order)), 1)])
    relative = np.array([able[viewer] for viewer in order]) / able[order[0]]
    low, middle, high = (
        float(rates[: len(chosen)].mean() / rates.mean())
        for rates in (relative**power for power in powers_after(leads))
    )
    return LookalikeMatch(chosen, len(able), middle, low, high)


def powers_after(leads: int) -> tuple[float, float, float]:
    """Return the power that calibrates scores after some leads, in the middle of its 80 % interval."""
    progress = leads**2 / (leads**2 + _HALF_LEARNED**2)
    middle = _FIRST_POWER + (1.0 - _FIRST_POWER) * progress
    deviation = _FIRST_DEVIATION + (_LAST_DEVIATION - _FIRST_DEVIATION) * progress
    return max(middle - _NINE_OF_TEN * deviation, 0.0), middle, middle + _NINE_OF_TEN * deviation


SIZE: Final = 1000
_STEPS: Final = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_LABELS: Final = 6


@dataclass(frozen=True, slots=True)
class Calibration:
    """Paths of predicted (x) against actual (y) shares, 0 to ``top``."""

    top: float
    line: str
    points: str
    intervals: str


@dataclass(frozen=True, slots=True)
class Losses:
    """Paths of the daily loss and of the loss of the mean rate, between ``low`` and ``top``.

    ``labels`` are the days below the axis, "" where a label does not fit.
    """

    low: float
    top: float
    loss: str
    loss_points: str
    of_rate: str
    labels: tuple[str, ...]


def round_up(value: float) -> float:
    """Round up to a number with one digit, or to 1.5 or 2.5 times a power of ten."""
    if value <= 0.0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in _STEPS if step * power >= value * (1.0 - 1e-9))


def draw_bins(bins: Sequence[Bin]) -> Calibration:
    """Draw calibration bins; intervals end at the edge of the box."""
    top = min(round_up(1.05 * max((max(item.predicted, item.share) for item in bins), default=0.0)), 1.0)
    predicted = [_scaled(item.predicted, 0.0, top) for item in bins]
    places = [(x, SIZE - _scaled(item.share, 0.0, top)) for x, item in zip(predicted, bins, strict=True)]
    intervals = [
        f"M{x} {SIZE - _scaled(item.low, 0.0, top)}V{SIZE - _scaled(item.high, 0.0, top)}"
        for x, item in zip(predicted, bins, strict=True)
    ]
    return Calibration(top, _line(places), _points(places), "".join(intervals))


def draw_losses(days: Sequence[DailyLoss]) -> Losses:
    values = [value for day in days for value in (day.loss, day.of_rate)] or [0.0]
    step = round_up(max(max(values) - min(values), max(values) * 0.05) / 2.0)
    low = max(floor(min(values) / step) * step, 0.0)
    top = max(ceil(max(values) / step) * step, low + step)
    slot = SIZE / max(len(days), 1)
    every = max(1, -(-len(days) // _LABELS))
    across = [round(slot * (number + 0.5), 1) for number in range(len(days))]
    loss, of_rate = (
        [(x, round(SIZE - _scaled(value, low, top), 1)) for x, value in zip(across, series, strict=True)]
        for series in ([day.loss for day in days], [day.of_rate for day in days])
    )
    labels = tuple(day.day if number % every == 0 else "" for number, day in enumerate(days))
    return Losses(low, top, _line(loss), _points(loss), _line(of_rate), labels)


def _scaled(value: float, low: float, top: float) -> float:
    return round(SIZE * min(max((value - low) / (top - low), 0.0), 1.0), 1)


def _line(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in places) if places else ""


def _points(places: Sequence[tuple[float, float]]) -> str:
    return "".join(f"M{x} {y}h.01" for x, y in places)


LEAST_POSITIVES: Final = 20
"""A question with fewer positive or negative outcomes has no vote: its losses are chance."""
WORST: Final = 0.02
"""Largest relative increase of the loss that is accepted for a single question."""


def judge_candidate(compared: Sequence[LossComparison]) -> Stage:
    """Return LEARNING for a candidate that may replace the current model, else the final stage.

    Questions have equal weight, or clicks would outvote leads. In total the candidate must be no worse than
    the current model, which had learned those days too.
    """
    voting = [
        question
        for question in compared
        if min(question.positives, question.cases - question.positives) >= LEAST_POSITIVES
    ]
    if not voting:
        return Stage.TOO_LITTLE
    increases = [item.loss / item.current_loss - 1.0 for item in voting if item.current_loss > 0.0]
    # a loss that is NaN is neither above nor below, and must not pass
    is_good = all(increase <= WORST for increase in increases) and sum(increases) <= 0.0
    return Stage.LEARNING if is_good and increases else Stage.KEPT
