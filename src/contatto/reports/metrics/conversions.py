"""Conversions, which follow the goal of each ad group: leads for Lead, conversations for Conversation.

Over ad groups of both goals there is no such number: these metrics are then None.
"""

from typing import Final

from contatto.reports.metrics.shares import clicks, cost_per, impressions, share_of
from contatto.reports.model import Figures, Metric, Unit


def _made(of: Figures) -> int | None:
    return of.conversions


def _real_time(of: Figures) -> int | None:
    return of.rt_conversions


def _by_click(of: Figures) -> int | None:
    return of.conversions_by_click


def _by_view(of: Figures) -> int | None:
    return of.conversions_by_view


METRICS: Final = (
    Metric(
        "conversion",
        "Conversions",
        Unit.COUNT,
        "What the goal counts, leads or conversations, on the day of the touch that earned them.",
        _made,
    ),
    Metric(
        "cost_per_conversion",
        "Cost per conversion",
        Unit.MICROS,
        "Spend for each conversion, rounded down.",
        cost_per(_made),
    ),
    Metric(
        "conversion_rate_v2",
        "Conversion rate (impressions)",
        Unit.SHARE,
        "Conversions of all impressions.",
        share_of(_made, impressions),
    ),
    Metric(
        "conversion_rate",
        "Conversion rate (clicks)",
        Unit.SHARE,
        "Conversions of all clicks.",
        share_of(_made, clicks),
    ),
    Metric("result", "Results", Unit.COUNT, "The same as conversion.", _made),
    Metric(
        "cost_per_result", "Cost per result", Unit.MICROS, "The same as cost_per_conversion.", cost_per(_made)
    ),
    Metric(
        "result_rate",
        "Result rate",
        Unit.SHARE,
        "The same as conversion_rate_v2.",
        share_of(_made, impressions),
    ),
    Metric(
        "real_time_conversion",
        "Conversions, own day",
        Unit.COUNT,
        "What the goal counts, on the day of the conversion itself.",
        _real_time,
    ),
    Metric(
        "real_time_cost_per_conversion",
        "Cost per conversion, own day",
        Unit.MICROS,
        "Spend for each conversion of the same day.",
        cost_per(_real_time),
    ),
    Metric(
        "real_time_conversion_rate_v2",
        "Conversion rate (impressions), own day",
        Unit.SHARE,
        "Conversions of the same day of all impressions.",
        share_of(_real_time, impressions),
    ),
    Metric(
        "real_time_conversion_rate",
        "Conversion rate (clicks), own day",
        Unit.SHARE,
        "Conversions of the same day of all clicks.",
        share_of(_real_time, clicks),
    ),
    Metric(
        "real_time_result",
        "Results, own day",
        Unit.COUNT,
        "The same as real_time_conversion.",
        _real_time,
    ),
    Metric(
        "real_time_cost_per_result",
        "Cost per result, own day",
        Unit.MICROS,
        "The same as real_time_cost_per_conversion.",
        cost_per(_real_time),
    ),
    Metric(
        "real_time_result_rate",
        "Result rate, own day",
        Unit.SHARE,
        "The same as real_time_conversion_rate_v2.",
        share_of(_real_time, impressions),
    ),
    Metric(
        "cta_conversion",
        "Click-through conversions",
        Unit.COUNT,
        "Conversions that a click earned.",
        _by_click,
    ),
    Metric(
        "cost_per_cta_conversion",
        "Cost per click-through conversion",
        Unit.MICROS,
        "Spend for each conversion that a click earned.",
        cost_per(_by_click),
    ),
    Metric(
        "vta_conversion",
        "View-through conversions",
        Unit.COUNT,
        "Conversions that a view earned, since there was no click.",
        _by_view,
    ),
    Metric(
        "cost_per_vta_conversion",
        "Cost per view-through conversion",
        Unit.MICROS,
        "Spend for each conversion that a view earned.",
        cost_per(_by_view),
    ),
)
