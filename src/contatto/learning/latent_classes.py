"""Latent classes of viewers, fitted by expectation maximization."""

import math
from collections.abc import Generator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contatto.kit.runtime import Array, compiled
from contatto.learning.columns import CONTEXT
from contatto.learning.features import chance, name_hash

_SMOOTHING = 20.0
"""Weight of the overall word frequencies in each class, in words."""


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
        for word in range(words):
            usual = 0.01
            for k in range(classes):
                usual += scores[word, k]
            usual /= everything
            for k in range(classes):
                share = (scores[word, k] + _SMOOTHING * usual) / (totals[k] + _SMOOTHING)
                scores[word, k] = math.log(share)
        likelihood = 0.0
        for i in range(begins, ends):
            likelihood += weigh_classes(scores, prior, bags[i], sizes[i], shares[i])
    return likelihood / max(ends - begins, 1)


@compiled
def judge_classes(
    bags: Array, sizes: Array, begins: int, ends: int, total: int, scores: Array, prior: Array, scratch: Array
) -> float:
    """Return the mean gain in log-likelihood of held-out viewers over a model without classes.

    The viewers from ``begins`` to ``ends`` of ``total`` are held out. ``scratch`` needs a cell per word, and
    per class.
    """
    words = scores.shape[0]
    scratch[:] = 0.01
    everything = 0.01 * words
    for i in range(total):
        if begins <= i < ends:
            continue
        for j in range(sizes[i]):
            scratch[bags[i, j]] += 1.0
            everything += 1.0
    baseline = 0.0
    for i in range(begins, ends):
        for j in range(sizes[i]):
            baseline += math.log(scratch[bags[i, j]] / everything)
    likelihood = 0.0
    for i in range(begins, ends):
        likelihood += weigh_classes(scores, prior, bags[i], sizes[i], scratch)
    return (likelihood - baseline) / max(ends - begins, 1)


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
        kinds[count] = CONTEXT
        count += 1
        chances[best] = -1.0
    return count


CLASSES: Final = 24
"""More classes than segments: with equal numbers, fits often merge two segments and split one."""
LISTED: Final = 3
"""Number of likeliest classes that become features of a viewer."""
STRENGTH: Final = 4.0
"""Value of a certain class; larger than 1, as a class is worth more than one word."""
MOST_WORDS: Final = 4_096
MOST_SAID: Final = 32
"""Words of one viewer."""
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
"""Smallest mean gain in log-likelihood of held-out viewers at which classes are used.

With real segments it is one and more, without them below zero.
"""
STEADY: Final = 0.9
"""Rate of repetition from which on a word belongs to the viewer, not to the placement or the hour."""

type Numbers = NDArray[Any]


class LatentClasses:
    """Latent classes, fitted to the words of each viewer's first request.

    ``words`` numbers the words. ``of``, ``bags`` and ``sizes`` have the newest viewers by row, with their
    words. ``row_of`` has the viewers before their second request. Per word, ``asked`` counts second requests
    after it, and ``again`` those that repeat it. ``noted`` counts viewers. ``chances`` is the last posterior.
    """

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
        self._bag = np.zeros(MOST_SAID, np.int16)

    def note(self, viewer: int, words: list[int], *, is_new: bool) -> None:
        """Store the words of a new viewer; at the second request count the repeated words."""
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
        for word in words[:MOST_SAID]:
            number = numbers.get(word)
            if number is None:
                if len(numbers) >= MOST_WORDS:
                    continue
                number = numbers[word] = len(numbers)
            bag.append(number)
        row = self.noted % REMEMBERED
        self.row_of.pop(int(self.of[row]), None)
        self.of[row], self.row_of[viewer] = viewer, row
        self.bags[row, : len(bag)] = bag
        self.sizes[row] = len(bag)
        self.noted += 1

    def read(self, words: list[int]) -> bool:
        """Set ``chances`` to the posterior given a viewer's words; return False before the first fit."""
        if not len(self.scores):
            return False
        numbers = self.words
        bag = [numbers[word] for word in words[:MOST_SAID] if word in numbers]
        self._bag[: len(bag)] = bag
        weigh_classes(self.scores, self.prior, self._bag, len(bag), self.chances)
        return True

    def is_time_to_fit(self) -> bool:
        """Report whether enough new viewers arrived since the last fit."""
        return self.noted >= max(self.fitted_at * 3 // 2, FIRST_FIT)

    def refit_in_slices(self, seed: int) -> Generator[None]:
        """Fit the classes to steady words in slices of milliseconds; use them if held-out viewers gain."""
        self.fitted_at = self.noted
        total = min(self.noted, REMEMBERED)
        is_steady = (self.again[: len(self.words)] + 1.0) / (self.asked[: len(self.words)] + 1.0) >= STEADY
        bags, sizes = np.zeros((total, MOST_SAID), np.int16), np.zeros(total, np.int16)
        for row in range(total):
            bag = self.bags[row, : self.sizes[row]]
            bag = bag[is_steady[bag]]
            bags[row, : len(bag)] = bag
            sizes[row] = len(bag)
        yield
        learned = total - int(total * HELD_OUT)
        starts = [np.zeros((learned, CLASSES)) for _ in range(1 if len(self.scores) else STARTS)]
        if len(self.scores):  # the fit continues from the current classes
            for row, into in enumerate(starts[0]):
                weigh_classes(self.scores, self.prior, self.bags[row], self.sizes[row], into)
        else:
            for start, shares in enumerate(starts):
                begin_classes(np.uint64(seed + start), shares)
        best: tuple[Numbers, Numbers] = (self.scores, self.prior)
        words, likeliest = len(self.words), -math.inf
        for shares in starts:
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
