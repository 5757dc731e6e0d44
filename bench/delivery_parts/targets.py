"""The table of targets of delivery: what the prototype reached, what passes, and what is hard."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from contatto.simulator.worlds.compare import Arm, Compared


@dataclass(frozen=True)
class Target:
    """One row: its figure for one run, and the bounds that pass and that are hard."""

    name: str
    prototype: str
    passes: tuple[float, float]
    hard: tuple[float, float]
    figure: Callable[[Compared], float]

    def verdict(self, value: float) -> str:
        for word, (least, most) in (("hard", self.hard), ("pass", self.passes)):
            if least <= value <= most:
                return word
        return "SHORT" if not math.isnan(value) else "-"


def _ratio(under: Arm, name: str) -> Callable[[Compared], float]:
    """A figure of the goal Lead over the same of another player."""

    def figure(found: Compared) -> float:
        return float(getattr(found.figures[Arm.LEAD], name) / getattr(found.figures[under], name))

    return figure


def _own(name: str) -> Callable[[Compared], float]:
    return lambda found: float(getattr(found.figures[Arm.LEAD], name))


def _worst_kind(found: Compared) -> float:
    """The delay class whose calibration is farthest from 1."""
    return max(found.figures[Arm.LEAD].calibration_by_kind.values(), key=lambda value: abs(math.log(value)))


def _lift(name: str) -> Callable[[Compared], float]:
    return lambda found: float(getattr(found.lifts[Arm.LEAD], name))


def _shown(name: str) -> Callable[[Compared], float]:
    return lambda found: float(getattr(found.shown_lifts, name))


_MOST = math.inf
_CONV, _OBS = Arm.CONVERSATION, Arm.ORACLE_OBS
DEFAULT = (
    Target("cost per lead, Lead / Conv.", ".822", (0, 0.88), (0, 0.80), _ratio(_CONV, "cost_per_lead")),
    Target("leads, share of oracle_obs", ".869", (0.85, _MOST), (0.92, _MOST), _ratio(_OBS, "leads_last")),
    Target("the same over all days", ".828", (0.80, _MOST), (0.88, _MOST), _ratio(_OBS, "leads")),
    Target("spam share, Lead / Conv.", ".77", (0, 0.85), (0, 0.72), _ratio(_CONV, "spam_share")),
    Target("foretold / caught leads", "1.03", (0.95, 1.05), (0.97, 1.03), _own("calibration")),
    Target("the worst delay class of it", "1.12", (0.85, 1.15), (0.92, 1.08), _worst_kind),
    Target("budget use", ".994", (0.99, 1.0001), (0.995, 1.0001), _own("budget_use")),
    Target("pacing error", ".007", (0, 0.01), (0, 0.006), _own("pacing_error")),
    Target("starved ad groups", "0", (0, 0), (0, 0), lambda found: len(found.figures[Arm.LEAD].starved)),
    Target("learning phase, days", "4.0", (0, 5), (0, 3), _own("learning_days")),
    Target("late starters, share of obs", ".69", (0.65, _MOST), (0.80, _MOST), _ratio(_OBS, "cold_rate")),
    Target("lookalike lift, best 1 %", "5.7", (5.0, _MOST), (6.0, _MOST), _lift("top_1")),
    Target("lookalike lift, best 5 %", "3.7", (3.3, _MOST), (4.0, _MOST), _lift("top_5")),
    Target("lookalike spam ratio, best 5 %", "1.25", (0, 1.3), (0, 1.0), _lift("spam")),
    Target("lift shown / true, best 1 %", "", (0.8, 1.25), (0.9, 1.1), _shown("off_1")),
    Target("lift shown / true, best 5 %", "", (0.8, 1.25), (0.9, 1.1), _shown("off_5")),
    Target("ranges that hold the true lift", "", (0.65, 1), (0.75, 0.95), _shown("held")),
)  # fmt: skip
TENSION = (
    Target("cost per lead, Lead / Conv.", ".64", (0, 0.70), (0, 0.60), _ratio(_CONV, "cost_per_lead")),
    DEFAULT[1],
    DEFAULT[3],
)  # fmt: skip
TARGET_COST = (
    Target("starved ad groups", "0", (0, 0), (0, 0), lambda found: len(found.figures[Arm.LEAD].starved)),
    Target("cost per lead / target, median", ".8-1.0", (0, 1.10), (0.90, 1.05), _own("cost_over_target")),
    Target(
        "leads, share of oracle_obs",
        "",
        (0, _MOST),
        (0, _MOST),
        _ratio(_OBS, "leads_last"),
    ),
)
OTHER = (
    *(target for target in DEFAULT if not target.name.startswith("lookalike")),
    Target("spend on click farms", "", (0, _MOST), (0, _MOST), _own("farm_share")),
    Target("cost per lead / target, median", "", (0, 1.10), (0.90, 1.05), _own("cost_over_target")),
)
TABLES = {
    "default": DEFAULT,
    "tension 2": TENSION,
    "target cost": TARGET_COST,
    "segments": OTHER,
    "thresholds": OTHER,
}


def spread(values: Sequence[float]) -> str:
    """The mean and how far the seeds lie apart."""
    there = [value for value in values if not math.isnan(value)]
    if not there:
        return "-"
    return f"{mean(there):.3f}" + (f" ± {stdev(there):.3f}" if len(there) > 1 else "")


def bounds(span: tuple[float, float]) -> str:
    least, most = span
    if least == most:
        return f"{most:g}"
    if math.isinf(most):
        return f">= {least:g}" if least else ""
    return f"<= {most:g}" if least <= 0 else f"{least:g}-{min(most, 1.0) if most < 1.001 else most:g}"
