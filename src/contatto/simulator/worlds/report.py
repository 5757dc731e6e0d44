"""Report of a simulation: table, JSON values, and an HTML page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from itertools import accumulate
from math import isfinite, isnan, nan
from typing import Any, Final

from contatto.reports.rules.figures import HEIGHT, WIDTH, label_every, nice_top, points
from contatto.simulator.worlds.metrics import RunFigures
from contatto.simulator.worlds.simulation import Player, RunResults


def make_table(compared: RunResults) -> list[list[str]]:
    """Return the name of each figure, and below it the texts of every player."""
    columns: list[list[str]] = []
    for player, figures in compared.figures.items():
        limit = compared.limit(player)
        is_lead = figures.goal == Player.LEAD
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
        columns = columns or [list(cells)]
        columns.append(list(cells.values()))
    return columns


def _share(figures: RunFigures, limit: RunFigures | None, name: str) -> str:
    limit_value = getattr(limit, name) if limit else 0.0
    return _text(getattr(figures, name) / limit_value, 3) if limit_value else ""


def _text(value: float, places: int) -> str:
    return f"{value:,.{places}f}" if isfinite(value) else ""


def describe_lifts(comparison: RunResults) -> list[str]:
    """Return a sentence for each player that compares its first-ranked viewers with the mean."""
    return [
        f"{player_label(arm)}: the best 1 % are worth {lifts.top_1:.1f} times the mean, "
        f"the best 5 % {lifts.top_5:.1f} times, with {lifts.spam:.2f} times the spam"
        for arm, lifts in comparison.lifts.items()
        if lifts.groups
    ]


def as_values(comparison: RunResults, run_settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return all values for a JSON file; unknown ones are null."""
    return {
        **run_settings,
        "players": {
            str(arm): {**_finite_values(asdict(row)), "faults": comparison.faults[arm]}
            for arm, row in comparison.figures.items()
        },
        "lookalikes": {str(arm): _finite_values(asdict(lifts)) for arm, lifts in comparison.lifts.items()},
        "requests_per_s": {str(player): speed for player, speed in comparison.requests_per_s.items()},
        "longest_wait_s": {str(player): wait for player, wait in comparison.longest_wait_s.items()},
        "failures": comparison.failures,
    }


def _finite_values(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite_values(item) for name, item in value.items()}
    return [_finite_values(item) for item in value] if isinstance(value, list | tuple) else value


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
_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1d2433; --soft: #667; --grid: #d8dce4; --card: #fff;
  --page: #f4f5f8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaf0; --soft: #a4abba; --grid: #3a4152; --card: #1c212c; --page: #12151c; }
}
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; font: 1rem/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--page); }
main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)); }
section { background: var(--card); border-radius: .75rem; padding: 1rem; min-width: 0; }
.whole { grid-column: 1 / -1; } h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin: 0 0 .5rem; }
.plot { display: grid; grid-template-columns: auto 1fr; gap: 0 .5rem; }
.plot svg { width: 100%; height: 13rem; overflow: visible; }
.scale, .days { display: flex; justify-content: space-between; list-style: none; margin: 0; padding: 0;
  color: var(--soft); font-size: .8rem; }
.scale { flex-direction: column; text-align: end; } .days { grid-column: 2; justify-content: space-around; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: 0 0 .5rem; padding: 0; list-style: none;
  font-size: .85rem; }
.legend svg { width: 2rem; height: .6rem; vertical-align: middle; margin-inline-end: .4rem; }
path { fill: none; vector-effect: non-scaling-stroke; stroke-width: 2; }
.grid { stroke: var(--grid); stroke-width: 1; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; }
th, td { padding: .2rem .6rem; text-align: end; border-block-end: 1px solid var(--grid); }
th:first-child { text-align: start; } summary { cursor: pointer; color: var(--soft); font-size: .85rem; }
.s0 { stroke: #0b6e4f; } .s1 { stroke: #b4530a; stroke-dasharray: 8 4; }
.s2 { stroke: #8a8f9c; stroke-dasharray: 2 4; }
.s3 { stroke: #b4530a; stroke-dasharray: 2 4; } .s4 { stroke: #2456c8; stroke-dasharray: 12 3 2 3; }
.s5 { stroke: #7a3fb8; stroke-dasharray: 4 2; }
.s6 { stroke: #c2255c; } .s7 { stroke: #c2255c; stroke-dasharray: 8 4; }
@media (prefers-color-scheme: dark) {
  .s0 { stroke: #4fd1a5; } .s1, .s3 { stroke: #f0a35e; } .s4 { stroke: #8fb1ff; }
  .s5 { stroke: #c79bf2; } .s6, .s7 { stroke: #ff8fb3; } }
"""


@dataclass(frozen=True, slots=True)
class PlotLine:
    """A line of a chart; ``look`` is the number of its CSS class."""

    name: str
    look: int
    values: Sequence[float]


def draw_page(comparison: RunResults, world: str, description: str, table: Sequence[Sequence[str]]) -> str:
    """Return the whole file: a table of all players, and charts by day.

    Args:
        comparison: results of each player.
        world: name of the world.
        description: in one line.
        table: the table of figures, its head first.
    """
    figures = comparison.figures
    costs = _lines(
        figures,
        lambda row: [
            spend / leads if leads else 0.0
            for spend, leads in zip(row.spend_by_day, row.leads_by_day, strict=True)
        ],
    )
    calibrations = [
        line
        for line in _lines(figures, lambda row: row.calibration_by_day)
        if not all(map(isnan, line.values))
    ]
    if calibrations:
        days = max(row.days for row in figures.values())
        calibrations.append(PlotLine("as predicted", 2, [1.0] * days))
    paced = figures.get(Player.LEAD) or next(iter(figures.values()))
    pacing = [PlotLine("spent", 0, paced.day_spent), PlotLine("due", 2, paced.day_due)]
    charts = [
        _chart("Leads so far", _lines(figures, lambda figure_row: list(accumulate(figure_row.leads_by_day)))),
        _chart("Cost per lead by day", costs),
        _chart("Predicted over true leads by day", calibrations),
        _chart("Spend so far in a mean day, as a share of the budget", pacing, _HOURS),
    ]
    head = f"<title>{escape(world)}</title><style>{_STYLE}</style>"
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    main = f"<main>{_table('All figures', table)}{''.join(charts)}</main>"
    body = f"<h1>{escape(world)}</h1><p>{escape(description)}. {escape(EXPLAINED)}</p>{main}"
    return f'<!doctype html><html lang="en"><head>{meta}{head}</head><body>{body}</body></html>\n'


def _lines(
    figures: Mapping[str, RunFigures], values: Callable[[RunFigures], Sequence[float]]
) -> list[PlotLine]:
    return [PlotLine(player_label(player), _look(player), values(row)) for player, row in figures.items()]


def _look(player: str) -> int:
    """Return the number of a line's CSS class: one per arm, and two for the goals of programs."""
    if player in NAMES:
        return list(NAMES).index(Player(player))
    return len(NAMES) + player.endswith(Player.CONVERSATION)


def _chart(title: str, lines: Sequence[PlotLine], labels: Sequence[str] = ()) -> str:
    """Return a chart with its legend and its numbers; days are numbered from 1."""
    count = max((len(line.values) for line in lines), default=0)
    if not count:
        return ""
    values = [[0 if isnan(value) else round(value * _FINE) for value in line.values] for line in lines]
    top = nice_top(max(1, *(value for line_values in values for value in line_values)))
    paths = "".join(
        f'<path class="s{line.look}" d="{_path(points(line_values, top))}"></path>'
        for line, line_values in zip(lines, values, strict=True)
    )
    legend = "".join(
        f'<li><svg viewBox="0 0 32 8" aria-hidden="true"><path class="s{line.look}" d="M0 4H32"></path></svg>'
        f"{escape(line.name)}</li>"
        for line in lines
    )
    grid = f'<path class="grid" d="M0 0H{WIDTH}M0 {HEIGHT // 2}H{WIDTH}M0 {HEIGHT}H{WIDTH}"></path>'
    named = labels or [str(number + 1) for number in range(count)]
    every = label_every(count)
    axis = "".join(f"<li>{name}</li>" for name in named[::every])
    scale = "".join(f"<li>{_number(top / _FINE * share)}</li>" for share in (1.0, 0.5, 0.0))
    table = [
        ["", *(line.name for line in lines)],
        *(
            [
                named[number],
                *(_number(line.values[number]) if number < len(line.values) else "" for line in lines),
            ]
            for number in range(count)
        ),
    ]
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img"'
    label = f'aria-label="{escape(title)}; the table below has the numbers"'
    plot = f'<ol class="scale">{scale}</ol><svg {box} {label}>{grid}{paths}</svg><ol class="days">{axis}</ol>'
    numbers = f"<details><summary>The numbers</summary>{_rows(table)}</details>"
    drawn = f'<ul class="legend">{legend}</ul><div class="plot">{plot}</div>{numbers}'
    return f"<section><h2>{escape(title)}</h2>{drawn}</section>"


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in places)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _table(title: str, table: Sequence[Sequence[str]]) -> str:
    transposed = [list(row) for row in zip(*table, strict=True)]
    return f'<section class="whole"><h2>{escape(title)}</h2>{_rows(transposed)}</section>'


def _rows(table: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table[0])
    rows = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table[1:]
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
