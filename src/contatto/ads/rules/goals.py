"""Goals and their checks, and reasons why an ad does not deliver."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import reduce
from typing import Final, Literal

from contatto.ads.model import (
    DIRECT_MESSAGE,
    Ad,
    AdGroup,
    Audit,
    BillingEvent,
    BudgetMode,
    Campaign,
    Check,
    CheckResult,
    Facts,
    NextStep,
    NodeKind,
    NodeStatus,
    Spent,
)
from contatto.ads.rules.targeting import DM_ADS_MARKETS, LEAD_MARKETS, normal_countries
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_, LazyText
from contatto.measurement.model import Goal

GOALS: Final = {
    ("LEAD_GENERATION", DIRECT_MESSAGE): Goal.LEAD,
    ("CONVERSATION", DIRECT_MESSAGE): Goal.CONVERSATION,
}
"""A goal is an ``optimization_goal`` together with a ``promotion_type``: LEAD_GENERATION alone is also the
goal of form ads."""

GOAL_ALIASES: Final = {"LEAD": "LEAD_GENERATION"}
OPTIMIZATION_GOALS: Final = {goal: name for (name, _), goal in GOALS.items()}

BILLING_EVENTS: Final = {Goal.LEAD: BillingEvent.OCPM, Goal.CONVERSATION: BillingEvent.OCPM}

REGISTRATION_MARKETS: Final = {
    # Lead is a goal of direct-message ads, so those are sold in all countries where Lead is available.
    Goal.CONVERSATION: DM_ADS_MARKETS | LEAD_MARKETS,
    Goal.LEAD: LEAD_MARKETS,
}
"""Where the channel account and the ad account must be registered."""
TARGET_MARKETS: Final = {Goal.CONVERSATION: None, Goal.LEAD: LEAD_MARKETS}
"""Which countries may be targeted; None means every one."""

_SAYS: Final = {
    Check.CHANNEL_ACCOUNT: N_("identity_id: the channel account is registered in %(countries)s"),
    Check.AD_ACCOUNT: N_("advertiser_id: the ad account is registered in %(countries)s"),
    Check.TARGETS: N_("location_ids: the target countries include %(countries)s"),
}

_CAPTURE_OFF: Final = N_(
    "The goal Lead needs automatic lead capture, which is off for this account. Its id is %(id)s."
)


def goal_of(optimization_goal: str, promotion_type: str) -> Goal:
    """Return the goal that the API's two words name together.

    Raises:
        Refused: INVALID, with the allowed values.
    """
    names = sorted(OPTIMIZATION_GOALS.values())
    if promotion_type != DIRECT_MESSAGE:
        raise Refused(
            errors.INVALID, "%(field)s: allowed: %(allowed)s.", field="promotion_type", allowed=DIRECT_MESSAGE
        )
    goal = GOALS.get((GOAL_ALIASES.get(optimization_goal, optimization_goal), promotion_type))
    if goal is None:
        raise Refused(
            errors.INVALID,
            "%(field)s: allowed: %(allowed)s.",
            field="optimization_goal",
            allowed=", ".join(names),
        )
    return goal


def eligibility(goal: Goal, facts: Facts) -> tuple[CheckResult, ...]:
    """Return the three country checks of a goal; it is available where all of them pass (R4 to R7)."""
    home, targets = REGISTRATION_MARKETS[goal], TARGET_MARKETS[goal]
    return (
        _check(Check.CHANNEL_ACCOUNT, (facts.account_country,), home),
        _check(Check.AD_ACCOUNT, (facts.ad_account_country,), home),
        _check(Check.TARGETS, facts.target_countries, targets),
    )


def _check(check: Check, countries: tuple[str, ...], markets: frozenset[str] | None) -> CheckResult:
    country_codes = normal_countries(countries)
    failing = () if markets is None else tuple(country for country in country_codes if country not in markets)
    return CheckResult(check, country_codes, failing)


def is_eligible(goal: Goal, facts: Facts) -> bool:
    return all(result.passed for result in eligibility(goal, facts))


def next_steps(goal: Goal, facts: Facts) -> tuple[NextStep, ...]:
    """Return the remaining steps: the goal Lead needs automatic capture (R12, R13)."""
    return (NextStep.TURN_ON_CAPTURE,) if goal is Goal.LEAD and not facts.capture_on else ()


def check_goal(goal: Goal, facts: Facts) -> None:
    """Refuse a goal that is not available, naming every failing check, and one that needs a step first.

    Raises:
        Refused: NOT_ELIGIBLE, CAPTURE_OFF.
    """
    failed = [result for result in eligibility(goal, facts) if not result.passed]
    if failed:
        says = [LazyText(_SAYS[result.check], countries=", ".join(result.failing)) for result in failed]
        checks = reduce(lambda one, more: LazyText("%(one)s; %(more)s", one=one, more=more), says)
        raise Refused(
            errors.NOT_ELIGIBLE,
            "%(checks)s, where the goal %(goal)s is not available.",
            checks=checks,
            goal=goal.capitalize(),
        )
    if next_steps(goal, facts):
        raise Refused(errors.CAPTURE_OFF, _CAPTURE_OFF, id=facts.channel_account_id)


def check_billing(goal: Goal, billing_event: str | None) -> BillingEvent:
    """Return the billing event of a goal; another one is refused.

    Raises:
        Refused: INVALID.
    """
    allowed = BILLING_EVENTS[goal]
    if billing_event not in (None, allowed):
        raise Refused(
            errors.INVALID, "%(field)s: allowed: %(allowed)s.", field="billing_event", allowed=allowed.value
        )
    return allowed


def check_event(goal: Goal, optimization_event: str | None) -> None:
    """Return the optimisation event of a goal: MESSAGE for Conversation, none for Lead.

    Raises:
        Refused: INVALID.
    """
    if goal is Goal.CONVERSATION and optimization_event not in (None, "", "MESSAGE"):
        raise Refused(errors.INVALID, "optimization_event: the goal CONVERSATION allows only MESSAGE.")


LONGEST_REASON: Final = 500


def shown_of(ad: Ad) -> tuple[str, ...]:
    """Return the public parts of an ad: their change needs a new review."""
    return (ad.headline, ad.text, ad.video_id, ad.auto_message_id, ad.page_id, ad.channel_account_id)


def check_audit_reason(text: str) -> str:
    """Return a reason without blank ends.

    Raises:
        Refused: INVALID.
    """
    reason = text.strip()
    if not 0 < len(reason) <= LONGEST_REASON:
        raise Refused(
            errors.INVALID,
            "reason: enter what has to change, in 1 to %(most)s characters.",
            most=LONGEST_REASON,
        )
    return reason


LONGEST_CONTENT: Final = 200
MOST_QUESTIONS: Final = 3
LONGEST_QUESTION: Final = 70
LONGEST_ANSWER: Final = 500


def check_welcome(content: str, questions: Sequence[tuple[str, str]]) -> None:
    """Refuse a welcome message with a length, or a number of questions, outside the limits.

    Raises:
        Refused: INVALID.
    """
    _check_length("welcome_message.content", content, LONGEST_CONTENT)
    if not 1 <= len(questions) <= MOST_QUESTIONS:
        raise Refused(
            errors.INVALID,
            "%(field)s: enter 1 to %(most)s questions.",
            field="welcome_message.suggested_questions",
            most=MOST_QUESTIONS,
        )
    for number, (question, answer) in enumerate(questions):
        place = f"welcome_message.suggested_questions.{number}"
        _check_length(f"{place}.question", question, LONGEST_QUESTION)
        _check_length(f"{place}.answer", answer, LONGEST_ANSWER)


def _check_length(field: str, text: str, most: int) -> None:
    if not 0 < len(text) <= most:
        raise Refused(errors.INVALID, "%(field)s: use 1 to %(most)s characters.", field=field, most=most)


MOVES: Final = {
    NodeStatus.ACTIVE: frozenset({NodeStatus.ACTIVE, NodeStatus.PAUSED, NodeStatus.DELETED}),
    NodeStatus.PAUSED: frozenset({NodeStatus.ACTIVE, NodeStatus.PAUSED, NodeStatus.DELETED}),
    NodeStatus.DELETED: frozenset({NodeStatus.DELETED}),
}
"""From each status, where it may go; to stay is always allowed, so a repeated request is harmless."""

type Operation = Literal["ENABLE", "DISABLE", "DELETE"]
"""What the API wants done with a campaign, an ad group or an ad; of one that is, how it stands."""
OPERATIONS: Final[Mapping[Operation, NodeStatus]] = {
    "ENABLE": NodeStatus.ACTIVE,
    "DISABLE": NodeStatus.PAUSED,
    "DELETE": NodeStatus.DELETED,
}
OPERATION_OF: Final = {status: operation for operation, status in OPERATIONS.items()}

PRIMARY_STATUSES: Final = {
    "STATUS_NOT_DELETE": frozenset({NodeStatus.ACTIVE, NodeStatus.PAUSED}),
    "STATUS_ALL": frozenset(NodeStatus),
    "STATUS_DELETE": frozenset({NodeStatus.DELETED}),
    "STATUS_DELIVERY_OK": frozenset({NodeStatus.ACTIVE}),
    "STATUS_DISABLE": frozenset({NodeStatus.PAUSED}),
    "STATUS_NOT_DELIVERY": frozenset({NodeStatus.PAUSED}),
    "STATUS_TIME_DONE": frozenset[NodeStatus](),
}
"""The API's filters and the statuses that they select."""


def check_move(status: NodeStatus, new_status: NodeStatus) -> None:
    """Refuse a move that the table does not have.

    Raises:
        Refused: INVALID.
    """
    if new_status not in MOVES[status]:
        raise Refused(
            errors.INVALID,
            "operation_status: %(now)s cannot change to %(wanted)s.",
            now=status.value,
            wanted=new_status.value,
        )


def check_alive(field: str, status: NodeStatus) -> None:
    """Refuse to change a deleted node.

    Raises:
        Refused: INVALID.
    """
    if status is NodeStatus.DELETED:
        raise Refused(errors.INVALID, "%(field)s: deleted items cannot be changed.", field=field)


def check_seen(changed_at: datetime, seen_at: datetime | None) -> None:
    """Refuse to overwrite a change that the writer has not seen; None matches any state.

    Raises:
        Refused: CONFLICT.
    """
    if seen_at is not None and seen_at != changed_at:
        raise Refused(errors.CONFLICT)


def secondary_status(
    prefix: str,
    own: NodeStatus,
    ad_group: AdGroup | None,
    campaign: Campaign | None,
    audit: Audit = Audit.PASS,
) -> str:
    """Return the API's delivery status: the first reason that holds, with its level as a prefix."""
    if own is NodeStatus.DELETED:
        return f"{prefix}_STATUS_DELETE"
    if campaign is not None and campaign.status is not NodeStatus.ACTIVE:
        return f"{prefix}_STATUS_CAMPAIGN_DISABLE"
    if ad_group is not None and ad_group.status is not NodeStatus.ACTIVE:
        return f"{prefix}_STATUS_ADGROUP_DISABLE"
    if own is NodeStatus.PAUSED:
        return f"{prefix}_STATUS_DISABLE"
    if audit is not Audit.PASS:
        return f"{prefix}_STATUS_AUDIT" if audit is Audit.AUDITING else f"{prefix}_STATUS_AUDIT_DENY"
    return "CAMPAIGN_STATUS_ENABLE" if prefix == "CAMPAIGN" else f"{prefix}_STATUS_DELIVERY_OK"


DYNAMIC_SHARE: Final = 1.25
"""Of its average, a dynamic daily budget may spend so much in one day."""


class Delivering(StrEnum):
    """The delivery status, derived from all that stands in its way."""

    ON = "on"
    CAMPAIGN_OFF = "campaign_off"
    AD_GROUP_OFF = "ad_group_off"
    OFF = "off"
    NO_AD = "no_ad"
    IN_REVIEW = "in_review"
    REJECTED = "rejected"
    NOT_ELIGIBLE = "not_eligible"
    CAPTURE_OFF = "capture_off"
    NO_WELCOME = "no_welcome"
    NOT_STARTED = "not_started"
    ENDED = "ended"
    SPENT_TODAY = "spent_today"
    SPENT = "spent"


SAYS: Final = {
    Delivering.ON: N_("Delivering"),
    Delivering.CAMPAIGN_OFF: N_("Campaign is paused"),
    Delivering.AD_GROUP_OFF: N_("Ad group is paused"),
    Delivering.OFF: N_("Paused"),
    Delivering.NO_AD: N_("No ad is on"),
    Delivering.IN_REVIEW: N_("In review"),
    Delivering.REJECTED: N_("Rejected"),
    Delivering.NOT_ELIGIBLE: N_("Goal not available"),
    Delivering.CAPTURE_OFF: N_("Lead capture is off"),
    Delivering.NO_WELCOME: N_("Delivering without a welcome message"),
    Delivering.NOT_STARTED: N_("Not started yet"),
    Delivering.ENDED: N_("Schedule has ended"),
    Delivering.SPENT_TODAY: N_("Today's budget is spent"),
    Delivering.SPENT: N_("Budget is spent"),
}
REMEDIES: Final = {
    Delivering.NO_AD: N_("Add an ad, or turn one on."),
    Delivering.IN_REVIEW: N_("The operator reviews the ad before it is shown."),
    Delivering.REJECTED: N_("Correct what the reason names. The ad is then reviewed again."),
    Delivering.NOT_ELIGIBLE: N_(
        "One of the three countries is not available for this goal. Open the ad group."
    ),
    Delivering.CAPTURE_OFF: N_("Turn on automatic lead capture in Settings. Ads with the goal Lead need it."),
    Delivering.NO_WELCOME: N_("Add a welcome message with questions, so that people know what to write."),
    Delivering.NOT_STARTED: N_("Delivery starts on the first day of the schedule."),
    Delivering.ENDED: N_("Choose a later last day to run it again."),
    Delivering.SPENT_TODAY: N_("Delivery continues tomorrow. Raise the budget to continue now."),
    Delivering.SPENT: N_("Raise the total budget to run it again."),
}
PROBLEMS: Final = frozenset({Delivering.REJECTED, Delivering.NOT_ELIGIBLE, Delivering.CAPTURE_OFF})
"""States that only somebody's work ends."""


NOTHING: Final = Spent()


@dataclass(frozen=True, slots=True)
class Above:
    """Facts that an ad group's delivery depends on besides itself; spend is in micros."""

    campaign: Campaign
    facts: Facts
    spent_today: int = 0
    spent_ever: int = 0
    of_campaign: Spent = NOTHING
    """What all ad groups of the campaign have spent."""


def is_showing(delivery: Delivering) -> bool:
    """Report whether ads are shown in this state."""
    return delivery in (Delivering.ON, Delivering.NO_WELCOME)


def campaign_delivery(campaign: Campaign, under: list[Delivering]) -> Delivering:
    """Return the state of a campaign, given that of its ad groups."""
    if campaign.status is not NodeStatus.ACTIVE:
        return Delivering.OFF
    if not under:
        return Delivering.NO_AD
    return next((group_delivery for group_delivery in under if is_showing(group_delivery)), under[0])


def ad_group_delivery(ad_group: AdGroup, above: Above, ads: list[Ad], at: datetime) -> Delivering:
    """Return the state of an ad group with its ads."""
    own = ad_group_hurdle(ad_group, above, at)
    if own is not None:
        return own
    states = [ad_delivery(ad, None) for ad in ads]
    if not states:
        return Delivering.NO_AD
    best = next((state for state in states if is_showing(state)), states[0])
    return Delivering.NO_AD if best is Delivering.OFF else best


def ad_delivery(ad: Ad, above: Delivering | None) -> Delivering:
    """Return the state of an ad; ``above`` is the reason that stops its ad group, None without one."""
    if above is Delivering.OFF:
        return Delivering.AD_GROUP_OFF
    if above is not None:
        return above
    if ad.status is not NodeStatus.ACTIVE:
        return Delivering.OFF
    if ad.audit is not Audit.PASS:
        return Delivering.IN_REVIEW if ad.audit is Audit.AUDITING else Delivering.REJECTED
    return Delivering.ON if ad.auto_message_id else Delivering.NO_WELCOME


def ad_group_hurdle(ad_group: AdGroup, above: Above, at: datetime) -> Delivering | None:
    """Return the reason that stops all ads of an ad group; None without one."""
    return next(_group_hurdles(ad_group, above, at), None)


def _group_hurdles(ad_group: AdGroup, above: Above, at: datetime) -> Iterator[Delivering]:
    if above.campaign.status is not NodeStatus.ACTIVE:
        yield Delivering.CAMPAIGN_OFF
    if ad_group.status is not NodeStatus.ACTIVE:
        yield Delivering.OFF
    if not is_eligible(ad_group.goal, above.facts):
        yield Delivering.NOT_ELIGIBLE
    if next_steps(ad_group.goal, above.facts):
        yield Delivering.CAPTURE_OFF
    if at < ad_group.starts_at:
        yield Delivering.NOT_STARTED
    if ad_group.ends_at is not None and ad_group.ends_at <= at:
        yield Delivering.ENDED
    own = Spent(above.spent_today, above.spent_ever)
    for node, spent in ((ad_group, own), (above.campaign, above.of_campaign)):
        if is_spent(node, spent):
            yield Delivering.SPENT if node.budget_mode is BudgetMode.TOTAL else Delivering.SPENT_TODAY


def is_spent(node: AdGroup | Campaign, spent: Spent) -> bool:
    """Report whether the whole budget, or the day's, is used up."""
    budget = node.budget_micros
    if budget is None:
        return False
    if node.budget_mode is BudgetMode.TOTAL:
        return spent.ever_micros >= budget
    return spent.day_micros >= most_of_day(node.budget_mode, budget)


def add_spent(spent: Iterable[Spent]) -> Spent:
    """Add the spend of several ad groups."""
    sums = list(spent)
    return Spent(
        sum(spent_sum.day_micros for spent_sum in sums), sum(spent_sum.ever_micros for spent_sum in sums)
    )


def most_of_day(mode: BudgetMode, budget_micros: int) -> float:
    """Return the most that one day may spend of a daily budget."""
    return budget_micros * DYNAMIC_SHARE if mode is BudgetMode.DYNAMIC_DAY else float(budget_micros)


@dataclass(frozen=True, slots=True)
class Node:
    """A campaign, an ad group or an ad with what lies under it."""

    kind: NodeKind
    item: Campaign | AdGroup | Ad
    state: Delivering
    under: "tuple[Node, ...]" = ()

    def walk(self) -> "Iterator[Node]":
        """Return the node itself and all that lies under it."""
        yield self
        for node in self.under:
            yield from node.walk()


def build_outline(
    campaigns: Iterable[Campaign], groups: Iterable[tuple[AdGroup, Above]], ads: Iterable[Ad], at: datetime
) -> list[Node]:
    """Return the campaigns as a tree; everything keeps the order in which it was given."""
    ads_of: defaultdict[str, list[Ad]] = defaultdict(list)
    for ad in ads:
        ads_of[ad.ad_group_id].append(ad)
    groups_of: defaultdict[str, list[Node]] = defaultdict(list)
    for group, above in groups:
        hurdle, ads_of_group = ad_group_hurdle(group, above, at), ads_of[group.id]
        under = tuple(Node(NodeKind.AD, ad, ad_delivery(ad, hurdle)) for ad in ads_of_group)
        state = ad_group_delivery(group, above, ads_of_group, at)
        groups_of[group.campaign_id].append(Node(NodeKind.AD_GROUP, group, state, under))
    nodes = []
    for campaign in campaigns:
        children = tuple(groups_of[campaign.id])
        campaign_state = campaign_delivery(campaign, [child.state for child in children])
        nodes.append(Node(NodeKind.CAMPAIGN, campaign, campaign_state, children))
    return nodes
