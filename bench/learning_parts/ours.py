"""Delivery's learner by itself, on rows of features: one question, no ads, no auction."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contatto.learning.columns import BIAS, F_CONTEXT, FAMILIES, HEADS, LEAD
from contatto.learning.features import FeatureFields, slot_of
from contatto.learning.learner import forget, learn_one, logistic, score_features, settle, shuffle
from contatto.learning.market import FIRST_MEANS, FIRST_SPREAD

BITS: Final = 20
MOST: Final = 2_000
FLOOR: Final = 0.004
"""The least variance of a weight, as in the settings of delivery."""
_SHIFT: Final = np.uint64(64 - BITS)
_BIAS: Final = slot_of(np.uint64(0x5851F42D4C957F2D), _SHIFT)
_NOBODY: Final = np.zeros((1, 2 * HEADS))
_NO_SPREAD: Final = np.zeros(HEADS)

type Floats = NDArray[np.float64]
type Hashed = tuple[Sequence[int], Sequence[float]]


class Learner:
    """The weights of one question, with the variances that delivery expects of what a request says."""

    def __init__(self, spread: float | None = None) -> None:
        self.table = np.zeros((1 << BITS, 2 * HEADS), np.float32)
        self.family_of = np.full(1 << BITS, FAMILIES, np.uint8)
        self.spread = np.zeros((FAMILIES, HEADS))
        self.spread[BIAS] = FIRST_SPREAD[BIAS]
        self.spread[F_CONTEXT] = FIRST_SPREAD[F_CONTEXT] if spread is None else spread
        self.table[_BIAS, LEAD], self.table[_BIAS, HEADS + LEAD] = FIRST_MEANS[LEAD], self.spread[BIAS, LEAD]
        self._slots, self._values = np.zeros(MOST, np.int64), np.zeros(MOST)
        self._families = np.full(MOST, F_CONTEXT, np.int64)
        self._slots[0], self._values[0], self._families[0] = _BIAS, 1.0, BIAS

    def estimate(self, row: Hashed) -> float:
        """Return the chance that the answer is yes."""
        count = self._place(row)
        return float(logistic(score_features(self.table, self._slots, self._values, count, LEAD)))

    def learn(self, row: Hashed, came: float) -> None:
        """Learn one answer: 1 for yes, 0 for no."""
        count = self._place(row)
        learn_one(
            self.table, self.family_of, self._slots, self._values, self._families, count, LEAD, self.spread,
            FLOOR, _NOBODY, 0, _NO_SPREAD, int(came), 0.0, 0.0, 1.0,
        )  # fmt: skip

    def forget(self, share: float) -> None:
        """Let every weight be a little less sure."""
        forget(self.table, self.family_of, self.spread, share)

    def learn_again(self, rows: Sequence[Hashed], came: Floats, rounds: int) -> None:
        """Find the likeliest weights for all of these answers, as delivery does for what is rare."""
        means = np.zeros(1 << BITS)
        means[_BIAS] = FIRST_MEANS[LEAD]
        spread = float(self.spread[F_CONTEXT, LEAD])
        places = [(_slots_of(row), np.array(row[1])) for row in rows]
        held, bias = np.zeros(len(rows)), float(self.spread[BIAS, LEAD])
        order = np.arange(len(rows))
        for turn in range(rounds):
            shuffle(order, np.uint64(turn))
            for row in order.tolist():
                slots, values = places[row]
                z = float(means[_BIAS] + values @ means[slots])
                total = bias + spread * float(values @ values)
                amount = settle(z, total, float(held[row]), -1.0 if came[row] else 1.0)
                step, held[row] = amount - float(held[row]), amount
                means[_BIAS] += bias * step
                np.add.at(means, slots, spread * step * values)
        self.table[:, LEAD] = means

    def _place(self, row: Hashed) -> int:
        count = len(row[0])
        self._slots[1 : count + 1] = _slots_of(row)
        self._values[1 : count + 1] = row[1]
        return count + 1


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
