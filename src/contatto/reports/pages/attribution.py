"""Conversions behind a figure, what-if windows, and first replies."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Query
from starlette.requests import Request
from starlette.responses import HTMLResponse

from contatto.accounts import store as accounts
from contatto.accounts.auth import PageCaller, contact_reads_of, may, page_routes
from contatto.accounts.model import BusinessId, Permission, ReadAudit
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused, check_found
from contatto.kit.values import PageNumber, WindowDays, from_micros, micros, read_number
from contatto.measurement.model import AttributionPolicy, ConversionKind, Goal, MeasuredAd, TouchKind
from contatto.measurement.store import list_measured_ads
from contatto.reports import store
from contatto.reports.actions.reports import (
    compare_windows,
    describe_gap,
    find_drill_down,
    list_conversion_leads,
    load_tree,
    trace_conversion,
)
from contatto.reports.model import METRICS
from contatto.reports.pages.report import load_overview_request, query_of
from contatto.reports.rules.figures import (
    CLICK_DAYS,
    VIEW_DAYS,
    ConversionCounts,
    TouchVerdict,
    WhatIfWindows,
    daily_reply_times,
    member_reply_times,
    reply_times_of,
)
from contatto.reports.rules.queries import span_of
from contatto.ui.requests import context_of

router: Final = page_routes()
PAGE_SIZE: Final = 50
MOST_REPLIES: Final = 20_000
MOST_REPLY_DAYS: Final = 31


@dataclass(frozen=True, slots=True)
class ConversionRow:
    """Conversion of the list, with its credited touch."""

    href: str
    kind: ConversionKind
    name: str
    at: datetime
    touched_at: datetime | None
    via: TouchKind | None
    ad: MeasuredAd | None


@router.get("/reports/conversions", Permission.READ_REPORTS, ReadAudit.FOLDED)
async def show_conversions(
    request: Request, caller: PageCaller, metric: str = "", key: str = "", page: PageNumber = 1
) -> HTMLResponse:
    context = context_of(request)
    query = query_of(request)
    page = max(page, 1)
    can_see = may(caller, Permission.READ_LEADS)

    def load(tx: Tx) -> dict[str, Any]:
        overview_request = load_overview_request(tx, caller, query)
        account, page_query = overview_request.account, overview_request.query
        span = span_of(*overview_request.days)
        conversion_filter = find_drill_down(tx, account, page_query, span, metric, key)
        total = store.count_conversions(tx, caller.business_id, conversion_filter)
        conversions = store.list_conversions(
            tx, caller.business_id, conversion_filter, PAGE_SIZE, (page - 1) * PAGE_SIZE
        )
        leads = list_conversion_leads(tx, caller.business_id, conversions) if can_see else {}
        tx.record_contact_reads("lead_id", [lead.id for lead in leads.values()])
        ad_ids = {conversion.ad_id for conversion in conversions if conversion.ad_id}
        ads = list_measured_ads(tx, caller.business_id, ad_ids)
        rows: list[ConversionRow] = []
        for conversion in conversions:
            lead = leads.get(conversion.subject_id)
            rows.append(
                ConversionRow(
                    href=f"/reports/conversions/{conversion.conversion_id}",
                    kind=conversion.kind,
                    name=lead.name if lead else "",
                    at=from_micros(conversion.ts),
                    touched_at=from_micros(conversion.touch_ts) if conversion.touch_ts is not None else None,
                    via=conversion.via,
                    ad=ads.get(conversion.ad_id or ""),
                )
            )
        pairs = [*page_query.pairs(), ("metric", metric), ("key", key)]
        return {
            "metric": METRICS[metric],
            "first": conversion_filter.span.first,
            "last": conversion_filter.span.last,
            "rows": rows,
            "total": total,
            "page": page,
            "pages": max(1, -(-total // PAGE_SIZE)),
            "page_href": f"/reports/conversions?{urlencode(pairs)}&page=PAGE",
            "back_href": page_query.href(),
            "time_zone": account.timezone,
        }

    values = await context.db.read(load)
    return context.pages.render(request, "reports/conversions.html", {"caller": caller, **values})


@dataclass(frozen=True, slots=True)
class TouchRow:
    """Touch of the person, with its verdict."""

    kind: TouchKind
    at: datetime
    ad: MeasuredAd | None
    verdict: TouchVerdict
    window_days: int
    country: str


@router.get("/reports/conversions/{conversion_id}", Permission.READ_REPORTS, ReadAudit.EACH)
async def show_conversion(request: Request, caller: PageCaller, conversion_id: str) -> HTMLResponse:
    """Show all touches of the person, with their verdicts."""
    number = check_found(read_number(conversion_id), "Conversion not found.")
    context = context_of(request)
    # It may read files, so it is a long read.
    trace = await context.db.read_long(lambda tx: trace_conversion(tx, caller.business_id, number))
    can_see = may(caller, Permission.READ_LEADS)
    conversion, lead = trace.conversion, trace.lead
    contact_reads_of(request).add("lead_id", [lead.id] if lead and can_see else [])
    section = "leads" if conversion.kind is ConversionKind.LEAD else "inbox"
    touches: list[TouchRow] = []
    for judged in trace.touches:
        touch = judged.touch
        window_us = max(touch.expires_ts - touch.ts, 0)
        touches.append(
            TouchRow(
                kind=touch.kind,
                at=from_micros(touch.ts),
                ad=trace.ads.get(touch.ad_id),
                verdict=judged.verdict,
                window_days=window_us // store.DAY_US,
                country=touch.country,
            )
        )
    values = {
        "caller": caller,
        "kind": conversion.kind,
        "name": lead.name if lead and can_see else "",
        "subject_href": f"/{section}/{conversion.subject_id}" if can_see else "",
        "at": from_micros(conversion.ts),
        "winner": trace.ads.get(conversion.ad_id or ""),
        "gaps": [describe_gap(error) for error in trace.broken],
        "touches": touches,
    }
    return context.pages.render(request, "reports/conversion.html", values)


@dataclass(frozen=True, slots=True)
class WhatIfRow:
    """Stored and what-if conversions of an ad group, or of no ad."""

    name: str
    has_no_ad: bool
    goal: Goal | None
    stored: ConversionCounts
    what_if: ConversionCounts


@dataclass(frozen=True, slots=True)
class WhatIfChange:
    """Conversion that would be credited to another ad group."""

    href: str
    kind: ConversionKind
    at: datetime
    stored: str
    what_if: str


@router.get("/reports/what-if", Permission.READ_REPORTS)
async def show_what_if(
    request: Request,
    caller: PageCaller,
    click: WindowDays = 7,
    view: WindowDays = 1,
    policy: Annotated[str, Query(max_length=20)] = AttributionPolicy.CLICK_FIRST,
) -> HTMLResponse:
    """Compare the stored winners with those of other windows; it changes nothing."""
    if click not in CLICK_DAYS or view not in VIEW_DAYS or policy not in set(AttributionPolicy):
        raise Refused(errors.INVALID, "click: Choose one of the windows and priorities on the page.")
    context = context_of(request)
    query = query_of(request)
    windows = WhatIfWindows(click, view, AttributionPolicy(policy))

    def load(tx: Tx) -> dict[str, Any]:
        overview_request = load_overview_request(tx, caller, query)
        account, page_query = overview_request.account, overview_request.query
        start, end = (micros(moment) for moment in overview_request.between)
        what_if, broken = compare_windows(tx, account, (start, end - 1), windows)
        ad_groups = load_tree(tx, account).ad_groups
        rows: list[tuple[tuple[bool, int], WhatIfRow]] = []
        for key, (stored_counts, what_if_counts) in what_if.counts.items():
            group = ad_groups.get(key or "")
            name, goal = (group.name, group.goal) if group else ("", None)
            order = (key is None, group.number if group else 0)
            rows.append((order, WhatIfRow(name, key is None, goal, stored_counts, what_if_counts)))
        names = {key: group.name for key, group in ad_groups.items()}
        first, last = overview_request.days
        return {
            "query": page_query,
            "first": first,
            "last": last,
            "windows": windows,
            "click_days": CLICK_DAYS,
            "view_days": VIEW_DAYS,
            "rows": [row for _, row in sorted(rows, key=lambda pair: pair[0])],
            "changed": [
                WhatIfChange(
                    f"/reports/conversions/{conversion.conversion_id}",
                    conversion.kind,
                    from_micros(conversion.ts),
                    names.get(conversion.stored or "", ""),
                    names.get(conversion.what_if or "", ""),
                )
                for conversion in what_if.changed
            ],
            "changed_count": what_if.changed_count,
            "count": what_if.count,
            "gaps": [describe_gap(error) for error in broken],
            "back_href": page_query.href(),
        }

    # It reads every conversion, so it is a long read.
    values = await context.db.read_long(load)
    return context.pages.render(request, "reports/what_if.html", {"caller": caller, **values})


@router.get("/reports/responses", Permission.READ_REPORTS)
async def show_responses(request: Request, caller: PageCaller) -> HTMLResponse:
    """Show the times of first replies; the report page fetches them after it is shown."""
    context = context_of(request)
    query = query_of(request)

    def work(tx: Tx) -> dict[str, Any]:
        overview_request = load_overview_request(tx, caller, query)
        members = accounts.list_members(tx, BusinessId(caller.business_id))
        replies = store.list_first_replies(
            tx,
            caller.business_id,
            overview_request.between,
            {member.display_name for member in members},
            MOST_REPLIES,
        )
        first, last = overview_request.days
        return {
            "query": overview_request.query,
            "first": first,
            "last": last,
            "all": reply_times_of("", replies),
            "people": member_reply_times(replies),
            "days": daily_reply_times(replies, overview_request.account.timezone, MOST_REPLY_DAYS),
            "started": len(replies),
        }

    values = {"caller": caller, **await context.db.read(work)}
    return context.pages.render(request, "reports/responses.html", values)
