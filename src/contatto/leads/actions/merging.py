"""Making two leads one, and two again: rows move by a journal, in one transaction. See decision 0015."""

from dataclasses import dataclass

from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.outbox import emit
from contatto.leads.actions.records import refresh_with_twins
from contatto.leads.model import Actor, Journal, Lead, LeadsMerged, Merge, Picks
from contatto.leads.ports import LeadPorts
from contatto.leads.rules.records import face_back, face_of, merged_face
from contatto.leads.store import records
from contatto.leads.store.annotations import append_lead_label, delete_lead_label
from contatto.leads.store.jobs import list_leads_to_erase
from contatto.leads.store.merges import (
    find_merge,
    list_equal_points,
    list_evidence_of_points,
    list_label_ids,
    list_row_ids,
    record_face,
    record_followers,
    record_merge_undone,
    record_moved,
    record_rehung,
    save_merge,
)

REASON_LIMIT = 200


@dataclass(frozen=True, slots=True)
class MergeRequest:
    """Request to merge two leads: target, source, the fields to take, and the reason."""

    kept_id: str
    merged_id: str
    picks: Picks
    reason: str


def merge_leads(tx: Tx, actor: Actor, merge_request: MergeRequest) -> Merge:
    """Make two leads one. What they earned stays as it was recorded: reports do not change.

    Raises:
        Refused: NOT_FOUND; INVALID for a lead and itself; CONFLICT when one of them is hidden by now, or is
            to be erased.
    """
    target, source = _both(tx, actor, merge_request.kept_id, merge_request.merged_id)
    after = merged_face(target, source, merge_request.picks)
    journal = _move(tx, target, source, Journal(face_of(target), after, {}, [], [], []))
    record_face(tx, actor.business_id, target.id, after)
    records.record_hidden(tx, source, tx.now, merged_into=target.id)
    refresh_with_twins(tx, actor.business_id, {target.id, source.id})
    reason = " ".join(merge_request.reason.split())[:REASON_LIMIT]
    merge = Merge(new_id(), target.id, source.id, actor.name, reason, journal, tx.now, "", None)
    save_merge(tx, actor.business_id, merge)
    emit(tx, actor.business_id, LeadsMerged(actor.business_id, target.id, source.id, is_undone=False))
    tx.ports[LeadPorts].leads_merged(tx, actor.business_id, target.id, source.id, is_undone=False)
    return merge


def undo_merge(tx: Tx, actor: Actor, merge_id: str) -> Merge:
    """Make the two leads of a merge two again, each row as it was; what came since stays with the kept one.

    Raises:
        Refused: NOT_FOUND; CONFLICT when it was undone, the kept lead itself went into another since, or is
            to be erased.
    """
    merge = find_merge(tx, actor.business_id, merge_id)
    target = source = None
    if merge is not None:
        leads = records.list_leads_to_change(tx, actor.business_id, (merge.kept_id, merge.merged_id))
        target, source = leads.get(merge.kept_id), leads.get(merge.merged_id)
        merge = find_merge(tx, actor.business_id, merge_id)  # somebody may have undone it meanwhile
    if merge is None or target is None or source is None:
        raise Refused(errors.NOT_FOUND, "Merge not found.")
    if merge.undone_at is not None or source.merged_into != target.id or target.merged_into:
        raise Refused(
            errors.CONFLICT,
            "This merge cannot be undone. Undo later merges of this lead first, or check "
            "whether it was already undone.",
        )
    _check_not_erasing(tx, actor, target.id)
    _move_back(tx, target, source, merge.journal)
    snapshot = face_back(face_of(target), merge.journal.before, merge.journal.after)
    record_face(tx, actor.business_id, target.id, snapshot)
    records.record_hidden(tx, source, None)
    refresh_with_twins(tx, actor.business_id, {target.id, source.id})
    record_merge_undone(tx, actor.business_id, merge, actor.name)
    emit(tx, actor.business_id, LeadsMerged(actor.business_id, target.id, source.id, is_undone=True))
    tx.ports[LeadPorts].leads_merged(tx, actor.business_id, target.id, source.id, is_undone=True)
    return merge


def _both(tx: Tx, actor: Actor, kept_id: str, merged_id: str) -> tuple[Lead, Lead]:
    """Both leads, locked in the order of their ids, so that two merges never wait for each other."""
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
    return target, source


def _check_not_erasing(tx: Tx, actor: Actor, *lead_ids: str) -> None:
    """Refuse to move data between leads of which one is to be erased; the leads are locked."""
    if not list_leads_to_erase(tx, actor.business_id).isdisjoint(lead_ids):
        raise Refused(errors.CONFLICT, "One of these leads is being erased. Nothing was merged or split.")


def _move(tx: Tx, target: Lead, source: Lead, journal: Journal) -> Journal:
    """Move all that hangs on one lead to the other, and write down what moved.

    A contact point that both have stays where it is; its evidence goes to the equal one.
    """
    business_id = target.business_id
    equal = list_equal_points(tx, business_id, target.id, source.id)
    proofs = list_evidence_of_points(tx, business_id, list(equal))
    moved = list_row_ids(tx, business_id, source.id)
    moved["contact_points"] = [
        contact_point for contact_point in moved["contact_points"] if contact_point not in equal
    ]
    for rows in moved.items():
        record_moved(tx, business_id, rows, source.id, target.id)
    for evidence_id, point_id in proofs:
        record_rehung(tx, business_id, evidence_id, equal[point_id])
    journal.moved.update(moved)
    journal.rehung.extend((evidence_id, point_id, equal[point_id]) for evidence_id, point_id in proofs)
    for label_id in sorted(list_label_ids(tx, business_id, source.id)):
        if append_lead_label(tx, business_id, target.id, label_id):
            journal.labels.append(label_id)
    journal.followers.extend(lead.id for lead in records.list_merged_leads(tx, business_id, source.id))
    record_followers(tx, business_id, journal.followers, target.id)
    return journal


def _move_back(tx: Tx, target: Lead, source: Lead, journal: Journal) -> None:
    business_id = target.business_id
    for rows in journal.moved.items():
        record_moved(tx, business_id, rows, target.id, source.id)
    for evidence_id, point_id, _ in journal.rehung:
        record_rehung(tx, business_id, evidence_id, point_id)
    for label_id in journal.labels:
        delete_lead_label(tx, business_id, target.id, label_id)
    record_followers(tx, business_id, journal.followers, source.id)
