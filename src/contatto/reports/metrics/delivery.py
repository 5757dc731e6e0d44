"""Spend, impressions, clicks and what they cost."""

from typing import Final

from contatto.reports.metrics.shares import cost_each, share
from contatto.reports.model import Metric, Unit

METRICS: Final = (
    Metric("spend", Unit.MICROS, "What was charged for views and clicks.", lambda of: of.counts.spend_micros),
    Metric("impressions", Unit.COUNT, "How often ads were seen.", lambda of: of.counts.impressions),
    Metric("clicks", Unit.COUNT, "How often ads were tapped.", lambda of: of.counts.clicks),
    Metric(
        "ctr",
        Unit.SHARE,
        "Clicks of all impressions.",
        lambda of: share(of.counts.clicks, of.counts.impressions),
    ),
    Metric(
        "cpc",
        Unit.MICROS,
        "Spend for each click.",
        lambda of: cost_each(of.counts.spend_micros, of.counts.clicks),
    ),
    Metric(
        "cpm",
        Unit.MICROS,
        "Spend for a thousand impressions.",
        lambda of: cost_each(of.counts.spend_micros * 1000, of.counts.impressions),
    ),
    Metric("reach", Unit.COUNT, "How many persons saw ads.", lambda of: of.reach),
    Metric(
        "frequency",
        Unit.RATIO,
        "Impressions for each person who saw ads.",
        lambda of: share(of.counts.impressions, of.reach or 0),
    ),
)
