"""Hashed features of requests, ads and viewers, with latent classes."""

import math
from bisect import bisect_right
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contatto.kit.runtime import Array, compiled
from contatto.learning import columns as col

NAMES_KEPT: Final = 8_192
"""Size of the cache of hashed names."""
_A: Final = np.uint64(0x9E3779B97F4A7C15)
_B: Final = np.uint64(0xBF58476D1CE4E5B9)
_C: Final = np.uint64(0x94D049BB133111EB)
_27: Final = np.uint64(27)
_30: Final = np.uint64(30)
_31: Final = np.uint64(31)
_33: Final = np.uint64(33)
_11: Final = np.uint64(11)


def hash_once(*parts: str) -> int:
    """Return the hash of `name_hash` without the cache, for parts that do not repeat."""
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


@lru_cache(maxsize=NAMES_KEPT)
def name_hash(*parts: str) -> int:
    """Return a stable 64-bit hash of text parts.

    The cache serves repeats of a request in the models of all competing businesses.
    """
    return hash_once(*parts)


@compiled
def slot_of(hashed: np.uint64, shift: np.uint64) -> int:
    """Return the slot of a feature in a table of ``2 ** (64 - shift)`` slots."""
    return int(np.int64((hashed * _A) >> shift))


@compiled
def slot_beside(hashed: np.uint64, number: int, shift: np.uint64) -> int:
    """Return the slot of a feature crossed with a number; slots of one feature are adjacent."""
    slots = np.int64(1) << (np.int64(64) - np.int64(shift))
    return int((slot_of(hashed * _C, shift) + number) & (slots - 1))


@compiled
def crossed(first: np.uint64, second: np.uint64) -> np.uint64:
    """Return the interaction of two features; the order matters."""
    turned = (second << _31) | (second >> _33)
    return (first ^ turned) * _B


@compiled
def chance(seed: np.uint64, count: np.uint64) -> float:
    """Return a random number in [0, 1) from a seed and a count (SplitMix64)."""
    z = seed + count * _A
    z = (z ^ (z >> _30)) * _B
    z = (z ^ (z >> _27)) * _C
    z = z ^ (z >> _31)
    return float(z >> _11) / 9007199254740992.0


FREQUENT: Final = 4
"""Occurrences from which on a value of a field with many values has its own weight."""
BUSY: Final = 64
"""Number of values up to which each has its own weight at once."""
MOST_VALUES: Final = 20_000
MOST_FIELDS: Final = 400
MOST_OF_LIST: Final = 32
WHOLE_ITEMS: Final = 5
"""Items of a list that count as a field each; those of a longer list count as much as these together."""
LEARN_NUMBERS: Final = 256
"""Numbers of a field from which its knots are set."""
KNOTS: Final = 5
"""Knots of a field; more tell less alike numbers apart, but learn each from fewer observations."""
OUTER_NUMBERS: Final = 64
"""Numbers outside of all knots from which …"""
OUTER_KNOTS: Final = 3
"""… this number of knots is added: few, since all these numbers may be of one click farm."""
MOST_KNOTS: Final = 30
"""Limit of the knots of a field with drifting numbers."""
LARGEST: Final = 1e15
HOURS: Final = "\0hours"
"""Field of the part of the day in a country: some ads please in the morning, some in the evening."""
HOURS_S: Final = 4 * 3_600
OF_HOURS: Final = 0.6
"""Value of the part of the day beside other features, which matter more in most markets."""

type Hashed = tuple[list[int], list[float]]


@dataclass(slots=True)
class FieldValues:
    """Values of one field with their counts and hashes."""

    name: str
    hashes: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    numbers: list[float] = field(default_factory=list)
    knots: list[float] = field(default_factory=list)
    usual: tuple[float, float] = (-math.inf, math.inf)
    rare: int = 0

    def __post_init__(self) -> None:
        self.rare = name_hash("rare", self.name)

    def hash_of(self, value: str) -> int:
        """Return the hash of a value, or that of all rare values."""
        if (hashed := self.hashes.get(value)) is not None:
            return hashed
        total = self.counts.get(value, 0) + 1
        if total >= FREQUENT or len(self.hashes) < BUSY:
            if len(self.hashes) < MOST_VALUES:
                self.counts.pop(value, None)
                return self.hashes.setdefault(value, name_hash("is", self.name, value))
            return self.rare
        if len(self.counts) >= MOST_VALUES:
            self.counts = {text: count for text, count in self.counts.items() if count > 1}
            if len(self.counts) >= MOST_VALUES:
                self.counts.clear()
        self.counts[value] = total
        return self.rare

    def place_number(self, number: float) -> Hashed:
        """Return a number as weights of the two nearest knots, which are quantiles.

        Until enough numbers set the knots, return its half-octave instead. Many numbers outside of all knots
        get new knots. Unusually low numbers have a feature together, and so have unusually high ones: few
        people may have an account as new as those of a click farm.
        """
        if isinstance(number, int):
            number = min(max(number, -int(LARGEST)), int(LARGEST))
        number = float(number) if math.isfinite(number) else 0.0
        number = min(max(number, -LARGEST), LARGEST)
        if not self.knots:
            self.numbers.append(number)
            if len(self.numbers) < LEARN_NUMBERS:
                step = round(2.0 * math.log2(abs(number))) + 2_000 if number else 0
                return [name_hash("log", self.name, str(step if number > 0 else -step))], [1.0]
            self.set_knots(KNOTS)
        hashes, weights = list[int](), list[float]()
        least, most = self.usual
        if not least <= number <= most:
            hashes.append(self.hash_named("tail", f"< {least:g}" if number < least else f"> {most:g}"))
            weights.append(1.0)
        knots = self.knots
        above = bisect_right(knots, number)
        if above == 0 or above == len(knots):
            if not knots[0] <= number <= knots[-1] and len(knots) < MOST_KNOTS:
                self.numbers.append(number)
                if len(self.numbers) >= OUTER_NUMBERS:
                    self.set_knots(OUTER_KNOTS)
            edge = knots[0] if above == 0 else knots[-1]
            return [*hashes, self.hash_named("knot", repr(edge))], [*weights, 1.0]
        low, high = knots[above - 1], knots[above]
        share = (number - low) / (high - low)
        hashes += [self.hash_named("knot", repr(low)), self.hash_named("knot", repr(high))]
        return hashes, [*weights, 1.0 - share, share]

    def hash_named(self, kind: str, key: str) -> int:
        """Return the hash of a knot, or of all numbers beyond the usual ones."""
        hashed = self.hashes.get(key)
        return self.hashes.setdefault(key, name_hash(kind, self.name, key)) if hashed is None else hashed

    def set_knots(self, most: int) -> None:
        """Add quantiles of the stored numbers to the knots."""
        ordered = sorted(self.numbers)
        if not self.knots:
            self.usual = ordered[1], ordered[-2]
        more = {ordered[round((len(ordered) - 1) * step / (most - 1))] for step in range(most)}
        self.knots = sorted({*self.knots, *more})
        self.numbers = []


@dataclass
class FeatureFields:
    """Fields of one origin: requests or ads."""

    origin: str
    by_name: dict[str, FieldValues] = field(default_factory=dict)

    def values_of(self, name: str) -> FieldValues | None:
        values = self.by_name.get(name)
        if values is None and len(self.by_name) < MOST_FIELDS:
            values = self.by_name[name] = FieldValues(f"{self.origin}\0{name}")
        return values

    def hash_features(
        self,
        features: dict[str, Any],
        most: int,
        complain: Callable[[str], None],
        words: dict[int, int] | None = None,
    ) -> Hashed:
        """Return at most ``most`` hashes and weights of features; report unusable values and omit them.

        ``words`` gets hashes of texts, list items and nearest knots of numbers, with the hash of rare values
        of their field. Rare values, and numbers before there are knots, are left out.
        """
        words = {} if words is None else words
        hashes: list[int] = []
        weights: list[float] = []
        by_name = self.by_name
        for name, value in features.items():
            if len(hashes) >= most:
                break
            values = by_name.get(name) or self.values_of(name)
            if values is None or value is None:
                continue
            kind = type(value)
            if kind is bool:
                kind, value = str, "true" if value else "false"
            if kind is str:
                hashed = values.hashes.get(value)
                hashes.append(values.hash_of(value) if hashed is None else hashed)
                weights.append(1.0)
                words[hashes[-1]] = values.rare
            elif kind is list:
                texts = list(dict.fromkeys(text for text in value if type(text) is str))[:MOST_OF_LIST]
                if len(texts) < len(value) and any(type(text) is not str for text in value):
                    complain("a list of features holds something that is no string")
                items = [values.hash_of(text) for text in texts]
                hashes += items
                weights += [min(math.sqrt(WHOLE_ITEMS / max(len(texts), 1)), 1.0)] * len(texts)
                words |= dict.fromkeys(items, values.rare)
            elif kind is int or kind is float:
                placed = values.place_number(value)
                hashes += placed[0]
                weights += placed[1]
                if values.knots:
                    words[placed[0][-1 if placed[1][-1] >= 0.5 else -2]] = values.rare
            else:
                complain(f"the feature {name[:40]!r} is no string, number or list of strings")
            words.pop(values.rare, None)
        return hashes[:most], weights[:most]


_BIAS_HASH = np.uint64(0x5851F42D4C957F2D)
_COUNTED_HASH = np.uint64(0xD6E8FEB86659FD93)
_AT_ONCE: Final = 64
"""Ads per block of sums, so that the block fits the L1 cache."""


@compiled
def doubling(value: float, most: int) -> int:
    """Return 0 for (almost) nothing, then one more per doubling."""
    step, edge = 0, 0.4
    while step < most and value >= edge:
        step += 1
        edge *= 2.0
    return step


@compiled
def views_step(count: float) -> int:
    """Return a step of views: single up to five, then by doubling."""
    if count < 5.5:
        return int(count + 0.5)
    return 6 if count < 8.0 else (7 if count < 16.0 else 8)


@compiled
def since_step(seconds: float) -> int:
    """Return a step of time: a minute, ten, an hour, six, a day, three days, ten, longer."""
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
    """Decay the viewer's counters: views with a half-life of a day, rare events of two weeks."""
    passed = now_s - viewers[viewer, col.V_DECAYED_AT]
    if passed > 0.0:
        viewers[viewer, col.V_VIEWS] *= math.pow(0.5, passed / col.DAY_S)
        slow = math.pow(0.5, passed / (14.0 * col.DAY_S))
        for column in range(col.V_CLICKS, col.V_SPAM + 1):
            viewers[viewer, column] *= slow
        viewers[viewer, col.V_FARM] *= slow
        viewers[viewer, col.V_DECAYED_AT] = now_s


@compiled
def _counted(field: int, value: int) -> np.uint64:
    return (_COUNTED_HASH ^ np.uint64(field * 1_000 + value)) * np.uint64(0xBF58476D1CE4E5B9)


@compiled
def describe_viewer(
    viewers: Array, viewer: int, now_s: float, spread: Array, hashes: Array, values: Array, kinds: Array,
    count: int,
) -> int:  # fmt: skip
    """Add the viewer's history to the features of a request; return the number of features."""
    row = viewers[viewer]
    steps = (
        doubling(row[col.V_VIEWS], 8),
        since_step(now_s - row[col.V_REQUESTED_AT]),
        doubling(row[col.V_CLICKS], 6),
        doubling(row[col.V_CONVERSATIONS], 5),
        doubling(row[col.V_LEADS], 3),
        doubling(row[col.V_SPAM], 4),
    )
    for place in range(6):
        hashes[count] = _counted(place, steps[place])
        values[count] = 1.0
        kinds[count] = col.HISTORY
        count += 1
    for head in range(col.HEADS - 1):
        at = row[col.V_EFFECT + head] / math.sqrt(spread[head]) * 2.0 + 4.0
        at = min(max(at, 0.0), 8.0)
        low = min(int(at), 7)
        for knot in range(2):
            weight = at - low if knot == 1 else 1.0 - (at - low)
            hashes[count] = _counted(10 + head, low + knot)
            values[count] = weight
            kinds[count] = col.HISTORY
            count += 1
    return count


@compiled
def list_features(
    hashes: Array, values: Array, kinds: Array, count: int, ad: int, ad_hash: np.uint64,
    ad_features: Array, ad_values: Array, ad_count: int, feature_hashes: Array, crosses: Array,
    between: Array, shift: np.uint64, slots: Array, weights: Array, families: Array,
) -> int:  # fmt: skip
    """List slot, value and family of all weights of an ad at a request; return their number."""
    n = 0
    slots[n], weights[n], families[n] = slot_of(_BIAS_HASH, shift), 1.0, col.BIAS
    n += 1
    for i in range(count):
        kind = kinds[i]
        slots[n], weights[n] = slot_of(hashes[i], shift), values[i]
        families[n] = col.F_CONTEXT if kind == col.CONTEXT else col.F_HISTORY
        n += 1
        if kind == col.CONTEXT:
            slots[n], weights[n] = slot_beside(hashes[i], ad, shift), values[i]
            families[n] = col.F_CONTEXT_AD
            n += 1
    slots[n], weights[n], families[n] = slot_of(ad_hash, shift), 1.0, col.F_AD
    n += 1
    for k in range(ad_count):
        feature = ad_features[k]
        named = feature_hashes[feature]
        slots[n], weights[n], families[n] = slot_of(named, shift), ad_values[k], col.F_AD_FEATURE
        n += 1
        if crosses[feature] == 0:
            continue
        for i in range(count):
            if kinds[i] == col.CONTEXT:
                slots[n], weights[n] = slot_of(crossed(hashes[i], named), shift), values[i] * ad_values[k]
                families[n] = col.F_CONTEXT_FEATURE
                n += 1
    for b in range(between.shape[0]):
        slots[n], weights[n] = slot_of(between[b], shift), 1.0
        families[n] = col.F_CONTACT if b == col.B_TALKED else col.F_BETWEEN
        n += 1
    return n


@compiled
def add_shared(
    hashes: Array, values: Array, kinds: Array, count: int, shift: np.uint64, table: Array,
    named: np.uint64, into: Array,
) -> None:  # fmt: skip
    """Fill ``into`` with the part of all heads' scores from an ad feature, alone and with the request."""
    slot = slot_of(named, shift)
    for head in range(col.HEADS):
        into[head] = table[slot, head]
    for i in range(count):
        if kinds[i] == col.CONTEXT:
            slot = slot_of(crossed(hashes[i], named), shift)
            for head in range(col.HEADS):
                into[head] += values[i] * table[slot, head]


@compiled
def add_own(
    hashes: Array, values: Array, kinds: Array, count: int, shift: np.uint64, table: Array, viewers: Array,
    viewer: int, able: Array, total: int, ad_hashes: Array, base: Array, into: Array,
) -> None:  # fmt: skip
    """Fill all heads' scores of the eligible ads: the base, and each ad's weight and interactions.

    ``base`` gets the part that does not depend on the ad. ``able`` are the rows of these ads. The loop runs
    by feature, since its interactions with all ads are adjacent in the table. Each ad's sum keeps the order
    of features, so the result equals a loop by ad.
    """
    slot = slot_of(_BIAS_HASH, shift)
    for head in range(col.HEADS):
        base[head] = table[slot, head] + viewers[viewer, col.V_EFFECT + head]
    for i in range(count):
        slot = slot_of(hashes[i], shift)
        for head in range(col.HEADS):
            base[head] += values[i] * table[slot, head]
    for i in range(total):
        slot = slot_of(ad_hashes[able[i]], shift)
        for head in range(col.HEADS):
            into[i, head] = base[head] + table[slot, head]
    last = (np.int64(1) << (np.int64(64) - np.int64(shift))) - 1
    for start in range(0, total, _AT_ONCE):
        end = min(start + _AT_ONCE, total)
        for k in range(count):
            if kinds[k] == col.CONTEXT:
                begin, value = slot_beside(hashes[k], 0, shift), values[k]
                for i in range(start, end):
                    slot = (begin + able[i]) & last
                    for head in range(col.HEADS):
                        into[i, head] += value * table[slot, head]


@compiled
def weigh_between(between: Array, shift: np.uint64, table: Array, into: Array) -> None:
    """Fill the terms of all heads' scores from the interactions ``between`` a viewer and unmet ads."""
    for b in range(between.shape[0]):
        slot = slot_of(between[b], shift)
        for head in range(col.HEADS):
            into[b, head] = table[slot, head]


_SMOOTHING = 65.0
"""Weight of the overall word frequencies in each class, in viewers; with 20, classes fit noise."""


@compiled
def weigh_classes(scores: Array, prior: Array, bag: Array, size: int, into: Array) -> float:
    """Fill the posterior of the classes given a bag of words; return the log-likelihood of the bag.

    ``scores`` are log-probabilities of words in classes, ``prior`` those of the classes. Unknown words are
    ignored.
    """
    classes = prior.shape[0]
    for k in range(classes):
        into[k] = prior[k]
    for i in range(size):
        word = bag[i]
        if word < scores.shape[0]:
            for k in range(classes):
                into[k] += scores[word, k]
    most = into[0]
    for k in range(1, classes):
        most = max(most, into[k])
    total = 0.0
    for k in range(classes):
        into[k] = math.exp(into[k] - most)
        total += into[k]
    for k in range(classes):
        into[k] /= total
    return float(most + math.log(total))


@compiled
def begin_classes(seed: np.uint64, shares: Array) -> None:
    """Assign each viewer to a random class, as the start of a fit."""
    classes = shares.shape[1]
    for i in range(shares.shape[0]):
        for k in range(classes):
            shares[i, k] = 0.1 / classes
        shares[i, int(chance(seed, np.uint64(i + 1)) * classes)] += 0.9


@compiled
def fit_classes(
    bags: Array, sizes: Array, begins: int, ends: int, rounds: int, shares: Array, scores: Array, prior: Array
) -> float:
    """Fit the classes by expectation maximization; return the mean log-likelihood of the viewers.

    Viewers from ``begins`` to ``ends`` are the training set. ``shares`` are their posteriors, first as the
    start of the fit. ``scores`` and ``prior`` are outputs, as log-probabilities.
    """
    words, classes = scores.shape
    totals = np.zeros(classes)
    likelihood = 0.0
    for _ in range(rounds):
        scores[:] = 0.0
        prior[:] = 1.0
        for i in range(begins, ends):
            for k in range(classes):
                prior[k] += shares[i, k]
            for j in range(sizes[i]):
                for k in range(classes):
                    scores[bags[i, j], k] += shares[i, k]
        totals[:] = 0.0
        for word in range(words):
            for k in range(classes):
                totals[k] += scores[word, k]
        everything = 0.01 * words
        for k in range(classes):
            prior[k] = math.log(prior[k] / (ends - begins + classes))
            everything += totals[k]
        smoothing = _SMOOTHING * everything / max(ends - begins, 1)
        for word in range(words):
            usual = 0.01
            for k in range(classes):
                usual += scores[word, k]
            usual /= everything
            for k in range(classes):
                share = (scores[word, k] + smoothing * usual) / (totals[k] + smoothing)
                scores[word, k] = math.log(share)
        likelihood = 0.0
        for i in range(begins, ends):
            likelihood += weigh_classes(scores, prior, bags[i], sizes[i], shares[i])
    return likelihood / max(ends - begins, 1)


@compiled
def judge_classes(
    bags: Array, sizes: Array, fields: Array, begins: int, ends: int, total: int, scores: Array, prior: Array
) -> Array:
    """Return the gain in log-likelihood per held-out viewer over a model without classes, and that of fields.

    The gain of a field is that of its words given all others: zero or less if it tells nothing. The viewers
    from ``begins`` to ``ends`` of ``total`` are held out.
    """
    counts = np.full(scores.shape[0], 0.01)
    for i in range(total):
        if not begins <= i < ends:
            for j in range(sizes[i]):
                counts[bags[i, j]] += 1.0
    everything = 0.01 * scores.shape[0] + sizes[:begins].sum() + sizes[ends:total].sum()
    gains, chances = np.zeros(int(fields.max()) + 2), np.zeros(prior.shape[0])
    for i in range(begins, ends):
        gains[0] += weigh_classes(scores, prior, bags[i], sizes[i], chances)
        for j in range(sizes[i]):
            word = int(bags[i, j])
            usual, ratio = counts[word] / everything, 0.0
            for k in range(chances.shape[0]):
                ratio += chances[k] * usual / math.exp(scores[word, k])
            gains[0] -= math.log(usual)
            gains[1 + fields[word]] -= math.log(ratio)
    return gains / max(ends - begins, 1)


@compiled
def add_classes(
    chances: Array, named: Array, most: int, strength: float, hashes: Array, values: Array, kinds: Array,
    count: int,
) -> int:  # fmt: skip
    """Add the ``most`` likeliest classes of a viewer to the features; return the number of features.

    ``strength`` is the value of a certain class. ``chances`` are overwritten.
    """
    for _ in range(most):
        best = 0
        for k in range(1, chances.shape[0]):
            if chances[k] > chances[best]:
                best = k
        hashes[count] = named[best]
        values[count] = strength * chances[best]
        kinds[count] = col.CONTEXT
        count += 1
        chances[best] = -1.0
    return count


PAIRS: Final = 1 << 20
"""Cells of the counts of word pairs, by hash."""
_PAIR_SMOOTHING = 20.0
"""Weight of the overall frequencies of a field's words beside another field, in words."""


@compiled
def measure_repetition(bags: Array, sizes: Array, fields: Array, begins: int, ends: int, total: int) -> Array:
    """Return how much one field (row) tells of another (column), in log-likelihood per held-out viewer.

    A city tells its country, for example. The first has a lower number, so that one of two fields remains
    (a tree, as of Chow and Liu 1968), and is no list. ``fields`` has the field of each word. See
    `judge_classes` for the rest.
    """
    words, many = fields.shape[0], int(fields.max()) + 1
    counts, of_field = np.full(words, 0.01), np.full(many, 0.01)
    pairs, sums = np.zeros(PAIRS, np.float32), np.zeros((words, many), np.float32)
    is_list, gains = np.zeros(many, np.bool_), np.zeros((many, many))
    for i in range(total):
        if begins <= i < ends:
            continue
        for j in range(sizes[i]):
            word = int(bags[i, j])
            counts[word] += 1.0
            of_field[fields[word]] += 1.0
            for k in range(sizes[i]):
                parent = int(bags[i, k])
                if fields[parent] < fields[word]:
                    pairs[(parent * words + word) % PAIRS] += 1.0
                    sums[parent, fields[word]] += 1.0
                elif parent != word and fields[parent] == fields[word]:
                    is_list[fields[word]] = True
    for i in range(begins, ends):
        for j in range(sizes[i]):
            word = int(bags[i, j])
            field = fields[word]
            usual = counts[word] / of_field[field]
            for k in range(sizes[i]):
                parent = int(bags[i, k])
                if fields[parent] < field and not is_list[fields[parent]]:
                    ratio = pairs[(parent * words + word) % PAIRS] / usual + _PAIR_SMOOTHING
                    gains[fields[parent], field] += math.log(ratio / (sums[parent, field] + _PAIR_SMOOTHING))
    return gains / max(ends - begins, 1)


CLASSES: Final = 24
"""More classes than a market has segments of viewers; else fits often merge two segments and split one."""
LISTED: Final = 3
"""Number of likeliest classes that become features of a viewer."""
STRENGTH: Final = 3.0
"""Value of a certain class; larger than 1, as a class is worth more than one word."""
BESIDE_CLASSES: Final = 0.4
"""Factor of the values of other features where classes exist, as classes stand for most of them."""
MOST_WORDS: Final = 4_096
MOST_SAID: Final = 53
"""Words of one viewer: all features of a request, and the country."""
MOST_PAIRS: Final = 8_000_000
"""Pairs of words counted at once (see `measure_repetition`), so that no decision waits."""
REMEMBERED: Final = 8_192
"""Newest viewers, the training set."""
FIRST_FIT: Final = 2_048
"""Viewers before the first fit; each later fit waits for half as many more."""
STARTS: Final = 3
"""Random starts of the first fit, since each may end in another local optimum."""
FIRST_ROUNDS: Final = 40
LATER_ROUNDS: Final = 15
HELD_OUT: Final = 0.2
LEAST_GAIN: Final = 0.5
"""Smallest gain in log-likelihood of held-out viewers at which classes are used; 1 and more with segments."""
FIELD_GAIN: Final = 0.003
"""Smallest gain of a field given all others at which its words make classes (see `judge_classes`)."""
REPEATED: Final = 0.1
"""Gain from which on a field repeats another one, so classes would be its values (see `measure_repetition`).

Where hidden segments alone connect fields, the gain is .01 at most.
"""
STEADY: Final = 0.9
"""Rate of repetition from which on a word belongs to the viewer, not to the placement or the hour."""

type Numbers = NDArray[Any]


class LatentClasses:
    """Latent classes, fitted to the words of each viewer's first request.

    ``words`` numbers the words, ``fields`` their fields; ``field_of`` has the field of each word. ``of``,
    ``bags`` and ``sizes`` have the newest viewers by row, with their words. ``row_of`` has the viewers before
    their second request. Per word, ``asked`` counts second requests after it, and ``again`` those that repeat
    it. ``noted`` counts viewers. ``chances`` is the last posterior.
    """

    def __init__(self) -> None:
        self.words: dict[int, int] = {}
        self.fields: dict[int, int] = {}
        self.field_of = np.zeros(MOST_WORDS, np.int16)
        self.bags = np.zeros((REMEMBERED, MOST_SAID), np.int16)
        self.sizes = np.zeros(REMEMBERED, np.int16)
        self.of = np.full(REMEMBERED, -1, np.int64)
        self.row_of: dict[int, int] = {}
        self.asked = np.zeros(MOST_WORDS)
        self.again = np.zeros(MOST_WORDS)
        self.noted = 0
        self.fitted_at = 0
        self.scores = np.zeros((0, CLASSES), np.float32)
        self.prior = np.zeros(CLASSES)
        self.named = np.array([name_hash("class", str(number)) for number in range(CLASSES)], np.uint64)
        self.chances = np.zeros(CLASSES)
        self._bag = np.zeros(MOST_SAID, np.int16)

    def note(self, viewer: int, words: dict[int, int], *, is_new: bool) -> None:
        """Store a new viewer's words, with their fields; at the second request count the repeated words."""
        if not is_new:
            row = self.row_of.pop(viewer, None)
            if row is not None:
                repeated = {self.words.get(word, -1) for word in words}
                for number in self.bags[row, : self.sizes[row]].tolist():
                    self.asked[number] += 1.0
                    self.again[number] += number in repeated
            return
        numbers = self.words
        bag = []
        for word in list(words)[:MOST_SAID]:
            number = numbers.get(word)
            if number is None:
                if len(numbers) >= MOST_WORDS:
                    continue
                number = numbers[word] = len(numbers)
                self.field_of[number] = self.fields.setdefault(words[word], len(self.fields))
            bag.append(number)
        row = self.noted % REMEMBERED
        self.row_of.pop(int(self.of[row]), None)
        self.of[row], self.row_of[viewer] = viewer, row
        self.bags[row, : len(bag)] = bag
        self.sizes[row] = len(bag)
        self.noted += 1

    def read(self, words: dict[int, int]) -> bool:
        """Set ``chances`` to the posterior given a viewer's words; return False before the first fit."""
        if not len(self.scores):
            return False
        numbers = self.words
        bag = [numbers[word] for word in list(words)[:MOST_SAID] if word in numbers]
        self._bag[: len(bag)] = bag
        weigh_classes(self.scores, self.prior, self._bag, len(bag), self.chances)
        return True

    def refit_in_slices(self, seed: int) -> Generator[None]:
        """Fit the classes in slices of milliseconds; use them if held-out viewers gain.

        Words that are not steady, and fields that repeat another one, are left out.
        """
        self.fitted_at = self.noted
        total, words = min(self.noted, REMEMBERED), len(self.words)  # later words wait for the next fit
        learned, fields = total - int(total * HELD_OUT), self.field_of[: max(words, 1)].copy()
        bags, sizes = self.bags[:total].copy(), self.sizes[:total].copy()
        few = min(total, int(MOST_PAIRS / (1.0 + float(np.square(sizes, dtype=float).mean()))))
        held = few - int(few * HELD_OUT)
        repetition = measure_repetition(bags, sizes, fields, held, few, few).max(axis=0)
        yield
        is_used = (self.again[:words] + 1.0) / (self.asked[:words] + 1.0) >= STEADY
        is_used &= repetition[fields[:words]] < REPEATED
        for _ in range(2):  # the second fit leaves out fields that the classes of the first do not predict
            for row in range(total):
                bag = bags[row, : sizes[row]]
                bag = bag[is_used[bag]]
                bags[row, : len(bag)], sizes[row] = bag, len(bag)
            yield
            starts = [np.zeros((learned, CLASSES)) for _ in range(1 if len(self.scores) else STARTS)]
            for start, shares in enumerate(starts):
                begin_classes(np.uint64(seed + start), shares)
            if len(self.scores):  # the fit continues from the current classes
                for row, into in enumerate(starts[0]):
                    weigh_classes(self.scores, self.prior, self.bags[row], int(self.sizes[row]), into)
            likeliest = -math.inf
            for shares in starts:
                scores, prior = np.zeros((words, CLASSES)), np.zeros(CLASSES)
                for _ in range(LATER_ROUNDS if len(self.scores) else FIRST_ROUNDS):
                    yield
                    likely = fit_classes(bags, sizes, 0, len(shares), 1, shares, scores, prior)
                if likely > likeliest:
                    likeliest, best = likely, (scores, prior)
            yield
            scores, prior = best
            gains = judge_classes(bags, sizes, fields, learned, total, total, scores, prior)
            scores[~is_used] = 0.0
            is_told = gains[1 + fields[:words]] >= FIELD_GAIN
            if is_told[is_used].all():
                break
            is_used &= is_told
        if gains[0] >= LEAST_GAIN:
            self.scores, self.prior = scores.astype(np.float32), prior

    def state(self) -> dict[str, Any]:
        total = min(self.noted, REMEMBERED)
        bags = self.bags[:total].copy()
        bags[np.arange(MOST_SAID) >= self.sizes[:total, None]] = 0
        return {
            "bags": bags,
            "sizes": self.sizes[:total],
            "of": self.of[:total],
            "asked": self.asked[: len(self.words)],
            "again": self.again[: len(self.words)],
            "field_of": self.field_of[: len(self.words)],
            "scores": self.scores,
            "prior": self.prior,
        }

    def restore(
        self, words: list[int], fields: list[int], waiting: list[int], noted: int, fitted_at: int,
        arrays: dict[str, Any],
    ) -> None:  # fmt: skip
        self.words, self.fields = (
            {hashed: number for number, hashed in enumerate(hashes)} for hashes in (words, fields)
        )
        self.noted, self.fitted_at = noted, fitted_at
        total = len(arrays["sizes"])
        for name in ("bags", "sizes", "of"):
            getattr(self, name)[:total] = arrays[name]
        for name in ("asked", "again", "field_of"):
            getattr(self, name)[: len(words)] = arrays[name]
        row_of = {int(viewer): row for row, viewer in enumerate(self.of[:total])}
        self.row_of = {viewer: row_of[viewer] for viewer in waiting}
        self.scores, self.prior = arrays["scores"], arrays["prior"]
