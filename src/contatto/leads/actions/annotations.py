"""Owner, labels, notes, tasks and saved views of leads; the slower of two members is refused.

Each change carries what the member had before their eyes. Labels are put on and taken off one by one, so two
members who do so at once do not meet.
"""

from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from contatto.accounts.model import BusinessId, Permission
from contatto.accounts.store import list_able_members, list_members
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import LazyText
from contatto.kit.ids import new_id
from contatto.kit.outbox import emit
from contatto.leads.actions.records import refresh_facets
from contatto.leads.model import (
    Actor,
    HistoryEntry,
    HistoryKind,
    Label,
    Lead,
    LeadEdited,
    LeadId,
    Note,
    SavedView,
    Task,
    WorkAssigned,
)
from contatto.leads.ports import LeadPorts
from contatto.leads.rules import records as rules
from contatto.leads.rules.records import read_view_name
from contatto.leads.store import records
from contatto.leads.store.annotations import (
    append_lead_label,
    count_labels,
    count_views,
    delete_lead_label,
    delete_note,
    delete_task,
    delete_view,
    find_label,
    list_labels,
    list_views,
    record_note_text,
    record_task,
    record_view,
    save_label,
    save_note,
    save_task,
    save_view,
)

_TOLD: Final = frozenset(
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
"""What outside systems are told of; notes and tasks stay with us."""


@dataclass(frozen=True, slots=True)
class TaskText:
    """A task as a form holds it."""

    text: str
    due_on: date | None


def assign_lead(tx: Tx, actor: Actor, lead_id: str, seen_owner_id: str | None, owner_id: str | None) -> Lead:
    """Give a lead to a member, or to nobody.

    Raises:
        Refused: NOT_FOUND; INVALID for a stranger; CONFLICT unless ``seen_owner_id`` is the owner.
    """
    lead = _owned_lead(tx, actor, lead_id)
    if lead.owner_id == owner_id:
        return lead
    name = check_member(tx, actor.business_id, owner_id)
    if lead.owner_id != seen_owner_id or not records.record_owner(tx, lead, owner_id):
        now = _member_name(tx, actor.business_id, lead.owner_id) or LazyText("Nobody")
        raise Refused(
            errors.CONFLICT, "Somebody else changed this. The lead now belongs to %(now)s.", now=now
        )
    note_edit(tx, actor, lead.id, HistoryKind.OWNER, name)
    if owner_id and owner_id != actor.member_id:
        emit(tx, actor.business_id, WorkAssigned(actor.business_id, lead.id, "", owner_id, tx.now))
    return replace(lead, owner_id=owner_id)


def label_lead(tx: Tx, actor: Actor, lead_id: str, name: str) -> Label:
    """Put a label on a lead; a name that is new becomes a label of the business.

    Raises:
        Refused: NOT_FOUND; INVALID.
    """
    lead = _owned_lead(tx, actor, lead_id)
    label = keep_label(tx, actor.business_id, name)
    put_label(tx, actor, lead.id, label)
    return label


def put_label(tx: Tx, actor: Actor, lead_id: str, label: Label) -> bool:
    """Put a label on a lead; False when it is there."""
    is_new = append_lead_label(tx, actor.business_id, lead_id, label.id)
    if is_new:
        refresh_facets(tx, actor.business_id, {lead_id})
        note_edit(tx, actor, lead_id, HistoryKind.LABELLED, label.name)
    return is_new


def keep_label(tx: Tx, business_id: str, name: str) -> Label:
    """The label of that name, in any case of letters; it is made when the business has none.

    Raises:
        Refused: INVALID.
    """
    label_name = rules.read_label(name)
    existing_label = find_label(tx, business_id, label_name)
    if existing_label is not None:
        return existing_label
    tx.hold_key("labels", business_id)
    count = count_labels(tx, business_id)
    if count >= rules.MOST_LABELS:
        raise Refused(
            errors.INVALID,
            "label: you have the maximum of %(most)s labels. Use an existing one.",
            most=rules.MOST_LABELS,
        )
    label = Label(new_id(), label_name, count % rules.TONES)
    save_label(tx, business_id, label)
    return find_label(tx, business_id, label_name) or label


def unlabel_lead(tx: Tx, actor: Actor, lead_id: str, label_id: str) -> None:
    """Take a label off a lead.

    Raises:
        Refused: NOT_FOUND, for the lead.
    """
    lead = _owned_lead(tx, actor, lead_id)
    if delete_lead_label(tx, actor.business_id, lead.id, label_id):
        refresh_facets(tx, actor.business_id, {lead.id})
        note_edit(tx, actor, lead.id, HistoryKind.UNLABELLED, label_name(tx, actor.business_id, label_id))


def add_note(tx: Tx, actor: Actor, lead_id: str, text: str) -> Note:
    """Write a note.

    Raises:
        Refused: NOT_FOUND; INVALID.
    """
    lead = _owned_lead(tx, actor, lead_id)
    note = Note(new_id(), lead.id, rules.read_note(text), actor.name, 0, tx.now, None)
    save_note(tx, actor.business_id, note)
    note_edit(tx, actor, lead.id, HistoryKind.NOTE, "")
    return note


def edit_note(tx: Tx, actor: Actor, note: Note, text: str) -> None:
    """Change a note that was seen with this revision.

    Raises:
        Refused: INVALID; CONFLICT.
    """
    if not record_note_text(tx, actor.business_id, note, rules.read_note(text)):
        raise Refused(errors.CONFLICT, "Somebody else changed this note. Your text is still in the field.")
    emit(tx, actor.business_id, LeadEdited(actor.business_id, note.lead_id, "note"))


def remove_note(tx: Tx, actor: Actor, note: Note) -> None:
    """Delete a note that was seen with this revision.

    Raises:
        Refused: CONFLICT.
    """
    if not delete_note(tx, actor.business_id, note):
        raise Refused(errors.CONFLICT, "Somebody else changed this note. Check it and try again.")
    emit(tx, actor.business_id, LeadEdited(actor.business_id, note.lead_id, "note"))


def add_task(tx: Tx, actor: Actor, lead_id: str, task_text: TaskText) -> Task:
    """Note something to do.

    Raises:
        Refused: NOT_FOUND; INVALID.
    """
    lead = _owned_lead(tx, actor, lead_id)
    says = rules.read_task(task_text.text)
    task = Task(new_id(), lead.id, says, task_text.due_on, 0, actor.name, tx.now, "", None)
    save_task(tx, actor.business_id, task)
    note_edit(tx, actor, lead.id, HistoryKind.TASK, "")
    return task


def edit_task(tx: Tx, actor: Actor, task: Task, task_text: TaskText) -> None:
    """Change what a task says, or its day.

    Raises:
        Refused: INVALID; CONFLICT.
    """
    new = replace(task, text=rules.read_task(task_text.text), due_on=task_text.due_on)
    _keep_task(tx, actor, task, new)


def finish_task(tx: Tx, actor: Actor, task: Task, *, is_done: bool) -> None:
    """Tick a task off, or take the tick away.

    Raises:
        Refused: CONFLICT.
    """
    if (task.done_at is not None) is is_done:
        return
    new = replace(task, done_by=actor.name if is_done else "", done_at=tx.now if is_done else None)
    _keep_task(tx, actor, task, new)
    if is_done:
        _append_step(tx, actor, task.lead_id, HistoryKind.TASK_DONE, "")


def remove_task(tx: Tx, actor: Actor, task: Task) -> None:
    """Delete a task that was seen with this revision.

    Raises:
        Refused: CONFLICT.
    """
    if not delete_task(tx, actor.business_id, task):
        raise Refused(errors.CONFLICT, "Somebody else changed this task. Check it and try again.")
    emit(tx, actor.business_id, LeadEdited(actor.business_id, task.lead_id, "task"))


def _keep_task(tx: Tx, actor: Actor, task: Task, new: Task) -> None:
    if not record_task(tx, actor.business_id, new, task.revision):
        raise Refused(errors.CONFLICT, "Somebody else changed this task. Check it and try again.")
    emit(tx, actor.business_id, LeadEdited(actor.business_id, task.lead_id, "task"))


def _owned_lead(tx: Tx, actor: Actor, lead_id: str) -> Lead:
    lead = records.find_lead_to_change(tx, actor.business_id, lead_id)
    if lead is None or lead.hidden_at is not None:
        raise Refused(errors.NOT_FOUND, "Lead not found.")
    return lead


def check_member(
    tx: Tx, business_id: str, member_id: str | None, permission: Permission = Permission.READ_LEADS
) -> str:
    """The name of a member who may open what they are given, empty for None.

    Raises:
        Refused: INVALID for somebody who is no member, or lacks the permission.
    """
    if member_id is None:
        return ""
    members = list_able_members(tx, BusinessId(business_id), permission)
    name = next((member.display_name for member in members if member.id == member_id), None)
    if name is None:
        raise Refused(errors.INVALID, "owner: choose a member who can open leads.")
    return name


def _member_name(tx: Tx, business_id: str, member_id: str | None) -> str:
    members = list_members(tx, BusinessId(business_id))
    return next((member.display_name for member in members if member.id == member_id), "")


def note_edit(tx: Tx, actor: Actor, lead_id: str, what: HistoryKind, detail: str) -> None:
    """Write a change into the lead's history, and tell of it."""
    _append_step(tx, actor, lead_id, what, detail)
    emit(tx, actor.business_id, LeadEdited(actor.business_id, lead_id, what))
    if what in _TOLD:
        tx.ports[LeadPorts].lead_changed(tx, actor.business_id, lead_id)


def label_name(tx: Tx, business_id: str, label_id: str) -> str:
    return next((label.name for label in list_labels(tx, business_id) if label.id == label_id), "")


def _append_step(tx: Tx, actor: Actor, lead_id: str, what: HistoryKind, detail: str) -> None:
    records.append_history(
        tx, actor.business_id, HistoryEntry(new_id(), LeadId(lead_id), what, detail, actor.name, tx.now)
    )


MOST_VIEWS: Final = 50
"""Views that one member may make."""


def keep_view(tx: Tx, actor: Actor, name: str, query: str, *, is_shared: bool) -> SavedView:
    """Keep a query of the list under a name; a new view is pinned.

    Raises:
        Refused: INVALID.
    """
    tx.hold_key("views", actor.business_id, actor.member_id)
    if count_views(tx, actor.business_id, actor.member_id) >= MOST_VIEWS:
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
    save_view(tx, actor.business_id, view)
    return view


def pin_view(tx: Tx, actor: Actor, view_id: str, *, is_pinned: bool) -> None:
    """Show a view above the list, or only in the menu.

    Raises:
        Refused: NOT_FOUND.
    """
    view = _seen_view(tx, actor, view_id)
    record_view(tx, actor.business_id, replace(view, is_pinned=is_pinned))


def share_view(tx: Tx, actor: Actor, view_id: str, *, is_shared: bool) -> None:
    """Let all of the business see a view, or keep it to oneself again.

    Raises:
        Refused: NOT_FOUND; FORBIDDEN for the view of somebody else.
    """
    view = _own_view(tx, actor, view_id)
    record_view(tx, actor.business_id, replace(view, is_shared=is_shared))


def remove_view(tx: Tx, actor: Actor, view_id: str) -> None:
    """Delete a view of one's own.

    Raises:
        Refused: NOT_FOUND; FORBIDDEN for the view of somebody else.
    """
    delete_view(tx, actor.business_id, _own_view(tx, actor, view_id).id)


def _seen_view(tx: Tx, actor: Actor, view_id: str) -> SavedView:
    views = list_views(tx, actor.business_id, actor.member_id)
    matching_view = next((view for view in views if view.id == view_id), None)
    if matching_view is None:
        raise Refused(errors.NOT_FOUND, "View not found.")
    return matching_view


def _own_view(tx: Tx, actor: Actor, view_id: str) -> SavedView:
    view = _seen_view(tx, actor, view_id)
    if view.member_id != actor.member_id:
        raise Refused(errors.FORBIDDEN, "Only the member who made this view can change it.")
    return view
