"""Table of reports that are made into files in the background."""

from datetime import datetime
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    Integer,
    String,
    Table,
    Text,
    Update,
    literal_column,
    select,
    update,
)

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, instant, key, metadata, row_of, tenant, text
from contatto.kit.fair_queue import Queue
from contatto.reports.model import ReportTask, TaskStatus

_WAITS: Final[ColumnElement[bool]] = literal_column("status IN ('QUEUING', 'PROCESSING')")

report_tasks = Table(
    "report_tasks",
    metadata,
    key(),
    tenant(),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("ad_account_id", String(36), nullable=False),
    text("question"),
    text("file_name"),
    Column("status", Choice(TaskStatus), nullable=False),
    text("message"),
    instant("created_at"),
    instant("due_at"),
    Column("attempts", Integer, nullable=False),
    Column("content", Text),
    Index("ix_report_tasks_waiting", "business_id", "due_at", sqlite_where=_WAITS, postgresql_where=_WAITS),
)

WAITING: Final = Queue(report_tasks, _WAITS, report_tasks.c.due_at)
"""Reports that are not made yet, or whose maker never came back."""


def save_report_task(tx: Tx, task: ReportTask) -> None:
    tx.insert(report_tasks, row_of(task))


def find_report_task(tx: Tx, business_id: str, number: int) -> ReportTask | None:
    """A task by the API's ``task_id``."""
    query = select(report_tasks).where(report_tasks.c.business_id == business_id)
    return tx.find(ReportTask, query.where(report_tasks.c.number == number))


def find_report_file(tx: Tx, business_id: str, number: int) -> str | None:
    """The file of a task that is done, as text."""
    query = select(report_tasks.c.content).where(report_tasks.c.business_id == business_id)
    content: str | None = tx.scalar(query.where(report_tasks.c.number == number))
    return content


def find_waiting_task(tx: Tx, business_id: str) -> ReportTask | None:
    """The oldest task that waits; for the worker, who claims it."""
    return next(iter(WAITING.list(tx, ReportTask, business_id, 1)), None)


def mark_task_claimed(tx: Tx, task: ReportTask, until: datetime) -> None:
    """Note that a task is worked on; nobody else takes it before that time."""
    values = {"status": TaskStatus.PROCESSING, "due_at": until, "attempts": task.attempts + 1}
    tx.execute(_waiting(task).values(**values))


def mark_task_renewed(tx: Tx, task: ReportTask, until: datetime) -> None:
    tx.execute(_waiting(task).values(due_at=until))


def mark_task(
    tx: Tx, task: ReportTask, status: TaskStatus, message: str = "", content: str | None = None
) -> None:
    """Set the state of a task that has not ended, with its file or the reason why there is none."""
    tx.execute(_waiting(task).values(status=status, message=message, content=content))


def _waiting(task: ReportTask) -> Update:
    mine = (report_tasks.c.business_id == task.business_id, report_tasks.c.id == task.id)
    return update(report_tasks).where(*mine, _WAITS)


def delete_old_tasks(tx: Tx, before: datetime) -> int:
    """Delete some tasks with their files that were asked for before a time; say how many."""
    return tx.delete_some(report_tasks, report_tasks.c.created_at < before)
