"""Explanations: why an ad was shown, what a model would have chosen, and what moves its predictions."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import exp
from typing import Any, Final

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
from contatto.learning.replica import Replica, answer, restore_viewer


@dataclass(frozen=True, slots=True)
class DecisionExplanation:
    """A decision made again.

    ``is_same`` tells that it came out the same, bit for bit. ``offers`` are micros for a thousand views, by
    ad. ``features`` tell by what each feature of the request multiplied the chance of a lead through the ad.
    """

    is_same: bool
    offers: dict[int, int]
    features: dict[str, float]


def explain_record(business_seed: int, saved: bytes | None, record: Record) -> DecisionExplanation:
    """Make a decision again; then let each ad stand alone, and leave out each feature in turn."""
    replica = Replica(business_seed, record.version, saved)
    replica.set_live(record.added)
    again = _answer(replica, record)
    offers = {}
    with viewer_as_held(replica.market):
        for ad in record.ads:
            alone = _answer(replica, msgspec.structs.replace(record, ads=[ad], floor_micros=1, placement=""))
            offers[ad] = alone.offer_micros if alone.ad else 0
    features: dict[str, float] = {}
    if record.ad and record.trial >= 0:  # drawn by lot: nothing of the viewer took part
        whole = msgspec.structs.replace(record, ads=[record.ad], floor_micros=1, placement="")
        worth = _worth(_answer(replica, whole))
        for name in record.features:
            rest = {key: value for key, value in record.features.items() if key != name}
            without = _worth(_answer(replica, msgspec.structs.replace(whole, features=rest)))
            features[name] = worth / without if without > 0.0 else 1.0
    same = msgspec.msgpack.encode(again) == msgspec.msgpack.encode(record)
    return DecisionExplanation(same, offers, features)


def _answer(replica: Replica, record: Record) -> Record:
    market = replica.market
    market.now = record.ts
    restore_viewer(market, replica.row_of(record.viewer), record.history)
    bare = msgspec.structs.replace(
        record, ad=0, ad_group=0, offer_micros=0, price_micros=0, propensity=1.0, p=(), raw=(), shown=None
    )
    answer(market, bare)
    return bare


def _worth(record: Record) -> float:
    return record.p[CLICK] * record.p[CONVERSATION] * record.p[LEAD] if record.p else 0.0


MOST: Final = 1_500
"""So many impressions are looked at for each question, the newest."""
LOOKED: Final = 40_000
"""So many impressions are gone through to find them."""
FEW: Final = 50
"""With fewer nothing is told."""
LEAST_VIEWERS: Final = 20
"""A value that fewer viewers have is not told: it may be one person's own."""
LEAST_TIMES: Final = 1.02
"""What moves the odds by less is left out."""
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


class _Names:
    """What hashed features are called, and what they say."""

    def __init__(self, market: MarketState) -> None:
        self._of: dict[int, tuple[Key, str]] = {}
        for source, fields in (
            (InfluenceSource.AD_FIELD, market.ad_fields),
            (InfluenceSource.FIELD, market.asked_fields),
        ):
            for name, values in fields.by_name.items():
                key = (source, name.removeprefix("\0"))
                self._of[values.rare] = key, ""
                text_of = _short if values.knots else str
                self._of |= {hashed: (key, text_of(said)) for said, hashed in values.hashes.items()}
        kinds = ((int(hashed), ((InfluenceSource.KIND, ""), "")) for hashed in market.classes.named)
        self._of |= dict(kinds)

    def find(self, hashed: int) -> tuple[Key, str] | None:
        return self._of.get(hashed)

    def read(self, hashes: list[int], kinds: list[int]) -> list[tuple[Key, str]]:
        """The features of a request.

        Before the numbers of a field are told apart by quantiles its steps have no names either.
        """
        found: list[tuple[Key, str] | None] = []
        for hashed, kind in zip(hashes, kinds, strict=True):
            if kind == CONTEXT:
                found.append(self._of.get(hashed))
            else:
                source = InfluenceSource.HISTORY if kind == HISTORY else InfluenceSource.HOUR
                found.append(((source, ""), ""))
        return [each or ((InfluenceSource.FIELD, ""), "") for each in found]


def _short(said: str) -> str:
    """A number as short as it may be; a field of numbers may hold a text too."""
    try:
        return f"{float(said):.4g}"
    except ValueError:
        return said


class _Sums:
    """What each thing adds to scores, by impression and head; and the values of fields with their viewers."""

    def __init__(self, market: MarketState) -> None:
        self._market, self._names = market, _Names(market)
        self._places: dict[Key, int] = {}

    def _place(self, key: Key) -> int:
        return self._places.setdefault(key, len(self._places))

    def weigh(self, impression: Impression, head: int) -> tuple[dict[int, float], dict[tuple[int, str], float]]:
        """What things add to the score of an impression, and what its values do, by number of the thing."""
        learned, kept, groups = self._market.learned, self._market.snapshots, self._market.groups
        place, ad = impression.place, impression.ad
        size = int(kept.counts[place])
        hashes, kinds = kept.hashes[place, :size], kept.kinds[place, :size]
        count = list_features(
            kept.hashes[place], kept.values[place], kept.kinds[place], size, ad, groups.ad_hashes[ad],
            groups.ad_features[ad], groups.ad_values[ad], int(groups.ads[ad, A_FEATURES]),
            groups.feature_hashes, groups.crosses, kept.between[place], learned.shift,
            learned.slots, learned.weights, learned.families,
        )  # fmt: skip
        families = learned.families[:count]
        added = learned.weights[:count] * learned.table[learned.slots[:count], head]
        named = self._names.read(hashes.tolist(), kinds.tolist())
        own = _sum_by_feature(added, families, size, np.flatnonzero(kinds == CONTEXT))
        things: dict[int, float] = {}
        values: dict[tuple[int, str], float] = {}
        for (key, said), moved in zip(named, own.tolist(), strict=True):
            number = self._place(key)
            things[number] = things.get(number, 0.0) + moved
            if said:
                values[number, said] = values.get((number, said), 0.0) + moved
        for key, moved in self._list_others(impression, head, added, families):
            number = self._place(key)
            things[number] = things.get(number, 0.0) + moved
        return things, values

    def _list_others(
        self, impression: Impression, head: int, added: Floats, families: NDArray[Any]
    ) -> Iterator[tuple[Key, float]]:
        """What the ad, its features, what lies between viewer and ad, and earlier questions add."""
        market = self._market
        yield (InfluenceSource.AD, ""), float(added[families == F_AD].sum())
        numbers = market.groups.ad_features[impression.ad].tolist()
        for number, moved in zip(numbers, added[families == F_AD_FEATURE].tolist(), strict=False):
            named = self._names.find(int(market.groups.feature_hashes[number]))
            if named is not None:
                yield named[0], moved
        for kind, moved in zip(range(BETWEEN), added[families == F_BETWEEN].tolist(), strict=True):
            yield (_BETWEEN[kind], ""), moved
        for before in range(count_stacked(head)):
            slot = stack_slot(before, market.learned.shift)
            said = float(market.snapshots.stacks[impression.place, before])
            yield _EARLIER, said * float(market.learned.table[slot, head])

    def named(self) -> dict[int, Key]:
        return {number: key for key, number in self._places.items()}


def _sum_by_feature(added: Floats, families: NDArray[Any], size: int, asked: NDArray[Any]) -> Floats:
    """What each feature of a request adds with its crosses, in the order in which these are listed."""
    own = np.zeros(size)
    alone = (families == F_CONTEXT) | (families == F_HISTORY) | (families == F_TIME)
    own += added[alone]
    if len(asked):
        own[asked] += added[families == F_CONTEXT_AD]
        crosses = added[families == F_CONTEXT_FEATURE]
        own[asked] += crosses.reshape(-1, len(asked)).sum(axis=0)
    return own


def weigh_influences(market: MarketState) -> list[Influence]:
    """What the estimates of each question go by, strongest first."""
    found: list[Influence] = []
    for question in Question:
        some = _newest(market, question)
        if len(some) >= FEW:
            found += _influences_of(market, question, some)
    return found


def _newest(market: MarketState, question: Question) -> list[Impression]:
    """Impressions in which a question arose, of which the features are kept."""
    latest = islice(reversed(market.records.shown.values()), LOOKED)
    kept = (impression for impression in latest if impression is not None and impression.place >= 0 and impression.viewed_at)
    if question is not Question.CLICK:
        reached = CLICK if question is Question.CONVERSATION else CONVERSATION
        kept = (impression for impression in kept if (impression.clicked_at if reached == CLICK else impression.talked_at))
    return list(islice(kept, MOST))


def _influences_of(market: MarketState, question: Question, some: list[Impression]) -> list[Influence]:
    sums, rows = _Sums(market), []
    moved: dict[tuple[int, str], list[float]] = {}
    viewers: dict[tuple[int, str], set[int]] = {}
    for impression in some:
        things, values = sums.weigh(impression, HEAD_OF[question])
        rows.append(things)
        for said, by in values.items():
            moved.setdefault(said, []).append(by)
            viewers.setdefault(said, set()).add(impression.viewer)
    named = sums.named()
    table = np.zeros((len(rows), len(named)))
    for row, things in enumerate(rows):
        table[row, list(things)] = list(things.values())
    stands_for = market.snapshots.stands_for[[impression.place for impression in some]].astype(np.float64)
    means = np.average(table, axis=0, weights=stands_for)
    spreads = np.sqrt(np.average((table - means) ** 2, axis=0, weights=stands_for))
    known = [said for said, whose in viewers.items() if len(whose) >= LEAST_VIEWERS]
    found = [
        Influence(question, *key, exp(spreads[number]), *_ends_of(number, known, moved, float(means[number])))
        for number, key in named.items()
        if key != (InfluenceSource.FIELD, "") and spreads[number] > 0.0
    ]
    strong = [each for each in found if each.times >= LEAST_TIMES]
    return sorted(strong, key=lambda each: (-each.times, each.source, each.name))[:LISTED]


def _ends_of(
    number: int, known: list[tuple[int, str]], moved: dict[tuple[int, str], list[float]], mean: float
) -> tuple[ValueOdds | None, ValueOdds | None]:
    """The values of a thing that raise and lower the odds most, against its mean."""
    said = [
        ValueOdds(each[1], exp(sum(moved[each]) / len(moved[each]) - mean))
        for each in known
        if each[0] == number
    ]
    if len(said) < 2:
        return None, None
    said.sort(key=lambda each: (-each.times, each.value))
    return said[0], said[-1]
