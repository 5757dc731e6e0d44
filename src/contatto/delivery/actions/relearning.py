"""Batch learning from files of decisions, at night or on demand."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from contatto.accounts.store import list_businesses
from contatto.delivery.actions.serving import seed_of
from contatto.delivery.actions.training import load_learning
from contatto.delivery.engines.files import (
    DuckDBEngine,
    ExampleEngine,
    check_decisions,
    list_batches,
    path_of,
    read_batch,
)
from contatto.delivery.model import LossComparison, Relearning, Stage
from contatto.delivery.rules.results import judge_candidate
from contatto.delivery.store import log
from contatto.delivery.store.log import find_relearning, save_relearning
from contatto.kit import errors
from contatto.kit.background import PeriodicStudy, Study
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.sandbox import LongProcess
from contatto.kit.settings import Settings
from contatto.kit.values import from_micros, micros
from contatto.learning.batch_learning import (
    Floats,
    Weights,
    apply_weights,
    batch_of,
    forget_weights,
    learn_pass,
    map_batches,
    predict_batch,
    weights_of,
)
from contatto.learning.columns import DAY_US
from contatto.learning.evaluation import PredictionScore, score_predictions
from contatto.learning.market import MarketState
from contatto.learning.model import ModelVersion, Question
from contatto.learning.replica import new_marketplace

MOST_PASSES: Final = 30
ENOUGH: Final = 1e-3
"""Learning ends when a pass changes predictions by less than this on average."""


@dataclass(frozen=True, slots=True)
class Span:
    """Decisions in a time range, and the time up to which outcomes count."""

    from_ts: int
    until_ts: int
    as_of_ts: int


@dataclass(frozen=True, slots=True)
class RelearningInput:
    """Input of a relearning run: the newest model of a business, its market, and the files."""

    saved: bytes
    market: MarketState
    sources: list[Path]


@dataclass(frozen=True, slots=True)
class HeldOutScores:
    """Scores on decisions that were not learned, by question: of the candidate and of the current model."""

    candidate: dict[str, PredictionScore]
    current: dict[str, PredictionScore]


@dataclass(frozen=True, slots=True)
class RelearningStats:
    """Numbers of examples and passes of a relearning run."""

    examples: int
    passes: int


def prepare_relearning(tx: Tx, business_id: str, days: int) -> RelearningInput | None:
    """Load the newest model of a business, and list its recent files; None if either is missing.

    Raises:
        OSError: a file is missing or damaged.
    """
    learning = load_learning(tx, business_id)
    first_day = from_micros(micros(tx.now) - days * DAY_US).date().isoformat()
    decision_files = log.list_decision_files_of(tx, business_id, first_day)
    if not learning.through or not decision_files:
        return None
    for file in decision_files:
        check_decisions(file)
    saved = learning.marketplace.save()
    return RelearningInput(saved, learning.marketplace.market, [path_of(file) for file in decision_files])


def relearn_files(
    engine: ExampleEngine, sources: Sequence[Path], market: MarketState, as_of_ts: int
) -> RelearningStats:
    """Learn from files up to a time.

    Args:
        engine: joins decisions and outcomes to examples.
        sources: the files.
        market: a marketplace for this run; its weights are replaced (see `weights_of`).
        as_of_ts: the time; later arrivals do not count.

    Raises:
        OSError: a folder is full or missing.
    """
    with _examples(engine, sources, as_of_ts) as folder:
        batches = (batch_of(market, read_batch(folder, parts), as_of_ts) for parts in list_batches(folder))
        observed, features = map_batches(batches, folder / "arrays")
        forget_weights(market)
        for passes in range(1, MOST_PASSES + 1):
            if learn_pass(market, observed, features, passes) < ENOUGH:
                break
        return RelearningStats(len(observed.samples), passes)


def judge_files(
    engine: ExampleEngine, sources: Sequence[Path], market: MarketState, span: Span
) -> HeldOutScores:
    """Compare predictions by the weights of `relearn_files` with the logged ones, for a span of decisions.

    A missing outcome counts as negative.

    Raises:
        OSError: a folder is full or missing.
    """
    candidate: list[Floats] = []
    current: list[Floats] = []
    outcomes: list[Floats] = []
    with _examples(engine, sources, span.as_of_ts) as folder:
        for parts in list_batches(folder):
            batch = batch_of(market, read_batch(folder, parts), span.as_of_ts)
            in_span = (batch.times >= span.from_ts) & (batch.times < span.until_ts)
            candidate.append(predict_batch(market, batch)[in_span])
            current.append(batch.predictions[in_span])
            # A positive label is below 0 in a batch; here it is 1, and -1 marks examples that do not count.
            outcomes.append(np.where(batch.is_asked, batch.observed.outcomes < 0.0, -1.0)[in_span])
    actual = np.concatenate(outcomes)
    return HeldOutScores(_judge(np.concatenate(candidate), actual), _judge(np.concatenate(current), actual))


@contextmanager
def _examples(engine: ExampleEngine, sources: Sequence[Path], as_of_ts: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="contatto-") as scratch:
        engine.make_examples(sources, as_of_ts, Path(scratch) / "examples")
        yield Path(scratch) / "examples"


def _judge(estimates: Floats, outcomes: Floats) -> dict[str, PredictionScore]:
    """Score the predictions of each question on its cases."""
    judged = {}
    for head, question in enumerate(Question):
        counts = outcomes[:, head] >= 0.0
        if counts.any():
            judged[question.value] = score_predictions(estimates[counts, head], outcomes[counts, head])
    return judged


def publish_relearned(tx: Tx, business_id: str, weights: Weights) -> ModelVersion:
    """Publish the newest model with other weights; the learner continues from there.

    Everything that was learned during the run stays, except weights.

    Raises:
        ValueError: a weight is not finite.
        Refused: CONFLICT when another model was published meanwhile.
    """
    newest = load_learning(tx, business_id)
    apply_weights(newest.marketplace.market, weights)
    saved = newest.marketplace.save()
    model_version = ModelVersion(
        business_id, newest.version + 1, newest.through, micros(tx.now), "relearned from files", len(saved),
        "", 0, has_blob=True,
    )  # fmt: skip
    if not log.save_model(tx, model_version, saved):
        raise Refused(errors.CONFLICT)
    return model_version


EVERY_S: Final = 900.0
NIGHT_HOUR: Final = 2
"""UTC; a missed night is made up as soon as a worker runs."""
DAYS: Final = 90
HELD_DAYS: Final = 2
"""Length of the test span in days."""
WAIT_DAYS: Final = 3
"""Newer days are excluded from the test, because their outcomes are still missing."""
LEAST_ENTRIES: Final = 50_000
"""With fewer entries the online learner keeps all of them in memory, and replays them."""
MOST_ENTRIES: Final = 20_000_000
"""Joining more takes too long on one machine; use `contatto model relearn` with Spark."""
_TIME_LIMIT_S: Final = 4 * 3_600.0


class RelearningTask(msgspec.Struct, frozen=True):
    """Task for a child process: test a candidate, or learn all days.

    Without ``saved`` the child does nothing.
    """

    seed: int = 0
    saved: bytes = b""
    sources: list[str] = []
    from_ts: int = 0
    until_ts: int = 0
    as_of_ts: int = 0
    is_judging: bool = False


class RelearningResult(msgspec.Struct, frozen=True):
    """Result of a task: the learned views, and the test scores or the weights."""

    views: int = 0
    compared: list[LossComparison] = []
    weights: Weights | None = None


def relearn_in_process(raw: bytes) -> bytes:
    """Run an encoded `RelearningTask` and return the encoded `RelearningResult`."""
    task = msgspec.msgpack.decode(raw, type=RelearningTask)
    if not task.saved:
        return msgspec.msgpack.encode(RelearningResult())
    market, sources = new_marketplace(task.seed, task.saved).market, [Path(source) for source in task.sources]
    if task.is_judging:
        relearned = relearn_files(DuckDBEngine(), sources, market, task.from_ts)
        span = Span(task.from_ts, task.until_ts, task.as_of_ts)
        compared = compare_losses(judge_files(DuckDBEngine(), sources, market, span))
        return msgspec.msgpack.encode(RelearningResult(relearned.examples, compared))
    relearned = relearn_files(DuckDBEngine(), sources, market, task.as_of_ts)
    return msgspec.msgpack.encode(RelearningResult(relearned.examples, weights=weights_of(market)))


def compare_losses(scores: HeldOutScores) -> list[LossComparison]:
    """Compare the candidate with the current model by question."""
    return [
        LossComparison(name, score.count, round(score.actual), score.log_loss, scores.current[name].log_loss)
        for name, score in scores.candidate.items()
    ]


def night_before(at: datetime) -> datetime:
    """Return the start of the latest night."""
    tonight = at.replace(hour=NIGHT_HOUR, minute=0, second=0, microsecond=0)
    return tonight if tonight <= at else tonight - timedelta(days=1)


@dataclass(slots=True)
class Relearner:
    """Relearns the businesses in turn, each once a night.

    Args:
        least: businesses with fewer entries in files are skipped.
    """

    least: int = LEAST_ENTRIES
    _remaining: Iterator[str] = field(default_factory=lambda: iter(()))
    _is_round_begun: bool = False
    _current: Relearning | None = None
    """The current run; after a crash of the child process it is unchanged."""
    _started_stage: Stage | None = None

    def start_over(self) -> None:
        """Begin a round."""
        self._is_round_begun = False

    def read_next(self, tx: Tx) -> Study | None:
        """Return the next step of the current run or of the next due business; None at the end."""
        if self._current is not None:
            return self._continue(tx, self._current)
        if not self._is_round_begun:
            self._remaining, self._is_round_begun = (
                iter([str(business.id) for business in list_businesses(tx)]),
                True,
            )
        for business_id in self._remaining:
            if self._is_due(tx, business_id):
                started = Relearning(business_id, tx.now, tx.now, Stage.JUDGING, 0, 0, ())
                return Study(msgspec.msgpack.encode(RelearningTask()), partial(self._begin, started))
        return None

    def _is_due(self, tx: Tx, business_id: str) -> bool:
        last = find_relearning(tx, business_id)
        if last is not None and last.started_at >= night_before(tx.now):
            return False
        first_day = (tx.now - timedelta(days=DAYS)).date().isoformat()
        entries = sum(file.entries for file in log.list_decision_files_of(tx, business_id, first_day))
        return bool(log.find_newest_version(tx, business_id)) and self.least <= entries <= MOST_ENTRIES

    def _begin(self, started: Relearning, _answer: bytes, tx: Tx) -> None:
        """Save the run after an empty task; `read_next` continues it."""
        save_relearning(tx, started)
        self._current, self._started_stage = started, None

    def _continue(self, tx: Tx, run: Relearning) -> Study:
        if self._started_stage is run.stage:  # the child process of this stage crashed
            return self._end(run, Stage.BROKEN)
        self._started_stage = run.stage
        try:
            prepared = prepare_relearning(tx, run.business_id, DAYS)
        except OSError:
            return self._end(run, Stage.BROKEN)
        if prepared is None:
            return self._end(run, Stage.TOO_LITTLE)
        until = micros(tx.now) - WAIT_DAYS * DAY_US
        since, at = until - HELD_DAYS * DAY_US, micros(tx.now)
        sources = [str(source) for source in prepared.sources]
        is_judging = run.stage is Stage.JUDGING
        task = RelearningTask(seed_of(run.business_id), prepared.saved, sources, since, until, at, is_judging)
        return Study(msgspec.msgpack.encode(task), partial(self._finish, run))

    def _end(self, run: Relearning, stage: Stage) -> Study:
        """Return an empty task, which only records the last stage of a run."""
        return Study(
            msgspec.msgpack.encode(RelearningTask()), lambda _answer, tx: self._record_stage(tx, run, stage)
        )

    def _finish(self, run: Relearning, answer: bytes, tx: Tx) -> None:
        """Judge the candidate by its scores, or publish its weights."""
        result = msgspec.msgpack.decode(answer, type=RelearningResult)
        learned = replace(run, views=result.views)
        if run.stage is Stage.JUDGING:
            judged = replace(learned, compared=tuple(result.compared))
            self._record_stage(tx, judged, judge_candidate(result.compared))
            return
        try:
            if result.weights is None:
                raise ValueError("there are no weights")
            model = publish_relearned(tx, run.business_id, result.weights)
        except Refused:
            self._record_stage(tx, learned, Stage.OVERTAKEN)
        except ValueError:
            self._record_stage(tx, learned, Stage.BROKEN)
        else:
            self._record_stage(tx, replace(learned, version=model.version), Stage.PUBLISHED)

    def _record_stage(self, tx: Tx, run: Relearning, stage: Stage) -> None:
        recorded = replace(run, stage=stage, told_at=tx.now)
        save_relearning(tx, recorded)
        self._current, self._started_stage = (recorded, None) if stage is Stage.LEARNING else (None, None)


def relearning_studies(settings: Settings) -> tuple[PeriodicStudy, ...]:
    """Return the nightly study, if decisions are kept in files and the setting is on."""
    if not (settings.relearn_at_night and settings.sealed_folder and settings.decision_files_days):
        return ()
    relearner = Relearner()
    study = PeriodicStudy(
        EVERY_S,
        relearner.start_over,
        relearner.read_next,
        relearn_in_process,
        lambda: LongProcess(_TIME_LIMIT_S),
    )
    return (study,)
