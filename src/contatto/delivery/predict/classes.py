"""The kinds of viewers of a marketplace: from whom they are learned, when, and which of them a viewer is."""

import math
from collections.abc import Generator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contatto.delivery.rules.hashing import name_hash
from contatto.delivery.rules.latent import (
    begin_classes,
    fit_classes,
    judge_classes,
    weigh_classes,
)

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
