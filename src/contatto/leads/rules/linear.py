"""Logistic regression over tables of leads: few leads are enough for it, and its signs add up.

Theory. Measures become steps: whether one is above each eighth of what was measured, so a sign may rise and
fall. The likeliest weights under a Gaussian prior are found by Newton's method.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from contatto.leads.rules.features import Floats

_STEPS: Final = 8
_SPREAD: Final = 0.5
"""The variance that is expected of a weight."""
_BIAS_SPREAD: Final = 100.0
_ROUNDS: Final = 12
_HALVINGS: Final = 10
_CLOSE: Final = 1e-6
_MOST: Final = 30.0


@dataclass(frozen=True, slots=True)
class Linear:
    """Weights of the words and of the steps of measures.

    Args:
        words: how many columns of the table are words.
        steps: for each measure the values from which on its steps are taken.
        bias: the log-odds of a lead that has all at the mean.
        weights: of the words, then of the steps, of which a measure has one more for what is unknown.
        means: of the same, in what was learned from.
    """

    words: int
    steps: tuple[tuple[float, ...], ...]
    bias: float
    weights: tuple[float, ...]
    means: tuple[float, ...]

    def log_odds(self, table: Floats) -> Floats:
        """What each row is expected to become."""
        return np.asarray(self.bias + self.parts(table).sum(1))

    def parts(self, table: Floats) -> Floats:
        """What each column of the table adds to the log-odds of each row."""
        signs = _signs(table, self.words, self.steps)
        moved = (signs - np.array(self.means)) * np.array(self.weights)
        sizes = [1] * self.words + [len(steps) + 1 for steps in self.steps]
        if not sizes:
            return np.zeros((len(table), 0))
        starts = np.cumsum([0, *sizes[:-1]])
        return np.asarray(np.add.reduceat(moved, starts, axis=1))


def fit_linear(table: Floats, came: Floats, words: int) -> Linear:
    """The likeliest weights.

    Args:
        table: a row for each lead, words before measures.
        came: 1 for each that became good, else 0; there are some of both.
        words: how many columns are words.
    """
    steps = tuple(_steps_of(table[:, place]) for place in range(words, table.shape[1]))
    signs = _signs(table, words, steps)
    means = signs.mean(0)
    bias, weights = _newton(signs - means, came)
    return Linear(words, steps, bias, tuple(weights.tolist()), tuple(means.tolist()))


def _steps_of(column: Floats) -> tuple[float, ...]:
    known = column[~np.isnan(column)]
    if not len(known):
        return ()
    cuts = np.quantile(known, np.arange(1, _STEPS) / _STEPS, method="lower")
    return tuple(sorted({float(cut) for cut in cuts if cut > known.min()}))


def _signs(table: Floats, words: int, steps: tuple[tuple[float, ...], ...]) -> Floats:
    made = [table[:, :words]]
    for place, cuts in enumerate(steps, words):
        column = table[:, place]
        above = [column >= cut for cut in cuts]  # what is unknown is above nothing
        made.append(np.column_stack([*above, np.isnan(column)]).astype(np.float64))
    return np.hstack(made)


def _newton(signs: Floats, came: Floats) -> tuple[float, Floats]:
    rows = np.hstack([np.ones((len(signs), 1)), signs])
    prior = np.full(rows.shape[1], 1.0 / _SPREAD)
    prior[0] = 1.0 / _BIAS_SPREAD
    weights = np.zeros(rows.shape[1])
    rate = float(came.mean())
    weights[0] = np.log(rate / (1.0 - rate))
    for _ in range(_ROUNDS):
        chance = chance_at(rows @ weights)
        slope = rows.T @ (came - chance) - prior * weights
        bend = (rows * (chance * (1.0 - chance))[:, None]).T @ rows + np.diag(prior)
        step = np.linalg.solve(bend, slope)
        before = _loss(rows, came, prior, weights)
        for _ in range(_HALVINGS):  # a whole step may go too far
            if _loss(rows, came, prior, weights + step) <= before:
                break
            step = 0.5 * step
        weights = weights + step
        if float(np.abs(step).max()) < _CLOSE:
            break
    return float(weights[0]), weights[1:]


def _loss(rows: Floats, came: Floats, prior: Floats, weights: Floats) -> float:
    log_odds = rows @ weights
    return float(np.sum(np.logaddexp(0.0, log_odds) - came * log_odds) + 0.5 * np.sum(prior * weights**2))


def chance_at(log_odds: Floats) -> Floats:
    """The chances that belong to log-odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(log_odds, -_MOST, _MOST))))
