"""Merges of two leads with their undo, and erasure of people."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl

from contatto.accounts.actions import forget_kept_pages
from contatto.capture import actions as capture
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.outbox import emit
from contatto.leads.actions.records import refresh_facets, refresh_with_twins
from contatto.leads.model import (
    Actor,
    ErasedPeople,
    JobKind,
    Journal,
    Lead,
    LeadJobState,
    LeadRemoved,
    LeadsMerged,
    Merge,
    Picks,
)
from contatto.leads.ports import LeadPorts
from contatto.leads.rules.records import (
    merged_snapshot,
    snapshot_of,
    tells_of,
    undone_snapshot,
    without_person,
)
from contatto.leads.store import annotations, jobs, records

REASON_LIMIT = 200


@dataclass(frozen=True, slots=True)
class MergeRequest:
    """Request to merge two leads: target, source, the fields to take, and the reason."""

    kept_id: str
    merged_id: str
    picks: Picks
    reason: str


def merge_leads(tx: Tx, actor: Actor, merge_request: MergeRequest) -> Merge:
    """Merge two leads. Their conversions stay as recorded: reports do not change.

    Raises Refused: NOT_FOUND; INVALID for a lead and itself; CONFLICT when one of them is hidden by now, or
    is to be erased.
    """
    # Lock both leads in the order of their ids, so that two merges never wait for each other.
    kept_id = merge_request.kept_id
    merged_id = merge_request.merged_id
    if kept_id == merged_id:
        raise Refused(errors.INVALID, "Choose two different leads.")
    leads_by_id = {
        lead_id: records.find_lead_to_change(tx, actor.business_id, lead_id)
        for lead_id in sorted((kept_id, merged_id))
    }
    target, source = leads_by_id[kept_id], leads_by_id[merged_id]
    if target is None or source is None:
        raise Refused(errors.NOT_FOUND, "Lead not found.")
    if target.hidden_at is not None or source.hidden_at is not None:
        raise Refused(errors.CONFLICT, "Somebody else merged or deleted one of these leads.")
    _check_not_erasing(tx, actor, kept_id, merged_id)
    after = merged_snapshot(target, source, merge_request.picks)
    journal = _move(tx, target, source, Journal(snapshot_of(target), after, {}, [], [], []))
    annotations.record_merged_fields(tx, actor.business_id, target.id, after)
    records.record_hidden(tx, source, tx.now, merged_into=target.id)
    refresh_with_twins(tx, actor.business_id, {target.id, source.id})
    reason = " ".join(merge_request.reason.split())[:REASON_LIMIT]
    merge = Merge(new_id(), target.id, source.id, actor.name, reason, journal, tx.now, "", None)
    annotations.save_merge(tx, actor.business_id, merge)
    emit(tx, actor.business_id, LeadsMerged(actor.business_id, target.id, source.id, is_undone=False))
    tx.ports[LeadPorts].leads_merged(tx, actor.business_id, target.id, source.id, is_undone=False)
    return merge


def undo_merge(tx: Tx, actor: Actor, merge_id: str) -> Merge:
    """Undo a merge, each row as it was before; later rows stay with the target lead.

    Raises Refused: NOT_FOUND; CONFLICT when it was undone, the kept lead itself went into another since, or
    is to be erased.
    """
    merge = annotations.find_merge(tx, actor.business_id, merge_id)
    target = source = None
    if merge is not None:
        leads = records.list_leads_to_change(tx, actor.business_id, (merge.kept_id, merge.merged_id))
        target, source = leads.get(merge.kept_id), leads.get(merge.merged_id)
        merge = annotations.find_merge(
            tx, actor.business_id, merge_id
        )  # somebody may have undone it meanwhile
    if merge is None or target is None or source is None:
        raise Refused(errors.NOT_FOUND, "Merge not found.")
    if merge.undone_at is not None or source.merged_into != target.id or target.merged_into:
        raise Refused(
            errors.CONFLICT,
            "This merge cannot be undone. Undo later merges of this lead first, or check "
            "whether it was already undone.",
        )
    _check_not_erasing(tx, actor, target.id)
    journal = merge.journal
    business_id = target.business_id
    for rows in journal.moved.items():
        annotations.record_moved(tx, business_id, rows, target.id, source.id)
    for evidence_id, point_id, _ in journal.rehung:
        annotations.record_evidence_point(tx, business_id, evidence_id, point_id)
    for label_id in journal.labels:
        annotations.delete_lead_label(tx, business_id, target.id, label_id)
    annotations.record_followers(tx, business_id, journal.followers, source.id)
    snapshot = undone_snapshot(snapshot_of(target), merge.journal.before, merge.journal.after)
    annotations.record_merged_fields(tx, actor.business_id, target.id, snapshot)
    records.record_hidden(tx, source, None)
    refresh_with_twins(tx, actor.business_id, {target.id, source.id})
    annotations.record_merge_undone(tx, actor.business_id, merge, actor.name)
    emit(tx, actor.business_id, LeadsMerged(actor.business_id, target.id, source.id, is_undone=True))
    tx.ports[LeadPorts].leads_merged(tx, actor.business_id, target.id, source.id, is_undone=True)
    return merge


def _check_not_erasing(tx: Tx, actor: Actor, *lead_ids: str) -> None:
    """Refuse to move data between leads of which one is to be erased; the leads are locked."""
    if not jobs.list_leads_to_erase(tx, actor.business_id).isdisjoint(lead_ids):
        raise Refused(errors.CONFLICT, "One of these leads is being erased. Nothing was merged or split.")


def _move(tx: Tx, target: Lead, source: Lead, journal: Journal) -> Journal:
    """Move all that hangs on one lead to the other, and write down what moved.

    A contact point that both have stays where it is; its evidence goes to the equal one.
    """
    business_id = target.business_id
    equal = annotations.list_equal_points(tx, business_id, target.id, source.id)
    proofs = annotations.list_evidence_of_points(tx, business_id, list(equal))
    moved = annotations.list_row_ids(tx, business_id, source.id)
    moved["contact_points"] = [
        contact_point for contact_point in moved["contact_points"] if contact_point not in equal
    ]
    for rows in moved.items():
        annotations.record_moved(tx, business_id, rows, source.id, target.id)
    for evidence_id, point_id in proofs:
        annotations.record_evidence_point(tx, business_id, evidence_id, equal[point_id])
    journal.moved.update(moved)
    journal.rehung.extend((evidence_id, point_id, equal[point_id]) for evidence_id, point_id in proofs)
    for label_id in sorted(annotations.list_label_ids(tx, business_id, source.id)):
        if annotations.append_lead_label(tx, business_id, target.id, label_id):
            journal.labels.append(label_id)
    journal.followers.extend(lead.id for lead in records.list_merged_leads(tx, business_id, source.id))
    annotations.record_followers(tx, business_id, journal.followers, target.id)
    return journal


NOBODY: Final = "q=%E2%90%80"
"""A query that no lead matches."""


def erase_leads(tx: Tx, business_id: str, chosen_leads: Sequence[Lead], actor: str) -> set[str]:
    """Erase leads with those that were merged into them, and say which leads that were.

    Everything goes in this transaction. What ads earned stays in the reports: it holds ids alone.

    Raises MissingPart: the installation does not say who else holds something of a person.
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
    twins = annotations.list_sharing_leads(tx, business_id, set(erased))
    lead_ids = frozenset(erased)
    points_by_lead = records.list_contact_points(tx, business_id, lead_ids)
    values = {point.value for points in points_by_lead.values() for point in points}
    erased_people = ErasedPeople(
        business_id,
        lead_ids=lead_ids,
        person_ids=frozenset(lead.person_id for lead in erased.values()),
        contacts=frozenset(values | jobs.list_written_values(tx, business_id, lead_ids)),
        names=frozenset(lead.name for lead in erased.values() if lead.name),
    )
    forget_ports = ports.forget_chats, ports.forget_answers, ports.forget_audiences, ports.forget_viewers
    for forget in forget_ports:
        erased_people = replace(erased_people, contacts=erased_people.contacts | forget(tx, erased_people))
    capture.forget_corrections(tx, business_id, erased_people.contacts)
    # Empty the rows of imports that were about the person, and the searches of jobs.
    for job_id, kind, state, plan in jobs.list_plans(tx, erased_people.business_id):
        if kind is JobKind.IMPORT:
            numbers = jobs.list_row_numbers(tx, erased_people.business_id, job_id, erased_people.lead_ids)
            rows = without_person(plan.rows, numbers, erased_people.contacts, plan.numbers)
            fresh = replace(plan, rows=rows)
        elif _searches(plan.query, erased_people):
            fresh = replace(plan, query="" if state is LeadJobState.DONE else NOBODY)
        else:
            continue
        if fresh != plan:
            jobs.record_plan(tx, erased_people.business_id, job_id, fresh)
    queries = jobs.list_view_queries(tx, erased_people.business_id)
    about = {view_id for view_id, query in queries.items() if _searches(query, erased_people)}
    if about:
        jobs.delete_views(tx, erased_people.business_id, about)
    forget_kept_pages(tx, business_id)
    jobs.delete_traces(tx, erased_people)
    for lead in erased.values():
        jobs.record_erased(tx, lead, actor)
        emit(tx, business_id, LeadRemoved(business_id, lead.id, lead.conversation_id))
    ports.leads_gone(tx, business_id, set(erased))
    refresh_facets(tx, business_id, twins - set(erased))
    return set(erased)


def _searches(query: str, erased: ErasedPeople) -> bool:
    """Report whether a saved query searches for the person."""
    typed = (value for word, value in parse_qsl(query) if word == "q")
    return any(tells_of(text, erased.contacts, erased.names) for text in typed)
