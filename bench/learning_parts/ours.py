"""Delivery's learner by itself, on rows of features: one question, no ads, no auction."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contatto.learning.batch_learning import NO, YES
from contatto.learning.columns import BIAS, F_CONTEXT, LEAD
from contatto.learning.features import FeatureFields, slot_of
from contatto.learning.learner import logistic, settle, shuffle
from contatto.learning.market import FIRST_MEANS, FIRST_SPREAD

BITS: Final = 20
MOST: Final = 2_000
_SHIFT: Final = np.uint64(64 - BITS)
_BIAS: Final = slot_of(np.uint64(0x5851F42D4C957F2D), _SHIFT)
_OF_BIAS: Final = float(np.array(FIRST_SPREAD[BIAS]))
_SPREAD: Final = float(np.array(FIRST_SPREAD[F_CONTEXT]))

type Floats = NDArray[np.float64]
type Hashed = tuple[Sequence[int], Sequence[float]]


class Learner:
    """Weights of one question, with the prior variances of request features.

    Training settles one observation after the other, as delivery does, and continues from the last training.
    """

    def __init__(self) -> None:
        self._means = np.zeros(1 << BITS)
        self._means[_BIAS] = FIRST_MEANS[LEAD]
        self._rows: list[tuple[NDArray[np.int64], Floats]] = []
        self._labels: list[float] = []
        self._amounts: list[float] = []
        self._trainings = 0

    def estimate(self, row: Hashed) -> float:
        """Return the probability of a positive outcome."""
        return float(logistic(self._means[_BIAS] + np.array(row[1]) @ self._means[_slots_of(row)]))

    def add(self, rows: Sequence[Hashed], came: Floats) -> None:
        """Add observations for the next training."""
        self._rows += [(_slots_of(row), np.array(row[1])) for row in rows]
        self._labels += [YES if outcome else NO for outcome in came]
        self._amounts += [0.0] * len(rows)

    def train(self, passes: int = 1) -> None:
        """Settle all observations in random order, once per pass."""
        order, means = np.arange(len(self._rows)), self._means
        for _ in range(passes):
            self._trainings += 1
            shuffle(order, np.uint64(self._trainings))
            for row in order.tolist():
                (slots, values), before = self._rows[row], self._amounts[row]
                z = float(means[_BIAS] + values @ means[slots])
                total = _OF_BIAS + _SPREAD * float(values @ values)
                self._amounts[row] = settle(z, total, before, self._labels[row])
                step = self._amounts[row] - before
                means[_BIAS] += _OF_BIAS * step
                np.add.at(means, slots, _SPREAD * step * values)


def _slots_of(row: Hashed) -> NDArray[np.int64]:
    return ((np.array(row[0], np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> _SHIFT).astype(np.int64)


def hash_rows(rows: Sequence[dict[str, Any]]) -> list[Hashed]:
    """Rows of texts and numbers as delivery hashes them."""
    fields = FeatureFields("row")
    return [fields.hash_features(row, MOST - 1, lambda _: None) for row in rows]


def area_under_curve(estimates: Floats, outcomes: Floats) -> float:
    """Return how likely one that came was estimated higher than one that did not; ties count half."""
    order = np.argsort(estimates, kind="stable")
    values, places = np.unique(estimates, return_inverse=True)
    ranks = np.zeros(len(estimates))
    ranks[order] = np.arange(1, len(estimates) + 1)
    sums = np.bincount(places, ranks, len(values)) / np.bincount(places, minlength=len(values))
    yes = outcomes > 0.5
    count = int(yes.sum())
    above = float(sums[places][yes].sum()) - count * (count + 1) / 2
    return above / (count * (len(outcomes) - count))
