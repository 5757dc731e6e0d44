"""The report page and its CSV."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, StreamingResponse

from contatto.accounts import store as accounts
from contatto.accounts.auth import PageCaller
from contatto.accounts.model import AdAccount, Caller, Permission
from contatto.accounts.rules import require
from contatto.ads.actions.accounts import find_advertiser
from contatto.kit import errors
from contatto.kit.context import context_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.table_export import csv_lines
from contatto.kit.wire import number_of
from contatto.measurement.model import Goal
from contatto.reports.actions.answers import ad_group_report
from contatto.reports.metrics.shares import cost_each, share
from contatto.reports.model import Counts, Figures, Level, Report, ReportRow, Span
from contatto.reports.rules.rows import total_of
from contatto.reports.rules.texts import amount_text

router: Final = APIRouter(include_in_schema=False)
PRESETS: Final = (("Today", 1), ("7 days", 7), ("30 days", 30))
LEVELS: Final = (Level.CAMPAIGN, Level.AD_GROUP, Level.AD)
CSV_HEAD: Final = (
    "id",
    "name",
    "campaign",
    "ad_group",
    "goal",
    "currency",
    "spend",
    "impressions",
    "clicks",
    "conversations",
    "leads",
    "conversions",
    "cost_per_conversion",
)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The account, days and level of a report page."""

    account: AdAccount
    since: date
    until: date
    level: Level

    def href(self, path: str, since: date | None = None) -> str:
        days = {"since": (since or self.since).isoformat(), "until": self.until.isoformat()}
        return f"{path}?{urlencode({**days, 'level': self.level, 'advertiser_id': self.account.number})}"

    @property
    def span(self) -> Span:
        return Span(self.since.isoformat(), self.until.isoformat())


@router.get("/reports")
async def show_report(request: Request, caller: PageCaller) -> HTMLResponse:
    require(caller, Permission.READ_REPORTS)
    context = context_of(request)

    def work(tx: Tx) -> dict[str, Any]:
        asked = _asked(tx, request, caller)
        report = ad_group_report(tx, caller.business_id, asked.account, asked.span, asked.level)
        groups = ad_group_report(tx, caller.business_id, asked.account, asked.span)
        known = accounts.list_ad_accounts(tx, caller.business_id)
        return {
            "filters": {"since": asked.since.isoformat(), "until": asked.until.isoformat()}
            | {"level": asked.level, "advertiser_id": str(asked.account.number)},
            "ad_accounts": [(str(one.number), one.name) for one in known],
            "presets": _presets(asked, tx.now),
            "currency": asked.account.currency,
            "time_zone": asked.account.timezone,
            "rows": _rows(report),
            "total": _numbers(report.total) | {"goals_mixed": report.total.mixed_goals},
            "by_goal": _by_goal(groups),
            "csv_href": asked.href("/reports/csv"),
            "updated_at": tx.now,
        }

    values = {"caller": caller, **await context.db.read(work)}
    return context.pages.render(request, "reports/report.html", values)


@router.get("/reports/csv")
async def download_report(request: Request, caller: PageCaller) -> StreamingResponse:
    """The same rows as a CSV that opens safely in a spreadsheet."""
    require(caller, Permission.READ_REPORTS)

    def work(tx: Tx) -> tuple[_Asked, Report]:
        asked = _asked(tx, request, caller)
        return asked, ad_group_report(tx, caller.business_id, asked.account, asked.span, asked.level)

    asked, report = await context_of(request).db.read(work)
    name = f"report-{asked.level}-{asked.since}-{asked.until}.csv"
    return StreamingResponse(
        csv_lines(_csv_rows(asked, report), bom=True),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


def _asked(tx: Tx, request: Request, caller: Caller) -> _Asked:
    given = request.query_params
    if given.get("advertiser_id"):
        account = find_advertiser(tx, caller.business_id, number_of(given["advertiser_id"]))
    else:
        known = accounts.list_ad_accounts(tx, caller.business_id)
        if not known:
            raise Refused(errors.NO_ADVERTISER, "This business has no ad account yet.")
        account = known[0]
    today = _today(account, tx.now)
    since, until = _day(given.get("since"), today - timedelta(days=6)), _day(given.get("until"), today)
    level = given.get("level") or Level.AD_GROUP
    if since > until or level not in LEVELS:
        raise Refused(errors.INVALID, "since: the first day must not be later than the last one.")
    return _Asked(account, since, until, Level(level))


def _today(account: AdAccount, now: datetime) -> date:
    return now.astimezone(ZoneInfo(account.timezone)).date()


def _day(text: str | None, usual: date) -> date:
    try:
        return date.fromisoformat(text) if text else usual
    except ValueError as error:
        raise Refused(errors.INVALID, "since: write days as YYYY-MM-DD.") from error


def _presets(asked: _Asked, now: datetime) -> list[tuple[str, str, bool]]:
    today = _today(asked.account, now)
    up_to_today = _Asked(asked.account, asked.since, today, asked.level)
    found: list[tuple[str, str, bool]] = []
    for label, days in PRESETS:
        since = today - timedelta(days=days - 1)
        current = (since, today) == (asked.since, asked.until)
        found.append((label, up_to_today.href("/reports", since), current))
    return found


def _rows(report: Report) -> list[dict[str, Any]]:
    """Rows of what has a goal; none at all on days without any traffic."""
    if report.total.counts == Counts():
        return []
    rows = [row for row in report.rows if row.figures.goals]
    rows.sort(key=lambda row: row.figures.counts.spend_micros, reverse=True)
    return [_row(row) for row in rows]


def _row(row: ReportRow) -> dict[str, Any]:
    subject = row.subject
    parents = {
        Level.AD_GROUP: subject.campaign_name,
        Level.AD: f"{subject.campaign_name} › {subject.ad_group_name}",
    }
    return {
        "id": _id_of(row),
        "name": subject.name,
        "parent_name": parents.get(subject.level),
        "goal": _goal_of(row.figures),
    } | _numbers(row.figures)


def _id_of(row: ReportRow) -> str:
    subject = row.subject
    return str(subject.ad_number or subject.ad_group_number or subject.campaign_number)


def _goal_of(figures: Figures) -> Goal | None:
    return next(iter(figures.goals)) if len(figures.goals) == 1 else None


def _numbers(figures: Figures) -> dict[str, Any]:
    counts = figures.counts
    return {
        "spend_micros": counts.spend_micros,
        "impressions": counts.impressions,
        "clicks": counts.clicks,
        "ctr": share(counts.clicks, counts.impressions),
        "conversations": counts.conversations,
        "leads": counts.leads,
        "conversions": figures.conversions,
        "cost_per_conversion_micros": cost_each(counts.spend_micros, figures.conversions),
    }


def _by_goal(groups: Report) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for goal in Goal:
        rows = [row for row in groups.rows if goal in row.figures.goals]
        if rows:
            found.append({"goal": goal, "ad_groups": len(rows)} | _numbers(total_of(rows)))
    return found


def _csv_rows(asked: _Asked, report: Report) -> Iterator[tuple[str, ...]]:
    yield CSV_HEAD
    for row in report.rows:
        counts, subject = row.figures.counts, row.subject
        cost = cost_each(counts.spend_micros, row.figures.conversions)
        yield (
            _id_of(row),
            subject.name,
            subject.campaign_name,
            subject.ad_group_name,
            _goal_of(row.figures) or "",
            asked.account.currency,
            amount_text(counts.spend_micros),
            str(counts.impressions),
            str(counts.clicks),
            str(counts.conversations),
            str(counts.leads),
            "" if row.figures.conversions is None else str(row.figures.conversions),
            "" if cost is None else amount_text(cost),
        )
