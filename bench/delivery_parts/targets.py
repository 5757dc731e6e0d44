"""Rows of the delivery benchmark: a figure of every player, and bounds for the engine."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from contatto.simulator.worlds.simulation import Player, RunResults

PLAIN, BEST = "plain", "best"
FARM_LIMIT = 0.006
"""Share of the spend that farms may have at most; more only where the best possible spends more."""
_MOST = math.inf
_NAN = float("nan")


@dataclass(frozen=True)
class Row:
    """One figure of a goal, shown for every player; the judged value is the engine's.

    ``over`` divides the judged value by the same figure of the plain learner or of the best possible player.
    With ``or_best``, a value that is no worse than the best possible player's passes as well.
    """

    name: str
    least: tuple[float, float]
    aim: tuple[float, float]
    figure: Callable[[RunResults, str], float]
    goal: Player = Player.LEAD
    over: str = ""
    or_best: bool = False
    only_tiring: bool = False

    @property
    def best(self) -> Player:
        return Player.ORACLE_OBS if self.goal is Player.LEAD else Player.ORACLE_CONV

    def player(self, who: str) -> str:
        """Return the key of a player in the figures of a run: ``ours``, ``plain``, ``random`` or ``best``."""
        names = {"ours": self.goal, PLAIN: f"{PLAIN} {self.goal}", "random": Player.RANDOM, "best": self.best}
        return names[who]

    def value(self, run: RunResults, who: str) -> float:
        """Return the figure of a player; NaN if it did not play."""
        player = self.player(who)
        return self.figure(run, player) if player in run.figures else _NAN

    def judged(self, run: RunResults) -> float:
        value = self.value(run, "ours")
        under = self.value(run, self.over) if self.over else 1.0
        return value / under if under else _NAN

    def verdict(self, runs: Sequence[RunResults]) -> str:
        """Return ``aim``, ``least`` or ``SHORT``, and a dash where nothing is judged."""
        value = present_mean([self.judged(run) for run in runs])
        if math.isnan(value) or self.least == (0, _MOST):
            return "-"
        best = present_mean([self.value(run, "best") for run in runs])
        for word, (low, high) in (("aim", self.aim), ("least", self.least)):
            if low <= value <= high or (self.or_best and value <= best):
                return word
        return "SHORT"


def _own(name: str) -> Callable[[RunResults, str], float]:
    return lambda run, player: float(getattr(run.figures[player], name))


def _starved(run: RunResults, player: str) -> float:
    return float(len(run.figures[player].starved))


def _lift(name: str) -> Callable[[RunResults, str], float]:
    return lambda run, player: float(getattr(run.lifts[player], name)) if player in run.lifts else _NAN


def _wait(run: RunResults, player: str) -> float:
    return run.longest_wait_s.get(player, _NAN)


def _speed(run: RunResults, player: str) -> float:
    return run.requests_per_s.get(player, _NAN)


_ANY = (0, _MOST)
_FARMS = ((0, FARM_LIMIT), (0, FARM_LIMIT))
_FEW = ((0, 0.05), (0, 0.05))
_HALF = ((0.5, _MOST), (0.5, _MOST))
_NO_WORSE = ((0, 1.0), (0, 1.0))
_REPEATED = _own("frequent_share")
_CONV = Player.CONVERSATION
ROWS = (
    Row("cost per lead, 2nd half; over plain", (0, 1.0), (0, 0.85), _own("cost_per_lead"), over=PLAIN),
    Row("cost per lead, all days; over plain", (0, 1.0), (0, 0.85), _own("cost_per_lead_whole"), over=PLAIN),
    Row("leads, 2nd half; of the best", (0.75, _MOST), (0.85, _MOST), _own("leads_last"), over=BEST),
    Row("cost per genuine conversation; over plain", *_NO_WORSE, _own("cost_per_genuine"), _CONV, PLAIN),
    Row("the same, all days", *_NO_WORSE, _own("cost_per_genuine_whole"), _CONV, PLAIN),
    Row("genuine conversations; of the best", _ANY, _ANY, _own("genuine_last"), _CONV, BEST),
    Row("spam share, Lead", _ANY, _ANY, _own("spam_share")),
    Row("spam share, Conversation", _ANY, _ANY, _own("spam_share"), _CONV),
    Row("predicted / true leads", (0.95, 1.05), (0.97, 1.03), _own("calibration")),
    Row("the same, late ad groups", (0.85, 1.15), (0.92, 1.08), _own("calibration_late")),
    Row("pacing error", (0, 0.01), (0, 0.006), _own("pacing_error")),
    Row("budget use", (0.99, 1.0001), (0.995, 1.0001), _own("budget_use")),
    Row("farms, Lead", *_FARMS, _own("farm_share"), or_best=True),
    Row("farms, Lead, first day", *_FARMS, _own("farm_first_day"), or_best=True),
    Row("farms, Lead, later", *_FARMS, _own("farm_later"), or_best=True),
    Row("farms, Conversation", *_FARMS, _own("farm_share"), _CONV, or_best=True),
    Row("farms, Conversation, first day", *_FARMS, _own("farm_first_day"), _CONV, or_best=True),
    Row("farms, Conversation, later", *_FARMS, _own("farm_later"), _CONV, or_best=True),
    Row("fifth or later views, Lead", *_FEW, _REPEATED, only_tiring=True),
    Row("fifth or later views, Conversation", *_FEW, _REPEATED, _CONV, only_tiring=True),
    Row("cost over cost target", (0, 1.05), (0, 1.05), _own("cost_over_target")),
    Row("results at target; of the best", *_HALF, _own("target_results"), over=BEST),
    Row("starved ad groups", (0, 0), (0, 0), _starved),
    Row("new ads, first two days; of the best", _ANY, _ANY, _own("cold_rate"), over=BEST),
    Row("lookalike lift, best 1 %", _ANY, _ANY, _lift("top_1")),
    Row("lookalike lift, best 5 %", _ANY, _ANY, _lift("top_5")),
    Row("lookalike spam ratio, best 5 %", _ANY, _ANY, _lift("spam")),
    Row("longest wait for a decision, s", (0, 0.05), (0, 0.05), _wait),
    Row("requests per second of CPU", (8_000, _MOST), (8_000, _MOST), _speed),
)  # fmt: skip
TARGET_COST = tuple(
    row
    for row in ROWS
    if row.name.startswith(("cost over", "results at", "predicted", "the same, late", "starved"))
)
MEAN_LIMIT = 0.80
"""The most that cost per lead may be over the plain learner's, on the mean of all worlds."""


def present_mean(values: Sequence[float]) -> float:
    """Return the mean of the values that are numbers."""
    numbers = [value for value in values if not math.isnan(value)]
    return mean(numbers) if numbers else _NAN


def show(values: Sequence[float]) -> str:
    """Return the mean and the spread of seeds as text."""
    numbers = [value for value in values if not math.isnan(value)]
    if not numbers:
        return ""
    if abs(mean(numbers)) >= 100:
        return f"{mean(numbers):,.0f}"
    return f"{mean(numbers):.3f}" + (f" ± {stdev(numbers):.3f}" if len(numbers) > 1 else "")


def show_bounds(span: tuple[float, float]) -> str:
    """Return bounds as text."""
    low, high = span
    if low == 0 and math.isinf(high):
        return ""
    if low == high:
        return f"{low:g}"
    if math.isinf(high):
        return f">= {low:g}"
    return f"<= {high:g}" if low <= 0 else f"{low:g}-{min(high, 1.0) if high < 1.001 else high:g}"
