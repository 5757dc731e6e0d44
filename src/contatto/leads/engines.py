"""Predictions of lead quality: regression, boosted trees, and model tests."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import batched
from math import exp, isfinite, isnan
from types import ModuleType
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contatto.kit.values import interval_of, loss_of_rate
from contatto.leads.model import HeldOut, LeadScore, ReasonGroup, ScoredLead
from contatto.leads.rules.records import choose_reasons, is_enough
from contatto.learning.model import Bin

type Floats = NDArray[np.float64]
type Described = tuple[Iterable[str], Mapping[str, float]]
"""Features of a lead: its words, and its measures by name."""

LEAST: Final = 5
"""Fewest leads with a word that gets a column."""
MOST: Final = 250
"""Most words that get columns: the most common ones."""
_HUGE: Final = 1e12
"""A larger measure counts as unknown."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of the feature table: words (1 where a lead has one), then measures (NaN where unknown)."""

    words: tuple[str, ...]
    measures: tuple[str, ...]

    def letters(self) -> list[str]:
        """Return the first letter of each column's name, which identifies its `ReasonGroup`."""
        return [name[:1] for name in (*self.words, *self.measures)]


def choose_columns(leads: Sequence[Described]) -> Columns:
    """Choose columns for leads in any order; a word that all have, or hardly one, gets none."""
    counts = Counter(word for words, _ in leads for word in set(words))
    common = [word for word, count in counts.items() if LEAST <= count < len(leads)]
    chosen = sorted(common, key=lambda word: (-counts[word], word))[:MOST]
    measures = sorted({name for _, numbers in leads for name in numbers})
    return Columns(tuple(sorted(chosen)), tuple(measures))


def fill_table(columns: Columns, leads: Sequence[Described]) -> Floats:
    """Return a row for each lead."""
    places = {word: place for place, word in enumerate(columns.words)}
    table = np.zeros((len(leads), len(columns.words) + len(columns.measures)))
    table[:, len(places) :] = np.nan
    for row, (words, numbers) in enumerate(leads):
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
_LOG_ODDS_LIMIT: Final = 30.0


@dataclass(frozen=True, slots=True)
class Linear:
    """Weights of the words and of the steps of measures.

    Args:
        words: how many columns of the table are words.
        steps: for each measure the values from which on its steps are taken.
        bias: the log-odds of a lead that has all at the mean.
        weights: of the words, then of the steps, of which a measure has one more for a missing value.
        means: of the same, in the training data.
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
        indicators = _indicators(table, self.words, self.steps)
        moved = (indicators - np.array(self.means)) * np.array(self.weights)
        sizes = [1] * self.words + [len(steps) + 1 for steps in self.steps]
        if not sizes:
            return np.zeros((len(table), 0))
        starts = np.cumsum([0, *sizes[:-1]])
        return np.asarray(np.add.reduceat(moved, starts, axis=1))


def fit_linear(table: Floats, outcomes: Floats, words: int) -> Linear:
    """Fit the likeliest weights to a row for each lead, with its words before its measures.

    ``outcomes`` are 1 for each lead that became good, else 0; there are some of both.
    """
    shares, steps = np.arange(1, _STEPS) / _STEPS, []
    for place in range(words, table.shape[1]):
        numbers = table[~np.isnan(table[:, place]), place]
        cuts = np.quantile(numbers, shares, method="lower") if len(numbers) else numbers
        steps.append(tuple(sorted({float(cut) for cut in cuts if cut > numbers.min()})))
    indicators = _indicators(table, words, tuple(steps))
    means = indicators.mean(0)
    # Newton's method, with a prior on each weight.
    rows = np.hstack([np.ones((len(indicators), 1)), indicators - means])
    prior = np.full(rows.shape[1], 1.0 / _SPREAD)
    prior[0] = 1.0 / _BIAS_SPREAD
    weights = np.zeros(rows.shape[1])
    rate = float(outcomes.mean())
    weights[0] = np.log(rate / (1.0 - rate))
    for _ in range(_ROUNDS):
        chance = chance_at(rows @ weights)
        gradient = rows.T @ (outcomes - chance) - prior * weights
        hessian = (rows * (chance * (1.0 - chance))[:, None]).T @ rows + np.diag(prior)
        step = np.linalg.solve(hessian, gradient)
        before = _loss(rows, outcomes, prior, weights)
        for _ in range(_HALVINGS):  # a whole step may go too far
            if _loss(rows, outcomes, prior, weights + step) <= before:
                break
            step = 0.5 * step
        weights = weights + step
        if float(np.abs(step).max()) < _CLOSE:
            break
    return Linear(words, tuple(steps), float(weights[0]), tuple(weights[1:].tolist()), tuple(means.tolist()))


def _indicators(table: Floats, words: int, steps: tuple[tuple[float, ...], ...]) -> Floats:
    columns = [table[:, :words]]
    for place, cuts in enumerate(steps, words):
        column = table[:, place]
        above = [column >= cut for cut in cuts]  # what is unknown is above nothing
        columns.append(np.column_stack([*above, np.isnan(column)]).astype(np.float64))
    return np.hstack(columns)


def _loss(rows: Floats, outcomes: Floats, prior: Floats, weights: Floats) -> float:
    log_odds = rows @ weights
    return float(np.sum(np.logaddexp(0.0, log_odds) - outcomes * log_odds) + 0.5 * np.sum(prior * weights**2))


def chance_at(log_odds: Floats) -> Floats:
    """Return the chances that belong to log-odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(log_odds, -_LOG_ODDS_LIMIT, _LOG_ODDS_LIMIT))))


BINS: Final = 10
_LEAST_IN_BIN: Final = 20
"""Least leads of a bin, so that a few dozen leads make two or three bins."""


_SHIFT_DRIFT: Final = 0.001
"""Growth of the shift's variance with each outcome, so that it follows the last few hundred."""
_SLOPE_DRIFT: Final = 0.00003
_MOST_LOG_ODDS: Final = 12.0
"""Larger log-odds of the model are bounded to this before the correction."""
_MOST_CORRECTED: Final = 30.0
"""Larger corrected log-odds are bounded to this, so that ``exp`` does not overflow."""


@dataclass(frozen=True, slots=True)
class Correction:
    """Running calibration: shift and slope of log-odds, learned outcome by outcome.

    ``of_shift`` and ``of_slope`` are the variances of both, ``of_both`` is their covariance.
    """

    shift: float = 0.0
    slope: float = 1.0
    of_shift: float = 0.3
    of_slope: float = 0.05
    of_both: float = 0.0

    def chance(self, log_odds: float) -> float:
        """Return the corrected chance for a prediction of the model."""
        corrected = self.shift + self.slope * _clamp(log_odds)
        return 1.0 / (1.0 + exp(-max(min(corrected, _MOST_CORRECTED), -_MOST_CORRECTED)))

    def learn(self, log_odds: float, outcome: float) -> "Correction":
        """Return the correction after one more outcome, 1 or 0, for a prediction of these log-odds."""
        expected, bounded = self.chance(log_odds), _clamp(log_odds)
        of_shift, of_slope = self.of_shift + _SHIFT_DRIFT, self.of_slope + _SLOPE_DRIFT
        shift_gain = of_shift + self.of_both * bounded
        slope_gain = self.of_both + of_slope * bounded
        curvature = expected * (1.0 - expected)
        share = 1.0 / (1.0 + curvature * (shift_gain + slope_gain * bounded))
        step = share * (outcome - expected)
        return Correction(
            self.shift + step * shift_gain,
            self.slope + step * slope_gain,
            of_shift - share * curvature * shift_gain * shift_gain,
            of_slope - share * curvature * slope_gain * slope_gain,
            self.of_both - share * curvature * shift_gain * slope_gain,
        )


def _clamp(log_odds: float) -> float:
    return 0.0 if isnan(log_odds) else max(min(log_odds, _MOST_LOG_ODDS), -_MOST_LOG_ODDS)


ROUNDS: Final = 100
"""Most trees of a model."""
_SETTINGS: Final = {
    "objective": "binary",
    "num_leaves": 31,
    "learning_rate": 0.05,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "seed": 1,
    "verbosity": -1,
}
"""Sizes from the literature; few threads, and the same trees from the same rows on every run."""


class NoTrees(Exception):
    """The library of trees cannot be loaded, or a saved model is damaged."""


class Trees:
    """A trained forest of boosted trees (LightGBM)."""

    def __init__(self, forest: Any) -> None:
        self._forest = forest

    def log_odds(self, table: Floats, rounds: int = 0) -> Floats:
        """Predict the log-odds of each row, by the first trees or by all."""
        return np.asarray(self._forest.predict(table, raw_score=True, num_iteration=rounds or None))

    def parts(self, table: Floats) -> Floats:
        """Return each column's contribution to the log-odds of each row (Shapley values)."""
        return np.asarray(self._forest.predict(table, pred_contrib=True))[:, :-1]

    def text(self) -> str:
        """Return the model as a text of the library."""
        return str(self._forest.model_to_string())


def prepare_trees() -> None:
    """Use the library once, if it is installed, since it loads some files only at the first use."""
    with suppress(NoTrees):
        table, outcomes = np.arange(80.0)[:, None], np.arange(80.0) % 2.0
        trees = read_trees(grow_trees(table, outcomes, 2).text())
        trees.log_odds(table, 1)
        trees.parts(table)


def can_grow_trees() -> bool:
    """Report whether the library can be loaded: its binary needs the system's OpenMP (libgomp)."""
    with suppress(NoTrees):
        return bool(_library())
    return False


def grow_trees(table: Floats, outcomes: Floats, rounds: int) -> Trees:
    """Grow trees on rows with outcomes. Raises NoTrees: when the library is not installed."""
    library = _library()
    rows = library.Dataset(table, outcomes, params={"verbosity": -1})
    return Trees(library.train(_SETTINGS, rows, rounds))


def read_trees(text: str) -> Trees:
    """Return a forest from its complete text; a damaged one ends the process. Raises NoTrees."""
    return Trees(_library().Booster(model_str=text))


def _library() -> ModuleType:
    try:
        import lightgbm  # noqa: PLC0415 — takes a second and a hundred megabytes, of the process that learns alone
    except (ImportError, OSError) as error:
        raise NoTrees("LightGBM cannot be loaded") from error
    library: ModuleType = lightgbm
    return library


_DIGEST_SIZE: Final = 16
_PARTS: Final = 4
_GROWN: Final = (10, 20, 40, 60, 80, ROUNDS)
_SHARES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
"""How much of the log-odds may come from trees."""
_FEW: Final = 100
"""With fewer outcomes trees are not tried: no leaf of theirs would have enough rows."""


@dataclass(frozen=True, slots=True)
class LeadQuality:
    """A model of the chance that a lead becomes good.

    ``share`` is how much of the log-odds comes from the trees, the rest from logistic regression.
    ``loss`` is the mean log loss on held-out leads; ``held`` has their bins, unless the model was loaded.
    """

    columns: Columns
    linear: Linear
    trees: Trees | None
    share: float
    loss: float
    held: HeldOut | None = None

    def predict(self, leads: Sequence[Described]) -> tuple[Floats, Floats]:
        """Predict the log-odds of leads; return them with each column's contribution."""
        table = fill_table(self.columns, leads)
        log_odds, parts = self.linear.log_odds(table), self.linear.parts(table)
        if self.trees is not None:
            log_odds = (1.0 - self.share) * log_odds + self.share * self.trees.log_odds(table)
            parts = (1.0 - self.share) * parts + self.share * self.trees.parts(table)
        return log_odds, parts

    def to_bytes(self) -> bytes:
        """Encode the model for storage: a digest, then JSON."""
        raw = msgspec.json.encode(replace(self, held=None), enc_hook=Trees.text)
        return blake2b(raw, digest_size=_DIGEST_SIZE).digest() + raw


def read_quality(raw: bytes) -> LeadQuality:
    """Decode a saved model. Raises NoTrees: when it is damaged, or the library of trees is missing."""
    digest, body = raw[:_DIGEST_SIZE], raw[_DIGEST_SIZE:]
    if (
        digest != blake2b(body, digest_size=_DIGEST_SIZE).digest()
    ):  # the library ends the process on half a text
        raise NoTrees("the kept model is not whole")
    return msgspec.json.decode(body, type=LeadQuality, dec_hook=lambda _, text: read_trees(text))


def learn_quality(leads: Sequence[Described], outcomes: Sequence[bool]) -> LeadQuality:
    """Train on leads and whether each became good; the same leads give the same model."""
    columns, good = choose_columns(leads), np.array(outcomes, np.float64)
    table = fill_table(columns, leads)
    tries_trees = len(good) >= _FEW and table.shape[1] > 0 and can_grow_trees()
    share, rounds, log_odds = _choose_mix(table, good, len(columns.words), tries_trees=tries_trees)
    trees = grow_trees(table, good, rounds) if share else None
    linear = fit_linear(table, good, len(columns.words))
    quality = LeadQuality(columns, linear, trees, share, log_loss(log_odds, good))
    # The typical factor of each group of features in the odds, strongest first.
    moved: dict[str, Floats] = {}
    _, parts = quality.predict(leads)
    for letter, part in zip(columns.letters(), parts.T, strict=True):
        moved[letter] = moved[letter] + part if letter in moved else part
    reason_groups = [ReasonGroup(letter, exp(float(added.std()))) for letter, added in moved.items()]
    reason_groups.sort(key=lambda group: (-group.times, group.letter))
    # Predicted chances of held-out leads beside their outcomes, in bins of equal size.
    chances, bins = chance_at(log_odds), list[Bin]()
    order = np.argsort(chances, kind="stable")
    for group in np.array_split(order, min(BINS, max(len(order) // _LEAST_IN_BIN, 1))):
        cases, actual = len(group), int(good[group].sum())
        predicted = float(chances[group].mean())
        bins.append(Bin(cases, actual, predicted, actual / cases, *interval_of(actual, cases)))
    good_count = int(good.sum())
    of_rate = loss_of_rate(good_count, len(good), good_count / len(good))
    return replace(quality, held=HeldOut(good_count, of_rate, tuple(bins), tuple(reason_groups)))


def _choose_mix(table: Floats, good: Floats, words: int, *, tries_trees: bool) -> tuple[float, int, Floats]:
    """Return the best share and number of trees by cross-validation, and their log-odds of held-out leads."""
    linear, grown = np.zeros(len(good)), np.zeros((len(_GROWN), len(good)))
    shuffled = np.random.default_rng(0).permutation(len(good))
    order, part_of = np.lexsort((shuffled, good)), np.zeros(len(good), np.int64)
    part_of[order] = np.arange(len(good)) % _PARTS
    for part in range(_PARTS):
        is_held_out = part_of == part
        learned, outcomes = table[~is_held_out], good[~is_held_out]
        linear[is_held_out] = fit_linear(learned, outcomes, words).log_odds(table[is_held_out])
        if tries_trees:
            trees = grow_trees(learned, outcomes, ROUNDS)
            for place, rounds in enumerate(_GROWN):
                grown[place, is_held_out] = trees.log_odds(table[is_held_out], rounds)
    shares = _SHARES if tries_trees else (0.0,)
    tried = (
        (share, rounds if share else 0, np.asarray((1.0 - share) * linear + share * trees))
        for share in shares
        for rounds, trees in zip(_GROWN, grown, strict=True)
    )
    return min(tried, key=lambda choice: (log_loss(choice[2], good), *choice[:2]))


def log_loss(log_odds: Floats, good: Floats) -> float:
    """Return the mean log loss of predictions."""
    chance = chance_at(log_odds)
    return float(-np.mean(good * np.log(chance) + (1.0 - good) * np.log(1.0 - chance)))


_AT_ONCE: Final = 500


class ScoringRequest(msgspec.Struct, frozen=True):
    """Input of a scoring round: the newest leads, oldest first, and the saved model, empty to train one.

    Leads with an outcome since their last prediction correct the calibration.
    """

    leads: list[ScoredLead]
    model: bytes
    correction: Correction


class TrainedModel(msgspec.Struct, frozen=True):
    """A new model, encoded, with the number of outcomes that it learned.

    ``loss`` and ``held`` are its results on held-out leads. ``has_trees``: the library of trees was loaded.
    """

    model: bytes
    outcomes: int
    share: float
    loss: float
    has_trees: bool
    held: HeldOut | None


class ScoringResult(msgspec.Struct, frozen=True):
    """Result of a scoring round: changed scores, and the new model, if one was trained."""

    scores: list[LeadScore]
    correction: Correction
    learned: TrainedModel | None


def score_round(raw: bytes) -> bytes:
    """Run a scoring round in a process of its own, from a `ScoringRequest` to a `ScoringResult` in JSON."""
    request = msgspec.json.decode(raw, type=ScoringRequest)
    correction = request.correction
    for lead in request.leads:
        if lead.log_odds is not None and lead.is_good is not None and not lead.is_counted:
            correction = correction.learn(lead.log_odds, float(lead.is_good))
    saved = None
    if request.model:
        with suppress(NoTrees):  # a model that cannot be read is trained anew
            saved = read_quality(request.model)
    labelled = [(lead, lead.is_good) for lead in request.leads if lead.is_good is not None]
    outcomes = [is_good for _, is_good in labelled]
    if saved is None and not is_enough(outcomes):
        return msgspec.json.encode(ScoringResult([], correction, None))
    described = [(lead.words, lead.numbers) for lead, _ in labelled]
    quality = saved or learn_quality(described, outcomes)
    scores: list[LeadScore] = []
    letters = quality.columns.letters()
    for leads in batched(request.leads, _AT_ONCE, strict=False):
        # Leads that the model scored before keep their log-odds and reasons.
        fresh = [lead for lead in leads if saved is None or lead.log_odds is None]
        described = [(lead.words, lead.numbers) for lead in fresh]
        fresh_log_odds, fresh_parts = quality.predict(described)
        judged = dict(zip((lead.lead_id for lead in fresh), fresh_log_odds.tolist(), strict=True))
        reasons = {
            lead.lead_id: choose_reasons(letters, parts, lead.words)
            for lead, parts in zip(fresh, fresh_parts.tolist(), strict=True)
        }
        for lead in leads:
            log_odds = judged.get(lead.lead_id, lead.log_odds or 0.0)
            score = round(100.0 * correction.chance(log_odds))
            # An outcome that neither the model nor the correction has learned waits for the next round.
            is_counted = lead.is_good is not None and (saved is None or lead.log_odds is not None)
            if lead.lead_id in judged or (score, is_counted) != (lead.score, lead.is_counted):
                scores.append(LeadScore(lead.lead_id, score, reasons.get(lead.lead_id), log_odds, is_counted))
    learned = None
    if not saved:
        facts = quality.share, quality.loss, can_grow_trees(), quality.held
        learned = TrainedModel(quality.to_bytes(), len(outcomes), *facts)
    return msgspec.json.encode(ScoringResult(scores, correction, learned))
