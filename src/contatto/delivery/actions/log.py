"""The log of delivery: decisions and outcomes written down, sealed by day, and forgotten for people."""

import asyncio
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from contatto.audiences.actions import drop_viewers
from contatto.delivery.actions.budgets import keep_promises
from contatto.delivery.engines import (
    Logged,
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
from contatto.delivery.store import log as entries
from contatto.delivery.store.ledger import record_nobody_promised, save_trial_days
from contatto.inbox.model import ConversationMarkedSpam, ConversationStarted
from contatto.kit.background import Job, MaintenanceJob
from contatto.kit.background import Record as JobRecord
from contatto.kit.db.tx import Tx
from contatto.kit.timestamps import from_micros, micros
from contatto.leads.model import ErasedPeople, LeadCaptured, LeadStatus, LeadStatusChanged, Origin
from contatto.learning.lines import AdGroupLine, AdLine
from contatto.learning.model import NOBODY, Entry, EntryKind, OutcomeBody, Record
from contatto.measurement.index import list_credited
from contatto.measurement.model import Attribution, ConversionKind
from contatto.measurement.rules import natural_number
from contatto.measurement.store import list_viewers_of
from contatto.operators.actions import count_earned_in_placements
from contatto.operators.model import PlacedDay
from contatto.operators.store import list_owners_of_placements

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Record)
_LINES: Final = msgspec.msgpack.Decoder(list[AdGroupLine | AdLine])
KEEP_LINES_US: Final = 86_400_000_000
"""Ad groups and ads that were written down longer ago are written down anew for who names them: when old
entries go, they go a day before such a decision at the earliest."""


@dataclass(slots=True)
class Noted:
    """A decision, and the place in the budget that is kept for its view; ``body`` when it is packed."""

    record: Record
    promise: Promise | None
    body: bytes = b""


class Packer:
    """Packs decisions when the event loop has no answer to give, one a turn.

    Were all of them packed by the thread that writes them, both threads would take the interpreter from each
    other for as long as that lasts, and the answers of that time would wait several times.
    """

    def __init__(self) -> None:
        self._unpacked: deque[Noted] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        """The loop that will take the next one, if there is any."""

    def add(self, noted: Noted) -> None:
        """Have a decision packed soon; whoever writes it down before that packs it."""
        self._unpacked.append(noted)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            loop.call_soon(self._pack_one)

    def _pack_one(self) -> None:
        try:
            while self._unpacked:
                noted = self._unpacked.popleft()
                if not noted.body:
                    noted.body = encode_record(noted.record)
                    break
        finally:
            if self._unpacked and self._loop is not None:
                self._loop.call_soon(self._pack_one)
            else:
                self._loop = None


def log_decisions(tx: Tx, business_id: str, made: Sequence[Noted]) -> None:
    """Append decisions to the log, and tell all processes what they promise.

    A viewer may be quicker than this: then the view is there already. It taught nothing, as nobody knew of
    what, so it is said again behind its decision.
    """
    if not made:
        return
    rows = list_entries(tx, business_id, made)
    promised = [noted.promise for noted in made if noted.promise is not None]
    early = entries.list_touches_of(tx, business_id, [each.nonce for each in promised])
    entries.append_entries(tx, business_id, rows + early)
    seen = {each.nonce for each in early}
    keep_promises(tx, [each for each in promised if each.nonce not in seen])


def list_entries(tx: Tx, business_id: str, decisions: Sequence[Noted]) -> list[entries.NewEntry]:
    """List the entries of decisions, behind those of the ad groups and ads that the log lacks."""
    return _new_lines(tx, business_id, decisions) + [_entry(decision) for decision in decisions]


def write_log(tx: Tx, business_id: str, rows: Sequence[entries.NewEntry]) -> None:
    """Append entries of decisions, and of what followed them, in the order of the rows."""
    entries.append_entries(tx, business_id, rows)


def _new_lines(tx: Tx, business_id: str, made: Sequence[Noted]) -> list[entries.NewEntry]:
    """Ad groups and ads that these decisions name and the log does not have, or has had for long."""
    named = {noted.record.lines: noted.record for noted in made if noted.record.lines}
    if not named:
        return []
    since = min(record.ts for record in named.values()) - KEEP_LINES_US
    known = {line.nonce for line in entries.list_lines(tx, business_id, named, since)}
    return [
        entries.NewEntry(EntryKind.LINES, record.ts, digest, body=_pack(record.added))
        for digest, record in named.items()
        if digest not in known
    ]


def _entry(noted: Noted) -> entries.NewEntry:
    record = noted.record
    return entries.NewEntry(
        EntryKind.DECISION, record.ts, record.nonce, person_id=record.viewer or None,
        body=noted.body or encode_record(record),
    )  # fmt: skip


def encode_record(record: Record) -> bytes:
    """A decision as the body of an entry of the log, without the ad groups and ads that it names."""
    return _pack(msgspec.structs.replace(record, added=[]) if record.lines else record)


def _pack(value: object) -> bytes:
    return zlib.compress(_ENCODER.encode(value), 1)


def read_record(body: bytes) -> Record:
    """The decision of an entry of the log; ad groups and ads that it names stay out (`load_added`)."""
    return _DECODER.decode(zlib.decompress(body))


def read_lines(body: bytes) -> list[AdGroupLine | AdLine]:
    """The ad groups and ads of an entry of the log."""
    return _LINES.decode(zlib.decompress(body))


def load_added(tx: Tx, business_id: str, record: Record) -> bool:
    """Give a decision of the log the ad groups and ads that it names; False if they are no longer kept."""
    if record.lines:
        lines = entries.list_lines(tx, business_id, [record.lines])
        record.added = read_lines(lines[0].body) if lines else []
    return bool(record.added) or not record.lines


_CHANGES: Final = {
    EntryKind.CONVERSATION: (1, 0),
    EntryKind.SPAM: (-1, 0),
    EntryKind.LEAD: (0, 1),
}
"""What counts as how many conversations and leads; a chat that is spam never counted."""


@dataclass(frozen=True, slots=True)
class EarnedByDecision:
    """A conversation or a lead more, or less, on the day of the touch that earned it, with its decision."""

    business_id: str
    ad_account_id: str
    ad_group_id: str
    day: str
    decision: Record
    conversations: int
    leads: int

    def on[D: (TrialDay, PlacedDay)](self, had: D) -> D:
        """What was counted on a day, with this."""
        return replace(
            had, conversations=had.conversations + self.conversations, leads=had.leads + self.leads
        )


def list_earned(
    tx: Tx, business_id: str, kind: EntryKind, credits: Sequence[tuple[Attribution, Entry]]
) -> list[EarnedByDecision]:
    """What some impressions earned, as far as the log still has their decisions."""
    if kind not in _CHANGES:
        return []
    decisions = entries.list_decisions_of(tx, business_id, {entry.nonce for _, entry in credits})
    records = {decision.nonce: read_record(decision.body) for decision in decisions}
    return [
        EarnedByDecision(
            business_id, credit.ad_account_id or "", credit.ad_group_id, credit.day, records[entry.nonce],
            *_CHANGES[kind],
        )
        for credit, entry in credits
        if credit.ad_group_id and credit.day and entry.nonce in records
    ]  # fmt: skip


def count_in_placements(tx: Tx, earned: Sequence[EarnedByDecision]) -> None:
    """Count conversations and leads by the placements of operators in which they were earned."""
    named = {each.decision.placement for each in earned} - {""}
    owners = list_owners_of_placements(tx, named) if named else {}
    days: dict[tuple[str, str, str], PlacedDay] = {}
    for each in earned:
        placement = each.decision.placement
        if placement in owners:
            place = (placement, each.ad_group_id, each.day)
            bare = PlacedDay(
                owners[placement], each.business_id, placement, each.ad_account_id, each.ad_group_id,
                each.day, 0, 0, 0,
            )  # fmt: skip
            days[place] = each.on(days.get(place) or bare)
    count_earned_in_placements(tx, [days[place] for place in sorted(days)])


_SOURCES: Final = {Origin.CHAT: "chat", Origin.FORM: "form", Origin.MANUAL: "marked"}
_QUALITY: Final = {
    LeadStatus.QUALIFIED: "qualified",
    LeadStatus.CONVERTED: "converted",
    LeadStatus.UNQUALIFIED: "unqualified",
}


def learn_conversations(tx: Tx, events: Sequence[ConversationStarted]) -> None:
    """Conversations began: delivery learns those that an ad earned."""
    found = [_Said(event.business_id, event.conversation_id) for event in events]
    _append(tx, ConversionKind.CONVERSATION, EntryKind.CONVERSATION, found)


def learn_leads(tx: Tx, events: Sequence[LeadCaptured]) -> None:
    """Persons became leads, by the chat, by a form or by hand; imported ones are nobody's."""
    found = [
        _Said(event.business_id, event.lead_id, _SOURCES.get(Origin(event.origin), "")) for event in events
    ]
    _append(tx, ConversionKind.LEAD, EntryKind.LEAD, [each for each in found if each.said])


def learn_qualities(tx: Tx, events: Sequence[LeadStatusChanged]) -> None:
    """The business found what leads are worth."""
    found = [
        _Said(event.business_id, event.lead_id, _QUALITY.get(LeadStatus(event.new), "")) for event in events
    ]
    _append(tx, ConversionKind.LEAD, EntryKind.QUALITY, [each for each in found if each.said])


def learn_spam(tx: Tx, event: ConversationMarkedSpam) -> None:
    """Somebody marked a conversation as spam: what it counted as is taken back."""
    found = _Said(event.business_id, event.conversation_id)
    _append(tx, ConversionKind.CONVERSATION, EntryKind.SPAM, [found])


@dataclass(frozen=True, slots=True)
class _Said:
    """What became of a conversation or a lead."""

    business_id: str
    subject_id: str
    said: str = ""


def _append(tx: Tx, of: ConversionKind, kind: EntryKind, some: Sequence[_Said]) -> None:
    """Append those that an impression of ours earned, in their order."""
    for business_id in dict.fromkeys(each.business_id for each in some):
        mine = [each for each in some if each.business_id == business_id]
        credited = list_credited(tx, business_id, {each.subject_id for each in mine})
        earned = {
            subject_id: credit.touch_id
            for subject_id, credit in credited.items()
            if credit.kind is of and credit.touch_id is not None
        }
        if earned:
            touched = entries.list_entries_of_touches(tx, business_id, set(earned.values()))
            said = [(each, touched.get(earned.get(each.subject_id, 0))) for each in mine]
            made = [
                _outcome_entry(tx, kind, each.said, entry, credited[each.subject_id].ts)
                for each, entry in said
                if entry and entry.nonce
            ]
            if made:
                entries.append_entries(tx, business_id, made)
                credits = [
                    (credited[each.subject_id], entry) for each, entry in said if entry and entry.nonce
                ]
                counted = list_earned(tx, business_id, kind, credits)
                count_in_trial(tx, counted)
                count_in_placements(tx, counted)


def _outcome_entry(tx: Tx, kind: EntryKind, said: str, touched: Entry, converted_ts: int) -> entries.NewEntry:
    happened = converted_ts if kind in (EntryKind.CONVERSATION, EntryKind.LEAD) else 0
    body = msgspec.msgpack.encode(OutcomeBody(said, happened))
    return entries.NewEntry(kind, micros(tx.now), touched.nonce, touched.ad_id, body=body)


_OF_THE_PLACE: Final = frozenset({f"{OURS}placement", f"{OURS}account"})
"""Features that say where an ad stands; all others are of the viewer."""


def forget_viewers(tx: Tx, gone: ErasedPeople) -> set[str]:
    """Take persons out of the log: their ids, whom they were remembered as, and what was known of them.

    Persons are those who wrote, and the viewers of publishers that their taps showed them to be. Views and
    taps stay as entries of nobody; their decisions keep what they cost and which ads took part. Such a
    decision cannot be made again, and where it was not learned yet it teaches nothing. Files of decisions
    forget them with the next sealing.

    Returns:
        No contact values: the log holds none.
    """
    business_id = gone.business_id
    persons = set(gone.person_ids)
    for person_id in gone.person_ids:
        persons.update(list_viewers_of(tx, business_id, person_id))
    decisions = entries.list_decisions_of(
        tx, business_id, entries.list_nonces_of_persons(tx, business_id, persons)
    )
    known_as = {read_record(each.body).viewer for each in decisions} - {NOBODY}
    seen = {each.seq for each in decisions}
    decisions += [
        each for each in entries.list_decisions_for(tx, business_id, known_as) if each.seq not in seen
    ]
    for decision in decisions:
        body = encode_record(without_viewer(read_record(decision.body)))
        entries.record_body(tx, business_id, decision.seq, body)
    entries.record_nobody(tx, business_id, persons | known_as)
    record_nobody_promised(tx, business_id, known_as)
    log.append_forgotten(tx, business_id, persons | known_as)
    drop_viewers(tx, business_id, {UUID(viewer).bytes for viewer in known_as})
    return set()


def without_viewer(record: Record) -> Record:
    """A decision without the viewer whom it was for."""
    place = {name: value for name, value in record.features.items() if name in _OF_THE_PLACE}
    return msgspec.structs.replace(record, viewer=NOBODY, features=place, history={}, shown=None)


AT_ONCE: Final = 2_000
_SAID: Final = (EntryKind.CONVERSATION, EntryKind.LEAD, EntryKind.SPAM, EntryKind.QUALITY)
_SEALING: Final = natural_number("sealing days of decisions")


def decision_sealing_job(folder: Path, age_days: int, keep_days: int) -> MaintenanceJob:
    """What files of decisions need: days that are over are written, who was erased and what is old goes."""

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
        jobs += [
            partial(_seal, folder=folder, stream=stream, last_day=last_day)
            for stream in log.list_unsealed_streams(tx)
            if _day_of_next(tx, stream) <= last_day
        ]
        return jobs

    return MaintenanceJob(folder, _SEALING, list_jobs)


def _day_of_next(tx: Tx, stream: log.Stream) -> date:
    entries = log.list_entries(tx, stream.business_id, stream.sealed_seq, 1)
    return _day_of(entries[0]) if entries else date.max


def _day_of(entry: Entry) -> date:
    return from_micros(entry.arrived_ts or entry.ts).date()


def _seal(tx: Tx, folder: Path, stream: log.Stream, last_day: date) -> JobRecord:
    """Write the entries of days that are over, in the order in which they came: a file for each day."""
    made = [
        write_decisions(folder, stream.business_id, day.isoformat(), some)
        for day, some in groupby(
            _list_logged(tx, stream.business_id, stream.sealed_seq, last_day),
            lambda each: _day_of(each.entry),
        )
    ]

    def record(tx: Tx) -> None:
        for file in made:
            log.append_decision_file(tx, file)
        log.record_sealed(tx, stream.business_id, made[-1].last_seq)

    return record


def _list_logged(tx: Tx, business_id: str, after_seq: int, last_day: date) -> Iterator[Logged]:
    for entry in log.list_all_entries(tx, business_id, after_seq, AT_ONCE):
        if _day_of(entry) > last_day:
            return
        yield _opened(entry)


def _opened(entry: Entry) -> Logged:
    """Entries of ad groups and ads stay what they are: a place in the order."""
    if entry.kind is EntryKind.DECISION:
        return Logged(entry, read_record(entry.body))
    if entry.kind in _SAID:
        said = msgspec.msgpack.decode(entry.body, type=OutcomeBody)
        return Logged(entry, said=said.value, ts=said.ts)
    return Logged(entry)


def _adopt(_tx: Tx, file: DecisionFile) -> JobRecord:
    """Take a file where it is found now.

    Raises:
        OSError: it is not the file that was written.
    """
    check_decisions(file)
    return partial(log.record_decision_file, file=file)


def _forget(tx: Tx, business_id: str) -> JobRecord:
    """Let the files of a business forget those who were erased.

    Raises:
        OSError: a file is gone or changed, or the disk fails.
    """
    persons = log.list_forgotten(tx, business_id)
    decision_files = forget_in_files(log.list_decision_files_of(tx, business_id), persons)

    def record(tx: Tx) -> None:
        for file in decision_files:
            log.record_decision_file(tx, file)
        log.delete_forgotten(tx, business_id, persons)

    return record


def _take_new(tx: Tx) -> None:
    take_new_files(log.list_decision_files(tx))


def _drop(_tx: Tx, file: DecisionFile) -> JobRecord:
    drop_file(file)
    return partial(log.delete_decision_file, file=file)


def count_in_trial(tx: Tx, earned: Sequence[EarnedByDecision]) -> None:
    """Count conversations and leads that an impression of the trial earned, on the day of its touch."""
    days: dict[tuple[str, str, int], TrialDay] = {}
    for each in earned:
        if each.decision.trial:
            place = (each.ad_group_id, each.day, each.decision.trial)
            days[place] = each.on(days.get(place) or TrialDay(each.business_id, *place))
    save_trial_days(tx, [days[place] for place in sorted(days)])
