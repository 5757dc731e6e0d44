"""Learning from the log: new models, their publication, and the return to an earlier one."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import islice
from typing import Final

import msgspec

from contatto.ads.store import list_accounts_of_ad_groups
from contatto.delivery.actions.log import read_lines, read_record
from contatto.delivery.actions.serving import load_snapshot, restore_models, seed_of
from contatto.delivery.store import log as entries
from contatto.delivery.store.ledger import delete_old_trials
from contatto.delivery.store.log import delete_forgotten_without_files, save_influences
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.values import micros
from contatto.learning.columns import DAY_US
from contatto.learning.evaluation import Key, add_tallies, count_happened, curve_of
from contatto.learning.explanations import weigh_influences
from contatto.learning.lines import (
    AdGroupLine,
    AdLine,
    AnyLine,
    ClickLine,
    ConversationLine,
    LeadLine,
    LineLeadSource,
    Quality,
    QualityLine,
    SpamLine,
    Status,
    ViewLine,
)
from contatto.learning.marketplace import Marketplace, UnusableLine, state_of
from contatto.learning.model import (
    NOBODY,
    Curve,
    Entry,
    EntryKind,
    GroupState,
    Influence,
    ModelVersion,
    OutcomeBody,
    PredictionTally,
    Question,
)
from contatto.learning.outcomes import finish_work
from contatto.learning.replica import name_stranger, new_marketplace, take_line, take_record

CURVES_KEPT: Final = timedelta(days=90)
TRIALS_KEPT: Final = timedelta(days=120)
SHOWN_DAYS: Final = 28
WAIT_DAYS: Final = {Question.CLICK: 0, Question.CONVERSATION: 1, Question.LEAD: 3, Question.SPAM: 3}
"""The newest days are left out, because outcomes of their impressions are still missing."""


def record_tallies(tx: Tx, business_id: str, new: Mapping[Key, PredictionTally]) -> None:
    """Add the counts of a learner, which are by ad group, to the stored counts by ad account."""
    accounts = list_accounts_of_ad_groups(tx, business_id, {number for number, _, _ in new})
    by_account: dict[entries.TallyKey, list[PredictionTally]] = {}
    for (number, day, question), tally in new.items():
        by_account.setdefault((accounts.get(number, ""), day, question), []).append(tally)
    entries.save_tallies(tx, business_id, {key: add_tallies(group) for key, group in by_account.items()})


def list_curves(tx: Tx, business_id: str, ad_account_ids: Sequence[str] | None) -> list[Curve]:
    """Return the quality of recent predictions by question, in the order of questions.

    The newest of ``SHOWN_DAYS`` are those before outcomes are missing. ``ad_account_ids`` None means all.
    """
    first = tx.now.date() - timedelta(days=SHOWN_DAYS + max(WAIT_DAYS.values()))
    tallies = entries.list_tallies(tx, business_id, first.isoformat(), ad_account_ids)
    curves = []
    for question, wait in WAIT_DAYS.items():
        last = tx.now.date() - timedelta(days=wait)
        since, until = (last - timedelta(days=SHOWN_DAYS - 1)).isoformat(), last.isoformat()
        curve = curve_of(question, [row for row in tallies if since <= row.day <= until])
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
    tallies: dict[Key, PredictionTally] = field(default_factory=dict)
    """New counts that are not stored yet, by ad group."""
    weighed_at: int = 0


@dataclass(frozen=True, slots=True)
class _TrainedStep:
    """Results of learning a part of a log; an empty ``raw`` publishes no model."""

    changes: list[AdGroupLine | AdLine]
    states: list[GroupState]
    raw: bytes
    influences: list[Influence]


class Trainer:
    """Learns the logs of all businesses in turn; one process at a time learns a log.

    Args:
        keep_days: the days for which the log and one model per day are kept.
        is_hasty: publish a model after each step.
        weigh_us: microseconds between two computations of influences.
    """

    def __init__(self, keep_days: int, *, is_hasty: bool = False, weigh_us: int = WEIGH_US) -> None:
        self._keep_days, self._is_hasty, self._weigh_us = keep_days, is_hasty, weigh_us
        self._learner = new_id()
        self._learning: dict[str, Learning] = {}
        self._turns: Iterator[entries.Stream] | None = None

    def start_over(self) -> None:
        """Begin a round through the businesses."""
        self._turns = None

    def read_next(self, tx: Tx) -> Keep | None:
        """Learn the next entries of the next business; return the function that stores the result."""
        if self._turns is None:
            self._turns = iter(entries.list_streams_to_learn(tx, self._learner))
        stream = next(self._turns, None)
        return None if stream is None else self._learn(tx, stream)

    def load(self, tx: Tx, business_id: str, trained_seq: int) -> Learning:
        """Return the marketplace of a business, to learn entries that are about to be stored."""
        learning = self._learning.pop(business_id, None)
        newest = entries.find_newest_version(tx, business_id)
        if learning is None or learning.version != newest:
            learning = load_learning(tx, business_id)
            learning.counted = trained_seq
        self._learning[business_id] = learning
        while len(self._learning) > MOST_MARKETPLACES:
            self._learning.pop(next(iter(self._learning)))
        return learning

    def _learn(self, tx: Tx, stream: entries.Stream) -> Keep:
        business_id = stream.business_id
        learning = self.load(tx, business_id, stream.trained_seq)
        end = time.perf_counter() + BATCH_S
        while time.perf_counter() < end and learn_entries(tx, learning, AT_ONCE):
            pass
        market = learning.marketplace.market
        is_due = learning.through - learning.published >= PUBLISH_ENTRIES or (
            learning.through > learning.published
            and (self._is_hasty or micros(tx.now) - stream.published_at >= entries.PUBLISH_US)
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
        step = _TrainedStep(
            changes,
            [state_of(market, group) for group in market.groups.groups],
            learning.marketplace.save() if is_due else b"",
            weigh_influences(market) if is_old else [],
        )
        return lambda tx: self._save(tx, learning, step)

    def _save(self, tx: Tx, learning: Learning, step: _TrainedStep) -> None:
        """Store a step, or forget the marketplace if another process learned or published meanwhile."""
        business_id = learning.business_id
        if not entries.record_learned(tx, business_id, self._learner, learning.through):
            self._learning.pop(business_id, None)
            return
        if step.raw and not self._publish(tx, learning, step.raw):
            self._learning.pop(business_id, None)
            return
        record_tallies(tx, business_id, learning.tallies)
        learning.tallies = {}
        if step.influences:
            save_influences(tx, business_id, step.influences)
            learning.weighed_at = micros(tx.now)
        entries.save_states(tx, business_id, step.states)
        if step.changes and step.changes != learning.changes:
            learning.changes = step.changes
            rows = []
            for line in step.changes:
                kind = EntryKind.AD_GROUP if isinstance(line, AdGroupLine) else EntryKind.AD
                rows.append(entries.NewEntry(kind, micros(tx.now), body=msgspec.msgpack.encode(line)))
            entries.append_entries(tx, business_id, rows)

    def _publish(self, tx: Tx, learning: Learning, raw: bytes) -> bool:
        count = learning.through - learning.published
        version = ModelVersion(
            learning.business_id, learning.version + 1, learning.through, micros(tx.now), "trained",
            len(raw), "", count, has_blob=True,
        )  # fmt: skip
        if not entries.save_model(tx, version, raw):
            return False
        learning.version, learning.published = version.version, learning.through
        entries.record_published(tx, learning.business_id, learning.through)
        entries.delete_old_models(tx, learning.business_id, self._keep_days)
        return True


def load_learning(tx: Tx, business_id: str) -> Learning:
    """Restore the marketplace of the newest undamaged model, or create a new one."""
    newest = entries.find_newest_version(tx, business_id)
    for model, marketplace in _restore_marketplaces(tx, business_id):
        return Learning(business_id, marketplace, model.through, newest, model.through)
    return Learning(business_id, new_marketplace(seed_of(business_id)), 0, newest, 0)


def rebuild_marketplace(tx: Tx, business_id: str, through: int) -> Learning | None:
    """Rebuild the marketplace after an entry, from a model before it; None if the log lacks entries."""
    for model, marketplace in _restore_marketplaces(tx, business_id, through):
        learning = Learning(business_id, marketplace, model.through, model.version, model.through)
        while learn_entries(tx, learning, AT_ONCE, through):
            pass
        return learning if learning.through == through else None
    return None


def _restore_marketplaces(
    tx: Tx, business_id: str, through: int | None = None
) -> Iterator[tuple[ModelVersion, Marketplace]]:
    seed = seed_of(business_id)
    return restore_models(tx, business_id, lambda _, raw: new_marketplace(seed, raw), through)


def learn_entries(tx: Tx, learning: Learning, most: int, through: int | None = None) -> int:
    """Learn the next entries of a log; return their number."""
    batch = entries.list_entries(tx, learning.business_id, learning.through, most, through)
    for entry in batch:
        learn_entry(learning, entry)
    return len(batch)


def learn_entry(learning: Learning, entry: Entry) -> None:
    """Learn the next entry of a log."""
    market = learning.marketplace.market
    market.happened = [] if learning.counted < entry.seq else None
    try:
        take_entry(learning.marketplace, entry)
    except UnusableLine:  # too late, or without a remembered impression
        learning.skipped += 1
    finish_work(market)  # else the moment of a snapshot would change what is learned
    learning.through = entry.seq
    count_happened(market, learning.tallies)


def take_entry(marketplace: Marketplace, entry: Entry) -> None:
    """Learn from one entry.

    Raises:
        UnusableLine: it is of no use; nothing was changed.
    """
    name = str(entry.nonce)
    if entry.kind is EntryKind.DECISION:
        take_record(marketplace, read_record(entry.body))
    elif entry.kind is EntryKind.LINES:
        for line in read_lines(entry.body):
            take_line(marketplace, line, entry.ts)
    elif entry.kind is EntryKind.VIEW:
        marketplace.take(ViewLine(entry.ts, name))
    elif entry.kind is EntryKind.CLICK:
        name_stranger(marketplace.market, name)
        marketplace.take(ClickLine(entry.ts, name))
    elif entry.kind is EntryKind.AD_GROUP:
        take_line(marketplace, msgspec.msgpack.decode(entry.body, type=AdGroupLine), entry.ts)
    elif entry.kind is EntryKind.AD:
        take_line(marketplace, msgspec.msgpack.decode(entry.body, type=AdLine), entry.ts)
    else:
        marketplace.take(_outcome(marketplace, entry))


def _outcome(marketplace: Marketplace, entry: Entry) -> AnyLine:
    """Convert an outcome to a line with the viewer and the business of its impression."""
    market = marketplace.market
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
    delete_forgotten_without_files(tx)
    old = entries.delete_old_entries(tx, micros(tx.now) - keep_days * DAY_US)
    old += entries.delete_old_tallies(tx, (tx.now - CURVES_KEPT).date().isoformat())
    return old + delete_old_trials(tx, (tx.now - TRIALS_KEPT).date().isoformat())


def roll_back_model(tx: Tx, business_id: str, version: int) -> ModelVersion:
    """Publish an earlier model again; the entries since then are skipped, later ones are learned.

    Raises:
        Refused: NOT_FOUND for an unknown model, or one with deleted or damaged bytes.
    """
    old = next((model for model in entries.list_models(tx, business_id) if model.version == version), None)
    raw = entries.load_model(tx, business_id, version) if old is not None else None
    if old is None or raw is None:
        raise Refused(
            errors.NOT_FOUND, "Model not found, or its file is missing or damaged. Choose another version."
        )
    stream = entries.find_stream(tx, business_id)
    through = 0 if stream is None else stream.last_seq
    model = replace(
        old,
        version=entries.find_newest_version(tx, business_id) + 1,
        through=through,
        made_at=micros(tx.now),
        origin=f"model {version}",
        entries=0,
    )
    if not entries.save_model(tx, model, raw):
        raise Refused(errors.CONFLICT)
    entries.record_rolled_back(tx, business_id, through)
    return model
