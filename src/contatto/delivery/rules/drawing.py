"""The geometry of a model's curves: numbers that a template draws, in boxes of 1000 by 1000.

The boxes are stretched to their place and hold no words, as those of the report.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final

from contatto.delivery.model.foretold import Bin, LossOfDay

SIZE: Final = 1000
_STEPS: Final = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_LABELS: Final = 6


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was foretold (from the start of the line on) against what came (upwards), 0 to ``top``."""

    top: float
    line: str
    points: str
    intervals: str


@dataclass(frozen=True, slots=True)
class Losses:
    """Two lines by day between ``low`` and ``top``: the loss, and what the day's rate loses.

    ``labels`` are the days below the axis, "" where there is no room for one.
    """

    low: float
    top: float
    loss: str
    loss_points: str
    of_rate: str
    labels: tuple[str, ...]


def round_up(value: float) -> float:
    """The next number with one digit, or one and a half."""
    if value <= 0.0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in _STEPS if step * power >= value * (1.0 - 1e-9))


def draw_bins(bins: Sequence[Bin]) -> Calibration:
    """The curve of some bins; intervals that leave the box end at its edge."""
    top = min(round_up(1.05 * max((max(each.told, each.share) for each in bins), default=0.0)), 1.0)

    def across(share: float) -> float:
        return _scaled(share, 0.0, top)

    places = [(across(each.told), SIZE - across(each.share)) for each in bins]
    intervals = [
        f"M{across(each.told)} {SIZE - across(each.low)}V{SIZE - across(each.high)}" for each in bins
    ]
    return Calibration(top, _line(places), _points(places), "".join(intervals))


def draw_losses(days: Sequence[LossOfDay]) -> Losses:
    """The lines of some days, of which each has something that was foretold."""
    values = [value for day in days for value in (day.loss, day.of_rate)] or [0.0]
    step = round_up(max(max(values) - min(values), max(values) * 0.05) / 2.0)
    low = max(floor(min(values) / step) * step, 0.0)
    top = max(ceil(max(values) / step) * step, low + step)
    slot = SIZE / max(len(days), 1)
    every = max(1, -(-len(days) // _LABELS))
    across = [round(slot * (number + 0.5), 1) for number in range(len(days))]
    loss, of_rate = (
        [(x, round(SIZE - _scaled(value, low, top), 1)) for x, value in zip(across, some, strict=True)]
        for some in ([each.loss for each in days], [each.of_rate for each in days])
    )
    labels = tuple(each.day if number % every == 0 else "" for number, each in enumerate(days))
    return Losses(low, top, _line(loss), _points(loss), _line(of_rate), labels)


def _scaled(value: float, low: float, top: float) -> float:
    return round(SIZE * min(max((value - low) / (top - low), 0.0), 1.0), 1)


def _line(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in places) if places else ""


def _points(places: Sequence[tuple[float, float]]) -> str:
    return "".join(f"M{x} {y}h.01" for x, y in places)
