"""Latent classes of viewers, fitted by expectation maximization."""

import math
from collections.abc import Generator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contatto.kit.kernels import Array, compiled
from contatto.learning.columns import CONTEXT
from contatto.learning.features import chance, name_hash

_SMOOTHING = 20.0
"""So many words of the usual kind are believed in each class."""


@compiled
def weigh_classes(scores: Array, prior: Array, bag: Array, size: int, into: Array) -> float:
    """The chance of each class given the words of a bag; how likely the bag was comes back, as a logarithm.

    Args:
        scores: logarithms of the chances of words (rows) in classes (columns).
        prior: logarithms of the shares of the classes.
        bag: numbers of words; those beyond ``scores`` say nothing.
        size: how many there are.
        into: filled with the chances.
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
    """Put each viewer into a class by lot, to begin with."""
    classes = shares.shape[1]
    for i in range(shares.shape[0]):
        for k in range(classes):
            shares[i, k] = 0.1 / classes
        shares[i, int(chance(seed, np.uint64(i + 1)) * classes)] += 0.9


@compiled
def fit_classes(
    bags: Array, sizes: Array, begins: int, ends: int, rounds: int, shares: Array, scores: Array, prior: Array
) -> float:
    """Fit the classes to some viewers, from the shares that they have in the classes.

    Args:
        bags: numbers of the words of each viewer.
        sizes: how many there are.
        begins: the first viewer that is learned from.
        ends: the first one after the last.
        rounds: how often expectation and maximization take turns.
        shares: the chances of the classes of each viewer; left as they are at the end.
        scores: filled with logarithms of the chances of words in classes.
        prior: filled with logarithms of the shares of the classes.

    Returns:
        The mean logarithm of how likely the viewers are.
    """  # fmt: skip
    words, classes = scores.shape
    totals = np.zeros(classes)
    found = 0.0
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
        for word in range(words):
            usual = 0.01
            for k in range(classes):
                usual += scores[word, k]
            usual /= everything
            for k in range(classes):
                share = (scores[word, k] + _SMOOTHING * usual) / (totals[k] + _SMOOTHING)
                scores[word, k] = math.log(share)
        found = 0.0
        for i in range(begins, ends):
            found += weigh_classes(scores, prior, bags[i], sizes[i], shares[i])
    return found / max(ends - begins, 1)


@compiled
def judge_classes(
    bags: Array, sizes: Array, begins: int, ends: int, total: int, scores: Array, prior: Array, scratch: Array
) -> float:
    """How much likelier the classes make viewers that were held out than no classes do, as a mean logarithm.

    Args:
        bags: numbers of the words of each viewer.
        sizes: how many there are.
        begins: the first viewer that was held out.
        ends: the first one after the last.
        total: how many viewers there are.
        scores: see `fit_classes`.
        prior: see `fit_classes`.
        scratch: as long as there are words, and at least as classes.
    """  # fmt: skip
    words = scores.shape[0]
    scratch[:] = 0.01
    everything = 0.01 * words
    for i in range(total):
        if begins <= i < ends:
            continue
        for j in range(sizes[i]):
            scratch[bags[i, j]] += 1.0
            everything += 1.0
    alone = 0.0
    for i in range(begins, ends):
        for j in range(sizes[i]):
            alone += math.log(scratch[bags[i, j]] / everything)
    together = 0.0
    for i in range(begins, ends):
        together += weigh_classes(scores, prior, bags[i], sizes[i], scratch)
    return (together - alone) / max(ends - begins, 1)


@compiled
def add_classes(
    chances: Array, named: Array, most: int, strength: float, hashes: Array, values: Array, kinds: Array,
    count: int,
) -> int:  # fmt: skip
    """Add the likeliest classes of a viewer to the features of a request; their chances are used up.

    Args:
        chances: of the classes.
        named: hashes of the classes.
        most: how many are added.
        strength: the value of a class that is certain.
        hashes: names of features; filled from ``count`` on.
        values: their values.
        kinds: their kinds.
        count: how many there are already.

    Returns:
        How many there are now.
    """
    for _ in range(most):
        best = 0
        for k in range(1, chances.shape[0]):
            if chances[k] > chances[best]:
                best = k
        hashes[count] = named[best]
        values[count] = strength * chances[best]
        kinds[count] = CONTEXT
        count += 1
        chances[best] = -1.0
    return count


CLASSES: Final = 24
"""More than there are kinds: with as many, two of them often end in one class, and one of them in two."""
LISTED: Final = 3
"""So many of the likeliest classes of a viewer become features."""
STRENGTH: Final = 4.0
"""The value of a class that is certain: a class says more than one word, so its weights may be larger."""
MOST_WORDS: Final = 4_096
MOST_SAID: Final = 32
"""Words of one viewer."""
REMEMBERED: Final = 8_192
"""The newest viewers, from whom classes are fitted."""
FIRST_FIT: Final = 2_048
"""Viewers that are awaited before the first fit; each later one awaits half as many more as there were."""
STARTS: Final = 3
"""So many beginnings are tried at first, since each may end in a valley of its own."""
FIRST_ROUNDS: Final = 40
LATER_ROUNDS: Final = 15
HELD_OUT: Final = 0.2
LEAST_GAIN: Final = 0.5
"""How much likelier (as a logarithm) classes have to make a viewer that was held out.

Where people come in kinds it is one and more; where they do not, less than nothing.
"""
STEADY: Final = 0.9
"""A word is of the viewer, not of the place or the hour, if it comes again so often when the viewer does."""

type Numbers = NDArray[Any]


class Classes:
    """See the module. What a viewer showed at the first request takes part, so that all count alike."""

    def __init__(self) -> None:
        self.words: dict[int, int] = {}
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
        self._said = np.zeros(MOST_SAID, np.int16)

    def note(self, viewer: int, said: list[int], *, is_new: bool) -> None:
        """Remember what a new viewer shows; of one who is remembered, count what is shown again."""
        if not is_new:
            self._compare(viewer, said)
            return
        words = self.words
        bag = []
        for word in said[:MOST_SAID]:
            number = words.get(word)
            if number is None:
                if len(words) >= MOST_WORDS:
                    continue
                number = words[word] = len(words)
            bag.append(number)
        row = self.noted % REMEMBERED
        self.row_of.pop(int(self.of[row]), None)
        self.of[row], self.row_of[viewer] = viewer, row
        self.bags[row, : len(bag)] = bag
        self.sizes[row] = len(bag)
        self.noted += 1

    def _compare(self, viewer: int, said: list[int]) -> None:
        """Each viewer is compared once, with the second request."""
        row = self.row_of.pop(viewer, None)
        if row is None:
            return
        now = {self.words.get(word, -1) for word in said}
        for number in self.bags[row, : self.sizes[row]].tolist():
            self.asked[number] += 1.0
            self.again[number] += number in now

    def read(self, said: list[int]) -> bool:
        """Set ``chances`` to those of the classes of a viewer who shows this; False where there are none."""
        if not len(self.scores):
            return False
        words = self.words
        bag = [words[word] for word in said[:MOST_SAID] if word in words]
        self._said[: len(bag)] = bag
        weigh_classes(self.scores, self.prior, self._said, len(bag), self.chances)
        return True

    def is_time_to_fit(self) -> bool:
        """Return whether there are enough new viewers."""
        return self.noted >= max(self.fitted_at * 3 // 2, FIRST_FIT)

    def refit_in_slices(self, seed: int) -> Generator[None]:
        """Fit the classes, in slices of some milliseconds; they are used where held-out viewers say so."""
        self.fitted_at = self.noted
        bags, sizes, is_steady = self._steady_words()
        yield
        total = len(sizes)
        learned = total - int(total * HELD_OUT)
        begun = self._go_on(learned) if len(self.scores) else self._begin(learned, seed)
        best: tuple[Numbers, Numbers] = (self.scores, self.prior)
        words, likeliest = len(self.words), -math.inf
        for shares in begun:
            scores, prior = np.zeros((words, CLASSES)), np.zeros(CLASSES)
            for _ in range(LATER_ROUNDS if len(self.scores) else FIRST_ROUNDS):
                yield
                likely = fit_classes(bags, sizes, 0, len(shares), 1, shares, scores, prior)
            if likely > likeliest:
                likeliest, best = likely, (scores, prior)
        yield
        scores, prior = best
        gain = judge_classes(
            bags, sizes, learned, total, total, scores, prior, np.zeros(max(len(scores), CLASSES))
        )
        scores[~is_steady[: len(scores)]] = 0.0
        if gain >= LEAST_GAIN:
            self.scores, self.prior = scores.astype(np.float32), prior

    def _steady_words(self) -> tuple[Numbers, Numbers, NDArray[np.bool_]]:
        """The bags without words that are not of the viewer, their sizes, and which words are."""
        total, words = min(self.noted, REMEMBERED), len(self.words)
        is_steady = (self.again[:words] + 1.0) / (self.asked[:words] + 1.0) >= STEADY
        bags, sizes = np.zeros((total, MOST_SAID), np.int16), np.zeros(total, np.int16)
        for row in range(total):
            bag = self.bags[row, : self.sizes[row]]
            bag = bag[is_steady[bag]]
            bags[row, : len(bag)] = bag
            sizes[row] = len(bag)
        return bags, sizes, is_steady

    def _begin(self, learned: int, seed: int) -> list[Numbers]:
        """Several beginnings: the shares of viewers (rows) in classes."""
        begun = [np.zeros((learned, CLASSES)) for _ in range(STARTS)]
        for start, shares in enumerate(begun):
            begin_classes(np.uint64(seed + start), shares)
        return begun

    def _go_on(self, learned: int) -> list[Numbers]:
        """The classes that there are, to go on from: each stays what it was."""
        shares = np.zeros((learned, CLASSES))
        for row in range(learned):
            weigh_classes(self.scores, self.prior, self.bags[row], self.sizes[row], shares[row])
        return [shares]

    def state(self) -> dict[str, Any]:
        """All of it, but only the rows that are in use."""
        total = min(self.noted, REMEMBERED)
        bags = self.bags[:total].copy()
        bags[np.arange(MOST_SAID) >= self.sizes[:total, None]] = 0
        return {
            "bags": bags,
            "sizes": self.sizes[:total],
            "of": self.of[:total],
            "asked": self.asked[: len(self.words)],
            "again": self.again[: len(self.words)],
            "scores": self.scores,
            "prior": self.prior,
        }

    def restore(
        self, words: list[int], waiting: list[int], noted: int, fitted_at: int, arrays: dict[str, Any]
    ) -> None:
        self.words = {word: number for number, word in enumerate(words)}
        self.noted, self.fitted_at = noted, fitted_at
        total = len(arrays["sizes"])
        for name in ("bags", "sizes", "of"):
            getattr(self, name)[:total] = arrays[name]
        for name in ("asked", "again"):
            getattr(self, name)[: len(words)] = arrays[name]
        row_of = {int(viewer): row for row, viewer in enumerate(self.of[:total])}
        self.row_of = {viewer: row_of[viewer] for viewer in waiting}
        self.scores, self.prior = arrays["scores"], arrays["prior"]
