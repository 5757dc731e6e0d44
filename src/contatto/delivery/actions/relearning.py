"""Learning again from files of decisions, at night or on demand."""

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
from contatto.delivery.engines import Computing, Embedded, check_decisions, list_batches, path_of, read_batch
from contatto.delivery.model import Compared, Relearning, Stage
from contatto.delivery.rules.results import judge_again
from contatto.delivery.store import log, models
from contatto.delivery.store.models import find_relearning, save_relearning
from contatto.kit import errors
from contatto.kit.background import PeriodicStudy, Study
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.sandbox import LongProcess
from contatto.kit.settings import Settings
from contatto.kit.timestamps import from_micros, micros
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
from contatto.learning.evaluation import PredictionScore, score_predictions
from contatto.learning.market import MarketState
from contatto.learning.model import ModelVersion, Question
from contatto.learning.replica import new_marketplace

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
    market: MarketState
    sources: list[Path]


@dataclass(frozen=True, slots=True)
class Held:
    """Estimates of decisions that were not learned, by question: of new weights, and told at the time."""

    estimated: dict[str, PredictionScore]
    told: dict[str, PredictionScore]


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
    decision_files = log.list_decision_files_of(tx, business_id, first_day)
    if not learning.through or not decision_files:
        return None
    for file in decision_files:
        check_decisions(file)
    saved = learning.marketplace.save()
    return Prepared(saved, learning.marketplace.market, [path_of(file) for file in decision_files])


def relearn_files(
    computing: Computing, sources: Sequence[Path], market: MarketState, as_of_ts: int
) -> Relearned:
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


def judge_files(computing: Computing, sources: Sequence[Path], market: MarketState, span: Span) -> Held:
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


def _judge(estimates: Floats, outcomes: Floats) -> dict[str, PredictionScore]:
    """Judge estimates of each question where it arose."""
    judged = {}
    for head, question in enumerate(Question):
        is_asked = outcomes[:, head] >= 0.0
        if is_asked.any():
            judged[question.value] = score_predictions(estimates[is_asked, head], outcomes[is_asked, head])
    return judged


def publish_relearned(tx: Tx, business_id: str, weights: Weights) -> ModelVersion:
    """Publish the newest model with other weights; the learner goes on from there.

    What came while these weights were found stays learned in all but the weights.

    Raises:
        ValueError: a weight is no number.
        Refused: CONFLICT when another model was published at the same moment.
    """
    newest = load_learning(tx, business_id)
    apply_weights(newest.marketplace.market, weights)
    saved = newest.marketplace.save()
    model_version = ModelVersion(
        business_id, newest.version + 1, newest.through, micros(tx.now), "relearned from files", len(saved),
        "", 0, has_blob=True,
    )  # fmt: skip
    if not models.save_model(tx, model_version, saved):
        raise Refused(errors.CONFLICT)
    return model_version


EVERY_S: Final = 900.0
NIGHT_HOUR: Final = 2
"""UTC; what is missed then is done as soon as a worker runs."""
DAYS: Final = 90
HELD_DAYS: Final = 2
"""So many days judge, …"""
WAIT_DAYS: Final = 3
"""… and so many newer ones do not, as what comes of them may still come."""
LEAST_ENTRIES: Final = 50_000
"""With fewer the learner itself keeps all of it in memory, and goes through it again and again."""
MOST_ENTRIES: Final = 20_000_000
"""Joining more takes too long on one machine; they are for `contatto model relearn` with Spark."""
_CLOCK_S: Final = 4 * 3_600.0


class Ask(msgspec.Struct, frozen=True):
    """What a process is to do: judge the days of a span, or learn all; nothing, without ``saved``."""

    seed: int = 0
    saved: bytes = b""
    sources: list[str] = []
    from_ts: int = 0
    until_ts: int = 0
    as_of_ts: int = 0
    is_judging: bool = False


class Found(msgspec.Struct, frozen=True):
    """What it found: the views that it learned, and how these weights did, or the weights."""

    views: int = 0
    compared: list[Compared] = []
    weights: Weights | None = None


def relearn_apart(raw: bytes) -> bytes:
    """Do what an `Ask` says; the answer is a `Found`."""
    ask = msgspec.msgpack.decode(raw, type=Ask)
    if not ask.saved:
        return msgspec.msgpack.encode(Found())
    marketplace = new_marketplace(ask.seed)
    marketplace.restore(ask.saved)
    market, sources = marketplace.market, [Path(source) for source in ask.sources]
    if ask.is_judging:
        return msgspec.msgpack.encode(_judge_apart(ask, sources, market))
    relearned = relearn_files(Embedded(), sources, market, ask.as_of_ts)
    return msgspec.msgpack.encode(Found(relearned.examples, weights=weights_of(market)))


def _judge_apart(ask: Ask, sources: list[Path], market: MarketState) -> Found:
    relearned = relearn_files(Embedded(), sources, market, ask.from_ts)
    span = Span(ask.from_ts, ask.until_ts, ask.as_of_ts)
    return Found(relearned.examples, compare_held(judge_files(Embedded(), sources, market, span)))


def compare_held(held: Held) -> list[Compared]:
    """What was learned again beside what was told at the time, by question."""
    return [
        Compared(name, each.count, round(each.actual), each.log_loss, held.told[name].log_loss)
        for name, each in held.estimated.items()
    ]


def night_before(now: datetime) -> datetime:
    """Return when the latest night began."""
    tonight = now.replace(hour=NIGHT_HOUR, minute=0, second=0, microsecond=0)
    return tonight if tonight <= now else tonight - timedelta(days=1)


@dataclass(slots=True)
class Relearner:
    """Goes through the businesses one by one, each night once.

    Args:
        least: of a business with fewer entries in files nothing is learned again.
    """

    least: int = LEAST_ENTRIES
    _turns: Iterator[str] = field(default_factory=lambda: iter(()))
    _is_begun: bool = False
    _now: Relearning | None = None
    """What is under way; the process that broke left it as it was."""
    _asked: Stage | None = None

    def start_over(self) -> None:
        """Begin a round."""
        self._is_begun = False

    def read_next(self, tx: Tx) -> Study | None:
        """The next step: of what is under way, else of the next business that is due; None at the end."""
        if self._now is not None:
            return self._go_on(tx, self._now)
        if not self._is_begun:
            self._turns, self._is_begun = iter([str(business.id) for business in list_businesses(tx)]), True
        for business_id in self._turns:
            if self._is_due(tx, business_id):
                started = Relearning(business_id, tx.now, tx.now, Stage.JUDGING, 0, 0, ())
                return Study(msgspec.msgpack.encode(Ask()), partial(self._begin, started))
        return None

    def _is_due(self, tx: Tx, business_id: str) -> bool:
        last = find_relearning(tx, business_id)
        if last is not None and last.started_at >= night_before(tx.now):
            return False
        first_day = (tx.now - timedelta(days=DAYS)).date().isoformat()
        listed = log.list_decision_files_of(tx, business_id, first_day)
        entries = sum(each.entries for each in listed)
        return bool(models.find_newest_version(tx, business_id)) and self.least <= entries <= MOST_ENTRIES

    def _begin(self, started: Relearning, _answer: bytes, tx: Tx) -> None:
        save_relearning(tx, started)
        self._now, self._asked = started, None

    def _go_on(self, tx: Tx, now: Relearning) -> Study:
        if self._asked is now.stage:  # the process broke: nothing was kept of this step
            return self._end(now, Stage.BROKEN)
        self._asked = now.stage
        try:
            prepared = prepare_relearning(tx, now.business_id, DAYS)
        except OSError:
            return self._end(now, Stage.BROKEN)
        if prepared is None:
            return self._end(now, Stage.TOO_LITTLE)
        until = micros(tx.now) - WAIT_DAYS * models.DAY_US
        since, at = until - HELD_DAYS * models.DAY_US, micros(tx.now)
        sources = [str(source) for source in prepared.sources]
        ask = Ask(
            seed_of(now.business_id), prepared.saved, sources, since, until, at, now.stage is Stage.JUDGING
        )
        keep = self._keep_judged if now.stage is Stage.JUDGING else self._keep_learned
        return Study(msgspec.msgpack.encode(ask), partial(keep, now))

    def _end(self, now: Relearning, stage: Stage) -> Study:
        return Study(msgspec.msgpack.encode(Ask()), lambda _answer, tx: self._note(tx, now, stage))

    def _keep_judged(self, now: Relearning, answer: bytes, tx: Tx) -> None:
        found = msgspec.msgpack.decode(answer, type=Found)
        judged = replace(now, views=found.views, compared=tuple(found.compared))
        self._note(tx, judged, judge_again(found.compared))

    def _keep_learned(self, now: Relearning, answer: bytes, tx: Tx) -> None:
        found = msgspec.msgpack.decode(answer, type=Found)
        learned = replace(now, views=found.views)
        try:
            if found.weights is None:
                raise ValueError("there are no weights")
            model = publish_relearned(tx, now.business_id, found.weights)
        except Refused:
            self._note(tx, learned, Stage.OVERTAKEN)
        except ValueError:
            self._note(tx, learned, Stage.BROKEN)
        else:
            self._note(tx, replace(learned, version=model.version), Stage.PUBLISHED)

    def _note(self, tx: Tx, now: Relearning, stage: Stage) -> None:
        told = replace(now, stage=stage, told_at=tx.now)
        save_relearning(tx, told)
        self._now, self._asked = (told, None) if stage is Stage.LEARNING else (None, None)


def relearning_studies(settings: Settings) -> tuple[PeriodicStudy, ...]:
    """The work by the clock that does it: where decisions are kept in files, and it is not turned off."""
    if not (settings.relearn_at_night and settings.sealed_folder and settings.decision_files_days):
        return ()
    relearner = Relearner()
    study = PeriodicStudy(
        EVERY_S, relearner.start_over, relearner.read_next, relearn_apart, lambda: LongProcess(_CLOCK_S)
    )
    return (study,)
