"""Whether an ad group or an ad is being shown, and if not, why: the first reason that holds."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from contatto.ads.model import Ad, AdGroup, Audit, BudgetMode, Campaign, Facts, NodeStatus, Spent
from contatto.ads.rules import goals
from contatto.kit.i18n import N_

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
    """What an ad group's delivery depends on besides itself; spend is in micros."""

    campaign: Campaign
    facts: Facts
    spent_today: int = 0
    spent_ever: int = 0
    of_campaign: Spent = NOTHING
    """What all ad groups of the campaign have spent."""


def is_showing(found: Delivering) -> bool:
    """Whether ads are shown in this state."""
    return found in (Delivering.ON, Delivering.NO_WELCOME)


def campaign_delivery(campaign: Campaign, under: list[Delivering]) -> Delivering:
    """The state of a campaign, given that of its ad groups."""
    if campaign.status is not NodeStatus.ACTIVE:
        return Delivering.OFF
    if not under:
        return Delivering.NO_AD
    return next((found for found in under if is_showing(found)), under[0])


def ad_group_delivery(ad_group: AdGroup, above: Above, ads: list[Ad], now: datetime) -> Delivering:
    """The state of an ad group with its ads."""
    own = ad_group_hurdle(ad_group, above, now)
    if own is not None:
        return own
    states = [ad_delivery(ad, None) for ad in ads]
    if not states:
        return Delivering.NO_AD
    best = next((found for found in states if is_showing(found)), states[0])
    return Delivering.NO_AD if best is Delivering.OFF else best


def ad_delivery(ad: Ad, above: Delivering | None) -> Delivering:
    """The state of an ad; ``above`` is what stands in the way of its ad group itself, None for nothing."""
    if above is Delivering.OFF:
        return Delivering.AD_GROUP_OFF
    if above is not None:
        return above
    if ad.status is not NodeStatus.ACTIVE:
        return Delivering.OFF
    if ad.audit is not Audit.PASS:
        return Delivering.IN_REVIEW if ad.audit is Audit.AUDITING else Delivering.REJECTED
    return Delivering.ON if ad.auto_message_id else Delivering.NO_WELCOME


def ad_group_hurdle(ad_group: AdGroup, above: Above, now: datetime) -> Delivering | None:
    """What stands in the way of all ads of an ad group; None for nothing."""
    return next(_group_hurdles(ad_group, above, now), None)


def _group_hurdles(ad_group: AdGroup, above: Above, now: datetime) -> Iterator[Delivering]:
    if above.campaign.status is not NodeStatus.ACTIVE:
        yield Delivering.CAMPAIGN_OFF
    if ad_group.status is not NodeStatus.ACTIVE:
        yield Delivering.OFF
    if not goals.is_eligible(ad_group.goal, above.facts):
        yield Delivering.NOT_ELIGIBLE
    if goals.next_steps(ad_group.goal, above.facts):
        yield Delivering.CAPTURE_OFF
    if now < ad_group.starts_at:
        yield Delivering.NOT_STARTED
    if ad_group.ends_at is not None and ad_group.ends_at <= now:
        yield Delivering.ENDED
    yield from _spent_hurdles(ad_group, above)


def _spent_hurdles(ad_group: AdGroup, above: Above) -> Iterator[Delivering]:
    own = Spent(above.spent_today, above.spent_ever)
    for node, spent in ((ad_group, own), (above.campaign, above.of_campaign)):
        if is_spent(node, spent):
            total = node.budget_mode is BudgetMode.TOTAL
            yield Delivering.SPENT if total else Delivering.SPENT_TODAY


def is_spent(node: AdGroup | Campaign, spent: Spent) -> bool:
    """Whether nothing is left of a budget, of the whole one or of the day's."""
    budget = node.budget_micros
    if budget is None:
        return False
    if node.budget_mode is BudgetMode.TOTAL:
        return spent.ever_micros >= budget
    return spent.day_micros >= most_of_day(node.budget_mode, budget)


def add_spent(spent: Iterable[Spent]) -> Spent:
    """What several ad groups have spent together."""
    found = list(spent)
    return Spent(sum(each.day_micros for each in found), sum(each.ever_micros for each in found))


def most_of_day(mode: BudgetMode, budget_micros: int) -> float:
    """What may be spent in one day of a daily budget."""
    return budget_micros * DYNAMIC_SHARE if mode is BudgetMode.DYNAMIC_DAY else float(budget_micros)
