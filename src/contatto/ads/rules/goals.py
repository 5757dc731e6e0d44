"""Goals: API names, markets, billing, conditions, and rules of reviews and welcome messages."""

from collections.abc import Sequence
from functools import reduce
from typing import Final

from contatto.ads.model import DIRECT_MESSAGE, Ad, BillingEvent, Check, CheckResult, Facts, NextStep
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
    # Lead is a goal of direct-message ads, so those are sold wherever Lead is available.
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
    """The goal that the API's two words name together.

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
    """The three country checks of a goal; it is available where all of them pass (R4 to R7)."""
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
    """The billing event of a goal; another one is refused.

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
    """The optimisation event follows from the goal: MESSAGE for Conversation, none for Lead.

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
    """A reason without blank ends.

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
    """Refuse a welcome message that is too long, or whose questions are too few, too many or too long.

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
