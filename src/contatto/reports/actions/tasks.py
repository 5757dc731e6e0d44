"""Reports that are made into files in the background."""

from datetime import timedelta
from typing import Final

from contatto.accounts import store as accounts
from contatto.accounts.model import AdAccount, BusinessId
from contatto.kit import errors
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
from contatto.reports.rules.queries import Asked, check_metrics, conditions_of, question_of
from contatto.reports.store import tasks as store

MOST_AT_ONCE: Final = 5
KEEP_FILES: Final = timedelta(days=30)


def queue_report(tx: Tx, ad_account: AdAccount, asked: Asked, file_name: str) -> ReportTask:
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
    )
    store.save_report_task(tx, task)
    return task


def finish_reports(tx: Tx) -> int:
    """Make the files of reports that wait; say how many. A report that cannot be made says why."""
    waiting = store.list_waiting_tasks(tx, MOST_AT_ONCE)
    for task in waiting:
        try:
            with tx.connection.begin_nested():
                store.mark_task(tx, task, TaskStatus.SUCCESS, content=_make_file(tx, task))
        except BrokenFile as error:
            says = f"The sealed file {error.file.name} is gone or damaged. {errors.FILE_BAD.remedy}"
            store.mark_task(tx, task, TaskStatus.FAILED, says)
        except Exception as error:  # one bad report must not hold up the others
            logger().warning("report.failed", task_id=task.id, error_at=where(error))
            store.mark_task(tx, task, TaskStatus.FAILED, "The report could not be made; ask for it again.")
    return len(waiting)


def _make_file(tx: Tx, task: ReportTask) -> str:
    asked = Asked.model_validate_json(task.question)
    account = accounts.find_ad_account(tx, BusinessId(task.business_id), task.ad_account_id)
    if account is None:
        raise Refused(errors.NO_ADVERTISER)
    names = (*asked.dimensions, *asked.metrics)
    rows = [show_row(row, account, asked, METRICS) for row in answer_report(tx, account, asked)]
    lines = [[(row["dimensions"] | row["metrics"])[name] for name in names] for row in rows]
    return b"".join(csv_lines([names, *lines])).decode()


def cancel_report(tx: Tx, task: ReportTask) -> None:
    """Cancel a report that is not made yet.

    Raises:
        Refused: TASK_ENDED.
    """
    if task.status is not TaskStatus.QUEUING:
        raise Refused(errors.TASK_ENDED, f"task_id: the task is {task.status.value}.")
    store.mark_task(tx, task, TaskStatus.CANCELED)


def forget_reports(tx: Tx) -> int:
    """Delete files that were kept long enough; say how many."""
    return store.delete_old_tasks(tx, tx.now - KEEP_FILES)
