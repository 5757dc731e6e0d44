"""Pages of conversions behind a figure, what-if attribution windows, and first replies."""

from dataclasses import replace
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Query
from starlette.requests import Request
from starlette.responses import HTMLResponse

from contatto.accounts import store as accounts
from contatto.accounts.auth import PageCaller, contact_reads_of, may, page_routes
from contatto.accounts.model import BusinessId, Caller, Permission, ReadAudit
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused, check_found
from contatto.kit.values import PageNumber, WindowDays, from_micros, micros, read_number
from contatto.leads.store.listing import list_leads_by_id
from contatto.measurement.model import AttributionPolicy, ConversionKind
from contatto.measurement.store import list_measured_ads
from contatto.reports import store
from contatto.reports.actions import reports as actions
from contatto.reports.model import METRICS, DayRange
from contatto.reports.pages.report import load_overview_request
from contatto.reports.rules import queries
from contatto.reports.rules.figures import CLICK_DAYS, VIEW_DAYS, WhatIfWindows, summarize_replies
from contatto.ui.requests import context_of

router: Final = page_routes()
PAGE_SIZE: Final = 50
MOST_REPLIES: Final = 20_000
MOST_REPLY_DAYS: Final = 31


@router.page("/reports/conversions", Permission.READ_REPORTS, "reports/conversions.html", ReadAudit.FOLDED)
def show_conversions(
    tx: Tx, request: Request, caller: Caller, metric: str = "", key: str = "", page: PageNumber = 1
) -> dict[str, Any]:
    page = max(page, 1)
    can_see = may(caller, Permission.READ_LEADS)
    overview_request = load_overview_request(tx, caller, request)
    account, page_query = overview_request.account, overview_request.query
    span = queries.span_of(overview_request.first, overview_request.last)
    drill_down = queries.DRILL_DOWNS.get(metric)
    if drill_down is None:
        raise Refused(
            errors.INVALID, "metric: This metric does not count conversions. Choose leads or conversations."
        )
    tree = actions.load_tree(tx, account).select_campaign(page_query.campaign)
    tree_ads, level = tree.ads, queries.GROUP_LEVELS.get(page_query.group_by)
    if level is not None and key:
        owners = tree.owners(level)
        tree_ads = [ad for ad in tree_ads if owners[ad.id] == key]
    goals = {tree.ad_groups[ad.ad_group_id].goal for ad in tree_ads}
    if drill_down.kind is None and len(goals) > 1:
        raise Refused(
            errors.INVALID,
            "metric: Conversions of two goals cannot be added up. Choose leads or conversations.",
        )
    goal_kind = queries.GOAL_KINDS[goals.pop()] if goals else ConversionKind.LEAD
    conversion_filter = store.ConversionFilter(
        account.id,
        DayRange(key, key) if page_query.group_by is queries.GroupBy.DAY and key else span,
        frozenset(ad.id for ad in tree_ads),
        replace(drill_down, kind=drill_down.kind or goal_kind),
        key.removeprefix(queries.UNKNOWN_COUNTRY)
        if page_query.group_by is queries.GroupBy.COUNTRY and key
        else None,
    )
    conversions, total = store.list_conversions(
        tx, caller.business_id, conversion_filter, PAGE_SIZE, (page - 1) * PAGE_SIZE
    )
    lead_ids = {row.subject_id for row in conversions if row.kind is ConversionKind.LEAD}
    leads = list_leads_by_id(tx, caller.business_id, lead_ids) if can_see else {}
    tx.record_contact_reads("lead_id", [lead.id for lead in leads.values()])
    ad_ids = {conversion.ad_id for conversion in conversions if conversion.ad_id}
    ads = list_measured_ads(tx, caller.business_id, ad_ids)
    rows: list[dict[str, Any]] = []
    for conversion in conversions:
        lead = leads.get(conversion.subject_id)
        row = {
            "href": f"/reports/conversions/{conversion.conversion_id}",
            "kind": conversion.kind,
            "name": lead.name if lead else "",
            "at": from_micros(conversion.ts),
            "touched_at": None if conversion.touch_ts is None else from_micros(conversion.touch_ts),
            "via": conversion.via,
            "ad": ads.get(conversion.ad_id or ""),
        }
        rows.append(row)
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


@router.get("/reports/conversions/{conversion_id}", Permission.READ_REPORTS, ReadAudit.EACH)
async def show_conversion(request: Request, caller: PageCaller, conversion_id: str) -> HTMLResponse:
    """Show a conversion with all touches of its person, and why each won or lost."""
    number = check_found(read_number(conversion_id), "Conversion not found.")
    context = context_of(request)
    # It may read files, so it is a long read.
    trace = await context.db.read_long(lambda tx: actions.trace_conversion(tx, caller.business_id, number))
    can_see = may(caller, Permission.READ_LEADS)
    conversion, lead = trace.conversion, trace.lead
    contact_reads_of(request).add("lead_id", [lead.id] if lead and can_see else [])
    section = "leads" if conversion.kind is ConversionKind.LEAD else "inbox"
    touches = [
        {
            "kind": touch.kind,
            "at": from_micros(touch.ts),
            "ad": trace.ads.get(touch.ad_id),
            "verdict": verdict,
            "window_days": max(touch.expires_ts - touch.ts, 0) // store.DAY_US,
            "country": touch.country,
        }
        for touch, verdict in trace.touches
    ]
    values = {
        "caller": caller,
        "kind": conversion.kind,
        "name": lead.name if lead and can_see else "",
        "subject_href": f"/{section}/{conversion.subject_id}" if can_see else "",
        "at": from_micros(conversion.ts),
        "winner": trace.ads.get(conversion.ad_id or ""),
        "gaps": [(error, False) for error in trace.broken],  # False: the database lacks these views
        "touches": touches,
    }
    return context.pages.render(request, "reports/conversion.html", values)


@router.page(
    "/reports/what-if", Permission.READ_REPORTS, "reports/what_if.html", is_long=True
)  # all conversions
def show_what_if(
    tx: Tx,
    request: Request,
    caller: Caller,
    click: WindowDays = 7,
    view: WindowDays = 1,
    policy: Annotated[str, Query(max_length=20)] = AttributionPolicy.CLICK_FIRST,
) -> dict[str, Any]:
    """Compare the stored winners with those of other windows and priorities; nothing is changed."""
    if click not in CLICK_DAYS or view not in VIEW_DAYS or policy not in set(AttributionPolicy):
        raise Refused(errors.INVALID, "click: Choose one of the windows and priorities on the page.")
    windows = WhatIfWindows(click, view, AttributionPolicy(policy))
    overview_request = load_overview_request(tx, caller, request)
    account, page_query = overview_request.account, overview_request.query
    start, end = (micros(moment) for moment in overview_request.between)
    what_if, broken = actions.compare_windows(tx, account, (start, end - 1), windows)
    ad_groups = actions.load_tree(tx, account).ad_groups
    rows: list[tuple[tuple[bool, int], dict[str, Any]]] = []
    for key, (stored_counts, what_if_counts) in what_if.counts.items():
        group = ad_groups.get(key or "")
        row = {
            "name": group.name if group else "",
            "has_no_ad": key is None,
            "goal": group.goal if group else None,
            "stored": stored_counts,
            "what_if": what_if_counts,
        }
        rows.append(((key is None, group.number if group else 0), row))
    names = {key: group.name for key, group in ad_groups.items()}
    return {
        "query": page_query,
        "first": overview_request.first,
        "last": overview_request.last,
        "windows": windows,
        "click_days": CLICK_DAYS,
        "view_days": VIEW_DAYS,
        "rows": [row for _, row in sorted(rows, key=lambda pair: pair[0])],
        "changed": [
            {
                "href": f"/reports/conversions/{conversion.conversion_id}",
                "kind": conversion.kind,
                "at": from_micros(conversion.ts),
                "stored": names.get(conversion.stored or "", ""),
                "what_if": names.get(conversion.what_if or "", ""),
            }
            for conversion in what_if.changed
        ],
        "changed_count": what_if.changed_count,
        "count": what_if.count,
        "gaps": [(error, False) for error in broken],  # False: the database lacks these views
        "back_href": page_query.href(),
    }


@router.page("/reports/responses", Permission.READ_REPORTS, "reports/responses.html")
def show_responses(tx: Tx, request: Request, caller: Caller) -> dict[str, Any]:
    """Show the times of first replies; the report page fetches them after it is shown."""
    overview_request = load_overview_request(tx, caller, request)
    members = accounts.list_members(tx, BusinessId(caller.business_id))
    replies = store.list_first_replies(
        tx,
        caller.business_id,
        overview_request.between,
        {member.display_name for member in members},
        MOST_REPLIES,
    )
    return {
        "query": overview_request.query,
        "first": overview_request.first,
        "last": overview_request.last,
        **summarize_replies(replies, overview_request.account.timezone, MOST_REPLY_DAYS),
    }
