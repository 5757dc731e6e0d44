"""Learning all files of decisions again, by shards of viewers: on this machine or on a cluster.

The learner goes through its log once, and again through what it keeps of it. Here the likeliest weights are
found for all days of which there are files, from the same features, priors and labels. Each pass asks all
shards for slopes at the weights of now, adds them up, and makes a step of the whole.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from contatto.delivery.actions.training import load_learning
from contatto.delivery.engines.computing import SHARDS, Computing, shard_folder
from contatto.delivery.engines.decisions import check_decisions, path_of
from contatto.delivery.engines.shards import (
    Asked,
    Floats,
    Sums,
    Terms,
    estimate_shard,
    open_shard,
    settle_shard,
    sum_shard,
)
from contatto.delivery.model.foretold import Question
from contatto.delivery.model.log import ModelVersion
from contatto.delivery.predict.learned import MEANS_AGAIN
from contatto.delivery.predict.market import Market
from contatto.delivery.predict.nightly import Weights, alike_of, first_means, lay_over, terms_of
from contatto.delivery.rules.columns import HEADS_AGAIN
from contatto.delivery.rules.descending import Descent
from contatto.delivery.rules.evaluating import Judged, judge_estimates
from contatto.delivery.store import files, models
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.timestamps import from_micros, micros

MOST_PASSES: Final = 80
ENOUGH: Final = 1e-5
"""A step that lowers the loss by a smaller share of it is the last."""

type OnPass = Callable[[int, float], object]
"""Is told the number of each pass and the loss."""


def _no_matter(_number: int, _loss: float) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Span:
    """Decisions from one moment on and before another, and the moment at which it is known what came."""

    from_ts: int
    until_ts: int
    as_of_ts: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is to be learned again: the newest model of a business and its market, and the files."""

    saved: bytes
    market: Market
    sources: list[Path]


@dataclass(frozen=True, slots=True)
class Held:
    """Estimates of decisions that were not learned, by question: of new weights, and told at the time."""

    estimated: dict[str, Judged]
    told: dict[str, Judged]


@dataclass(frozen=True, slots=True)
class Relearned:
    """New weights, from how many examples and in how many passes."""

    weights: Weights
    examples: int
    passes: int


def prepare_relearning(tx: Tx, business_id: str, days: int) -> Prepared | None:
    """Find the newest whole model of a business, and its files of the last days; None if either is missing.

    Raises:
        OSError: a file is gone or damaged.
    """
    learning = load_learning(tx, business_id)
    first_day = from_micros(micros(tx.now) - days * models.DAY_US).date().isoformat()
    found = files.list_decision_files_of(tx, business_id, first_day)
    if not learning.through or not found:
        return None
    for file in found:
        check_decisions(file)
    saved = learning.marketplace.save()
    return Prepared(saved, learning.marketplace.market, [path_of(file) for file in found])


def relearn_files(
    computing: Computing, sources: Sequence[Path], market: Market, as_of_ts: int, on_pass: OnPass = _no_matter
) -> Relearned:
    """Find the likeliest weights for what files tell of the time up to a moment.

    Args:
        computing: where.
        sources: the files.
        market: the marketplace from whose weights one sets out.
        as_of_ts: the moment; what came later takes no part.
        on_pass: is told how it goes on.

    Raises:
        OSError: a folder is full, or gone.
    """
    with _shards_of(computing, sources, market, as_of_ts) as shards:
        return shards.relearn(on_pass)


def judge_files(
    computing: Computing, sources: Sequence[Path], market: Market, weights: Weights, span: Span
) -> Held:
    """See what weights say of decisions of a span, beside what was told at the time.

    Raises:
        OSError: a folder is full, or gone.
    """
    with _shards_of(computing, sources, market, span.as_of_ts) as shards:
        return shards.judge(weights, span)


@contextmanager
def _shards_of(
    computing: Computing, sources: Sequence[Path], market: Market, as_of_ts: int
) -> Iterator["_Shards"]:
    with tempfile.TemporaryDirectory(prefix="contatto-") as scratch:
        computing.make_examples(sources, as_of_ts, Path(scratch))
        folders = [
            folder for shard in range(SHARDS) if (folder := shard_folder(Path(scratch), shard)).exists()
        ]
        yield _Shards(computing, folders, terms_of(market, as_of_ts), market)


class _Shards:
    """All shards of a log, and the weights that take part in any of them."""

    def __init__(self, computing: Computing, folders: list[Path], terms: Terms, market: Market) -> None:
        self._computing, self._folders, self._terms = computing, folders, terms
        self._opened = computing.run_tasks(open_shard, [(each, terms) for each in folders])
        slots = np.concatenate([each.slots for each in self._opened])
        families = np.concatenate([each.families for each in self._opened])
        order = np.lexsort((families, slots))
        self._slots, first = np.unique(slots[order], return_index=True)
        self._families = families[order][first]
        self._places = [np.searchsorted(self._slots, each.slots) for each in self._opened]
        self._prior = first_means(self._families)
        self._units = np.linalg.cholesky(alike_of(market, self._families))
        self._start = market.learned.table[self._slots, MEANS_AGAIN]

    def relearn(self, on_pass: OnPass) -> Relearned:
        """Go down until nothing is gained; a step of one in any direction is as likely as in any other."""
        start = np.linalg.solve(self._units, (self._start.astype(np.float64) - self._prior)[:, :, None])
        walk = Descent(start.ravel(), ENOUGH)
        bends, passes = np.zeros_like(self._prior), 0
        while passes < MOST_PASSES and not walk.is_done:
            tried = walk.trial
            sums = self._add_up(self._means_at(tried))
            bends, passes = sums.bends, passes + 1
            loss = float(sums.losses.sum() + 0.5 * (tried @ tried))
            slopes = np.einsum("nqh,nq->nh", self._units, sums.slopes).ravel() + tried
            walk.take(loss, slopes, np.einsum("nqh,nq->nh", self._units**2, bends).ravel() + 1.0)
            on_pass(passes, loss)
        means = self._means_at(walk.best)
        effects: dict[str, Floats] = {}
        for settled in self._computing.run_tasks(settle_shard, self._asking(means)):
            effects |= settled
        weights = Weights(self._slots, self._families, means, bends, effects)
        return Relearned(weights, sum(each.examples for each in self._opened), passes)

    def _means_at(self, point: Floats) -> Floats:
        """The weights at a point of the walk."""
        moved: Floats = np.einsum("nqh,nh->nq", self._units, point.reshape(self._prior.shape))
        return self._prior + moved

    def _asking(self, means: Floats) -> list[tuple[Path, tuple[Terms, Floats]]]:
        """What each shard is asked: it gets the weights that take part there."""
        return [
            (folder, (self._terms, means[places]))
            for folder, places in zip(self._folders, self._places, strict=True)
        ]

    def _add_up(self, means: Floats) -> Sums:
        """Slopes and bends of all shards at given weights, added in the order of shards."""
        whole = Sums(np.zeros(HEADS_AGAIN), np.zeros_like(means), np.zeros_like(means))
        found = self._computing.run_tasks(sum_shard, self._asking(means))
        for places, part in zip(self._places, found, strict=True):
            whole.losses[:] += part.losses
            whole.slopes[places] += part.slopes
            whole.bends[places] += part.bends
        return whole

    def judge(self, weights: Weights, span: Span) -> Held:
        """Estimate the decisions of a span; weights that were not learned are as before anything was seen."""
        means = self._prior.copy()
        _, places, own = np.intersect1d(self._slots, weights.slots, return_indices=True)
        means[places] = weights.means[own]
        found = self._computing.run_tasks(
            estimate_shard,
            [
                (folder, Asked(terms, span.from_ts, span.until_ts, some, weights.effects))
                for folder, (terms, some) in self._asking(means)
            ],
        )
        came = np.concatenate([each.came for each in found])
        return Held(
            _judge(np.concatenate([each.estimates for each in found]), came),
            _judge(np.concatenate([each.told for each in found]), came),
        )


def _judge(estimates: Floats, came: Floats) -> dict[str, Judged]:
    """How estimates of each question did, where it arose."""
    found = {}
    for head, question in enumerate(Question):
        asked = came[:, head] >= 0.0
        if asked.any():
            found[question.value] = judge_estimates(estimates[asked, head], came[asked, head])
    return found


def publish_relearned(tx: Tx, business_id: str, weights: Weights) -> ModelVersion:
    """Publish the newest model with other weights; the learner goes on from there.

    What came while these weights were found stays learned in all but the weights.

    Raises:
        Refused: CONFLICT when another model was published at the same moment.
    """
    newest = load_learning(tx, business_id)
    lay_over(newest.marketplace.market, weights)
    saved = newest.marketplace.save()
    made = ModelVersion(
        business_id, newest.version + 1, newest.through, micros(tx.now), "relearned from files", len(saved),
        "", 0, has_blob=True,
    )  # fmt: skip
    if not models.save_model(tx, made, saved):
        raise Refused(errors.CONFLICT)
    return made
