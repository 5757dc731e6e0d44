"""Explanations of decisions, and influences on the predictions of a model."""

from dataclasses import dataclass
from itertools import islice
from math import exp
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contatto.learning.columns import (
    A_FEATURES,
    B_ADVERTISER,
    B_CLICKED,
    B_GROUP,
    B_HOUR,
    B_SHOWN,
    B_SINCE,
    B_TALKED,
    B_WEEK,
    B_WEEK_OF_AD,
    B_WEEKDAY,
    BETWEEN,
    CLICK,
    CONTEXT,
    CONVERSATION,
    F_AD,
    F_AD_FEATURE,
    F_BETWEEN,
    F_CONTEXT,
    F_CONTEXT_AD,
    F_CONTEXT_FEATURE,
    F_HISTORY,
    F_TIME,
    HISTORY,
    LEAD,
)
from contatto.learning.evaluation import HEAD_OF, viewer_as_held
from contatto.learning.features import count_stacked, list_features, stack_slot
from contatto.learning.impressions import Impression
from contatto.learning.market import MarketState
from contatto.learning.model import Influence, InfluenceSource, Question, Record, ValueOdds
from contatto.learning.replica import Replica, repeat_decision


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
    with viewer_as_held(replica.market):
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
    return record.p[CLICK] * record.p[CONVERSATION] * record.p[LEAD] if record.p else 0.0


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

type Floats = NDArray[np.float64]
type Key = tuple[InfluenceSource, str]

_EARLIER: Final[Key] = (InfluenceSource.EARLIER, "")
_BETWEEN: Final = {
    B_SHOWN: InfluenceSource.SHOWN,
    B_SINCE: InfluenceSource.SHOWN,
    B_WEEK: InfluenceSource.SHOWN,
    B_WEEK_OF_AD: InfluenceSource.SHOWN,
    B_GROUP: InfluenceSource.SHOWN,
    B_ADVERTISER: InfluenceSource.SHOWN,
    B_CLICKED: InfluenceSource.TAPPED,
    B_TALKED: InfluenceSource.CONTACTED,
    B_HOUR: InfluenceSource.HOUR,
    B_WEEKDAY: InfluenceSource.WEEKDAY,
}


class _FeatureNames:
    """Names and values of hashed features."""

    def __init__(self, market: MarketState) -> None:
        self._by_hash: dict[int, tuple[Key, str]] = {}
        for source, fields in (
            (InfluenceSource.AD_FIELD, market.ad_fields),
            (InfluenceSource.FIELD, market.asked_fields),
        ):
            for name, values in fields.by_name.items():
                key = (source, name.removeprefix("\0"))
                self._by_hash[values.rare] = key, ""
                text_of = _short if values.knots else str
                self._by_hash |= {hashed: (key, text_of(value)) for value, hashed in values.hashes.items()}
        self._by_hash |= {int(hashed): ((InfluenceSource.KIND, ""), "") for hashed in market.classes.named}

    def find(self, hashed: int) -> tuple[Key, str] | None:
        return self._by_hash.get(hashed)

    def read(self, hashes: list[int], kinds: list[int]) -> list[tuple[Key, str]]:
        """Return names and values of a request's features; numbers without knots have none yet."""
        names: list[tuple[Key, str] | None] = []
        for hashed, kind in zip(hashes, kinds, strict=True):
            if kind == CONTEXT:
                names.append(self._by_hash.get(hashed))
            else:
                source = InfluenceSource.HISTORY if kind == HISTORY else InfluenceSource.HOUR
                names.append(((source, ""), ""))
        return [name or ((InfluenceSource.FIELD, ""), "") for name in names]


def _short(value: str) -> str:
    """Shorten a number; a field of numbers may hold a text too."""
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value


class _ScoreParts:
    """Parts of scores by source and by value, per impression and head."""

    def __init__(self, market: MarketState) -> None:
        self._market, self._names = market, _FeatureNames(market)
        self._places: dict[Key, int] = {}

    def _place(self, key: Key) -> int:
        return self._places.setdefault(key, len(self._places))

    def weigh(
        self, impression: Impression, head: int
    ) -> tuple[dict[int, float], dict[tuple[int, str], float]]:
        """Return the parts of an impression's score by source number, and by source number and value."""
        learned, snapshots, groups = self._market.learned, self._market.snapshots, self._market.groups
        place, ad = impression.place, impression.ad
        size = int(snapshots.counts[place])
        hashes, kinds = snapshots.hashes[place, :size], snapshots.kinds[place, :size]
        count = list_features(
            snapshots.hashes[place], snapshots.values[place], snapshots.kinds[place], size, ad,
            groups.ad_hashes[ad], groups.ad_features[ad], groups.ad_values[ad],
            int(groups.ads[ad, A_FEATURES]), groups.feature_hashes, groups.crosses, snapshots.between[place],
            learned.shift, learned.slots, learned.weights, learned.families,
        )  # fmt: skip
        families = learned.families[:count]
        added = learned.weights[:count] * learned.table[learned.slots[:count], head]
        named = self._names.read(hashes.tolist(), kinds.tolist())
        context = np.flatnonzero(kinds == CONTEXT)
        own = np.zeros(size)
        own += added[(families == F_CONTEXT) | (families == F_HISTORY) | (families == F_TIME)]
        if len(context):
            own[context] += added[families == F_CONTEXT_AD]
            crosses = added[families == F_CONTEXT_FEATURE]
            own[context] += crosses.reshape(-1, len(context)).sum(axis=0)
        parts: dict[int, float] = {}
        values: dict[tuple[int, str], float] = {}
        for (key, value), part in zip(named, own.tolist(), strict=True):
            number = self._place(key)
            parts[number] = parts.get(number, 0.0) + part
            if value:
                values[number, value] = values.get((number, value), 0.0) + part
        features = groups.ad_features[ad].tolist()
        ad_parts: list[tuple[Key, float]] = [((InfluenceSource.AD, ""), float(added[families == F_AD].sum()))]
        for feature, part in zip(features, added[families == F_AD_FEATURE].tolist(), strict=False):
            name = self._names.find(int(groups.feature_hashes[feature]))
            if name is not None:
                ad_parts.append((name[0], part))
        between = zip(range(BETWEEN), added[families == F_BETWEEN].tolist(), strict=True)
        ad_parts += [((_BETWEEN[kind], ""), part) for kind, part in between]
        for before in range(count_stacked(head)):
            slot = stack_slot(before, learned.shift)
            ad_parts.append(
                (_EARLIER, float(snapshots.stacks[place, before]) * float(learned.table[slot, head]))
            )
        for key, part in ad_parts:
            number = self._place(key)
            parts[number] = parts.get(number, 0.0) + part
        return parts, values

    def named(self) -> dict[int, Key]:
        return {number: key for key, number in self._places.items()}


def weigh_influences(market: MarketState) -> list[Influence]:
    """Return the influences on the predictions of each question, strongest first."""
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
            influences += _influences_of(market, question, impressions)
    return influences


def _influences_of(market: MarketState, question: Question, impressions: list[Impression]) -> list[Influence]:
    scores, rows = _ScoreParts(market), []
    value_parts: dict[tuple[int, str], list[float]] = {}
    viewers: dict[tuple[int, str], set[int]] = {}
    for impression in impressions:
        parts, values = scores.weigh(impression, HEAD_OF[question])
        rows.append(parts)
        for pair, part in values.items():
            value_parts.setdefault(pair, []).append(part)
            viewers.setdefault(pair, set()).add(impression.viewer)
    named = scores.named()
    table = np.zeros((len(rows), len(named)))
    for row, parts in enumerate(rows):
        table[row, list(parts)] = list(parts.values())
    places = [impression.place for impression in impressions]
    stands_for = market.snapshots.stands_for[places].astype(np.float64)
    means = np.average(table, axis=0, weights=stands_for)
    spreads = np.sqrt(np.average((table - means) ** 2, axis=0, weights=stands_for))
    odds: dict[int, list[ValueOdds]] = {}
    for (number, value), members in viewers.items():
        if len(members) >= LEAST_VIEWERS:
            moves = value_parts[number, value]
            times = exp(sum(moves) / len(moves) - float(means[number]))
            odds.setdefault(number, []).append(ValueOdds(value, times))
    influences = []
    for number, key in named.items():
        if key != (InfluenceSource.FIELD, "") and spreads[number] > 0.0:
            ends = sorted(odds.get(number, ()), key=lambda value: (-value.times, value.value))
            most, least = (ends[0], ends[-1]) if len(ends) > 1 else (None, None)
            influences.append(Influence(question, *key, exp(spreads[number]), most, least))
    strong = [influence for influence in influences if influence.times >= LEAST_TIMES]
    return sorted(strong, key=lambda influence: (-influence.times, influence.source, influence.name))[:LISTED]
