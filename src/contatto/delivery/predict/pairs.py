"""Pairs of what requests say as features of their own: which there are, and what a request says of them."""

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contatto.delivery.predict.fields import Fields, Values
from contatto.delivery.predict.groups import Groups
from contatto.delivery.predict.records import Snapshots
from contatto.delivery.rules.hashing import name_hash
from contatto.delivery.rules.pairing import CODES, MOST_TABLES, OTHER, code_samples, pair_gain

COUNTRY: Final = "\0country"
MOST_PAIRS: Final = 6
AT_ONCE: Final = 2
"""So many are added at a time: one may explain what another seemed to."""
MOST_FIELDS: Final = 16
FIRST_CLICKS: Final = 300
"""Clicks that are awaited before the first look; each later one awaits a third more than there were."""
MORE_CLICKS: Final = 1.3
LEAST_GAIN: Final = 3.5
"""Standard deviations: of a thousand pairs, fields of ads and questions hardly one comes near by chance."""
STRENGTH: Final = 2.0
"""The value of a pair: what was found says more than one word, so its weights may be larger."""
CUTS: Final = 5
"""Numbers are told apart by six equal shares."""

type Numbers = NDArray[Any]
type Cuts = list[float] | None
type Pair = tuple[str, Cuts, str, Cuts]


class Pairs:
    """See the module."""

    def __init__(self) -> None:
        self.chosen: list[Pair] = []
        self.clicks_then = 0

    def add(
        self, fields: Fields, features: dict[str, Any], country: str, names: list[int], values: list[float]
    ) -> None:
        """Add the pairs that a request shows to its features."""
        for pair in self.chosen:
            names.append(name_pair(pair, fields, features, country))
            values.append(STRENGTH)

    def is_time_to_look(self, clicks: int) -> bool:
        """Whether there is room for pairs, and enough came since the last look."""
        return len(self.chosen) < MOST_PAIRS and clicks >= max(MORE_CLICKS * self.clicks_then, FIRST_CLICKS)

    def choose(self, found: list[tuple[float, Pair]]) -> None:
        """Take the best of the pairs that were found, with their gains, if they are good enough."""
        room = min(AT_ONCE, MOST_PAIRS - len(self.chosen))
        good = [each for each in found if each[0] >= LEAST_GAIN]
        self.chosen += [pair for _, pair in sorted(good, key=_gain, reverse=True)[:room]]


def _gain(found: tuple[float, Pair]) -> float:
    return found[0]


def name_pair(pair: Pair, fields: Fields, features: dict[str, Any], country: str) -> int:
    """The feature that a pair makes of what a request says."""
    left, left_cuts, right, right_cuts = pair
    told = features.get(left) if left != COUNTRY else country
    other = features.get(right) if right != COUNTRY else country
    return name_values(
        left, said_of(fields, told, left, left_cuts), right, said_of(fields, other, right, right_cuts)
    )


@lru_cache(4_096)
def name_values(left: str, said: int, right: str, other: int) -> int:
    """The feature that the values of two fields make; see `said_of`."""
    return name_hash("pair", left, str(said), right, str(other))


def said_of(fields: Fields, value: object, field: str, cuts: Cuts) -> int:
    """What a request says of a field: 0 for nothing, the name of a text, or in which share a number is."""
    if isinstance(value, bool):
        value = "true" if value else "false"
    if isinstance(value, str):
        values = fields.known[field]
        return 0 if cuts else values.hashes.get(value, values.rare)
    return 1 + bisect_right(cuts, value) if cuts and isinstance(value, int | float) else 0


def cuts_of(values: Values) -> Cuts:
    """Where a field's numbers are told apart; None for a field of texts."""
    knots = values.knots
    return [knots[len(knots) * (cut + 1) // (CUTS + 1)] for cut in range(CUTS)] if knots else None


@dataclass(frozen=True, slots=True)
class Missed:
    """What the learner misses of observations: where their features are kept, their ads; then by head.

    ``slopes`` are those of the likelihood, ``bends`` its curvatures; 0 where nothing was observed.
    """

    places: Numbers
    ads: Numbers
    slopes: Numbers
    bends: Numbers


def find_pairs(
    chosen: list[Pair], fields: Fields, ad_fields: Fields, groups: Groups, kept: Snapshots, missed: Missed
) -> list[tuple[float, Pair]]:
    """The pairs of fields that are not chosen yet, with their gains.

    Args:
        chosen: those that are.
        fields: all fields of requests.
        ad_fields: those of ads.
        groups: ads with their features.
        kept: the features of requests that are kept.
        missed: what the learner misses of them.
    """
    known = [
        (name, values)
        for name, values in fields.known.items()
        if not values.is_list and (values.knots or len(values.hashes) > 1)
    ][:MOST_FIELDS]
    codes = read_codes(known, missed.places, kept)
    had = {(left, right) for left, _, right, _ in chosen}
    table_of, field_of = _tables_of(ad_fields, groups)
    cells = np.zeros((len(field_of), CODES, CODES, 3))
    told = [np.flatnonzero(bends > 0.0) for bends in missed.bends.T]
    found: list[tuple[float, Pair]] = []
    for b, (right, right_values) in enumerate(known):
        for a, (left, left_values) in enumerate(known[:b]):
            if (left, right) in had:
                continue
            gain = max(
                pair_gain(
                    codes[rows, a], codes[rows, b], missed.ads[rows], groups.ads, groups.ad_features,
                    table_of, field_of, missed.slopes[rows, head], missed.bends[rows, head], cells,
                )
                for head, rows in enumerate(told)
            )  # fmt: skip
            found.append((float(gain), (left, cuts_of(left_values), right, cuts_of(right_values))))
    return found


def _tables_of(ad_fields: Fields, groups: Groups) -> tuple[Numbers, Numbers]:
    """The table of each feature of ads (0: none), and the field of each table; the first is for all ads."""
    table_of, field_of = np.zeros(len(groups.feature_hashes), np.int64), [0]
    for field, values in enumerate(ad_fields.known.values()):
        for hashed in values.hashes.values():
            feature = groups.features.get(hashed)
            if feature is not None and not values.is_list and len(field_of) < MOST_TABLES:
                table_of[feature] = len(field_of)
                field_of.append(field + 1)
    return table_of, np.array(field_of)


def read_codes(known: list[tuple[str, Values]], places: Numbers, kept: Snapshots) -> Numbers:
    """What observations say of fields, as codes by observation and field (see `code_samples`)."""
    listed: list[tuple[int, int, int, float]] = []
    cuts = np.zeros((len(known), CUTS))
    is_number = np.zeros(len(known), np.bool_)
    for field, (_, values) in enumerate(known):
        is_number[field] = bool(values.knots)
        if values.knots:
            cuts[field] = cuts_of(values)
            knots = ((repr(knot), knot) for knot in values.knots)
            listed += [(values.hashes[key], field, 0, knot) for key, knot in knots if key in values.hashes]
        else:
            listed += [
                (hashed, field, min(code + 1, OTHER), 0.0)
                for code, hashed in enumerate(values.hashes.values())
            ]
            listed.append((values.rare, field, OTHER, 0.0))
    listed.sort()
    names = np.array([each[0] for each in listed], np.uint64)
    codes = np.zeros((len(places), len(known)), np.int64)
    code_samples(
        places, kept.hashes, kept.values, kept.counts, names,
        np.array([each[1] for each in listed], np.int64), np.array([each[2] for each in listed], np.int64),
        np.array([each[3] for each in listed], np.float64), is_number, cuts, codes,
    )  # fmt: skip
    return codes
