"""Export jobs: files for API clients that the worker writes, and their sealed content."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, ClassVar, Final

import sqlalchemy as sa

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Choice, Tx, instant, key, metadata, row_of, sealed, tenant, text
from contatto.kit.errors import Refused
from contatto.kit.fair_queue import Queue, Turns
from contatto.kit.ids import new_id, new_number
from contatto.kit.log import logger, where

LEASE: Final = timedelta(seconds=60)
"""Lease of a claimed job, renewed during the work."""
RENEW_S: Final = 20.0
MOST_TRIES: Final = 3
"""Claims after which a job fails: it seems to break the worker."""
FILE_ERROR: Final = "The file could not be made; ask for it again."


class ExportKind(StrEnum):
    LEADS = "leads"
    REPORT = "report"


class ExportState(StrEnum):
    """State of an export job; the first two are open."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELED = "canceled"


OPEN_STATES: Final = (ExportState.QUEUED, ExportState.RUNNING)


@dataclass(frozen=True, slots=True)
class ExportJob:
    """Requested file; ``request`` is JSON of its kind, and ``number`` the API's ``task_id``."""

    id: str
    business_id: str
    number: int
    kind: ExportKind
    ad_account_id: str
    request: str
    file_name: str
    created_at: datetime
    due_at: datetime
    state: ExportState = ExportState.QUEUED
    file_type: str = ""
    message: str = ""
    finished_at: datetime | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """Content and retention of a kind.

    Args:
        render: read the content, and return it with its file type. The client reads the detail of a refusal.
        link: time for downloads after the file is finished.
        keep: time after the request in which clients may ask for the state.
    """

    render: Callable[[Tx, ExportJob], tuple[bytes, str]]
    link: timedelta
    keep: timedelta


type ExportFormats = Mapping[ExportKind, ExportFormat]

_IS_OPEN: Final[sa.ColumnElement[bool]] = sa.literal_column("state IN ('queued', 'running')")

export_jobs = sa.Table(
    "export_jobs",
    metadata,
    key(),
    tenant(),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    sa.Column("kind", Choice(ExportKind), nullable=False),
    sa.Column("ad_account_id", sa.String(36), nullable=False),
    text("request"),
    text("file_name"),
    instant("created_at"),
    instant("due_at"),
    sa.Column("state", Choice(ExportState), nullable=False),
    sa.Column("file_type", sa.String(8), nullable=False),
    text("message"),
    instant("finished_at", nullable=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    sealed("content", nullable=True),
    sa.Index(
        "ix_export_jobs_open", "business_id", "due_at", sqlite_where=_IS_OPEN, postgresql_where=_IS_OPEN
    ),
)
OPEN_JOBS: Final = Queue(export_jobs, _IS_OPEN, export_jobs.c.due_at)
"""Jobs that are queued, or whose worker stopped."""


def queue_export(
    tx: Tx, kind: ExportKind, business_id: str, ad_account_id: str, request: str, file_name: str
) -> ExportJob:
    job = ExportJob(
        new_id(), business_id, new_number(), kind, ad_account_id, request, file_name, tx.now, tx.now
    )
    tx.insert(export_jobs, row_of(job))
    return job


def find_export(tx: Tx, kind: ExportKind, business_id: str, number: int) -> ExportJob | None:
    """Return a job by the API's ``task_id``."""
    query = sa.select(export_jobs).where(export_jobs.c.business_id == business_id, export_jobs.c.kind == kind)
    return tx.find(ExportJob, query.where(export_jobs.c.number == number))


def find_export_content(tx: Tx, job: ExportJob) -> bytes | None:
    """Return the opened content of a file; None before it is made, or after it expired."""
    query = sa.select(export_jobs.c.content).where(export_jobs.c.business_id == job.business_id)
    content = tx.scalar(query.where(export_jobs.c.id == job.id))
    return content and tx.vault.open_bytes(content, job.business_id, "export_jobs.content", job.id)


def claim_export(tx: Tx, business_id: str) -> ExportJob | None:
    """Lease the next job of a business; one that was claimed too often fails."""
    while jobs := OPEN_JOBS.list(tx, ExportJob, business_id, 1):
        (job,) = jobs
        if job.attempts < MOST_TRIES:
            running = {"state": ExportState.RUNNING, "attempts": job.attempts + 1}
            tx.change(export_jobs, business_id, job.id, _IS_OPEN, due_at=tx.now + LEASE, **running)
            return job
        end_export(tx, job, ExportState.FAILED, FILE_ERROR)
    return None


def end_export(tx: Tx, job: ExportJob, state: ExportState, message: str = "") -> None:
    """Fail or cancel a job that is open."""
    ended = {"state": state, "message": message, "finished_at": tx.now}
    tx.change(export_jobs, job.business_id, job.id, _IS_OPEN, **ended)


def drop_contents(tx: Tx, kind: ExportKind, business_id: str) -> None:
    """Drop the files of a business that may hold data of an erased person."""
    is_kind = (export_jobs.c.business_id == business_id, export_jobs.c.kind == kind)
    tx.execute(
        sa.update(export_jobs).where(*is_kind, export_jobs.c.content.is_not(None)).values(content=None)
    )


def purge_exports(tx: Tx, formats: ExportFormats) -> int:
    """Drop expired contents, and delete a batch of expired jobs; return their number."""
    count = 0
    for kind, kind_format in formats.items():
        is_kind, has_content = export_jobs.c.kind == kind, export_jobs.c.content.is_not(None)
        is_over = export_jobs.c.finished_at < tx.now - kind_format.link
        expired = sa.update(export_jobs).where(is_kind, is_over, has_content)
        count += tx.execute(expired.values(content=None)).rowcount
        count += tx.delete_some(export_jobs, is_kind, export_jobs.c.created_at < tx.now - kind_format.keep)
    return count


@dataclass(eq=False)
class Exporter:
    """Writes due files, one at a time for each tenant.

    A thread reads for a file, so neither the event loop nor SQLite's writer waits.
    """

    _db: Database
    _formats: ExportFormats
    _turns: Turns = field(default_factory=partial(Turns, OPEN_JOBS))
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    tables: ClassVar = OPEN_JOBS.tables

    async def start_due(self) -> int:
        """Start a file for each tenant without one, and return how many."""
        due = await self._db.read(self._turns.list_businesses)
        fresh = [business_id for business_id in due if business_id not in self._running]
        for business_id in fresh:
            self._turns.last = business_id
            self._running[business_id] = asyncio.create_task(self._export_all(business_id))
        return len(fresh)

    async def _export_all(self, business_id: str) -> None:
        try:
            while await export_next(self._db, self._formats, business_id):
                pass
        except Exception as error:  # such as a database that is away: the lease ends
            logger().error("exports.failed", error_at=where(error))
        finally:
            del self._running[business_id]

    def stop(self) -> None:
        """Abandon running files: their leases end, and another process writes them."""
        for task in self._running.values():
            task.cancel()


async def export_next(db: Database, formats: ExportFormats, business_id: str) -> bool:
    """Write the next file of a tenant; return False when there is none."""
    job = await db.write(lambda tx: claim_export(tx, business_id), in_background=True)
    if job is None:
        return False
    rendering = asyncio.ensure_future(db.read_long(lambda tx: _render(tx, formats, job), business_id))
    while not (await asyncio.wait([rendering], timeout=RENEW_S))[0]:
        await db.write(
            lambda tx: tx.change(export_jobs, business_id, job.id, _IS_OPEN, due_at=tx.now + LEASE),
            in_background=True,
        )
    changes = rendering.result()
    await db.write(
        lambda tx: tx.change(export_jobs, business_id, job.id, _IS_OPEN, finished_at=tx.now, **changes),
        in_background=True,
    )
    return True


def _render(tx: Tx, formats: ExportFormats, job: ExportJob) -> dict[str, Any]:
    """Read the content of a file, and return the values of its job: the sealed content, or the failure."""
    try:
        content, file_type = formats[job.kind].render(tx, job)
    except Refused as error:
        message = error.detail
    except Exception as error:  # one bad file must not hold up the others
        logger().warning("export.failed", kind=job.kind, job_id=job.id, error_at=where(error))
        message = FILE_ERROR
    else:
        sealed_content = tx.vault.seal_bytes(content, job.business_id, "export_jobs.content", job.id)
        return {"state": ExportState.DONE, "content": sealed_content, "file_type": file_type}
    return {"state": ExportState.FAILED, "message": message}
