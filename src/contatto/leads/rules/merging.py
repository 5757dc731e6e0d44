"""What a lead looks like after a merge, and what it gets back when the merge is undone."""

from contatto.kit.timestamps import micros
from contatto.leads.model.leads import Lead
from contatto.leads.model.merges import Face, Picks


def face_of(lead: Lead) -> Face:
    created, updated = micros(lead.created_at), micros(lead.updated_at)
    return Face(lead.name, lead.status, lead.owner_id, created, updated)


def merged_face(kept: Lead, gone: Lead, picks: Picks) -> Face:
    """The fields after a merge: as picked, with the earlier beginning and the later activity.

    A name or an owner that only one of the two has is never lost.
    """
    ours, theirs = face_of(kept), face_of(gone)
    return Face(
        name=(theirs.name if picks.name else ours.name) or ours.name or theirs.name,
        status=theirs.status if picks.status else ours.status,
        owner_id=(theirs.owner_id if picks.owner else ours.owner_id) or ours.owner_id or theirs.owner_id,
        created_at=min(ours.created_at, theirs.created_at),
        updated_at=max(ours.updated_at, theirs.updated_at),
    )


def face_back(now: Face, before: Face, after: Face) -> Face:
    """The fields after undoing: as before the merge, except what somebody changed since."""
    return Face(
        name=before.name if now.name == after.name else now.name,
        status=before.status if now.status is after.status else now.status,
        owner_id=before.owner_id if now.owner_id == after.owner_id else now.owner_id,
        created_at=before.created_at if now.created_at == after.created_at else now.created_at,
        updated_at=before.updated_at if now.updated_at == after.updated_at else now.updated_at,
    )
