"""Forgetting people: what the tables of leads hold of them goes, and a tombstone stays for each lead."""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import select, update

from contatto.kit.db.tx import Tx
from contatto.leads.model.erasing import Gone, Tombstone
from contatto.leads.model.jobs import JobKind, JobState, Plan
from contatto.leads.model.leads import Lead
from contatto.leads.store.annotations import lead_labels, lead_notes, lead_tasks
from contatto.leads.store.entries import lead_entries
from contatto.leads.store.files import lead_files
from contatto.leads.store.jobs import lead_job_items, lead_jobs, open_plan, seal_plan
from contatto.leads.store.merges import lead_merges
from contatto.leads.store.points import delete_rejected_of
from contatto.leads.store.records import contact_points, evidence, lead_history, leads
from contatto.leads.store.scores import lead_scores
from contatto.leads.store.views import lead_views

_HANGING: Final = (
    evidence, contact_points, lead_history, lead_notes, lead_tasks, lead_labels, lead_entries,
    lead_scores,
)  # fmt: skip


def find_tombstone(tx: Tx, business_id: str, lead_id: str) -> Tombstone | None:
    """What is left of a lead that was erased."""
    mine = select(leads.c.id, leads.c.erased_at, leads.c.erased_by).where(leads.c.business_id == business_id)
    return tx.find(Tombstone, mine.where(leads.c.id == lead_id, leads.c.erased_at.is_not(None)))


def list_written_values(tx: Tx, business_id: str, lead_ids: frozenset[str]) -> set[str]:
    """Contact values of leads as people wrote them."""
    mine = select(evidence.c.raw, evidence.c.id).where(
        evidence.c.business_id == business_id, evidence.c.lead_id.in_(lead_ids)
    )
    return {tx.vault.open(row.raw, business_id, "evidence.raw", row.id) for row in tx.execute(mine)}


def record_erased(tx: Tx, lead: Lead, actor: str) -> None:
    """Make a lead its own tombstone: its id, number, status, origin and times stay, for reports."""
    mine = update(leads).where(leads.c.business_id == lead.business_id, leads.c.id == lead.id)
    blank = {"name": None, "name_key": "", "facets": "", "conversation_id": "", "channel_account_id": ""}
    gone = {"person_id": lead.id, "owner_id": None, "merged_into": None}
    times = {"hidden_at": tx.now, "erased_at": tx.now, "erased_by": actor}
    tx.execute(mine.values(**blank, **gone, **times))


def delete_traces(tx: Tx, gone: Gone) -> None:
    """Delete what hangs on the leads, the journals of their merges, and files that may hold them."""
    delete_rejected_of(tx, gone.business_id, gone.person_ids, gone.lead_ids)
    for table in _HANGING:
        hanging = table.delete().where(table.c.business_id == gone.business_id)
        tx.execute(hanging.where(table.c.lead_id.in_(gone.lead_ids)))
    of_merge = lead_merges.c.kept_id.in_(gone.lead_ids) | lead_merges.c.merged_id.in_(gone.lead_ids)
    tx.execute(lead_merges.delete().where(lead_merges.c.business_id == gone.business_id, of_merge))
    files = update(lead_files).where(lead_files.c.business_id == gone.business_id)
    tx.execute(files.where(lead_files.c.content.is_not(None)).values(content=None))


def list_view_queries(tx: Tx, business_id: str) -> dict[str, str]:
    """The queries of all saved views of a business, by their ids."""
    mine = select(lead_views.c.id, lead_views.c.query).where(lead_views.c.business_id == business_id)
    rows = tx.execute(mine).mappings()
    return {
        row["id"]: tx.vault.open(row["query"], business_id, "lead_views.query", row["id"]) for row in rows
    }


def delete_views(tx: Tx, business_id: str, view_ids: set[str]) -> None:
    mine = lead_views.c.business_id == business_id
    tx.execute(lead_views.delete().where(mine, lead_views.c.id.in_(view_ids)))


def list_plans(tx: Tx, business_id: str) -> Iterator[tuple[str, JobKind, JobState, Plan]]:
    """What each job of a business is, or was, to do; those with a query or with rows."""
    mine = select(lead_jobs).where(lead_jobs.c.business_id == business_id)
    for row in tx.execute(mine.order_by(lead_jobs.c.id)).mappings().all():
        plan = open_plan(tx.vault, row)
        if plan.query or plan.rows:
            yield row["id"], row["kind"], row["state"], plan


def list_row_numbers(tx: Tx, business_id: str, job_id: str, lead_ids: frozenset[str]) -> set[int]:
    """The rows of an import, from 1, that went into leads."""
    mine = select(lead_job_items.c.position).where(
        lead_job_items.c.business_id == business_id,
        lead_job_items.c.job_id == job_id,
        lead_job_items.c.lead_id.in_(lead_ids),
    )
    return {row[0] for row in tx.execute(mine)}


def record_plan(tx: Tx, business_id: str, job_id: str, plan: Plan) -> None:
    """Write a plan over the one of a job."""
    mine = update(lead_jobs).where(lead_jobs.c.business_id == business_id, lead_jobs.c.id == job_id)
    tx.execute(mine.values(plan=seal_plan(tx.vault, business_id, job_id, plan)))
