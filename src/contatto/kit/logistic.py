"""Logistic regression with a Gaussian prior, for some thousand rows of few filled places each.

Theory. The likeliest weights are found in the dual: each row holds an amount by which it moves its weights,
the slope of its likelihood where all are moved, and one row after the other is moved to where it agrees with
the rest. A new round goes on from the last.

Source: Yu, Huang and Lin 2011 (dual coordinate descent for logistic regression).
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]
type Row = tuple[NDArray[np.int64], Floats]
"""Places, each once, and their values."""

_BIAS_SPREAD: Final = 10.0
_HALVINGS: Final = 14


def fit_logistic(
    rows: Sequence[Row], came: Sequence[bool], size: int, spread: float, rounds: int
) -> tuple[float, Floats]:
    """The bias and the weights that make what came likeliest; the same for the same rows.

    Args:
        rows: what is known of each.
        came: what came of each.
        size: how many places there are.
        spread: the variance expected of a weight.
        rounds: how often each row is moved.
    """
    weights, bias = np.zeros(size), 0.0
    held = np.zeros(len(rows))
    order = np.random.default_rng(0).permutation(len(rows)).tolist()
    totals = [_BIAS_SPREAD + spread * float(values @ values) for _, values in rows]
    for _ in range(rounds):
        for row in order:
            places, values = rows[row]
            before = float(held[row])
            score = bias + float(values @ weights[places])
            held[row] = _settle(score, totals[row], before, did=came[row])
            step = float(held[row]) - before
            bias += _BIAS_SPREAD * step
            weights[places] += spread * step * values
    return bias, weights


def chance_of(log_odds: float) -> float:
    """The chance that belongs to log-odds."""
    return 1.0 / (1.0 + math.exp(-max(min(log_odds, 30.0), -30.0)))


def _settle(score: float, total: float, held: float, *, did: bool) -> float:
    """The amount at which a row agrees with all others."""
    low, high = (0.0, 1.0) if did else (-1.0, 0.0)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if did - chance_of(score + total * (middle - held)) > middle:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
