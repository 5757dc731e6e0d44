"""Reports of the API v1.3: as an immediate response, or as a CSV file."""

from typing import Annotated, Final, Literal, get_args

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from contatto.accounts.auth import ApiCaller, api_routes, load_advertiser
from contatto.accounts.model import Caller, Permission
from contatto.kit import api_types, errors, exports
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.openapi import Schema
from contatto.reports.actions.reports import answer_report, queue_report
from contatto.reports.model import METRICS
from contatto.reports.rules import figures
from contatto.ui.requests import context_of

router: Final = api_routes("Reports", "/report")
type TaskStatus = Literal["QUEUING", "PROCESSING", "SUCCESS", "FAILED", "CANCELED"]
_STATUSES: Final[dict[exports.ExportState, TaskStatus]] = {
    exports.ExportState.QUEUED: "QUEUING",
    exports.ExportState.RUNNING: "PROCESSING",
    exports.ExportState.DONE: "SUCCESS",
    exports.ExportState.FAILED: "FAILED",
    exports.ExportState.CANCELED: "CANCELED",
}


class ReportTaskBody(figures.ReportBody):
    """Report to write to a file; fields of the SDK for its format are accepted without effect."""

    output_format: Literal["CSV_STRING", "CSV_DOWNLOAD"] = "CSV_STRING"
    file_name: str = ""


class ReportTaskQuery(api_types.ApiModel):
    advertiser_id: api_types.ApiId
    task_id: api_types.ApiId


_TEXT: Final[Schema] = {"type": "string"}

type Dimensions = Annotated[
    dict[str, str],
    Meta(extra_json_schema={"properties": dict.fromkeys(get_args(figures.Dimension.__value__), _TEXT)}),
]
type Metrics = Annotated[
    dict[str, str],
    Meta(extra_json_schema={"properties": dict.fromkeys((*figures.TEXT_METRICS, *METRICS), _TEXT)}),
]
type Totals = Annotated[
    dict[str, str | bool],
    Meta(
        extra_json_schema={"properties": dict.fromkeys(METRICS, _TEXT) | {"mixed_goals": {"type": "boolean"}}}
    ),
]


class ReportPageRow(api_types.Answer, frozen=True):
    """Dimensions and metrics of a row, as texts."""

    dimensions: Dimensions
    metrics: Metrics


class ReportPage(api_types.Listed[ReportPageRow], frozen=True):
    """A page of rows, and the total of all."""

    total_metrics: Totals


class TaskId(api_types.Answer, frozen=True):
    task_id: api_types.IdText


class TaskInfo(api_types.Answer, frozen=True):
    task_id: api_types.IdText
    status: TaskStatus
    message: str
    file_name: str
    download_path: str
    create_time: api_types.TimeText


@router.transact("/integrated/get/", Permission.READ_REPORTS, is_long=True)
def get_integrated_report(tx: Tx, caller: Caller, query: figures.ReportQuery) -> ReportPage:
    """Get the report in which conversions follow the goal of each ad group.

    Metrics are texts. Over ad groups of both goals ``mixed_goals`` is true and the metrics that follow the
    goal are ``-`` (extension): a conversation and a lead are not added up. ``reach`` counts each person once
    in each row and once in the total; where a filter leaves out rows the total has none.
    """
    account = load_advertiser(tx, caller, query.advertiser_id)
    report = answer_report(tx, account, query)
    first = (query.page - 1) * query.page_size
    rows = report.rows[first : first + query.page_size]
    totals: dict[str, str | bool] = {
        name: figures.metric_text(METRICS[name], report.total) for name in query.metrics if name in METRICS
    }
    totals["mixed_goals"] = report.total.mixed_goals
    return ReportPage(
        [ReportPageRow(*figures.row_texts(row, account, query)) for row in rows],
        api_types.page_info(query, len(report.rows)),
        totals,
    )


@router.transact("/task/create/", Permission.READ_REPORTS)
def create_report_task(tx: Tx, caller: Caller, body: ReportTaskBody) -> TaskId:
    """Queue a report as a CSV file; ask for its state with ``/report/task/check/``."""
    account = load_advertiser(tx, caller, body.advertiser_id)
    return TaskId(str(queue_report(tx, account, body, body.file_name).number))


@router.transact("/task/check/", Permission.READ_REPORTS)
def check_report_task(tx: Tx, caller: Caller, query: ReportTaskQuery) -> TaskInfo:
    """Return how far a task is: QUEUING, PROCESSING, SUCCESS, FAILED or CANCELED."""
    task = _load_task(tx, caller, query)
    task_address = f"advertiser_id={query.advertiser_id}&task_id={query.task_id}"
    return TaskInfo(
        task_id=str(task.number),
        status=_STATUSES[task.state],
        message=task.message,
        file_name=f"{task.file_name}.csv",
        download_path=f"/open_api/v1.3/report/task/download/?{task_address}",
        create_time=api_types.api_time(task.created_at),
    )


@router.transact("/task/cancel/", Permission.READ_REPORTS)
def cancel_report_task(tx: Tx, caller: Caller, body: ReportTaskQuery) -> TaskId:
    """Cancel a queued or running task; refuse one that has ended."""
    task = _load_task(tx, caller, body)
    if task.state not in exports.OPEN_STATES:
        raise Refused(errors.TASK_ENDED, f"task_id: the task is {_STATUSES[task.state]}.")
    exports.end_export(tx, task, exports.ExportState.CANCELED)
    return TaskId(str(body.task_id))


@router.get(
    "/task/download/",
    Permission.READ_REPORTS,
    openapi_extra=api_types.describe_query(ReportTaskQuery),
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def download_report(request: Request, caller: ApiCaller) -> Response:
    """Download the file of a task as CSV in UTF-8: dimensions, then metrics, in the order of the request."""
    query = api_types.read_query(request, ReportTaskQuery)

    def work(tx: Tx) -> bytes:
        task = _load_task(tx, caller, query)
        content = exports.find_export_content(tx, task)
        if content is None:
            code = errors.TASK_NOT_READY if task.state in exports.OPEN_STATES else errors.TASK_ENDED
            raise Refused(code, f"task_id: the task is {_STATUSES[task.state]}.")
        return content

    return Response(await context_of(request).db.read(work), media_type="text/csv")


def _load_task(tx: Tx, caller: Caller, query: ReportTaskQuery) -> exports.ExportJob:
    account = load_advertiser(tx, caller, query.advertiser_id)
    task = exports.find_export(tx, exports.ExportKind.REPORT, caller.business_id, query.task_id)
    if task is None or task.ad_account_id != account.id:
        raise Refused(errors.NOT_FOUND, "task_id: there is no such task.")
    return task
