"""The figures of players beside each other as a table of texts, and as plain values for JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite, nan
from typing import Any

from contatto.simulator.worlds.compare import Arm, Compared
from contatto.simulator.worlds.metrics import Figures
from contatto.simulator.worlds.plots import player_label


def make_table(compared: Compared) -> list[list[str]]:
    """Return the name of each figure, and below it the texts of every player."""
    columns: list[list[str]] = []
    for player, figures in compared.figures.items():
        limit = compared.limit(player)
        is_lead = figures.goal == Arm.LEAD
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


def _share(figures: Figures, limit: Figures | None, name: str) -> str:
    under = getattr(limit, name) if limit else 0.0
    return _text(getattr(figures, name) / under, 3) if under else ""


def _text(value: float, places: int) -> str:
    return f"{value:,.{places}f}" if isfinite(value) else ""


def say_lifts(found: Compared) -> list[str]:
    """In a sentence for each: how much better than the mean those are whom it ranks first."""
    return [
        f"{player_label(arm)}: the best 1 % are worth {lifts.top_1:.1f} times the mean, "
        f"the best 5 % {lifts.top_5:.1f} times, with {lifts.spam:.2f} times the spam"
        for arm, lifts in found.lifts.items()
        if lifts.groups
    ]


def as_values(found: Compared, told: Mapping[str, Any]) -> dict[str, Any]:
    """Everything for a JSON file; what is not known is null."""
    return {
        **told,
        "players": {
            str(arm): {**_known(asdict(each)), "faults": found.faults[arm]}
            for arm, each in found.figures.items()
        },
        "lookalikes": {str(arm): _known(asdict(lifts)) for arm, lifts in found.lifts.items()},
        "requests_per_s": {str(player): speed for player, speed in found.requests_per_s.items()},
        "longest_wait_s": {str(player): wait for player, wait in found.longest_wait_s.items()},
        "failures": found.failures,
    }


def _known(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {name: _known(each) for name, each in value.items()}
    return [_known(each) for each in value] if isinstance(value, list | tuple) else value
