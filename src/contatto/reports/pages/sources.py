"""The page of all ads, ours and those that other platforms show, and its CSV."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, StreamingResponse

from contatto.accounts import store as accounts
from contatto.accounts.auth import PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import may, require
from contatto.ad_platforms.store import list_outside_accounts
from contatto.kit.db.database import acting
from contatto.kit.db.tx import Tx
from contatto.kit.i18n import N_, translator_of
from contatto.kit.table_export import csv_lines
from contatto.measurement.model import Goal
from contatto.operators.store import list_placement_names
from contatto.reports.actions.placements import PlacedRow, load_placed, name_placed
from contatto.reports.actions.sources import CurrencyPart, SourceReport, SourceRow, load_sources
from contatto.reports.model import Figures, Level, Metric, Value
from contatto.reports.registry import METRICS
from contatto.reports.rules.sources import LEVELS, Source, SourceLook, read_source_look
from contatto.reports.rules.texts import value_text
from contatto.ui.context import context_of

router: Final = APIRouter(include_in_schema=False)
COLUMNS: Final = tuple(
    METRICS[name]
    for name in (
        "spend",
        "impressions",
        "clicks",
        "conversations",
        "leads",
        "cost_per_lead",
        "qualified_leads",
        "cost_per_qualified_lead",
    )
)
PLACED_COLUMNS: Final = tuple(metric for metric in COLUMNS if "qualified" not in metric.name)
"""What became of leads is not counted by placement."""
SOURCES: Final = {
    Source.OURS: N_("Contatto ads"),
    Source.TIKTOK: N_("TikTok Ads"),
    Source.META: N_("Meta Ads"),
}
TITLES: Final = {
    Level.AD_ACCOUNT: N_("Ad account"),
    Level.CAMPAIGN: N_("Campaign"),
    Level.AD_GROUP: N_("Ad group"),
    Level.AD: N_("Ad"),
}


@dataclass(frozen=True, slots=True)
class _Cell:
    metric: Metric
    value: Value


@dataclass(frozen=True, slots=True)
class _Line:
    """A row: whose ads these are, what it stands for and where that lies, its goal (None for both)."""

    source: Source
    account: str
    name: str
    parent: str
    number: str
    goal: Goal | None
    cells: tuple[_Cell, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    currency: str
    lines: tuple[_Line, ...]
    total: tuple[_Cell, ...]


@dataclass(frozen=True, slots=True)
class _Placed:
    name: str
    currency: str
    cells: tuple[_Cell, ...]


@router.get("/reports/sources")
async def show_sources(request: Request, caller: PageCaller) -> HTMLResponse:
    require(caller, Permission.READ_REPORTS)
    context = context_of(request)
    words = dict(request.query_params)

    def load(tx: Tx) -> dict[str, Any]:
        look, report = _load(tx, caller, words)
        return {
            "look": look,
            "parts": [_part(part) for part in report.parts],
            "unmatched": report.unmatched,
            "placed": load_placed(tx, caller.business_id, look),
            "has_accounts": bool(list_outside_accounts(tx, caller.business_id)),
        }

    values = await context.db.read_long(load)
    if values["placed"]:
        wanted = {row.placement for row in values["placed"]}
        with acting(""):  # a placement is the operator's; of those that were paid for, the name is told
            names = await context.db.read(lambda tx: list_placement_names(tx, wanted))
        values["placed"] = [_placed(row) for row in name_placed(values["placed"], names)]
    values |= {"placed_columns": PLACED_COLUMNS}
    values |= {"caller": caller, "columns": COLUMNS, "sources": SOURCES, "titles": TITLES}
    values |= {"levels": [(level.value, TITLES[level]) for level in LEVELS]}
    values |= {"can_connect": may(caller, Permission.ADMINISTER)}
    return context.pages.render(request, "reports/sources.html", values)


def _placed(row: PlacedRow) -> _Placed:
    cells = tuple(_Cell(metric, metric.value(row.figures)) for metric in PLACED_COLUMNS)
    return _Placed(row.name, row.currency, cells)


@router.get("/reports/sources/csv")
async def download_sources(request: Request, caller: PageCaller) -> StreamingResponse:
    """The rows of the page as a CSV; each says in which currency it is paid."""
    require(caller, Permission.READ_REPORTS)
    words = dict(request.query_params)
    look, report = await context_of(request).db.read_long(lambda tx: _load(tx, caller, words))
    translate = translator_of(request).gettext
    titles = [N_("Source"), N_("Ad account"), "ID", TITLES[look.level], N_("Part of"), N_("Currency")]
    head = [translate(title) for title in [*titles, *(metric.title for metric in COLUMNS)]]

    def rows() -> Iterator[list[str]]:
        yield head
        for part in map(_part, report.parts):
            for line in part.lines:
                where = [translate(SOURCES[line.source]), line.account, line.number, line.name, line.parent]
                yield [*where, part.currency, *(value_text(one.metric.unit, one.value) for one in line.cells)]

    name = f"ads-{look.level}-{look.first}-{look.last}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    lines = csv_lines(rows(), bom=True)
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)


def _load(tx: Tx, caller: Caller, words: dict[str, str]) -> tuple[SourceLook, SourceReport]:
    ad_accounts = accounts.list_ad_accounts(tx, caller.business_id)
    zone = ad_accounts[0].timezone if ad_accounts else "UTC"
    look = read_source_look(words, tx.now.astimezone(ZoneInfo(zone)).date())
    return look, load_sources(tx, caller.business_id, look)


def _part(part: CurrencyPart) -> _Part:
    return _Part(part.currency, tuple(map(_line, part.rows)), _cells(part.total))


def _line(one: SourceRow) -> _Line:
    subject, figures = one.row.subject, one.row.figures
    parents = {
        Level.AD_GROUP: subject.campaign_name,
        Level.AD: f"{subject.campaign_name} › {subject.ad_group_name}",
    }
    number = subject.ad_number or subject.ad_group_number or subject.campaign_number
    goal = next(iter(figures.goals)) if len(figures.goals) == 1 else None
    return _Line(
        one.source,
        one.account,
        subject.name,
        parents.get(subject.level, ""),
        str(number or ""),
        goal,
        _cells(figures),
    )


def _cells(figures: Figures) -> tuple[_Cell, ...]:
    return tuple(_Cell(metric, metric.value(figures)) for metric in COLUMNS)
