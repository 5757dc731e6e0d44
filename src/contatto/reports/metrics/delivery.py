"""Spend, impressions, clicks and what they cost."""

from typing import Final

from contatto.reports.metrics.shares import clicks, cost_each, cost_per, impressions, share, share_of
from contatto.reports.model import Metric, Unit

METRICS: Final = (
    Metric(
        "spend",
        "Spend",
        Unit.MICROS,
        "What was charged for views and clicks.",
        lambda of: of.counts.spend_micros,
    ),
    Metric("impressions", "Impressions", Unit.COUNT, "How often ads were seen.", impressions),
    Metric("clicks", "Clicks", Unit.COUNT, "How often ads were tapped.", clicks),
    Metric("ctr", "CTR", Unit.SHARE, "Clicks of all impressions.", share_of(clicks, impressions)),
    Metric("cpc", "CPC", Unit.MICROS, "Spend for each click.", cost_per(clicks)),
    Metric(
        "cpm",
        "CPM",
        Unit.MICROS,
        "Spend for a thousand impressions.",
        lambda of: cost_each(of.counts.spend_micros * 1000, of.counts.impressions),
    ),
    Metric(
        "reach",
        "Reach",
        Unit.COUNT,
        "How many persons saw ads; someone who saw several of them counts once.",
        lambda of: of.reach,
    ),
    Metric(
        "cost_per_1000_reached",
        "Cost per 1,000 reached",
        Unit.MICROS,
        "Spend for a thousand persons who saw ads.",
        lambda of: cost_each(of.counts.spend_micros * 1000, of.reach),
    ),
    Metric(
        "frequency",
        "Frequency",
        Unit.RATIO,
        "Impressions for each person who saw ads.",
        lambda of: share(of.counts.impressions, of.reach),
    ),
)
