"""What a goal means and needs: its name in the API, its markets, its billing and its conditions."""

from typing import Final

from contatto.ads.model import DIRECT_MESSAGE, BillingEvent, Check, CheckResult, Facts, NextStep
from contatto.ads.rules.markets import DM_ADS_MARKETS, LEAD_MARKETS, normal_countries
from contatto.kit import errors
from contatto.kit.errors import Refused
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
    # Lead is a goal of direct-message ads, so those are sold wherever Lead is available.
    Goal.CONVERSATION: DM_ADS_MARKETS | LEAD_MARKETS,
    Goal.LEAD: LEAD_MARKETS,
}
"""Where the channel account and the ad account must be registered."""
TARGET_MARKETS: Final = {Goal.CONVERSATION: None, Goal.LEAD: LEAD_MARKETS}
"""Which countries may be targeted; None means every one."""

_SAYS: Final = {
    Check.CHANNEL_ACCOUNT: "identity_id: the channel account is registered in {}",
    Check.AD_ACCOUNT: "advertiser_id: the ad account is registered in {}",
    Check.TARGETS: "location_ids: the target countries hold {}",
}


def goal_of(optimization_goal: str, promotion_type: str) -> Goal:
    """The goal that the API's two words name together.

    Raises:
        Refused: INVALID, with the allowed values.
    """
    names = sorted(OPTIMIZATION_GOALS.values())
    if promotion_type != DIRECT_MESSAGE:
        raise Refused(errors.INVALID, f"promotion_type: allowed: {DIRECT_MESSAGE}.")
    goal = GOALS.get((GOAL_ALIASES.get(optimization_goal, optimization_goal), promotion_type))
    if goal is None:
        raise Refused(errors.INVALID, f"optimization_goal: allowed: {', '.join(names)}.")
    return goal


def eligibility(goal: Goal, facts: Facts) -> tuple[CheckResult, ...]:
    """The three country checks of a goal; it is available where all of them pass (R4 to R7)."""
    home, targets = REGISTRATION_MARKETS[goal], TARGET_MARKETS[goal]
    return (
        _check(Check.CHANNEL_ACCOUNT, (facts.account_country,), home),
        _check(Check.AD_ACCOUNT, (facts.ad_account_country,), home),
        _check(Check.TARGETS, facts.target_countries, targets),
    )


def _check(check: Check, countries: tuple[str, ...], markets: frozenset[str] | None) -> CheckResult:
    seen = normal_countries(countries)
    failing = () if markets is None else tuple(country for country in seen if country not in markets)
    return CheckResult(check, seen, failing)


def is_eligible(goal: Goal, facts: Facts) -> bool:
    return all(result.passed for result in eligibility(goal, facts))


def next_steps(goal: Goal, facts: Facts) -> tuple[NextStep, ...]:
    """What is still to do: the goal Lead needs automatic capture (R12, R13)."""
    return (NextStep.TURN_ON_CAPTURE,) if goal is Goal.LEAD and not facts.capture_on else ()


def check_goal(goal: Goal, facts: Facts) -> None:
    """Refuse a goal that is not available, naming every failing check, and one that needs a step first.

    Raises:
        Refused: NOT_ELIGIBLE, CAPTURE_OFF.
    """
    failed = [result for result in eligibility(goal, facts) if not result.passed]
    if failed:
        said = "; ".join(_SAYS[result.check].format(", ".join(result.failing)) for result in failed)
        raise Refused(errors.NOT_ELIGIBLE, f"{said}, where the goal {goal.capitalize()} is not available.")
    if next_steps(goal, facts):
        raise Refused(errors.CAPTURE_OFF, f"{errors.CAPTURE_OFF.says} Its id is {facts.channel_account_id}.")


def check_billing(goal: Goal, billing_event: str | None) -> BillingEvent:
    """The billing event of a goal; another one is refused.

    Raises:
        Refused: INVALID.
    """
    allowed = BILLING_EVENTS[goal]
    if billing_event not in (None, allowed):
        raise Refused(errors.INVALID, f"billing_event: the goal allows {allowed.value} only.")
    return allowed


def check_event(goal: Goal, optimization_event: str | None) -> None:
    """The optimisation event follows from the goal: MESSAGE for Conversation, none for Lead.

    Raises:
        Refused: INVALID.
    """
    if goal is Goal.CONVERSATION and optimization_event not in (None, "", "MESSAGE"):
        raise Refused(errors.INVALID, "optimization_event: the goal CONVERSATION allows MESSAGE only.")
