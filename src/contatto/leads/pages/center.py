"""The Leads Center: the list, one lead with its evidence and its ad, status changes and the download."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import HTMLResponse, RedirectResponse, StreamingResponse

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import may, require
from contatto.capture.model import Field
from contatto.channels.store import list_accounts
from contatto.kit import errors
from contatto.kit.context import Context, context_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.moments import from_micros
from contatto.kit.table_export import csv_lines
from contatto.kit.web.render import iso
from contatto.leads.actions import records as actions
from contatto.leads.model import ContactPoint, Evidence, Lead, Origin, Status, Step
from contatto.leads.rules.records import person_label
from contatto.leads.store import records as store
from contatto.leads.store.records import LeadFilter
from contatto.measurement import store as measurement_store
from contatto.measurement.model import Attribution, ConversionKind, MeasuredAd, TouchKind

router = APIRouter(include_in_schema=False)
PAGE: Final = 50
CSV_HEAD: Final = (
    "lead_id", "created_time", "ad_id", "ad_name", "adgroup_id", "adgroup_name", "campaign_id",
    "campaign_name", "name", "status", "lead_source", *(field.value for field in Field),
)  # fmt: skip
"""Columns of the download: the API's own names first, then ours."""
_STEP_TEXTS: Final = {
    "captured": "Became a lead by sharing: {detail}",
    "updated": "Shared more: {detail}",
    "marked": "Marked as a lead",
    "rejected": "Not a contact: {detail}",
    "status": "Status: {detail}",
}


@dataclass(frozen=True, slots=True)
class Filters:
    """The filter and order that stand in the address."""

    q: str
    status: str
    source: str
    sort: str

    def wanted(self) -> LeadFilter:
        status = Status(self.status) if self.status else None
        return LeadFilter(status, Origin(self.source) if self.source else None, self.q)

    def query(self) -> str:
        return urlencode({"q": self.q, "status": self.status, "source": self.source, "sort": self.sort})


def read_filters(q: str = "", status: str = "", source: str = "", sort: str = "-created") -> Filters:
    """Read the filter out of the address; words that it does not know are left out."""
    return Filters(
        q=q[:200],
        status=status if status in list(Status) else "",
        source=source if source in list(Origin) else "",
        sort=sort if sort in store.SORTS else "-created",
    )


ReadFilters = Annotated[Filters, Depends(read_filters)]


@router.get("/leads")
async def show_leads(
    request: Request, caller: PageCaller, filters: ReadFilters, page: int = 1
) -> HTMLResponse:
    return await _render_list(request, caller, "leads/list.html", filters, page)


@router.get("/leads/rows")
async def show_lead_rows(
    request: Request, caller: PageCaller, filters: ReadFilters, page: int = 1
) -> HTMLResponse:
    return await _render_list(request, caller, "leads/_rows.html", filters, page)


async def _render_list(
    request: Request, caller: Caller, template: str, filters: Filters, page: int
) -> HTMLResponse:
    require(caller, Permission.READ_LEADS)
    context = context_of(request)

    def load(tx: Tx) -> dict[str, Any]:
        wanted = filters.wanted()
        total = store.count_leads(tx, caller.business_id, wanted)
        pages = max(1, -(-total // PAGE))
        shown = min(max(page, 1), pages)
        found = store.list_leads(tx, caller.business_id, wanted, filters.sort, PAGE, (shown - 1) * PAGE)
        credits_of = _credits(tx, caller.business_id, found)
        points = store.list_contact_points(tx, caller.business_id, {lead.id for lead in found})
        counts = store.count_leads_by_status(tx, caller.business_id)
        return {
            "total": total,
            "leads": [_row(lead, points[lead.id], credits_of.get(lead.id)) for lead in found],
            "page": shown,
            "pages": pages,
            "status_counts": {status.value: counts.get(status, 0) for status in Status},
        }

    values = await context.db.read(load)
    values |= {"caller": caller, "filters": filters, "csv_href": f"/leads.csv?{filters.query()}"}
    return context.pages.render(request, template, values)


def _credits(tx: Tx, business_id: str, found: list[Lead]) -> dict[str, tuple[Attribution, MeasuredAd]]:
    """For each lead that an ad earned: the attribution and the ad."""
    earned = measurement_store.list_attributions(tx, business_id, {lead.id for lead in found})
    ad_ids = {each.ad_id for each in earned.values() if each.ad_id}
    ads = measurement_store.list_measured_ads(tx, business_id, ad_ids)
    return {
        lead_id: (each, ads[each.ad_id])
        for lead_id, each in earned.items()
        if each.ad_id and each.ad_id in ads
    }


def _row(
    lead: Lead, points: list[ContactPoint], credit: tuple[Attribution, MeasuredAd] | None
) -> dict[str, Any]:
    ad = credit[1] if credit else None
    return {
        "id": lead.id,
        "name": person_label(lead.name, lead.person_id),
        "handle": None,
        "contact_points": points,
        "status": lead.status.value,
        "source": lead.origin.value,
        "campaign_name": ad and ad.campaign_name,
        "ad_group_name": ad and ad.ad_group_name,
        "ad_name": ad and ad.ad_name,
        "created_at": lead.created_at,
        "last_activity_at": lead.updated_at,
    }


@router.get("/leads.csv")
async def download_leads(request: Request, caller: PageCaller, filters: ReadFilters) -> StreamingResponse:
    """Stream all matching leads as CSV, page by page: memory stays flat however many there are."""
    require(caller, Permission.EXPORT_LEADS)
    headers = {"Content-Disposition": 'attachment; filename="leads.csv"', "Cache-Control": "no-store"}
    lines = _stream_csv(context_of(request), caller.business_id, filters.wanted())
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)


async def _stream_csv(context: Context, business_id: str, wanted: LeadFilter) -> AsyncIterator[bytes]:
    for line in csv_lines([CSV_HEAD], bom=True):
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
        found = store.list_leads_after(tx, business_id, wanted, last)
        credits_of = _credits(tx, business_id, found)
        points = store.list_contact_points(tx, business_id, {lead.id for lead in found})
        return [(lead, _csv_row(lead, points[lead.id], credits_of.get(lead.id))) for lead in found]

    return read_page


def _csv_row(
    lead: Lead, points: list[ContactPoint], credit: tuple[Attribution, MeasuredAd] | None
) -> list[str]:
    ad = credit[1] if credit else None
    of_ad = (
        [ad.ad_number, ad.ad_name, ad.ad_group_number, ad.ad_group_name, ad.campaign_number, ad.campaign_name]
        if ad
        else [""] * 6
    )
    by_field = {field: ", ".join(point.value for point in points if point.field is field) for field in Field}
    own = [lead.name, lead.status.value, lead.origin.value]
    return [str(lead.number), iso(lead.created_at) or "", *map(str, of_ad), *own, *by_field.values()]


@router.get("/leads/{lead_id}")
async def show_lead(request: Request, caller: PageCaller, lead_id: str) -> HTMLResponse:
    require(caller, Permission.READ_LEADS)
    context = context_of(request)

    def load(tx: Tx) -> dict[str, Any]:
        lead = store.find_lead(tx, caller.business_id, lead_id)
        if lead is None:
            raise Refused(errors.NOT_FOUND, "There is no such lead.")
        return _detail(tx, lead)

    values = await context.db.read(load)
    values |= {"caller": caller, "can_edit": may(caller, Permission.WRITE_LEADS)}
    return context.pages.render(request, "leads/detail.html", values)


@router.post("/leads/{lead_id}/status")
async def post_status(
    request: Request,
    caller: FormCaller,
    lead_id: str,
    status: Annotated[Status, Form()],
    seen: Annotated[Status, Form()],
) -> RedirectResponse:
    require(caller, Permission.WRITE_LEADS)

    def change(tx: Tx) -> Lead:
        return actions.change_lead_status(tx, caller.business_id, lead_id, seen, status, caller.display_name)

    if status is not seen:
        await context_of(request).db.write(change)
    return RedirectResponse(f"/leads/{lead_id}", 303)


@router.post("/leads/{lead_id}/points/{point_id}/reject")
async def post_reject(request: Request, caller: FormCaller, lead_id: str, point_id: str) -> RedirectResponse:
    """Not a contact: the point goes, and with the last one a lead that nothing else made."""
    require(caller, Permission.WRITE_LEADS)

    def reject(tx: Tx) -> Lead | None:
        return actions.reject_contact_point(tx, caller.business_id, lead_id, point_id, caller.display_name)

    lead = await context_of(request).db.write(reject)
    return RedirectResponse(f"/leads/{lead_id}" if lead else "/leads", 303)


def _detail(tx: Tx, lead: Lead) -> dict[str, Any]:
    accounts = {account.id: account for account in list_accounts(tx, lead.business_id)}
    account = accounts[lead.channel_account_id]
    points = store.list_contact_points(tx, lead.business_id, {lead.id})[lead.id]
    proofs = {
        item.contact_point_id: item
        for item in reversed(store.list_evidence_of_lead(tx, lead.business_id, lead.id))
    }
    earned = measurement_store.find_attribution(tx, lead.business_id, lead.id, ConversionKind.LEAD)
    return {
        "lead": {
            "id": lead.id,
            "name": person_label(lead.name, lead.person_id),
            "handle": None,
            "status": lead.status.value,
            "source": lead.origin.value,
            "channel": account.platform.value,
            "account_name": account.name,
            "conversation_id": lead.conversation_id,
            "created_at": lead.created_at,
            "last_activity_at": lead.updated_at,
        },
        "statuses": [status.value for status in Status],
        "contact_points": [
            _point(point, proofs.get(point.id), lead, is_first=index == 0)
            for index, point in enumerate(points)
        ],
        "attribution": _attribution(tx, lead, earned),
        "timeline": _timeline(tx, lead),
        "duplicates": [
            {
                "id": twin.id,
                "name": person_label(twin.name, twin.person_id),
                "why": "Shares a contact detail",
            }
            for twin in store.list_twins(tx, lead.business_id, lead.id)
        ],
    }


def _point(point: ContactPoint, proof: Evidence | None, lead: Lead, *, is_first: bool) -> dict[str, Any]:
    return {
        "id": point.id,
        "field": point.field.value,
        "value": point.value,
        "origin": point.origin.value,
        "captured_at": point.created_at,
        "primary": is_first,
        "evidence": proof
        and {
            "text": proof.raw,
            "rule": proof.rule,
            "confidence": proof.confidence,
            "href": f"/inbox/{lead.conversation_id}#m-{proof.source_id}",
        },
    }


def _attribution(tx: Tx, lead: Lead, earned: Attribution | None) -> dict[str, Any] | None:
    if earned is None or earned.ad_id is None or earned.touch_ts is None or earned.via is None:
        return None
    ad = measurement_store.find_measured_ad(tx, lead.business_id, earned.ad_id)
    if ad is None:
        return None
    window_s = ad.click_window_s if earned.via is TouchKind.CLICK else ad.view_window_s
    return {
        "campaign_id": ad.campaign_id,
        "campaign_name": ad.campaign_name,
        "ad_group_id": ad.ad_group_id,
        "ad_group_name": ad.ad_group_name,
        "ad_id": ad.ad_id,
        "ad_name": ad.ad_name,
        "goal": ad.goal.value,
        "touch": earned.via.value,
        "touched_at": from_micros(earned.touch_ts),
        "converted_at": from_micros(earned.ts),
        "window_days": (window_s or 0) // 86_400,
    }


def _timeline(tx: Tx, lead: Lead) -> list[dict[str, Any]]:
    """The lead's history and the person's touches, newest first."""
    events = [_step_event(step, lead) for step in store.list_steps(tx, lead.business_id, lead.id)]
    touches = measurement_store.list_touches_of(tx, lead.business_id, lead.person_id, 50)
    ads = measurement_store.list_measured_ads(tx, lead.business_id, {touch.ad_id for touch in touches})
    for touch in touches:
        ad = ads.get(touch.ad_id)
        verb = "Tapped" if touch.kind is TouchKind.CLICK else "Saw"
        text = f"{verb} the ad {ad.ad_name} ({ad.ad_group_name})" if ad else f"{verb} an ad"
        events.append({"kind": touch.kind.value, "at": from_micros(touch.ts), "text": text, "actor": None})
    return sorted(events, key=lambda event: event["at"], reverse=True)


def _step_event(step: Step, lead: Lead) -> dict[str, Any]:
    text = _STEP_TEXTS[step.what].format(detail=step.detail)
    at = lead.created_at if step.what in ("captured", "marked") else step.at
    return {"kind": step.what, "at": at, "text": text, "actor": step.actor or None}
