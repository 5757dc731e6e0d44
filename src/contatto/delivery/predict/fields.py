"""From features as they are told to hashed ones: texts, lists as bags, numbers by learned quantiles.

A value that is rare has no weight of its own: it counts as "rare" until it was seen some times, so that a
field with a million values fills neither the memory nor the table of weights.
"""

import math
from bisect import bisect_right
from collections.abc import Callable
from typing import Any, Final

from contatto.delivery.rules.hashing import name_hash

FREQUENT: Final = 4
"""A value of a busy field has a weight of its own from this many sightings on."""
BUSY: Final = 64
"""A field with fewer values than this keeps each from the first sighting on."""
MOST_VALUES: Final = 20_000
MOST_FIELDS: Final = 400
MOST_OF_LIST: Final = 32
LEARN_NUMBERS: Final = 256
KNOTS: Final = 10
MOST_KNOTS: Final = 30
"""A field whose numbers wander gets more knots, until it has so many."""
LARGEST: Final = 1e15

type Hashed = tuple[list[int], list[float]]


class Values:
    """The values of one field: how often each was seen, and the hash of its name."""

    __slots__ = ("counts", "field", "hashes", "is_list", "knots", "numbers", "rare")

    def __init__(self, field: str) -> None:
        self.field = field
        self.rare = name_hash("rare", field)
        self.is_list = False
        self.hashes: dict[str, int] = {}
        self.counts: dict[str, int] = {}
        self.numbers: list[float] = []
        self.knots: list[float] = []

    def hash_of(self, value: str) -> int:
        """The name of a value, or that of all rare ones."""
        known = self.hashes.get(value)
        if known is not None:
            return known
        seen = self.counts.get(value, 0) + 1
        if seen >= FREQUENT or len(self.hashes) < BUSY:
            if len(self.hashes) < MOST_VALUES:
                self.counts.pop(value, None)
                return self.hashes.setdefault(value, name_hash("is", self.field, value))
            return self.rare
        if len(self.counts) >= MOST_VALUES:
            self.counts = {each: count for each, count in self.counts.items() if count > 1}
            if len(self.counts) >= MOST_VALUES:
                self.counts.clear()
        self.counts[value] = seen
        return self.rare

    def place_number(self, number: float) -> Hashed:
        """A number as weights of the two knots beside it: quantiles of the first, and of those outside."""
        if not self.knots:
            self.numbers.append(number)
            if len(self.numbers) < LEARN_NUMBERS:
                return [name_hash("log", self.field, str(_log_step(number)))], [1.0]
            self._set_knots()
        knots = self.knots
        above = bisect_right(knots, number)
        if above == 0 or above == len(knots):
            if not knots[0] <= number <= knots[-1] and len(knots) < MOST_KNOTS:
                self.note_outside(number)
            return [self._knot(knots[0] if above == 0 else knots[-1])], [1.0]
        low, high = knots[above - 1], knots[above]
        share = (number - low) / (high - low)
        return [self._knot(low), self._knot(high)], [1.0 - share, share]

    def _knot(self, knot: float) -> int:
        key = repr(knot)
        known = self.hashes.get(key)
        return known if known is not None else self.hashes.setdefault(key, name_hash("knot", self.field, key))

    def note_outside(self, number: float) -> None:
        """Remember a number that lies beyond all knots; many of these get knots of their own."""
        self.numbers.append(number)
        if len(self.numbers) >= LEARN_NUMBERS:
            self._set_knots()

    def _set_knots(self) -> None:
        """Add quantiles of the numbers that wait; other knots stay, with what was learned of them."""
        ordered = sorted(self.numbers)
        last = len(ordered) - 1
        more = {ordered[round(last * step / (KNOTS - 1))] for step in range(KNOTS)}
        self.knots = sorted({*self.knots, *more})
        self.numbers = []


def _log_step(number: float) -> int:
    if number == 0.0:
        return 0
    step = round(2.0 * math.log2(abs(number))) + 2_000
    return step if number > 0 else -step


class Fields:
    """All fields of one origin (requests, or ads)."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.known: dict[str, Values] = {}

    def values_of(self, field: str) -> Values | None:
        known = self.known.get(field)
        if known is None and len(self.known) < MOST_FIELDS:
            known = self.known[field] = Values(f"{self.origin}\0{field}")
        return known

    def hash_features(
        self,
        features: dict[str, Any],
        most: int,
        complain: Callable[[str], None],
        said: list[int] | None = None,
    ) -> Hashed:
        """The hashed features with their values; what cannot be used is complained of and left out.

        Args:
            features: as they are told.
            most: how many hashed features there may be.
            complain: is told of what cannot be used.
            said: gets the name of each text, each item of a list, and the nearest knot of each number.
        """
        said = [] if said is None else said
        hashes: list[int] = []
        weights: list[float] = []
        known = self.known
        for field, value in features.items():
            if len(hashes) >= most:
                break
            values = known.get(field) or self.values_of(field)
            if values is None or value is None:
                continue
            kind = type(value)
            if kind is str:
                found = values.hashes.get(value)
                hashes.append(values.hash_of(value) if found is None else found)
                weights.append(1.0)
                said.append(hashes[-1])
            elif kind is list:
                had = len(hashes)
                self._add_list(values, value, hashes, weights, complain)
                said += hashes[had:]
            elif kind is bool:
                hashes.append(values.hash_of("true" if value else "false"))
                weights.append(1.0)
                said.append(hashes[-1])
            elif kind is int or kind is float:
                placed = values.place_number(_bounded(value))
                hashes += placed[0]
                weights += placed[1]
                said.append(placed[0][-1] if placed[1][-1] >= 0.5 else placed[0][0])
            else:
                complain(f"the feature {field[:40]!r} is no string, number or list of strings")
        return hashes[:most], weights[:most]

    def _add_list(
        self,
        values: Values,
        listed: list[Any],
        hashes: list[int],
        weights: list[float],
        complain: Callable[[str], None],
    ) -> None:
        values.is_list = True
        texts = list(dict.fromkeys(each for each in listed if type(each) is str))[:MOST_OF_LIST]
        if len(texts) < len(listed) and any(type(each) is not str for each in listed):
            complain("a list of features holds something that is no string")
        share = 1.0 / math.sqrt(len(texts)) if texts else 0.0
        for text in texts:
            hashes.append(values.hash_of(text))
            weights.append(share)


def _bounded(number: float) -> float:
    """A number that arithmetic stands: huge ones are cut."""
    if isinstance(number, int) and abs(number) > LARGEST:
        return LARGEST if number > 0 else -LARGEST
    value = float(number)
    return min(max(value, -LARGEST), LARGEST) if math.isfinite(value) else 0.0
