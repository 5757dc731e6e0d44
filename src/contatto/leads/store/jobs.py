"""Tables of long work on leads: a job with its sealed plan, and what it did to each lead."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    and_,
    case,
    func,
    literal_column,
    or_,
    select,
    update,
)

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, instant, key, metadata, row_of, sealed, tenant, text
from contatto.kit.vault import Vault
from contatto.leads.model.jobs import ItemState, Job, JobItem, JobKind, JobState, Plan

_OPEN: Final[ColumnElement[bool]] = literal_column("state <> 'done'")

lead_jobs = Table(
    "lead_jobs",
    metadata,
    key(),
    tenant(),
    Column("kind", Choice(JobKind), nullable=False),
    Column("state", Choice(JobState), nullable=False),
    Column("member_id", String(36), nullable=False),
    text("actor"),
    sealed("plan"),
    Column("value", String(36), nullable=False),
    Column("cursor", String(36), nullable=False),
    Column("total", Integer, nullable=False),
    Column("done", Integer, nullable=False),
    Column("skipped", Integer, nullable=False),
    Column("undo_of", String(36)),
    Column("undone_by", String(36)),
    instant("created_at"),
    instant("moved_at"),
    instant("ended_at", nullable=True),
    Index("ix_lead_jobs_business_id", "business_id", "created_at"),
    Index("ix_lead_jobs_open", "business_id", "state", sqlite_where=_OPEN, postgresql_where=_OPEN),
)

lead_job_items = Table(
    "lead_job_items",
    metadata,
    tenant(),
    Column("job_id", String(36), nullable=False),
    Column("position", Integer, nullable=False),
    Column("lead_id", String(36), nullable=False),
    Column("state", Choice(ItemState), nullable=False),
    text("before"),
    text("after"),
    text("reason"),
    PrimaryKeyConstraint("business_id", "job_id", "position"),
)


def save_job(tx: Tx, job: Job) -> None:
    row = row_of(job)
    plan = seal_plan(tx.vault, job.business_id, job.id, job.plan)
    tx.insert(lead_jobs, row | {"plan": plan, "value": job.plan.value})


def seal_plan(vault: Vault, business_id: str, job_id: str, plan: Plan) -> bytes:
    return vault.seal_bytes(msgspec.json.encode(plan), business_id, "lead_jobs.plan", job_id)


def open_plan(vault: Vault, row: Mapping[Any, Any]) -> Plan:
    raw = vault.open_bytes(row["plan"], row["business_id"], "lead_jobs.plan", row["id"])
    return msgspec.json.decode(raw, type=Plan)


def find_job(tx: Tx, business_id: str, job_id: str) -> Job | None:
    """A job, locked until the end of the transaction."""
    mine = select(lead_jobs).where(lead_jobs.c.business_id == business_id, lead_jobs.c.id == job_id)
    row = tx.execute(mine.with_for_update() if tx.locks_rows else mine).mappings().first()
    return None if row is None else _opened(tx, row)


def list_jobs(tx: Tx, business_id: str, since: datetime, limit: int = 10) -> list[Job]:
    """Jobs that wait or run, or that began after a time, latest first; of their plans only the value."""
    recent = and_(or_(_OPEN, lead_jobs.c.created_at >= since), lead_jobs.c.state != JobState.DRAFT)
    shown = [column for column in lead_jobs.c if column.name != "plan"]
    mine = select(*shown).where(lead_jobs.c.business_id == business_id, recent)
    rows = tx.execute(
        mine.order_by(lead_jobs.c.created_at.desc(), lead_jobs.c.id.desc()).limit(limit)
    ).mappings()
    return [_made(row, Plan(row["value"])) for row in rows]


def count_waiting_jobs(tx: Tx, business_id: str) -> int:
    mine = lead_jobs.c.business_id == business_id, lead_jobs.c.state == JobState.WAITING
    return int(tx.scalar(select(func.count()).select_from(lead_jobs).where(_OPEN, *mine)))


def list_leads_to_erase(tx: Tx, business_id: str) -> set[str]:
    """Return the ids of leads that an unfinished job will erase."""
    mine = lead_jobs.c.business_id == business_id, lead_jobs.c.kind == JobKind.ERASE
    rows = tx.execute(select(lead_jobs).where(_OPEN, *mine)).mappings()
    return {lead_id for row in rows for lead_id in _opened(tx, row).plan.lead_ids}


def list_free_businesses(tx: Tx, most: int, moved_since: datetime) -> list[tuple[str, int]]:
    """Businesses with jobs that wait and places for some of them, with how many; for the worker.

    Args:
        tx: the transaction.
        most: how many jobs of one business may run at a time.
        moved_since: a job that runs and has made no step since holds no place.
    """
    waits = func.sum(case((lead_jobs.c.state == JobState.WAITING, 1), else_=0))
    is_held = and_(lead_jobs.c.state == JobState.RUNNING, lead_jobs.c.moved_at > moved_since)
    held = func.sum(case((is_held, 1), else_=0))
    of_each = select(lead_jobs.c.business_id, held.label("held")).where(_OPEN)
    free = of_each.group_by(lead_jobs.c.business_id).having(waits > 0, held < most)
    return [(row.business_id, most - row.held) for row in tx.execute(free.order_by(lead_jobs.c.business_id))]


def list_next_jobs(tx: Tx, business_id: str, limit: int) -> list[str]:
    """The ids of the jobs that have waited longest, locked until the end of the transaction."""
    mine = select(lead_jobs.c.id).where(
        _OPEN, lead_jobs.c.business_id == business_id, lead_jobs.c.state == JobState.WAITING
    )
    mine = mine.order_by(lead_jobs.c.created_at, lead_jobs.c.id).limit(limit)
    return list(tx.execute(mine.with_for_update(skip_locked=True) if tx.locks_rows else mine).scalars())


def mark_job_running(tx: Tx, business_id: str, job_id: str) -> None:
    mine = update(lead_jobs).where(lead_jobs.c.business_id == business_id, lead_jobs.c.id == job_id)
    tx.execute(mine.values(state=JobState.RUNNING, moved_at=tx.now))


def record_job(tx: Tx, job: Job) -> None:
    """Keep how far a job is."""
    mine = update(lead_jobs).where(lead_jobs.c.business_id == job.business_id, lead_jobs.c.id == job.id)
    names = ("state", "cursor", "done", "skipped", "undone_by", "moved_at", "ended_at")
    tx.execute(mine.values(**{name: getattr(job, name) for name in names}))


def append_job_items(tx: Tx, job: Job, items: list[JobItem]) -> None:
    rows = [row_of(item) | {"business_id": job.business_id, "job_id": job.id} for item in items]
    if rows:
        tx.execute(lead_job_items.insert(), rows)


def list_job_items(tx: Tx, business_id: str, job_id: str, after: int, limit: int) -> list[JobItem]:
    """What a job changed, in its order, after a position; what it skipped is left out."""
    mine = select(lead_job_items).where(
        lead_job_items.c.business_id == business_id,
        lead_job_items.c.job_id == job_id,
        lead_job_items.c.position > after,
        lead_job_items.c.state != ItemState.SKIPPED,
    )
    return tx.list(JobItem, mine.order_by(lead_job_items.c.position).limit(limit))


def list_told(tx: Tx, business_id: str, job_id: str, limit: int = 500) -> list[JobItem]:
    """What a job left out, or took in part, with the reasons."""
    mine = select(lead_job_items).where(
        lead_job_items.c.business_id == business_id,
        lead_job_items.c.job_id == job_id,
        lead_job_items.c.reason != "",
    )
    return tx.list(JobItem, mine.order_by(lead_job_items.c.position).limit(limit))


def count_job_items(tx: Tx, business_id: str, job_id: str) -> dict[tuple[ItemState, bool], int]:
    """How many leads or rows a job made, changed and skipped; apart, those with a reason."""
    has_reason = lead_job_items.c.reason != ""
    mine = select(lead_job_items.c.state, has_reason.label("told"), func.count().label("n")).where(
        lead_job_items.c.business_id == business_id, lead_job_items.c.job_id == job_id
    )
    rows = tx.execute(mine.group_by(lead_job_items.c.state, has_reason)).mappings()
    return {(ItemState(row["state"]), bool(row["told"])): row["n"] for row in rows}


def delete_drafts(tx: Tx, business_id: str, member_id: str) -> None:
    """Delete the imports that a member looked at and did not start."""
    mine = lead_jobs.c.business_id == business_id, lead_jobs.c.member_id == member_id
    tx.execute(lead_jobs.delete().where(_OPEN, *mine, lead_jobs.c.state == JobState.DRAFT))


def record_draft_started(tx: Tx, job: Job) -> bool:
    """Let a draft wait for its turn; False when it was started before."""
    mine = update(lead_jobs).where(
        lead_jobs.c.business_id == job.business_id,
        lead_jobs.c.id == job.id,
        lead_jobs.c.state == JobState.DRAFT,
    )
    return tx.execute(mine.values(state=JobState.WAITING, created_at=tx.now, moved_at=tx.now)).rowcount == 1


def delete_old_drafts(tx: Tx, until: datetime) -> int:
    """Delete imports that nobody started, of all businesses."""
    old = lead_jobs.delete().where(_OPEN, lead_jobs.c.state == JobState.DRAFT, lead_jobs.c.moved_at < until)
    return int(tx.execute(old).rowcount)


def list_old_imports(tx: Tx, since: datetime, until: datetime) -> list[Job]:
    """Imports of all businesses that ended within this time and still have rows."""
    old = select(lead_jobs).where(
        lead_jobs.c.kind == JobKind.IMPORT, lead_jobs.c.ended_at >= since, lead_jobs.c.ended_at < until
    )
    found = [_opened(tx, row) for row in tx.execute(old).mappings()]
    return [job for job in found if job.plan.rows]


def _opened(tx: Tx, row: Mapping[Any, Any]) -> Job:
    return _made(row, open_plan(tx.vault, row))


def _made(row: Mapping[Any, Any], plan: Plan) -> Job:
    return Job(plan=plan, **{name: row[name] for name in Job.__dataclass_fields__ if name != "plan"})
