"""Offline evaluation of predictions and policies on the decision log."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contatto.kit.values import from_micros, interval_of, loss_of_rate
from contatto.learning.columns import (
    CLICK,
    CONVERSATION,
    HEADS,
    LEAD,
    O_VIEWER,
    S_EXPLORE,
    S_TEMPERATURE,
    S_VIEWER,
)
from contatto.learning.market import VIEW, MarketState
from contatto.learning.model import (
    Bin,
    Cell,
    Curve,
    DailyLoss,
    PredictionDay,
    PredictionTally,
    Question,
    Record,
)
from contatto.learning.replica import Replica, repeat_decision

LEAST_CHANCE: Final = 1e-9
"""Distance of predictions from 0 and 1, so that no loss is infinite."""
CALIBRATION_BINS: Final = 15

type Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PredictionScore:
    """Accuracy and calibration of the predictions of one question.

    ``normalized`` is the log loss (nats) over that of the mean rate, NaN if all outcomes are equal.
    ``ratio`` is expected over actual outcomes. ``calibration_error`` is their mean distance over equal bins.
    """

    count: int
    actual: float
    expected: float
    log_loss: float
    normalized: float
    ratio: float
    calibration_error: float


@dataclass(frozen=True, slots=True)
class Value:
    """Mean reward of a policy per choice, and its standard error."""

    mean: float
    error: float


def score_predictions(estimates: Floats, outcomes: Floats) -> PredictionScore:
    """Score predicted probabilities by their actual outcomes, 0 or 1.

    Raises:
        ValueError: the arrays are empty or differ in length.
    """
    if not len(estimates) or len(estimates) != len(outcomes):
        raise ValueError("there have to be as many outcomes as estimates, and some")
    p = np.clip(estimates, LEAST_CHANCE, 1.0 - LEAST_CHANCE)
    loss = float(-(outcomes * np.log(p) + (1.0 - outcomes) * np.log1p(-p)).mean())
    rate, actual, expected = float(outcomes.mean()), float(outcomes.sum()), float(estimates.sum())
    entropy = -(rate * math.log(rate) + (1.0 - rate) * math.log1p(-rate)) if 0.0 < rate < 1.0 else 0.0
    order = np.argsort(estimates, kind="stable")
    bins = np.array_split(order, min(CALIBRATION_BINS, len(order)))
    distances = (len(rows) * abs(estimates[rows].mean() - outcomes[rows].mean()) for rows in bins)
    return PredictionScore(
        count=len(estimates),
        actual=actual,
        expected=expected,
        log_loss=loss,
        normalized=loss / entropy if entropy else math.nan,
        ratio=expected / actual if actual else math.nan,
        calibration_error=float(sum(distances) / len(order)),
    )


def inverse_propensity(rewards: Floats, weights: Floats) -> Value:
    """Return the unbiased value of another policy (IPS).

    ``rewards`` are those of the logged choices; ``weights`` the propensities of the other policy over the
    logged ones.
    """
    return _mean_of(rewards * weights)


def self_normalized(rewards: Floats, weights: Floats) -> Value:
    """Return the value over the sum of the weights (SNIPS); NaN if all weights are 0."""
    total = float(weights.sum())
    if total <= 0.0:
        return Value(math.nan, math.nan)
    mean = float((rewards * weights).sum()) / total
    error = math.sqrt(float((weights**2 * (rewards - mean) ** 2).sum())) / total
    return Value(mean, error)


def doubly_robust(rewards: Floats, weights: Floats, chosen: Floats, expected: Floats) -> Value:
    """Return the value predicted by a model, corrected by its errors on logged choices (DR).

    ``chosen`` are its predicted rewards of the logged choices, ``expected`` of the other policy.
    """
    return _mean_of(expected + weights * (rewards - chosen))


def choice_chances(
    offers: Mapping[int, float], floor: float, temperature: float, explore: float
) -> dict[int, float]:
    """Return the propensity of each ad, given its bid; the key 0 means no ad.

    ``floor`` is the reserve price, ``temperature`` the closeness of two bids at which chance decides, and
    ``explore`` the share of requests for exploration.
    """
    able = {ad: offer for ad, offer in offers.items() if offer >= max(floor, 1.0)}
    if not able:
        return {0: 1.0}
    best = max(able.values())
    shares = {ad: math.pow(offer / best, 1.0 / temperature) for ad, offer in able.items()}
    total = sum(shares.values())
    return {ad: (1.0 - explore) * share / total + explore / len(able) for ad, share in shares.items()}


def effective_count(weights: Floats) -> float:
    """Return the effective sample size of weighted choices (Kish 1965)."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0.0 else 0.0


def _mean_of(values: Floats) -> Value:
    count = len(values)
    error = float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return Value(float(values.mean()), error)


CURVE_BINS: Final = 10
CELLS_A_UNIT: Final = 20
"""Cells of predictions per unit of log-odds."""
FARTHEST: Final = 12.0
"""Bound of the log-odds."""


def cell_of(chance: float) -> int:
    """Return the cell of a prediction."""
    p = _bounded(chance)
    odds = min(max(math.log(p) - math.log1p(-p), -FARTHEST), FARTHEST)
    return math.floor(odds * CELLS_A_UNIT)


def _bounded(chance: float) -> float:
    return min(max(chance, LEAST_CHANCE), 1.0 - LEAST_CHANCE)


def count_prediction(tally: PredictionTally, chance: float) -> None:
    """Count a prediction without an outcome so far."""
    cell = tally.cells.setdefault(cell_of(chance), Cell())
    cell.cases += 1
    cell.expected += chance
    tally.loss -= math.log1p(-_bounded(chance))


def count_outcome(tally: PredictionTally, chance: float) -> None:
    """Count the actual outcome of a prediction."""
    p = _bounded(chance)
    tally.cells.setdefault(cell_of(chance), Cell()).actual += 1
    tally.loss += math.log1p(-p) - math.log(p)


def add_tallies(tallies: Iterable[PredictionTally]) -> PredictionTally:
    """Return the sum of tallies."""
    total = PredictionTally()
    for tally in tallies:
        total.loss += tally.loss
        for number, cell in tally.cells.items():
            _add_cell(total.cells.setdefault(number, Cell()), cell)
    return total


def _add_cell(total: Cell, cell: Cell) -> None:
    total.cases += cell.cases
    total.actual += cell.actual
    total.expected += cell.expected


def bins_of(tally: PredictionTally, count: int = CURVE_BINS) -> tuple[Bin, ...]:
    """Return bins of about equal size by rising prediction; fewer if single cells are larger."""
    total = sum(cell.cases for cell in tally.cells.values())
    filled: dict[int, Cell] = {}
    before = 0
    for _, cell in sorted(tally.cells.items()):
        if not cell.cases:
            continue
        place = min(count * (2 * before + cell.cases) // (2 * total), count - 1)
        before += cell.cases
        _add_cell(filled.setdefault(place, Cell()), cell)
    bins = []
    for cell in filled.values():
        actual = min(cell.actual, cell.cases)
        low, high = interval_of(actual, cell.cases)
        bins.append(Bin(cell.cases, actual, cell.expected / cell.cases, actual / cell.cases, low, high))
    return tuple(bins)


def curve_of(question: Question, days: Sequence[PredictionDay]) -> Curve | None:
    """Return the calibration curve of a question over days of any ad accounts; None without predictions."""
    by_day: dict[str, list[PredictionTally]] = {}
    for prediction_day in days:
        if prediction_day.question is question:
            by_day.setdefault(prediction_day.day, []).append(prediction_day.tally)
    total = add_tallies(tally for tallies in by_day.values() for tally in tallies)
    bins = bins_of(total)
    cases, actual = sum(part.cases for part in bins), sum(part.actual for part in bins)
    if not cases:
        return None
    rate = actual / cases
    losses = []
    for day, tallies in sorted(by_day.items()):
        tally = add_tallies(tallies)
        count = sum(cell.cases for cell in tally.cells.values())
        outcomes = sum(cell.actual for cell in tally.cells.values())
        if count:
            of_rate = loss_of_rate(min(outcomes, count), count, rate)
            losses.append(DailyLoss(day, count, outcomes, tally.loss / count, of_rate))
    distance = sum(part.cases * abs(part.predicted - part.share) for part in bins) / cases
    return Curve(
        question, cases, actual, sum(part.cases * part.predicted for part in bins), total.loss / cases,
        loss_of_rate(actual, cases, rate), distance, bins, tuple(losses),
    )  # fmt: skip


HEAD_OF: Final = {question: head for head, question in enumerate(Question)}
_NEXT_QUESTIONS: Final = {
    VIEW: (Question.CLICK,),
    CLICK: (Question.CONVERSATION,),
    CONVERSATION: (Question.LEAD, Question.SPAM),
}
"""Questions that an event raises."""
_ANSWERS: Final = dict(enumerate(Question))

type Key = tuple[int, str, Question]
"""Number of an ad group, UTC day and question."""


def count_happened(market: MarketState, tallies: dict[Key, PredictionTally]) -> None:
    """Count the new events of a market beside their predictions, and clear them."""
    for event, impression in market.happened or ():
        number = int(market.groups.groups[impression.group].line.adgroup_id)
        day = from_micros(impression.asked_at).date().isoformat()
        if (question := _ANSWERS.get(event)) is not None:
            count_outcome(tallies.setdefault((number, day, question), PredictionTally()), impression.p[event])
        for question in _NEXT_QUESTIONS.get(event, ()):
            tally = tallies.setdefault((number, day, question), PredictionTally())
            count_prediction(tally, impression.p[HEAD_OF[question]])
    if market.happened:
        market.happened.clear()


STAGES: Final = ("click", "conversation", "lead")
"""Rewards of a choice; each needs the one before."""


@contextmanager
def viewer_as_held(market: MarketState) -> Iterator[None]:
    """Fix the viewer's value at that of the last auction, for auctions of single ads."""
    market.numbers[S_VIEWER] = market.outcome[O_VIEWER]
    try:
        yield
    finally:
        market.numbers[S_VIEWER] = 0.0


@dataclass(frozen=True, slots=True)
class Weighed:
    """Logged decision under another model.

    ``weight`` is the ratio of its propensity to the logged one. ``chosen`` are its predicted rewards of the
    logged choice, and ``expected`` of its own policy, by stage.
    """

    weight: float
    chosen: tuple[float, ...]
    expected: tuple[float, ...]


def weigh_record(replica: Replica, record: Record) -> Weighed:
    """Weigh a logged choice under another model, with the logged budgets and multipliers.

    Ads that the model does not contain cannot win.
    """
    market = replica.market
    replica.set_live(record.added)
    offers: dict[int, float] = {}
    rewards: dict[int, tuple[float, ...]] = {}
    ads = [ad for ad in record.ads if str(ad) in market.groups.ad_by_id]
    groups = [group for group in record.groups if str(group.number) in market.groups.by_id]
    usable = msgspec.structs.replace(record, ads=ads, groups=groups, floor_micros=1)
    repeat_decision(replica, usable)
    with viewer_as_held(market):
        for ad in ads:
            single = repeat_decision(replica, msgspec.structs.replace(usable, ads=[ad]))
            offers[ad] = float(single.offer_micros if single.ad else 0)
            p = single.p or (0.0,) * HEADS
            rewards[ad] = (p[CLICK], p[CLICK] * p[CONVERSATION], p[CLICK] * p[CONVERSATION] * p[LEAD])
    numbers = market.numbers
    chances = choice_chances(
        offers, float(record.floor_micros), float(numbers[S_TEMPERATURE]), float(numbers[S_EXPLORE])
    )
    expected = tuple(
        sum(chance * rewards[ad][stage] for ad, chance in chances.items() if ad in rewards)
        for stage in range(len(STAGES))
    )
    no_reward = (0.0,) * len(STAGES)
    weight = chances.get(record.ad, 0.0) / record.propensity
    return Weighed(weight, rewards.get(record.ad, no_reward), expected)
