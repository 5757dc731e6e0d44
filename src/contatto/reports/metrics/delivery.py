"""Spend, impressions, clicks and what they cost."""

from typing import Final

from contatto.kit.i18n import N_
from contatto.reports.metrics.shares import clicks, cost_each, cost_per, impressions, share, share_of
from contatto.reports.model import Metric, Unit

METRICS: Final = (
    Metric(
        "spend",
        N_("Spend"),
        Unit.MICROS,
        N_("Amount charged for impressions and clicks."),
        lambda of: of.counts.spend_micros,
    ),
    Metric("impressions", N_("Impressions"), Unit.COUNT, N_("Number of times ads were shown."), impressions),
    Metric("clicks", N_("Clicks"), Unit.COUNT, N_("Number of clicks on ads."), clicks),
    Metric("ctr", N_("CTR"), Unit.SHARE, N_("Clicks per impression."), share_of(clicks, impressions)),
    Metric("cpc", N_("CPC"), Unit.MICROS, N_("Spend per click."), cost_per(clicks)),
    Metric(
        "cpm",
        N_("CPM"),
        Unit.MICROS,
        N_("Spend per 1,000 impressions."),
        lambda of: cost_each(of.counts.spend_micros * 1000, of.counts.impressions),
    ),
    Metric(
        "reach",
        N_("Reach"),
        Unit.COUNT,
        N_("Number of people who saw ads. Each person counts once."),
        lambda of: of.reach,
    ),
    Metric(
        "cost_per_1000_reached",
        N_("Cost per 1,000 reached"),
        Unit.MICROS,
        N_("Spend per 1,000 people reached."),
        lambda of: cost_each(of.counts.spend_micros * 1000, of.reach),
    ),
    Metric(
        "frequency",
        N_("Frequency"),
        Unit.RATIO,
        N_("Impressions per person reached."),
        lambda of: share(of.counts.impressions, of.reach),
    ),
)
