"""Conversions, which follow the goal of each ad group: leads for Lead, conversations for Conversation.

Over ad groups of both goals there is no such number: these metrics are then None.
"""

from typing import Final

from contatto.kit.i18n import N_
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
        N_("Conversions"),
        Unit.COUNT,
        N_("Leads or conversations, depending on the goal, by the day of the credited click or view."),
        _made,
    ),
    Metric(
        "cost_per_conversion",
        N_("Cost per conversion"),
        Unit.MICROS,
        N_("Spend per conversion, rounded down."),
        cost_per(_made),
    ),
    Metric(
        "conversion_rate_v2",
        N_("Conversion rate (impressions)"),
        Unit.SHARE,
        N_("Conversions per impression."),
        share_of(_made, impressions),
    ),
    Metric(
        "conversion_rate",
        N_("Conversion rate (clicks)"),
        Unit.SHARE,
        N_("Conversions per click."),
        share_of(_made, clicks),
    ),
    Metric("result", N_("Results"), Unit.COUNT, N_("The same as conversion."), _made),
    Metric(
        "cost_per_result",
        N_("Cost per result"),
        Unit.MICROS,
        N_("The same as cost_per_conversion."),
        cost_per(_made),
    ),
    Metric(
        "result_rate",
        N_("Result rate"),
        Unit.SHARE,
        N_("The same as conversion_rate_v2."),
        share_of(_made, impressions),
    ),
    Metric(
        "real_time_conversion",
        N_("Real-time conversions"),
        Unit.COUNT,
        N_("Leads or conversations, depending on the goal, by the day of the conversion."),
        _real_time,
    ),
    Metric(
        "real_time_cost_per_conversion",
        N_("Real-time cost per conversion"),
        Unit.MICROS,
        N_("Spend per conversion of the same day."),
        cost_per(_real_time),
    ),
    Metric(
        "real_time_conversion_rate_v2",
        N_("Real-time conversion rate (impressions)"),
        Unit.SHARE,
        N_("Conversions of the same day per impression."),
        share_of(_real_time, impressions),
    ),
    Metric(
        "real_time_conversion_rate",
        N_("Real-time conversion rate (clicks)"),
        Unit.SHARE,
        N_("Conversions of the same day per click."),
        share_of(_real_time, clicks),
    ),
    Metric(
        "real_time_result",
        N_("Real-time results"),
        Unit.COUNT,
        N_("The same as real_time_conversion."),
        _real_time,
    ),
    Metric(
        "real_time_cost_per_result",
        N_("Real-time cost per result"),
        Unit.MICROS,
        N_("The same as real_time_cost_per_conversion."),
        cost_per(_real_time),
    ),
    Metric(
        "real_time_result_rate",
        N_("Real-time result rate"),
        Unit.SHARE,
        N_("The same as real_time_conversion_rate_v2."),
        share_of(_real_time, impressions),
    ),
    Metric(
        "cta_conversion",
        N_("Click-through conversions"),
        Unit.COUNT,
        N_("Conversions credited to a click."),
        _by_click,
    ),
    Metric(
        "cost_per_cta_conversion",
        N_("Cost per click-through conversion"),
        Unit.MICROS,
        N_("Spend per click-through conversion."),
        cost_per(_by_click),
    ),
    Metric(
        "vta_conversion",
        N_("View-through conversions"),
        Unit.COUNT,
        N_("Conversions credited to a view because there was no click."),
        _by_view,
    ),
    Metric(
        "cost_per_vta_conversion",
        N_("Cost per view-through conversion"),
        Unit.MICROS,
        N_("Spend per view-through conversion."),
        cost_per(_by_view),
    ),
)
