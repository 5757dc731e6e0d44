"""Training of models from the log, and relearning at night."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import sqlalchemy as sa

from contatto.accounts.store import list_businesses
from contatto.ads.store import ad_groups
from contatto.delivery import store
from contatto.delivery.actions.ledger import read_lines, read_record
from contatto.delivery.actions.serving import load_snapshot, restore_model, seed_of
from contatto.delivery.engines.files import (
    MakeExamples,
    check_decisions,
    list_batches,
    make_examples,
    path_of,
    read_batch,
)
from contatto.delivery.rules import LossComparison, NewEntry, Relearning, Stage, Stream, judge_candidate
from contatto.kit import errors
from contatto.kit.background import PeriodicStudy, Study
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.sandbox import LongProcess
from contatto.kit.settings import Settings
from contatto.kit.values import from_micros, micros
from contatto.learning import batch_learning, evaluation
from contatto.learning.columns import DAY_US
from contatto.learning.market import Learned, MarketState
from contatto.learning.marketplace import (
    Marketplace,
    UnusableLine,
    name_stranger,
    new_marketplace,
    state_of,
    take_line,
    take_record,
)
from contatto.learning.model import (
    NOBODY,
    AdGroupLine,
    AdLine,
    AnyLine,
    ClickLine,
    ConversationLine,
    Curve,
    Entry,
    EntryKind,
    Influence,
    LeadLine,
    LineLeadSource,
    ModelVersion,
    OutcomeBody,
    PredictionTally,
    Quality,
    QualityLine,
    Question,
    SpamLine,
    Status,
    ViewLine,
)
from contatto.learning.outcomes import finish_work

CURVES_KEPT: Final = timedelta(days=90)
"""Retention of counts of predictions."""
TRIALS_KEPT: Final = timedelta(days=120)
"""Retention of results of the experiment with a random arm."""
SHOWN_DAYS: Final = 28
WAIT_DAYS: Final = {Question.CLICK: 0, Question.CONVERSATION: 1, Question.LEAD: 3, Question.SPAM: 3}
"""Newest days that a curve leaves out, because outcomes of their impressions are still missing."""


def list_curves(tx: Tx, business_id: str, ad_account_ids: Sequence[str] | None) -> list[Curve]:
    """Return the quality of recent predictions by question, in the order of questions.

    A curve covers ``SHOWN_DAYS`` days before its ``WAIT_DAYS``. ``ad_account_ids`` None means all.
    """
    first = tx.now.date() - timedelta(days=SHOWN_DAYS + max(WAIT_DAYS.values()))
    tallies = store.list_tallies(tx, business_id, first.isoformat(), ad_account_ids)
    curves = []
    for question, wait in WAIT_DAYS.items():
        last = tx.now.date() - timedelta(days=wait)
        since, until = (last - timedelta(days=SHOWN_DAYS - 1)).isoformat(), last.isoformat()
        curve = evaluation.curve_of(question, [row for row in tallies if since <= row.day <= until])
        if curve is not None:
            curves.append(curve)
    return curves


AT_ONCE: Final = 500
"""Entries that one query reads."""
BATCH_S: Final = 0.5
"""Time for one business before the learner turns to the next one."""
PUBLISH_ENTRIES: Final = 20_000
"""A model is published after this many entries at the latest."""
NOT_COUNTED: Final = 2**63
"""Greater than the number of any entry."""
WEIGH_US: Final = 3_600_000_000
"""Interval between computations of influences, which are slower than publishing and change slowly."""
MOST_MARKETPLACES: Final = 32
"""Marketplaces of this many businesses stay in memory; others are restored from their models."""

type Keep = Callable[[Tx], None]
"""Stores a result."""


@dataclass(slots=True)
class Learning:
    """Marketplace of a business while it learns the log, with its position and model version."""

    business_id: str
    marketplace: Marketplace
    through: int
    version: int
    published: int
    skipped: int = 0
    changes: list[AdGroupLine | AdLine] = field(default_factory=list)
    """The last ad groups and ads that were appended to the log, so that they are appended once."""
    counted: int = NOT_COUNTED
    """Predictions and outcomes are counted after this entry; earlier ones are counted already."""
    tallies: dict[evaluation.Key, PredictionTally] = field(default_factory=dict)
    """New counts that are not stored yet, by ad group."""
    weighed_at: int = 0


class Trainer:
    """Learns the logs of all businesses in turn; one process at a time learns a log.

    The log, and one model per day, are kept for ``keep_days``. With ``is_hasty`` each step publishes a model.
    """

    def __init__(self, keep_days: int, *, is_hasty: bool = False, weigh_us: int = WEIGH_US) -> None:
        self._keep_days, self._is_hasty, self._weigh_us = keep_days, is_hasty, weigh_us
        self._learner = new_id()
        self._learning: dict[str, Learning] = {}
        self._turns: Iterator[Stream] | None = None

    def start_over(self) -> None:
        """Begin a round through the businesses."""
        self._turns = None

    def read_next(self, tx: Tx) -> Keep | None:
        """Learn the next entries of the next business; return the function that stores the step."""
        if self._turns is None:
            self._turns = iter(store.list_streams_to_learn(tx, self._learner))
        stream = next(self._turns, None)
        if stream is None:
            return None
        business_id = stream.business_id
        learning = self.load(tx, business_id, stream.trained_seq)
        end = time.perf_counter() + BATCH_S
        while time.perf_counter() < end and learn_entries(tx, learning, AT_ONCE):
            pass
        market = learning.marketplace.market
        is_due = learning.through - learning.published >= PUBLISH_ENTRIES or (
            learning.through > learning.published
            and (self._is_hasty or micros(tx.now) - stream.published_at >= store.PUBLISH_US)
        )
        # ad groups and ads that the marketplace has in another version, and those that stopped
        groups, lines = market.groups, load_snapshot(tx, business_id).lines
        live = {line.adgroup_id for line in lines if isinstance(line, AdGroupLine)}
        changes = [line for line in lines if not groups.has_line(line)]
        changes += [
            msgspec.structs.replace(group.line, status=Status.OFF)
            for group in groups.groups
            if group.line.adgroup_id not in live and group.line.status is Status.ON
        ]
        is_old = is_due and micros(tx.now) - learning.weighed_at >= self._weigh_us
        raw = learning.marketplace.save() if is_due else b""
        influences = evaluation.weigh_influences(market) if is_old else []
        return lambda tx: self._save(tx, learning, changes, raw, influences)

    def load(self, tx: Tx, business_id: str, trained_seq: int) -> Learning:
        """Return the marketplace of a business; restore it if another process published a model.

        A restored marketplace counts only predictions after ``trained_seq``; earlier ones are counted.
        """
        learning = self._learning.pop(business_id, None)
        newest = store.find_newest_version(tx, business_id)
        if learning is None or learning.version != newest:
            learning = load_learning(tx, business_id)
            learning.counted = trained_seq
        self._learning[business_id] = learning
        while len(self._learning) > MOST_MARKETPLACES:
            self._learning.pop(next(iter(self._learning)))
        return learning

    def _save(
        self, tx: Tx, learning: Learning, changes: list[AdGroupLine | AdLine], raw: bytes,
        influences: list[Influence],
    ) -> None:  # fmt: skip
        """Store a step, or forget the marketplace if another process learned or published meanwhile.

        An empty ``raw`` publishes no model.
        """
        business_id, streams, now_us = learning.business_id, store.streams.c, micros(tx.now)
        is_free = sa.or_(streams.lease_by == self._learner, streams.lease_until < now_us)
        own_stream = sa.update(store.streams).where(streams.business_id == business_id, is_free)
        lease = {"lease_by": self._learner, "lease_until": now_us + store.LEARNER_LEASE_US}
        if not tx.execute(own_stream.values(trained_seq=learning.through, **lease)).rowcount:
            self._learning.pop(business_id, None)
            return
        if raw:
            version = ModelVersion(
                business_id, learning.version + 1, learning.through, micros(tx.now), "trained",
                len(raw), "", learning.through - learning.published, has_blob=True,
            )  # fmt: skip
            if not store.save_model(tx, version, raw):
                self._learning.pop(business_id, None)
                return
            learning.version, learning.published = version.version, learning.through
            progress = {"published_seq": learning.through, "published_at": micros(tx.now)}
            store.record_progress(tx, business_id, **progress)
            store.delete_old_models(tx, business_id, self._keep_days)
        numbers = {number for number, _, _ in learning.tallies}
        query = sa.select(ad_groups.c.number, ad_groups.c.ad_account_id).where(
            ad_groups.c.business_id == business_id, ad_groups.c.number.in_(sorted(numbers))
        )
        accounts = dict(map(tuple, tx.execute(query))) if numbers else {}
        by_account: dict[store.TallyKey, list[PredictionTally]] = {}
        for (number, day, question), tally in learning.tallies.items():
            by_account.setdefault((accounts.get(number, ""), day, question), []).append(tally)
        store.save_tallies(
            tx, business_id, {key: evaluation.add_tallies(group) for key, group in by_account.items()}
        )
        learning.tallies = {}
        if influences:
            store.save_influences(tx, business_id, influences)
            learning.weighed_at = micros(tx.now)
        market = learning.marketplace.market
        states = msgspec.msgpack.encode([state_of(market, group) for group in market.groups.groups])
        tx.save(store.states, {"business_id": business_id, "at": micros(tx.now), "body": states})
        if changes and changes != learning.changes:
            learning.changes = changes
            rows = []
            for line in changes:
                kind = EntryKind.AD_GROUP if isinstance(line, AdGroupLine) else EntryKind.AD
                rows.append(NewEntry(kind, micros(tx.now), body=msgspec.msgpack.encode(line)))
            store.append_entries(tx, business_id, rows)


def load_learning(tx: Tx, business_id: str, through: int | None = None) -> Learning:
    """Restore the marketplace of the newest undamaged model, up to an entry; else create a new one."""
    seed, newest = seed_of(business_id), store.find_newest_version(tx, business_id)
    restored = restore_model(tx, business_id, lambda _, raw: new_marketplace(seed, raw), through)
    if restored is None:
        return Learning(business_id, new_marketplace(seed), 0, newest, 0)
    model, marketplace = restored
    return Learning(business_id, marketplace, model.through, newest, model.through)


def rebuild_marketplace(tx: Tx, business_id: str, through: int) -> Learning | None:
    """Rebuild the marketplace after an entry, from a model before it; None if the log lacks entries."""
    learning = load_learning(tx, business_id, through)
    while learning.published and learn_entries(tx, learning, AT_ONCE, through):
        pass
    return learning if learning.through == through else None


def learn_entries(tx: Tx, learning: Learning, most: int, through: int | None = None) -> int:
    """Learn the next entries of a log; return their number."""
    batch = store.list_entries(tx, learning.business_id, learning.through, most, through)
    for entry in batch:
        learn_entry(learning, entry)
    return len(batch)


def learn_entry(learning: Learning, entry: Entry) -> None:
    """Learn the next entry of a log, and count its predictions and outcomes unless they are counted."""
    marketplace, market, name = learning.marketplace, learning.marketplace.market, str(entry.nonce)
    market.happened = [] if learning.counted < entry.seq else None
    try:
        if entry.kind is EntryKind.DECISION:
            take_record(marketplace, read_record(entry.body))
        elif entry.kind is EntryKind.LINES:
            for line in read_lines(entry.body):
                take_line(marketplace, line, entry.ts)
        elif entry.kind is EntryKind.VIEW:
            marketplace.take(ViewLine(entry.ts, name))
        elif entry.kind is EntryKind.CLICK:
            name_stranger(market, name)  # gives a viewer without consent an id
            marketplace.take(ClickLine(entry.ts, name))
        elif entry.kind is EntryKind.AD_GROUP:
            take_line(marketplace, msgspec.msgpack.decode(entry.body, type=AdGroupLine), entry.ts)
        elif entry.kind is EntryKind.AD:
            take_line(marketplace, msgspec.msgpack.decode(entry.body, type=AdLine), entry.ts)
        else:
            marketplace.take(_outcome(market, entry))
    except UnusableLine:  # too late, or without a remembered impression
        learning.skipped += 1
    finish_work(market)  # else the time of a snapshot would change the weights
    learning.through = entry.seq
    evaluation.count_happened(market, learning.tallies)


def _outcome(market: MarketState, entry: Entry) -> AnyLine:
    """Convert an outcome to a line with the viewer and the business of its impression."""
    shown = market.records.shown.get(str(entry.nonce))
    if shown is None:
        raise UnusableLine("the impression that it is credited to is forgotten")
    viewer = next(islice(market.viewers.by_id, shown.viewer, None))
    if viewer == NOBODY:
        raise UnusableLine("nobody is known to have done it")
    who = {"viewer_id": viewer, "advertiser_id": entry.business_id}
    if entry.kind is EntryKind.CONVERSATION:
        return ConversationLine(entry.ts, **who)
    if entry.kind is EntryKind.SPAM:
        return SpamLine(entry.ts, **who)
    word = msgspec.msgpack.decode(entry.body, type=OutcomeBody).value
    if entry.kind is EntryKind.LEAD:
        return LeadLine(entry.ts, **who, source=LineLeadSource(word))
    return QualityLine(entry.ts, **who, status=Quality(word))


def purge_log(tx: Tx, keep_days: int) -> int:
    """Delete some old entries of the log, and old counts; return their number."""
    forgotten, files, log = store.forgotten, store.decision_files.c, store.log.c
    has_files = sa.exists().where(files.business_id == forgotten.c.business_id)
    tx.delete_some(forgotten, ~has_files)  # requests to erase persons from files
    published = sa.select(store.streams.c.published_seq).where(store.streams.c.business_id == log.business_id)
    is_learned = log.seq <= published.scalar_subquery()
    old = tx.delete_some(store.log, log.ts < micros(tx.now) - keep_days * DAY_US, is_learned)
    curves_since = (tx.now - CURVES_KEPT).date().isoformat()
    trials_since = (tx.now - TRIALS_KEPT).date().isoformat()
    old += tx.delete_some(store.tallies, store.tallies.c.day < curves_since)
    return old + tx.delete_some(store.trials, store.trials.c.day < trials_since)


def roll_back_model(tx: Tx, business_id: str, version: int) -> ModelVersion:
    """Publish an earlier model again; the entries since then are skipped, later ones are learned.

    Raises NOT_FOUND for an unknown model, or one with deleted or damaged bytes.
    """
    old = next((model for model in store.list_models(tx, business_id) if model.version == version), None)
    raw = store.load_model(tx, business_id, version) if old is not None else None
    if old is None or raw is None:
        raise Refused(
            errors.NOT_FOUND, "Model not found, or its file is missing or damaged. Choose another version."
        )
    stream = store.find_stream(tx, business_id)
    through = 0 if stream is None else stream.last_seq
    model = replace(
        old,
        version=store.find_newest_version(tx, business_id) + 1,
        through=through,
        made_at=micros(tx.now),
        origin=f"model {version}",
        entries=0,
    )
    if not store.save_model(tx, model, raw):
        raise Refused(errors.CONFLICT)
    # the learner restarts from this model
    fresh = {"trained_seq": through, "published_seq": through, "lease_until": 0}
    store.record_progress(tx, business_id, lease_by="", **fresh)
    return model


MOST_PASSES: Final = 30
ENOUGH: Final = 1e-3
"""Learning ends when a pass changes predictions by less than this on average."""


def prepare_relearning(tx: Tx, business_id: str, days: int) -> tuple[Marketplace, list[Path]] | None:
    """Load the newest model of a business, and list its recent files; None if either is missing.

    Raises OSError: a file is missing or damaged.
    """
    learning = load_learning(tx, business_id)
    first_day = from_micros(micros(tx.now) - days * DAY_US).date().isoformat()
    decision_files = store.list_decision_files(tx, business_id, first_day)
    if not learning.through or not decision_files:
        return None
    for file in decision_files:
        check_decisions(file)
    return learning.marketplace, [path_of(file) for file in decision_files]


def relearn_files(
    make: MakeExamples, sources: Sequence[Path], market: MarketState, as_of_ts: int
) -> tuple[int, int]:
    """Learn from files up to a time, and return the numbers of examples and of passes.

    The run has a ``market`` of its own, and replaces its weights (see `weights_of`). Raises OSError: a folder
    is full or missing.
    """
    with tempfile.TemporaryDirectory(prefix="contatto-") as scratch:
        folder = Path(scratch) / "examples"
        make(sources, as_of_ts, folder)
        batches = (
            batch_learning.batch_of(market, read_batch(folder, parts), as_of_ts)
            for parts in list_batches(folder)
        )
        observed, features = batch_learning.map_batches(batches, folder / "arrays")
        market.learned.draft[:] = Learned(market.learned.bits).draft  # the prior means
        market.viewers.draft[:] = 0.0
        for passes in range(1, MOST_PASSES + 1):
            if batch_learning.learn_pass(market, observed, features, passes) < ENOUGH:
                break
        return len(observed.samples), passes


def judge_files(
    make: MakeExamples, sources: Sequence[Path], market: MarketState, from_ts: int, until_ts: int,
    as_of_ts: int,
) -> dict[str, tuple[evaluation.PredictionScore, evaluation.PredictionScore]]:  # fmt: skip
    """Score predictions by the weights of `relearn_files`, and the logged ones, for a span of decisions.

    Outcomes that are missing at ``as_of_ts`` count as negative. The result is the scores of the candidate and
    of the current model, by question. Raises OSError: a folder is full or missing.
    """
    candidate: list[batch_learning.Floats] = []
    current: list[batch_learning.Floats] = []
    outcomes: list[batch_learning.Floats] = []
    with tempfile.TemporaryDirectory(prefix="contatto-") as scratch:
        folder = Path(scratch) / "examples"
        make(sources, as_of_ts, folder)
        for parts in list_batches(folder):
            batch = batch_learning.batch_of(market, read_batch(folder, parts), as_of_ts)
            in_span = (batch.times >= from_ts) & (batch.times < until_ts)
            features, observed = batch.features, batch.observed
            # the residual of a positive label is the probability of a negative one
            positives = observed._replace(outcomes=np.full_like(observed.outcomes, batch_learning.YES))
            whole = np.ones_like(features.shares)
            residuals = batch_learning.measure_residuals(market, positives, features, whole)
            candidate.append((1.0 - residuals)[in_span])
            current.append(batch.predictions[in_span])
            # A positive label is below 0 in a batch; here it is 1, and -1 marks examples that do not count.
            outcomes.append(np.where(batch.is_asked, batch.observed.outcomes < 0.0, -1.0)[in_span])
    actual = np.concatenate(outcomes)
    predictions = np.concatenate(candidate), np.concatenate(current)
    judged = {}
    for head, question in enumerate(Question):
        counts = actual[:, head] >= 0.0
        if counts.any():
            learned, logged = (
                evaluation.score_predictions(rows[counts, head], actual[counts, head]) for rows in predictions
            )
            judged[question.value] = learned, logged
    return judged


def publish_relearned(tx: Tx, business_id: str, weights: batch_learning.Weights) -> ModelVersion:
    """Publish the newest model with other weights; the learner continues from there.

    Everything that was learned during the run stays, except weights. Raises ValueError for a weight that is
    not finite, and CONFLICT when another model was published meanwhile.
    """
    newest = load_learning(tx, business_id)
    batch_learning.apply_weights(newest.marketplace.market, weights)
    saved = newest.marketplace.save()
    model_version = ModelVersion(
        business_id, newest.version + 1, newest.through, micros(tx.now), "relearned from files", len(saved),
        "", 0, has_blob=True,
    )  # fmt: skip
    if not store.save_model(tx, model_version, saved):
        raise Refused(errors.CONFLICT)
    return model_version


EVERY_S: Final = 900.0
"""Interval of checks for businesses that are due."""
NIGHT_HOUR: Final = 2
"""UTC; a missed night is made up as soon as a worker runs."""
DAYS: Final = 90
"""Age of the oldest files that a run reads."""
HELD_DAYS: Final = 2
"""Length of the test span in days."""
LABEL_DAYS: Final = 3
"""Newer days are excluded from the test, because their outcomes are still missing."""
LEAST_ENTRIES: Final = 50_000
"""With fewer entries the live model keeps all of them in memory, and trains on them."""
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
    weights: batch_learning.Weights | None = None


def relearn_in_process(raw: bytes) -> bytes:
    """Run an encoded `RelearningTask` and return the encoded `RelearningResult`."""
    task = msgspec.msgpack.decode(raw, type=RelearningTask)
    if not task.saved:
        return msgspec.msgpack.encode(RelearningResult())
    market, sources = new_marketplace(task.seed, task.saved).market, [Path(source) for source in task.sources]
    views, _ = relearn_files(
        make_examples, sources, market, task.from_ts if task.is_judging else task.as_of_ts
    )
    if not task.is_judging:
        return msgspec.msgpack.encode(RelearningResult(views, weights=batch_learning.weights_of(market)))
    judged = judge_files(make_examples, sources, market, task.from_ts, task.until_ts, task.as_of_ts)
    compared = [
        LossComparison(name, learned.count, round(learned.actual), learned.log_loss, logged.log_loss)
        for name, (learned, logged) in judged.items()
    ]
    return msgspec.msgpack.encode(RelearningResult(views, compared))


def night_before(at: datetime) -> datetime:
    """Return the start of the latest night."""
    tonight = at.replace(hour=NIGHT_HOUR, minute=0, second=0, microsecond=0)
    return tonight if tonight <= at else tonight - timedelta(days=1)


@dataclass(slots=True)
class Relearner:
    """Relearns the businesses in turn, each once a night, except those with less than ``least`` entries."""

    least: int = LEAST_ENTRIES
    _remaining: Iterator[str] | None = None
    _current: Relearning | None = None
    """The current run; after a crash of the child process it is unchanged."""
    _started_stage: Stage | None = None
    """The stage of the running child process; seeing it again means that the process crashed."""

    def start_over(self) -> None:
        """Begin a round."""
        self._remaining = None

    def read_next(self, tx: Tx) -> Study | None:
        """Return the next step of the current run or of the next due business; None at the end."""
        if self._current is not None:
            return self._continue(tx, self._current)
        if self._remaining is None:
            self._remaining = iter([str(business.id) for business in list_businesses(tx)])
        first_day = (tx.now - timedelta(days=DAYS)).date().isoformat()
        for business_id in self._remaining:
            last = store.find_relearning(tx, business_id)
            if last is not None and last.started_at >= night_before(tx.now):
                continue
            entries = sum(file.entries for file in store.list_decision_files(tx, business_id, first_day))
            if store.find_newest_version(tx, business_id) and self.least <= entries <= MOST_ENTRIES:
                started = Relearning(business_id, tx.now, tx.now, Stage.JUDGING, 0, 0, ())
                return self._note(started, Stage.JUDGING)
        return None

    def _continue(self, tx: Tx, run: Relearning) -> Study:
        if self._started_stage is run.stage:
            return self._note(run, Stage.BROKEN)
        self._started_stage = run.stage
        try:
            prepared = prepare_relearning(tx, run.business_id, DAYS)
        except OSError:
            return self._note(run, Stage.BROKEN)
        if prepared is None:
            return self._note(run, Stage.TOO_LITTLE)
        marketplace, paths = prepared
        until = micros(tx.now) - LABEL_DAYS * DAY_US
        since, at = until - HELD_DAYS * DAY_US, micros(tx.now)
        sources = [str(path) for path in paths]
        is_judging, seed = run.stage is Stage.JUDGING, seed_of(run.business_id)
        task = RelearningTask(seed, marketplace.save(), sources, since, until, at, is_judging)
        return Study(msgspec.msgpack.encode(task), partial(self._finish, run))

    def _note(self, run: Relearning, stage: Stage) -> Study:
        """Return an empty task, which only records the first or the last stage of a run."""
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
        compared = msgspec.msgpack.encode(recorded.compared)
        tx.save(store.relearnings, row_of(recorded) | {"compared": compared})
        self._current = recorded if stage in (Stage.JUDGING, Stage.LEARNING) else None
        self._started_stage = None


def relearning_studies(settings: Settings) -> tuple[PeriodicStudy, ...]:
    """Return the nightly study, if decisions are kept in files and the setting is on."""
    if not (settings.relearn_at_night and settings.sealed_folder and settings.decision_files_days):
        return ()
    relearner = Relearner()
    steps = relearner.start_over, relearner.read_next, relearn_in_process
    return (PeriodicStudy(EVERY_S, *steps, lambda: LongProcess(_TIME_LIMIT_S)),)
