"""The report page, its CSV and its spreadsheet."""

import tempfile
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response, StreamingResponse

from contatto.accounts import store as accounts
from contatto.accounts.auth import PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import require
from contatto.kit.db.tx import Tx
from contatto.kit.i18n import N_, translator_of
from contatto.kit.table_export import csv_lines, write_sheet
from contatto.measurement.model import Goal
from contatto.reports.actions.gaps import list_gaps
from contatto.reports.actions.overview import GoalPart, Overview, load_overview
from contatto.reports.metrics.shares import cost_each, share
from contatto.reports.model import Counts, Figures, Value
from contatto.reports.pages.charts import draw_days, draw_hours, draw_sources
from contatto.reports.pages.query import ReportPageQuery, find_report_page_query, look_of
from contatto.reports.pages.saved import shown_reports
from contatto.reports.pages.table import BY_TITLES, FIRST_NUMBER, ReportTable, build_table, table_lines
from contatto.reports.registry import METRICS
from contatto.reports.rules.charts import funnel
from contatto.reports.rules.looks import OWN_DAY, Look, Period, before
from contatto.reports.rules.texts import FOLLOW_GOAL, NEED_REACH
from contatto.ui.context import context_of

router: Final = APIRouter(include_in_schema=False)
PERIODS: Final = {
    Period.TODAY: N_("Today"),
    Period.YESTERDAY: N_("Yesterday"),
    Period.LAST_7: N_("Last 7 days"),
    Period.LAST_14: N_("Last 14 days"),
    Period.LAST_30: N_("Last 30 days"),
    Period.LAST_90: N_("Last 90 days"),
    Period.THIS_MONTH: N_("This month"),
    Period.LAST_MONTH: N_("Last month"),
    Period.CUSTOM: N_("Custom days"),
}
CHOICES: Final = tuple(metric for metric in METRICS.values() if metric.name not in set(OWN_DAY.values()))
"""What a column may show; which of two days counts is chosen for all of them."""
_XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@router.get("/reports")
async def show_report(request: Request, caller: PageCaller) -> HTMLResponse:
    require(caller, Permission.READ_REPORTS)
    context = context_of(request)
    look = look_of(request)
    # Persons are counted from all views of the days, so colleagues must not wait for that.
    read = context.db.read if NEED_REACH.isdisjoint(look.columns) else context.db.read_long
    values = await read(lambda tx: _values(tx, caller, look))
    return context.pages.render(request, "reports/report.html", {"caller": caller, **values})


@router.get("/reports/csv")
async def download_report_csv(request: Request, caller: PageCaller) -> StreamingResponse:
    """The rows and columns of the page as a CSV that opens safely in a spreadsheet."""
    require(caller, Permission.READ_REPORTS)
    asked, table = await _read_table(request, caller)
    lines = csv_lines(table_lines(asked, table, translator_of(request).gettext), bom=True)
    headers = _file_headers(asked, "csv")
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/reports/xlsx")
async def download_report_sheet(request: Request, caller: PageCaller) -> Response:
    """The same rows and columns as a spreadsheet."""
    require(caller, Permission.READ_REPORTS)
    asked, table = await _read_table(request, caller)
    head, *rows = table_lines(asked, table, translator_of(request).gettext)

    def write() -> Path:
        with tempfile.NamedTemporaryFile(prefix="report-", suffix=".xlsx", delete=False) as file:
            path = Path(file.name)
        write_sheet(path, head, rows, range(FIRST_NUMBER, len(head)))
        return path

    path = await context_of(request).db.run_aside(write)
    headers = _file_headers(asked, "xlsx")
    return FileResponse(path, media_type=_XLSX, headers=headers, background=BackgroundTask(path.unlink))


async def _read_table(request: Request, caller: Caller) -> tuple[ReportPageQuery, ReportTable]:
    look = look_of(request)

    def work(tx: Tx) -> tuple[ReportPageQuery, ReportTable]:
        report_page_query = find_report_page_query(tx, caller, look)
        return report_page_query, build_table(
            report_page_query,
            load_overview(tx, report_page_query.account, report_page_query.look, report_page_query.today),
        )

    return await context_of(request).db.read_long(work)


def _file_headers(asked: ReportPageQuery, kind: str) -> dict[str, str]:
    first, last = asked.days
    name = f"report-{asked.look.by}-{first}-{last}.{kind}"
    return {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}


def _values(tx: Tx, caller: Caller, look: Look) -> dict[str, Any]:
    report_page_query = find_report_page_query(tx, caller, look)
    overview = load_overview(tx, report_page_query.account, report_page_query.look, report_page_query.today)
    first, last = report_page_query.days
    ad_accounts = accounts.list_ad_accounts(tx, caller.business_id)
    return {
        "look": report_page_query.look,
        "sort_href": replace(report_page_query.look, sort="SORT").href(),
        "heat_href": replace(report_page_query.look, heat="HEAT").href(),
        "follows_goal": FOLLOW_GOAL,
        "first": first,
        "last": last,
        "before": before(first, last),
        "ad_accounts": [(str(one.number), one.name) for one in ad_accounts],
        "campaigns": overview.campaigns,
        "periods": PERIODS,
        "by_titles": BY_TITLES,
        "choices": CHOICES,
        "currency": report_page_query.account.currency,
        "time_zone": report_page_query.account.timezone,
        "is_empty": overview.total.counts == Counts(),
        "table": build_table(report_page_query, overview),
        "total": overview.total,
        "kpis": _kpis(overview),
        "goals": [_goal(part) for part in overview.by_goal],
        "days": draw_days(overview),
        "funnel": funnel(overview.total.counts),
        "sources": draw_sources(overview.total.counts),
        "heat": draw_hours(overview, report_page_query.look),
        "saved": shown_reports(tx, caller, report_page_query.look),
        "gaps": list_gaps(tx, report_page_query.account, report_page_query.days),
        "updated_at": tx.now,
    }


@dataclass(frozen=True, slots=True)
class _Kpi:
    """A figure at the top, with the one of the days before; None where there is none."""

    now: Value
    then: Value


def _kpis(overview: Overview) -> dict[str, _Kpi]:
    now = _headline(overview.total)
    then = _headline(overview.total_before) if overview.total_before else {}
    return {name: _Kpi(value, then.get(name)) for name, value in now.items()}


def _headline(figures: Figures) -> dict[str, Value]:
    counts = figures.counts
    return {
        "spend": counts.spend_micros,
        "impressions": counts.impressions,
        "clicks": counts.clicks,
        "ctr": share(counts.clicks, counts.impressions),
        "conversations": counts.conversations,
        "leads": counts.leads,
        "qualified": counts.qualified,
        "cost_per_lead": cost_each(counts.spend_micros, counts.leads),
        "cost_per_qualified": cost_each(counts.spend_micros, counts.qualified),
    }


@dataclass(frozen=True, slots=True)
class _Goal:
    """What the ad groups of one goal cost and brought."""

    goal: Goal
    ad_groups: int
    spend_micros: int
    impressions: int
    clicks: int
    conversations: int
    leads: int
    conversions: int | None
    cost_micros: int | None
    rate: Decimal | None
    by_view: int | None


def _goal(part: GoalPart) -> _Goal:
    counts = part.figures.counts
    conversions = part.figures.conversions
    return _Goal(
        goal=part.goal,
        ad_groups=part.ad_groups,
        spend_micros=counts.spend_micros,
        impressions=counts.impressions,
        clicks=counts.clicks,
        conversations=counts.conversations,
        leads=counts.leads,
        conversions=conversions,
        cost_micros=cost_each(counts.spend_micros, conversions),
        rate=share(conversions, counts.clicks),
        by_view=part.figures.conversions_by_view,
    )
