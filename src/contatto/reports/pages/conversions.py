"""The conversions behind a figure, and why each is credited as it is."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from contatto.accounts.auth import PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import may, require
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.numbers import PageNumber, read_number
from contatto.kit.read_audit import record_contact_reads
from contatto.kit.timestamps import from_micros
from contatto.leads.model import Lead
from contatto.measurement.model import Attribution, ConversionKind, MeasuredAd, TouchKind
from contatto.measurement.store import list_measured_ads
from contatto.reports.actions.explaining import (
    Explained,
    behind_figure,
    names_of,
    trace_conversion,
)
from contatto.reports.actions.gaps import gap_of
from contatto.reports.pages.query import find_report_page_query, look_of
from contatto.reports.registry import METRICS
from contatto.reports.rules.explained import Judged, TouchVerdict
from contatto.reports.rules.looks import Look, span_of
from contatto.reports.store import conversions as store
from contatto.ui.context import context_of

router: Final = APIRouter(include_in_schema=False)
PAGE_SIZE: Final = 50


@router.get("/reports/conversions")
async def show_conversions(
    request: Request,
    caller: PageCaller,
    metric: str = "",
    key: str = "",
    page: PageNumber = 1,
) -> HTMLResponse:
    require(caller, Permission.READ_REPORTS)
    context = context_of(request)
    look = look_of(request)
    values = await context.db.read(lambda tx: _behind(tx, caller, look, (metric, key), max(page, 1)))
    return context.pages.render(request, "reports/conversions.html", {"caller": caller, **values})


def _behind(tx: Tx, caller: Caller, look: Look, cell: tuple[str, str], page: int) -> dict[str, Any]:
    report_page_query = find_report_page_query(tx, caller, look)
    metric, key = cell
    conversion_filter = behind_figure(
        tx, report_page_query.account, report_page_query.look, span_of(report_page_query.days), metric, key
    )
    total = store.count_conversions(tx, caller.business_id, conversion_filter)
    conversions = store.list_conversions(
        tx, caller.business_id, conversion_filter, PAGE_SIZE, (page - 1) * PAGE_SIZE
    )
    leads = names_of(tx, caller.business_id, conversions) if may(caller, Permission.READ_LEADS) else {}
    record_contact_reads("lead_id", [lead.id for lead in leads.values()])
    ads = list_measured_ads(tx, caller.business_id, {one.ad_id for one in conversions if one.ad_id})
    pairs = [*report_page_query.look.pairs(), ("metric", metric), ("key", key)]
    return {
        "metric": METRICS[metric],
        "first": conversion_filter.span.first,
        "last": conversion_filter.span.last,
        "rows": [_row(one, leads.get(one.subject_id), ads.get(one.ad_id or "")) for one in conversions],
        "total": total,
        "page": page,
        "pages": max(1, -(-total // PAGE_SIZE)),
        "page_href": f"/reports/conversions?{urlencode(pairs)}&page=PAGE",
        "back_href": report_page_query.look.href(),
        "time_zone": report_page_query.account.timezone,
    }


@dataclass(frozen=True, slots=True)
class _Row:
    """A conversion of the list, and the touch that earned it."""

    href: str
    kind: ConversionKind
    name: str
    at: datetime
    touched_at: datetime | None
    via: TouchKind | None
    ad: MeasuredAd | None


def _row(one: Attribution, lead: Lead | None, ad: MeasuredAd | None) -> _Row:
    return _Row(
        href=f"/reports/conversions/{one.conversion_id}",
        kind=one.kind,
        name=lead.name if lead else "",
        at=from_micros(one.ts),
        touched_at=from_micros(one.touch_ts) if one.touch_ts is not None else None,
        via=one.via,
        ad=ad,
    )


@router.get("/reports/conversions/{conversion_id}")
async def show_conversion(request: Request, caller: PageCaller, conversion_id: str) -> HTMLResponse:
    """The whole list of touches of the person, with the winner and why."""
    require(caller, Permission.READ_REPORTS)
    number = read_number(conversion_id)
    if number is None:
        raise Refused(errors.NOT_FOUND, "Conversion not found.")
    context = context_of(request)
    # it may read files
    long = await context.db.read_long(lambda tx: trace_conversion(tx, caller.business_id, number))
    values = _explained(long, can_see=may(caller, Permission.READ_LEADS))
    return context.pages.render(request, "reports/conversion.html", {"caller": caller, **values})


def _explained(found: Explained, *, can_see: bool) -> dict[str, Any]:
    one = found.conversion
    record_contact_reads("lead_id", [found.lead.id] if found.lead and can_see else [])
    place = "leads" if one.kind is ConversionKind.LEAD else "inbox"
    return {
        "kind": one.kind,
        "name": found.lead.name if found.lead and can_see else "",
        "subject_href": f"/{place}/{one.subject_id}" if can_see else "",
        "at": from_micros(one.ts),
        "winner": found.ads.get(one.ad_id or ""),
        "via": one.via,
        "touched_at": from_micros(one.touch_ts) if one.touch_ts is not None else None,
        "gaps": [gap_of(error) for error in found.broken],
        "touches": [_touch(judged, found) for judged in found.touches],
    }


@dataclass(frozen=True, slots=True)
class _Touch:
    """A touch of the person, and whether it won."""

    kind: TouchKind
    at: datetime
    ad: MeasuredAd | None
    verdict: TouchVerdict
    window_days: int
    country: str


def _touch(judged: Judged, found: Explained) -> _Touch:
    touch = judged.touch
    return _Touch(
        kind=touch.kind,
        at=from_micros(touch.ts),
        ad=found.ads.get(touch.ad_id),
        verdict=judged.verdict,
        window_days=(touch.expires_ts - touch.ts) // 86_400_000_000 if touch.expires_ts >= touch.ts else 0,
        country=touch.country,
    )
