"""Predictions beside actual outcomes, and explanations of a model."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import exp
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contatto.kit.values import from_micros, interval_of, loss_of_rate
from contatto.learning import columns as col
from contatto.learning.features import HOURS
from contatto.learning.impressions import Impression
from contatto.learning.market import VIEW, MarketState
from contatto.learning.marketplace import Replica, repeat_decision
from contatto.learning.model import (
    Bin,
    Cell,
    Curve,
    DailyLoss,
    Influence,
    InfluenceSource,
    PredictionDay,
    PredictionTally,
    Question,
    Record,
    ValueOdds,
)

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
    """Score predicted probabilities by outcomes, 0 or 1. Raises ValueError: no or too few outcomes."""
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
    col.CLICK: (Question.CONVERSATION,),
    col.CONVERSATION: (Question.LEAD, Question.SPAM),
}
"""Questions that open with an event."""
_ANSWERS: Final = dict(enumerate(Question))
"""Question that an event answers."""

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
    numbers = market.numbers
    for ad in ads:
        single = repeat_decision(replica, msgspec.structs.replace(usable, ads=[ad]))
        offers[ad] = float(single.offer_micros if single.ad else 0)
        p = single.p or (0.0,) * col.HEADS
        rewards[ad] = (
            p[col.CLICK],
            p[col.CLICK] * p[col.CONVERSATION],
            p[col.CLICK] * p[col.CONVERSATION] * p[col.LEAD],
        )
    chances = choice_chances(
        offers, float(record.floor_micros), float(numbers[col.S_TEMPERATURE]), float(numbers[col.S_EXPLORE])
    )
    expected = tuple(
        sum(chance * rewards[ad][stage] for ad, chance in chances.items() if ad in rewards)
        for stage in range(len(STAGES))
    )
    no_reward = (0.0,) * len(STAGES)
    weight = chances.get(record.ad, 0.0) / record.propensity
    return Weighed(weight, rewards.get(record.ad, no_reward), expected)


@dataclass(frozen=True, slots=True)
class DecisionExplanation:
    """Explanation of a repeated decision.

    ``is_same`` tells whether the result is the same, bit for bit. ``offers`` are bids by ad, micros for a
    thousand views. ``features`` are the factors by which request features changed the predicted lead rate.
    """

    is_same: bool
    offers: dict[int, int]
    features: dict[str, float]


def explain_record(business_seed: int, saved: bytes | None, record: Record) -> DecisionExplanation:
    """Repeat a decision, then with single ads, then without each feature in turn."""
    replica = Replica(business_seed, record.version, saved)
    replica.set_live(record.added)
    repeated = repeat_decision(replica, record)
    offers = {}
    for ad in record.ads:
        single = repeat_decision(
            replica, msgspec.structs.replace(record, ads=[ad], floor_micros=1, placement="")
        )
        offers[ad] = single.offer_micros if single.ad else 0
    features: dict[str, float] = {}
    if record.ad and record.trial >= 0:  # the random arm uses no feature
        whole = msgspec.structs.replace(record, ads=[record.ad], floor_micros=1, placement="")
        rate = _lead_rate(repeat_decision(replica, whole))
        for name in record.features:
            rest = {key: value for key, value in record.features.items() if key != name}
            without = _lead_rate(repeat_decision(replica, msgspec.structs.replace(whole, features=rest)))
            features[name] = rate / without if without > 0.0 else 1.0
    is_same = msgspec.msgpack.encode(repeated) == msgspec.msgpack.encode(record)
    return DecisionExplanation(is_same, offers, features)


def _lead_rate(record: Record) -> float:
    return record.p[col.CLICK] * record.p[col.CONVERSATION] * record.p[col.LEAD] if record.p else 0.0


MOST: Final = 1_500
"""Newest impressions that count for a question."""
LOOKED: Final = 40_000
"""Impressions that are searched for them."""
FEW: Final = 50
"""Fewer impressions show no influence."""
LEAST_VIEWERS: Final = 20
"""Values of fewer viewers are hidden: they may identify a person."""
LEAST_TIMES: Final = 1.02
"""Influences with a smaller odds ratio are omitted."""
LISTED: Final = 12

type SourceKey = tuple[InfluenceSource, str]
type ValueKey = tuple[SourceKey, str]
"""Source of a feature, and its value."""

_BETWEEN: Final = {
    col.B_SHOWN: InfluenceSource.SHOWN,
    col.B_SINCE: InfluenceSource.SHOWN,
    col.B_WEEK: InfluenceSource.SHOWN,
    col.B_WEEK_OF_AD: InfluenceSource.SHOWN,
    col.B_GROUP: InfluenceSource.SHOWN,
    col.B_ADVERTISER: InfluenceSource.SHOWN,
    col.B_CLICKED: InfluenceSource.TAPPED,
    col.B_TALKED: InfluenceSource.CONTACTED,
    col.B_HOUR: InfluenceSource.HOUR,
    col.B_WEEKDAY: InfluenceSource.WEEKDAY,
}
"""Source of each interaction of viewer and ad."""


def _short(value: str) -> str:
    """Shorten a number; a field of numbers may hold a text too."""
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value


def _weigh_score(
    market: MarketState, names: dict[int, ValueKey], impression: Impression, head: int
) -> tuple[dict[SourceKey, float], dict[ValueKey, float]]:
    """Return the parts of an impression's score by source, and by source and value."""
    learned, snapshots, groups = market.learned, market.snapshots, market.groups
    place, ad = impression.place, impression.ad
    size = int(snapshots.counts[place])
    hashes, kinds = snapshots.hashes[place, :size], snapshots.kinds[place, :size]
    count = market.list_weights(place, ad)
    families = learned.families[:count]
    added = learned.weights[:count] * learned.table[learned.slots[:count], head]
    context = np.flatnonzero(kinds == col.CONTEXT)
    own = added[(families == col.F_CONTEXT) | (families == col.F_HISTORY)]
    if len(context):
        own[context] += added[families == col.F_CONTEXT_AD]
        crosses = added[families == col.F_CONTEXT_FEATURE]
        own[context] += crosses.reshape(-1, len(context)).sum(axis=0)
    parts: dict[SourceKey, float] = {}
    values: dict[ValueKey, float] = {}
    for hashed, kind, part in zip(hashes.tolist(), kinds.tolist(), own.tolist(), strict=True):
        key, value = (InfluenceSource.HISTORY, ""), ""
        if kind == col.CONTEXT:  # numbers without knots have no name yet
            key, value = names.get(hashed, ((InfluenceSource.FIELD, ""), ""))
        parts[key] = parts.get(key, 0.0) + part
        if value:
            values[key, value] = values.get((key, value), 0.0) + part
    ad_parts = [((InfluenceSource.AD, ""), float(added[families == col.F_AD].sum()))]
    features = groups.feature_hashes[groups.ad_features[ad]].tolist()
    for feature, part in zip(features, added[families == col.F_AD_FEATURE].tolist(), strict=False):
        if feature in names:
            ad_parts.append((names[feature][0], part))
    between = added[np.isin(families, (col.F_BETWEEN, col.F_CONTACT))].tolist()
    ad_parts += [((_BETWEEN[kind], ""), part) for kind, part in zip(range(col.BETWEEN), between, strict=True)]
    for key, part in ad_parts:
        parts[key] = parts.get(key, 0.0) + part
    return parts, values


def weigh_influences(market: MarketState) -> list[Influence]:
    """Return the influences on the predictions of each question, strongest first."""
    names: dict[int, ValueKey] = {
        int(hashed): ((InfluenceSource.KIND, ""), "") for hashed in market.classes.named
    }
    for source, fields in (
        (InfluenceSource.AD_FIELD, market.ad_fields),
        (InfluenceSource.FIELD, market.asked_fields),
    ):
        for name, values in fields.by_name.items():
            key = (InfluenceSource.HOUR, "") if name == HOURS else (source, name.removeprefix("\0"))
            names[values.rare] = key, ""
            text_of = _short if values.knots else str
            names |= {hashed: (key, text_of(value)) for value, hashed in values.hashes.items()}
    influences: list[Influence] = []
    for question in Question:
        newest = islice(reversed(market.records.shown.values()), LOOKED)
        usable = (item for item in newest if item is not None and item.place >= 0 and item.viewed_at)
        if question is Question.CONVERSATION:
            usable = (impression for impression in usable if impression.clicked_at)
        elif question is not Question.CLICK:
            usable = (impression for impression in usable if impression.talked_at)
        impressions = list(islice(usable, MOST))
        if len(impressions) >= FEW:
            influences += _influences_of(market, names, question, impressions)
    return influences


def _influences_of(
    market: MarketState, names: dict[int, ValueKey], question: Question, impressions: list[Impression]
) -> list[Influence]:
    rows = []
    value_parts: dict[ValueKey, list[float]] = {}
    viewers: dict[ValueKey, set[int]] = {}
    for impression in impressions:
        parts, values = _weigh_score(market, names, impression, HEAD_OF[question])
        rows.append(parts)
        for pair, part in values.items():
            value_parts.setdefault(pair, []).append(part)
            viewers.setdefault(pair, set()).add(impression.viewer)
    sources = list(dict.fromkeys(key for parts in rows for key in parts))
    table = np.array([[parts.get(key, 0.0) for key in sources] for parts in rows])
    places = [impression.place for impression in impressions]
    stands_for = market.snapshots.stands_for[places].astype(np.float64)
    means = np.average(table, axis=0, weights=stands_for)
    spreads = np.sqrt(np.average((table - means) ** 2, axis=0, weights=stands_for))
    mean_of = dict(zip(sources, means.tolist(), strict=True))
    odds: dict[SourceKey, list[ValueOdds]] = {}
    for (key, value), members in viewers.items():
        if len(members) >= LEAST_VIEWERS:
            moves = value_parts[key, value]
            times = exp(sum(moves) / len(moves) - mean_of[key])
            odds.setdefault(key, []).append(ValueOdds(value, times))
    influences = []
    for key, spread in zip(sources, spreads.tolist(), strict=True):
        if key != (InfluenceSource.FIELD, "") and spread > 0.0:
            ends = sorted(odds.get(key, ()), key=lambda value: (-value.times, value.value))
            most, least = (ends[0], ends[-1]) if len(ends) > 1 else (None, None)
            influences.append(Influence(question, *key, exp(spread), most, least))
    strong = [influence for influence in influences if influence.times >= LEAST_TIMES]
    return sorted(strong, key=lambda influence: (-influence.times, influence.source, influence.name))[:LISTED]
