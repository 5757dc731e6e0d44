"""The report page, its charts and files, and saved reports."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import Form
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response, StreamingResponse

from contatto.accounts import store as accounts
from contatto.accounts.auth import FormCaller, PageCaller, load_advertiser, page_routes
from contatto.accounts.model import AdAccount, Caller, Permission
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_
from contatto.kit.table_export import csv_lines, write_sheet
from contatto.kit.values import MICROS, read_pairs
from contatto.measurement.model import Goal
from contatto.reports import store
from contatto.reports.actions.overview import (
    HOURS,
    Overview,
    key_of,
    load_overview,
    remove_saved_report,
    save_report_query,
)
from contatto.reports.actions.reports import list_gaps
from contatto.reports.model import METRICS, Counts, Figures, Metric, Value
from contatto.reports.rules import figures, queries
from contatto.ui.render import translator_of
from contatto.ui.requests import context_of, csv_file

router: Final = page_routes()
PERIODS: Final = {
    queries.Period.TODAY: N_("Today"),
    queries.Period.YESTERDAY: N_("Yesterday"),
    queries.Period.LAST_7: N_("Last 7 days"),
    queries.Period.LAST_14: N_("Last 14 days"),
    queries.Period.LAST_30: N_("Last 30 days"),
    queries.Period.LAST_90: N_("Last 90 days"),
    queries.Period.THIS_MONTH: N_("This month"),
    queries.Period.LAST_MONTH: N_("Last month"),
    queries.Period.CUSTOM: N_("Custom days"),
}
GROUP_TITLES: Final = {
    queries.GroupBy.CAMPAIGN: N_("Campaign"),
    queries.GroupBy.AD_GROUP: N_("Ad group"),
    queries.GroupBy.AD: N_("Ad"),
    queries.GroupBy.GOAL: N_("Goal"),
    queries.GroupBy.COUNTRY: N_("Country"),
    queries.GroupBy.DAY: N_("Day"),
    queries.GroupBy.HOUR: N_("Hour"),
}
GOALS: Final = {Goal.LEAD: N_("Lead"), Goal.CONVERSATION: N_("Conversation")}
CHOICES: Final = tuple(
    metric for metric in METRICS.values() if metric.name not in set(queries.OWN_DAY.values())
)
"""Metrics offered as columns; the basis of the days selects their real-time variants."""
KPIS: Final = (
    "spend", "impressions", "clicks", "ctr", "conversations", "leads", "qualified_leads", "cost_per_lead",
)  # fmt: skip
_XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_NUMBERS_FROM: Final = 5
"""The first column of a file that holds numbers."""
_LONGEST_QUERY: Final = 4_000
_MOST_PAIRS: Final = 100
"""Parameters of a query that are read at most."""


@dataclass(frozen=True, slots=True)
class OverviewRequest:
    """Query of the report page with its ad account and the date there."""

    account: AdAccount
    query: queries.OverviewQuery
    today: date
    first: date
    last: date
    between: tuple[datetime, datetime]
    """The first moment of the days, and the first one after them."""


def load_overview_request(tx: Tx, caller: Caller, request: Request) -> OverviewRequest:
    """Read the query of a request, and load its ad account, or the first one.

    Raises INVALID, NO_AD_ACCOUNT and NO_ADVERTISER.
    """
    query = queries.read_overview_query(request.query_params.multi_items())
    if query.advertiser:
        account = load_advertiser(tx, caller, number_of(query.advertiser))
    else:
        ad_accounts = accounts.list_ad_accounts(tx, caller.business_id)
        if not ad_accounts:
            raise Refused(errors.NO_AD_ACCOUNT)
        account = ad_accounts[0]
    midnight = time(tzinfo=ZoneInfo(account.timezone))
    today = tx.now.astimezone(midnight.tzinfo).date()
    first, last = queries.days_of(query, today)
    query = replace(query, advertiser=str(account.number))
    between = (datetime.combine(first, midnight), datetime.combine(last + timedelta(days=1), midnight))
    return OverviewRequest(account, query, today, first, last, between)


@router.get("/reports", Permission.READ_REPORTS)
async def show_report(request: Request, caller: PageCaller) -> HTMLResponse:
    context = context_of(request)
    query = queries.read_overview_query(request.query_params.multi_items())

    def load(tx: Tx) -> dict[str, Any]:
        overview_request = load_overview_request(tx, caller, request)
        account, page_query = overview_request.account, overview_request.query
        overview = load_overview(tx, account, page_query, overview_request.today)
        first, last = overview.first, overview.last
        total, previous = overview.total, overview.previous_total
        counts = total.counts
        origins = {
            "chat": counts.leads - counts.form_leads - counts.manual_leads,
            "form": counts.form_leads,
            "manual": counts.manual_leads,
        }
        # the shares of the origins, side by side in one bar that is 1000 wide
        origin_shares: list[dict[str, Any]] = []
        x = 0.0
        for origin, count in origins.items():
            share = count / counts.leads if counts.leads else 0.0
            place = {"x": round(x, 1), "width": round(1000 * share, 1)}
            origin_shares.append({"origin": origin, "count": count, "share": share} | place)
            x += 1000 * share
        return {
            "query": page_query,
            "sort_href": replace(page_query, sort="SORT").href(),
            "heat_href": replace(page_query, heat="HEAT").href(),
            "follows_goal": figures.FOLLOW_GOAL,
            "first": first,
            "last": last,
            "previous_days": queries.previous_days(first, last),
            "ad_accounts": [
                (str(ad_account.number), ad_account.name)
                for ad_account in accounts.list_ad_accounts(tx, caller.business_id)
            ],
            "campaigns": overview.campaigns,
            "periods": PERIODS,
            "group_titles": GROUP_TITLES,
            "metrics": METRICS,
            "choices": CHOICES,
            "currency": account.currency,
            "time_zone": account.timezone,
            "is_empty": counts == Counts(),
            "table": build_table(page_query, overview),
            "kpis": {
                name: TableCell(
                    METRICS[name],
                    METRICS[name].value(total),
                    METRICS[name].value(previous) if previous else None,
                )
                for name in KPIS
            },
            "goals": overview.by_goal,
            "days": draw_days(overview),
            "funnel": figures.funnel(counts),
            "sources": origin_shares,
            "heat": draw_hours(overview, page_query),
            "saved": [
                {
                    "id": report.id,
                    "name": report.name,
                    "href": f"/reports?{report.query}",
                    "is_current": replace(
                        queries.read_overview_query(read_pairs(report.query, _MOST_PAIRS)),
                        advertiser=page_query.advertiser,
                    )
                    == page_query,
                    "is_mine": report.member_id == caller.subject_id,
                    "is_shared": report.is_shared,
                }
                for report in store.list_saved_reports(tx, caller.business_id, caller.subject_id)
            ],
            "gaps": list_gaps(tx, account, first, last),
            "updated_at": tx.now,
        }

    # Reach is counted from all views of the days, so other readers must not wait for it.
    read = context.db.read if figures.REACH_METRICS.isdisjoint(query.columns) else context.db.read_long
    values = await read(load)
    return context.pages.render(request, "reports/report.html", {"caller": caller, **values})


@dataclass(frozen=True, slots=True)
class TableCell:
    """Value with that of the previous days; ``href`` leads to its conversions, if it counts some."""

    metric: Metric
    value: Value
    previous: Value = None
    href: str = ""

    @property
    def change(self) -> Decimal | None:
        """The change as a share of the previous value."""
        if self.value is None or not self.previous:
            return None
        return (Decimal(self.value) - Decimal(self.previous)) / Decimal(self.previous)


@dataclass(frozen=True, slots=True)
class TableLine:
    """Row of the table; ``goal`` is None for both goals, ``number`` the API's id or empty.

    ``inside_href`` leads to the ad groups of a campaign.
    """

    key: str
    name: str
    parent: str
    goal: Goal | None
    is_mixed: bool
    cells: tuple[TableCell, ...]
    inside_href: str = ""
    number: str = ""


@dataclass(frozen=True, slots=True)
class ReportTable:
    columns: tuple[Metric, ...]
    lines: tuple[TableLine, ...]
    total: TableLine


def build_table(query: queries.OverviewQuery, overview: Overview) -> ReportTable:
    """Build the table, the most expensive rows first by default; only days and hours may lack a goal."""
    columns = tuple(METRICS[name] for name in query.metrics)
    address = urlencode(query.pairs())
    name, is_descending = query.sort.removeprefix("-"), query.sort.startswith("-")
    is_by_time = query.group_by in (queries.GroupBy.DAY, queries.GroupBy.HOUR)
    rows = [row for row in overview.rows if row.figures.goals or is_by_time]
    if name == "name":
        rows.sort(key=lambda row: row.subject.name, reverse=is_descending)
    elif name or not is_by_time:
        metric = METRICS.get(name, METRICS["spend"])
        rows = figures.sort_by_metric(rows, metric, is_descending=not name or is_descending)

    lines: list[TableLine] = []
    for row in rows:
        subject, key = row.subject, key_of(row, query.group_by)
        has_name = query.group_by in (queries.GroupBy.CAMPAIGN, queries.GroupBy.AD_GROUP, queries.GroupBy.AD)
        inside_href = ""
        if query.group_by is queries.GroupBy.CAMPAIGN:
            campaign = str(subject.campaign_number)
            inside_href = replace(query, group_by=queries.GroupBy.AD_GROUP, campaign=campaign, sort="").href()
        lines.append(
            TableLine(
                key,
                subject.name if has_name else key.removeprefix(queries.UNKNOWN_COUNTRY),
                subject.parent,
                row.figures.goal,
                row.figures.mixed_goals,
                _table_cells(query, address, key, row.figures, overview.previous.get(key)),
                inside_href,
                subject.number,
            )
        )
    total = overview.total
    cells = _table_cells(query, address, "", total, overview.previous_total)
    return ReportTable(columns, tuple(lines), TableLine("", "", "", total.goal, total.mixed_goals, cells))


def _table_cells(
    query: queries.OverviewQuery, address: str, key: str, row_figures: Figures, previous: Figures | None
) -> tuple[TableCell, ...]:
    cells: list[TableCell] = []
    for name in query.metrics:
        metric, drill_down, href = METRICS[name], queries.DRILL_DOWNS.get(name), ""
        is_hour = bool(key) and query.group_by is queries.GroupBy.HOUR
        has_rows = drill_down and not is_hour and (drill_down.kind or not row_figures.mixed_goals)
        if has_rows and metric.value(row_figures):
            href = f"/reports/conversions?{address}&metric={name}&{urlencode([('key', key)])}"
        previous_value = metric.value(previous) if previous else None
        cells.append(TableCell(metric, metric.value(row_figures), previous_value, href))
    return tuple(cells)


@router.get("/reports/csv", Permission.READ_REPORTS)
async def download_report_csv(request: Request, caller: PageCaller) -> StreamingResponse:
    """Download the table as a CSV file that opens safely in a spreadsheet."""
    name, lines = await _load_file(request, caller)
    return csv_file(f"{name}.csv", csv_lines(lines, bom=True))


@router.get("/reports/xlsx", Permission.READ_REPORTS)
async def download_report_sheet(request: Request, caller: PageCaller) -> Response:
    name, (head, *rows) = await _load_file(request, caller)
    with tempfile.NamedTemporaryFile(prefix="report-", suffix=".xlsx", delete=False) as file:
        path = Path(file.name)
    numbers = range(_NUMBERS_FROM, len(head))
    await context_of(request).db.run_aside(partial(write_sheet, path, head, rows, numbers))
    headers = {"Content-Disposition": f'attachment; filename="{name}.xlsx"', "Cache-Control": "no-store"}
    return FileResponse(path, media_type=_XLSX, headers=headers, background=BackgroundTask(path.unlink))


async def _load_file(request: Request, caller: Caller) -> tuple[str, list[list[str]]]:
    """Load the lines of a file and its name: plain numbers, money in units, shares in percent."""
    translate = translator_of(request).gettext

    def load(tx: Tx) -> tuple[OverviewRequest, ReportTable]:
        overview_request = load_overview_request(tx, caller, request)
        account, page_query = overview_request.account, overview_request.query
        overview = load_overview(tx, account, page_query, overview_request.today)
        return overview_request, build_table(page_query, overview)

    overview_request, table = await context_of(request).db.read_long(load)
    query = overview_request.query
    group_title = GROUP_TITLES[query.group_by]
    head = [translate(title) for title in ("ID", group_title, N_("Part of"), N_("Goal"), N_("Currency"))]
    for metric in table.columns:
        title = translate(metric.title)
        head += [title, f"{title} ({translate(N_('before'))})"] if query.compare else [title]
    lines = [head]
    for line in (*table.lines, table.total):
        name = line.name or (translate(N_("Total")) if line is table.total else translate(N_("Unknown")))
        goal = translate(GOALS[line.goal]) if line.goal else ""
        row = [line.number, name, line.parent, goal, overview_request.account.currency]
        for cell in line.cells:
            values = (cell.value, cell.previous) if query.compare else (cell.value,)
            row += [figures.value_text(cell.metric.unit, value) for value in values]
        lines.append(row)
    first, last = overview_request.first, overview_request.last
    return f"report-{query.group_by}-{first}-{last}", lines


def draw_days(overview: Overview) -> dict[str, Any]:
    """Return a chart of days: conversations and leads as lines, spend as bars, and the scales' ends.

    ``is_minor`` hides the label of a day on narrow screens.
    """
    days = list(overview.days.items())
    every = figures.label_every(len(days))
    conversations = [counts.conversations for _, counts in days]
    leads = [counts.leads for _, counts in days]
    spend = [counts.spend_micros for _, counts in days]
    top = figures.nice_top(max(*conversations, *leads, 4))
    spend_top = figures.nice_top(-(-max(*spend, MICROS) // MICROS)) * MICROS
    return {
        "days": [
            {"day": day, "counts": counts, "has_label": n % every == 0, "is_minor": n % (2 * every) != 0}
            for n, (day, counts) in enumerate(days)
        ],
        "top": top,
        "conversations": figures.draw_line(conversations, top),
        "leads": figures.draw_line(leads, top),
        "spend_top_micros": spend_top,
        "spend": figures.bars(spend, spend_top),
    }


HEAT_TITLES: Final = {"conversations": N_("Conversations"), "leads": N_("Leads"), "clicks": N_("Clicks")}
WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_HEAT_COUNTS: Final[dict[str, Callable[[Counts], int]]] = {
    "conversations": lambda counts: counts.rt_conversations,
    "leads": lambda counts: counts.rt_leads,
    "clicks": lambda counts: counts.clicks,
}


def draw_hours(overview: Overview, query: queries.OverviewQuery) -> dict[str, Any]:
    """Return the counts by weekday and hour, each with its shade, and the counts to choose from."""
    count_of = _HEAT_COUNTS[query.heat]
    rows = figures.by_weekday({hour: count_of(counts) for hour, counts in overview.hours.items()})
    most = max(max(row) for row in rows)
    busiest = [
        (name, HOURS[row.index(most)]) for name, row in zip(WEEKDAYS, rows, strict=True) if most in row
    ]
    return {
        "rows": [
            (name, [(count, figures.shade(count, most)) for count in row])
            for name, row in zip(WEEKDAYS, rows, strict=True)
        ],
        "hours": HOURS,
        "total": sum(map(sum, rows)),
        "busiest": busiest[0] if most else None,
        "choices": [(name, HEAT_TITLES[name]) for name in queries.HEATS],
    }


@router.post("/reports/saved", Permission.READ_REPORTS)
async def post_saved_report(
    request: Request,
    caller: FormCaller,
    name: Annotated[str, Form(max_length=200)] = "",
    query: Annotated[str, Form(max_length=_LONGEST_QUERY)] = "",
    shared: Annotated[bool, Form()] = False,  # noqa: FBT002 - a box that is ticked or not
) -> RedirectResponse:
    """Save the query of the page, without unknown parameters."""
    overview_query = queries.read_overview_query(read_pairs(query, _MOST_PAIRS))
    owner = (caller.business_id, caller.subject_id)
    encoded = urlencode(overview_query.pairs())
    await context_of(request).db.write(
        lambda tx: save_report_query(tx, owner, name, encoded, is_shared=shared)
    )
    return RedirectResponse(overview_query.href(), 303)


@router.post("/reports/saved/{report_id}/delete", Permission.READ_REPORTS)
async def post_report_deletion(
    request: Request,
    caller: FormCaller,
    report_id: str,
    query: Annotated[str, Form(max_length=_LONGEST_QUERY)] = "",
) -> RedirectResponse:
    owner = (caller.business_id, caller.subject_id)
    await context_of(request).db.write(lambda tx: remove_saved_report(tx, owner, report_id))
    return RedirectResponse(queries.read_overview_query(read_pairs(query, _MOST_PAIRS)).href(), 303)
