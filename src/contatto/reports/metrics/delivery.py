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
        N_("What was charged for views and clicks."),
        lambda of: of.counts.spend_micros,
    ),
    Metric("impressions", N_("Impressions"), Unit.COUNT, N_("How often ads were seen."), impressions),
    Metric("clicks", N_("Clicks"), Unit.COUNT, N_("How often ads were tapped."), clicks),
    Metric("ctr", N_("CTR"), Unit.SHARE, N_("Clicks of all impressions."), share_of(clicks, impressions)),
    Metric("cpc", N_("CPC"), Unit.MICROS, N_("Spend for each click."), cost_per(clicks)),
    Metric(
        "cpm",
        N_("CPM"),
        Unit.MICROS,
        N_("Spend for a thousand impressions."),
        lambda of: cost_each(of.counts.spend_micros * 1000, of.counts.impressions),
    ),
    Metric(
        "reach",
        N_("Reach"),
        Unit.COUNT,
        N_("How many persons saw ads; someone who saw several of them counts once."),
        lambda of: of.reach,
    ),
    Metric(
        "cost_per_1000_reached",
        N_("Cost per 1,000 reached"),
        Unit.MICROS,
        N_("Spend for a thousand persons who saw ads."),
        lambda of: cost_each(of.counts.spend_micros * 1000, of.reach),
    ),
    Metric(
        "frequency",
        N_("Frequency"),
        Unit.RATIO,
        N_("Impressions for each person who saw ads."),
        lambda of: share(of.counts.impressions, of.reach),
    ),
)
