"""Metrics of reports as data: name, title, unit, description, and formula.

Costs round down to a micro, shares are exact decimals, and a division by zero has no value. Conversions
follow the goal of each ad group: leads or conversations. Over both goals they are None.
"""

from collections.abc import Callable
from decimal import Decimal
from operator import attrgetter
from typing import Final

from contatto.kit.i18n import N_
from contatto.reports.model import Figures, Metric, Unit, Value

type Count = Callable[[Figures], int | None]


def cost_each(spend_micros: int, count: int | None) -> int | None:
    """Return the cost per item, rounded down; None for zero items."""
    return spend_micros // count if count else None


def share(part: int | None, whole: int | None) -> Decimal | None:
    """Return a part of a whole, 0 to 1; None for a whole of zero."""
    return None if part is None or not whole else Decimal(part) / Decimal(whole)


def cost_per(count: Count) -> Callable[[Figures], Value]:
    return lambda figures: cost_each(figures.counts.spend_micros, count(figures))


def share_of(part: Count, whole: Count) -> Callable[[Figures], Value]:
    return lambda figures: share(part(figures), whole(figures))


_IMPRESSIONS: Final[Count] = attrgetter("counts.impressions")
_CLICKS: Final[Count] = attrgetter("counts.clicks")
_CONVERSIONS: Final[Count] = attrgetter("conversions")
_RT_CONVERSIONS: Final[Count] = attrgetter("rt_conversions")
_BY_CLICK: Final[Count] = attrgetter("conversions_by_click")
_BY_VIEW: Final[Count] = attrgetter("conversions_by_view")
_CONVERSATIONS: Final[Count] = attrgetter("counts.conversations")
_APP_CONVERSATIONS: Final[Count] = attrgetter("counts.app_conversations")
_LEADS: Final[Count] = attrgetter("counts.leads")
_FORM_LEADS: Final[Count] = attrgetter("counts.form_leads")
_QUALIFIED: Final[Count] = attrgetter("counts.qualified")
_CONVERTED: Final[Count] = attrgetter("counts.converted")


def _direct_messages(figures: Figures) -> int:
    return figures.counts.conversations - figures.counts.app_conversations


DELIVERY: Final = (
    Metric("spend", N_("Spend"), Unit.MICROS, N_("Amount charged for impressions and clicks."),
           attrgetter("counts.spend_micros")),
    Metric("impressions", N_("Impressions"), Unit.COUNT, N_("Number of times ads were shown."), _IMPRESSIONS),
    Metric("clicks", N_("Clicks"), Unit.COUNT, N_("Number of clicks on ads."), _CLICKS),
    Metric("ctr", N_("CTR"), Unit.SHARE, N_("Clicks per impression."), share_of(_CLICKS, _IMPRESSIONS)),
    Metric("cpc", N_("CPC"), Unit.MICROS, N_("Spend per click."), cost_per(_CLICKS)),
    Metric("cpm", N_("CPM"), Unit.MICROS, N_("Spend per 1,000 impressions."),
           lambda figures: cost_each(figures.counts.spend_micros * 1000, figures.counts.impressions)),
    Metric("reach", N_("Reach"), Unit.COUNT, N_("Number of people who saw ads. Each person counts once."),
           attrgetter("reach")),
    Metric("cost_per_1000_reached", N_("Cost per 1,000 reached"), Unit.MICROS,
           N_("Spend per 1,000 people reached."),
           lambda figures: cost_each(figures.counts.spend_micros * 1000, figures.reach)),
    Metric("frequency", N_("Frequency"), Unit.RATIO, N_("Impressions per person reached."),
           lambda figures: share(figures.counts.impressions, figures.reach)),
)  # fmt: skip
CONVERSIONS: Final = (
    Metric("conversion", N_("Conversions"), Unit.COUNT,
           N_("Leads or conversations, depending on the goal, by the day of the credited click or view."),
           _CONVERSIONS),
    Metric("cost_per_conversion", N_("Cost per conversion"), Unit.MICROS,
           N_("Spend per conversion, rounded down."), cost_per(_CONVERSIONS)),
    Metric("conversion_rate_v2", N_("Conversion rate (impressions)"), Unit.SHARE,
           N_("Conversions per impression."), share_of(_CONVERSIONS, _IMPRESSIONS)),
    Metric("conversion_rate", N_("Conversion rate (clicks)"), Unit.SHARE, N_("Conversions per click."),
           share_of(_CONVERSIONS, _CLICKS)),
    Metric("result", N_("Results"), Unit.COUNT, N_("The same as conversion."), _CONVERSIONS),
    Metric("cost_per_result", N_("Cost per result"), Unit.MICROS, N_("The same as cost_per_conversion."),
           cost_per(_CONVERSIONS)),
    Metric("result_rate", N_("Result rate"), Unit.SHARE, N_("The same as conversion_rate_v2."),
           share_of(_CONVERSIONS, _IMPRESSIONS)),
    Metric("real_time_conversion", N_("Real-time conversions"), Unit.COUNT,
           N_("Leads or conversations, depending on the goal, by the day of the conversion."),
           _RT_CONVERSIONS),
    Metric("real_time_cost_per_conversion", N_("Real-time cost per conversion"), Unit.MICROS,
           N_("Spend per conversion of the same day."), cost_per(_RT_CONVERSIONS)),
    Metric("real_time_conversion_rate_v2", N_("Real-time conversion rate (impressions)"), Unit.SHARE,
           N_("Conversions of the same day per impression."), share_of(_RT_CONVERSIONS, _IMPRESSIONS)),
    Metric("real_time_conversion_rate", N_("Real-time conversion rate (clicks)"), Unit.SHARE,
           N_("Conversions of the same day per click."), share_of(_RT_CONVERSIONS, _CLICKS)),
    Metric("real_time_result", N_("Real-time results"), Unit.COUNT, N_("The same as real_time_conversion."),
           _RT_CONVERSIONS),
    Metric("real_time_cost_per_result", N_("Real-time cost per result"), Unit.MICROS,
           N_("The same as real_time_cost_per_conversion."), cost_per(_RT_CONVERSIONS)),
    Metric("real_time_result_rate", N_("Real-time result rate"), Unit.SHARE,
           N_("The same as real_time_conversion_rate_v2."), share_of(_RT_CONVERSIONS, _IMPRESSIONS)),
    Metric("cta_conversion", N_("Click-through conversions"), Unit.COUNT,
           N_("Conversions credited to a click."), _BY_CLICK),
    Metric("cost_per_cta_conversion", N_("Cost per click-through conversion"), Unit.MICROS,
           N_("Spend per click-through conversion."), cost_per(_BY_CLICK)),
    Metric("vta_conversion", N_("View-through conversions"), Unit.COUNT,
           N_("Conversions credited to a view because there was no click."), _BY_VIEW),
    Metric("cost_per_vta_conversion", N_("Cost per view-through conversion"), Unit.MICROS,
           N_("Spend per view-through conversion."), cost_per(_BY_VIEW)),
)  # fmt: skip
MESSAGES: Final = (
    Metric("conversations", N_("Conversations"), Unit.COUNT,
           N_("Conversations credited to an ad, by the day of the credited click or view."), _CONVERSATIONS),
    Metric("cost_per_conversation", N_("Cost per conversation"), Unit.MICROS, N_("Spend per conversation."),
           cost_per(_CONVERSATIONS)),
    Metric("conversation_rate", N_("Conversation rate"), Unit.SHARE, N_("Conversations per click."),
           share_of(_CONVERSATIONS, _CLICKS)),
    Metric("real_time_conversations", N_("Real-time conversations"), Unit.COUNT,
           N_("Conversations credited to an ad, by the day they started."),
           attrgetter("counts.rt_conversations")),
    Metric("messaging_total_conversation_tiktok_direct_message", N_("Direct-message conversations"),
           Unit.COUNT,
           N_("Conversations in direct messages or the Contatto chat page, by the day of the "
              "credited click or view."), _direct_messages),
    Metric("messaging_cost_per_conversation_tiktok_direct_message",
           N_("Cost per direct-message conversation"), Unit.MICROS,
           N_("Spend per direct-message conversation."), cost_per(_direct_messages)),
    Metric("messaging_conversation_rate_tiktok_direct_message", N_("Direct-message conversation rate"),
           Unit.SHARE, N_("Direct-message conversations per click."), share_of(_direct_messages, _CLICKS)),
    Metric("messaging_total_conversation_instant_messaging_app", N_("Messaging-app conversations"),
           Unit.COUNT,
           N_("Conversations in another messaging app, by the day of the credited click or view."),
           _APP_CONVERSATIONS),
    Metric("messaging_cost_per_conversation_instant_messaging_app", N_("Cost per messaging-app conversation"),
           Unit.MICROS, N_("Spend per conversation in another messaging app."), cost_per(_APP_CONVERSATIONS)),
    Metric("messaging_conversation_rate_instant_messaging_app", N_("Messaging-app conversation rate"),
           Unit.SHARE, N_("Conversations in another messaging app per click."),
           share_of(_APP_CONVERSATIONS, _CLICKS)),
)  # fmt: skip
LEADS: Final = (
    Metric("leads", N_("Leads"), Unit.COUNT,
           N_("Leads credited to an ad, by the day of the credited click or view."), _LEADS),
    Metric("cost_per_lead", N_("Cost per lead"), Unit.MICROS, N_("Spend per lead."), cost_per(_LEADS)),
    Metric("lead_rate", N_("Lead rate"), Unit.SHARE, N_("Leads per conversation."),
           share_of(_LEADS, _CONVERSATIONS)),
    Metric("real_time_leads", N_("Real-time leads"), Unit.COUNT,
           N_("Leads credited to an ad, by the day they were captured."), attrgetter("counts.rt_leads")),
    Metric("onsite_form", N_("Form leads"), Unit.COUNT,
           N_("Leads from the instant form, by the day of the credited click or view."), _FORM_LEADS),
    Metric("onsite_form_rate", N_("Form lead rate"), Unit.SHARE, N_("Form leads per click."),
           share_of(_FORM_LEADS, _CLICKS)),
    Metric("cost_per_onsite_form", N_("Cost per form lead"), Unit.MICROS, N_("Spend per form lead."),
           cost_per(_FORM_LEADS)),
    Metric("onsite_total_filtered_out_form_submission", N_("Rejected forms"), Unit.COUNT,
           N_("Forms rejected after they were saved. Always 0, because spam is refused at once."),
           lambda _: 0),
    Metric("chat_leads", N_("Chat leads"), Unit.COUNT, N_("Leads with contact details found in the chat."),
           lambda figures: figures.counts.leads - figures.counts.form_leads - figures.counts.manual_leads),
    Metric("manual_leads", N_("Manual leads"), Unit.COUNT, N_("Leads marked by a member."),
           attrgetter("counts.manual_leads")),
    Metric("qualified_leads", N_("Qualified leads"), Unit.COUNT,
           N_("Leads that are currently qualified or converted, by the day of the credited click or view."),
           _QUALIFIED),
    Metric("cost_per_qualified_lead", N_("Cost per qualified lead"), Unit.MICROS,
           N_("Spend per qualified lead."), cost_per(_QUALIFIED)),
    Metric("qualified_rate", N_("Qualified rate"), Unit.SHARE, N_("Share of leads that are qualified."),
           share_of(_QUALIFIED, _LEADS)),
    Metric("converted_leads", N_("Converted leads"), Unit.COUNT,
           N_("Leads that are currently converted, by the day of the credited click or view."), _CONVERTED),
    Metric("cost_per_converted_lead", N_("Cost per converted lead"), Unit.MICROS,
           N_("Spend per converted lead."), cost_per(_CONVERTED)),
    Metric("converted_rate", N_("Converted rate"), Unit.SHARE, N_("Share of leads that are converted."),
           share_of(_CONVERTED, _LEADS)),
)  # fmt: skip

METRICS: Final[dict[str, Metric]] = {
    metric.name: metric for metric in (*DELIVERY, *CONVERSIONS, *MESSAGES, *LEADS)
}
