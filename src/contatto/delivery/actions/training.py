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
from contatto.delivery.actions.serving import load_snapshot, seed_of
from contatto.delivery.store import log as entries
from contatto.delivery.store import models
from contatto.delivery.store.ledger import delete_old_trials
from contatto.delivery.store.log import delete_forgotten_without_files
from contatto.delivery.store.models import save_influences
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.log import logger
from contatto.kit.timestamps import micros
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
from contatto.learning.replica import is_same, name_stranger, new_marketplace, take_line, take_record
from contatto.learning.storage import Damaged, Different

CURVES_KEPT: Final = timedelta(days=90)
TRIALS_KEPT: Final = timedelta(days=120)
SHOWN_DAYS: Final = 28
WAIT_DAYS: Final = {Question.CLICK: 0, Question.CONVERSATION: 1, Question.LEAD: 3, Question.SPAM: 3}
"""So many of the newest days are left out: what comes of them may still come."""


def keep_told(tx: Tx, business_id: str, told: Mapping[Key, PredictionTally]) -> None:
    """Add what a learner counted by ad group to what is kept by ad account."""
    accounts = list_accounts_of_ad_groups(tx, business_id, {number for number, _, _ in told})
    by_account: dict[models.Key, list[PredictionTally]] = {}
    for (number, day, question), tally in told.items():
        by_account.setdefault((accounts.get(number, ""), day, question), []).append(tally)
    models.save_told(tx, business_id, {key: add_tallies(some) for key, some in by_account.items()})


def list_curves(
    tx: Tx, business_id: str, ad_account_ids: Sequence[str] | None, days: int = SHOWN_DAYS
) -> list[Curve]:
    """Return how estimates of the last days did, by question, in the order of questions.

    Args:
        tx: the transaction.
        business_id: whose ads.
        ad_account_ids: of these ad accounts alone; None for all.
        days: so many are told, behind those that are waited for.
    """
    first = tx.now.date() - timedelta(days=days + max(WAIT_DAYS.values()))
    told = models.list_told(tx, business_id, first.isoformat(), ad_account_ids)
    curves = []
    for question, wait in WAIT_DAYS.items():
        last = tx.now.date() - timedelta(days=wait)
        since, until = (last - timedelta(days=days - 1)).isoformat(), last.isoformat()
        curve = curve_of(question, [each for each in told if since <= each.day <= until])
        if curve is not None:
            curves.append(curve)
    return curves


def purge_told(tx: Tx) -> int:
    """Delete some counts that are too old to be shown; say how many."""
    return models.delete_old_told(tx, (tx.now - CURVES_KEPT).date().isoformat())


AT_ONCE: Final = 500
"""Entries that are read at once."""
BATCH_S: Final = 0.5
"""How long one business is learned before it is the next one's turn."""
PUBLISH_ENTRIES: Final = 20_000
"""A model is published after so many entries, however soon that is."""
NOT_COUNTED: Final = 2**63
"""Behind the last entry of any log."""
WEIGH_US: Final = 3_600_000_000
"""What a model goes by is looked at so often: it takes longer than publishing, and changes slowly."""
KEPT: Final = 32
"""Marketplaces of so many businesses stay in memory; the others are read again from their models."""

type Keep = Callable[[Tx], None]


@dataclass(slots=True)
class Learning:
    """The marketplace of a business as it is learned: up to which entry, from which model on."""

    business_id: str
    marketplace: Marketplace
    through: int
    version: int
    published: int
    skipped: int = 0
    changes: list[AdGroupLine | AdLine] = field(default_factory=list)
    """What was last put into the log of ad groups and ads: once is enough, whatever becomes of it."""
    counted: int = NOT_COUNTED
    """Of entries behind this one it is counted what was foretold and came; the others were counted before."""
    told: dict[Key, PredictionTally] = field(default_factory=dict)
    """What was counted and is not kept yet, by ad group."""
    weighed_at: int = 0


@dataclass(frozen=True, slots=True)
class _Made:
    """A model to be published, or nothing; and what it goes by, if that was looked at."""

    raw: bytes
    weighed: list[Influence]


class Trainer:
    """Learns the logs of all businesses, one after the other; one process learns a log at a time.

    Args:
        keep_days: how long the log is kept, and a model of each day with it.
        is_hasty: publish after each step, not now and then.
        weigh_us: microseconds between two looks at what a model goes by.
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
        """Learn the next entries of the next business; what keeps that comes back, None at the end."""
        if self._turns is None:
            self._turns = iter(entries.list_streams_to_learn(tx, self._learner))
        stream = next(self._turns, None)
        return None if stream is None else self._learn(tx, stream)

    def load(self, tx: Tx, business_id: str, trained_seq: int) -> Learning:
        """Return the marketplace of a business, which may be taught entries that are about to be stored."""
        learning = self._learning.pop(business_id, None)
        newest = models.find_newest_version(tx, business_id)
        if learning is None or learning.version != newest:
            learning = load_learning(tx, business_id)
            learning.counted = trained_seq
        self._learning[business_id] = learning
        while len(self._learning) > KEPT:
            self._learning.pop(next(iter(self._learning)))
        return learning

    def _learn(self, tx: Tx, stream: entries.Stream) -> Keep:
        business_id = stream.business_id
        learning = self.load(tx, business_id, stream.trained_seq)
        end = time.perf_counter() + BATCH_S
        while time.perf_counter() < end and learn_entries(tx, learning, AT_ONCE):
            pass
        changes = _list_changes(tx, learning)
        states = [
            state_of(learning.marketplace.market, group)
            for group in learning.marketplace.market.groups.groups
        ]
        is_due = learning.through - learning.published >= PUBLISH_ENTRIES or (
            learning.through > learning.published
            and (self._is_hasty or micros(tx.now) - stream.published_at >= entries.PUBLISH_US)
        )
        made = learning.marketplace.save() if is_due else b""
        is_old = is_due and micros(tx.now) - learning.weighed_at >= self._weigh_us
        weighed = weigh_influences(learning.marketplace.market) if is_old else []
        return lambda tx: self._keep(tx, learning, changes, states, _Made(made, weighed))

    def _keep(
        self,
        tx: Tx,
        learning: Learning,
        changes: list[AdGroupLine | AdLine],
        states: list[GroupState],
        made: "_Made",
    ) -> None:
        business_id = learning.business_id
        if not entries.record_learned(tx, business_id, self._learner, learning.through):
            self._learning.pop(business_id, None)
            return
        if made.raw and not self._publish(tx, learning, made.raw):
            self._learning.pop(business_id, None)
            return
        keep_told(tx, business_id, learning.told)
        learning.told = {}
        if made.weighed:
            save_influences(tx, business_id, made.weighed)
            learning.weighed_at = micros(tx.now)
        models.save_states(tx, business_id, states)
        if changes and changes != learning.changes:
            learning.changes = changes
            entries.append_entries(tx, business_id, [_entry_of(line, micros(tx.now)) for line in changes])

    def _publish(self, tx: Tx, learning: Learning, made: bytes) -> bool:
        count = learning.through - learning.published
        version = ModelVersion(
            learning.business_id, learning.version + 1, learning.through, micros(tx.now), "trained",
            len(made), "", count, has_blob=True,
        )  # fmt: skip
        if not models.save_model(tx, version, made):
            return False
        learning.version, learning.published = version.version, learning.through
        entries.record_published(tx, learning.business_id, learning.through)
        models.delete_old_models(tx, learning.business_id, self._keep_days)
        return True


def load_learning(tx: Tx, business_id: str) -> Learning:
    """The marketplace of the newest model that is whole, to go on from; a new one if there is none."""
    newest = models.find_newest_version(tx, business_id)
    for model in models.list_models(tx, business_id):
        made = _restored(tx, model)
        if made is not None:
            return Learning(business_id, made, model.through, newest, model.through)
    return Learning(business_id, new_marketplace(seed_of(business_id)), 0, newest, 0)


def rebuild_marketplace(tx: Tx, business_id: str, through: int) -> Learning | None:
    """The marketplace as it was after an entry, from a model before it; None when too little is kept."""
    for model in models.list_models(tx, business_id):
        made = _restored(tx, model) if model.through <= through else None
        if made is not None:
            learning = Learning(business_id, made, model.through, model.version, model.through)
            while learn_entries(tx, learning, AT_ONCE, through):
                pass
            return learning if learning.through == through else None
    return None


def _restored(tx: Tx, version: ModelVersion) -> Marketplace | None:
    if not version.has_blob:
        return None
    raw = models.load_model(tx, version.business_id, version.version)
    try:
        if raw is None:
            raise Damaged("it is not what was published")
        marketplace = new_marketplace(seed_of(version.business_id))
        marketplace.restore(raw)
    except (Damaged, Different) as error:
        logger().error("delivery.model_damaged", version=version.version, says=str(error))
        return None
    return marketplace


def learn_entries(tx: Tx, learning: Learning, most: int, through: int | None = None) -> int:
    """Learn the next entries of a log; how many these were comes back."""
    found = entries.list_entries(tx, learning.business_id, learning.through, most, through)
    for entry in found:
        learn_entry(learning, entry)
    return len(found)


def learn_entry(learning: Learning, entry: Entry) -> None:
    """Learn the next entry of a log."""
    market = learning.marketplace.market
    market.happened = [] if learning.counted < entry.seq else None
    try:
        take_entry(learning.marketplace, entry)
    except UnusableLine:  # too late, or of what nobody remembers: it teaches nothing
        learning.skipped += 1
    learning.through = entry.seq
    count_happened(market, learning.told)


def take_entry(marketplace: Marketplace, entry: Entry) -> None:
    """Learn from one entry.

    Raises:
        Unusable: it says nothing that is still of use; nothing was changed.
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
    said = msgspec.msgpack.decode(entry.body, type=OutcomeBody).value
    if entry.kind is EntryKind.LEAD:
        return LeadLine(entry.ts, **who, source=LineLeadSource(said))
    return QualityLine(entry.ts, **who, status=Quality(said))


def _list_changes(tx: Tx, learning: Learning) -> list[AdGroupLine | AdLine]:
    """Ad groups and ads that are not as the marketplace knows them, with those that no longer serve."""
    groups = learning.marketplace.market.groups
    changes: list[AdGroupLine | AdLine] = []
    live: set[str] = set()
    for line in load_snapshot(tx, learning.business_id).lines:
        if isinstance(line, AdGroupLine):
            live.add(line.adgroup_id)
            place = groups.by_id.get(line.adgroup_id)
            if place is None or not is_same(groups.groups[place].line, line):
                changes.append(line)
        else:
            ad = groups.ad_by_id.get(line.ad_id)
            if ad is None or not is_same(groups.ad_lines[ad], line):
                changes.append(line)
    for group in groups.groups:
        if group.line.adgroup_id not in live and group.line.status is Status.ON:
            changes.append(msgspec.structs.replace(group.line, status=Status.OFF))
    return changes


def _entry_of(line: AdGroupLine | AdLine, ts: int) -> entries.NewEntry:
    kind = EntryKind.AD_GROUP if isinstance(line, AdGroupLine) else EntryKind.AD
    return entries.NewEntry(kind, ts, body=msgspec.msgpack.encode(line))


def purge_log(tx: Tx, keep_days: int) -> int:
    """Delete some entries of the log that are older than so many days, and old counts; say how many."""
    delete_forgotten_without_files(tx)
    old = entries.delete_old_entries(tx, micros(tx.now) - keep_days * models.DAY_US)
    return old + purge_told(tx) + purge_trials(tx)


def roll_back_model(tx: Tx, business_id: str, version: int) -> ModelVersion:
    """Publish an earlier model anew; what came after it is not learned again, what comes now is.

    Raises:
        Refused: NOT_FOUND when there is no such model, or its bytes are no longer kept or damaged.
    """
    found = next((model for model in models.list_models(tx, business_id) if model.version == version), None)
    raw = models.load_model(tx, business_id, version) if found is not None else None
    if found is None or raw is None:
        raise Refused(
            errors.NOT_FOUND, "Model not found, or its file is missing or damaged. Choose another version."
        )
    stream = entries.find_stream(tx, business_id)
    through = 0 if stream is None else stream.last_seq
    newest = models.find_newest_version(tx, business_id)
    now, origin = micros(tx.now), f"model {version}"
    made = replace(found, version=newest + 1, through=through, made_at=now, origin=origin, entries=0)
    if not models.save_model(tx, made, raw):
        raise Refused(errors.CONFLICT)
    entries.record_rolled_back(tx, business_id, through)
    return made


def purge_trials(tx: Tx) -> int:
    """Delete some counts that are too old to be shown; say how many."""
    return delete_old_trials(tx, (tx.now - TRIALS_KEPT).date().isoformat())
