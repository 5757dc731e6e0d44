"""Making two leads one, and two again: rows move by a journal, in one transaction. See decision 0015."""

from dataclasses import dataclass

from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.outbox import emit
from contatto.leads.actions.facets import refresh_with_twins
from contatto.leads.model.annotations import Actor
from contatto.leads.model.events import LeadsMerged
from contatto.leads.model.leads import Lead
from contatto.leads.model.merges import Journal, Merge, Picks
from contatto.leads.ports import LeadPorts
from contatto.leads.rules.merging import face_back, face_of, merged_face
from contatto.leads.store import merges as store
from contatto.leads.store import records
from contatto.leads.store.annotations import append_lead_label, delete_lead_label
from contatto.leads.store.jobs import list_leads_to_erase

REASON_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Wish:
    """What a member wants: which lead stays, which goes into it, whose fields are taken, and why."""

    kept_id: str
    merged_id: str
    picks: Picks
    reason: str


def merge_leads(tx: Tx, actor: Actor, wish: Wish) -> Merge:
    """Make two leads one. What they earned stays as it was recorded: reports do not change.

    Raises:
        Refused: NOT_FOUND; INVALID for a lead and itself; CONFLICT when one of them is hidden by now, or is
            to be erased.
    """
    kept, gone = _both(tx, actor, wish.kept_id, wish.merged_id)
    after = merged_face(kept, gone, wish.picks)
    journal = _move(tx, kept, gone, Journal(face_of(kept), after, {}, [], [], []))
    store.record_face(tx, actor.business_id, kept.id, after)
    records.record_hidden(tx, gone, tx.now, merged_into=kept.id)
    refresh_with_twins(tx, actor.business_id, {kept.id, gone.id})
    reason = " ".join(wish.reason.split())[:REASON_LIMIT]
    merge = Merge(new_id(), kept.id, gone.id, actor.name, reason, journal, tx.now, "", None)
    store.save_merge(tx, actor.business_id, merge)
    emit(tx, actor.business_id, LeadsMerged(actor.business_id, kept.id, gone.id, is_undone=False))
    tx.ports[LeadPorts].leads_merged(tx, actor.business_id, kept.id, gone.id, is_undone=False)
    return merge


def undo_merge(tx: Tx, actor: Actor, merge_id: str) -> Merge:
    """Make the two leads of a merge two again, each row as it was; what came since stays with the kept one.

    Raises:
        Refused: NOT_FOUND; CONFLICT when it was undone, the kept lead itself went into another since, or is
            to be erased.
    """
    merge = store.find_merge(tx, actor.business_id, merge_id)
    kept = gone = None
    if merge is not None:
        leads = records.list_leads_to_change(tx, actor.business_id, (merge.kept_id, merge.merged_id))
        kept, gone = leads.get(merge.kept_id), leads.get(merge.merged_id)
        merge = store.find_merge(tx, actor.business_id, merge_id)  # somebody may have undone it meanwhile
    if merge is None or kept is None or gone is None:
        raise Refused(errors.NOT_FOUND, "Merge not found.")
    if merge.undone_at is not None or gone.merged_into != kept.id or kept.merged_into:
        raise Refused(
            errors.CONFLICT,
            "This merge cannot be undone. Undo later merges of this lead first, or check "
            "whether it was already undone.",
        )
    _check_not_erasing(tx, actor, kept.id)
    _move_back(tx, kept, gone, merge.journal)
    face = face_back(face_of(kept), merge.journal.before, merge.journal.after)
    store.record_face(tx, actor.business_id, kept.id, face)
    records.record_hidden(tx, gone, None)
    refresh_with_twins(tx, actor.business_id, {kept.id, gone.id})
    store.record_merge_undone(tx, actor.business_id, merge, actor.name)
    emit(tx, actor.business_id, LeadsMerged(actor.business_id, kept.id, gone.id, is_undone=True))
    tx.ports[LeadPorts].leads_merged(tx, actor.business_id, kept.id, gone.id, is_undone=True)
    return merge


def _both(tx: Tx, actor: Actor, kept_id: str, merged_id: str) -> tuple[Lead, Lead]:
    """Both leads, locked in the order of their ids, so that two merges never wait for each other."""
    if kept_id == merged_id:
        raise Refused(errors.INVALID, "Choose two different leads.")
    found = {
        lead_id: records.find_lead_to_change(tx, actor.business_id, lead_id)
        for lead_id in sorted((kept_id, merged_id))
    }
    kept, gone = found[kept_id], found[merged_id]
    if kept is None or gone is None:
        raise Refused(errors.NOT_FOUND, "Lead not found.")
    if kept.hidden_at is not None or gone.hidden_at is not None:
        raise Refused(errors.CONFLICT, "Somebody else merged or deleted one of these leads.")
    _check_not_erasing(tx, actor, kept_id, merged_id)
    return kept, gone


def _check_not_erasing(tx: Tx, actor: Actor, *lead_ids: str) -> None:
    """Refuse to move data between leads of which one is to be erased; the leads are locked."""
    if not list_leads_to_erase(tx, actor.business_id).isdisjoint(lead_ids):
        raise Refused(errors.CONFLICT, "One of these leads is being erased. Nothing was merged or split.")


def _move(tx: Tx, kept: Lead, gone: Lead, journal: Journal) -> Journal:
    """Move all that hangs on one lead to the other, and write down what moved.

    A contact point that both have stays where it is; its evidence goes to the equal one.
    """
    business_id = kept.business_id
    equal = store.list_equal_points(tx, business_id, kept.id, gone.id)
    proofs = store.list_evidence_of_points(tx, business_id, list(equal))
    moved = store.list_row_ids(tx, business_id, gone.id)
    moved["contact_points"] = [each for each in moved["contact_points"] if each not in equal]
    for rows in moved.items():
        store.record_moved(tx, business_id, rows, gone.id, kept.id)
    for evidence_id, point_id in proofs:
        store.record_rehung(tx, business_id, evidence_id, equal[point_id])
    journal.moved.update(moved)
    journal.rehung.extend((evidence_id, point_id, equal[point_id]) for evidence_id, point_id in proofs)
    for label_id in sorted(store.list_label_ids(tx, business_id, gone.id)):
        if append_lead_label(tx, business_id, kept.id, label_id):
            journal.labels.append(label_id)
    journal.followers.extend(lead.id for lead in records.list_merged_leads(tx, business_id, gone.id))
    store.record_followers(tx, business_id, journal.followers, kept.id)
    return journal


def _move_back(tx: Tx, kept: Lead, gone: Lead, journal: Journal) -> None:
    business_id = kept.business_id
    for rows in journal.moved.items():
        store.record_moved(tx, business_id, rows, kept.id, gone.id)
    for evidence_id, point_id, _ in journal.rehung:
        store.record_rehung(tx, business_id, evidence_id, point_id)
    for label_id in journal.labels:
        delete_lead_label(tx, business_id, kept.id, label_id)
    store.record_followers(tx, business_id, journal.followers, gone.id)
