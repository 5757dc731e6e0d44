"""Leads as a file: the matching or the chosen ones, as CSV or XLSX, page by page: memory stays flat."""

import tempfile
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Final, Literal

from fastapi import APIRouter, Request
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response, StreamingResponse

from contatto.accounts.auth import PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import require
from contatto.capture.model import Field
from contatto.kit.db.tx import Tx
from contatto.kit.looks import note_number_seen, note_seen
from contatto.kit.spreadsheet import SheetFile
from contatto.kit.table_export import csv_lines
from contatto.leads.model.leads import ContactPoint, Lead
from contatto.leads.pages.query import ReadAsked
from contatto.leads.pages.rows import credits_of, member_names
from contatto.leads.rules.filters import LeadFilter, for_member
from contatto.leads.store import annotations, listing, records
from contatto.leads.store.credits import Credit
from contatto.ui.context import Context, context_of
from contatto.ui.render import iso

router = APIRouter(include_in_schema=False)
HEAD: Final = (
    "lead_id", "created_time", "ad_id", "ad_name", "adgroup_id", "adgroup_name", "campaign_id",
    "campaign_name", "name", "status", "lead_source", *(field.value for field in Field), "labels", "owner",
)  # fmt: skip
"""Columns of the download: the API's own names first, then ours."""
_XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

type Page = tuple[Lead | None, list[list[str]]]
type ReadPage = Callable[[Tx], Page]
type NextPage = Callable[[Lead | None], ReadPage]


@router.get("/leads.csv")
async def download_csv(request: Request, caller: PageCaller, asked: ReadAsked) -> Response:
    """Stream all matching leads as CSV."""
    require(caller, Permission.EXPORT_LEADS)
    return await answer_file(request, caller, asked.wanted, "csv", None)


@router.get("/leads.xlsx")
async def download_xlsx(request: Request, caller: PageCaller, asked: ReadAsked) -> Response:
    """All matching leads as XLSX; it is written to a file of its own first."""
    require(caller, Permission.EXPORT_LEADS)
    return await answer_file(request, caller, asked.wanted, "xlsx", None)


async def answer_file(
    request: Request,
    caller: Caller,
    wanted: LeadFilter,
    kind: Literal["csv", "xlsx"],
    ids: list[str] | None,
) -> Response:
    """The leads that match, or those with the ids, as a file."""
    context, business_id = context_of(request), caller.business_id
    if ids is None:
        wanted = for_member(wanted, caller.subject_id)
        number = await context.db.read(lambda tx: listing.count_leads(tx, business_id, wanted))
        pages = _matching(business_id, wanted)
    else:
        known = await context.db.read(lambda tx: records.list_leads_by_id(tx, business_id, set(ids)))
        note_seen("lead_id", known)
        number, pages = len(known), _chosen(business_id, ids)
    note_number_seen("lead_id", number)
    headers = {"Content-Disposition": f'attachment; filename="leads.{kind}"', "Cache-Control": "no-store"}
    if kind == "csv":
        lines = _stream_csv(context, pages)
        return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)
    path = await _write_xlsx(context, pages)
    return FileResponse(path, media_type=_XLSX, headers=headers, background=BackgroundTask(path.unlink))


async def _stream_csv(context: Context, pages: NextPage) -> AsyncIterator[bytes]:
    for line in csv_lines([HEAD], bom=True):
        yield line
    last: Lead | None = None
    while True:
        last, rows = await context.db.read_long(pages(last))
        for line in csv_lines(rows):
            yield line
        if last is None:
            return


async def _write_xlsx(context: Context, pages: NextPage) -> Path:
    """Write a file of its own, page by page, so that others read between two of them."""
    with tempfile.NamedTemporaryFile(prefix="leads-", suffix=".xlsx", delete=False) as file:
        path = Path(file.name)
    try:
        sheet = SheetFile(path, HEAD)
        more, last = True, None
        while more:
            last = await context.db.run_aside(partial(_add_page, context, sheet, pages(last)))
            more = last is not None
        await context.db.run_aside(sheet.close)
    except BaseException:
        path.unlink()
        raise
    return path


def _add_page(context: Context, sheet: SheetFile, read_page: ReadPage) -> Lead | None:
    last, rows = context.db.read_now(read_page)
    sheet.add_rows(rows)
    return last


def _matching(business_id: str, wanted: LeadFilter) -> NextPage:
    """All that match, newest first, page by page; the last page says None."""

    def after(last: Lead | None) -> ReadPage:
        def read_page(tx: Tx) -> Page:
            found = listing.list_leads_after(tx, business_id, wanted, last)
            rows = table_rows(tx, business_id, found)
            tx.forget_pages()
            return found[-1] if found else None, rows

        return read_page

    return after


def _chosen(business_id: str, ids: list[str]) -> NextPage:
    """The leads with these ids, in one page."""

    def read_page(tx: Tx) -> Page:
        found = records.list_leads_by_id(tx, business_id, set(ids)).values()
        shown = sorted((lead for lead in found if lead.hidden_at is None), key=lambda lead: lead.created_at)
        return None, table_rows(tx, business_id, shown[::-1])

    return lambda _last: read_page


def table_rows(tx: Tx, business_id: str, found: list[Lead]) -> list[list[str]]:
    """Leads as the rows of a table under ``HEAD``, every cell a text."""
    ids = {lead.id for lead in found}
    credits = credits_of(tx, business_id, found)
    points = records.list_outgoing_points(tx, business_id, ids)
    labels = annotations.list_labels_of(tx, business_id, ids)
    names = member_names(tx, business_id)
    return [
        [
            *_own_cells(lead, points[lead.id], credits.get(lead.id)),
            ", ".join(label.name for label in labels[lead.id]),
            names.get(lead.owner_id or "", ""),
        ]
        for lead in found
    ]


def _own_cells(lead: Lead, points: list[ContactPoint], credit: Credit | None) -> list[str]:
    ad = credit[1] if credit else None
    of_ad = (
        [ad.ad_number, ad.ad_name, ad.ad_group_number, ad.ad_group_name, ad.campaign_number, ad.campaign_name]
        if ad
        else [""] * 6
    )
    by_field = {field: ", ".join(point.value for point in points if point.field is field) for field in Field}
    own = [lead.name, lead.status.value, lead.origin.value]
    return [str(lead.number), iso(lead.created_at) or "", *map(str, of_ad), *own, *by_field.values()]
