"""The trial of delivery: counting what came of viewers who take part, and what learning brought."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from contatto.accounts.model import AdAccount
from contatto.ads.model import Campaign, NodeFilter, Page
from contatto.ads.store import list_ad_groups, list_campaigns
from contatto.delivery.actions.earning import Earned
from contatto.delivery.model.trials import TrialDay
from contatto.delivery.rules.trials import BUCKETS, Arm, Lift, Pair, add_arms, measure_lift
from contatto.delivery.store.trials import delete_old_trials, list_trials, save_trial_days
from contatto.kit.db.tx import Tx
from contatto.measurement.model import Goal

LOOK_BACK: Final = timedelta(days=28)
"""So many days are measured together."""
_KEPT: Final = timedelta(days=120)


def count_in_trial(tx: Tx, earned: Sequence[Earned]) -> None:
    """Count conversations and leads that an impression of the trial earned, on the day of its touch."""
    days: dict[tuple[str, str, int], TrialDay] = {}
    for each in earned:
        if each.decision.trial:
            place = (each.ad_group_id, each.day, each.decision.trial)
            days[place] = each.on(days.get(place) or TrialDay(each.business_id, *place))
    save_trial_days(tx, [days[place] for place in sorted(days)])


@dataclass(frozen=True, slots=True)
class CampaignLift:
    """What learning brought to the ad groups of one goal in a campaign; None for all campaigns together."""

    campaign: Campaign | None
    goal: Goal
    learned: Arm
    by_lot: Arm
    lift: Lift


def list_lifts(tx: Tx, account: AdAccount) -> list[CampaignLift]:
    """The lift of each campaign of an ad account in the last four weeks, and of all together; by goal.

    A campaign that was shown to nobody who takes part is left out, and so is the sum where it has one part.
    """
    groups = {
        group.id: group for group in list_ad_groups(tx, account.business_id, account.id, NodeFilter(), Page())
    }
    since = (tx.now - LOOK_BACK).date().isoformat()
    counted = list_trials(tx, account.business_id, groups, since)
    by_part: dict[tuple[str, Goal], list[TrialDay]] = {}
    for each in counted:
        group = groups[each.ad_group_id]
        by_part.setdefault((group.campaign_id, group.goal), []).append(each)
    campaigns = {
        campaign.id: campaign
        for campaign in list_campaigns(tx, account.business_id, account.id, NodeFilter(), Page())
    }
    rows = [_measure(campaigns.get(name), goal, days) for (name, goal), days in by_part.items()]
    rows.sort(key=lambda row: (row.goal, "" if row.campaign is None else row.campaign.name))
    return _sums(by_part) + rows


def _sums(by_part: Mapping[tuple[str, Goal], list[TrialDay]]) -> list[CampaignLift]:
    sums = []
    for goal in Goal:
        parts = [days for (_, part_goal), days in by_part.items() if part_goal is goal]
        if len(parts) > 1:
            sums.append(_measure(None, goal, [day for days in parts for day in days]))
    return sums


def _measure(campaign: Campaign | None, goal: Goal, days: Sequence[TrialDay]) -> CampaignLift:
    by_group: dict[str, list[TrialDay]] = {}
    for day in days:
        by_group.setdefault(day.ad_group_id, []).append(day)
    pairs = [
        Pair(
            _arm_of(goal, [day for day in own if day.trial > 0]),
            _arm_of(goal, [day for day in own if day.trial < 0]),
        )
        for own in by_group.values()
    ]
    learned, by_lot = add_arms([pair.learned for pair in pairs]), add_arms([each.by_lot for each in pairs])
    return CampaignLift(campaign, goal, learned, by_lot, measure_lift(pairs))


def _arm_of(goal: Goal, days: Sequence[TrialDay]) -> Arm:
    came, seen = [0] * BUCKETS, [0] * BUCKETS
    for day in days:
        bucket = abs(day.trial) - 1
        came[bucket] += day.leads if goal is Goal.LEAD else day.conversations
        seen[bucket] += day.views
    spent = sum(day.charged_micros for day in days)
    return Arm(sum(seen), spent, sum(came), tuple(zip(came, seen, strict=True)))


def purge_trials(tx: Tx) -> int:
    """Delete some counts that are too old to be shown; say how many."""
    return delete_old_trials(tx, (tx.now - _KEPT).date().isoformat())
