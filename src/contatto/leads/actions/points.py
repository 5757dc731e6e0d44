"""Contact details in the hands of members: added, changed, made the main one, called wrong, or no contact."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from contatto.capture import actions as capture
from contatto.capture.model import Field
from contatto.channels.store import list_accounts
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.outbox import emit
from contatto.leads.actions.annotations import note_edit
from contatto.leads.actions.records import refresh_with_twins
from contatto.leads.model import (
    Actor,
    ContactPoint,
    ContactRejected,
    HistoryEntry,
    HistoryKind,
    Lead,
    LeadId,
    LeadRemoved,
    LeadUpdated,
    Origin,
    RejectedContact,
)
from contatto.leads.ports import LeadPorts
from contatto.leads.rules.importing import UnreadableRow, contact_of
from contatto.leads.rules.records import ARROW, detail_key
from contatto.leads.store import records
from contatto.leads.store.facets import list_sharing_leads
from contatto.measurement import actions as measurement
from contatto.measurement.model import ConversionKind

MOST_POINTS: Final = 50
"""Contact details that a member may add to one lead."""
KEEP_REJECTED: Final = timedelta(days=30)
"""For so long what was called no contact can be put back."""


def add_contact_point(tx: Tx, actor: Actor, lead_id: str, field: Field, text: str) -> ContactPoint:
    """Add a contact detail that a member knows.

    Raises:
        Refused: NOT_FOUND; INVALID for what is none, or is there already, or when there are too many.
    """
    lead = _listed_lead(tx, actor, lead_id)
    existing_points = records.list_contact_points(tx, actor.business_id, {lead.id})[lead.id]
    if len(existing_points) >= MOST_POINTS:
        raise Refused(
            errors.INVALID, "value: a lead can have at most %(most)s contact details.", most=MOST_POINTS
        )
    value = _read(tx, actor.business_id, lead, field, text)
    _check_new(existing_points, field, value, "")
    point = ContactPoint(new_id(), lead.id, field, value, Origin.MANUAL, tx.now)
    records.save_contact_point(tx, actor.business_id, point)
    refresh_with_twins(tx, actor.business_id, {lead.id})
    note_edit(tx, actor, lead.id, HistoryKind.CONTACT_ADDED, value)
    return point


def change_contact_point(
    tx: Tx, actor: Actor, lead_id: str, point_id: str, seen_value: str, text: str
) -> None:
    """Correct a contact detail; ``seen_value`` is the value that the member had before their eyes.

    Raises:
        Refused: NOT_FOUND; INVALID for what is none, or is there already; CONFLICT when somebody was faster.
    """
    lead = _listed_lead(tx, actor, lead_id)
    point = _point(tx, actor, lead, point_id)
    value = _read(tx, actor.business_id, lead, point.field, text)
    if value == point.value:
        return
    existing_points = records.list_contact_points(tx, actor.business_id, {lead.id})[lead.id]
    _check_new(existing_points, point.field, value, point.id)
    shared = list_sharing_leads(tx, actor.business_id, {lead.id})
    _keep(tx, actor, replace(point, value=value, wrong_at=None), seen_value)
    refresh_with_twins(tx, actor.business_id, {lead.id}, shared)
    note_edit(tx, actor, lead.id, HistoryKind.CONTACT_CHANGED, f"{point.value}{ARROW}{value}")


def choose_main_contact(tx: Tx, actor: Actor, lead_id: str, point_id: str, seen_value: str) -> None:
    """Make a contact detail the main one; it is not wrong then.

    Raises:
        Refused: NOT_FOUND; CONFLICT when its value is not ``seen_value``.
    """
    lead = _listed_lead(tx, actor, lead_id)
    point = _point(tx, actor, lead, point_id)
    _keep(tx, actor, replace(point, main_at=tx.now, wrong_at=None), seen_value)
    note_edit(tx, actor, lead.id, HistoryKind.CONTACT_MAIN, point.value)


def mark_contact_wrong(
    tx: Tx, actor: Actor, lead_id: str, point_id: str, seen_value: str, *, is_wrong: bool
) -> None:
    """Say that nobody is reached by a contact detail, or take that back. It stays, but is not the main one.

    Raises:
        Refused: NOT_FOUND; CONFLICT when its value is not ``seen_value``.
    """
    lead = _listed_lead(tx, actor, lead_id)
    point = _point(tx, actor, lead, point_id)
    if (point.wrong_at is not None) is is_wrong:
        return
    marked = replace(
        point, wrong_at=tx.now if is_wrong else None, main_at=None if is_wrong else point.main_at
    )
    _keep(tx, actor, marked, seen_value)
    refresh_with_twins(tx, actor.business_id, {lead.id})
    what = HistoryKind.CONTACT_WRONG if is_wrong else HistoryKind.CONTACT_RIGHT
    note_edit(tx, actor, lead.id, what, point.value)


def reject_contact_point(tx: Tx, business_id: str, lead_id: str, point_id: str, actor: str) -> Lead | None:
    """Take "not a contact" at its word: remove the point, and keep the correction for the next match.

    A lead that nothing else made (no other contact, no form, nobody's mark) goes too, and its conversion is
    withdrawn from the reports. All of it can be put back for a while.

    Returns:
        The lead, or None when it is gone.

    Raises:
        Refused: NOT_FOUND.
    """
    lead = records.find_lead_to_change(tx, business_id, lead_id)
    point = records.find_contact_point(tx, business_id, lead_id, point_id)
    if lead is None or point is None:
        raise Refused(errors.NOT_FOUND, "Contact detail not found.")
    shown = records.list_evidence_of_lead(tx, business_id, lead_id)
    proofs = tuple(proof for proof in shown if proof.contact_point_id == point_id)
    capture.correct_match(tx, business_id, point.field, point.value, actor)
    shared = list_sharing_leads(tx, business_id, {lead_id})
    records.delete_contact_point(tx, business_id, point_id)
    refresh_with_twins(tx, business_id, {lead_id}, shared)
    remaining_points = records.list_contact_points(tx, business_id, {lead_id})[lead_id]
    goes = lead.origin is Origin.CHAT and not remaining_points
    history = tuple(records.list_history(tx, business_id, lead_id)) if goes else ()
    rejected = RejectedContact(
        new_id(), point, proofs, lead if goes else None, history, lead.person_id, actor, tx.now
    )
    records.save_rejected(tx, business_id, rejected)
    if goes:
        records.delete_lead(tx, business_id, lead_id)
        measurement.withdraw_conversion(tx, business_id, lead_id, ConversionKind.LEAD)
        emit(tx, business_id, LeadRemoved(business_id, lead_id, lead.conversation_id))
        tx.ports[LeadPorts].leads_gone(tx, business_id, {lead_id})
        return None
    _note(tx, lead, HistoryKind.REJECTED, point.field.value, actor)
    emit(tx, business_id, ContactRejected(business_id, lead_id, lead.conversation_id, point.field.value))
    _note_change(tx, lead)
    return lead


def put_back_contact(tx: Tx, actor: Actor, lead_id: str, rejected_id: str) -> None:
    """Undo "not a contact": the detail comes back with its evidence, and a lead that went with it too.

    Raises:
        Refused: NOT_FOUND; CONFLICT when the person is another lead by now.
    """
    rejected = next(
        (
            rejected_point
            for rejected_point in list_put_back(tx, actor.business_id, lead_id)
            if rejected_point.id == rejected_id
        ),
        None,
    )
    if rejected is None or not records.delete_rejected(tx, actor.business_id, rejected_id):
        raise Refused(
            errors.NOT_FOUND, "This contact detail was already restored, or the time to restore it is over."
        )
    lead = records.find_lead_to_change(tx, actor.business_id, lead_id)
    if lead is None:
        lead = _put_back_lead(tx, actor, rejected)
    capture.forget_corrections(tx, actor.business_id, {rejected.point.value})
    if records.save_contact_point(tx, actor.business_id, rejected.point):
        for proof in rejected.evidence:
            records.append_evidence(tx, proof)
    refresh_with_twins(tx, actor.business_id, {lead.id})
    _note(tx, lead, HistoryKind.REJECT_UNDONE, rejected.point.field.value, actor.name)
    event = LeadUpdated(
        actor.business_id,
        lead.id,
        lead.conversation_id,
        rejected.point.origin.value,
        (rejected.point.field.value,),
        rejected.point.created_at,
    )
    emit(tx, actor.business_id, event)
    _note_change(tx, lead)


def list_put_back(tx: Tx, business_id: str, lead_id: str) -> list[RejectedContact]:
    """List rejected contacts of a lead that can be put back, latest first."""
    return records.list_rejected(tx, business_id, lead_id, tx.now - KEEP_REJECTED)


def purge_rejected(tx: Tx) -> int:
    """Forget what can no longer be put back; say how many."""
    return records.delete_old_rejected(tx, tx.now - KEEP_REJECTED)


def _put_back_lead(tx: Tx, actor: Actor, rejected: RejectedContact) -> Lead:
    lead = rejected.lead
    if lead is None:
        raise Refused(errors.NOT_FOUND, "Lead not found.")
    if not records.save_lead(tx, lead):
        raise Refused(errors.CONFLICT, "This person is now a lead again. Add the detail to that lead.")
    for step in rejected.history:
        records.append_history(tx, actor.business_id, step)
    measurement.withdraw_conversion(tx, actor.business_id, lead.id, ConversionKind.LEAD, is_back=True)
    return lead


def _listed_lead(tx: Tx, actor: Actor, lead_id: str) -> Lead:
    lead = records.find_lead_to_change(tx, actor.business_id, lead_id)
    if lead is None or lead.hidden_at is not None:
        raise Refused(errors.NOT_FOUND, "Lead not found.")
    return lead


def _point(tx: Tx, actor: Actor, lead: Lead, point_id: str) -> ContactPoint:
    point = records.find_contact_point(tx, actor.business_id, lead.id, point_id)
    if point is None:
        raise Refused(errors.CONFLICT, "Somebody else removed this contact detail.")
    return point


def _keep(tx: Tx, actor: Actor, point: ContactPoint, seen_value: str) -> None:
    if not records.record_point(tx, actor.business_id, point, seen_value):
        raise Refused(errors.CONFLICT, "Somebody else changed this contact detail. Check it and try again.")


def _read(tx: Tx, business_id: str, lead: Lead, field: Field, text: str) -> str:
    """The value in its normal form; a number without its country is one of the lead's account."""
    accounts = {account.id: account for account in list_accounts(tx, business_id)}
    account = accounts.get(lead.channel_account_id) or next(iter(accounts.values()), None)
    plain = " ".join(text.split())[:200]
    try:
        return contact_of(field, plain, account.registration_country if account else "").value
    except UnreadableRow as unfit:
        raise Refused(errors.INVALID, "value: %(problem)s", problem=unfit.says) from unfit


def _check_new(existing_points: list[ContactPoint], field: Field, value: str, own_id: str) -> None:
    taken_details = {detail_key(point.field, point.value) for point in existing_points if point.id != own_id}
    if detail_key(field, value) in taken_details:
        raise Refused(errors.INVALID, "value: the lead already has this contact detail.")


def _note_change(tx: Tx, lead: Lead) -> None:
    """Let those who tell outside systems take note; test leads are told to nobody."""
    if not lead.is_test:
        tx.ports[LeadPorts].lead_changed(tx, lead.business_id, lead.id)


def _note(tx: Tx, lead: Lead, what: HistoryKind, detail: str, actor: str) -> None:
    step = HistoryEntry(new_id(), LeadId(lead.id), what, detail, actor, tx.now)
    records.append_history(tx, lead.business_id, step)
