"""The table of the report page: the same columns and rows for the page, the CSV and the spreadsheet."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final
from urllib.parse import urlencode

from contatto.kit.i18n import N_
from contatto.measurement.model import Goal
from contatto.reports.actions.overview import UNKNOWN, Overview, key_of
from contatto.reports.model import Figures, Level, Metric, ReportRow, Value
from contatto.reports.pages.query import ReportPageQuery
from contatto.reports.registry import METRICS
from contatto.reports.rules.behind import BEHIND
from contatto.reports.rules.looks import By, Look
from contatto.reports.rules.texts import metric_number, value_text

BY_TITLES: Final = {
    By.CAMPAIGN: N_("Campaign"),
    By.AD_GROUP: N_("Ad group"),
    By.AD: N_("Ad"),
    By.GOAL: N_("Goal"),
    By.COUNTRY: N_("Country"),
    By.DAY: N_("Day"),
    By.HOUR: N_("Hour"),
}
GOALS: Final = {Goal.LEAD: N_("Lead"), Goal.CONVERSATION: N_("Conversation")}
FIRST_NUMBER: Final = 5
"""The column of a file where its numbers begin."""
_IN_ORDER: Final = frozenset({By.DAY, By.HOUR})


@dataclass(frozen=True, slots=True)
class Cell:
    """A value with the one before it, and where the conversions behind it are told; "" where they are not."""

    metric: Metric
    value: Value
    before: Value = None
    href: str = ""

    @property
    def change(self) -> Decimal | None:
        """Return how much more or less than before, as a share of it."""
        if self.value is None or not self.before:
            return None
        return (Decimal(self.value) - Decimal(self.before)) / Decimal(self.before)


@dataclass(frozen=True, slots=True)
class Line:
    """A row: what it stands for, where that lies, its goal (None for both), its cells.

    ``number`` is the API's id; it is empty for what has none.
    """

    key: str
    name: str
    parent: str
    goal: Goal | None
    is_mixed: bool
    cells: tuple[Cell, ...]
    inside_href: str = ""
    number: str = ""


@dataclass(frozen=True, slots=True)
class ReportTable:
    columns: tuple[Metric, ...]
    lines: tuple[Line, ...]
    total: Line


def build_table(asked: ReportPageQuery, overview: Overview) -> ReportTable:
    look, asks = asked.look, urlencode(asked.look.pairs())
    columns = tuple(METRICS[name] for name in look.metrics)
    shown = [row for row in overview.rows if row.figures.goals or look.by in _IN_ORDER]
    lines = [_line(asked, overview, row, columns, asks) for row in _ordered(shown, look)]
    total = Line(
        "",
        "",
        "",
        _goal_of(overview.total),
        overview.total.mixed_goals,
        _cells(columns, overview.total, overview.total_before, _links(look, asks, "", overview.total)),
    )
    return ReportTable(columns, tuple(lines), total)


def _ordered(rows: list[ReportRow], look: Look) -> list[ReportRow]:
    name = look.sort.removeprefix("-")
    if not name and look.by in _IN_ORDER:
        return rows
    if name == "name":
        return sorted(rows, key=lambda row: row.subject.name, reverse=look.sort.startswith("-"))
    metric = METRICS.get(name, METRICS["spend"])

    def rank(row: ReportRow) -> Decimal:
        number = metric_number(metric, row.figures)
        return Decimal(-1) if number is None else number

    return sorted(rows, key=rank, reverse=not name or look.sort.startswith("-"))


def _line(
    asked: ReportPageQuery, overview: Overview, row: ReportRow, columns: tuple[Metric, ...], asks: str
) -> Line:
    by, subject = asked.look.by, row.subject
    key = key_of(row, by)
    parents = {
        Level.AD_GROUP: subject.campaign_name,
        Level.AD: f"{subject.campaign_name} › {subject.ad_group_name}",
    }
    return Line(
        key,
        subject.name if by in (By.CAMPAIGN, By.AD_GROUP, By.AD) else key.removeprefix(UNKNOWN),
        parents.get(subject.level, ""),
        _goal_of(row.figures),
        row.figures.mixed_goals,
        _cells(columns, row.figures, overview.before.get(key), _links(asked.look, asks, key, row.figures)),
        _inside(asked.look, row),
        _number(row),
    )


def _cells(
    columns: tuple[Metric, ...], figures: Figures, before: Figures | None, link: Callable[[str], str]
) -> tuple[Cell, ...]:
    found: list[Cell] = []
    for metric in columns:
        value = metric.value(figures)
        earlier = metric.value(before) if before else None
        found.append(Cell(metric, value, earlier, link(metric.name) if value else ""))
    return tuple(found)


def _links(look: Look, asks: str, key: str, figures: Figures) -> Callable[[str], str]:
    """Where the conversions behind a row's figures are told; ``asks`` is the look as an address has it."""
    of_row = urlencode([("key", key)])

    def link(name: str) -> str:
        follows_goal = name in BEHIND and BEHIND[name].kind is None
        if name not in BEHIND or (key and look.by is By.HOUR) or (follows_goal and figures.mixed_goals):
            return ""
        return f"/reports/conversions?{asks}&metric={name}&{of_row}"

    return link


def _number(row: ReportRow) -> str:
    subject = row.subject
    return str(subject.ad_number or subject.ad_group_number or subject.campaign_number or "")


def _inside(look: Look, row: ReportRow) -> str:
    """The page of the ad groups of a campaign."""
    if look.by is not By.CAMPAIGN:
        return ""
    return replace(look, by=By.AD_GROUP, campaign=str(row.subject.campaign_number), sort="").href()


def _goal_of(figures: Figures) -> Goal | None:
    return next(iter(figures.goals)) if len(figures.goals) == 1 else None


def table_lines(
    asked: ReportPageQuery, table: ReportTable, translate: Callable[[str], str]
) -> Iterator[list[str]]:
    """The table as a file has it: plain numbers, money in units, shares in percent."""
    compare = asked.look.compare
    titles = ("ID", BY_TITLES[asked.look.by], N_("Part of"), N_("Goal"), N_("Currency"))
    head = [translate(title) for title in titles]
    for metric in table.columns:
        title = translate(metric.title)
        head += [title, f"{title} ({translate(N_('before'))})"] if compare else [title]
    yield head
    for line in (*table.lines, table.total):
        name = line.name or (translate(N_("Total")) if line is table.total else translate(N_("Unknown")))
        goal = translate(GOALS[line.goal]) if line.goal else ""
        row = [line.number, name, line.parent, goal, asked.account.currency]
        for cell in line.cells:
            values = (cell.value, cell.before) if compare else (cell.value,)
            row += [value_text(cell.metric.unit, value) for value in values]
        yield row
