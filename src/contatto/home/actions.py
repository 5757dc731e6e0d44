"""Figures of the start page, by the permissions of the reader."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo

from contatto.accounts.auth import may
from contatto.accounts.model import AdAccount, Caller, Permission
from contatto.accounts.store import list_ad_accounts
from contatto.ads.model import AdGroup, NodeStatus
from contatto.ads.store import load_nodes
from contatto.crm.model import TargetState
from contatto.crm.store.deliveries import count_states, list_targets
from contatto.delivery.rules import budget_left
from contatto.delivery.store import list_charged_days, list_spent
from contatto.guide.actions import list_done_steps
from contatto.guide.rules import Step
from contatto.inbox.store.desk import ConversationFilter, count_conversations, count_tabs
from contatto.integrations.model import DeliveryState
from contatto.jobs.actions import count_failed_work
from contatto.kit.db.database import CountReader
from contatto.kit.db.tx import Tx
from contatto.kit.values import interval_of, interval_of_count
from contatto.leads.model import LeadStatus
from contatto.leads.store.listing import count_leads_since, load_lead_counts
from contatto.leads.store.records import list_due_leads
from contatto.measurement.model import Goal
from contatto.operators.model import ReviewState
from contatto.operators.store import list_reviews_of_business
from contatto.reports.actions.overview import load_overview
from contatto.reports.model import Counts
from contatto.reports.rules.queries import OverviewQuery, Period


class NeedKind(StrEnum):
    """Kind of work that waits for a member."""

    CRM_CUT_OFF = "crm_cut_off"
    CRM_FAILED = "crm_failed"
    WORK_FAILED = "work_failed"
    BUDGET_SPENT = "budget_spent"
    ADS_REFUSED = "ads_refused"
    """Ads that a marketplace refused in its review."""
    LEADS_WAITING = "leads_waiting"
    """Leads that wait for a reply in their chat."""
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
class AdFigures:
    """A week of an ad account, up to today.

    ``goals`` has the cost per conversion of each goal (``cost_micros``, None without one) between
    ``low_micros`` and ``high_micros`` (95 %; None without an upper bound).
    """

    name: str
    number: str
    currency: str
    days: tuple[tuple[date, Counts], ...]
    goals: tuple[dict[str, Any], ...]
    by_lead_goal: LeadFigures | None
    """Leads from ad groups with the goal Lead; None without a lead."""
    by_conversation_goal: LeadFigures | None
    """The same for the goal Conversation, to compare with."""


@dataclass(frozen=True, slots=True)
class HomeFigures:
    """All that the start page shows; a part that the reader may not see is None or empty."""

    leads_today: int | None
    chats_today: int | None
    ads: AdFigures | None
    needs: tuple[Need, ...]
    done_steps: frozenset[Step]


WEEK: Final = OverviewQuery(period=Period.LAST_7)
"""Seven days up to today: one day has too few leads to compare costs."""


def load_home(tx: Tx, caller: Caller, cached_counts: CountReader) -> HomeFigures:
    """Load the figures that a member may see; ads are those of the first ad account."""
    accounts = list_ad_accounts(tx, caller.business_id)
    account = accounts[0] if accounts else None
    zone = ZoneInfo(account.timezone if account else "UTC")
    midnight = datetime.combine(tx.now.astimezone(zone).date(), time(), zone)
    reads_leads, reads_inbox = may(caller, Permission.READ_LEADS), may(caller, Permission.READ_INBOX)
    return HomeFigures(
        leads_today=count_leads_since(tx, caller.business_id, midnight) if reads_leads else None,
        chats_today=count_conversations(tx, caller.business_id, ConversationFilter(active_since=midnight))
        if reads_inbox
        else None,
        ads=load_ad_figures(tx, account, midnight) if account else None,
        needs=tuple(list_needs(tx, caller, account, cached_counts)),
        done_steps=frozenset(list_done_steps(tx, caller.business_id)),
    )


def load_ad_figures(tx: Tx, account: AdAccount, midnight: datetime) -> AdFigures:
    """Load a week of an ad account from the precomputed counts of reports."""
    overview = load_overview(tx, account, WEEK, midnight.date())
    days = tuple((date.fromisoformat(day), counts) for day, counts in sorted(overview.days.items()))
    goals: list[dict[str, Any]] = []
    by_goal: dict[Goal, LeadFigures] = {}
    for part in overview.by_goal:
        counts = part.figures.counts
        conversions, spend = part.figures.conversions or 0, counts.spend_micros
        least, most = interval_of_count(conversions)
        cost = {
            "goal": part.goal,
            "conversions": conversions,
            "spend_micros": spend,
            "cost_micros": spend // conversions if conversions else None,
            "low_micros": round(spend / most),
            "high_micros": round(spend / least) if least else None,
        }
        goals.append(cost)
        if not counts.leads:
            continue
        least, most = interval_of_count(counts.leads)
        conversations = max(counts.conversations, counts.leads)
        share_low, share_high = interval_of(counts.leads, conversations)
        by_goal[part.goal] = LeadFigures(
            leads=counts.leads,
            few=round(least),
            many=round(most),
            cost_micros=round(spend / counts.leads),
            low_micros=round(spend / most),
            high_micros=round(spend / least) if least else None,
            share=counts.leads / conversations,
            share_low=share_low,
            share_high=share_high,
        )
    return AdFigures(
        account.name,
        str(account.number),
        account.currency,
        days,
        tuple(goals),
        by_goal.get(Goal.LEAD),
        by_goal.get(Goal.CONVERSATION),
    )


def list_needs(
    tx: Tx, caller: Caller, account: AdAccount | None, cached_counts: CountReader
) -> Iterator[Need]:
    """Yield the pending work that this member may do, the most urgent first."""
    if may(caller, Permission.ADMINISTER):
        yield from _crm_needs(tx, caller.business_id)
        if failed := count_failed_work(tx, caller.business_id).dead:
            yield Need(NeedKind.WORK_FAILED, failed, "/settings/jobs")
    if may(caller, Permission.READ_ADS):
        if account and (spent := count_spent_budgets(tx, account)):
            yield Need(NeedKind.BUDGET_SPENT, spent, "/ads")
        reviews = list_reviews_of_business(tx, caller.business_id)
        if refused := sum(review.state is ReviewState.REFUSED for review in reviews):
            yield Need(NeedKind.ADS_REFUSED, refused, "/settings/marketplaces")
    if may(caller, Permission.READ_INBOX):
        tabs = count_tabs(tx, caller.business_id, ConversationFilter(), ("waiting", "unread"))
        if tabs["waiting"]:
            yield Need(NeedKind.LEADS_WAITING, tabs["waiting"], "/inbox?tab=waiting")
        if tabs["unread"]:
            yield Need(NeedKind.CHATS_UNREAD, tabs["unread"], "/inbox?tab=unread")
    if may(caller, Permission.READ_LEADS):
        if due := list_due_leads(tx, caller.business_id, tx.now.date()):
            yield Need(NeedKind.TASKS_DUE, len(due), f"/leads/{due[0]}")
        if raw := load_lead_counts(tx, caller.business_id, cached_counts).get(LeadStatus.RAW, 0):
            yield Need(NeedKind.NEW_LEADS, raw, "/leads?status=raw")


def _crm_needs(tx: Tx, business_id: str) -> Iterator[Need]:
    targets = [target for target in list_targets(tx, business_id) if target.state is not TargetState.REMOVED]
    for target in targets:
        if target.state is TargetState.DISCONNECTED:
            yield Need(NeedKind.CRM_CUT_OFF, 1, f"/settings/integrations/{target.id}", target.name)
    states = count_states(tx, business_id) if targets else {}
    if dead := sum(states.get(target.id, {}).get(DeliveryState.DEAD, 0) for target in targets):
        yield Need(NeedKind.CRM_FAILED, dead, "/settings/integrations")


def count_spent_budgets(tx: Tx, account: AdAccount) -> int:
    """Count the active ad groups that have used up their budget today."""
    day = tx.now.astimezone(ZoneInfo(account.timezone)).date().isoformat()
    charged = list_charged_days(tx, account.business_id, account.id, day, day)
    groups = load_nodes(tx, AdGroup, account.business_id, {charge.ad_group_id for charge in charged})
    spent = list_spent(tx, account.business_id, list(groups), day)
    return sum(
        group.status is NodeStatus.ACTIVE and budget_left(group, spent[group.id]) == 0
        for group in groups.values()
        if group.id in spent
    )
