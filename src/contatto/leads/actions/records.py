"""Capture, statuses, deletion and history of leads."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from contatto.capture.model import Field
from contatto.kit import errors
from contatto.kit.db.statements import insert_all, insert_new, write_rows
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.i18n import LazyText
from contatto.kit.ids import new_id, new_number
from contatto.kit.outbox import emit, emit_all
from contatto.kit.values import micros
from contatto.leads.model import (
    STATUS_TEXTS,
    Actor,
    ContactPoint,
    Evidence,
    FormEntry,
    HistoryEntry,
    HistoryKind,
    Lead,
    LeadCaptured,
    LeadEdited,
    LeadId,
    LeadRemoved,
    LeadStatus,
    LeadStatusChanged,
    LeadUpdated,
    Origin,
    Signal,
)
from contatto.leads.ports import LeadPorts
from contatto.leads.rules import records as rules
from contatto.leads.store import intake, listing, records
from contatto.leads.store.tables import contact_points, evidence, lead_entries, lead_history, leads
from contatto.measurement import actions as measurement
from contatto.measurement.model import ConversionKind

type Points = dict[tuple[Field, str], ContactPoint]
"""The contact points of a lead by `detail_key`, which is the same for all spellings of a detail."""


class LeadBatch:
    """Leads of one business with their changes; each list is in chronological order.

    Attributes:
        earned: leads that are new, or that began earlier than was known, with the signal.
        events: events about them.
        changed: leads that outside systems receive, once for each change.
        twins: ids of leads that are new or have new contact values, and so may be duplicates.
        touched: ids of leads with another change of their facets.
        fresh: ids of leads that this batch inserted with their final facets.
        uncaptured: ids of leads that this batch inserted, before their first signal is applied.
        evidence: of the contact points.
        steps: lines of the histories.
    """

    def __init__(self, tx: Tx, business_id: str, person_ids: Iterable[str]) -> None:
        self.business_id = business_id
        self.earned: list[tuple[Lead, Signal]] = []
        self.events: list[Any] = []
        self.changed: list[Lead] = []
        self.twins: set[str] = set()
        self.touched: set[str] = set()
        self.fresh: set[str] = set()
        self.uncaptured: set[str] = set()
        self.evidence: list[Evidence] = []
        self.steps: list[HistoryEntry] = []
        self._tx = tx
        self._of_person: dict[str, str] = {}
        self._rows: dict[str, Lead] = {}
        self._leads: dict[str, Lead] = {}
        self._points: dict[str, Points] = {}
        self._new_points: dict[str, ContactPoint] = {}
        self._moved_points: dict[str, ContactPoint] = {}
        self._entries: list[FormEntry] = []
        self._active: set[str] = set()
        self._started: set[str] = set()
        self._read(set(person_ids))

    def _read(self, person_ids: set[str]) -> None:
        """Read the leads of persons, or those that they were merged into."""
        tx, business_id = self._tx, self.business_id
        values = {"of": business_id, "persons": person_ids}
        for lead in intake.LEADS_OF_PERSONS.list(tx, values):
            target = records.find_lead(tx, business_id, lead.merged_into) if lead.merged_into else None
            current = target or lead
            self._leads.setdefault(current.id, current)
            self._of_person[lead.person_id] = current.id

    def find(self, person_id: str) -> Lead | None:
        """Return the lead of a person, or the one that it was merged into."""
        return self._leads.get(self._of_person.get(person_id, ""))

    def insert(self, signals_of_persons: Collection[Sequence[Signal]]) -> None:
        """Insert one lead for each list of a person's signals, the first of which makes the lead.

        Rows already hold the name, activity and facets after all signals; in memory a lead starts with its
        first signal. If another transaction inserted a person's lead first, use that lead.
        """
        tx, rows = self._tx, []
        new: list[tuple[Lead, Lead]] = []  # after its first signal, and after its last one
        for signals in signals_of_persons:
            first = signals[0]
            later = lead = Lead(
                id=LeadId(new_id()),
                number=new_number(),
                business_id=first.business_id,
                person_id=first.person_id,
                channel_account_id=first.channel_account_id,
                conversation_id=first.conversation_id,
                name=rules.better_name("", first),
                status=LeadStatus.RAW,
                origin=first.origin,
                created_at=first.at,
                updated_at=first.at,
                is_test=first.is_test,
            )
            for signal in signals:
                name, updated_at = rules.better_name(later.name, signal), max(signal.at, later.updated_at)
                if (name, updated_at) != (later.name, later.updated_at):
                    later = replace(later, name=name, updated_at=updated_at)
            makers = [signal for signal in signals[1:] if rules.makes_lead(signal)]
            rows.append(intake.lead_row(tx.vault, later) | {"facets": rules.facets_of_new([first, *makers])})
            new.append((lead, later))
        if insert_new(tx, leads, rows) < len(new):
            self._read({lead.person_id for lead, _ in new})
        for lead, later in new:
            if self._of_person.setdefault(lead.person_id, lead.id) == lead.id:
                self._rows[lead.id] = later
                self._leads[lead.id] = lead
                self._points[lead.id] = {}
                self.uncaptured.add(lead.id)
                self.fresh.add(lead.id)

    def points_of(self, lead: Lead) -> Points:
        """Return the contact points of a lead; the first call reads those of all leads here."""
        if lead.id not in self._points:
            unread = self._leads.keys() - self._points.keys()
            for lead_id, some in listing.list_contact_points(self._tx, self.business_id, unread).items():
                points = {rules.detail_key(point.field, point.value): point for point in reversed(some)}
                self._points[lead_id] = points
        return self._points[lead.id]

    def add_signal(self, lead: Lead, signal: Signal) -> tuple[str, ...]:
        """Add new contact details, evidence for each detail, and the form; return the fields of new ones.

        `insert` omits the facets of a signal that makes no lead, so these facets are computed again.
        """
        fields: list[str] = []
        for match in signal.contacts:
            key = rules.detail_key(match.field, match.value)
            point = self.points_of(lead).get(key)
            if point is None:
                point = ContactPoint(new_id(), lead.id, match.field, match.value, signal.origin, signal.at)
                self._new_points[point.id] = self._points[lead.id][key] = point
                fields.append(match.field.value)
            elif signal.at < point.created_at:  # an earlier message came in later
                point = replace(point, created_at=signal.at)
                self._points[lead.id][key] = point
                (self._new_points if point.id in self._new_points else self._moved_points)[point.id] = point
            self.evidence.append(
                Evidence(
                    id=new_id(),
                    business_id=signal.business_id,
                    lead_id=point.lead_id,
                    contact_point_id=point.id,
                    origin=signal.origin,
                    source_id=signal.source_id,
                    start=match.start,
                    end=match.end,
                    raw=match.raw,
                    rule=match.rule,
                    confidence=match.confidence,
                    at=signal.at,
                )
            )
        if signal.form is not None:  # a saved entry stays with its lead
            if not rules.makes_lead(signal):
                self.fresh.discard(lead.id)
            self._entries.append(FormEntry(signal.source_id, lead.id, *signal.form, at=signal.at))
        return tuple(dict.fromkeys(fields))

    def put(self, lead: Lead) -> Lead:
        """Replace a lead in memory alone, and return it."""
        self._leads[lead.id] = lead
        return lead

    def move(self, lead: Lead, **values: Any) -> Lead:
        """Change the name, last activity or beginning of a lead."""
        (self._started if "created_at" in values else self._active).add(lead.id)
        return self.put(replace(lead, **values))

    def write(self) -> None:
        """Write the rows of all changes, then the conversions, events and deliveries that follow."""
        tx, business_id = self._tx, self.business_id
        new = self._new_points.values()
        insert_new(tx, contact_points, [intake.point_row(tx.vault, business_id, point) for point in new])
        moved_points = [
            {"of_business": business_id, "of_id": point.id, "moment": point.created_at}
            for point in self._moved_points.values()
        ]
        write_rows(tx, intake.SET_START[contact_points], moved_points)
        insert_new(tx, evidence, [intake.evidence_row(tx.vault, item) for item in self.evidence])
        insert_all(tx, lead_history, [intake.history_row(tx.vault, business_id, step) for step in self.steps])
        entries = [row_of(entry) | {"business_id": business_id} for entry in self._entries]
        if insert_new(tx, lead_entries, entries) < len(entries):
            self.fresh -= {entry.lead_id for entry in self._entries}  # an entry belongs to another lead
        stale = list[dict[str, Any]]()  # names and last activities that are outdated in a row
        for lead_id in sorted(self._active):
            row, lead = self._rows.get(lead_id), self._leads[lead_id]
            if row is None or (row.name, row.updated_at) != (lead.name, lead.updated_at):
                stale.append({
                    "of_business": business_id,
                    "of_id": lead.id,
                    "now_name": tx.seal(lead.name, business_id, "leads.name", lead.id),
                    "now_key": rules.name_key(lead.name),
                    "moment": lead.updated_at,
                })  # fmt: skip
        write_rows(tx, intake.SET_ACTIVITY, stale)
        started = [
            {"of_business": business_id, "of_id": lead_id, "moment": self._leads[lead_id].created_at}
            for lead_id in sorted(self._started)
        ]
        write_rows(tx, intake.SET_START[leads], started)
        if self.twins:
            twins, unsure, unmarked = intake.list_shared(tx, business_id, self.twins)
            fresh = [{"of": business_id, "of_lead": lead_id} for lead_id in sorted(twins & self.fresh)]
            write_rows(tx, intake.MARK_TWIN, fresh)
            intake.record_facets(tx, business_id, self.twins - self.fresh - unsure, twins)
            intake.record_facets(tx, business_id, unsure | unmarked)
        intake.record_facets(tx, business_id, self.touched - self.twins - self.fresh)
        conversions = [
            measurement.NewConversion(
                business_id, lead.person_id, ConversionKind.LEAD, lead.id, micros(signal.at)
            )
            for lead, signal in self.earned
        ]
        measurement.record_conversions(tx, conversions)
        emit_all(tx, [(business_id, event) for event in self.events])
        note_changes(tx, business_id, self.changed)


def refresh_with_twins(
    tx: Tx, business_id: str, lead_ids: Collection[str], before: Collection[str] = ()
) -> None:
    """Refresh the facets of leads and of those that share a contact value, or shared one ``before``."""
    ids = set(lead_ids) | set(before)
    intake.record_facets(tx, business_id, ids | intake.list_sharing_leads(tx, business_id, ids))


def upsert_leads(tx: Tx, signals: Sequence[Signal]) -> list[Lead | None]:
    """Create or update the one lead of each person (R23), by signals in their order.

    A known detail adds only evidence. A name alone makes no lead, but names an existing one. A new lead is a
    conversion, credited at once, unless it is imported or a test.

    Returns:
        For each signal the lead after it, or None without one.
    """
    leads_by_place: dict[int, Lead | None] = {}
    for business_id in dict.fromkeys(signal.business_id for signal in signals):
        own_signals = {
            place: signal for place, signal in enumerate(signals) if signal.business_id == business_id
        }
        batch = LeadBatch(tx, business_id, {signal.person_id for signal in own_signals.values()})

        # Insert the leads that signals make, each from the first signal of its person that makes one.
        signals_by_person: dict[str, list[Signal]] = defaultdict(list)
        for signal in own_signals.values():
            begins = signal.person_id in signals_by_person or rules.makes_lead(signal)
            if begins and batch.find(signal.person_id) is None:
                signals_by_person[signal.person_id].append(signal)
        if signals_by_person:
            batch.insert(signals_by_person.values())

        leads_by_place |= {place: _upsert(tx, batch, signal) for place, signal in own_signals.items()}
        batch.write()
    return [leads_by_place[place] for place in range(len(signals))]


def _upsert(tx: Tx, batch: LeadBatch, signal: Signal) -> Lead | None:
    lead = batch.find(signal.person_id)
    if lead is None or lead.id in batch.uncaptured:
        return _capture_lead(tx, batch, lead, signal) if lead and rules.makes_lead(signal) else None
    if lead.hidden_at is not None and signal.contacts:
        lead = batch.put(restore_lead(tx, lead, signal.actor))
    fields = batch.add_signal(lead, signal)
    if fields:
        batch.twins.add(lead.id)
    elif signal.form or (
        signal.contacts and not any(point.origin is signal.origin for point in batch.points_of(lead).values())
    ):
        batch.touched.add(lead.id)
    name, is_renamed = rules.better_name(lead.name, signal), False
    if name != lead.name or signal.at > lead.updated_at:
        is_renamed = name != lead.name
        lead = batch.move(lead, name=name, updated_at=max(signal.at, lead.updated_at))
    if signal.contacts and signal.at < lead.created_at and signal.person_id == lead.person_id:
        lead = batch.move(lead, created_at=signal.at)
        batch.earned.append((lead, signal))
    if fields:
        step = HistoryEntry(new_id(), lead.id, HistoryKind.UPDATED, ", ".join(fields), signal.actor, tx.now)
        batch.steps.append(step)
        business_id, origin = lead.business_id, signal.origin.value
        batch.events.append(
            LeadUpdated(business_id, lead.id, signal.conversation_id, origin, fields, signal.at)
        )
    if fields or signal.form or is_renamed:
        batch.changed.append(lead)
    return lead


def mark_as_lead(tx: Tx, signal: Signal) -> Lead:
    """Create a lead even without a contact detail (R39); restore a deleted one, and keep any other."""
    batch = LeadBatch(tx, signal.business_id, {signal.person_id})
    if batch.find(signal.person_id) is None:
        batch.insert([[signal]])
    lead = check_found(batch.find(signal.person_id))
    if lead.id in batch.uncaptured:
        lead = _capture_lead(tx, batch, lead, signal)
        batch.write()
    elif lead.hidden_at is not None:
        return restore_lead(tx, lead, signal.actor)
    return lead


def restore_lead(tx: Tx, lead: Lead, actor: str) -> Lead:
    """Put a deleted lead back into the lists, and publish it to outside systems."""
    tx.change(leads, lead.business_id, lead.id, hidden_at=None, merged_into=None)
    refresh_with_twins(tx, lead.business_id, {lead.id})
    note_step(tx, lead.business_id, lead.id, HistoryKind.RESTORED, "", actor)
    emit(tx, lead.business_id, LeadEdited(lead.business_id, lead.id, "restored"))
    note_changes(tx, lead.business_id, [lead])
    return replace(lead, hidden_at=None)


def delete_lead(tx: Tx, lead: Lead, actor: str) -> Lead:
    """Hide a lead from all lists. Its rows and its conversion stay: it can be restored."""
    tx.change(leads, lead.business_id, lead.id, hidden_at=tx.now, merged_into=None)
    refresh_with_twins(tx, lead.business_id, {lead.id})
    note_step(tx, lead.business_id, lead.id, HistoryKind.DELETED, "", actor)
    emit(tx, lead.business_id, LeadEdited(lead.business_id, lead.id, "deleted"))
    return replace(lead, hidden_at=tx.now)


def remove_test_lead(tx: Tx, lead: Lead) -> None:
    """Delete a test lead with all its rows. Raises Refused: NOT_FOUND for any other lead."""
    if not lead.is_test:
        raise Refused(errors.NOT_FOUND, "lead_id: this is not a test lead.")
    records.delete_lead(tx, lead.business_id, lead.id)
    emit(tx, lead.business_id, LeadRemoved(lead.business_id, lead.id, lead.conversation_id))


def note_export(tx: Tx, actor: Actor, lead_ids: Collection[str]) -> None:
    """Record in the history of leads that a member exported them."""
    for lead in listing.list_leads_by_id(tx, actor.business_id, set(lead_ids)).values():
        if lead.hidden_at is None:
            note_step(tx, lead.business_id, lead.id, HistoryKind.EXPORTED, "", actor.name)


def note_changes(tx: Tx, business_id: str, changed: Iterable[Lead]) -> None:
    """Queue changes for outside systems in this transaction, except for test leads."""
    tx.ports[LeadPorts].lead_changed(tx, business_id, *[lead.id for lead in changed if not lead.is_test])


def _capture_lead(tx: Tx, batch: LeadBatch, lead: Lead, signal: Signal) -> Lead:
    batch.uncaptured.discard(lead.id)
    fields = batch.add_signal(lead, signal)
    batch.twins.add(lead.id)
    what = HistoryKind.CAPTURED if fields else HistoryKind.MARKED
    batch.steps.append(HistoryEntry(new_id(), lead.id, what, ", ".join(fields), signal.actor, tx.now))
    # no ad can have earned a lead from a file, or a test lead
    if signal.origin is not Origin.IMPORT and not signal.is_test:
        batch.earned.append((lead, signal))
    business_id, origin = lead.business_id, signal.origin.value
    batch.events.append(LeadCaptured(business_id, lead.id, lead.conversation_id, origin, fields, signal.at))
    batch.changed.append(lead)
    return lead


def note_step(tx: Tx, business_id: str, lead_id: str, what: HistoryKind, detail: str, actor: str) -> None:
    """Append a line to the history of a lead."""
    step = HistoryEntry(new_id(), LeadId(lead_id), what, detail, actor, tx.now)
    tx.insert(lead_history, intake.history_row(tx.vault, business_id, step))


_REPORTED_KINDS: Final = frozenset(
    {
        HistoryKind.OWNER,
        HistoryKind.LABELLED,
        HistoryKind.UNLABELLED,
        HistoryKind.CONTACT_ADDED,
        HistoryKind.CONTACT_CHANGED,
        HistoryKind.CONTACT_MAIN,
        HistoryKind.CONTACT_WRONG,
        HistoryKind.CONTACT_RIGHT,
    }
)
"""Changes that outside systems receive; notes and tasks stay with us."""


def note_edit(tx: Tx, actor: Actor, lead_id: str, what: HistoryKind, detail: str) -> None:
    """Record a change in the lead's history, and publish it."""
    note_step(tx, actor.business_id, lead_id, what, detail, actor.name)
    emit(tx, actor.business_id, LeadEdited(actor.business_id, lead_id, what))
    if what in _REPORTED_KINDS:
        tx.ports[LeadPorts].lead_changed(tx, actor.business_id, lead_id)


def change_lead_status(
    tx: Tx, business_id: str, lead_id: str, seen_status: LeadStatus, new: LeadStatus, actor: str
) -> Lead:
    """Move a lead to another status; ``seen_status`` is the status that the member saw.

    A lead that already has the new status stays unchanged.

    Raises Refused: NOT_FOUND; CONFLICT if the move is not allowed, or the lead no longer has ``seen_status``.
    """
    lead = load_listed_lead(tx, business_id, lead_id)
    if lead.status is new:
        return lead
    rules.check_seen(lead.status, seen_status)
    if new not in rules.MOVES[lead.status]:
        raise Refused(
            errors.CONFLICT,
            "A lead cannot change from %(old)s to %(new)s.",
            old=LazyText(STATUS_TEXTS[lead.status]),
            new=LazyText(STATUS_TEXTS[new]),
        )
    move_lead(tx, lead, new, actor)
    return records.find_lead(tx, business_id, lead_id) or lead


def move_lead(
    tx: Tx, lead: Lead, new: LeadStatus, actor: str, what: HistoryKind = HistoryKind.STATUS
) -> None:
    """Give a lead another status; STATUS_UNDONE may also lead to raw. Raises Refused: CONFLICT."""
    values = {"status": new, "updated_at": max(tx.now, lead.updated_at)}
    if not tx.change(leads, lead.business_id, lead.id, leads.c.status == lead.status, **values):
        raise Refused(errors.CONFLICT)
    note_step(tx, lead.business_id, lead.id, what, f"{lead.status.value}{rules.ARROW}{new.value}", actor)
    emit(tx, lead.business_id, LeadStatusChanged(lead.business_id, lead.id, lead.status.value, new.value))
    note_changes(tx, lead.business_id, [lead])


def undo_lead_status(tx: Tx, business_id: str, lead_id: str, seen_status: LeadStatus, actor: str) -> None:
    """Undo the change that gave a lead its seen status. Raises Refused: NOT_FOUND; CONFLICT."""
    lead = load_listed_lead(tx, business_id, lead_id)
    rules.check_seen(lead.status, seen_status)
    step = rules.status_step_to_undo(records.list_history(tx, business_id, lead_id), lead.status, tx.now)
    if step is None:
        raise Refused(errors.CONFLICT, "This change can no longer be undone. Choose a status instead.")
    old = LeadStatus(step.detail.partition(rules.ARROW)[0])
    move_lead(tx, lead, old, actor, HistoryKind.STATUS_UNDONE)


def load_listed_lead(tx: Tx, business_id: str, lead_id: str) -> Lead:
    """Lock and return a lead that is neither deleted nor merged. Raises Refused: NOT_FOUND."""
    lead = records.list_leads_to_change(tx, business_id, [lead_id]).get(lead_id)
    if lead is None or lead.hidden_at is not None:
        raise Refused(errors.NOT_FOUND, "Lead not found.")
    return lead
