"""Table of reports that are made into files in the background."""

from datetime import datetime

from sqlalchemy import BigInteger, Column, Index, String, Table, Text, select, update

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, instant, key, metadata, tenant, text
from contatto.reports.model import ReportTask, TaskStatus

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
    Column("content", Text),
    Index("ix_report_tasks_waiting", "status", "number"),
)


def save_report_task(tx: Tx, task: ReportTask) -> None:
    tx.insert(report_tasks, {name: getattr(task, name) for name in ReportTask.__dataclass_fields__})


def find_report_task(tx: Tx, business_id: str, number: int) -> ReportTask | None:
    """A task by the API's ``task_id``."""
    mine = select(report_tasks).where(report_tasks.c.business_id == business_id)
    return tx.find(ReportTask, mine.where(report_tasks.c.number == number))


def find_report_file(tx: Tx, business_id: str, number: int) -> str | None:
    """The file of a task that is done, as text."""
    mine = select(report_tasks.c.content).where(report_tasks.c.business_id == business_id)
    content: str | None = tx.scalar(mine.where(report_tasks.c.number == number))
    return content


def list_waiting_tasks(tx: Tx, limit: int) -> list[ReportTask]:
    """The oldest tasks of all businesses that wait; for the worker, who claims them."""
    waiting = select(report_tasks).where(report_tasks.c.status == TaskStatus.QUEUING)
    waiting = waiting.order_by(report_tasks.c.number).limit(limit)
    return tx.list(ReportTask, waiting.with_for_update(skip_locked=True) if tx.locks_rows else waiting)


def mark_task(
    tx: Tx, task: ReportTask, status: TaskStatus, message: str = "", content: str | None = None
) -> None:
    """Set the state of a task, with its file or the reason why there is none."""
    mine = update(report_tasks).where(
        report_tasks.c.business_id == task.business_id, report_tasks.c.id == task.id
    )
    tx.execute(mine.values(status=status, message=message, content=content))


def delete_old_tasks(tx: Tx, before: datetime) -> int:
    """Delete tasks with their files that were asked for before a time."""
    return tx.execute(report_tasks.delete().where(report_tasks.c.created_at < before)).rowcount
