"""Work on many leads at once: what the selection sends, how far jobs are, what they left out, and undo."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import may, require
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import read_lazy_text, translator_of
from contatto.kit.ids import new_id
from contatto.leads.actions import jobs as actions
from contatto.leads.actions.bulk_merge import MOST_JOINED
from contatto.leads.actions.records import note_export
from contatto.leads.model.jobs import ItemState, Job, JobKind, JobState, Plan
from contatto.leads.pages.downloads import answer_file
from contatto.leads.pages.query import LeadsQuery, ReadAsked, actor_of, read_query
from contatto.leads.pages.rows import member_names
from contatto.leads.store import annotations
from contatto.leads.store import jobs as store
from contatto.leads.store.merges import find_merge
from contatto.ui.context import context_of

router = APIRouter(include_in_schema=False)
RECENT: Final = timedelta(minutes=30)
"""How long a job that has ended is shown above the list."""
SHOWN_FOR: Final = timedelta(days=30)
MOST_SHOWN: Final = 100
"""Jobs of the history, and for how long they stand there."""


class _Selection(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    do: Literal["status", "owner", "label", "unlabel", "delete", "csv", "xlsx"]
    ids: list[str] = Field(default_factory=list, max_length=actions.MOST_SELECTED)
    all: bool = False
    query: str = Field("", max_length=8_000)
    status: str = Field("", max_length=20)
    owner: str = Field("", max_length=36)
    label: str = Field("", max_length=200)

    def plan(self, asked: LeadsQuery) -> Plan:
        value = {"status": self.status, "owner": self.owner}.get(self.do, self.label)
        if self.all:
            return Plan(value, query=LeadsQuery(asked.wanted, type(asked.look)()).query)
        return Plan(value, lead_ids=tuple(self.ids))


@router.post("/leads/bulk")
async def post_bulk(request: Request, caller: FormCaller, sent: Annotated[_Selection, Form()]) -> Response:
    """Begin work on the selected leads or on all that match; a file is answered at once."""
    asked = read_query(sent.query)
    if not sent.all and not sent.ids:
        raise Refused(errors.INVALID, "Choose at least one lead.")
    if sent.do in ("csv", "xlsx"):
        require(caller, Permission.EXPORT_LEADS)
        chosen = [] if sent.all else sent.ids
        # written before the first byte leaves, with the entry of the audit log that follows each write
        await context_of(request).db.write(lambda tx: note_export(tx, actor_of(caller), chosen))
        return await answer_file(request, caller, asked.wanted, sent.do, None if sent.all else sent.ids)
    require(caller, Permission.WRITE_LEADS)
    actor, plan = actor_of(caller), sent.plan(asked)
    await context_of(request).db.write(lambda tx: actions.start_job(tx, actor, JobKind(sent.do), plan))
    return RedirectResponse(asked.href(), 303)


@router.get("/leads/jobs")
async def show_jobs(request: Request, caller: PageCaller, asked: ReadAsked) -> HTMLResponse:
    """The latest job that runs, or ended a short while ago, in one line; fetched anew at each step."""
    require(caller, Permission.READ_LEADS)
    context = context_of(request)
    jobs = await context.db.read(lambda tx: _jobs_of(tx, caller, tx.now - RECENT))
    open_ones = [job for job in jobs if job.is_open]
    can_edit = may(caller, Permission.WRITE_LEADS)
    values = {"caller": caller, "jobs": (open_ones or jobs)[:1], "others": len(jobs) - 1, "asked": asked}
    values |= {"can_edit": can_edit, "look": new_id()}
    return context.pages.render(request, "leads/_jobs.html", values)


@router.get("/leads/jobs/history")
async def show_history(request: Request, caller: PageCaller, asked: ReadAsked) -> HTMLResponse:
    """What was done to many leads at once, latest first."""
    require(caller, Permission.READ_LEADS)
    context = context_of(request)
    jobs = await context.db.read(lambda tx: _jobs_of(tx, caller, tx.now - SHOWN_FOR, MOST_SHOWN))
    can_edit = may(caller, Permission.WRITE_LEADS)
    values = {"caller": caller, "jobs": jobs, "others": 0, "can_edit": can_edit, "asked": asked}
    return context.pages.render(request, "leads/jobs.html", values | {"look": ""})


@router.get("/leads/jobs/{job_id}")
async def show_job(request: Request, caller: PageCaller, job_id: str) -> HTMLResponse:
    """One job with all that it left out."""
    require(caller, Permission.READ_LEADS)
    context, words = context_of(request), translator_of(request)

    def load(tx: Tx) -> dict[str, Any]:
        job = store.find_job(tx, caller.business_id, job_id)
        if job is None:
            raise Refused(errors.NOT_FOUND, "Task not found.")
        skipped = [
            {"lead_id": item.lead_id, "reason": read_lazy_text(item.reason).in_language(words)}
            for item in store.list_told(tx, caller.business_id, job_id)
        ]
        counts = store.count_job_items(tx, caller.business_id, job_id)
        return {
            "job": _shown(job, _names(tx, caller), is_apart=_is_apart(tx, job)),
            "skipped": skipped,
            "made": sum(counts.get((ItemState.CREATED, told), 0) for told in (True, False)),
            "in_part": sum(counts.get((state, True), 0) for state in (ItemState.CREATED, ItemState.CHANGED)),
            "has_rejects": job.has_ended and any(job.plan.rows) and may(caller, Permission.WRITE_LEADS),
        }

    values = await context.db.read(load)
    values |= {"caller": caller, "can_edit": may(caller, Permission.WRITE_LEADS), "look": new_id()}
    return context.pages.render(request, "leads/job.html", values)


@router.post("/leads/jobs/{job_id}/undo")
async def post_undo(
    request: Request, caller: FormCaller, job_id: str, query: Annotated[str, Form(max_length=8_000)] = ""
) -> RedirectResponse:
    """Ask to take a job back, and go on with the list as it was."""
    require(caller, Permission.WRITE_LEADS)
    actor, asked = actor_of(caller), read_query(query)
    await context_of(request).db.write(lambda tx: actions.undo_job(tx, actor, job_id))
    return RedirectResponse(asked.href(), 303)


@dataclass(frozen=True, slots=True)
class _JobRow:
    """Long work on leads, and how far it is."""

    id: str
    kind: str
    value: str
    actor: str
    is_waiting: bool
    is_open: bool
    total: int
    through: int
    done: int
    skipped: int
    is_undone: bool
    can_undo: bool
    created_at: datetime


def _jobs_of(tx: Tx, caller: Caller, since: datetime, most: int = 10) -> list[_JobRow]:
    found = store.list_jobs(tx, caller.business_id, since, most)
    if not found:
        return []
    names = _names(tx, caller)
    return [_shown(job, names, is_apart=_is_apart(tx, job)) for job in found]


def _is_apart(tx: Tx, job: Job) -> bool:
    """Whether all that a job merged was separated again, one by one: there is nothing left to undo."""
    if job.kind is not JobKind.MERGE or not job.has_ended:
        return False
    items = store.list_job_items(tx, job.business_id, job.id, 0, MOST_JOINED)
    merged = [find_merge(tx, job.business_id, item.after) for item in items]
    return all(merge is None or merge.undone_at is not None for merge in merged)


def _names(tx: Tx, caller: Caller) -> dict[str, str]:
    labels = {label.id: label.name for label in annotations.list_labels(tx, caller.business_id)}
    return labels | member_names(tx, caller.business_id)


def _shown(job: Job, names: dict[str, str], *, is_apart: bool = False) -> _JobRow:
    return _JobRow(
        id=job.id,
        kind=job.kind.value,
        value=names.get(job.plan.value, "" if job.kind is not JobKind.STATUS else job.plan.value),
        actor=job.actor,
        is_waiting=job.state is JobState.WAITING,
        is_open=not job.has_ended,
        total=job.total,
        through=min(job.done + job.skipped, job.total),
        done=job.done,
        skipped=job.skipped,
        is_undone=job.undone_by is not None or is_apart,
        can_undo=job.has_ended
        and not job.undone_by
        and not is_apart
        and job.kind not in (JobKind.UNDO, JobKind.ERASE)
        and job.done > 0,
        created_at=job.created_at,
    )
