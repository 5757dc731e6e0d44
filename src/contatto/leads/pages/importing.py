"""A file of leads: taken, shown with what its columns hold and what it will do, and then imported."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Final

import phonenumbers
from fastapi import APIRouter, Form, Query, Request
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Limits
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import require
from contatto.channels.store import list_accounts
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.form_fields import split_fault
from contatto.kit.http import json_answer
from contatto.kit.i18n import read_lazy_text, translator_of
from contatto.kit.languages import languages_of_countries, sorted_countries
from contatto.kit.read_audit import note_number_seen
from contatto.kit.table_export import csv_lines
from contatto.kit.untrusted_files import ENCODINGS, TableText
from contatto.leads.actions.importing import foresee_import, plan_import
from contatto.leads.actions.jobs import (
    keep_import_draft,
    load_import_draft,
    load_rejects,
    map_import_columns,
    read_plan_in_encoding,
    replace_import_plan,
    start_import,
)
from contatto.leads.model import Job, Plan
from contatto.leads.pages.center import actor_of
from contatto.leads.rules.importing import (
    KNOWN,
    MOST_COLUMNS,
    NOT_TAKEN,
    REASON_HEAD,
    Sheet,
    read_columns,
    read_sheet,
    sheet_of,
)
from contatto.ui.context import context_of

COUNTRIES: Final = tuple(sorted(phonenumbers.SUPPORTED_REGIONS))
_SAMPLES: Final = 3


class _Text(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    text: str = Limits("", max_length=1_000_000)
    country: str = Limits("", max_length=2)


class _Mapping(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    column: list[str] = Limits(default_factory=list, max_length=MOST_COLUMNS)
    encoding: str = Limits("", max_length=20)
    country: str = Limits("", max_length=2)


@dataclass(frozen=True, slots=True)
class ColumnView:
    """A column of a file: its head, some of its cells, what it holds, and whether another holds the same."""

    head: str
    samples: Sequence[str]
    column: str
    is_double: bool


@router.get("/leads/import")
async def show_import(request: Request, caller: PageCaller) -> HTMLResponse:
    require(caller, Permission.WRITE_LEADS)
    accounts = await context_of(request).db.read(lambda tx: list_accounts(tx, caller.business_id))
    return _page(request, caller, accounts[0].registration_country if accounts else "", "", "")


@router.post("/leads/import")
async def post_text(request: Request, caller: FormCaller, sent: Annotated[_Text, Form()]) -> Response:
    """Keep a pasted text, and show what its import would do."""
    require(caller, Permission.WRITE_LEADS)
    try:
        country = _country(sent.country)
        # In a thread: it reads each row.
        sheet = await context_of(request).db.run_aside(partial(read_sheet, sent.text))
        draft = await _keep(request, caller, sheet, country)
    except Refused as refused:
        _field, error = split_fault(refused, translator_of(request))
        return _page(request, caller, sent.country, sent.text, error, refused.code.http_status)
    return RedirectResponse(f"/leads/import/{draft.id}", 303)


@router.post("/leads/import/file")
async def post_file(
    request: Request, caller: FormCaller, country: Annotated[str, Query(max_length=2)] = ""
) -> Response:
    """Keep a file: its body is the file itself, which may be a workbook or a text in any usual encoding."""
    require(caller, Permission.WRITE_LEADS)
    chosen = _country(country)
    context, words = context_of(request), translator_of(request)
    accounts = await context.db.read(lambda tx: list_accounts(tx, caller.business_id))
    countries = [code for code in (chosen, *(account.registration_country for account in accounts)) if code]
    languages = [*languages_of_countries(countries), words.lang.partition("-")[0]]
    table = await context.uploads.take_table(request, caller.subject_id, languages)
    if isinstance(table, TableText):
        sheet = await context.db.run_aside(lambda: read_sheet(table.text))
        draft = await _keep(request, caller, sheet, chosen, table.encoding)
    else:
        draft = await _keep(request, caller, await context.db.run_aside(lambda: sheet_of(table)), chosen)
    return json_answer({"href": f"/leads/import/{draft.id}"})


@router.get("/leads/import/{job_id}")
async def show_draft(request: Request, caller: PageCaller, job_id: str) -> HTMLResponse:
    """Show the preview of an import; nothing is changed."""
    require(caller, Permission.WRITE_LEADS)
    actor = actor_of(caller)
    draft = await context_of(request).db.read(lambda tx: load_import_draft(tx, actor, job_id))
    return await _draft_page(request, caller, draft, draft.plan, None)


@router.post("/leads/import/{job_id}")
async def post_columns(
    request: Request, caller: FormCaller, job_id: str, sent: Annotated[_Mapping, Form()]
) -> Response:
    require(caller, Permission.WRITE_LEADS)
    actor, country = actor_of(caller), _country(sent.country)
    db = context_of(request).db
    draft = await db.read(lambda tx: load_import_draft(tx, actor, job_id))
    try:
        if sent.encoding and draft.plan.encoding not in ("", sent.encoding):
            # In a thread, before the write: it reads all cells anew.
            plan = await db.run_aside(
                partial(read_plan_in_encoding, draft.plan, sent.encoding, sent.column, country)
            )
            await db.write(lambda tx: replace_import_plan(tx, actor, job_id, plan))
        else:
            await db.write(lambda tx: map_import_columns(tx, actor, job_id, sent.column, country))
    except Refused as refused:
        if refused.code is not errors.INVALID:
            raise
        return await _draft_page(request, caller, draft, draft.plan, refused)
    return RedirectResponse(f"/leads/import/{job_id}", 303)


@router.post("/leads/import/{job_id}/start")
async def post_start(request: Request, caller: FormCaller, job_id: str) -> RedirectResponse:
    require(caller, Permission.WRITE_LEADS)
    actor = actor_of(caller)
    await context_of(request).db.write(lambda tx: start_import(tx, actor, job_id))
    return RedirectResponse(f"/leads/jobs/{job_id}", 303)


@router.get("/leads/jobs/{job_id}/rejects")
async def download_rejects(request: Request, caller: PageCaller, job_id: str) -> Response:
    """The rows that were left out or taken in part, as they came, each with its reason: to be mended."""
    require(caller, Permission.WRITE_LEADS)
    words = translator_of(request)
    plan, reasons = await context_of(request).db.read(lambda tx: load_rejects(tx, caller.business_id, job_id))
    reasons_by_row = {number: read_lazy_text(reason).in_language(words) for number, reason in reasons.items()}
    width = len(plan.head)
    rows = [
        [*(row + ("",) * width)[:width], reasons_by_row.get(number, "")]
        for number, row in zip(plan.numbers, plan.rows, strict=True)
        if row
    ]
    note_number_seen("lead_id", len(rows))
    headers = {"Content-Disposition": 'attachment; filename="rejects.csv"', "Cache-Control": "no-store"}
    lines = csv_lines([[*plan.head, REASON_HEAD], *rows], bom=True)
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)


async def _keep(request: Request, caller: Caller, sheet: Sheet, country: str, encoding: str = "") -> Job:
    actor, db = actor_of(caller), context_of(request).db
    # In a thread: it looks at many cells to guess what the columns hold.
    plan = replace(await db.run_aside(partial(plan_import, sheet, country)), encoding=encoding)
    return await db.write(lambda tx: keep_import_draft(tx, actor, plan))


async def _draft_page(
    request: Request, caller: Caller, draft: Job, plan: Plan, refused: Refused | None
) -> HTMLResponse:
    context = context_of(request)
    words = translator_of(request)
    problem = refused or _problem(plan)

    def load(tx: Tx) -> Any:
        return foresee_import(tx, caller.business_id, plan)

    values = {
        "caller": caller,
        "draft_id": draft.id,
        "encoding": plan.encoding,
        "encodings": ENCODINGS,
        "country": plan.value,
        "countries": sorted_countries(words, COUNTRIES),
        "columns": _columns(plan),
        "choices": KNOWN,
        "total": len(plan.rows),
        "preview": None if problem else await context.db.read_long(load),
        "error": split_fault(problem, words)[1] if problem else "",
    }
    status = refused.code.http_status if refused else 200
    return context.pages.render(request, "leads/import_draft.html", values, status)


def _problem(plan: Plan) -> Refused | None:
    """Why a file cannot be imported as its columns are taken."""
    try:
        read_columns(plan.columns, len(plan.head))
    except Refused as refused:
        return refused
    return None


def _columns(plan: Plan) -> list[ColumnView]:
    views = []
    for place, head in enumerate(plan.head):
        cells = (row[place].strip() for row in plan.rows if place < len(row))
        samples = [cell[:60] for cell, _ in zip((cell for cell in cells if cell), range(_SAMPLES))]  # noqa: B905
        column = plan.columns[place] if place < len(plan.columns) else NOT_TAKEN
        is_double = column != NOT_TAKEN and plan.columns.count(column) > 1
        views.append(ColumnView(head, samples, column, is_double))
    return views


def _page(
    request: Request, caller: Caller, country: str, text: str, error: str, status: int = 200
) -> HTMLResponse:
    countries = sorted_countries(translator_of(request), COUNTRIES)
    values = {"caller": caller, "country": country, "countries": countries, "text": text, "error": error}
    return context_of(request).pages.render(request, "leads/import.html", values, status)


def _country(text: str) -> str:
    if text and text not in COUNTRIES:
        raise Refused(errors.INVALID, "country: choose one from the list.")
    return text
