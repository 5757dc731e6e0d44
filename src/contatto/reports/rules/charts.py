"""The geometry of charts: where points, bars and shades lie, as numbers that a template draws.

A chart is a box of 1000 by 200 that is stretched to its place; its words stand beside it as HTML. So it fits
a phone, reads from right to left by turning the box, and needs no script.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from math import log10
from typing import Final

from contatto.reports.model import Counts

WIDTH: Final = 1000
HEIGHT: Final = 200
SHADES: Final = 5
LABELS: Final = 7
_STEPS: Final = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Line:
    """The values of a line as paths of an SVG: the line itself, and its points."""

    line: str
    points: str


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """A step of the funnel: how many came so far, and which share of the step before."""

    name: str
    count: int
    share: float | None
    width: float


def nice_top(highest: int) -> int:
    """The round number that a scale ends at: 1, 2 or 5 with zeros, not below the highest value."""
    power = 1
    while power * 10 < highest:
        power *= 10
    return next(step * power for step in _STEPS if step * power >= highest)


def points(values: Sequence[int], top: int) -> list[tuple[float, float]]:
    """Return where the values of a line lie: each in the middle of its slot, zero at the bottom."""
    slot = WIDTH / max(len(values), 1)
    return [
        (round(slot * (n + 0.5), 1), round(HEIGHT * (1 - value / top), 1)) for n, value in enumerate(values)
    ]


def draw_line(values: Sequence[int], top: int) -> Line:
    places = [f"{x} {y}" for x, y in points(values, top)]
    return Line("M" + "L".join(places), "".join(f"M{place}h.01" for place in places))


def bars(values: Sequence[int], top: int) -> list[Bar]:
    """A bar for each value; one that is there at all can be seen."""
    slot = WIDTH / max(len(values), 1)
    found: list[Bar] = []
    for n, value in enumerate(values):
        height = max(HEIGHT * value / top, 2.0) if value else 0.0
        place = (slot * (n + 0.15), HEIGHT - height, slot * 0.7, height)
        found.append(Bar(*(round(number, 1) for number in place)))
    return found


def label_every(count: int) -> int:
    """Every how many slots a label has room below the axis."""
    return max(1, -(-count // LABELS))


def funnel(counts: Counts) -> list[FunnelStep]:
    """From the ad that was seen to the lead that became a customer; widths are logarithmic, 0 to 100."""
    steps = {
        "impressions": counts.impressions,
        "clicks": counts.clicks,
        "conversations": counts.conversations,
        "leads": counts.leads,
        "qualified": counts.qualified,
        "converted": counts.converted,
    }
    most = max(steps.values())
    found: list[FunnelStep] = []
    before: int | None = None
    for name, count in steps.items():
        share = count / before if before else None
        found.append(FunnelStep(name, count, share, _width(count, most)))
        before = count
    return found


def _width(count: int, most: int) -> float:
    return round(100 * log10(count + 1) / log10(most + 1), 1) if count else 0.0


def shade(value: int, most: int) -> int:
    """Return how dark a cell is, from 0 for nothing to 5."""
    return 0 if not value or not most else max(1, -(-SHADES * value // most))


def by_weekday(hours: Mapping[str, int]) -> list[list[int]]:
    """Seven rows from Monday on, each with the sums of its 24 hours; hours are ``YYYY-MM-DD HH``."""
    found = [[0] * 24 for _ in range(7)]
    for hour, value in hours.items():
        found[date.fromisoformat(hour[:10]).weekday()][int(hour[11:])] += value
    return found
