"""Features of requests, ads and viewers, and the weights that each of them uses."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import msgspec
import numpy as np

from contatto.kit.kernels import Array, compiled
from contatto.learning.columns import (
    BIAS,
    CLICK,
    CONTEXT,
    CONVERSATION,
    DAY_S,
    F_AD,
    F_AD_FEATURE,
    F_BETWEEN,
    F_CONTEXT,
    F_CONTEXT_AD,
    F_CONTEXT_FEATURE,
    F_HISTORY,
    F_STACKED,
    F_TIME,
    HEADS,
    HISTORY,
    R_FIT,
    STACKED,
    V_CLICKS,
    V_CONVERSATIONS,
    V_DECAYED_AT,
    V_EFFECT,
    V_FARM,
    V_LEADS,
    V_REQUESTED_AT,
    V_SPAM,
    V_VARIANCE,
    V_VIEWS,
)
from contatto.learning.lines import AdGroupLine, AdLine

NAMES_KEPT: Final = 8_192
"""Names that were asked for lately are not hashed again."""
_A: Final = np.uint64(0x9E3779B97F4A7C15)
_B: Final = np.uint64(0xBF58476D1CE4E5B9)
_C: Final = np.uint64(0x94D049BB133111EB)
_27: Final = np.uint64(27)
_30: Final = np.uint64(30)
_31: Final = np.uint64(31)
_33: Final = np.uint64(33)
_11: Final = np.uint64(11)


def hash_once(*parts: str) -> int:
    """The number that `name_hash` gives, for parts that nobody asks for again: nothing is kept of them."""
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


@lru_cache(maxsize=NAMES_KEPT)
def name_hash(*parts: str) -> int:
    """The same 64-bit number for the same parts, on every machine and in every run.

    One request asks the same in the models of all businesses that compete for its place.
    """
    return hash_once(*parts)


def digest_lines(lines: Sequence[AdGroupLine | AdLine]) -> int:
    """A number from 1 to 2⁶³ - 1 that stands for these lines."""
    digest = blake2b(msgspec.msgpack.encode(lines), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 1) or 1


@compiled
def slot_of(hashed: np.uint64, shift: np.uint64) -> int:
    """The slot of a feature in a table of ``2 ** (64 - shift)`` slots."""
    return int(np.int64((hashed * _A) >> shift))


@compiled
def slot_beside(hashed: np.uint64, number: int, shift: np.uint64) -> int:
    """The slot of a feature crossed with a numbered thing; those of one feature lie side by side."""
    slots = np.int64(1) << (np.int64(64) - np.int64(shift))
    return int((slot_of(hashed * _C, shift) + number) & (slots - 1))


@compiled
def crossed(left: np.uint64, right: np.uint64) -> np.uint64:
    """The feature "both of these"; the order matters."""
    turned = (right << _31) | (right >> _33)
    return (left ^ turned) * _B


@compiled
def chance(seed: np.uint64, count: np.uint64) -> float:
    """A number in [0, 1) that depends on the seed and the count alone (SplitMix64)."""
    z = seed + count * _A
    z = (z ^ (z >> _30)) * _B
    z = (z ^ (z >> _27)) * _C
    z = z ^ (z >> _31)
    return float(z >> _11) / 9007199254740992.0


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


class FieldValues:
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


class FeatureFields:
    """All fields of one origin (requests, or ads)."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.by_name: dict[str, FieldValues] = {}

    def values_of(self, field: str) -> FieldValues | None:
        known = self.by_name.get(field)
        if known is None and len(self.by_name) < MOST_FIELDS:
            known = self.by_name[field] = FieldValues(f"{self.origin}\0{field}")
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
        known = self.by_name
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
        values: FieldValues,
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


_BIAS_HASH = np.uint64(0x5851F42D4C957F2D)
_COUNTED_HASH = np.uint64(0xD6E8FEB86659FD93)
_STACKED_HASH = np.uint64(0xA0761D6478BD642F)
_AT_ONCE: Final = 64
"""Ads whose sums are made together: so many stay in the nearest memory of a core."""


@compiled
def doubling(value: float, most: int) -> int:
    """0 for (almost) nothing, then one more for each doubling."""
    step, edge = 0, 0.4
    while step < most and value >= edge:
        step += 1
        edge *= 2.0
    return step


@compiled
def views_step(count: float) -> int:
    """Views as a step: one by one up to five, then by doubling."""
    if count < 5.5:
        return int(count + 0.5)
    return 6 if count < 8.0 else (7 if count < 16.0 else 8)


@compiled
def since_step(seconds: float) -> int:
    """Return how long ago, in steps: a minute, ten, an hour, six, a day, three days, ten, longer."""
    if seconds < 60.0:
        return 0
    if seconds < 600.0:
        return 1
    if seconds < 3_600.0:
        return 2
    if seconds < 21_600.0:
        return 3
    if seconds < 86_400.0:
        return 4
    if seconds < 259_200.0:
        return 5
    return 6 if seconds < 864_000.0 else 7


@compiled
def fade_viewer(viewers: Array, viewer: int, now_s: float) -> None:
    """Bring the viewer's counters down to now: views halve in a day, what is rare in two weeks."""
    passed = now_s - viewers[viewer, V_DECAYED_AT]
    if passed > 0.0:
        viewers[viewer, V_VIEWS] *= math.pow(0.5, passed / DAY_S)
        slow = math.pow(0.5, passed / (14.0 * DAY_S))
        for column in range(V_CLICKS, V_SPAM + 1):
            viewers[viewer, column] *= slow
        viewers[viewer, V_FARM] *= slow
        viewers[viewer, V_DECAYED_AT] = now_s


@compiled
def _counted(field: int, value: int) -> np.uint64:
    return (_COUNTED_HASH ^ np.uint64(field * 1_000 + value)) * np.uint64(0xBF58476D1CE4E5B9)


@compiled
def describe_viewer(
    viewers: Array,
    viewer: int,
    now_s: float,
    spread: Array,
    hashes: Array,
    values: Array,
    kinds: Array,
    count: int,
) -> int:
    """Add what the viewer did before to the features of a request.

    Args:
        viewers: the table of viewers.
        viewer: the row.
        now_s: the time of the request.
        spread: the variance of viewers' effects, by head.
        hashes: names of features; filled from ``count`` on.
        values: their values.
        kinds: their kinds.
        count: how many there are already.

    Returns:
        How many there are now.
    """
    row = viewers[viewer]
    steps = (
        doubling(row[V_VIEWS], 8),
        since_step(now_s - row[V_REQUESTED_AT]),
        doubling(row[V_CLICKS], 6),
        doubling(row[V_CONVERSATIONS], 5),
        doubling(row[V_LEADS], 3),
        doubling(row[V_SPAM], 4),
    )
    for field in range(6):
        hashes[count] = _counted(field, steps[field])
        values[count] = 1.0
        kinds[count] = HISTORY
        count += 1
    for head in range(HEADS - 1):
        at = row[V_EFFECT + head] / math.sqrt(spread[head]) * 2.0 + 4.0
        at = min(max(at, 0.0), 8.0)
        low = min(int(at), 7)
        for knot in range(2):
            weight = at - low if knot == 1 else 1.0 - (at - low)
            hashes[count] = _counted(10 + head, low + knot)
            values[count] = weight
            kinds[count] = HISTORY
            count += 1
    return count


@compiled
def list_features(
    hashes: Array,
    values: Array,
    kinds: Array,
    count: int,
    ad: int,
    ad_hash: np.uint64,
    ad_features: Array,
    ad_values: Array,
    ad_count: int,
    feature_hashes: Array,
    crosses: Array,
    between: Array,
    shift: np.uint64,
    slots: Array,
    weights: Array,
    families: Array,
) -> int:
    """Every weight that speaks for an ad at a request: its slot, its value and its family.

    Returns:
        How many there are.
    """  # fmt: skip
    n = 0
    slots[n], weights[n], families[n] = slot_of(_BIAS_HASH, shift), 1.0, BIAS
    n += 1
    for i in range(count):
        kind = kinds[i]
        slots[n], weights[n] = slot_of(hashes[i], shift), values[i]
        families[n] = F_CONTEXT if kind == CONTEXT else (F_HISTORY if kind == HISTORY else F_TIME)
        n += 1
        if kind == CONTEXT:
            slots[n], weights[n] = slot_beside(hashes[i], ad, shift), values[i]
            families[n] = F_CONTEXT_AD
            n += 1
    slots[n], weights[n], families[n] = slot_of(ad_hash, shift), 1.0, F_AD
    n += 1
    for k in range(ad_count):
        feature = ad_features[k]
        named = feature_hashes[feature]
        slots[n], weights[n], families[n] = slot_of(named, shift), ad_values[k], F_AD_FEATURE
        n += 1
        if crosses[feature] == 0:
            continue
        for i in range(count):
            if kinds[i] == CONTEXT:
                slots[n], weights[n] = slot_of(crossed(hashes[i], named), shift), values[i] * ad_values[k]
                families[n] = F_CONTEXT_FEATURE
                n += 1
    for b in range(between.shape[0]):
        slots[n], weights[n], families[n] = slot_of(between[b], shift), 1.0, F_BETWEEN
        n += 1
    return n


@compiled
def bounded(score: float) -> float:
    """A score that no head after it takes for more than three."""
    return float(min(max(score, -3.0), 3.0))


@compiled
def stacked(p: float) -> float:
    """How far an estimate is from the usual, for the questions that come after it: as a score, bounded."""
    return bounded(math.log(p / (1.0 - p)) + 2.5)


def said_by(raw: Sequence[float]) -> tuple[float, float, float]:
    """What earlier heads say to later ones (see `K_CLICK`), by what was estimated when the ad was chosen."""
    fit = raw[HEADS] if len(raw) > HEADS else 0.0
    return stacked(raw[CLICK]), bounded(fit), stacked(raw[CONVERSATION])


@compiled
def count_stacked(head: int) -> int:
    """How many weights earlier heads have in a head: two in a conversation, three in those after it."""
    return min(head + 1, STACKED) if head > CLICK else 0


@compiled
def stack_slot(before: int, shift: np.uint64) -> int:
    """The weight with which what a head estimated (see `K_CLICK`) speaks for the heads after it."""
    return slot_of(_STACKED_HASH ^ np.uint64(before * 7_919), shift)


@compiled
def list_stacked(
    stack: Array, head: int, count: int, shift: np.uint64, slots: Array, weights: Array, families: Array
) -> int:
    """Add what the heads before this one estimated.

    Returns:
        How many weights there are now.
    """
    for before in range(count_stacked(head)):
        slots[count], weights[count] = stack_slot(before, shift), stack[before]
        families[count] = F_STACKED
        count += 1
    return count


@compiled
def sum_fit(table: Array, slots: Array, weights: Array, families: Array, count: int) -> float:
    """What lies between what a request says and an ad in the score of a click."""
    fit = 0.0
    for j in range(count):
        if families[j] == F_CONTEXT_AD or families[j] == F_CONTEXT_FEATURE:
            fit += weights[j] * table[slots[j], CLICK]
    return fit


@compiled
def add_shared(
    hashes: Array,
    values: Array,
    kinds: Array,
    count: int,
    shift: np.uint64,
    table: Array,
    named: np.uint64,
    into: Array,
) -> None:
    """The part of all heads' scores that a feature of ads brings to this request, its own weight included.

    Behind these stands how well the feature fits the request: the score of a click without that weight.
    """
    slot = slot_of(named, shift)
    for head in range(HEADS):
        into[head] = table[slot, head]
    own = into[CLICK]
    for i in range(count):
        if kinds[i] == CONTEXT:
            slot = slot_of(crossed(hashes[i], named), shift)
            for head in range(HEADS):
                into[head] += values[i] * table[slot, head]
    into[HEADS] = into[CLICK] - own


@compiled
def add_base(
    hashes: Array,
    values: Array,
    kinds: Array,
    count: int,
    shift: np.uint64,
    table: Array,
    viewers: Array,
    viewer: int,
    into: Array,
) -> None:
    """The part of all heads' scores that does not depend on the ad."""
    slot = slot_of(_BIAS_HASH, shift)
    for head in range(HEADS):
        into[head] = table[slot, head] + viewers[viewer, V_EFFECT + head]
    for i in range(count):
        slot = slot_of(hashes[i], shift)
        for head in range(HEADS):
            into[head] += values[i] * table[slot, head]


@compiled
def add_own(
    hashes: Array,
    values: Array,
    kinds: Array,
    count: int,
    shift: np.uint64,
    table: Array,
    able: Array,
    total: int,
    ad_hashes: Array,
    base: Array,
    into: Array,
) -> None:
    """What is each ad's own in all heads' scores, on top of their base: its weight, its crosses.

    Feature by feature, as the crosses of one feature with all ads lie side by side in the table. For each ad
    the sum is made in the order of features, so it is the same number as if it were made ad by ad.
    """
    for i in range(total):
        slot = slot_of(ad_hashes[able[i]], shift)
        for head in range(HEADS):
            into[i, head] = base[head] + table[slot, head]
        into[i, R_FIT] = -into[i, CLICK]
    last = (np.int64(1) << (np.int64(64) - np.int64(shift))) - 1
    for start in range(0, total, _AT_ONCE):
        end = min(start + _AT_ONCE, total)
        for k in range(count):
            if kinds[k] == CONTEXT:
                begin, value = slot_beside(hashes[k], 0, shift), values[k]
                for i in range(start, end):
                    slot = (begin + able[i]) & last
                    for head in range(HEADS):
                        into[i, head] += value * table[slot, head]
    for i in range(total):
        into[i, R_FIT] += into[i, CLICK]


@compiled
def add_between(between: Array, shift: np.uint64, table: Array, into: Array) -> None:
    """The part of all heads' scores that lies between the viewer and the ad: how often shown, the hour."""
    for b in range(between.shape[0]):
        slot = slot_of(between[b], shift)
        for head in range(HEADS):
            into[head] += table[slot, head]


@compiled
def weigh_between(between: Array, shift: np.uint64, table: Array, into: Array) -> None:
    """What `add_between` adds, part by part: for many ads with which a viewer has had the same to do."""
    for b in range(between.shape[0]):
        slot = slot_of(between[b], shift)
        for head in range(HEADS):
            into[b, head] = table[slot, head]


@compiled
def viewer_variance(viewers: Array, viewer: int, head: int, spread: Array) -> float:
    """How unsure the viewer's own effect is; a viewer of whom nothing is known has all of the spread."""
    known = viewers[viewer, V_VARIANCE + head]
    return float(known if known > 0.0 else spread[head])
