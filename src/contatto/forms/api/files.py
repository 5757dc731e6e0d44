"""Files of leads in the API v1.3: ask for one, wait until it is made, and fetch it."""

from typing import Annotated, Final

from msgspec import UNSET, Meta, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from contatto.accounts.actions import load_advertiser
from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import AdAccount, Permission
from contatto.accounts.rules import require
from contatto.forms.api.schemas import load_page
from contatto.kit import errors
from contatto.kit.answer_schemas import ApiRouter
from contatto.kit.answers import Answer, IdText
from contatto.kit.api_types import ApiId, ApiModel, describe_query, read_query, request_id_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.http import Answered, api_answer
from contatto.leads.actions.files import load_file_content, queue_lead_file
from contatto.leads.rules.files import FileState, LeadFile
from contatto.leads.store.files import find_lead_file
from contatto.measurement.store import find_measured_ad_by_number
from contatto.ui.context import context_of

router: Final = ApiRouter(prefix="/open_api/v1.3/page/lead/task", tags=["Forms and leads"])
_MEDIA: Final = {"csv": "text/csv", "zip": "application/zip"}
_FILE_TYPES: Final = Meta(extra_json_schema={"enum": list(_MEDIA)})


class LeadTaskBody(ApiModel):
    """Either ``page_id`` or ``ad_id``, to make a task; or ``task_id`` alone, to ask how far it is."""

    advertiser_id: ApiId
    page_id: ApiId | None = None
    ad_id: ApiId | None = None
    task_id: ApiId | None = None


class DownloadQuery(ApiModel):
    advertiser_id: ApiId
    task_id: ApiId


class LeadFileInfo(Answer, frozen=True):
    """How far a file is; its name and type once it is made."""

    task_id: IdText
    status: FileState
    file_name: str | UnsetType = UNSET
    file_type: Annotated[str, _FILE_TYPES] | UnsetType = UNSET


@router.post("/")
async def make_lead_task(request: Request, caller: ApiCaller, body: LeadTaskBody) -> Answered[LeadFileInfo]:
    """Have the leads of a form or of an ad made into a file; with ``task_id``, say how far that is.

    Extension: the ``ad_id`` of an ad for direct messages gives the leads of its form and of the chat, with
    their contact details and a column ``lead_source``.
    """
    require(caller, Permission.EXPORT_LEADS)

    def work(tx: Tx) -> LeadFile:
        account = load_advertiser(tx, caller, body.advertiser_id)
        if body.task_id is not None:
            return _task(tx, account, body.task_id)
        return _queued(tx, account, body)

    db = context_of(request).db
    asks = body.task_id is not None
    return api_answer(_show(await (db.read(work) if asks else db.write(work))), request_id_of(request))


@router.get(
    "/download/",
    openapi_extra=describe_query(DownloadQuery),
    responses={
        200: {
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                "application/zip": {"schema": {"type": "string", "format": "binary"}},
            }
        }
    },
)
async def download_leads(request: Request, caller: ApiCaller) -> Response:
    """The file itself, for ten minutes after it was made: CSV in UTF-8, or a zip with it; times are UTC."""
    require(caller, Permission.EXPORT_LEADS)
    query = read_query(request, DownloadQuery)

    def work(tx: Tx) -> tuple[LeadFile, bytes]:
        account = load_advertiser(tx, caller, query.advertiser_id)
        task = _task(tx, account, query.task_id)
        return task, load_file_content(tx, task)

    task, content = await context_of(request).db.read(work)
    named = {"Content-Disposition": f'attachment; filename="{_file_name(task)}"', "Cache-Control": "no-store"}
    return Response(content, media_type=_MEDIA[task.file_type], headers=named)


def _queued(tx: Tx, account: AdAccount, body: LeadTaskBody) -> LeadFile:
    if (body.page_id is None) == (body.ad_id is None):
        raise Refused(errors.INVALID, "page_id: send page_id or ad_id, one of them; or task_id to ask.")
    if body.page_id is not None:
        version = load_page(tx, account.business_id, body.page_id)
        return queue_lead_file(tx, account, page_number=version.number)
    ad = find_measured_ad_by_number(tx, account.business_id, body.ad_id or 0)
    if ad is None or ad.ad_account_id != account.id:
        raise Refused(errors.NOT_FOUND, "ad_id: there is no such ad in this ad account.")
    return queue_lead_file(tx, account, ad_number=ad.ad_number)


def _task(tx: Tx, account: AdAccount, number: int) -> LeadFile:
    task = find_lead_file(tx, account.business_id, number)
    if task is None or task.ad_account_id != account.id:
        raise Refused(errors.NOT_FOUND, "task_id: there is no such task.")
    return task


def _file_name(task: LeadFile) -> str:
    return f"leads-{task.page_number or task.ad_number}.{task.file_type}"


def _show(task: LeadFile) -> LeadFileInfo:
    if task.state is not FileState.SUCCEED:
        return LeadFileInfo(str(task.number), task.state)
    return LeadFileInfo(str(task.number), task.state, _file_name(task), task.file_type)
