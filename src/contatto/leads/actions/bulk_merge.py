"""Several leads made one at once, as one piece of work that is undone as a whole."""

from collections.abc import Sequence
from typing import Final

from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.leads.actions.jobs import record_done_job
from contatto.leads.actions.merging import Wish, merge_leads
from contatto.leads.model.annotations import Actor
from contatto.leads.model.jobs import ItemState, Job, JobItem, JobKind, Plan
from contatto.leads.model.merges import Picks
from contatto.leads.store import records

MOST_JOINED: Final = 20


def merge_many_leads(tx: Tx, actor: Actor, kept_id: str, lead_ids: Sequence[str], reason: str) -> Job:
    """Merge all of the leads into one of them: either all of them, or none.

    The one that is kept keeps its fields; a name or an owner that it lacks comes from the first that has one.

    Raises:
        Refused: INVALID for fewer than two leads or too many, or when none of them is kept; NOT_FOUND;
            CONFLICT when one of them is hidden by now.
    """
    chosen = list(dict.fromkeys(lead_ids))
    if not 2 <= len(chosen) <= MOST_JOINED or kept_id not in chosen:
        raise Refused(
            errors.INVALID, "Choose 2 to %(most)s leads, and which of them stays.", most=MOST_JOINED
        )
    for lead_id in sorted(chosen):  # in one order, so that two of these never wait for each other
        records.find_lead_to_change(tx, actor.business_id, lead_id)
    merges = [
        merge_leads(tx, actor, Wish(kept_id, lead_id, Picks(), reason))
        for lead_id in chosen
        if lead_id != kept_id
    ]
    # the last one first: that is the order of undoing
    items = [JobItem(0, kept_id, ItemState.CHANGED, "", made.id, "") for made in reversed(merges)]
    return record_done_job(tx, actor, JobKind.MERGE, Plan(lead_ids=tuple(sorted(chosen))), items)
