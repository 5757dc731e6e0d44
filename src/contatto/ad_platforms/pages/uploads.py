"""The export of an Ads Manager: taken as text, shown row by row before anything happens, and then kept."""

from typing import Annotated, Any, Final

from fastapi import Form, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller, page_routes
from contatto.accounts.model import Caller, Permission
from contatto.ad_platforms.actions.uploads import (
    NewUpload,
    UploadPreview,
    foresee_upload,
    list_upload_writes,
    open_upload_account,
)
from contatto.ad_platforms.model import AdPlatform
from contatto.ad_platforms.pages.accounts import HOME, PLATFORMS, list_account_rows
from contatto.ad_platforms.rules.sheets import table_text
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.http import json_answer
from contatto.kit.i18n import translator_of
from contatto.kit.untrusted_files import TableText
from contatto.ui.context import context_of

router: Final = page_routes(f"{HOME}/upload")
MOST_SHOWN: Final = 100
MOST_LEFT_OUT: Final = 500


TEXT_LIMIT: Final = 900_000
"""Most characters of a file: a form carries it."""


class UploadForm(BaseModel):
    """A file as text, and its account."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    text: Annotated[str, Field(max_length=1_000_000)] = ""
    outside_id: Annotated[str, Field(max_length=36)] = ""
    platform: AdPlatform = AdPlatform.TIKTOK
    external_id: Annotated[str, Field(max_length=64)] = ""
    name: Annotated[str, Field(max_length=200)] = ""
    currency: Annotated[str, Field(max_length=3)] = ""
    timezone: Annotated[str, Field(max_length=64)] = "UTC"

    @property
    def upload(self) -> NewUpload:
        return NewUpload(
            self.text,
            self.outside_id,
            self.platform,
            self.external_id.strip(),
            self.name.strip(),
            self.currency.strip().upper(),
            self.timezone.strip(),
        )


@router.get("", Permission.WRITE_ADS)
async def show_upload(request: Request, caller: PageCaller) -> HTMLResponse:
    return await _render(request, caller, UploadForm(outside_id=request.query_params.get("account", "")[:36]))


@router.post("", Permission.WRITE_ADS)
async def post_upload_preview(
    request: Request, caller: FormCaller, sent: Annotated[UploadForm, Form()]
) -> HTMLResponse:
    """Show what the file would do; nothing is changed."""

    def foresee(tx: Tx) -> UploadPreview:
        return foresee_upload(tx, caller.business_id, sent.upload)

    try:
        preview = await context_of(request).db.read_long(foresee)
    except Refused as refused:
        if refused.code is not errors.INVALID:
            raise
        return await _render(request, caller, sent, refused=refused)
    return await _render(request, caller, sent, preview)


@router.post("/start", Permission.WRITE_ADS)
async def post_upload(request: Request, caller: FormCaller, sent: Annotated[UploadForm, Form()]) -> Response:
    """Save the figures of a file, and show again its rejected rows."""
    db, upload = context_of(request).db, sent.upload
    try:
        preview = await db.read_long(lambda tx: foresee_upload(tx, caller.business_id, upload))
        account = await db.write(lambda tx: open_upload_account(tx, caller.business_id, upload, preview))
    except Refused as refused:
        if refused.code is not errors.INVALID:
            raise
        return await _render(request, caller, sent, refused=refused)
    for some in list_upload_writes(account, preview.sheet):
        await db.write_more(some)
    if preview.sheet.left_out:
        return await _render(request, caller, sent, preview, saved_text=account.id)
    return RedirectResponse(f"{HOME}/{account.id}", 303)


@router.post("/file", Permission.WRITE_ADS)
async def post_ad_file(request: Request, caller: FormCaller) -> Response:
    """Read a file, a workbook or a text in any usual encoding, as the text that the form takes."""
    table = await context_of(request).uploads.take_table(request, caller.subject_id)
    text = table.text if isinstance(table, TableText) else table_text(table)
    if len(text) > TEXT_LIMIT:
        raise Refused(errors.INVALID, "file: The file has too many rows. Split it.")
    return json_answer({"text": text})


async def _render(
    request: Request,
    caller: Caller,
    sent: UploadForm,
    preview: UploadPreview | None = None,
    *,
    refused: Refused | None = None,
    saved_text: str = "",
) -> HTMLResponse:
    context = context_of(request)
    rows = await context.db.read(lambda tx: list_account_rows(tx, caller.business_id))
    values: dict[str, Any] = {
        "caller": caller,
        "accounts": [(row.id, f"{row.title} ({row.external_id})") for row in rows],
        "platforms": [(platform.value, title) for platform, title in PLATFORMS.items()],
        "sent": sent,
        "preview": preview,
        "rows": preview.sheet.rows[:MOST_SHOWN] if preview else (),
        "left_out": preview.sheet.left_out[:MOST_LEFT_OUT] if preview else (),
        "kept": saved_text,
        "error": refused.detail_in(translator_of(request)) if refused else "",
    }
    status = refused.code.http_status if refused else 200
    return context.pages.render(request, "ad_platforms/upload.html", values, status)
