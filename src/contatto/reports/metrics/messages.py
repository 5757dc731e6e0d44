"""Conversations and leads as columns of their own, whatever the goal is."""

from typing import Final

from contatto.reports.metrics.shares import cost_each, share
from contatto.reports.model import Metric, Unit

METRICS: Final = (
    Metric(
        "messaging_total_conversation_tiktok_direct_message",
        Unit.COUNT,
        "Conversations that an ad started, on the day of the touch that earned them.",
        lambda of: of.counts.conversations,
    ),
    Metric(
        "messaging_cost_per_conversation_tiktok_direct_message",
        Unit.MICROS,
        "Spend for each conversation.",
        lambda of: cost_each(of.counts.spend_micros, of.counts.conversations),
    ),
    Metric(
        "messaging_conversation_rate_tiktok_direct_message",
        Unit.SHARE,
        "Conversations of all clicks.",
        lambda of: share(of.counts.conversations, of.counts.clicks),
    ),
    Metric(
        "leads",
        Unit.COUNT,
        "Leads that an ad earned, by chat or form, on the day of the touch. An extension of ours.",
        lambda of: of.counts.leads,
    ),
    Metric(
        "cost_per_lead",
        Unit.MICROS,
        "Spend for each lead. An extension of ours.",
        lambda of: cost_each(of.counts.spend_micros, of.counts.leads),
    ),
)
