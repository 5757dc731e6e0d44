"""Bulk work on leads: downloads, changes, merges, imports, erasure, and its jobs."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import phonenumbers
from fastapi import Form, Query, Request
from pydantic import Field as Limits
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller, contact_reads_of, may, page_routes, require
from contatto.accounts.model import Caller, Permission, ReadAudit
from contatto.capture.model import Field
from contatto.channels.store import list_accounts
from contatto.kit import errors
from contatto.kit.api_types import json_answer
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused, check_found
from contatto.kit.form_fields import split_fault
from contatto.kit.i18n import N_, read_lazy_text
from contatto.kit.ids import new_id
from contatto.kit.languages import languages_of_countries, sorted_countries
from contatto.kit.table_export import SheetFile, csv_lines
from contatto.kit.untrusted_files import ENCODINGS, TableText
from contatto.leads.actions import jobs as actions
from contatto.leads.actions.records import note_export
from contatto.leads.model import ItemState, JobKind, JobPlan, Lead, LeadJob, LeadJobState
from contatto.leads.pages.center import LeadsQuery, PostedForm, ReadAsked, actor_of, read_query, rows_of
from contatto.leads.rules import importing
from contatto.leads.rules.records import (
    MOST_ERASED,
    LeadFilter,
    ListLayout,
    ad_data,
    for_member,
    person_label,
)
from contatto.leads.store import listing
from contatto.leads.store.intake import list_sharing_leads
from contatto.leads.store.jobs import (
    count_job_items,
    find_job,
    list_items_with_reason,
    list_job_items,
    list_jobs,
    record_plan,
)
from contatto.leads.store.records import find_merge
from contatto.ui.render import iso, translator_of
from contatto.ui.requests import Context, context_of, csv_file, show_page, stream_csv

router = page_routes()
HEAD: Final = (
    "lead_id", "created_time", "ad_id", "ad_name", "adgroup_id", "adgroup_name", "campaign_id",
    "campaign_name", "name", "status", "lead_source", *(field.value for field in Field), "labels", "owner",
)  # fmt: skip
"""Columns of the download: the API's own names first, then ours."""
_XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

type RowPage = tuple[Lead | None, list[list[str]]]
type ReadPage = Callable[[Lead | None, Tx], RowPage]
"""Function that returns the rows after a lead, and the last lead of them; None after the last page."""


@router.get("/leads.csv", Permission.EXPORT_LEADS, ReadAudit.EACH)
async def download_csv(request: Request, caller: PageCaller, query: ReadAsked) -> Response:
    """Stream all matching leads as CSV."""
    return await answer_file(request, caller, query.lead_filter, "csv", None)


@router.get("/leads.xlsx", Permission.EXPORT_LEADS, ReadAudit.EACH)
async def download_xlsx(request: Request, caller: PageCaller, query: ReadAsked) -> Response:
    """Return all matching leads as XLSX, which is first written to a temporary file."""
    return await answer_file(request, caller, query.lead_filter, "xlsx", None)


async def answer_file(
    request: Request,
    caller: Caller,
    lead_filter: LeadFilter,
    kind: Literal["csv", "xlsx"],
    ids: list[str] | None,
) -> Response:
    """Return a file of the leads with ``ids``; for None, of all that match the filter."""
    context, business_id = context_of(request), caller.business_id
    if ids is None:
        lead_filter = for_member(lead_filter, caller.subject_id)
        number = await context.db.read(lambda tx: listing.count_leads(tx, business_id, lead_filter))
    else:
        leads_by_id = await context.db.read(lambda tx: listing.list_leads_by_id(tx, business_id, set(ids)))
        contact_reads_of(request).add("lead_id", leads_by_id)
        number = len(leads_by_id)
    read_page: ReadPage = partial(read_leads, business_id, lead_filter, ids)
    contact_reads_of(request).counts["lead_id"] = number
    if kind == "csv":
        return csv_file("leads.csv", stream_csv(context.db, HEAD, read_page))
    path = await _write_xlsx(context, read_page)
    headers = {"Content-Disposition": 'attachment; filename="leads.xlsx"', "Cache-Control": "no-store"}
    return FileResponse(path, media_type=_XLSX, headers=headers, background=BackgroundTask(path.unlink))


async def _write_xlsx(context: Context, read_page: ReadPage) -> Path:
    """Write a temporary file page by page, so that other requests can read between pages."""
    with tempfile.NamedTemporaryFile(prefix="leads-", suffix=".xlsx", delete=False) as file:
        path = Path(file.name)
    try:
        sheet = SheetFile(path, HEAD)
        last: Lead | None = None
        while True:
            last, rows = await context.db.read_long(partial(read_page, last))
            await context.db.run_aside(partial(sheet.add_rows, rows))
            if last is None:
                break
        await context.db.run_aside(sheet.close)
    except BaseException:
        path.unlink()
        raise
    return path


def read_leads(
    business_id: str, lead_filter: LeadFilter, ids: list[str] | None, last: Lead | None, tx: Tx
) -> RowPage:
    """Return the last lead and the rows of the next page of matches; or no lead, and all rows of ``ids``.

    Cells are texts, in the columns of ``HEAD``; the newest lead comes first.
    """
    if ids is None:
        leads = listing.list_leads_after(tx, business_id, lead_filter, last)
    else:
        chosen = listing.list_leads_by_id(tx, business_id, set(ids)).values()
        visible_leads = [lead for lead in chosen if lead.hidden_at is None]
        leads = sorted(visible_leads, key=lambda lead: lead.created_at, reverse=True)
    lead_ids: set[str] = {lead.id for lead in leads}
    credits = listing.list_credits(tx, business_id, lead_ids)
    points = listing.list_outgoing_points(tx, business_id, lead_ids)
    labels = listing.list_labels_of(tx, business_id, lead_ids)
    names = listing.list_member_names(tx, business_id)
    rows = []
    for lead in leads:
        ad_values = ad_data(credits[lead.id][1] if lead.id in credits else None)
        contacts = [
            ", ".join(point.value for point in points[lead.id] if point.field is field) for field in Field
        ]
        lead_values = [lead.name, lead.status.value, lead.origin.value]
        row = [
            str(lead.number),
            iso(lead.created_at),
            *(ad_values[name] for name in HEAD[2:8]),
            *lead_values,
            *contacts,
        ]
        label_names = ", ".join(label.name for label in labels[lead.id])
        rows.append([*row, label_names, names.get(lead.owner_id or "", "")])
    tx.forget_pages()
    return leads[-1] if leads and ids is None else None, rows


RECENT: Final = timedelta(minutes=30)
"""The list shows open jobs, and ended ones that began within this time."""
SHOWN_FOR: Final = timedelta(days=30)
MOST_SHOWN: Final = 100
"""The history shows this many jobs, which began within `SHOWN_FOR`."""


class _LeadSelection(PostedForm):
    """Selected leads, or all that match a query."""

    ids: list[str] = Limits(default_factory=list, max_length=actions.MOST_SELECTED)
    all: bool = False
    query: str = Limits("", max_length=8_000)


class _BulkAction(_LeadSelection):
    """Action on the selected leads, with its status, owner or label."""

    do: Literal["status", "owner", "label", "unlabel", "delete", "csv", "xlsx"]
    status: str = Limits("", max_length=20)
    owner: str = Limits("", max_length=36)
    label: str = Limits("", max_length=200)


@router.post("/leads/bulk", Permission.WRITE_LEADS, ReadAudit.EACH)
async def post_bulk(request: Request, caller: FormCaller, sent: Annotated[_BulkAction, Form()]) -> Response:
    """Queue a job on the selected leads or on all that match, or return a file of them at once."""
    query = read_query(sent.query)
    if not sent.all and not sent.ids:
        raise Refused(errors.INVALID, "Choose at least one lead.")
    if sent.do in ("csv", "xlsx"):
        require(caller, Permission.EXPORT_LEADS)
        exported_ids = [] if sent.all else sent.ids
        # written before the first byte leaves, with the entry of the audit log that follows each write
        await context_of(request).db.write(lambda tx: note_export(tx, actor_of(caller), exported_ids))
        return await answer_file(request, caller, query.lead_filter, sent.do, None if sent.all else sent.ids)
    actor, value = actor_of(caller), {"status": sent.status, "owner": sent.owner}.get(sent.do, sent.label)
    plan = JobPlan(value, lead_ids=tuple(sent.ids))
    if sent.all:
        plan = JobPlan(value, query=LeadsQuery(query.lead_filter, ListLayout()).query)
    await context_of(request).db.write(lambda tx: actions.start_job(tx, actor, JobKind(sent.do), plan))
    return RedirectResponse(query.href(), 303)


@router.get("/leads/jobs", Permission.READ_LEADS)
async def show_jobs(request: Request, caller: PageCaller, query: ReadAsked) -> HTMLResponse:
    """Show the latest open or recently ended job in one line, which an open page reloads each second."""
    context = context_of(request)
    jobs = await context.db.read(
        lambda tx: _job_rows(tx, caller, list_jobs(tx, caller.business_id, tx.now - RECENT))
    )
    open_jobs = [job for job in jobs if job["is_open"]]
    can_edit = may(caller, Permission.WRITE_LEADS)
    values = {"caller": caller, "jobs": (open_jobs or jobs)[:1], "others": len(jobs) - 1, "asked": query}
    values |= {"can_edit": can_edit, "look": new_id()}
    return context.pages.render(request, "leads/_jobs.html", values)


@router.get("/leads/jobs/history", Permission.READ_LEADS)
async def show_history(request: Request, caller: PageCaller, query: ReadAsked) -> HTMLResponse:
    """Show the history of bulk work, latest first."""
    context = context_of(request)
    business_id = caller.business_id
    jobs = await context.db.read(
        lambda tx: _job_rows(tx, caller, list_jobs(tx, business_id, tx.now - SHOWN_FOR, MOST_SHOWN))
    )
    can_edit = may(caller, Permission.WRITE_LEADS)
    values = {"caller": caller, "jobs": jobs, "others": 0, "can_edit": can_edit, "asked": query}
    return context.pages.render(request, "leads/jobs.html", values | {"look": ""})


@router.page("/leads/jobs/{job_id}", Permission.READ_LEADS, "leads/job.html")
def show_job(tx: Tx, request: Request, caller: Caller, job_id: str) -> dict[str, Any]:
    """Show one job with the items that it skipped."""
    words = translator_of(request)
    job = check_found(find_job(tx, caller.business_id, job_id), "Task not found.")
    skipped = [
        {"lead_id": item.lead_id, "reason": read_lazy_text(item.reason).in_language(words)}
        for item in list_items_with_reason(tx, caller.business_id, job_id)
    ]
    counts = count_job_items(tx, caller.business_id, job_id)
    can_edit = may(caller, Permission.WRITE_LEADS)
    return {
        "job": _job_rows(tx, caller, [job])[0],
        "skipped": skipped,
        "made": sum(counts.get((ItemState.CREATED, has_reason), 0) for has_reason in (True, False)),
        "in_part": sum(counts.get((state, True), 0) for state in (ItemState.CREATED, ItemState.CHANGED)),
        "has_rejects": job.has_ended and any(job.plan.rows) and may(caller, Permission.WRITE_LEADS),
        "can_edit": can_edit,
        "look": new_id(),
    }


@router.form("/leads/jobs/{job_id}/undo", Permission.WRITE_LEADS)
def post_undo(
    tx: Tx, request: Request, caller: Caller, job_id: str, query: Annotated[str, Form(max_length=8_000)] = ""
) -> str:
    """Start the undo of a job, and return to the list."""
    actions.undo_job(tx, actor_of(caller), job_id)
    return read_query(query).href()


def _job_rows(tx: Tx, caller: Caller, jobs: list[LeadJob]) -> list[dict[str, Any]]:
    labels = listing.list_labels(tx, caller.business_id) if jobs else []
    names = {label.id: label.name for label in labels}
    names |= listing.list_member_names(tx, caller.business_id) if jobs else {}
    rows = []
    for job in jobs:
        is_undone = job.undone_by is not None
        if job.kind is JobKind.MERGE and job.has_ended and not is_undone:
            # Members may have undone each of the merges, so that nothing is left to undo.
            items = list_job_items(tx, job.business_id, job.id, 0, actions.MERGE_LIMIT)
            merges = [find_merge(tx, job.business_id, item.after) for item in items]
            is_undone = all(merge is None or merge.undone_at is not None for merge in merges)
        is_irreversible = job.kind in (JobKind.UNDO, JobKind.ERASE)
        rows.append({
            "id": job.id,
            "kind": job.kind.value,
            "value": names.get(job.plan.value, "" if job.kind is not JobKind.STATUS else job.plan.value),
            "actor": job.actor,
            "is_waiting": job.state is LeadJobState.WAITING,
            "is_open": not job.has_ended,
            "total": job.total,
            "through": min(job.done + job.skipped, job.total),
            "done": job.done,
            "skipped": job.skipped,
            "is_undone": is_undone,
            "can_undo": job.has_ended and job.done > 0 and not is_undone and not is_irreversible,
            "created_at": job.created_at,
        })  # fmt: skip
    return rows


class _BulkMerge(PostedForm):
    ids: list[str] = Limits(max_length=actions.MERGE_LIMIT)
    keep: str = Limits(max_length=36)
    reason: str = Limits("", max_length=1_000)


@router.post("/leads/merge/ask", Permission.WRITE_LEADS, ReadAudit.EACH)
async def post_ask_bulk_merge(
    request: Request, caller: FormCaller, sent: Annotated[_LeadSelection, Form()]
) -> HTMLResponse:
    """Ask which of the chosen leads stays; this changes nothing."""
    db, business_id, most = context_of(request).db, caller.business_id, actions.MERGE_LIMIT
    lead_filter = for_member(read_query(sent.query).lead_filter, caller.subject_id)
    ids = sent.ids
    if sent.all:
        ids = await db.read(
            lambda tx: listing.list_lead_ids_after(tx, business_id, lead_filter, "", most + 1)
        )
    leads_by_id = await db.read(lambda tx: listing.list_leads_by_id(tx, business_id, set(ids)))
    leads = [lead for asked_id, lead in leads_by_id.items() if lead.id == asked_id and lead.hidden_at is None]
    if not 2 <= len(leads) <= most:
        raise Refused(errors.INVALID, "Choose 2 to %(most)s leads, and which of them stays.", most=most)
    leads.sort(key=lambda lead: lead.created_at)
    return await show_page(
        request, caller, "leads/join.html", lambda tx: {"leads": rows_of(tx, business_id, leads)}
    )


@router.form("/leads/merge", Permission.WRITE_LEADS)
def post_bulk_merge(tx: Tx, request: Request, caller: Caller, sent: Annotated[_BulkMerge, Form()]) -> str:
    actions.merge_many_leads(tx, actor_of(caller), sent.keep, sent.ids, sent.reason)
    return f"/leads/{sent.keep}"


COUNTRIES: Final = tuple(sorted(phonenumbers.SUPPORTED_REGIONS))
_SAMPLES: Final = 3


class _PastedText(PostedForm):
    text: str = Limits("", max_length=1_000_000)
    country: str = Limits("", max_length=2)


class _ImportColumns(PostedForm):
    column: list[str] = Limits(default_factory=list, max_length=importing.MOST_COLUMNS)
    encoding: str = Limits("", max_length=20)
    country: str = Limits("", max_length=2)


@router.get("/leads/import", Permission.WRITE_LEADS)
async def show_import(request: Request, caller: PageCaller) -> HTMLResponse:
    accounts = await context_of(request).db.read(lambda tx: list_accounts(tx, caller.business_id))
    return _import_page(request, caller, accounts[0].registration_country if accounts else "", "", "")


@router.post("/leads/import", Permission.WRITE_LEADS)
async def post_text(request: Request, caller: FormCaller, sent: Annotated[_PastedText, Form()]) -> Response:
    """Save a pasted text as an import draft, and show its preview."""
    try:
        country = _check_country(sent.country)
        # In a thread: it reads each row, and guesses what the columns hold.
        actor, db = actor_of(caller), context_of(request).db
        sheet = await db.run_aside(partial(importing.read_sheet, sent.text))
        plan = await db.run_aside(partial(actions.plan_import, sheet, country))
        draft = await db.write(lambda tx: actions.keep_import_draft(tx, actor, plan))
    except Refused as refused:
        _field, error = split_fault(refused, translator_of(request))
        return _import_page(request, caller, sent.country, sent.text, error, refused.code.http_status)
    return RedirectResponse(f"/leads/import/{draft.id}", 303)


@router.post("/leads/import/file", Permission.WRITE_LEADS)
async def post_file(
    request: Request, caller: FormCaller, country: Annotated[str, Query(max_length=2)] = ""
) -> Response:
    """Save a file as an import draft; the body is a workbook, or a text in any usual encoding."""
    region = _check_country(country)
    context, words = context_of(request), translator_of(request)
    accounts = await context.db.read(lambda tx: list_accounts(tx, caller.business_id))
    countries = [code for code in (region, *(account.registration_country for account in accounts)) if code]
    languages = [*languages_of_countries(countries), words.lang.partition("-")[0]]
    table = await context.uploads.take_table(request, caller.subject_id, languages)
    if isinstance(table, TableText):
        sheet = await context.db.run_aside(
            lambda: replace(importing.read_sheet(table.text), encoding=table.encoding)
        )
    else:
        sheet = await context.db.run_aside(lambda: importing.sheet_of(table))
    plan = await context.db.run_aside(partial(actions.plan_import, sheet, region))
    draft = await context.db.write(lambda tx: actions.keep_import_draft(tx, actor_of(caller), plan))
    return json_answer({"href": f"/leads/import/{draft.id}"})


@router.get("/leads/import/{job_id}", Permission.WRITE_LEADS, ReadAudit.EACH)
async def show_draft(request: Request, caller: PageCaller, job_id: str) -> HTMLResponse:
    """Show the preview of an import; nothing is changed."""
    actor = actor_of(caller)
    draft = await context_of(request).db.read(lambda tx: actions.load_import_draft(tx, actor, job_id))
    return await _draft_page(request, caller, draft, draft.plan, None)


@router.post("/leads/import/{job_id}", Permission.WRITE_LEADS)
async def post_columns(
    request: Request, caller: FormCaller, job_id: str, sent: Annotated[_ImportColumns, Form()]
) -> Response:
    actor, country = actor_of(caller), _check_country(sent.country)
    db = context_of(request).db
    draft = await db.read(lambda tx: actions.load_import_draft(tx, actor, job_id))
    try:
        if sent.encoding and draft.plan.encoding not in ("", sent.encoding):
            # In a thread, before the write: it reads all cells anew.
            plan = await db.run_aside(
                partial(actions.read_plan_in_encoding, draft.plan, sent.encoding, sent.column, country)
            )
        else:
            columns = importing.read_columns(sent.column, len(draft.plan.head))
            plan = replace(draft.plan, columns=columns, value=country)
        # Somebody may have started it meanwhile.
        load_draft = partial(actions.load_import_draft, actor=actor, job_id=job_id)
        await db.write(lambda tx: record_plan(tx, caller.business_id, load_draft(tx).id, plan))
    except Refused as refused:
        return await _draft_page(request, caller, draft, draft.plan, refused.expect(errors.INVALID))
    return RedirectResponse(f"/leads/import/{job_id}", 303)


@router.form("/leads/import/{job_id}/start", Permission.WRITE_LEADS)
def post_start(tx: Tx, request: Request, caller: Caller, job_id: str) -> str:
    actions.start_import(tx, actor_of(caller), job_id)
    return f"/leads/jobs/{job_id}"


@router.get("/leads/jobs/{job_id}/rejects", Permission.WRITE_LEADS, ReadAudit.EACH)
async def download_rejects(request: Request, caller: PageCaller, job_id: str) -> Response:
    """Download skipped and partly imported rows, each with its reason, for correction."""
    words = translator_of(request)
    plan, reasons = await context_of(request).db.read(
        lambda tx: actions.load_rejects(tx, caller.business_id, job_id)
    )
    reasons_by_row = {number: read_lazy_text(reason).in_language(words) for number, reason in reasons.items()}
    width = len(plan.head)
    rows = [
        [*(row + ("",) * width)[:width], reasons_by_row.get(number, "")]
        for number, row in zip(plan.numbers, plan.rows, strict=True)
        if row
    ]
    contact_reads_of(request).counts["lead_id"] = len(rows)
    return csv_file("rejects.csv", csv_lines([[*plan.head, importing.REASON_HEAD], *rows], bom=True))


async def _draft_page(
    request: Request, caller: Caller, draft: LeadJob, plan: JobPlan, refused: Refused | None
) -> HTMLResponse:
    context = context_of(request)
    words = translator_of(request)
    problem = refused
    if problem is None:
        try:
            importing.read_columns(plan.columns, len(plan.head))
        except Refused as refusal:
            problem = refusal
    columns = []
    for place, head in enumerate(plan.head):
        cells = (row[place].strip() for row in plan.rows if place < len(row))
        samples = [cell[:60] for cell in islice(filter(None, cells), _SAMPLES)]
        column = plan.columns[place] if place < len(plan.columns) else importing.NOT_TAKEN
        is_double = column != importing.NOT_TAKEN and plan.columns.count(column) > 1
        columns.append({"head": head, "samples": samples, "column": column, "is_double": is_double})
    values = {
        "caller": caller,
        "draft_id": draft.id,
        "encoding": plan.encoding,
        "encodings": ENCODINGS,
        "country": plan.value,
        "countries": sorted_countries(words, COUNTRIES),
        "columns": columns,
        "choices": importing.COLUMN_KINDS,
        "total": len(plan.rows),
        "preview": None
        if problem
        else await context.db.read_long(lambda tx: actions.foresee_import(tx, caller.business_id, plan)),
        "error": split_fault(problem, words)[1] if problem else "",
    }
    return context.pages.render(request, "leads/import_draft.html", values, refused=refused)


def _import_page(
    request: Request, caller: Caller, country: str, text: str, error: str, status: int = 200
) -> HTMLResponse:
    countries = sorted_countries(translator_of(request), COUNTRIES)
    values = {"caller": caller, "country": country, "countries": countries, "text": text, "error": error}
    return context_of(request).pages.render(request, "leads/import.html", values, status)


def _check_country(text: str) -> str:
    if text and text not in COUNTRIES:
        raise Refused(errors.INVALID, "country: choose one from the list.")
    return text


ERASURE_WORD: Final = N_("erase")
"""Confirmation that members type, in their language or in English."""
MOST_NAMES: Final = 20
"""Number of leads that the page lists by name; it counts the others."""


class _ErasureSelection(_LeadSelection):
    ids: list[str] = Limits(default_factory=list, max_length=MOST_ERASED)


class _ErasureConfirmation(PostedForm):
    ids: str = Limits(max_length=40 * MOST_ERASED)
    word: str = Limits("", max_length=100)


@router.get("/leads/{lead_id}/erase", Permission.ERASE_LEADS, ReadAudit.EACH)
async def show_erase(request: Request, caller: PageCaller, lead_id: str) -> HTMLResponse:
    return await _erasure_page(request, caller, (lead_id,))


@router.post("/leads/erase/ask", Permission.ERASE_LEADS, ReadAudit.EACH)
async def post_ask_erase(
    request: Request, caller: FormCaller, sent: Annotated[_ErasureSelection, Form()]
) -> HTMLResponse:
    """Ask before the chosen leads, or all that match by now, are erased; this changes nothing."""
    lead_filter = for_member(read_query(sent.query).lead_filter, caller.subject_id)
    ids = sent.ids
    if sent.all:
        ids = await context_of(request).db.read(
            lambda tx: listing.list_lead_ids_after(tx, caller.business_id, lead_filter, "", MOST_ERASED + 1)
        )
    return await _erasure_page(request, caller, tuple(ids))


@router.post("/leads/erase", Permission.ERASE_LEADS, ReadAudit.EACH)
async def post_erase(
    request: Request, caller: FormCaller, sent: Annotated[_ErasureConfirmation, Form()]
) -> Response:
    ids = tuple(filter(None, sent.ids.split(",")))
    typed = sent.word.strip().casefold()
    if typed not in (ERASURE_WORD, translator_of(request).gettext(ERASURE_WORD).casefold()):
        return await _erasure_page(request, caller, ids, is_wrong=True)
    actor, plan = actor_of(caller), JobPlan(lead_ids=ids)
    job = await context_of(request).db.write(lambda tx: actions.start_job(tx, actor, JobKind.ERASE, plan))
    return RedirectResponse(f"/leads/jobs/{job.id}", 303)


async def _erasure_page(
    request: Request, caller: Caller, ids: tuple[str, ...], *, is_wrong: bool = False
) -> HTMLResponse:
    context = context_of(request)
    if not 0 < len(ids) <= MOST_ERASED:
        raise Refused(errors.INVALID, "Choose at most %(most)s leads to erase.", most=MOST_ERASED)
    business_id = caller.business_id
    leads_by_id = await context.db.read(lambda tx: listing.list_leads_by_id(tx, business_id, set(ids)))
    leads = [
        leads_by_id[asked_id]
        for asked_id in ids
        if asked_id in leads_by_id and leads_by_id[asked_id].id == asked_id
    ]
    if not leads:
        raise Refused(errors.NOT_FOUND, "Lead not found.")
    lead_ids = {lead.id for lead in leads}
    contact_reads_of(request).add("lead_id", sorted(lead_ids))
    twins = await context.db.read(lambda tx: list_sharing_leads(tx, business_id, lead_ids))
    values = {
        "caller": caller,
        "leads": [
            {"id": lead.id, "name": person_label(lead.name, lead.person_id)} for lead in leads[:MOST_NAMES]
        ],
        "ids": ",".join(sorted(lead_ids)),
        "count": len(lead_ids),
        "twins": len(twins),
        "word": ERASURE_WORD,
        "is_wrong": is_wrong,
    }
    return context.pages.render(request, "leads/erase.html", values, 422 if is_wrong else 200)
