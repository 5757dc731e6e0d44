"""Conversions, which follow the goal of each ad group: leads for Lead, conversations for Conversation.

Over ad groups of both goals there is no such number: these metrics are then None.
"""

from typing import Final

from contatto.reports.metrics.shares import cost_each, share
from contatto.reports.model import Figures, Metric, Unit, Value


def _cost(of: Figures) -> Value:
    return cost_each(of.counts.spend_micros, of.conversions)


def _rate(of: Figures) -> Value:
    return share(of.conversions, of.counts.impressions)


METRICS: Final = (
    Metric(
        "conversion", Unit.COUNT, "What the goal counts, on the day of the touch.", lambda of: of.conversions
    ),
    Metric("cost_per_conversion", Unit.MICROS, "Spend for each conversion.", _cost),
    Metric("conversion_rate_v2", Unit.SHARE, "Conversions of all impressions.", _rate),
    Metric(
        "conversion_rate",
        Unit.SHARE,
        "Conversions of all clicks.",
        lambda of: share(of.conversions, of.counts.clicks),
    ),
    Metric("result", Unit.COUNT, "The same as conversion.", lambda of: of.conversions),
    Metric("cost_per_result", Unit.MICROS, "The same as cost_per_conversion.", _cost),
    Metric("result_rate", Unit.SHARE, "The same as conversion_rate_v2.", _rate),
    Metric(
        "real_time_conversion",
        Unit.COUNT,
        "What the goal counts, on the day of the conversion itself.",
        lambda of: of.rt_conversions,
    ),
    Metric(
        "real_time_cost_per_conversion",
        Unit.MICROS,
        "Spend for each conversion of the same day.",
        lambda of: cost_each(of.counts.spend_micros, of.rt_conversions),
    ),
    Metric(
        "real_time_conversion_rate_v2",
        Unit.SHARE,
        "Conversions of the same day of all impressions.",
        lambda of: share(of.rt_conversions, of.counts.impressions),
    ),
)
