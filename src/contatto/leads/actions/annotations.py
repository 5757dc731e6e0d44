"""Contact details, owner, labels, notes, tasks, views, merges and erasure of leads."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Final, Literal
from urllib.parse import parse_qsl

import msgspec
import sqlalchemy as sa

from contatto.accounts.actions import forget_kept_pages
from contatto.accounts.model import BusinessId, Permission
from contatto.accounts.store import list_able_members, list_members
from contatto.capture import actions as capture
from contatto.capture.model import Field
from contatto.channels.store import list_accounts
from contatto.kit import errors
from contatto.kit.db.tx import Tx, purging, row_of, rows_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.exports import ExportKind, drop_contents
from contatto.kit.i18n import N_, LazyText
from contatto.kit.ids import new_id
from contatto.kit.outbox import emit
from contatto.leads.actions.records import (
    load_listed_lead,
    note_changes,
    note_edit,
    note_step,
    refresh_with_twins,
)
from contatto.leads.model import (
    Actor,
    ContactPoint,
    ContactRejected,
    ErasedPeople,
    HistoryKind,
    JobKind,
    Journal,
    Lead,
    LeadEdited,
    LeadLabel,
    LeadRemoved,
    LeadsMerged,
    LeadUpdated,
    Merge,
    Note,
    Origin,
    Picks,
    RejectedContact,
    SavedView,
    Task,
    WorkAssigned,
)
from contatto.leads.ports import LeadPorts
from contatto.leads.rules import records as rules
from contatto.leads.rules.importing import UnreadableRow, contact_of
from contatto.leads.store import intake, jobs, listing, records
from contatto.leads.store.tables import (
    IS_OPEN,
    contact_points,
    evidence,
    labels,
    lead_entries,
    lead_history,
    lead_job_items,
    lead_jobs,
    lead_labels,
    lead_merges,
    lead_notes,
    lead_scores,
    lead_tasks,
    lead_views,
    leads,
    rejected_contacts,
)
from contatto.measurement import actions as measurement
from contatto.measurement.model import ConversionKind


def assign_lead(tx: Tx, actor: Actor, lead_id: str, seen_owner_id: str | None, owner_id: str | None) -> Lead:
    """Assign a lead, or unassign it. Raises Refused: NOT_FOUND; INVALID for a stranger; CONFLICT."""
    lead = load_listed_lead(tx, actor.business_id, lead_id)
    if lead.owner_id == owner_id:
        return lead
    name = check_member(tx, actor.business_id, owner_id)
    is_unchanged = leads.c.owner_id.is_not_distinct_from(lead.owner_id)
    if lead.owner_id != seen_owner_id or not tx.change(
        leads, lead.business_id, lead.id, is_unchanged, owner_id=owner_id
    ):
        members = list_members(tx, BusinessId(actor.business_id))
        owner = next((member.display_name for member in members if member.id == lead.owner_id), "")
        raise Refused(
            errors.CONFLICT,
            "Somebody else changed this. The lead now belongs to %(now)s.",
            now=owner or LazyText("Nobody"),
        )
    note_edit(tx, actor, lead.id, HistoryKind.OWNER, name)
    if owner_id and owner_id != actor.member_id:
        emit(tx, actor.business_id, WorkAssigned(actor.business_id, lead.id, "", owner_id, tx.now))
    return replace(lead, owner_id=owner_id)


def label_lead(tx: Tx, actor: Actor, lead_id: str, name: str) -> LeadLabel:
    """Put a label on a lead, a new one if need be. Raises Refused: NOT_FOUND; INVALID."""
    lead = load_listed_lead(tx, actor.business_id, lead_id)
    label = keep_label(tx, actor.business_id, name)
    put_label(tx, actor, lead.id, label)
    return label


def put_label(tx: Tx, actor: Actor, lead_id: str, label: LeadLabel) -> bool:
    """Put a label on a lead; return False if the lead has it."""
    is_new = records.append_lead_label(tx, actor.business_id, lead_id, label.id)
    if is_new:
        intake.record_facets(tx, actor.business_id, {lead_id})
        note_edit(tx, actor, lead_id, HistoryKind.LABELLED, label.name)
    return is_new


def keep_label(tx: Tx, business_id: str, name: str) -> LeadLabel:
    """Return or make the label of a name, in any case of letters. Raises Refused: INVALID."""
    label_name = rules.read_line("label", name, rules.LABEL_LIMIT)
    existing_label = records.find_label(tx, business_id, label_name)
    if existing_label is not None:
        return existing_label
    tx.hold_key("labels", business_id)
    count = len(listing.list_labels(tx, business_id))
    if count >= rules.MOST_LABELS:
        raise Refused(
            errors.INVALID,
            "label: you have the maximum of %(most)s labels. Use an existing one.",
            most=rules.MOST_LABELS,
        )
    label = LeadLabel(new_id(), label_name, count % rules.TONES)
    row = row_of(label) | {"business_id": business_id, "name_key": label.name.casefold()}
    tx.insert_ignore(labels, row)
    return records.find_label(tx, business_id, label_name) or label


def unlabel_lead(tx: Tx, actor: Actor, lead_id: str, label_id: str) -> None:
    """Take a label off a lead. Raises Refused: NOT_FOUND, for the lead."""
    lead = load_listed_lead(tx, actor.business_id, lead_id)
    if tx.delete(lead_labels, actor.business_id, lead_id=lead.id, label_id=label_id):
        intake.record_facets(tx, actor.business_id, {lead.id})
        note_edit(tx, actor, lead.id, HistoryKind.UNLABELLED, label_name(tx, actor.business_id, label_id))


def add_note(tx: Tx, actor: Actor, lead_id: str, text: str) -> Note:
    """Write a note. Raises Refused: NOT_FOUND; INVALID."""
    lead = load_listed_lead(tx, actor.business_id, lead_id)
    note = Note(new_id(), lead.id, rules.read_note(text), actor.name, 0, tx.now, None)
    records.save_work(tx, actor.business_id, note)
    note_edit(tx, actor, lead.id, HistoryKind.NOTE, "")
    return note


def add_task(tx: Tx, actor: Actor, lead_id: str, text: str, due_on: date | None) -> Task:
    """Note something to do. Raises Refused: NOT_FOUND; INVALID."""
    lead = load_listed_lead(tx, actor.business_id, lead_id)
    line = rules.read_line("text", text, rules.TASK_LIMIT)
    task = Task(new_id(), lead.id, line, due_on, 0, actor.name, tx.now, "", None)
    records.save_work(tx, actor.business_id, task)
    note_edit(tx, actor, lead.id, HistoryKind.TASK, "")
    return task


_WORK_TEXTS: Final = {
    Note: (
        N_("Somebody deleted this note."),
        N_("Somebody else changed this note. Your text is still in the field."),
        N_("Somebody else changed this note. Check it and try again."),
    ),
    Task: (
        N_("Somebody deleted this task."),
        N_("Somebody else changed this task. Check it and try again."),
        N_("Somebody else changed this task. Check it and try again."),
    ),
}
"""Errors of work that is gone, or that another member changed before an edit, or before a deletion."""


def load_work[W: (Note, Task)](
    tx: Tx, actor: Actor, lead_id: str, work_id: str, revision: int, shape: type[W]
) -> W:
    """Return a note or a task that was seen with this revision. Raises Refused: NOT_FOUND; CONFLICT."""
    is_gone, is_changed, _ = _WORK_TEXTS[shape]
    works = records.list_work(tx, actor.business_id, lead_id, shape)
    work = check_found(next((work for work in works if work.id == work_id), None), is_gone)
    if work.revision != revision:
        raise Refused(errors.CONFLICT, is_changed)
    return work


type WorkChange = Literal["save", "delete", "done", "open"]


def change_work(
    tx: Tx, actor: Actor, work: Note | Task, do: WorkChange, text: str = "", due_on: str = ""
) -> None:
    """Change, delete, tick off or reopen a note or task as it was seen. Raises Refused: INVALID; CONFLICT."""
    table, place = records.WORK[type(work)]
    if do == "delete":
        is_current = tx.delete(table, actor.business_id, id=work.id, revision=work.revision) == 1
    else:
        changed: Note | Task
        if isinstance(work, Note):
            changed = replace(work, text=rules.read_note(text), edited_at=tx.now)
        elif do == "save":
            line = rules.read_line("text", text, rules.TASK_LIMIT)
            changed = replace(work, text=line, due_on=rules.read_day(due_on))
        elif (work.done_at is not None) is (do == "done"):
            return
        elif do == "done":
            changed = replace(work, done_by=actor.name, done_at=tx.now)
        else:
            changed = replace(work, done_by="", done_at=None)
        values = row_of(changed, without={"id", "lead_id", "text", "revision"})
        values |= {"body": tx.vault.seal(changed.text, actor.business_id, place, work.id)}
        values |= {"revision": work.revision + 1}
        is_seen = table.c.revision == work.revision
        is_current = tx.change(table, actor.business_id, work.id, is_seen, **values)
    if not is_current:
        raise Refused(errors.CONFLICT, _WORK_TEXTS[type(work)][2 if do == "delete" else 1])
    emit(tx, actor.business_id, LeadEdited(actor.business_id, work.lead_id, type(work).__name__.lower()))
    if do == "done":
        note_step(tx, actor.business_id, work.lead_id, HistoryKind.TASK_DONE, "", actor.name)


def check_member(
    tx: Tx, business_id: str, member_id: str | None, permission: Permission = Permission.READ_LEADS
) -> str:
    """Return the name of a member with the permission, empty for None. Raises Refused: INVALID."""
    if member_id is None:
        return ""
    members = list_able_members(tx, BusinessId(business_id), permission)
    name = next((member.display_name for member in members if member.id == member_id), None)
    if name is None:
        raise Refused(errors.INVALID, "owner: choose a member who can open leads.")
    return name


def label_name(tx: Tx, business_id: str, label_id: str) -> str:
    return next((label.name for label in listing.list_labels(tx, business_id) if label.id == label_id), "")


MOST_VIEWS: Final = 50
"""Views that one member may make."""


def keep_view(tx: Tx, actor: Actor, name: str, query: str, *, is_shared: bool) -> SavedView:
    """Save a query of the list under a name; a new view is pinned. Raises Refused: INVALID."""
    tx.hold_key("views", actor.business_id, actor.member_id)
    own = rows_of(lead_views, actor.business_id, member_id=actor.member_id)
    if tx.scalar(sa.select(sa.func.count()).where(*own)) >= MOST_VIEWS:
        raise Refused(
            errors.INVALID, "name: you have the maximum of %(most)s views. Delete one first.", most=MOST_VIEWS
        )
    view = SavedView(
        id=new_id(),
        member_id=actor.member_id,
        name=rules.read_line("name", name, rules.VIEW_LIMIT),
        query=query,
        is_shared=is_shared,
        is_pinned=True,
        created_at=tx.now,
    )
    sealed_query = tx.vault.seal(view.query, actor.business_id, "lead_views.query", view.id)
    tx.insert(lead_views, row_of(view) | {"business_id": actor.business_id, "query": sealed_query})
    return view


type ViewChange = Literal["pin", "unpin", "share", "unshare", "delete"]
"""A pinned view stands above the list, others only in the menu; all of the business see a shared one."""


def change_view(tx: Tx, actor: Actor, view_id: str, change: ViewChange) -> None:
    """Change a view that the member sees; only its owner may share or delete it.

    Raises Refused: NOT_FOUND; FORBIDDEN.
    """
    views = records.list_views(tx, actor.business_id, actor.member_id)
    view = check_found(next((view for view in views if view.id == view_id), None), "View not found.")
    if change in ("pin", "unpin"):
        tx.change(lead_views, actor.business_id, view.id, is_pinned=change == "pin")
    elif view.member_id != actor.member_id:
        raise Refused(errors.FORBIDDEN, "Only the member who made this view can change it.")
    elif change == "delete":
        tx.delete(lead_views, actor.business_id, id=view.id)
    else:
        tx.change(lead_views, actor.business_id, view.id, is_shared=change == "share")


MOST_POINTS: Final = 50
"""Contact details that a member may add to one lead."""


def add_contact_point(tx: Tx, actor: Actor, lead_id: str, field: Field, text: str) -> ContactPoint:
    """Add a contact detail that a member knows. Raises Refused: NOT_FOUND; INVALID."""
    lead = load_listed_lead(tx, actor.business_id, lead_id)
    existing_points = listing.list_contact_points(tx, actor.business_id, {lead.id})[lead.id]
    if len(existing_points) >= MOST_POINTS:
        raise Refused(
            errors.INVALID, "value: a lead can have at most %(most)s contact details.", most=MOST_POINTS
        )
    value = _read_detail(tx, lead, field, text, existing_points)
    point = ContactPoint(new_id(), lead.id, field, value, Origin.MANUAL, tx.now)
    tx.insert_ignore(contact_points, intake.point_row(tx.vault, actor.business_id, point))
    refresh_with_twins(tx, actor.business_id, {lead.id})
    note_edit(tx, actor, lead.id, HistoryKind.CONTACT_ADDED, value)
    return point


type PointChange = Literal["save", "main", "wrong", "right"]


def change_contact_point(
    tx: Tx, actor: Actor, lead_id: str, seen_point: tuple[str, str], do: PointChange, text: str = ""
) -> None:
    """Correct a contact detail, make it the main one, or mark it wrong or right.

    ``seen_point`` is its id and value. Raises Refused: NOT_FOUND; INVALID for the text; CONFLICT if it no
    longer has that value.
    """
    lead = load_listed_lead(tx, actor.business_id, lead_id)
    points = listing.list_contact_points(tx, actor.business_id, {lead.id})[lead.id]
    point_id, seen_value = seen_point
    point = next((point for point in points if point.id == point_id), None)
    if point is None:
        raise Refused(errors.CONFLICT, "Somebody else removed this contact detail.")
    shared, detail = set[str](), point.value
    if do == "save":
        points.remove(point)
        changed = replace(point, value=_read_detail(tx, lead, point.field, text, points), wrong_at=None)
        if changed.value == point.value:
            return
        shared = intake.list_sharing_leads(tx, actor.business_id, {lead.id})
        what, detail = HistoryKind.CONTACT_CHANGED, f"{point.value}{rules.ARROW}{changed.value}"
    elif do == "main":
        what, changed = HistoryKind.CONTACT_MAIN, replace(point, main_at=tx.now, wrong_at=None)
    elif do == "wrong":
        what, changed = HistoryKind.CONTACT_WRONG, replace(point, main_at=None, wrong_at=tx.now)
    else:
        what, changed = HistoryKind.CONTACT_RIGHT, replace(point, wrong_at=None)
    if do in ("wrong", "right") and (point.wrong_at is None) is (changed.wrong_at is None):
        return
    is_as_seen = contact_points.c.value_index == tx.vault.blind(seen_value, actor.business_id)
    row = intake.point_row(tx.vault, actor.business_id, changed)
    names = ("main_at", "wrong_at", *(("value", "value_index", "country") if do == "save" else ()))
    values = {name: row[name] for name in names}
    if not tx.change(contact_points, actor.business_id, point.id, is_as_seen, **values):
        raise Refused(errors.CONFLICT, "Somebody else changed this contact detail. Check it and try again.")
    refresh_with_twins(tx, actor.business_id, {lead.id}, shared)
    note_edit(tx, actor, lead.id, what, detail)


def reject_contact_point(tx: Tx, business_id: str, lead_id: str, point_id: str, actor: str) -> Lead | None:
    """Remove a contact detail that is none, and ignore its value in later messages.

    A chat lead without another contact is deleted too, and its conversion leaves the reports; then return
    None. `put_back_contact` undoes all of it for a while.

    Raises Refused: NOT_FOUND.
    """
    lead = records.list_leads_to_change(tx, business_id, [lead_id]).get(lead_id)
    points = listing.list_contact_points(tx, business_id, {lead_id})[lead_id]
    point = next((point for point in points if point.id == point_id), None)
    if lead is None or point is None:
        raise Refused(errors.NOT_FOUND, "Contact detail not found.")
    lead_evidence = records.list_evidence_of_lead(tx, business_id, lead_id)
    proofs = tuple(proof for proof in lead_evidence if proof.contact_point_id == point_id)
    capture.correct_match(tx, business_id, point.field, point.value, actor)
    shared = intake.list_sharing_leads(tx, business_id, {lead_id})
    tx.delete(evidence, business_id, contact_point_id=point_id)
    tx.delete(contact_points, business_id, id=point_id)
    refresh_with_twins(tx, business_id, {lead_id}, shared)
    is_deleted = lead.origin is Origin.CHAT and points == [point]
    history = tuple(records.list_history(tx, business_id, lead_id)) if is_deleted else ()
    rejected = RejectedContact(
        new_id(), point, proofs, lead if is_deleted else None, history, lead.person_id, actor, tx.now
    )
    seal_context = business_id, "rejected_contacts.content", rejected.id
    row = {
        "id": rejected.id,
        "business_id": business_id,
        "lead_id": lead_id,
        "person_id": lead.person_id,
        "content": tx.vault.seal_bytes(msgspec.json.encode(rejected), *seal_context),
        "at": tx.now,
    }
    tx.insert(rejected_contacts, row)
    if is_deleted:
        records.delete_lead(tx, business_id, lead_id)
        measurement.withdraw_conversion(tx, business_id, lead_id, ConversionKind.LEAD)
        emit(tx, business_id, LeadRemoved(business_id, lead_id, lead.conversation_id))
        tx.ports[LeadPorts].leads_gone(tx, business_id, {lead_id})
        return None
    note_step(tx, lead.business_id, lead.id, HistoryKind.REJECTED, point.field.value, actor)
    emit(tx, business_id, ContactRejected(business_id, lead_id, lead.conversation_id, point.field.value))
    note_changes(tx, lead.business_id, [lead])
    return lead


def put_back_contact(tx: Tx, actor: Actor, lead_id: str, rejected_id: str) -> None:
    """Undo `reject_contact_point`, also for a lead that it deleted. Raises Refused: NOT_FOUND; CONFLICT."""
    contacts = records.list_rejected(tx, actor.business_id, lead_id)
    rejected = next((contact for contact in contacts if contact.id == rejected_id), None)
    if rejected is None or not tx.delete(rejected_contacts, actor.business_id, id=rejected_id):
        raise Refused(
            errors.NOT_FOUND, "This contact detail was already restored, or the time to restore it is over."
        )
    lead = records.list_leads_to_change(tx, actor.business_id, [lead_id]).get(lead_id)
    if lead is None:
        lead = check_found(rejected.lead, "Lead not found.")
        if not tx.insert_ignore(leads, intake.lead_row(tx.vault, lead)):
            raise Refused(errors.CONFLICT, "This person is now a lead again. Add the detail to that lead.")
        for step in rejected.history:
            tx.insert(lead_history, intake.history_row(tx.vault, actor.business_id, step))
        measurement.withdraw_conversion(tx, actor.business_id, lead.id, ConversionKind.LEAD, is_back=True)
    point = rejected.point
    capture.forget_corrections(tx, actor.business_id, {point.value})
    if tx.insert_ignore(contact_points, intake.point_row(tx.vault, actor.business_id, point)):
        for proof in rejected.evidence:
            tx.insert_ignore(evidence, intake.evidence_row(tx.vault, proof))
    refresh_with_twins(tx, actor.business_id, {lead.id})
    note_step(tx, lead.business_id, lead.id, HistoryKind.REJECT_UNDONE, point.field.value, actor.name)
    origin, fields, at = point.origin.value, (point.field.value,), point.created_at
    emit(
        tx, lead.business_id, LeadUpdated(lead.business_id, lead.id, lead.conversation_id, origin, fields, at)
    )
    note_changes(tx, lead.business_id, [lead])


purge_rejected: Final = purging(rejected_contacts.c.at, records.KEEP_REJECTED)


def _read_detail(tx: Tx, lead: Lead, field: Field, text: str, other_points: list[ContactPoint]) -> str:
    """Return a value in its normal form; a phone number may omit the country code of the lead's account.

    Raises Refused: INVALID, also for a detail that the lead has.
    """
    accounts = {account.id: account for account in list_accounts(tx, lead.business_id)}
    account = accounts.get(lead.channel_account_id) or next(iter(accounts.values()), None)
    plain = " ".join(text.split())[:200]
    try:
        value = contact_of(field, plain, account.registration_country if account else "").value
    except UnreadableRow as unfit:
        raise Refused(errors.INVALID, "value: %(problem)s", problem=unfit.says) from unfit
    if rules.detail_key(field, value) in {
        rules.detail_key(point.field, point.value) for point in other_points
    }:
        raise Refused(errors.INVALID, "value: the lead already has this contact detail.")
    return value


REASON_LIMIT = 200


def merge_leads(tx: Tx, actor: Actor, kept_id: str, merged_id: str, picks: Picks, reason: str) -> Merge:
    """Merge a lead into the kept one, which takes the picked fields of the other.

    Their conversions stay as recorded: reports do not change.

    Raises Refused: NOT_FOUND; INVALID for a lead and itself; CONFLICT when one of them is hidden by now, or
    is to be erased.
    """
    if kept_id == merged_id:
        raise Refused(errors.INVALID, "Choose two different leads.")
    # Locked in the order of their ids, so that two merges never wait for each other.
    both = records.list_leads_to_change(tx, actor.business_id, (kept_id, merged_id))
    target, source = both.get(kept_id), both.get(merged_id)
    if target is None or source is None:
        raise Refused(errors.NOT_FOUND, "Lead not found.")
    if target.hidden_at is not None or source.hidden_at is not None:
        raise Refused(errors.CONFLICT, "Somebody else merged or deleted one of these leads.")
    _check_not_erasing(tx, actor, kept_id, merged_id)
    # Evidence of a contact point that both have goes to the equal one of the target.
    business_id = actor.business_id
    equal = records.list_equal_points(tx, business_id, target.id, source.id)
    of_equal = rows_of(evidence, business_id, contact_point_id=list(equal))
    query = sa.select(evidence.c.id, evidence.c.contact_point_id).where(*of_equal).order_by(evidence.c.id)
    rehung = [(row.id, row.contact_point_id, equal[row.contact_point_id]) for row in tx.execute(query)]
    moved = records.list_row_ids(tx, business_id, source.id)
    moved["contact_points"] = [point_id for point_id in moved["contact_points"] if point_id not in equal]
    for name, ids in moved.items():
        own = rows_of(records.MOVING[name], business_id, lead_id=source.id, id=ids)
        tx.execute(sa.update(records.MOVING[name]).where(*own).values(lead_id=target.id))
    for evidence_id, _, equal_id in rehung:
        tx.change(evidence, business_id, evidence_id, contact_point_id=equal_id)
    source_labels = listing.list_labels_of(tx, business_id, [source.id])[source.id]
    # a name or an owner that only one of the two has is never lost
    name = source.name if picks.name else target.name
    owner_id = source.owner_id if picks.owner else target.owner_id
    after = replace(
        target,
        name=name or target.name or source.name,
        status=source.status if picks.status else target.status,
        owner_id=owner_id or target.owner_id or source.owner_id,
        created_at=min(target.created_at, source.created_at),
        updated_at=max(target.updated_at, source.updated_at),
    )
    journal = Journal(
        before=target,
        after=after,
        moved=moved,
        rehung=rehung,
        labels=[
            label.id
            for label in source_labels
            if records.append_lead_label(tx, business_id, target.id, label.id)
        ],
        followers=[lead.id for lead in records.list_merged_leads(tx, business_id, source.id)],
    )
    followers = rows_of(leads, business_id, id=journal.followers)
    tx.execute(sa.update(leads).where(*followers).values(merged_into=target.id))
    records.record_merged_fields(tx, after)
    tx.change(leads, business_id, source.id, hidden_at=tx.now, merged_into=target.id)
    refresh_with_twins(tx, business_id, {target.id, source.id})
    line = " ".join(reason.split())[:REASON_LIMIT]
    written = msgspec.json.encode(journal).decode()
    merge = Merge(new_id(), target.id, source.id, actor.name, line, written, tx.now, "", None)
    sealed_values = {
        "journal": tx.seal(written, business_id, "lead_merges.journal", merge.id),
        "reason": tx.seal(line, business_id, "lead_merges.reason", merge.id),
    }
    tx.insert(lead_merges, row_of(merge) | {"business_id": business_id} | sealed_values)
    emit(tx, business_id, LeadsMerged(business_id, target.id, source.id, is_undone=False))
    tx.ports[LeadPorts].leads_merged(tx, business_id, target.id, source.id, is_undone=False)
    return merge


def undo_merge(tx: Tx, actor: Actor, merge_id: str) -> Merge:
    """Undo a merge, each row as it was before; later rows stay with the target lead.

    Raises Refused: NOT_FOUND; CONFLICT if it was undone, or the kept lead was merged or is to be erased.
    """
    merge = records.find_merge(tx, actor.business_id, merge_id)
    target = source = None
    if merge is not None:
        both = records.list_leads_to_change(tx, actor.business_id, (merge.kept_id, merge.merged_id))
        target, source = both.get(merge.kept_id), both.get(merge.merged_id)
        merge = records.find_merge(tx, actor.business_id, merge_id)  # somebody may have undone it meanwhile
    if merge is None or target is None or source is None:
        raise Refused(errors.NOT_FOUND, "Merge not found.")
    if merge.undone_at is not None or source.merged_into != target.id or target.merged_into:
        raise Refused(
            errors.CONFLICT,
            "This merge cannot be undone. Undo later merges of this lead first, or check "
            "whether it was already undone.",
        )
    _check_not_erasing(tx, actor, target.id)
    business_id, journal = actor.business_id, msgspec.json.decode(merge.journal, type=Journal)
    for name, ids in journal.moved.items():
        # rows that left the kept lead meanwhile stay where they are
        own = rows_of(records.MOVING[name], business_id, lead_id=target.id, id=ids)
        tx.execute(sa.update(records.MOVING[name]).where(*own).values(lead_id=source.id))
    for evidence_id, point_id, _ in journal.rehung:
        tx.change(evidence, business_id, evidence_id, contact_point_id=point_id)
    for label_id in journal.labels:
        tx.delete(lead_labels, business_id, lead_id=target.id, label_id=label_id)
    followers = rows_of(leads, business_id, id=journal.followers)
    tx.execute(sa.update(leads).where(*followers).values(merged_into=source.id))
    unchanged = [
        name for name in rules.MERGED_FIELDS if getattr(target, name) == getattr(journal.after, name)
    ]
    restored = {name: getattr(journal.before, name) for name in unchanged}
    records.record_merged_fields(tx, replace(target, **restored))
    tx.change(leads, business_id, source.id, hidden_at=None, merged_into=None)
    refresh_with_twins(tx, actor.business_id, {target.id, source.id})
    tx.change(lead_merges, actor.business_id, merge.id, undone_by=actor.name, undone_at=tx.now)
    emit(tx, actor.business_id, LeadsMerged(actor.business_id, target.id, source.id, is_undone=True))
    tx.ports[LeadPorts].leads_merged(tx, actor.business_id, target.id, source.id, is_undone=True)
    return merge


def _check_not_erasing(tx: Tx, actor: Actor, *lead_ids: str) -> None:
    """Refuse to move data between leads of which one is to be erased; the leads are locked."""
    erasures = jobs.list_jobs_with_plans(
        tx, IS_OPEN, *rows_of(lead_jobs, actor.business_id, kind=JobKind.ERASE)
    )
    if any(not set(job.plan.lead_ids).isdisjoint(lead_ids) for job in erasures):
        raise Refused(errors.CONFLICT, "One of these leads is being erased. Nothing was merged or split.")


NOBODY: Final = "q=%E2%90%80"
"""A query that no lead matches."""
_DEPENDENT_TABLES: Final = (
    evidence, contact_points, lead_history, lead_notes, lead_tasks, lead_labels, lead_entries,
    lead_scores, rejected_contacts,
)  # fmt: skip


def erase_leads(tx: Tx, business_id: str, chosen_leads: Sequence[Lead], actor: str) -> set[str]:
    """Erase leads and those merged into them, in this transaction; return the ids of all.

    Conversions stay in the reports, as they hold ids only.

    Raises MissingPart: the installation has no `LeadPorts`.
    """
    ports = tx.ports[LeadPorts]
    merged = [
        merged_lead
        for lead in chosen_leads
        for merged_lead in records.list_merged_leads(tx, lead.business_id, lead.id)
    ]
    persons = {lead.person_id for lead in (*chosen_leads, *merged)}
    ports.hold_chats(tx, business_id, persons)
    erased: dict[str, Lead] = {}
    for chosen_lead in chosen_leads:  # locked with those that were merged into it
        sources = records.list_merged_leads(tx, business_id, chosen_lead.id)
        ids = {chosen_lead.id, *(source.id for source in sources)}
        erased |= records.list_leads_to_change(tx, business_id, ids)
    twins = intake.list_sharing_leads(tx, business_id, set(erased))
    lead_ids = frozenset(erased)
    points_by_lead = listing.list_contact_points(tx, business_id, lead_ids)
    values = {point.value for points in points_by_lead.values() for point in points}
    evidence_by_lead = [records.list_evidence_of_lead(tx, business_id, lead_id) for lead_id in lead_ids]
    written = {proof.raw for proofs in evidence_by_lead for proof in proofs}
    erased_people = ErasedPeople(
        business_id,
        lead_ids=lead_ids,
        person_ids=frozenset(lead.person_id for lead in erased.values()),
        contacts=frozenset(values | written),
        names=frozenset(lead.name for lead in erased.values() if lead.name),
    )
    forget_ports = ports.forget_chats, ports.forget_answers, ports.forget_audiences, ports.forget_viewers
    for forget in forget_ports:
        erased_people = replace(erased_people, contacts=erased_people.contacts | forget(tx, erased_people))
    capture.forget_corrections(tx, business_id, erased_people.contacts)
    # Empty the rows of imports that were about the person, and the searches of jobs.
    for job in jobs.list_jobs_with_plans(tx, lead_jobs.c.business_id == business_id):
        fresh = job.plan
        if job.kind is JobKind.IMPORT:
            own_rows = rows_of(lead_job_items, business_id, job_id=job.id, lead_id=lead_ids)
            numbers = set(tx.execute(sa.select(lead_job_items.c.position).where(*own_rows)).scalars())
            rows = rules.without_person(fresh.rows, numbers, erased_people.contacts, fresh.numbers)
            fresh = replace(fresh, rows=rows)
        elif _searches(fresh.query, erased_people):
            fresh = replace(fresh, query="" if job.has_ended else NOBODY)
        if fresh != job.plan:
            jobs.record_plan(tx, business_id, job.id, fresh)
    for view in tx.list(SavedView, sa.select(lead_views).where(lead_views.c.business_id == business_id)):
        if _searches(view.query, erased_people):
            tx.delete(lead_views, business_id, id=view.id)
    forget_kept_pages(tx, business_id)
    tx.delete(rejected_contacts, business_id, person_id=erased_people.person_ids)
    for table in _DEPENDENT_TABLES:
        tx.delete(table, business_id, lead_id=erased_people.lead_ids)
    tx.delete(lead_merges, business_id, kept_id=erased_people.lead_ids)
    tx.delete(lead_merges, business_id, merged_id=erased_people.lead_ids)
    drop_contents(tx, ExportKind.LEADS, business_id)  # files may hold the leads
    for lead in erased.values():
        # The lead becomes its own tombstone: its id, number, status, origin and times stay, for reports.
        blank = {"name": None, "name_key": "", "facets": "", "conversation_id": "", "channel_account_id": ""}
        cleared = {"person_id": lead.id, "owner_id": None, "merged_into": None}
        times = {"hidden_at": tx.now, "erased_at": tx.now, "erased_by": actor}
        tx.change(leads, lead.business_id, lead.id, **blank, **cleared, **times)
        emit(tx, business_id, LeadRemoved(business_id, lead.id, lead.conversation_id))
    ports.leads_gone(tx, business_id, set(erased))
    intake.record_facets(tx, business_id, twins - set(erased))
    return set(erased)


def _searches(query: str, erased: ErasedPeople) -> bool:
    """Report whether a saved query searches for the person."""
    typed = (value for word, value in parse_qsl(query) if word == "q")
    return any(rules.tells_of(text, erased.contacts, erased.names) for text in typed)
