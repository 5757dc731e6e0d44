"""The figures of players beside each other as a table of texts, and as plain values for JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from typing import Any

from contatto.simulator.worlds.compare import Arm, Compared
from contatto.simulator.worlds.metrics import LAST_DAYS, Figures
from contatto.simulator.worlds.plots import player_label

HEAD = (
    "",
    "leads",
    "of the limit",
    "cost per lead",
    "spam share",
    "budget use",
    "pacing error",
    "foretold / caught",
    "learned on day",
    "starved",
    "longest wait, s",
    "requests per CPU s",
    "rules broken",
)


def make_table(found: Compared) -> list[list[str]]:
    """One row a player, of the last days; the limit is the oracle of what is seen, where it plays."""
    limit = found.figures.get(Arm.ORACLE_OBS)
    rows = [list(HEAD)]
    for arm, each in found.figures.items():
        rows.append(
            [
                player_label(arm),
                f"{each.leads_last:,.0f}",
                _share(each, limit),
                _text(each.cost_per_lead, 3),
                _text(each.spam_share, 3),
                _text(each.budget_use, 3),
                _text(each.pacing_error, 4),
                _text(each.calibration, 2),
                str(each.learning_days),
                str(len(each.starved)),
                f"{found.longest_wait_s[arm]:.3f}" if arm in found.longest_wait_s else "",
                f"{found.requests_per_s[arm]:,.0f}" if arm in found.requests_per_s else "",
                str(sum(found.faults[arm].values())),
            ]
        )
    return rows


def _share(figures: Figures, limit: Figures | None) -> str:
    return f"{figures.leads_last / limit.leads_last:.3f}" if limit and limit.leads_last else ""


def _text(value: float, places: int) -> str:
    return f"{value:.{places}f}" if isfinite(value) else ""


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
        "last_days": LAST_DAYS,
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
