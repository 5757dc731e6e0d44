"""Evaluation of predictions and choices by a log."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contatto.kit.numbers import interval_of, loss_of_rate
from contatto.kit.timestamps import from_micros
from contatto.learning.columns import (
    CLICK,
    CONVERSATION,
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
from contatto.learning.replica import Replica, answer, restore_viewer

LEAST_CHANCE: Final = 1e-9
"""Estimates are kept so far from 0 and 1, so that no single miss is infinitely bad."""
CALIBRATION_BINS: Final = 15

type Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PredictionScore:
    """How estimates of one question did.

    ``log_loss`` is in nats; ``normalized`` is it over that of the mean rate: below 1 is better than the mean.
    ``ratio`` is expected over came, ``calibration_error`` the mean distance of both over bins of equal size.
    Where nothing came, or all did, ``normalized`` is not a number.
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
    """What a way to choose earns for each choice, and its standard error."""

    mean: float
    error: float


def score_predictions(estimates: Floats, outcomes: Floats) -> PredictionScore:
    """Judge chances that were told before it was known what came.

    Args:
        estimates: chances, 0 to 1.
        outcomes: 1 where it came, 0 where it did not.

    Raises:
        ValueError: there are none, or not as many of one as of the other.
    """
    if not len(estimates) or len(estimates) != len(outcomes):
        raise ValueError("there have to be as many outcomes as estimates, and some")
    p = np.clip(estimates, LEAST_CHANCE, 1.0 - LEAST_CHANCE)
    loss = float(-(outcomes * np.log(p) + (1.0 - outcomes) * np.log1p(-p)).mean())
    rate, came, expected = float(outcomes.mean()), float(outcomes.sum()), float(estimates.sum())
    doubt = -(rate * math.log(rate) + (1.0 - rate) * math.log1p(-rate)) if 0.0 < rate < 1.0 else 0.0
    return PredictionScore(
        count=len(estimates),
        actual=came,
        expected=expected,
        log_loss=loss,
        normalized=loss / doubt if doubt else math.nan,
        ratio=expected / came if came else math.nan,
        calibration_error=_calibration_error(estimates, outcomes),
    )


def _calibration_error(estimates: Floats, outcomes: Floats) -> float:
    order = np.argsort(estimates, kind="stable")
    parts = np.array_split(order, min(CALIBRATION_BINS, len(order)))
    return float(
        sum(len(part) * abs(estimates[part].mean() - outcomes[part].mean()) for part in parts) / len(order)
    )


def inverse_propensity(rewards: Floats, weights: Floats) -> Value:
    """What another way to choose earns, without bias.

    Args:
        rewards: what each choice of the log brought.
        weights: the chance of that choice under the other way, over its chance when it was made.
    """
    return _mean_of(rewards * weights)


def self_normalized(rewards: Floats, weights: Floats) -> Value:
    """The same, over the sum of the weights; not a number where the other way made none of the choices."""
    total = float(weights.sum())
    if total <= 0.0:
        return Value(math.nan, math.nan)
    mean = float((rewards * weights).sum()) / total
    error = math.sqrt(float((weights**2 * (rewards - mean) ** 2).sum())) / total
    return Value(mean, error)


def doubly_robust(rewards: Floats, weights: Floats, chosen: Floats, expected: Floats) -> Value:
    """The same, from what a model expects, corrected by what it missed.

    Args:
        rewards: see `inverse_propensity`.
        weights: see `inverse_propensity`.
        chosen: what the model expects of the choice that was made.
        expected: what it expects of the other way to choose: the mean over its choices.
    """
    return _mean_of(expected + weights * (rewards - chosen))


def choice_chances(
    offers: Mapping[int, float], floor: float, temperature: float, explore: float
) -> dict[int, float]:
    """The chance of each ad to be drawn in an auction; 0 stands for no ad.

    Args:
        offers: of each ad.
        floor: the least offer that wins.
        temperature: how near two offers must be to be drawn by lot.
        explore: the share of requests that goes to any ad whose offer reaches the floor.
    """
    able = {ad: offer for ad, offer in offers.items() if offer >= max(floor, 1.0)}
    if not able:
        return {0: 1.0}
    best = max(able.values())
    shares = {ad: math.pow(offer / best, 1.0 / temperature) for ad, offer in able.items()}
    total = sum(shares.values())
    return {ad: (1.0 - explore) * share / total + explore / len(able) for ad, share in shares.items()}


def effective_count(weights: Floats) -> float:
    """As how many choices of equal weight the weighted ones count (Kish 1965)."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0.0 else 0.0


def _mean_of(values: Floats) -> Value:
    count = len(values)
    error = float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return Value(float(values.mean()), error)


CURVE_BINS: Final = 10
CELLS_A_UNIT: Final = 20
"""Steps of chances in one unit of log-odds: within one, chances differ by a twentieth at most."""
FARTHEST: Final = 12.0
"""Log-odds beyond this are taken for this."""


def cell_of(chance: float) -> int:
    """The step that a chance lies in."""
    p = _bounded(chance)
    odds = min(max(math.log(p) - math.log1p(-p), -FARTHEST), FARTHEST)
    return math.floor(odds * CELLS_A_UNIT)


def _bounded(chance: float) -> float:
    return min(max(chance, LEAST_CHANCE), 1.0 - LEAST_CHANCE)


def count_prediction(tally: PredictionTally, chance: float) -> None:
    """Count an estimate, of which nothing came so far."""
    cell = tally.cells.setdefault(cell_of(chance), Cell())
    cell.cases += 1
    cell.expected += chance
    tally.loss -= math.log1p(-_bounded(chance))


def count_outcome(tally: PredictionTally, chance: float) -> None:
    """Count that what was told with a chance came after all."""
    p = _bounded(chance)
    tally.cells.setdefault(cell_of(chance), Cell()).actual += 1
    tally.loss += math.log1p(-p) - math.log(p)


def add_tallies(tallies: Iterable[PredictionTally]) -> PredictionTally:
    """All of them together."""
    whole = PredictionTally()
    for tally in tallies:
        whole.loss += tally.loss
        for number, cell in tally.cells.items():
            into = whole.cells.setdefault(number, Cell())
            into.cases += cell.cases
            into.actual += cell.actual
            into.expected += cell.expected
    return whole


def bins_of(tally: PredictionTally, count: int = CURVE_BINS) -> tuple[Bin, ...]:
    """Bins that hold about as many estimates each, from the least likely on; fewer where steps hold more."""
    total = sum(cell.cases for cell in tally.cells.values())
    filled: dict[int, Cell] = {}
    before = 0
    for _, cell in sorted(tally.cells.items()):
        if not cell.cases:
            continue
        place = min(count * (2 * before + cell.cases) // (2 * total), count - 1)
        before += cell.cases
        into = filled.setdefault(place, Cell())
        into.cases += cell.cases
        into.actual += cell.actual
        into.expected += cell.expected
    return tuple(_bin_of(cell) for cell in filled.values())


def _bin_of(cell: Cell) -> Bin:
    came = min(cell.actual, cell.cases)
    low, high = interval_of(came, cell.cases)
    return Bin(cell.cases, came, cell.expected / cell.cases, came / cell.cases, low, high)


def curve_of(question: Question, days: Sequence[PredictionDay]) -> Curve | None:
    """How the estimates of a question did, over some days of any ad accounts; None where none was told."""
    by_day: dict[str, list[PredictionTally]] = {}
    for each in days:
        if each.question is question:
            by_day.setdefault(each.day, []).append(each.tally)
    whole = add_tallies(tally for some in by_day.values() for tally in some)
    bins = bins_of(whole)
    asked, came = sum(each.cases for each in bins), sum(each.actual for each in bins)
    if not asked:
        return None
    rate = came / asked
    losses = (_loss_of(day, add_tallies(some), rate) for day, some in sorted(by_day.items()))
    distance = sum(each.cases * abs(each.predicted - each.share) for each in bins) / asked
    return Curve(
        question, asked, came, sum(each.cases * each.predicted for each in bins), whole.loss / asked,
        loss_of_rate(came, asked, rate), distance, bins, tuple(loss for loss in losses if loss.cases),
    )  # fmt: skip


def _loss_of(day: str, tally: PredictionTally, rate: float) -> DailyLoss:
    asked = sum(cell.cases for cell in tally.cells.values())
    came = sum(each.actual for each in tally.cells.values())
    of_rate = loss_of_rate(min(came, asked), asked, rate)
    return DailyLoss(day, asked, came, tally.loss / asked if asked else 0.0, of_rate)


HEAD_OF: Final = {question: head for head, question in enumerate(Question)}
_ASKED_BY: Final = {
    VIEW: (Question.CLICK,),
    CLICK: (Question.CONVERSATION,),
    CONVERSATION: (Question.LEAD, Question.SPAM),
}
"""The questions that arise with what happens."""
_ANSWERS: Final = dict(enumerate(Question))

type Key = tuple[int, str, Question]
"""Number of an ad group, day (UTC) and question."""


def count_happened(market: MarketState, tallies: dict[Key, PredictionTally]) -> None:
    """Count what a market has noted since the last time, and let it begin anew."""
    for what, impression in market.happened or ():
        number = int(market.groups.groups[impression.group].line.adgroup_id)
        day = from_micros(impression.asked_at).date().isoformat()
        if (answered := _ANSWERS.get(what)) is not None:
            count_outcome(tallies.setdefault((number, day, answered), PredictionTally()), impression.p[what])
        for asked in _ASKED_BY.get(what, ()):
            count_prediction(
                tallies.setdefault((number, day, asked), PredictionTally()), impression.p[HEAD_OF[asked]]
            )
    if market.happened:
        market.happened.clear()


STAGES: Final = ("click", "conversation", "lead")
"""What a choice may bring, the later ones by way of the earlier."""


@contextmanager
def viewer_as_held(market: MarketState) -> Iterator[None]:
    """Keep what the auction that was just held found the viewer to be worth, for auctions of single ads."""
    market.numbers[S_VIEWER] = market.outcome[O_VIEWER]
    try:
        yield
    finally:
        market.numbers[S_VIEWER] = 0.0


@dataclass(frozen=True, slots=True)
class Weighed:
    """A decision of the log as another model sees it.

    ``weight`` is the chance that it makes this choice, over the chance when it was made. ``chosen`` is what
    it expects of that choice, and ``expected`` of its own way to choose, by stage.
    """

    weight: float
    chosen: tuple[float, ...]
    expected: tuple[float, ...]


def weigh_record(replica: Replica, record: Record) -> Weighed:
    """See how likely a model is to make a choice of the log, with budgets and multipliers as they were.

    An ad that the model has never heard of cannot be chosen by it.
    """
    market = replica.market
    replica.set_live(record.added)
    offers: dict[int, float] = {}
    worths: dict[int, tuple[float, ...]] = {}
    ads = [ad for ad in record.ads if str(ad) in market.groups.ad_by_id]
    _answer(replica, record, ads)
    with viewer_as_held(market):
        for ad in ads:
            alone = _answer(replica, record, [ad])
            offers[ad] = float(alone.offer_micros if alone.ad else 0)
            worths[ad] = _worths(alone.p)
    numbers = market.numbers
    chances = choice_chances(
        offers, float(record.floor_micros), float(numbers[S_TEMPERATURE]), float(numbers[S_EXPLORE])
    )
    nothing = (0.0,) * len(STAGES)
    return Weighed(
        chances.get(record.ad, 0.0) / record.propensity,
        worths.get(record.ad, nothing),
        _mean_worths(chances, worths),
    )


def _answer(replica: Replica, record: Record, ads: list[int]) -> Record:
    """The decision made again by some ads; one that stands alone tells its own offer."""
    market = replica.market
    market.now = record.ts
    restore_viewer(market, replica.row_of(record.viewer), record.history)
    known = [group for group in record.groups if str(group.number) in market.groups.by_id]
    bare = msgspec.structs.replace(
        record, ads=ads, groups=known, floor_micros=1, ad=0, ad_group=0, offer_micros=0, price_micros=0,
        propensity=1.0, p=(), raw=(), shown=None,
    )  # fmt: skip
    answer(market, bare)
    return bare


def _worths(p: tuple[float, ...]) -> tuple[float, ...]:
    if not p:
        return (0.0,) * len(STAGES)
    return (p[CLICK], p[CLICK] * p[CONVERSATION], p[CLICK] * p[CONVERSATION] * p[LEAD])


def _mean_worths(chances: Mapping[int, float], worths: Mapping[int, tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(
        sum(chance * worths[ad][stage] for ad, chance in chances.items() if ad in worths)
        for stage in range(len(STAGES))
    )
