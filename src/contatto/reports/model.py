"""Facts, rows and metrics of reports, and their queries."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from operator import add, attrgetter
from typing import Final

from contatto.kit.i18n import N_
from contatto.measurement.model import Goal


class Level(StrEnum):
    """Level of the rows of a report; a page is the instant form of ads."""

    AD_ACCOUNT = "ad_account"
    PAGE = "page"
    GOAL = "goal"
    CAMPAIGN = "campaign"
    AD_GROUP = "ad_group"
    AD = "ad"


class Grain(StrEnum):
    """Granularity of precomputed counts; each serves one query with few rows."""

    AD_DAY = "ad_day"
    AD_COUNTRY_DAY = "ad_country_day"
    GROUP_COUNTRY_DAY = "group_country_day"
    GROUP_HOUR = "group_hour"
    ACCOUNT_HOUR = "account_hour"


class TimeStep(StrEnum):
    """Time step of a report: one row for the whole span, or one per day or hour."""

    WHOLE = "whole"
    DAY = "day"
    HOUR = "hour"


@dataclass(frozen=True, slots=True)
class DayRange:
    """Days in the ad account's zone, ``YYYY-MM-DD``, both included; None for no limit."""

    first: str | None = None
    last: str | None = None

    def holds(self, day: str) -> bool:
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts that can be added up.

    The ``rt_`` ("real-time") counts fall on the day of the conversion, all others on the day of the touch.
    ``_by_view`` are those that are credited to a view. ``form_leads`` come from the instant form,
    ``manual_leads`` from a member's mark, the others from chat. ``qualified`` leads are qualified or
    converted now. ``app_conversations`` are the conversations that began in another messaging app.
    """

    spend_micros: int = 0
    impressions: int = 0
    clicks: int = 0
    conversations: int = 0
    leads: int = 0
    rt_conversations: int = 0
    rt_leads: int = 0
    conversations_by_view: int = 0
    leads_by_view: int = 0
    form_leads: int = 0
    manual_leads: int = 0
    qualified: int = 0
    converted: int = 0
    app_conversations: int = 0

    def __add__(self, counts: "Counts") -> "Counts":
        return Counts(*map(add, values_of(self), values_of(counts)))


COUNTED: Final = tuple(Counts.__dataclass_fields__)
"""The names of all counts, in their order."""
STORED: Final = tuple(name for name in COUNTED if name != "app_conversations")
"""Counts that are stored; ``app_conversations`` follow from the ads."""
values_of: Final = attrgetter(*COUNTED)


def sum_counts[K](keyed_counts: Iterable[tuple[K, Counts]]) -> dict[K, Counts]:
    """Add up counts by their keys, several times as fast as one after another."""
    grouped: defaultdict[K, list[tuple[int, ...]]] = defaultdict(list)
    for key, counts in keyed_counts:
        grouped[key].append(values_of(counts))
    return {key: Counts(*map(sum, zip(*values, strict=True))) for key, values in grouped.items()}


@dataclass(frozen=True, slots=True)
class Fact:
    """Counts of one ad by day or hour, country and placement.

    ``day`` is empty, ``YYYY-MM-DD`` or ``YYYY-MM-DD HH``, depending on the step of the report. ``country`` is
    empty where it is unknown or not part of the query. In facts of placements ``ad_id`` is an ad group's id.
    """

    ad_id: str
    day: str
    counts: Counts
    country: str = ""
    placement: str = ""


@dataclass(frozen=True, slots=True)
class ReachQuery:
    """Rows of a report to count persons for; ``ad_ids`` is None for all ads."""

    level: Level
    step: TimeStep = TimeStep.WHOLE
    by_country: bool = False
    ad_ids: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts with the goals of their ad groups.

    ``reach`` is the number of persons who saw the ads; None if not counted. It does not add up,
    because the same person may be in several rows.
    """

    counts: Counts
    goals: frozenset[Goal]
    reach: int | None = None

    @property
    def mixed_goals(self) -> bool:
        """Report whether conversions of both kinds are included, which must not be added up."""
        return len(self.goals) > 1

    @property
    def goal(self) -> Goal | None:
        """The only goal; None for both or none."""
        return next(iter(self.goals)) if len(self.goals) == 1 else None

    @property
    def conversions(self) -> int | None:
        """Leads or conversations, depending on the goal; None over mixed goals."""
        return self.count("conversions")

    def count(self, name: str) -> int | None:
        """Return a count by its name; None over mixed goals if it follows the goal; 0 for an empty name."""
        if name in REMAINDERS:
            whole, *parts = (self.count(part) for part in REMAINDERS[name])
            return None if whole is None else whole - sum(part or 0 for part in parts)
        if name in BY_GOAL:
            leads, conversations = BY_GOAL[name]
            if self.mixed_goals:
                return None
            name = leads if Goal.LEAD in self.goals else conversations
        if name == "reach":
            return self.reach
        return getattr(self.counts, name) if name else 0


BY_GOAL: Final = {
    "conversions": ("leads", "conversations"),
    "conversions_by_view": ("leads_by_view", "conversations_by_view"),
    "rt_conversions": ("rt_leads", "rt_conversations"),
}
"""Counts that follow the goal: of leads, or of conversations."""
REMAINDERS: Final = {
    "conversions_by_click": ("conversions", "conversions_by_view"),
    "direct_messages": ("conversations", "app_conversations"),
    "chat_leads": ("leads", "form_leads", "manual_leads"),
}
"""Counts that are the rest of the first one without the others."""


def total_of(figures: Iterable[Figures]) -> Figures:
    counts, goals = Counts(), frozenset[Goal]()
    for row_figures in figures:
        counts, goals = counts + row_figures.counts, goals | row_figures.goals
    return Figures(counts, goals)


class Unit(StrEnum):
    """Unit of a metric: a number, micros of money, a share from 0 to 1, or a ratio."""

    COUNT = "count"
    MICROS = "micros"
    SHARE = "share"
    RATIO = "ratio"


type Value = int | Decimal | None


@dataclass(frozen=True, slots=True)
class Metric:
    """Metric as data: names, unit, description, and ``count``, or the quotient of ``count`` and ``per``."""

    name: str
    title: str
    unit: Unit
    description: str
    count: str
    per: str = ""
    factor: int = 1

    def value(self, figures: Figures) -> Value:
        """Return the value; a cost is rounded down, and None is the value of a quotient by zero."""
        count = figures.count(self.count)
        if not self.per:
            return count
        base = figures.count(self.per)
        if self.unit is Unit.MICROS:
            return (count or 0) * self.factor // base if base else None
        return None if count is None or not base else Decimal(count) / Decimal(base)


@dataclass(frozen=True, slots=True)
class Subject:
    """Subject of a row, such as a campaign; numbers are the API's ids, 0 if unset."""

    key: str
    level: Level
    name: str
    goals: frozenset[Goal]
    deleted: bool = False
    campaign_number: int = 0
    campaign_name: str = ""
    ad_group_number: int = 0
    ad_group_name: str = ""
    ad_number: int = 0

    @property
    def number(self) -> str:
        """The API's id of the subject; empty for an account, a page or a goal."""
        return str(self.ad_number or self.ad_group_number or self.campaign_number or "")

    @property
    def parent(self) -> str:
        """The names of the campaign and the ad group above the subject."""
        parents = {
            Level.AD_GROUP: self.campaign_name,
            Level.AD: f"{self.campaign_name} › {self.ad_group_name}",
        }
        return parents.get(self.level, "")


@dataclass(frozen=True, slots=True)
class ReportRow:
    """Row of a report; ``day`` is a day or an hour, None for the whole span."""

    subject: Subject
    day: str | None
    figures: Figures
    country: str = ""
    placement: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    rows: tuple[ReportRow, ...]
    total: Figures


@dataclass(frozen=True, slots=True)
class SavedReport:
    """Query of the report page that a member saved; all members see a shared one."""

    id: str
    business_id: str
    member_id: str
    name: str
    query: str
    is_shared: bool
    created_at: datetime


DELIVERY: Final = (
    Metric("spend", N_("Spend"), Unit.MICROS, N_("Amount charged for impressions and clicks."),
           "spend_micros"),
    Metric("impressions", N_("Impressions"), Unit.COUNT, N_("Number of times ads were shown."),
           "impressions"),
    Metric("clicks", N_("Clicks"), Unit.COUNT, N_("Number of clicks on ads."), "clicks"),
    Metric("ctr", N_("CTR"), Unit.SHARE, N_("Clicks per impression."), "clicks", "impressions"),
    Metric("cpc", N_("CPC"), Unit.MICROS, N_("Spend per click."), "spend_micros", "clicks"),
    Metric("cpm", N_("CPM"), Unit.MICROS, N_("Spend per 1,000 impressions."), "spend_micros", "impressions",
           1000),
    Metric("reach", N_("Reach"), Unit.COUNT, N_("Number of people who saw ads. Each person counts once."),
           "reach"),
    Metric("cost_per_1000_reached", N_("Cost per 1,000 reached"), Unit.MICROS,
           N_("Spend per 1,000 people reached."), "spend_micros", "reach", 1000),
    Metric("frequency", N_("Frequency"), Unit.RATIO, N_("Impressions per person reached."), "impressions",
           "reach"),
)  # fmt: skip
CONVERSIONS: Final = (
    Metric("conversion", N_("Conversions"), Unit.COUNT,
           N_("Leads or conversations, depending on the goal, by the day of the credited click or view."),
           "conversions"),
    Metric("cost_per_conversion", N_("Cost per conversion"), Unit.MICROS,
           N_("Spend per conversion, rounded down."), "spend_micros", "conversions"),
    Metric("conversion_rate_v2", N_("Conversion rate (impressions)"), Unit.SHARE,
           N_("Conversions per impression."), "conversions", "impressions"),
    Metric("conversion_rate", N_("Conversion rate (clicks)"), Unit.SHARE, N_("Conversions per click."),
           "conversions", "clicks"),
    Metric("result", N_("Results"), Unit.COUNT, N_("The same as conversion."), "conversions"),
    Metric("cost_per_result", N_("Cost per result"), Unit.MICROS, N_("The same as cost_per_conversion."),
           "spend_micros", "conversions"),
    Metric("result_rate", N_("Result rate"), Unit.SHARE, N_("The same as conversion_rate_v2."), "conversions",
           "impressions"),
    Metric("real_time_conversion", N_("Real-time conversions"), Unit.COUNT,
           N_("Leads or conversations, depending on the goal, by the day of the conversion."),
           "rt_conversions"),
    Metric("real_time_cost_per_conversion", N_("Real-time cost per conversion"), Unit.MICROS,
           N_("Spend per conversion of the same day."), "spend_micros", "rt_conversions"),
    Metric("real_time_conversion_rate_v2", N_("Real-time conversion rate (impressions)"), Unit.SHARE,
           N_("Conversions of the same day per impression."), "rt_conversions", "impressions"),
    Metric("real_time_conversion_rate", N_("Real-time conversion rate (clicks)"), Unit.SHARE,
           N_("Conversions of the same day per click."), "rt_conversions", "clicks"),
    Metric("real_time_result", N_("Real-time results"), Unit.COUNT, N_("The same as real_time_conversion."),
           "rt_conversions"),
    Metric("real_time_cost_per_result", N_("Real-time cost per result"), Unit.MICROS,
           N_("The same as real_time_cost_per_conversion."), "spend_micros", "rt_conversions"),
    Metric("real_time_result_rate", N_("Real-time result rate"), Unit.SHARE,
           N_("The same as real_time_conversion_rate_v2."), "rt_conversions", "impressions"),
    Metric("cta_conversion", N_("Click-through conversions"), Unit.COUNT,
           N_("Conversions credited to a click."), "conversions_by_click"),
    Metric("cost_per_cta_conversion", N_("Cost per click-through conversion"), Unit.MICROS,
           N_("Spend per click-through conversion."), "spend_micros", "conversions_by_click"),
    Metric("vta_conversion", N_("View-through conversions"), Unit.COUNT,
           N_("Conversions credited to a view because there was no click."), "conversions_by_view"),
    Metric("cost_per_vta_conversion", N_("Cost per view-through conversion"), Unit.MICROS,
           N_("Spend per view-through conversion."), "spend_micros", "conversions_by_view"),
)  # fmt: skip
MESSAGES: Final = (
    Metric("conversations", N_("Conversations"), Unit.COUNT,
           N_("Conversations credited to an ad, by the day of the credited click or view."), "conversations"),
    Metric("cost_per_conversation", N_("Cost per conversation"), Unit.MICROS, N_("Spend per conversation."),
           "spend_micros", "conversations"),
    Metric("conversation_rate", N_("Conversation rate"), Unit.SHARE, N_("Conversations per click."),
           "conversations", "clicks"),
    Metric("real_time_conversations", N_("Real-time conversations"), Unit.COUNT,
           N_("Conversations credited to an ad, by the day they started."), "rt_conversations"),
    Metric("messaging_total_conversation_tiktok_direct_message", N_("Direct-message conversations"),
           Unit.COUNT, N_("Conversations in direct messages or the Contatto chat page, by the day of the "
                          "credited click or view."),
           "direct_messages"),
    Metric("messaging_cost_per_conversation_tiktok_direct_message",
           N_("Cost per direct-message conversation"), Unit.MICROS,
           N_("Spend per direct-message conversation."), "spend_micros", "direct_messages"),
    Metric("messaging_conversation_rate_tiktok_direct_message", N_("Direct-message conversation rate"),
           Unit.SHARE, N_("Direct-message conversations per click."), "direct_messages", "clicks"),
    Metric("messaging_total_conversation_instant_messaging_app", N_("Messaging-app conversations"),
           Unit.COUNT,
           N_("Conversations in another messaging app, by the day of the credited click or view."),
           "app_conversations"),
    Metric("messaging_cost_per_conversation_instant_messaging_app", N_("Cost per messaging-app conversation"),
           Unit.MICROS, N_("Spend per conversation in another messaging app."), "spend_micros",
           "app_conversations"),
    Metric("messaging_conversation_rate_instant_messaging_app", N_("Messaging-app conversation rate"),
           Unit.SHARE, N_("Conversations in another messaging app per click."), "app_conversations",
           "clicks"),
)  # fmt: skip
LEADS: Final = (
    Metric("leads", N_("Leads"), Unit.COUNT,
           N_("Leads credited to an ad, by the day of the credited click or view."), "leads"),
    Metric("cost_per_lead", N_("Cost per lead"), Unit.MICROS, N_("Spend per lead."), "spend_micros", "leads"),
    Metric("lead_rate", N_("Lead rate"), Unit.SHARE, N_("Leads per conversation."), "leads", "conversations"),
    Metric("real_time_leads", N_("Real-time leads"), Unit.COUNT,
           N_("Leads credited to an ad, by the day they were captured."), "rt_leads"),
    Metric("onsite_form", N_("Form leads"), Unit.COUNT,
           N_("Leads from the instant form, by the day of the credited click or view."), "form_leads"),
    Metric("onsite_form_rate", N_("Form lead rate"), Unit.SHARE, N_("Form leads per click."), "form_leads",
           "clicks"),
    Metric("cost_per_onsite_form", N_("Cost per form lead"), Unit.MICROS, N_("Spend per form lead."),
           "spend_micros", "form_leads"),
    Metric("onsite_total_filtered_out_form_submission", N_("Rejected forms"), Unit.COUNT,
           N_("Forms rejected after they were saved. Always 0, because spam is refused at once."), ""),
    Metric("chat_leads", N_("Chat leads"), Unit.COUNT, N_("Leads with contact details found in the chat."),
           "chat_leads"),
    Metric("manual_leads", N_("Manual leads"), Unit.COUNT, N_("Leads marked by a member."), "manual_leads"),
    Metric("qualified_leads", N_("Qualified leads"), Unit.COUNT,
           N_("Leads that are currently qualified or converted, by the day of the credited click or view."),
           "qualified"),
    Metric("cost_per_qualified_lead", N_("Cost per qualified lead"), Unit.MICROS,
           N_("Spend per qualified lead."), "spend_micros", "qualified"),
    Metric("qualified_rate", N_("Qualified rate"), Unit.SHARE, N_("Share of leads that are qualified."),
           "qualified", "leads"),
    Metric("converted_leads", N_("Converted leads"), Unit.COUNT,
           N_("Leads that are currently converted, by the day of the credited click or view."), "converted"),
    Metric("cost_per_converted_lead", N_("Cost per converted lead"), Unit.MICROS,
           N_("Spend per converted lead."), "spend_micros", "converted"),
    Metric("converted_rate", N_("Converted rate"), Unit.SHARE, N_("Share of leads that are converted."),
           "converted", "leads"),
)  # fmt: skip

METRICS: Final[dict[str, Metric]] = {
    metric.name: metric for metric in (*DELIVERY, *CONVERSIONS, *MESSAGES, *LEADS)
}
