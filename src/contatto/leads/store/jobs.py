"""Queries of jobs on leads, of models of their quality, and of erasure."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from contatto.kit.db.tx import Tx, row_of, rows_of
from contatto.leads.model import (
    HeldOut,
    ItemState,
    JobItem,
    JobPlan,
    LeadJob,
    LeadJobState,
    LeadModel,
    LeadStatus,
    ScoredLead,
    Tombstone,
)
from contatto.leads.store.tables import IS_OPEN, lead_job_items, lead_jobs, lead_models, lead_scores, leads
from contatto.measurement.model import ConversionKind
from contatto.measurement.store import conversions
from contatto.spam.store import chats

_MICROS_A_SECOND: Final = 1_000_000
_GOOD: Final = {LeadStatus.QUALIFIED: True, LeadStatus.CONVERTED: True, LeadStatus.UNQUALIFIED: False}
_KINDS: Final = frozenset("ohcfs")
"""The facets that take part; labels are of what became of a lead."""


def list_leads_to_score(tx: Tx, business_id: str, since: datetime, limit: int) -> list[ScoredLead]:
    """Return the newest leads of a business, oldest first, with their features."""
    earned = sa.and_(
        conversions.c.business_id == leads.c.business_id,
        conversions.c.subject_id == leads.c.id,
        conversions.c.ad_id.is_not(None),
        conversions.c.kind == ConversionKind.LEAD,
        conversions.c.withdrawn_at.is_(None),
    )
    scored = sa.and_(lead_scores.c.business_id == leads.c.business_id, lead_scores.c.lead_id == leads.c.id)
    judged = sa.and_(
        chats.c.business_id == leads.c.business_id, chats.c.conversation_id == leads.c.conversation_id
    )
    conditions = leads.c.business_id == business_id, leads.c.hidden_at.is_(None), leads.c.created_at >= since
    query = sa.select(
        *(leads.c[name] for name in ("id", "status", "facets", "channel_account_id", "created_at")),
        *(conversions.c[name] for name in ("ad_id", "ad_group_id", "via", "touch_ts", "ts")),
        *(lead_scores.c[name] for name in ("log_odds", "score", "is_counted")),
        chats.c.chance,
    )
    joined = leads.outerjoin(conversions, earned).outerjoin(lead_scores, scored).outerjoin(chats, judged)
    newest = query.select_from(joined).where(*conditions, leads.c.is_test.is_(False))
    rows = tx.execute(newest.order_by(leads.c.created_at.desc(), leads.c.id).limit(limit)).mappings()
    scored_leads = []
    for row in reversed(rows.all()):
        words = {word for word in row["facets"].split() if word[0] in _KINDS and word != "s:twin"}
        origins = {
            "p": row["channel_account_id"],
            "a": row["ad_id"],
            "g": row["ad_group_id"],
            "v": row["via"],
        }
        words |= {f"{letter}:{value}" for letter, value in origins.items() if value}
        # Hour and day (UTC), delay after its touch, and spam score of its chat.
        created_at = row["created_at"]
        measures = {"w:hour": float(created_at.hour), "w:day": float(created_at.weekday())}
        if row["touch_ts"] is not None:
            measures["d:seconds"] = max(row["ts"] - row["touch_ts"], 0) / _MICROS_A_SECOND
        if row["chance"] is not None:
            measures["t:spam"] = row["chance"]
        scored_leads.append(
            ScoredLead(
                row["id"],
                tuple(sorted(words)),
                measures,
                _GOOD.get(row["status"]),
                row["log_odds"],
                row["score"],
                bool(row["is_counted"]),
            )
        )
    return scored_leads


def save_lead_model(tx: Tx, model: LeadModel) -> None:
    """Save a model in place of the previous one."""
    body = tx.vault.seal_bytes(model.body, model.business_id, "lead_models.body", "")
    held_out = None if model.held is None else msgspec.json.encode(model.held)
    tx.save(lead_models, row_of(model) | {"body": body, "held": held_out})


def find_lead_model(tx: Tx, business_id: str) -> LeadModel | None:
    """Find the model of a business; None before the first attempt."""
    row = (
        tx.execute(sa.select(lead_models).where(lead_models.c.business_id == business_id)).mappings().first()
    )
    if row is None:
        return None
    opened = tx.vault.open_bytes(bytes(row["body"]), business_id, "lead_models.body", "")
    held_out = None if row["held"] is None else msgspec.json.decode(row["held"], type=HeldOut)
    return LeadModel(**dict(row) | {"body": opened, "correction": bytes(row["correction"]), "held": held_out})


def save_job(tx: Tx, job: LeadJob) -> None:
    place = job.business_id, "lead_jobs.plan", job.id
    plan = tx.vault.seal_bytes(msgspec.json.encode(job.plan), *place)
    tx.insert(lead_jobs, row_of(job) | {"plan": plan, "value": job.plan.value})


def find_job(tx: Tx, business_id: str, job_id: str) -> LeadJob | None:
    """Return a job, locked until the end of the transaction."""
    query = sa.select(lead_jobs).where(*rows_of(lead_jobs, business_id, id=job_id))
    row = tx.execute(query.with_for_update()).mappings().first()
    return None if row is None else _open_job(tx, row)


def list_jobs(tx: Tx, business_id: str, since: datetime, limit: int = 10) -> list[LeadJob]:
    """Jobs that wait or run, or that began after a time, latest first; of their plans only the value."""
    recent = sa.and_(
        sa.or_(IS_OPEN, lead_jobs.c.created_at >= since), lead_jobs.c.state != LeadJobState.DRAFT
    )
    shown = [column for column in lead_jobs.c if column.name != "plan"]
    query = sa.select(*shown).where(lead_jobs.c.business_id == business_id, recent)
    rows = tx.execute(
        query.order_by(lead_jobs.c.created_at.desc(), lead_jobs.c.id.desc()).limit(limit)
    ).mappings()
    return [_open_job(tx, row) for row in rows]


def list_free_businesses(tx: Tx, most: int, moved_since: datetime) -> list[tuple[str, int]]:
    """Return businesses with waiting jobs, and how many of these may start; for the worker.

    One business runs ``most`` at a time. A job that made no step since ``moved_since`` does not count.
    """
    waits = sa.func.sum(sa.case((lead_jobs.c.state == LeadJobState.WAITING, 1), else_=0))
    is_held = sa.and_(lead_jobs.c.state == LeadJobState.RUNNING, lead_jobs.c.moved_at > moved_since)
    held_count = sa.func.sum(sa.case((is_held, 1), else_=0))
    query = sa.select(lead_jobs.c.business_id, held_count.label("held")).where(IS_OPEN)
    free = query.group_by(lead_jobs.c.business_id).having(waits > 0, held_count < most)
    return [(row.business_id, most - row.held) for row in tx.execute(free.order_by(lead_jobs.c.business_id))]


def record_job(tx: Tx, job: LeadJob) -> None:
    """Keep how far a job is."""
    names = ("state", "cursor", "done", "skipped", "undone_by", "moved_at", "ended_at")
    tx.change(lead_jobs, job.business_id, job.id, **{name: getattr(job, name) for name in names})


def append_job_items(tx: Tx, job: LeadJob, items: list[JobItem]) -> None:
    rows = [row_of(item) | {"business_id": job.business_id, "job_id": job.id} for item in items]
    if rows:
        tx.execute(lead_job_items.insert(), rows)


def list_job_items(tx: Tx, business_id: str, job_id: str, after: int, limit: int) -> list[JobItem]:
    """List changes of a job after a position, in order, without skipped leads."""
    query = sa.select(lead_job_items).where(
        *rows_of(lead_job_items, business_id, job_id=job_id),
        lead_job_items.c.position > after,
        lead_job_items.c.state != ItemState.SKIPPED,
    )
    return tx.list(JobItem, query.order_by(lead_job_items.c.position).limit(limit))


def list_items_with_reason(tx: Tx, business_id: str, job_id: str, limit: int = 500) -> list[JobItem]:
    """List leads or rows that a job skipped or took in part, with the reasons."""
    query = sa.select(lead_job_items).where(
        *rows_of(lead_job_items, business_id, job_id=job_id), lead_job_items.c.reason != ""
    )
    return tx.list(JobItem, query.order_by(lead_job_items.c.position).limit(limit))


def count_job_items(tx: Tx, business_id: str, job_id: str) -> dict[tuple[ItemState, bool], int]:
    """Count leads or rows that a job made, changed and skipped; those with a reason apart."""
    has_reason = lead_job_items.c.reason != ""
    query = sa.select(lead_job_items.c.state, has_reason.label("told"), sa.func.count().label("n")).where(
        *rows_of(lead_job_items, business_id, job_id=job_id)
    )
    rows = tx.execute(query.group_by(lead_job_items.c.state, has_reason)).mappings()
    return {(ItemState(row["state"]), bool(row["told"])): row["n"] for row in rows}


def _open_job(tx: Tx, row: Mapping[Any, Any]) -> LeadJob:
    """Return a job from its row; of a plan that was not read, only the value."""
    plan = JobPlan(row["value"])
    if "plan" in row:
        raw = tx.vault.open_bytes(row["plan"], row["business_id"], "lead_jobs.plan", row["id"])
        plan = msgspec.json.decode(raw, type=JobPlan)
    return LeadJob(plan=plan, **{name: row[name] for name in LeadJob.__dataclass_fields__ if name != "plan"})


def find_tombstone(tx: Tx, business_id: str, lead_id: str) -> Tombstone | None:
    query = sa.select(leads.c.id, leads.c.erased_at, leads.c.erased_by).where(
        leads.c.business_id == business_id
    )
    return tx.find(Tombstone, query.where(leads.c.id == lead_id, leads.c.erased_at.is_not(None)))


def list_jobs_with_plans(tx: Tx, *conditions: sa.ColumnElement[bool]) -> Iterator[LeadJob]:
    """Yield the jobs that meet conditions on `lead_jobs`, oldest first; plans are large, so one by one."""
    rows = tx.execute(sa.select(lead_jobs).where(*conditions).order_by(lead_jobs.c.id)).mappings()
    return (_open_job(tx, row) for row in rows.all())


def record_plan(tx: Tx, business_id: str, job_id: str, plan: JobPlan) -> None:
    sealed_plan = tx.vault.seal_bytes(msgspec.json.encode(plan), business_id, "lead_jobs.plan", job_id)
    tx.change(lead_jobs, business_id, job_id, plan=sealed_plan)
