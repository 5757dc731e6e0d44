"""Leads as a file: the matching ones as CSV, streamed page by page."""

from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from contatto.accounts.auth import PageCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.capture.model import Field
from contatto.kit.context import Context, context_of
from contatto.kit.db.tx import Tx
from contatto.kit.table_export import csv_lines
from contatto.kit.web.render import iso
from contatto.leads.model import ContactPoint, Lead
from contatto.leads.pages.asked import ReadAsked
from contatto.leads.pages.rows import Credit, credits_of, member_names
from contatto.leads.rules.filters import LeadFilter, for_member
from contatto.leads.store import listing, records, work

router = APIRouter(include_in_schema=False)
HEAD: Final = (
    "lead_id", "created_time", "ad_id", "ad_name", "adgroup_id", "adgroup_name", "campaign_id",
    "campaign_name", "name", "status", "lead_source", *(field.value for field in Field), "labels", "owner",
)  # fmt: skip
"""Columns of the download: the API's own names first, then ours."""


@router.get("/leads.csv")
async def download_leads(request: Request, caller: PageCaller, asked: ReadAsked) -> StreamingResponse:
    """Stream all matching leads as CSV, page by page: memory stays flat however many there are."""
    require(caller, Permission.EXPORT_LEADS)
    headers = {"Content-Disposition": 'attachment; filename="leads.csv"', "Cache-Control": "no-store"}
    wanted = for_member(asked.wanted, caller.subject_id)
    lines = _stream_csv(context_of(request), caller.business_id, wanted)
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)


async def _stream_csv(context: Context, business_id: str, wanted: LeadFilter) -> AsyncIterator[bytes]:
    for line in csv_lines([HEAD], bom=True):
        yield line
    last: Lead | None = None
    while True:
        found = await context.db.read(_page_reader(business_id, wanted, last))
        if not found:
            return
        for line in csv_lines(row for _, row in found):
            yield line
        last = found[-1][0]


def _page_reader(business_id: str, wanted: LeadFilter, last: Lead | None) -> Any:
    def read_page(tx: Tx) -> list[tuple[Lead, list[str]]]:
        found = listing.list_leads_after(tx, business_id, wanted, last)
        return list(zip(found, table_rows(tx, business_id, found), strict=True))

    return read_page


def table_rows(tx: Tx, business_id: str, found: list[Lead]) -> list[list[str]]:
    """Leads as the rows of a table under ``HEAD``, every cell a text."""
    ids = {lead.id for lead in found}
    credits = credits_of(tx, business_id, found)
    points = records.list_contact_points(tx, business_id, ids)
    labels = work.list_labels_of(tx, business_id, ids)
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
