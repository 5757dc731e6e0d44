"""Making one lead of what a person shares, marking leads by hand, moving them through the statuses."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from contatto.capture.model import ContactMatch
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id, new_number
from contatto.kit.outbox import emit, emit_all
from contatto.kit.timestamps import micros
from contatto.leads.actions.facets import refresh_after, refresh_with_twins
from contatto.leads.index import FreshLead, LeadBatch
from contatto.leads.model.annotations import Actor
from contatto.leads.model.events import (
    LeadCaptured,
    LeadEdited,
    LeadRemoved,
    LeadUpdated,
)
from contatto.leads.model.leads import (
    ContactPoint,
    Evidence,
    HistoryEntry,
    HistoryKind,
    Lead,
    LeadId,
    LeadStatus,
    Origin,
    Signal,
)
from contatto.leads.ports import LeadPorts
from contatto.leads.rules import records as rules
from contatto.leads.rules.facets import facets_of_new
from contatto.leads.store import records as store
from contatto.leads.store.entries import FormEntry
from contatto.measurement import actions as measurement
from contatto.measurement.model import ConversionKind


def upsert_lead(tx: Tx, signal: Signal) -> Lead | None:
    """Make the person's one lead, or add to it (R23).

    The same detail again changes nothing but its evidence; a name alone makes no lead, but names one that is
    there. A new lead is a conversion of kind lead, credited at once.

    Returns:
        The lead as it is now, or None when the signal makes none.
    """
    return upsert_leads(tx, [signal])[0]


def upsert_leads(tx: Tx, signals: Sequence[Signal]) -> list[Lead | None]:
    """The same for many signals, in their order."""
    made: dict[int, Lead | None] = {}
    for business_id in dict.fromkeys(signal.business_id for signal in signals):
        mine = {place: each for place, each in enumerate(signals) if each.business_id == business_id}
        batch = LeadBatch(tx, business_id, {each.person_id for each in mine.values()})
        _insert_leads(batch, mine.values())
        made |= {place: _upsert(tx, batch, each) for place, each in mine.items()}
        _write(tx, batch)
    return [made[place] for place in range(len(signals))]


def _upsert(tx: Tx, batch: LeadBatch, signal: Signal) -> Lead | None:
    lead = batch.find(signal.person_id)
    if lead is None or batch.is_uncaptured(lead):
        return _capture_lead(tx, batch, lead, signal) if lead and rules.makes_lead(signal) else None
    if lead.hidden_at is not None and signal.contacts:
        lead = batch.put(restore_lead(tx, lead, signal.actor))
    return _add_to_lead(tx, batch, lead, signal)


def mark_as_lead(tx: Tx, signal: Signal) -> Lead:
    """Make a lead by a person's word (R39); where there is one already it stays as it is."""
    batch = LeadBatch(tx, signal.business_id, {signal.person_id})
    if batch.find(signal.person_id) is None:
        batch.insert([_fresh_lead([signal])])
    lead = batch.find(signal.person_id) or _new_lead(signal)
    if batch.is_uncaptured(lead):
        lead = _capture_lead(tx, batch, lead, signal)
        _write(tx, batch)
    elif lead.hidden_at is not None:
        return restore_lead(tx, lead, signal.actor)
    return lead


def restore_lead(tx: Tx, lead: Lead, actor: str) -> Lead:
    """Put a deleted lead back into the lists: somebody wants it, or the person has shared details again."""
    store.record_hidden(tx, lead, None)
    refresh_with_twins(tx, lead.business_id, {lead.id})
    _note_step(tx, lead, HistoryKind.RESTORED, "", actor)
    emit(tx, lead.business_id, LeadEdited(lead.business_id, lead.id, "restored"))
    _note_changes(tx, lead.business_id, [lead])
    return replace(lead, hidden_at=None)


def delete_lead(tx: Tx, lead: Lead, actor: str) -> Lead:
    """Take a lead out of all lists. Its rows and what it earned stay: it can be restored."""
    store.record_hidden(tx, lead, tx.now)
    refresh_with_twins(tx, lead.business_id, {lead.id})
    _note_step(tx, lead, HistoryKind.DELETED, "", actor)
    emit(tx, lead.business_id, LeadEdited(lead.business_id, lead.id, "deleted"))
    return replace(lead, hidden_at=tx.now)


def remove_test_lead(tx: Tx, lead: Lead) -> None:
    """Delete a test lead with all that hangs on it; no other lead can be deleted so.

    Raises:
        Refused: NOT_FOUND.
    """
    if not lead.is_test:
        raise Refused(errors.NOT_FOUND, "lead_id: this is not a test lead.")
    store.delete_lead(tx, lead.business_id, lead.id)
    emit(tx, lead.business_id, LeadRemoved(lead.business_id, lead.id, lead.conversation_id))


def note_export(tx: Tx, actor: Actor, lead_ids: Collection[str]) -> None:
    """Write into the history of chosen leads that a member takes them away in a file."""
    for lead in store.list_leads_by_id(tx, actor.business_id, set(lead_ids)).values():
        if lead.hidden_at is None:
            _note_step(tx, lead, HistoryKind.EXPORTED, "", actor.name)


def _note_changes(tx: Tx, business_id: str, changed: Iterable[Lead]) -> None:
    """Let those who tell outside systems take note, in this transaction; test leads are told to nobody."""
    tx.ports[LeadPorts].lead_changed(tx, business_id, *[lead.id for lead in changed if not lead.is_test])


def _write(tx: Tx, batch: LeadBatch) -> None:
    """Write what a batch did to its leads, and what follows from it."""
    batch.write()
    refresh_after(tx, batch.business_id, batch.twins, batch.touched, batch.fresh)
    measurement.record_conversions(tx, batch.earned)
    emit_all(tx, [(batch.business_id, event) for event in batch.events])
    _note_changes(tx, batch.business_id, batch.changed)


def _insert_leads(batch: LeadBatch, signals: Iterable[Signal]) -> None:
    """Insert the leads that signals make, each of the first signal of its person that makes one."""
    of_person: dict[str, list[Signal]] = defaultdict(list)
    for signal in signals:
        begins = signal.person_id in of_person or rules.makes_lead(signal)
        if begins and batch.find(signal.person_id) is None:
            of_person[signal.person_id].append(signal)
    if of_person:
        batch.insert(list(map(_fresh_lead, of_person.values())))


def _fresh_lead(signals: Sequence[Signal]) -> FreshLead:
    """The lead that the first of these signals makes, and what all of them make of it."""
    lead = _new_lead(signals[0])
    makers = [each for each in signals[1:] if rules.makes_lead(each)]
    return FreshLead(lead, rules.after_signals(lead, signals), facets_of_new([signals[0], *makers]))


def _new_lead(signal: Signal) -> Lead:
    return Lead(
        id=LeadId(new_id()),
        number=new_number(),
        business_id=signal.business_id,
        person_id=signal.person_id,
        channel_account_id=signal.channel_account_id,
        conversation_id=signal.conversation_id,
        name=rules.better_name("", signal),
        status=LeadStatus.RAW,
        origin=signal.origin,
        created_at=signal.at,
        updated_at=signal.at,
        is_test=signal.is_test,
    )


def _capture_lead(tx: Tx, batch: LeadBatch, lead: Lead, signal: Signal) -> Lead:
    batch.capture(lead)
    fields = _keep_contacts(batch, lead, signal)
    _keep_entry(batch, lead, signal)
    batch.twins.add(lead.id)
    what = HistoryKind.CAPTURED if fields else HistoryKind.MARKED
    batch.note(HistoryEntry(new_id(), lead.id, what, ", ".join(fields), signal.actor, tx.now))
    # no ad can have earned what was in a file, or what a program made up
    if signal.origin is not Origin.IMPORT and not signal.is_test:
        batch.earned.append(_earned(lead, signal))
    of, origin = lead.business_id, signal.origin.value
    batch.events.append(LeadCaptured(of, lead.id, lead.conversation_id, origin, fields, signal.at))
    batch.changed.append(lead)
    return lead


def _add_to_lead(tx: Tx, batch: LeadBatch, lead: Lead, signal: Signal) -> Lead:
    fields = _keep_contacts(batch, lead, signal)
    _keep_entry(batch, lead, signal)
    if fields:
        batch.twins.add(lead.id)
    elif signal.form or (signal.contacts and not batch.has_origin(lead, signal.origin)):
        batch.touched.add(lead.id)
    name, is_renamed = rules.better_name(lead.name, signal), False
    if name != lead.name or signal.at > lead.updated_at:
        is_renamed = name != lead.name
        lead = batch.move(lead, name=name, updated_at=max(signal.at, lead.updated_at))
    if signal.contacts and signal.at < lead.created_at and signal.person_id == lead.person_id:
        lead = batch.move(lead, created_at=signal.at)
        batch.earned.append(_earned(lead, signal))
    if fields:
        step = HistoryEntry(new_id(), lead.id, HistoryKind.UPDATED, ", ".join(fields), signal.actor, tx.now)
        batch.note(step)
        of, origin = lead.business_id, signal.origin.value
        batch.events.append(LeadUpdated(of, lead.id, signal.conversation_id, origin, fields, signal.at))
    if fields or signal.form or is_renamed:
        batch.changed.append(lead)
    return lead


def _keep_contacts(batch: LeadBatch, lead: Lead, signal: Signal) -> tuple[str, ...]:
    """Add the details that the lead lacks, and evidence for each that was found; give the new fields."""
    fields: list[str] = []
    for match in signal.contacts:
        point = batch.points_of(lead).get(rules.detail_key(match.field, match.value))
        if point is None:
            point = ContactPoint(new_id(), lead.id, match.field, match.value, signal.origin, signal.at)
            batch.put_point(lead, point, is_new=True)
            fields.append(match.field.value)
        elif signal.at < point.created_at:  # an earlier message came in later
            point = replace(point, created_at=signal.at)
            batch.put_point(lead, point, is_new=False)
        batch.add_evidence(_evidence_of(point, match, signal))
    return tuple(dict.fromkeys(fields))


def _keep_entry(batch: LeadBatch, lead: Lead, signal: Signal) -> None:
    """Note which form a signal came by."""
    if signal.form is not None:
        entry = FormEntry(signal.source_id, lead.id, *signal.form, at=signal.at)
        batch.add_entry(entry, makes_lead=rules.makes_lead(signal))


def _earned(lead: Lead, signal: Signal) -> measurement.Earned:
    kind, ts = ConversionKind.LEAD, micros(signal.at)
    return measurement.Earned(lead.business_id, lead.person_id, kind, lead.id, ts)


def _evidence_of(point: ContactPoint, match: ContactMatch, signal: Signal) -> Evidence:
    return Evidence(
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


def _note_step(tx: Tx, lead: Lead, what: HistoryKind, detail: str, actor: str) -> None:
    store.append_history(tx, lead.business_id, HistoryEntry(new_id(), lead.id, what, detail, actor, tx.now))
