"""Metrics as text and as comparable numbers, in the units of the API: money in units, shares in percent."""

from decimal import Decimal
from typing import Final

from contatto.kit.numbers import to_units
from contatto.reports.metrics import conversions
from contatto.reports.model import Figures, Metric, Unit, Value

NO_VALUE: Final = "-"
"""What stands for a number that does not exist, such as the conversions of unlike goals together."""
NOTHING: Final = "0.00"
"""What the API says for a cost or a rate where there is nothing to divide by."""
NEED_REACH: Final = frozenset({"reach", "cost_per_1000_reached", "frequency"})
"""What can only be told from the persons themselves, and not added up."""
FOLLOW_GOAL: Final = frozenset(metric.name for metric in conversions.METRICS)


def metric_number(metric: Metric, figures: Figures) -> Decimal | None:
    """A metric's value in the API's unit; None where there is none."""
    value = metric.value(figures)
    if value is None:
        return None
    if metric.unit is Unit.MICROS:
        return to_units(int(value))
    return Decimal(value) * 100 if metric.unit is Unit.SHARE else Decimal(value)


def metric_text(metric: Metric, figures: Figures) -> str:
    """A metric as the API writes it: always a text."""
    value = metric.value(figures)
    if value is None:
        mixed = figures.mixed_goals and metric.name in FOLLOW_GOAL
        return NO_VALUE if mixed or (metric.name in NEED_REACH and figures.reach is None) else NOTHING
    return _text(metric.unit, value)


def value_text(unit: Unit, value: Value) -> str:
    """A value as a file has it: a plain number; nothing where there is none."""
    return "" if value is None else _text(unit, value)


def _text(unit: Unit, value: Value) -> str:
    if unit is Unit.MICROS:
        return amount_text(int(value or 0))
    if unit is Unit.RATIO:
        return f"{Decimal(value or 0):.2f}"
    return f"{Decimal(value or 0) * 100:.2f}" if unit is Unit.SHARE else str(value)


def amount_text(amount_micros: int) -> str:
    """Micros as units, exact, with two decimals or more."""
    whole, _, part = f"{to_units(amount_micros):.6f}".partition(".")
    return f"{whole}.{part.rstrip('0').ljust(2, '0')}"
