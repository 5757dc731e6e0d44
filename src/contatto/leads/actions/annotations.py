"""Contact details, owner, labels, notes, tasks and views of leads."""

from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from contatto.accounts.model import BusinessId, Permission
from contatto.accounts.store import list_able_members, list_members
from contatto.capture import actions as capture
from contatto.capture.model import Field
from contatto.channels.store import list_accounts
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import LazyText
from contatto.kit.ids import new_id
from contatto.kit.outbox import emit
from contatto.leads.actions.records import load_listed_lead, note_step, refresh_facets, refresh_with_twins
from contatto.leads.model import (
    Actor,
    ContactPoint,
    ContactRejected,
    HistoryKind,
    Lead,
    LeadEdited,
    LeadLabel,
    LeadRemoved,
    LeadUpdated,
    Note,
    Origin,
    RejectedContact,
    SavedView,
    Task,
    WorkAssigned,
)
from contatto.leads.ports import LeadPorts
from contatto.leads.rules import records as rules
from contatto.leads.rules.importing import UnreadableRow, contact_of
from contatto.leads.rules.records import ARROW, detail_key, read_view_name
from contatto.leads.store import annotations as store
from contatto.leads.store import records
from contatto.measurement import actions as measurement
from contatto.measurement.model import ConversionKind

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


@dataclass(frozen=True, slots=True)
class TaskText:
    """A task as a form holds it."""

    text: str
    due_on: date | None


def assign_lead(tx: Tx, actor: Actor, lead_id: str, seen_owner_id: str | None, owner_id: str | None) -> Lead:
    """Assign a lead to a member, or unassign it.

    Raises Refused: NOT_FOUND; INVALID for a stranger; CONFLICT unless ``seen_owner_id`` is the owner.
    """
    lead = load_listed_lead(tx, actor.business_id, lead_id)
    if lead.owner_id == owner_id:
        return lead
    name = check_member(tx, actor.business_id, owner_id)
    if lead.owner_id != seen_owner_id or not records.record_owner(tx, lead, owner_id):
        members = list_members(tx, BusinessId(actor.business_id))
        now = next((member.display_name for member in members if member.id == lead.owner_id), "") or LazyText(
            "Nobody"
        )
        raise Refused(
            errors.CONFLICT, "Somebody else changed this. The lead now belongs to %(now)s.", now=now
        )
    note_edit(tx, actor, lead.id, HistoryKind.OWNER, name)
    if owner_id and owner_id != actor.member_id:
        emit(tx, actor.business_id, WorkAssigned(actor.business_id, lead.id, "", owner_id, tx.now))
    return replace(lead, owner_id=owner_id)


def label_lead(tx: Tx, actor: Actor, lead_id: str, name: str) -> LeadLabel:
    """Put a label on a lead; a name that is new becomes a label of the business.

    Raises Refused: NOT_FOUND; INVALID.
    """
    lead = load_listed_lead(tx, actor.business_id, lead_id)
    label = keep_label(tx, actor.business_id, name)
    put_label(tx, actor, lead.id, label)
    return label


def put_label(tx: Tx, actor: Actor, lead_id: str, label: LeadLabel) -> bool:
    """Put a label on a lead; False when it is there."""
    is_new = store.append_lead_label(tx, actor.business_id, lead_id, label.id)
    if is_new:
        refresh_facets(tx, actor.business_id, {lead_id})
        note_edit(tx, actor, lead_id, HistoryKind.LABELLED, label.name)
    return is_new


def keep_label(tx: Tx, business_id: str, name: str) -> LeadLabel:
    """Return the label of that name, in any case of letters; it is made when the business has none.

    Raises Refused: INVALID.
    """
    label_name = rules.read_label(name)
    existing_label = store.find_label(tx, business_id, label_name)
    if existing_label is not None:
        return existing_label
    tx.hold_key("labels", business_id)
    count = store.count_labels(tx, business_id)
    if count >= rules.MOST_LABELS:
        raise Refused(
            errors.INVALID,
            "label: you have the maximum of %(most)s labels. Use an existing one.",
            most=rules.MOST_LABELS,
        )
    label = LeadLabel(new_id(), label_name, count % rules.TONES)
    store.save_label(tx, business_id, label)
    return store.find_label(tx, business_id, label_name) or label


def unlabel_lead(tx: Tx, actor: Actor, lead_id: str, label_id: str) -> None:
    """Take a label off a lead. Raises Refused: NOT_FOUND, for the lead."""
    lead = load_listed_lead(tx, actor.business_id, lead_id)
    if store.delete_lead_label(tx, actor.business_id, lead.id, label_id):
        refresh_facets(tx, actor.business_id, {lead.id})
        note_edit(tx, actor, lead.id, HistoryKind.UNLABELLED, label_name(tx, actor.business_id, label_id))


def add_note(tx: Tx, actor: Actor, lead_id: str, text: str) -> Note:
    """Write a note. Raises Refused: NOT_FOUND; INVALID."""
    lead = load_listed_lead(tx, actor.business_id, lead_id)
    note = Note(new_id(), lead.id, rules.read_note(text), actor.name, 0, tx.now, None)
    store.save_work(tx, actor.business_id, note)
    note_edit(tx, actor, lead.id, HistoryKind.NOTE, "")
    return note


def edit_note(tx: Tx, actor: Actor, note: Note, text: str) -> None:
    """Change a note that was seen with this revision. Raises Refused: INVALID; CONFLICT."""
    new = replace(note, text=rules.read_note(text), edited_at=tx.now)
    if not store.record_work(tx, actor.business_id, new):
        raise Refused(errors.CONFLICT, "Somebody else changed this note. Your text is still in the field.")
    emit(tx, actor.business_id, LeadEdited(actor.business_id, note.lead_id, "note"))


def remove_note(tx: Tx, actor: Actor, note: Note) -> None:
    """Delete a note that was seen with this revision. Raises Refused: CONFLICT."""
    if not store.delete_work(tx, actor.business_id, note):
        raise Refused(errors.CONFLICT, "Somebody else changed this note. Check it and try again.")
    emit(tx, actor.business_id, LeadEdited(actor.business_id, note.lead_id, "note"))


def add_task(tx: Tx, actor: Actor, lead_id: str, task_text: TaskText) -> Task:
    """Note something to do. Raises Refused: NOT_FOUND; INVALID."""
    lead = load_listed_lead(tx, actor.business_id, lead_id)
    says = rules.read_task(task_text.text)
    task = Task(new_id(), lead.id, says, task_text.due_on, 0, actor.name, tx.now, "", None)
    store.save_work(tx, actor.business_id, task)
    note_edit(tx, actor, lead.id, HistoryKind.TASK, "")
    return task


def edit_task(tx: Tx, actor: Actor, task: Task, task_text: TaskText) -> None:
    """Change what a task says, or its day. Raises Refused: INVALID; CONFLICT."""
    new = replace(task, text=rules.read_task(task_text.text), due_on=task_text.due_on)
    _keep_task(tx, actor, new)


def finish_task(tx: Tx, actor: Actor, task: Task, *, is_done: bool) -> None:
    """Tick a task off, or take the tick away. Raises Refused: CONFLICT."""
    if (task.done_at is not None) is is_done:
        return
    new = replace(task, done_by=actor.name if is_done else "", done_at=tx.now if is_done else None)
    _keep_task(tx, actor, new)
    if is_done:
        note_step(tx, actor.business_id, task.lead_id, HistoryKind.TASK_DONE, "", actor.name)


def remove_task(tx: Tx, actor: Actor, task: Task) -> None:
    """Delete a task that was seen with this revision. Raises Refused: CONFLICT."""
    if not store.delete_work(tx, actor.business_id, task):
        raise Refused(errors.CONFLICT, "Somebody else changed this task. Check it and try again.")
    emit(tx, actor.business_id, LeadEdited(actor.business_id, task.lead_id, "task"))


def _keep_task(tx: Tx, actor: Actor, task: Task) -> None:
    if not store.record_work(tx, actor.business_id, task):
        raise Refused(errors.CONFLICT, "Somebody else changed this task. Check it and try again.")
    emit(tx, actor.business_id, LeadEdited(actor.business_id, task.lead_id, "task"))


def check_member(
    tx: Tx, business_id: str, member_id: str | None, permission: Permission = Permission.READ_LEADS
) -> str:
    """Return the name of a member who may open assigned leads, empty for None.

    Raises Refused: INVALID for somebody who is no member, or lacks the permission.
    """
    if member_id is None:
        return ""
    members = list_able_members(tx, BusinessId(business_id), permission)
    name = next((member.display_name for member in members if member.id == member_id), None)
    if name is None:
        raise Refused(errors.INVALID, "owner: choose a member who can open leads.")
    return name


def note_edit(tx: Tx, actor: Actor, lead_id: str, what: HistoryKind, detail: str) -> None:
    """Write a change into the lead's history, and tell of it."""
    note_step(tx, actor.business_id, lead_id, what, detail, actor.name)
    emit(tx, actor.business_id, LeadEdited(actor.business_id, lead_id, what))
    if what in _REPORTED_KINDS:
        tx.ports[LeadPorts].lead_changed(tx, actor.business_id, lead_id)


def label_name(tx: Tx, business_id: str, label_id: str) -> str:
    return next((label.name for label in store.list_labels(tx, business_id) if label.id == label_id), "")


MOST_VIEWS: Final = 50
"""Views that one member may make."""


def keep_view(tx: Tx, actor: Actor, name: str, query: str, *, is_shared: bool) -> SavedView:
    """Keep a query of the list under a name; a new view is pinned. Raises Refused: INVALID."""
    tx.hold_key("views", actor.business_id, actor.member_id)
    if store.count_views(tx, actor.business_id, actor.member_id) >= MOST_VIEWS:
        raise Refused(
            errors.INVALID, "name: you have the maximum of %(most)s views. Delete one first.", most=MOST_VIEWS
        )
    view = SavedView(
        id=new_id(),
        member_id=actor.member_id,
        name=read_view_name(name),
        query=query,
        is_shared=is_shared,
        is_pinned=True,
        created_at=tx.now,
    )
    store.save_view(tx, actor.business_id, view)
    return view


def pin_view(tx: Tx, actor: Actor, view_id: str, *, is_pinned: bool) -> None:
    """Show a view above the list, or only in the menu. Raises Refused: NOT_FOUND."""
    view = _seen_view(tx, actor, view_id)
    store.record_view(tx, actor.business_id, replace(view, is_pinned=is_pinned))


def share_view(tx: Tx, actor: Actor, view_id: str, *, is_shared: bool) -> None:
    """Let all of the business see a view, or keep it to oneself again.

    Raises Refused: NOT_FOUND; FORBIDDEN for the view of somebody else.
    """
    view = _own_view(tx, actor, view_id)
    store.record_view(tx, actor.business_id, replace(view, is_shared=is_shared))


def remove_view(tx: Tx, actor: Actor, view_id: str) -> None:
    """Delete a view of one's own. Raises Refused: NOT_FOUND; FORBIDDEN for the view of somebody else."""
    store.delete_view(tx, actor.business_id, _own_view(tx, actor, view_id).id)


def _seen_view(tx: Tx, actor: Actor, view_id: str) -> SavedView:
    views = store.list_views(tx, actor.business_id, actor.member_id)
    matching_view = next((view for view in views if view.id == view_id), None)
    if matching_view is None:
        raise Refused(errors.NOT_FOUND, "View not found.")
    return matching_view


def _own_view(tx: Tx, actor: Actor, view_id: str) -> SavedView:
    view = _seen_view(tx, actor, view_id)
    if view.member_id != actor.member_id:
        raise Refused(errors.FORBIDDEN, "Only the member who made this view can change it.")
    return view


MOST_POINTS: Final = 50
"""Contact details that a member may add to one lead."""


def add_contact_point(tx: Tx, actor: Actor, lead_id: str, field: Field, text: str) -> ContactPoint:
    """Add a contact detail that a member knows.

    Raises Refused: NOT_FOUND; INVALID for an invalid or duplicate detail, or when there are too many.
    """
    lead = load_listed_lead(tx, actor.business_id, lead_id)
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

    Raises Refused: NOT_FOUND; INVALID for an invalid or duplicate detail; CONFLICT when somebody was faster.
    """
    lead = load_listed_lead(tx, actor.business_id, lead_id)
    point = _point(tx, actor, lead, point_id)
    value = _read(tx, actor.business_id, lead, point.field, text)
    if value == point.value:
        return
    existing_points = records.list_contact_points(tx, actor.business_id, {lead.id})[lead.id]
    _check_new(existing_points, point.field, value, point.id)
    shared = store.list_sharing_leads(tx, actor.business_id, {lead.id})
    _keep(tx, actor, replace(point, value=value, wrong_at=None), seen_value)
    refresh_with_twins(tx, actor.business_id, {lead.id}, shared)
    note_edit(tx, actor, lead.id, HistoryKind.CONTACT_CHANGED, f"{point.value}{ARROW}{value}")


def choose_main_contact(tx: Tx, actor: Actor, lead_id: str, point_id: str, seen_value: str) -> None:
    """Make a contact detail the main one; it is not wrong then.

    Raises Refused: NOT_FOUND; CONFLICT when its value is not ``seen_value``.
    """
    lead = load_listed_lead(tx, actor.business_id, lead_id)
    point = _point(tx, actor, lead, point_id)
    _keep(tx, actor, replace(point, main_at=tx.now, wrong_at=None), seen_value)
    note_edit(tx, actor, lead.id, HistoryKind.CONTACT_MAIN, point.value)


def mark_contact_wrong(
    tx: Tx, actor: Actor, lead_id: str, point_id: str, seen_value: str, *, is_wrong: bool
) -> None:
    """Mark a contact detail as wrong, or take that back. It stays, but is not the main one.

    Raises Refused: NOT_FOUND; CONFLICT when its value is not ``seen_value``.
    """
    lead = load_listed_lead(tx, actor.business_id, lead_id)
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

    A lead without another contact, form or mark of a member is removed too, and its conversion is
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
    shared = store.list_sharing_leads(tx, business_id, {lead_id})
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
    note_step(tx, lead.business_id, lead.id, HistoryKind.REJECTED, point.field.value, actor)
    emit(tx, business_id, ContactRejected(business_id, lead_id, lead.conversation_id, point.field.value))
    _note_change(tx, lead)
    return lead


def put_back_contact(tx: Tx, actor: Actor, lead_id: str, rejected_id: str) -> None:
    """Undo "not a contact": the detail comes back with its evidence, and a lead that went with it too.

    Raises Refused: NOT_FOUND; CONFLICT when the person is another lead by now.
    """
    contacts = records.list_rejected(tx, actor.business_id, lead_id)
    rejected = next((contact for contact in contacts if contact.id == rejected_id), None)
    if rejected is None or not records.delete_rejected(tx, actor.business_id, rejected_id):
        raise Refused(
            errors.NOT_FOUND, "This contact detail was already restored, or the time to restore it is over."
        )
    lead = records.find_lead_to_change(tx, actor.business_id, lead_id)
    if lead is None:
        if rejected.lead is None:
            raise Refused(errors.NOT_FOUND, "Lead not found.")
        lead = rejected.lead
        if not records.save_lead(tx, lead):
            raise Refused(errors.CONFLICT, "This person is now a lead again. Add the detail to that lead.")
        for step in rejected.history:
            records.append_history(tx, actor.business_id, step)
        measurement.withdraw_conversion(tx, actor.business_id, lead.id, ConversionKind.LEAD, is_back=True)
    capture.forget_corrections(tx, actor.business_id, {rejected.point.value})
    if records.save_contact_point(tx, actor.business_id, rejected.point):
        for proof in rejected.evidence:
            records.append_evidence(tx, proof)
    refresh_with_twins(tx, actor.business_id, {lead.id})
    note_step(
        tx, lead.business_id, lead.id, HistoryKind.REJECT_UNDONE, rejected.point.field.value, actor.name
    )
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


def purge_rejected(tx: Tx) -> int:
    """Forget what can no longer be put back; say how many."""
    return records.delete_old_rejected(tx, tx.now - records.KEEP_REJECTED)


def _point(tx: Tx, actor: Actor, lead: Lead, point_id: str) -> ContactPoint:
    point = records.find_contact_point(tx, actor.business_id, lead.id, point_id)
    if point is None:
        raise Refused(errors.CONFLICT, "Somebody else removed this contact detail.")
    return point


def _keep(tx: Tx, actor: Actor, point: ContactPoint, seen_value: str) -> None:
    if not records.record_point(tx, actor.business_id, point, seen_value):
        raise Refused(errors.CONFLICT, "Somebody else changed this contact detail. Check it and try again.")


def _read(tx: Tx, business_id: str, lead: Lead, field: Field, text: str) -> str:
    """Return the value in its normal form; a number without its country is one of the lead's account."""
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
    """Queue the change for outside systems, except for test leads."""
    if not lead.is_test:
        tx.ports[LeadPorts].lead_changed(tx, lead.business_id, lead.id)
