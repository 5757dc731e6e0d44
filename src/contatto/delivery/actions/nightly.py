"""Learning from all files of decisions: joined here or on a cluster, learned on one machine.

The online learner keeps part of its log in memory. Here it goes through all days that have files, on arrays
mapped from disk, from its first weights until they hardly move.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from contatto.delivery.actions.training import load_learning
from contatto.delivery.engines.computing import Computing, list_batches, read_batch
from contatto.delivery.engines.decisions import check_decisions, path_of
from contatto.delivery.model.foretold import Question
from contatto.delivery.model.log import ModelVersion
from contatto.delivery.predict.market import Market
from contatto.delivery.predict.nightly import (
    Floats,
    Weights,
    batch_of,
    forget_weights,
    lay_over,
    learn_pass,
    map_batches,
    predict_batch,
)
from contatto.delivery.rules.evaluating import Judged, judge_estimates
from contatto.delivery.store import files, models
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.timestamps import from_micros, micros

MOST_PASSES: Final = 30
ENOUGH: Final = 1e-3
"""The last pass moves what an observation holds by less than this, on the mean."""


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
    """From how many examples weights were learned, and in how many passes."""

    examples: int
    passes: int


def prepare_relearning(tx: Tx, business_id: str, days: int) -> Prepared | None:
    """Find the newest whole model of a business, and its files of the last days; None if either is missing.

    Raises:
        OSError: a file is gone or damaged.
    """
    learning = load_learning(tx, business_id)
    first_day = from_micros(micros(tx.now) - days * models.DAY_US).date().isoformat()
    decision_files = files.list_decision_files_of(tx, business_id, first_day)
    if not learning.through or not decision_files:
        return None
    for file in decision_files:
        check_decisions(file)
    saved = learning.marketplace.save()
    return Prepared(saved, learning.marketplace.market, [path_of(file) for file in decision_files])


def relearn_files(computing: Computing, sources: Sequence[Path], market: Market, as_of_ts: int) -> Relearned:
    """Learn from what files say of the time up to a moment.

    Args:
        computing: where examples are joined.
        sources: the files.
        market: a marketplace for this alone; its weights are replaced (see `weights_of`).
        as_of_ts: the moment; later arrivals take no part.

    Raises:
        OSError: a folder is full, or gone.
    """
    with _examples(computing, sources, as_of_ts) as folder:
        batches = (batch_of(market, read_batch(folder, parts), as_of_ts) for parts in list_batches(folder))
        observed, features = map_batches(batches, folder / "arrays")
        forget_weights(market)
        for passes in range(1, MOST_PASSES + 1):
            if learn_pass(market, observed, features, passes) < ENOUGH:
                break
        return Relearned(len(observed.samples), passes)


def judge_files(computing: Computing, sources: Sequence[Path], market: Market, span: Span) -> Held:
    """Compare predictions by the weights of `relearn_files` with those that served, for a span of decisions.

    A missing outcome counts as negative.

    Raises:
        OSError: a folder is full, or gone.
    """
    candidate: list[Floats] = []
    served: list[Floats] = []
    outcomes: list[Floats] = []
    with _examples(computing, sources, span.as_of_ts) as folder:
        for parts in list_batches(folder):
            batch = batch_of(market, read_batch(folder, parts), span.as_of_ts)
            in_span = (batch.times >= span.from_ts) & (batch.times < span.until_ts)
            candidate.append(predict_batch(market, batch)[in_span])
            served.append(batch.predictions[in_span])
            outcomes.append(np.where(batch.is_asked, batch.observed.outcomes < 0.0, -1.0)[in_span])
    actual = np.concatenate(outcomes)
    return Held(_judge(np.concatenate(candidate), actual), _judge(np.concatenate(served), actual))


@contextmanager
def _examples(computing: Computing, sources: Sequence[Path], as_of_ts: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="contatto-") as scratch:
        computing.make_examples(sources, as_of_ts, Path(scratch) / "examples")
        yield Path(scratch) / "examples"


def _judge(estimates: Floats, outcomes: Floats) -> dict[str, Judged]:
    """Judge estimates of each question where it arose."""
    judged = {}
    for head, question in enumerate(Question):
        is_asked = outcomes[:, head] >= 0.0
        if is_asked.any():
            judged[question.value] = judge_estimates(estimates[is_asked, head], outcomes[is_asked, head])
    return judged


def publish_relearned(tx: Tx, business_id: str, weights: Weights) -> ModelVersion:
    """Publish the newest model with other weights; the learner goes on from there.

    What came while these weights were found stays learned in all but the weights.

    Raises:
        ValueError: a weight is no number.
        Refused: CONFLICT when another model was published at the same moment.
    """
    newest = load_learning(tx, business_id)
    lay_over(newest.marketplace.market, weights)
    saved = newest.marketplace.save()
    model_version = ModelVersion(
        business_id, newest.version + 1, newest.through, micros(tx.now), "relearned from files", len(saved),
        "", 0, has_blob=True,
    )  # fmt: skip
    if not models.save_model(tx, model_version, saved):
        raise Refused(errors.CONFLICT)
    return model_version
