"""Figures of the start page."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from contatto.guide.rules import Step
from contatto.measurement.model import Goal


class NeedKind(StrEnum):
    """Kind of work that waits for a member."""

    CRM_CUT_OFF = "crm_cut_off"
    CRM_FAILED = "crm_failed"
    WORK_FAILED = "work_failed"
    BUDGET_SPENT = "budget_spent"
    ADS_REFUSED = "ads_refused"
    LEADS_WAITING = "leads_waiting"
    TASKS_DUE = "tasks_due"
    CHATS_UNREAD = "chats_unread"
    NEW_LEADS = "new_leads"


@dataclass(frozen=True, slots=True)
class Need:
    """Number of waiting items of a kind, and the page to deal with them."""

    kind: NeedKind
    count: int
    href: str
    name: str = ""
    """Name of the one CRM that is cut off."""


@dataclass(frozen=True, slots=True)
class GoalCost:
    """Costs and conversions of the ad groups of one goal.

    Attributes:
        cost_micros: spend for each conversion; None without one.
        low_micros, high_micros: 95 % interval of that cost. ``high_micros`` is None where it has no end.
    """

    goal: Goal
    conversions: int
    spend_micros: int
    cost_micros: int | None
    low_micros: int | None
    high_micros: int | None


@dataclass(frozen=True, slots=True)
class LeadFigures:
    """Leads of the ad groups of one goal in some days, each figure with its 95 % interval.

    Attributes:
        few, many: interval of the number of leads.
        cost_micros: spend for each lead, between ``low_micros`` and ``high_micros`` (None: no upper bound).
        share: share of conversations that became leads, between ``share_low`` and ``share_high``.
    """

    leads: int
    few: int
    many: int
    cost_micros: int
    low_micros: int
    high_micros: int | None
    share: float
    share_low: float
    share_high: float


@dataclass(frozen=True, slots=True)
class DayFigures:
    """Figures of one day of an ad account; ``leads`` and ``conversations`` are those credited to ads."""

    day: date
    spend_micros: int
    clicks: int
    conversations: int
    leads: int


@dataclass(frozen=True, slots=True)
class AdFigures:
    """A week of an ad account, up to today."""

    name: str
    number: str
    currency: str
    days: tuple[DayFigures, ...]
    goals: tuple[GoalCost, ...]
    by_lead_goal: LeadFigures | None
    """Leads from ad groups with the goal Lead; None without a lead."""
    by_conversation_goal: LeadFigures | None
    """The same for the goal Conversation, to compare with."""

    @property
    def today(self) -> DayFigures:
        return self.days[-1]

    @property
    def yesterday(self) -> DayFigures:
        return self.days[-2]

    @property
    def is_empty(self) -> bool:
        return not any(day.spend_micros or day.clicks or day.conversations or day.leads for day in self.days)


@dataclass(frozen=True, slots=True)
class HomeFigures:
    """All that the start page shows; a part that the reader may not see is None or empty."""

    leads_today: int | None
    chats_today: int | None
    ads: AdFigures | None
    needs: tuple[Need, ...]
    done_steps: frozenset[Step]

    @property
    def next_step(self) -> Step | None:
        return next((step for step in Step if step not in self.done_steps), None)
