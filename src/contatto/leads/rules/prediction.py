"""Features of leads, logistic regression, and tests of whether a prediction model still holds."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, isfinite, isnan
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contatto.kit.numbers import loss_of_rate
from contatto.leads.model import HeldBin, HeldOut, Sign

type Floats = NDArray[np.float64]
type Described = tuple[Iterable[str], Mapping[str, float]]
"""The words of a lead, and its measures by their names."""

LEAST: Final = 5
"""A word that fewer leads have is left out: nothing can be learned of it."""
MOST: Final = 250
"""So many words have columns, the most common ones."""
_HUGE: Final = 1e12
"""A measure beyond this is taken for one that is not known."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of the feature table: words (1 where a lead has one), then measures (NaN where unknown)."""

    words: tuple[str, ...]
    measures: tuple[str, ...]

    def letters(self) -> list[str]:
        """Return the letter of each column, which stands before its value."""
        return [name[:1] for name in (*self.words, *self.measures)]


def choose_columns(some: Sequence[Described]) -> Columns:
    """The columns for leads like these; the same in whatever order they come.

    A word that all of them have, or hardly one, gets none.
    """
    counts = Counter(word for words, _ in some for word in set(words))
    common = [word for word, count in counts.items() if LEAST <= count < len(some)]
    chosen = sorted(common, key=lambda word: (-counts[word], word))[:MOST]
    measures = sorted({name for _, numbers in some for name in numbers})
    return Columns(tuple(sorted(chosen)), tuple(measures))


def fill_table(columns: Columns, some: Sequence[Described]) -> Floats:
    """A row for each lead."""
    places = {word: place for place, word in enumerate(columns.words)}
    table = np.zeros((len(some), len(columns.words) + len(columns.measures)))
    table[:, len(places) :] = np.nan
    for row, (words, numbers) in enumerate(some):
        for word in words:
            if (place := places.get(word)) is not None:
                table[row, place] = 1.0
        for place, name in enumerate(columns.measures, len(places)):
            value = numbers.get(name)
            if value is not None and isfinite(value) and abs(value) < _HUGE:
                table[row, place] = value
    return table


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
        """Predict the log-odds of each row."""
        return np.asarray(self.bias + self.parts(table).sum(1))

    def parts(self, table: Floats) -> Floats:
        """Return each column's contribution to the log-odds of each row."""
        signs = _signs(table, self.words, self.steps)
        moved = (signs - np.array(self.means)) * np.array(self.weights)
        sizes = [1] * self.words + [len(steps) + 1 for steps in self.steps]
        if not sizes:
            return np.zeros((len(table), 0))
        starts = np.cumsum([0, *sizes[:-1]])
        return np.asarray(np.add.reduceat(moved, starts, axis=1))


def fit_linear(table: Floats, outcomes: Floats, words: int) -> Linear:
    """The likeliest weights.

    Args:
        table: a row for each lead, words before measures.
        outcomes: 1 for each that became good, else 0; there are some of both.
        words: how many columns are words.
    """
    steps = tuple(_steps_of(table[:, place]) for place in range(words, table.shape[1]))
    signs = _signs(table, words, steps)
    means = signs.mean(0)
    bias, weights = _newton(signs - means, outcomes)
    return Linear(words, steps, bias, tuple(weights.tolist()), tuple(means.tolist()))


def _steps_of(column: Floats) -> tuple[float, ...]:
    numbers = column[~np.isnan(column)]
    if not len(numbers):
        return ()
    cuts = np.quantile(numbers, np.arange(1, _STEPS) / _STEPS, method="lower")
    return tuple(sorted({float(cut) for cut in cuts if cut > numbers.min()}))


def _signs(table: Floats, words: int, steps: tuple[tuple[float, ...], ...]) -> Floats:
    columns = [table[:, :words]]
    for place, cuts in enumerate(steps, words):
        column = table[:, place]
        above = [column >= cut for cut in cuts]  # what is unknown is above nothing
        columns.append(np.column_stack([*above, np.isnan(column)]).astype(np.float64))
    return np.hstack(columns)


def _newton(signs: Floats, outcomes: Floats) -> tuple[float, Floats]:
    rows = np.hstack([np.ones((len(signs), 1)), signs])
    prior = np.full(rows.shape[1], 1.0 / _SPREAD)
    prior[0] = 1.0 / _BIAS_SPREAD
    weights = np.zeros(rows.shape[1])
    rate = float(outcomes.mean())
    weights[0] = np.log(rate / (1.0 - rate))
    for _ in range(_ROUNDS):
        chance = chance_at(rows @ weights)
        slope = rows.T @ (outcomes - chance) - prior * weights
        bend = (rows * (chance * (1.0 - chance))[:, None]).T @ rows + np.diag(prior)
        step = np.linalg.solve(bend, slope)
        before = _loss(rows, outcomes, prior, weights)
        for _ in range(_HALVINGS):  # a whole step may go too far
            if _loss(rows, outcomes, prior, weights + step) <= before:
                break
            step = 0.5 * step
        weights = weights + step
        if float(np.abs(step).max()) < _CLOSE:
            break
    return float(weights[0]), weights[1:]


def _loss(rows: Floats, outcomes: Floats, prior: Floats, weights: Floats) -> float:
    log_odds = rows @ weights
    return float(np.sum(np.logaddexp(0.0, log_odds) - outcomes * log_odds) + 0.5 * np.sum(prior * weights**2))


def chance_at(log_odds: Floats) -> Floats:
    """The chances that belong to log-odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(log_odds, -_MOST, _MOST))))


BINS: Final = 10
_LEAST: Final = 20
"""Bins hold at least so many leads, so that a few dozen leads make two or three."""


def tell_held(chances: Floats, good: Floats, signs: tuple[Sign, ...]) -> HeldOut:
    """Chances of leads beside what became of them, in bins of as many leads each.

    Args:
        chances: by lead, told by models that had not learned from it.
        good: 1 for each that became good, else 0.
        signs: what the model goes by.
    """
    order = np.argsort(chances, kind="stable")
    parts = np.array_split(order, min(BINS, max(len(order) // _LEAST, 1)))
    bins = tuple(
        HeldBin(len(part), int(good[part].sum()), float(chances[part].mean())) for part in parts if len(part)
    )
    good_count, lead_count = int(good.sum()), len(good)
    return HeldOut(good_count, loss_of_rate(good_count, lead_count, good_count / lead_count), bins, signs)


def weigh_signs(letters: Sequence[str], parts: Floats) -> tuple[Sign, ...]:
    """By what the signs of each letter typically move the odds, strongest first.

    Args:
        letters: what each column tells about.
        parts: what each column adds to the log-odds, by lead.
    """
    moved: dict[str, Floats] = {}
    for letter, part in zip(letters, parts.T, strict=True):
        moved[letter] = moved[letter] + part if letter in moved else part
    signs = (Sign(letter, exp(float(added.std()))) for letter, added in moved.items())
    return tuple(sorted(signs, key=lambda sign: (-sign.times, sign.letter)))


_SHIFT_WANDERS: Final = 0.001
"""How much the variance of the shift grows with each outcome: it remembers some hundred of them."""
_SLOPE_WANDERS: Final = 0.00003
_MOST_LOG_ODDS: Final = 12.0
"""Log-odds beyond this are as sure as this."""
_STEEPEST: Final = 30.0


@dataclass(frozen=True, slots=True)
class Correction:
    """Shift and slope with their variances and covariance; at first the model counts as right."""

    shift: float = 0.0
    slope: float = 1.0
    of_shift: float = 0.3
    of_slope: float = 0.05
    of_both: float = 0.0

    def chance(self, log_odds: float) -> float:
        """The corrected chance that belongs to what the model says."""
        corrected = self.shift + self.slope * _held(log_odds)
        return 1.0 / (1.0 + exp(-max(min(corrected, _STEEPEST), -_STEEPEST)))

    def learn(self, log_odds: float, came: float) -> "Correction":
        """Return the correction after one more outcome, 1 or 0, for a prediction of these log-odds."""
        expected, bounded = self.chance(log_odds), _held(log_odds)
        of_shift, of_slope = self.of_shift + _SHIFT_WANDERS, self.of_slope + _SLOPE_WANDERS
        to_shift = of_shift + self.of_both * bounded
        to_slope = self.of_both + of_slope * bounded
        sharp = expected * (1.0 - expected)
        share = 1.0 / (1.0 + sharp * (to_shift + to_slope * bounded))
        step = share * (came - expected)
        return Correction(
            self.shift + step * to_shift,
            self.slope + step * to_slope,
            of_shift - share * sharp * to_shift * to_shift,
            of_slope - share * sharp * to_slope * to_slope,
            self.of_both - share * sharp * to_shift * to_slope,
        )


def correct_by(outcomes: Iterable[tuple[float, bool]], before: Correction) -> Correction:
    """A correction after outcomes, in their order: what the model had said, and what came."""
    for log_odds, outcome in outcomes:
        before = before.learn(log_odds, float(outcome))
    return before


def _held(log_odds: float) -> float:
    return 0.0 if isnan(log_odds) else max(min(log_odds, _MOST_LOG_ODDS), -_MOST_LOG_ODDS)
