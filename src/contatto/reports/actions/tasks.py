"""Reports that are made into files in the background."""

from datetime import timedelta
from typing import Final

from contatto.accounts import store as accounts
from contatto.accounts.model import AdAccount, BusinessId
from contatto.kit import errors
from contatto.kit.background import LEASE, ExportJob, Record
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id, new_number
from contatto.kit.log import logger, where
from contatto.kit.table_export import csv_lines
from contatto.measurement.engines.sealing import BrokenFile
from contatto.reports.actions.answers import answer_report
from contatto.reports.model import ReportTask, TaskStatus
from contatto.reports.registry import METRICS
from contatto.reports.rules.answers import show_row
from contatto.reports.rules.filters import matching
from contatto.reports.rules.queries import ReportBody, check_metrics, conditions_of, question_of
from contatto.reports.store import tasks as store

MOST_TRIES: Final = 3
"""Claims after which a report is given up: it seems to break whoever makes it."""
NOT_MADE: Final = "The report could not be made; ask for it again."
KEEP_FILES: Final = timedelta(days=30)


def queue_report(tx: Tx, ad_account: AdAccount, asked: ReportBody, file_name: str) -> ReportTask:
    """Have a report made into a file in the background.

    Raises:
        Refused: INVALID, when it cannot be answered.
    """
    question_of(asked)
    check_metrics(asked, METRICS)
    matching([], conditions_of(asked), METRICS)
    task = ReportTask(
        id=new_id(),
        business_id=ad_account.business_id,
        number=new_number(),
        ad_account_id=ad_account.id,
        question=asked.model_dump_json(),
        file_name=file_name.strip() or "report",
        status=TaskStatus.QUEUING,
        message="",
        created_at=tx.now,
        due_at=tx.now,
    )
    store.save_report_task(tx, task)
    return task


def claim_report(tx: Tx, business_id: str) -> ReportTask | None:
    """Take the next report of a business, to make it; one that was taken too often is given up."""
    while (task := store.find_waiting_task(tx, business_id)) is not None:
        if task.attempts < MOST_TRIES:
            store.mark_task_claimed(tx, task, tx.now + LEASE)
            return task
        store.mark_task(tx, task, TaskStatus.FAILED, NOT_MADE)
    return None


def renew_report(tx: Tx, task: ReportTask) -> None:
    """Keep a report that takes long from being taken by another."""
    store.mark_task_renewed(tx, task, tx.now + LEASE)


def make_report_file(tx: Tx, task: ReportTask) -> Record:
    """Read what a report says, and give what keeps its file; one that cannot be made says why."""
    try:
        content = _make_file(tx, task)
    except BrokenFile as error:
        says = f"The archive file {error.file.name} is missing or damaged. {errors.FILE_BAD.remedy}"
        return lambda tx: store.mark_task(tx, task, TaskStatus.FAILED, says)
    except Exception as error:  # one bad report must not hold up the others
        logger().warning("report.failed", task_id=task.id, error_at=where(error))
        return lambda tx: store.mark_task(tx, task, TaskStatus.FAILED, NOT_MADE)
    return lambda tx: store.mark_task(tx, task, TaskStatus.SUCCESS, content=content)


REPORT_FILES: Final = ExportJob(store.WAITING, claim_report, renew_report, make_report_file)
"""Reports that programs asked for as files."""


def _make_file(tx: Tx, task: ReportTask) -> str:
    asked = ReportBody.model_validate_json(task.question)
    account = accounts.find_ad_account(tx, BusinessId(task.business_id), task.ad_account_id)
    if account is None:
        raise Refused(errors.NO_ADVERTISER)
    names = (*asked.dimensions, *asked.metrics)
    rows = [show_row(row, account, asked, METRICS) for row in answer_report(tx, account, asked).rows]
    lines = [[(row.dimensions | row.metrics)[name] for name in names] for row in rows]
    return b"".join(csv_lines([names, *lines])).decode()


def cancel_report(tx: Tx, task: ReportTask) -> None:
    """Cancel a report that is not made yet.

    Raises:
        Refused: TASK_ENDED.
    """
    if task.status not in (TaskStatus.QUEUING, TaskStatus.PROCESSING):
        raise Refused(errors.TASK_ENDED, f"task_id: the task is {task.status.value}.")
    store.mark_task(tx, task, TaskStatus.CANCELED)


def purge_reports(tx: Tx) -> int:
    """Delete files that were kept long enough; say how many."""
    return store.delete_old_tasks(tx, tx.now - KEEP_FILES)
