"""Making one lead of what a person shares, marking leads by hand, moving them through the statuses."""

from collections.abc import Collection
from dataclasses import replace

from contatto.capture.model import ContactMatch
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id, new_number
from contatto.kit.outbox import emit
from contatto.kit.timestamps import micros
from contatto.leads.actions.facets import refresh_facets, refresh_with_twins
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
from contatto.leads.store import points as points_store
from contatto.leads.store import records as store
from contatto.leads.store.entries import FormEntry, append_entry
from contatto.measurement import actions as measurement
from contatto.measurement.model import ConversionKind


def upsert_lead(tx: Tx, signal: Signal) -> Lead | None:
    """Make the person's one lead, or add to it (R23).

    The same detail again changes nothing but its evidence; a name alone makes no lead, but names one that is
    there. A new lead is a conversion of kind lead, credited at once.

    Returns:
        The lead as it is now, or None when the signal makes none.
    """
    lead = _kept_lead(tx, signal)
    if lead is None:
        return _capture_lead(tx, signal) if rules.makes_lead(signal) else None
    if lead.hidden_at is not None and signal.contacts:
        lead = restore_lead(tx, lead, signal.actor)
    return _add_to_lead(tx, lead, signal)


def mark_as_lead(tx: Tx, signal: Signal) -> Lead:
    """Make a lead by a person's word (R39); where there is one already it stays as it is."""
    lead = _kept_lead(tx, signal)
    if lead is not None and lead.hidden_at is not None:
        return restore_lead(tx, lead, signal.actor)
    return lead or _capture_lead(tx, signal)


def restore_lead(tx: Tx, lead: Lead, actor: str) -> Lead:
    """Put a deleted lead back into the lists: somebody wants it, or the person has shared details again."""
    store.record_hidden(tx, lead, None)
    refresh_with_twins(tx, lead.business_id, {lead.id})
    _note_step(tx, lead, HistoryKind.RESTORED, "", actor)
    emit(tx, lead.business_id, LeadEdited(lead.business_id, lead.id, "restored"))
    _note_change(tx, lead)
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
        raise Refused(errors.NOT_FOUND, "lead_id: this is no test lead.")
    store.delete_lead(tx, lead.business_id, lead.id)
    emit(tx, lead.business_id, LeadRemoved(lead.business_id, lead.id, lead.conversation_id))


def note_export(tx: Tx, actor: Actor, lead_ids: Collection[str]) -> None:
    """Write into the history of chosen leads that a member takes them away in a file."""
    for lead in store.list_leads_by_id(tx, actor.business_id, set(lead_ids)).values():
        if lead.hidden_at is None:
            _note_step(tx, lead, HistoryKind.EXPORTED, "", actor.name)


def _kept_lead(tx: Tx, signal: Signal) -> Lead | None:
    """The lead of the person, or the one that it was merged into."""
    lead = store.find_lead_of_person(tx, signal.business_id, signal.person_id)
    if lead is None or lead.merged_into is None:
        return lead
    return store.find_lead(tx, signal.business_id, lead.merged_into) or lead


def _note_change(tx: Tx, lead: Lead) -> None:
    """Let those who tell outside systems take note, in this transaction; test leads are told to nobody."""
    if not lead.is_test:
        tx.ports[LeadPorts].lead_changed(tx, lead.business_id, lead.id)


def _capture_lead(tx: Tx, signal: Signal) -> Lead:
    lead = Lead(
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
    if not store.save_lead(tx, lead):
        # Another transaction made the person's lead between our look and our insert: add to that one.
        found = store.find_lead_of_person(tx, signal.business_id, signal.person_id)
        return _add_to_lead(tx, found, signal) if found else lead
    fields = _keep_contacts(tx, lead, [], signal)
    _keep_entry(tx, lead, signal)
    refresh_with_twins(tx, lead.business_id, {lead.id})
    _note_step(
        tx, lead, HistoryKind.CAPTURED if fields else HistoryKind.MARKED, ", ".join(fields), signal.actor
    )
    # no ad can have earned what was in a file, or what a program made up
    if signal.origin is not Origin.IMPORT and not signal.is_test:
        _credit(tx, lead, signal)
    event = LeadCaptured(
        lead.business_id, lead.id, lead.conversation_id, signal.origin.value, fields, signal.at
    )
    emit(tx, lead.business_id, event)
    _note_change(tx, lead)
    return lead


def _add_to_lead(tx: Tx, lead: Lead, signal: Signal) -> Lead:
    known = store.list_contact_points(tx, lead.business_id, {lead.id})[lead.id]
    fields = _keep_contacts(tx, lead, known, signal)
    _keep_entry(tx, lead, signal)
    if fields:
        refresh_with_twins(tx, lead.business_id, {lead.id})
    elif signal.contacts or signal.form:
        refresh_facets(tx, lead.business_id, {lead.id})
    name = rules.better_name(lead.name, signal)
    if name != lead.name or signal.at > lead.updated_at:
        store.record_activity(tx, lead, name, signal.at)
    if signal.contacts and signal.at < lead.created_at and signal.person_id == lead.person_id:
        store.record_start(tx, lead, signal.at)
        _credit(tx, lead, signal)
    if fields:
        _note_step(tx, lead, HistoryKind.UPDATED, ", ".join(fields), signal.actor)
        update = LeadUpdated(
            lead.business_id, lead.id, signal.conversation_id, signal.origin.value, fields, signal.at
        )
        emit(tx, lead.business_id, update)
    if fields or signal.form or name != lead.name:
        _note_change(tx, lead)
    return store.find_lead(tx, lead.business_id, lead.id) or lead


def _keep_contacts(tx: Tx, lead: Lead, known: list[ContactPoint], signal: Signal) -> tuple[str, ...]:
    """Add the details that the lead lacks, and evidence for each that was found; give the new fields."""
    points = {rules.detail_key(point.field, point.value): point for point in reversed(known)}
    fields: list[str] = []
    for match in signal.contacts:
        key = rules.detail_key(match.field, match.value)
        point = points.get(key)
        if point is None:
            point = ContactPoint(new_id(), lead.id, match.field, match.value, signal.origin, signal.at)
            store.save_contact_point(tx, lead.business_id, point)
            points[key] = point
            fields.append(match.field.value)
        points_store.record_point_start(tx, lead.business_id, point, signal.at)
        _add_evidence(tx, point, match, signal)
    return tuple(dict.fromkeys(fields))


def _keep_entry(tx: Tx, lead: Lead, signal: Signal) -> None:
    """Note which form a signal came by."""
    if signal.form is not None:
        append_entry(tx, lead.business_id, FormEntry(signal.source_id, lead.id, *signal.form, at=signal.at))


def _credit(tx: Tx, lead: Lead, signal: Signal) -> None:
    earned = measurement.Earned(
        lead.business_id, lead.person_id, ConversionKind.LEAD, lead.id, micros(signal.at)
    )
    measurement.record_conversion(tx, earned)


def _add_evidence(tx: Tx, point: ContactPoint, match: ContactMatch, signal: Signal) -> None:
    item = Evidence(
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
    store.append_evidence(tx, item)


def _note_step(tx: Tx, lead: Lead, what: HistoryKind, detail: str, actor: str) -> None:
    store.append_history(tx, lead.business_id, HistoryEntry(new_id(), lead.id, what, detail, actor, tx.now))
