"""Conversations, in direct messages and in other messaging apps, whatever the goal is."""

from typing import Final

from contatto.kit.i18n import N_
from contatto.reports.metrics.shares import clicks, cost_per, share_of
from contatto.reports.model import Figures, Metric, Unit


def _all(of: Figures) -> int:
    return of.counts.conversations


def _in_app(of: Figures) -> int:
    return of.counts.app_conversations


def _direct(of: Figures) -> int:
    return of.counts.conversations - of.counts.app_conversations


METRICS: Final = (
    Metric(
        "conversations",
        N_("Conversations"),
        Unit.COUNT,
        N_("Conversations credited to an ad, by the day of the credited click or view."),
        _all,
    ),
    Metric(
        "cost_per_conversation",
        N_("Cost per conversation"),
        Unit.MICROS,
        N_("Spend per conversation."),
        cost_per(_all),
    ),
    Metric(
        "conversation_rate",
        N_("Conversation rate"),
        Unit.SHARE,
        N_("Conversations per click."),
        share_of(_all, clicks),
    ),
    Metric(
        "real_time_conversations",
        N_("Real-time conversations"),
        Unit.COUNT,
        N_("Conversations credited to an ad, by the day they started."),
        lambda of: of.counts.rt_conversations,
    ),
    Metric(
        "messaging_total_conversation_tiktok_direct_message",
        N_("Direct-message conversations"),
        Unit.COUNT,
        N_(
            "Conversations in direct messages or the Contatto chat page, by the day of the credited "
            "click or view."
        ),
        _direct,
    ),
    Metric(
        "messaging_cost_per_conversation_tiktok_direct_message",
        N_("Cost per direct-message conversation"),
        Unit.MICROS,
        N_("Spend per direct-message conversation."),
        cost_per(_direct),
    ),
    Metric(
        "messaging_conversation_rate_tiktok_direct_message",
        N_("Direct-message conversation rate"),
        Unit.SHARE,
        N_("Direct-message conversations per click."),
        share_of(_direct, clicks),
    ),
    Metric(
        "messaging_total_conversation_instant_messaging_app",
        N_("Messaging-app conversations"),
        Unit.COUNT,
        N_("Conversations in another messaging app, by the day of the credited click or view."),
        _in_app,
    ),
    Metric(
        "messaging_cost_per_conversation_instant_messaging_app",
        N_("Cost per messaging-app conversation"),
        Unit.MICROS,
        N_("Spend per conversation in another messaging app."),
        cost_per(_in_app),
    ),
    Metric(
        "messaging_conversation_rate_instant_messaging_app",
        N_("Messaging-app conversation rate"),
        Unit.SHARE,
        N_("Conversations in another messaging app per click."),
        share_of(_in_app, clicks),
    ),
)
