"""The log of delivery: decisions and outcomes appended, sealed by day, and erased for people."""

import asyncio
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from itertools import groupby, takewhile
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from contatto.audiences.actions import drop_viewers
from contatto.delivery.engines.files import (
    ExportedEntry,
    check_decisions,
    drop_file,
    forget_in_files,
    has_new_files,
    moved_decisions,
    take_new_files,
    write_decisions,
)
from contatto.delivery.model import DecisionFile, Promise, TrialDay
from contatto.delivery.rules.targeting import OURS
from contatto.delivery.store import log
from contatto.delivery.store.ledger import delete_promise_viewers, save_promises, save_trial_days
from contatto.inbox.model import ConversationMarkedSpam, ConversationStarted
from contatto.kit.background import Job, MaintenanceJob
from contatto.kit.background import Record as JobRecord
from contatto.kit.db.tx import Tx
from contatto.kit.values import from_micros, micros
from contatto.leads.model import ErasedPeople, LeadCaptured, LeadStatus, LeadStatusChanged, Origin
from contatto.learning.columns import DAY_US
from contatto.learning.lines import AdGroupLine, AdLine
from contatto.learning.model import NOBODY, Entry, EntryKind, OutcomeBody, Record
from contatto.measurement.model import Attribution, ConversionKind
from contatto.measurement.rules import natural_number
from contatto.measurement.store import list_credited, list_viewers_of
from contatto.operators.actions import count_earned_in_placements
from contatto.operators.model import PlacedDay
from contatto.operators.store import list_owners_of_placements

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Record)
_LINES: Final = msgspec.msgpack.Decoder(list[AdGroupLine | AdLine])
KEEP_LINES_US: Final = DAY_US
"""Lines of ad groups and ads are appended again after this time, because old entries are deleted."""


@dataclass(slots=True)
class LoggedDecision:
    """A decision with the promise for its view, and its encoded ``body`` when it is packed."""

    record: Record
    promise: Promise | None
    body: bytes = b""


class Packer:
    """Packs one decision per turn of the idle event loop.

    If the writing thread packed all of them, both threads would compete for the interpreter, and requests of
    that time would wait several times.
    """

    def __init__(self) -> None:
        self._unpacked: deque[LoggedDecision] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        """The loop that will pack the next decision, if any."""

    def add(self, decision: LoggedDecision) -> None:
        """Queue a decision; a writer that is faster packs it."""
        self._unpacked.append(decision)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            loop.call_soon(self._pack_one)

    def _pack_one(self) -> None:
        try:
            while self._unpacked:
                decision = self._unpacked.popleft()
                if not decision.body:
                    decision.body = encode_record(decision.record)
                    break
        finally:
            if self._unpacked and self._loop is not None:
                self._loop.call_soon(self._pack_one)
            else:
                self._loop = None


def log_decisions(tx: Tx, business_id: str, decisions: Sequence[LoggedDecision]) -> None:
    """Append decisions to the log, and publish their promises to all ad servers.

    A view may arrive before its decision. The learner skipped it then, so it is appended again.
    """
    if not decisions:
        return
    rows = list_entries(tx, business_id, decisions)
    promises = [decision.promise for decision in decisions if decision.promise is not None]
    early = log.list_touches_of(tx, business_id, [promise.nonce for promise in promises])
    log.append_entries(tx, business_id, rows + early)
    viewed = {touch.nonce for touch in early}
    save_promises(tx, [promise for promise in promises if promise.nonce not in viewed])


def list_entries(tx: Tx, business_id: str, decisions: Sequence[LoggedDecision]) -> list[log.NewEntry]:
    """List the entries of decisions, after those of ad groups and ads that the log lacks."""
    records = [decision.record for decision in decisions]
    named = {record.lines: record for record in records if record.lines}
    rows = []
    if named:
        since = min(record.ts for record in named.values()) - KEEP_LINES_US
        stored = {line.nonce for line in log.list_lines(tx, business_id, named, since)}
        rows = [
            log.NewEntry(EntryKind.LINES, record.ts, digest, body=_pack(record.added))
            for digest, record in named.items()
            if digest not in stored
        ]
    for decision, record in zip(decisions, records, strict=True):
        rows.append(log.NewEntry(
            EntryKind.DECISION, record.ts, record.nonce, person_id=record.viewer or None,
            body=decision.body or encode_record(record),
        ))  # fmt: skip
    return rows


def write_log(tx: Tx, business_id: str, rows: Sequence[log.NewEntry]) -> None:
    """Append entries of decisions and outcomes in the order of the rows."""
    log.append_entries(tx, business_id, rows)


def encode_record(record: Record) -> bytes:
    """Encode a decision as the body of an entry, without the ad groups and ads that it names."""
    return _pack(msgspec.structs.replace(record, added=[]) if record.lines else record)


def _pack(value: object) -> bytes:
    return zlib.compress(_ENCODER.encode(value), 1)


def read_record(body: bytes) -> Record:
    """Decode the decision of an entry, without the ad groups and ads that it names (`load_added`)."""
    return _DECODER.decode(zlib.decompress(body))


def read_lines(body: bytes) -> list[AdGroupLine | AdLine]:
    """Decode the ad groups and ads of an entry."""
    return _LINES.decode(zlib.decompress(body))


def load_added(tx: Tx, business_id: str, record: Record) -> bool:
    """Add the ad groups and ads that a decision names; return False if the log lacks them."""
    if record.lines:
        lines = log.list_lines(tx, business_id, [record.lines])
        record.added = read_lines(lines[0].body) if lines else []
    return bool(record.added) or not record.lines


_CHANGES: Final = {EntryKind.CONVERSATION: (1, 0), EntryKind.SPAM: (-1, 0), EntryKind.LEAD: (0, 1)}
"""Change of conversations and leads by kind of entry; a conversation that is spam is subtracted."""


_SOURCES: Final = {Origin.CHAT: "chat", Origin.FORM: "form", Origin.MANUAL: "marked"}
_QUALITY: Final = {
    LeadStatus.QUALIFIED: "qualified",
    LeadStatus.CONVERTED: "converted",
    LeadStatus.UNQUALIFIED: "unqualified",
}


@dataclass(frozen=True, slots=True)
class _Outcome:
    """A conversation or lead, with its source or quality."""

    business_id: str
    subject_id: str
    word: str = ""


def learn_conversations(tx: Tx, events: Sequence[ConversationStarted]) -> None:
    """Append conversations that an ad earned."""
    outcomes = [_Outcome(event.business_id, event.conversation_id) for event in events]
    _append(tx, ConversionKind.CONVERSATION, EntryKind.CONVERSATION, outcomes)


def learn_leads(tx: Tx, events: Sequence[LeadCaptured]) -> None:
    """Append leads that an ad earned by the chat, by a form or by hand; skip imported ones."""
    outcomes = [
        _Outcome(event.business_id, event.lead_id, _SOURCES.get(Origin(event.origin), "")) for event in events
    ]
    _append(tx, ConversionKind.LEAD, EntryKind.LEAD, [outcome for outcome in outcomes if outcome.word])


def learn_qualities(tx: Tx, events: Sequence[LeadStatusChanged]) -> None:
    """Append the quality of leads that an ad earned."""
    outcomes = [
        _Outcome(event.business_id, event.lead_id, _QUALITY.get(LeadStatus(event.new), ""))
        for event in events
    ]
    _append(tx, ConversionKind.LEAD, EntryKind.QUALITY, [outcome for outcome in outcomes if outcome.word])


def learn_spam(tx: Tx, event: ConversationMarkedSpam) -> None:
    """Append that a conversation is spam, and subtract it from the counts."""
    outcome = _Outcome(event.business_id, event.conversation_id)
    _append(tx, ConversionKind.CONVERSATION, EntryKind.SPAM, [outcome])


def _append(tx: Tx, conversion: ConversionKind, kind: EntryKind, outcomes: Sequence[_Outcome]) -> None:
    """Append the outcomes that an impression earned, in their order, and count them."""
    for business_id in dict.fromkeys(outcome.business_id for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.business_id == business_id]
        credited = list_credited(tx, business_id, {outcome.subject_id for outcome in own})
        touch_ids = {
            subject_id: credit.touch_id
            for subject_id, credit in credited.items()
            if credit.kind is conversion and credit.touch_id is not None
        }
        if not touch_ids:
            continue
        touches = log.list_entries_of_touches(tx, business_id, set(touch_ids.values()))
        new: list[log.NewEntry] = []
        credits: list[tuple[Attribution, Entry]] = []
        for outcome in own:
            touch = touches.get(touch_ids.get(outcome.subject_id, 0))
            if touch is None or not touch.nonce:
                continue
            credit = credited[outcome.subject_id]
            has_time = kind in (EntryKind.CONVERSATION, EntryKind.LEAD)
            body = msgspec.msgpack.encode(OutcomeBody(outcome.word, credit.ts if has_time else 0))
            new.append(log.NewEntry(kind, micros(tx.now), touch.nonce, touch.ad_id, body=body))
            credits.append((credit, touch))
        if new:
            log.append_entries(tx, business_id, new)
            _count(tx, business_id, kind, credits)


def _count(tx: Tx, business_id: str, kind: EntryKind, credits: Sequence[tuple[Attribution, Entry]]) -> None:
    """Count conversations and leads by day of the touch, in the trial and in placements of operators."""
    if kind not in _CHANGES:
        return
    conversations, leads = _CHANGES[kind]
    nonces = {entry.nonce for _, entry in credits}
    decisions = log.list_decisions_of(tx, business_id, nonces)
    records = {decision.nonce: read_record(decision.body) for decision in decisions}
    placements = {record.placement for record in records.values()} - {""}
    owners = list_owners_of_placements(tx, placements) if placements else {}
    placed_days: list[PlacedDay] = []
    trial_days: list[TrialDay] = []
    for credit, entry in credits:
        record, group_id, day = records.get(entry.nonce), credit.ad_group_id, credit.day
        if record is None or not group_id or not day:
            continue
        counts = (0, 0, 0, conversations, leads)
        if record.trial:
            trial_days.append(TrialDay(business_id, group_id, day, record.trial, *counts))
        if record.placement in owners:
            placed = (owners[record.placement], business_id, record.placement, credit.ad_account_id or "")
            placed_days.append(PlacedDay(*placed, group_id, day, *counts))
    save_trial_days(tx, trial_days)
    count_earned_in_placements(tx, placed_days)


_PLACE_FEATURES: Final = frozenset({f"{OURS}placement", f"{OURS}account"})
"""Features of the place; all others describe the viewer."""


def forget_viewers(tx: Tx, erased: ErasedPeople) -> set[str]:
    """Erase persons from the log: their ids, pseudonyms and features.

    Persons are those who wrote, and their viewer ids at publishers. Views and clicks stay without a person;
    decisions keep prices and ads. Such a decision cannot be replayed, and the learner skips it. The next
    sealing erases the persons from files.

    Returns:
        No contact values, because the log has none.
    """
    business_id = erased.business_id
    persons = set(erased.person_ids)
    for person_id in erased.person_ids:
        persons.update(list_viewers_of(tx, business_id, person_id))
    decisions = log.list_decisions_of(tx, business_id, log.list_nonces_of_persons(tx, business_id, persons))
    pseudonyms = {read_record(decision.body).viewer for decision in decisions} - {NOBODY}
    seqs = {decision.seq for decision in decisions}
    decisions += [
        decision
        for decision in log.list_decisions_for(tx, business_id, pseudonyms)
        if decision.seq not in seqs
    ]
    for decision in decisions:
        body = encode_record(without_viewer(read_record(decision.body)))
        log.record_body(tx, business_id, decision.seq, body)
    log.delete_persons_of_entries(tx, business_id, persons | pseudonyms)
    delete_promise_viewers(tx, business_id, pseudonyms)
    log.append_forgotten(tx, business_id, persons | pseudonyms)
    drop_viewers(tx, business_id, {UUID(viewer).bytes for viewer in pseudonyms})
    return set()


def without_viewer(record: Record) -> Record:
    place = {name: value for name, value in record.features.items() if name in _PLACE_FEATURES}
    return msgspec.structs.replace(record, viewer=NOBODY, features=place, history={}, shown=None)


AT_ONCE: Final = 2_000
_WITH_WORD: Final = (EntryKind.CONVERSATION, EntryKind.LEAD, EntryKind.SPAM, EntryKind.QUALITY)
_SEALING: Final = natural_number("sealing days of decisions")


def decision_sealing_job(folder: Path, age_days: int, keep_days: int) -> MaintenanceJob:
    """Return the job of the decision files: write ended days, erase persons, delete old files."""

    def list_jobs(tx: Tx) -> list[Job]:
        listed = log.list_decision_files(tx)
        jobs: list[Job] = [partial(_adopt, file=file) for file in moved_decisions(listed, folder)]
        if has_new_files(listed):
            jobs.append(_take_new)
        oldest = (tx.now - timedelta(days=keep_days)).date().isoformat()
        jobs += [partial(_drop, file=file) for file in listed if file.day < oldest]
        for business_id in log.list_forgetting_businesses(tx):
            jobs += [partial(_forget, business_id=business_id), _take_new]
        last_day = (tx.now - timedelta(days=age_days)).date()
        for stream in log.list_unsealed_streams(tx):
            unsealed = log.list_entries(tx, stream.business_id, stream.sealed_seq, 1)
            if unsealed and _day_of(unsealed[0]) <= last_day:
                jobs.append(partial(_seal, folder=folder, stream=stream, last_day=last_day))
        return jobs

    return MaintenanceJob(folder, _SEALING, list_jobs)


def _day_of(entry: Entry) -> date:
    return from_micros(entry.arrived_ts or entry.ts).date()


def _adopt(_tx: Tx, file: DecisionFile) -> JobRecord:
    """Record the new place of a moved file; raise OSError if it changed."""
    check_decisions(file)
    return partial(log.record_decision_file, file=file)


def _take_new(tx: Tx) -> None:
    take_new_files(log.list_decision_files(tx))


def _drop(_tx: Tx, file: DecisionFile) -> JobRecord:
    drop_file(file)
    return partial(log.delete_decision_file, file=file)


def _forget(tx: Tx, business_id: str) -> JobRecord:
    """Erase persons from the files of a business; raise OSError if a file is missing or changed."""
    persons = log.list_forgotten(tx, business_id)
    decision_files = forget_in_files(log.list_decision_files_of(tx, business_id), persons)

    def record(tx: Tx) -> None:
        for file in decision_files:
            log.record_decision_file(tx, file)
        log.delete_forgotten(tx, business_id, persons)

    return record


def _seal(tx: Tx, folder: Path, stream: log.Stream, last_day: date) -> JobRecord:
    """Write one file for each ended day, with its entries in the order of arrival."""
    unsealed = log.list_all_entries(tx, stream.business_id, stream.sealed_seq, AT_ONCE)
    files = [
        write_decisions(folder, stream.business_id, day.isoformat(), map(_export, group))
        for day, group in groupby(takewhile(lambda entry: _day_of(entry) <= last_day, unsealed), _day_of)
    ]

    def record(tx: Tx) -> None:
        for file in files:
            log.append_decision_file(tx, file)
        log.record_sealed(tx, stream.business_id, files[-1].last_seq)

    return record


def _export(entry: Entry) -> ExportedEntry:
    """Decode an entry for a file; ad groups and ads keep only their place in the order."""
    if entry.kind is EntryKind.DECISION:
        return ExportedEntry(entry, read_record(entry.body))
    if entry.kind in _WITH_WORD:
        outcome = msgspec.msgpack.decode(entry.body, type=OutcomeBody)
        return ExportedEntry(entry, word=outcome.value, ts=outcome.ts)
    return ExportedEntry(entry)
