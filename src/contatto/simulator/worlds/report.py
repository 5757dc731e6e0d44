"""Report of a simulation: table, JSON values, and an HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import accumulate, zip_longest
from math import isfinite, isnan, nan
from typing import Any, Final

from jinja2 import Environment, StrictUndefined

from contatto.reports.rules.figures import HEIGHT, WIDTH, draw_line, label_every, nice_top
from contatto.simulator.worlds.metrics import RunFigures
from contatto.simulator.worlds.simulation import Player, RunResults


def make_table(compared: RunResults) -> list[list[str]]:
    """Return the names of the figures as the first row, then a row of texts for each player."""
    rows: list[list[str]] = []
    for player, figures in compared.figures.items():
        is_lead = figures.goal == Player.LEAD
        # The limit is the oracle with the same goal that sees no hidden chances, if it played.
        limit = compared.figures.get(Player.ORACLE_OBS if is_lead else Player.ORACLE_CONV)
        results = "leads_last" if is_lead else "genuine_last"
        cells = {
            "": player_label(player),
            "leads": f"{figures.leads_last:,.0f}",
            "genuine conversations": f"{figures.genuine_last:,.0f}",
            "of the limit": _share(figures, limit, results),
            "cost per lead": _text(figures.cost_per_lead, 3),
            "the same, all days": _text(figures.cost_per_lead_whole, 3),
            "cost per genuine conversation": _text(figures.cost_per_genuine, 3),
            "the same of all days": _text(figures.cost_per_genuine_whole, 3),
            "spam share": _text(figures.spam_share, 3),
            "spend on farms": _text(figures.farm_share, 4),
            "in a farm's first day": _text(figures.farm_first_day, 4),
            "after it": _text(figures.farm_later, 4),
            "fifth or later views": _text(figures.frequent_share, 3),
            "cost over target": _text(figures.cost_over_target, 2),
            "results at target, of the limit": _share(figures, limit, "target_results"),
            "predicted / true": _text(figures.calibration, 2),
            "of late ad groups": _text(figures.calibration_late, 2),
            "budget use": _text(figures.budget_use, 3),
            "pacing error": _text(figures.pacing_error, 4),
            "learned on day": str(figures.learning_days),
            "new ads, of the limit": _share(figures, limit, "cold_rate"),
            "starved": str(len(figures.starved)),
            "longest wait, s": _text(compared.longest_wait_s.get(player, nan), 3),
            "requests per CPU s": _text(compared.requests_per_s.get(player, nan), 0),
            "rules broken": str(sum(compared.faults[player].values())),
        }
        rows = rows or [list(cells)]
        rows.append(list(cells.values()))
    return rows


def _share(figures: RunFigures, limit: RunFigures | None, name: str) -> str:
    limit_value = getattr(limit, name) if limit else 0.0
    return _text(getattr(figures, name) / limit_value, 3) if limit_value else ""


def _text(value: float, places: int) -> str:
    return f"{value:,.{places}f}" if isfinite(value) else ""


NAMES: Final = {
    Player.LEAD: "Lead",
    Player.CONVERSATION: "Conversation",
    Player.RANDOM: "any ad",
    Player.ORACLE_CONV: "seen, chats",
    Player.ORACLE_OBS: "seen",
    Player.ORACLE: "oracle",
}


def player_label(player: str) -> str:
    """Return the name of a player for tables and charts; a program has its own."""
    return NAMES[Player(player)] if player in NAMES else player


EXPLAINED: Final = (
    "Lead and Conversation are the engine with either goal, learning as it goes. “Any ad” takes any. “Seen” "
    "knows all that follows from the features of viewers: nobody can do better from these. “Oracle” knows "
    "every chance. A program has its own name, with its goal."
)
_HOURS: Final = [f"{number // 4}:{number % 4 * 15:02}" for number in range(96)]
_FINE: Final = 1_000
"""Charts are made of whole numbers, so values are drawn in thousandths."""


@dataclass(frozen=True, slots=True)
class PlotLine:
    """A line of a chart; ``look`` is the number of its CSS class."""

    name: str
    look: int
    values: Sequence[float]


def draw_page(comparison: RunResults, world: str, description: str, table: Sequence[Sequence[str]]) -> str:
    """Return the HTML page: the table of `make_table` with a column per player, and charts by day."""
    figures = comparison.figures
    leads, costs, calibrations = list[PlotLine](), list[PlotLine](), list[PlotLine]()
    for player, row in figures.items():
        # One look per arm, and two for the goals of programs.
        arms: list[str] = [*NAMES]
        look = arms.index(player) if player in arms else len(arms) + player.endswith(Player.CONVERSATION)
        name = player_label(player)
        days = zip(row.spend_by_day, row.leads_by_day, strict=True)
        cost_by_day = [spend / lead_count if lead_count else 0.0 for spend, lead_count in days]
        leads.append(PlotLine(name, look, list(accumulate(row.leads_by_day))))
        costs.append(PlotLine(name, look, cost_by_day))
        if not all(map(isnan, row.calibration_by_day)):
            calibrations.append(PlotLine(name, look, row.calibration_by_day))
    if calibrations:
        calibrations.append(PlotLine("as predicted", 2, [1.0] * max(row.days for row in figures.values())))
    paced = figures.get(Player.LEAD) or next(iter(figures.values()))
    pacing = [PlotLine("spent", 0, paced.day_spent), PlotLine("due", 2, paced.day_due)]
    charts = [
        _chart("Leads so far", leads),
        _chart("Cost per lead by day", costs),
        _chart("Predicted over true leads by day", calibrations),
        _chart("Spend so far in a mean day, as a share of the budget", pacing, _HOURS),
    ]
    text = files("contatto.simulator.worlds").joinpath("_report.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(text)
    return page.render(
        world=world,
        description=description,
        about=EXPLAINED,
        table_title="All figures",
        numbers_title="The numbers",
        table=[*zip(*table, strict=True)],
        charts=[chart for chart in charts if chart],
        width=WIDTH,
        height=HEIGHT,
    )


def _chart(title: str, lines: Sequence[PlotLine], labels: Sequence[str] = ()) -> dict[str, Any]:
    """Return the values of a chart with its legend and its numbers; days are numbered from 1."""
    count = max((len(line.values) for line in lines), default=0)
    if not count:
        return {}
    values = [[0 if isnan(value) else round(value * _FINE) for value in line.values] for line in lines]
    top = nice_top(max(1, *(value for line_values in values for value in line_values)))
    named = labels or [str(number + 1) for number in range(count)]
    columns = [[_number(value) for value in line.values] for line in lines]
    return {
        "title": title,
        "label": f"{title}; the table below has the numbers",
        "lines": [
            (line.name, line.look, draw_line(line_values, top).line)
            for line, line_values in zip(lines, values, strict=True)
        ],
        "scale": [_number(top / _FINE * share) for share in (1.0, 0.5, 0.0)],
        "axis": named[:: label_every(count)],
        "table": [("", *(line.name for line in lines)), *zip_longest(named, *columns, fillvalue="")],
    }


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
