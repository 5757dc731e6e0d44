"""Pacing multipliers of ad groups and campaigns, from budgets and cost targets.

A multiplier is the value of a conversion in micros; a bid is its product with the score of the ad. A
landscape has the prices of recent requests by lowest winning multiplier (see `columns`).
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contatto.learning.columns import (
    BINS,
    DAY_S,
    G_ENDS,
    G_MULTIPLIER,
    G_OFFSET,
    G_OPEN,
    G_REQUESTS,
    G_STARTS,
    SECOND,
)
from contatto.learning.lines import LineBidType, LineBudgetMode, LinePacing
from contatto.learning.market import (
    FAST_S,
    HORIZON_S,
    NO_END_S,
    UNITS,
    AuctionGroup,
    BudgetPlan,
    Groups,
    Traffic,
    amount_between,
    cumulate,
    find_limit,
    find_multiplier,
    find_quantile,
    goal_units,
    spend_at,
)

_FASTEST: Final = 0.7
"""Largest change of a multiplier in a step, as a logarithm."""
GAIN: Final = 0.25
"""Gain of the correction of spend per step, as a power."""
LEARNED_AT: Final = 20
"""Conversions from which on the cost target limits bids; before, a learning budget does."""
LEARNING_S: Final = 2.5 * DAY_S
"""Time in which an ad group with a cost target may learn at a higher cost."""
FEW_A_DAY: Final = 1.0
"""Expected daily conversions below which a cost target counts as too low."""
FAR_OVER: Final = 4.0
"""Cost over target from which on the target counts as too low."""
LEARNING_A_DAY: Final = 20.0
"""Daily learning budget, as a multiple of the cost target; less at high costs."""
LEARNING_TRUST: Final = 8.0
"""Prior conversions at the target while an ad group learns."""
STARVED_A_DAY: Final = 0.1
"""Daily budget of an ad group with a cost target that is too low, as a multiple of the target."""
FACTORS: Final = (0.8, 1.25)
"""Bounds of the factor that corrects the actual cost to the target."""
AIM: Final = 0.8
"""Share of the cost target that bids aim at, since the cost of few results varies by chance."""
TRUST: Final = 10.0
"""Prior conversions at the target."""


def steer_groups(groups: Groups, traffic: Traffic, rates: NDArray[np.float64], ts: int) -> None:
    """Set every ad group's multiplier from its plan, cost target and landscape.

    ``rates`` are eligible requests per second by ad group.
    """
    opened = sum(1 for group in groups.groups if groups.table[group.number, G_OPEN])
    shares = pace_campaigns(groups, traffic, rates, ts)
    for group in groups.groups:
        rate, share = float(rates[group.number]), shares.get(group.number)
        multiplier = _multiplier(groups, group, traffic, rate, ts, opened if share is None else share)
        groups.table[group.number, G_MULTIPLIER] = multiplier


def target_of(group: AuctionGroup) -> float:
    """Return the cost target in micros; 0 without one."""
    line = group.line
    return float(line.bid_micros or 0) if line.bid_type is LineBidType.CUSTOM else 0.0


def is_target_too_low(group: AuctionGroup, ts: int) -> bool:
    """Report whether the cost target is too low: few expected results, or at many times the target.

    It is not while the budget limits the ad group, nor in its learning time.
    """
    target = target_of(group)
    if not target or group.is_paced or _has_time_to_learn(group, ts):
        return False
    dear = group.lately_spent > FAR_OVER * target * group.lately_expected
    return dear or group.lately_expected < FEW_A_DAY


def _has_time_to_learn(group: AuctionGroup, ts: int) -> bool:
    return ts - max(group.began_at, group.line.starts_ts or 0) < LEARNING_S * SECOND


@dataclass(frozen=True, slots=True)
class CampaignShare:
    """Multiplier of an ad group from the campaign budget; ``planned`` are units per request."""

    multiplier: float
    planned: float


def pace_campaigns(
    groups: Groups, traffic: Traffic, rates: NDArray[np.float64], ts: int
) -> dict[int, CampaignShare]:
    """Return the multipliers of ad groups with a campaign budget; see `steer_groups`."""
    campaigns: dict[str, list[AuctionGroup]] = {}
    for group in groups.groups:
        if group.line.campaign_id:
            campaigns.setdefault(group.line.campaign_id, []).append(group)
    shares: dict[int, CampaignShare] = {}
    for members in campaigns.values():
        serving = []
        for member in members:
            row = groups.table[member.number]
            is_open = row[G_OPEN] and row[G_STARTS] <= ts / SECOND < row[G_ENDS]
            if is_open and has_campaign_budget(member):
                serving.append(member)
        if serving:
            shares |= _pace_campaign(groups, members, serving, traffic, rates, ts)
    return shares


def has_campaign_budget(group: AuctionGroup) -> bool:
    line = group.line
    return line.campaign_micros is not None and line.campaign_mode is not LineBudgetMode.INFINITE


def _pace_campaign(
    groups: Groups, members: list[AuctionGroup], serving: list[AuctionGroup], traffic: Traffic,
    rates: NDArray[np.float64], ts: int,
) -> dict[int, CampaignShare]:  # fmt: skip
    """Pace a campaign budget over its serving ad groups; the first of them stores the plan."""
    now_s, head = ts / SECOND, serving[0]
    targeted = np.asarray(groups.allowed[[member.number for member in serving]].max(axis=0), np.bool_)
    curve = cumulate(traffic.curve_of(targeted, float(groups.table[head.number, G_OFFSET])))
    is_by_day = head.line.campaign_mode is LineBudgetMode.DAY
    counted = sum(member.spent_day if is_by_day else member.spent_ever for member in members)
    plan = _campaign_plan(members, serving, counted, curve, now_s)
    ahead_s = min(now_s + HORIZON_S, max(plan.until_s, now_s + 1.0))
    amount = amount_between(curve, now_s, ahead_s)
    lately = amount_between(curve, now_s - HORIZON_S, now_s)
    coming_s = HORIZON_S * amount / max(lately, 1e-9)
    prices, counts, requests = np.zeros(BINS), np.zeros(BINS), 0.0
    for member in serving:
        number, count = member.number, float(groups.table[member.number, G_REQUESTS])
        weight = float(rates[number]) * coming_s / max(count, 1e-9)
        prices += groups.prices[number] * weight / member.correction
        counts += groups.counts[number] * weight
        requests += count
    is_fast = all(member.line.pacing is LinePacing.FAST for member in serving)
    due = _due_share(plan, curve, ahead_s, is_fast=is_fast)
    spent = counted + sum(member.promised for member in members) * groups.view_rate
    units = max(plan.spent + plan.amount * due - spent, 0.0) / max(groups.view_rate, 0.05)
    multiplier = _damp(head.campaign_paced, find_multiplier(prices, counts, 1.0, units), requests)
    shares = {}
    for member in serving:
        member.campaign_paced = multiplier
        requests = max(float(groups.table[member.number, G_REQUESTS]), 1e-9)
        cost = spend_at(groups.prices[member.number], multiplier) / requests
        shares[member.number] = CampaignShare(multiplier, cost / member.correction)
    return shares


def _campaign_plan(
    members: list[AuctionGroup],
    serving: list[AuctionGroup],
    counted: int,
    curve: NDArray[np.float64],
    now_s: float,
) -> BudgetPlan:
    """Return the plan of a campaign; without an end each step makes a new one."""
    head = serving[0]
    is_by_day = head.line.campaign_mode is LineBudgetMode.DAY
    ends = (group.line.ends_ts for group in serving)
    ends_s = max(math.inf if ends_ts is None else ends_ts / SECOND for ends_ts in ends)
    if head.campaign_plan.amount and (is_by_day or ends_s < math.inf):
        return head.campaign_plan
    remaining = float((head.line.campaign_micros or 0) * UNITS - counted)
    until_s = ends_s if ends_s < math.inf else now_s + NO_END_S
    if is_by_day:
        until_s = min(head.day_until / SECOND, ends_s)
        if all(member.began_at >= member.day_from and not member.spent_ever for member in members):
            # The first day gets the rest of the daily curve.
            whole = amount_between(curve, head.day_from / SECOND, head.day_until / SECOND)
            remaining *= amount_between(curve, now_s, head.day_until / SECOND) / max(whole, 1e-9)
    head.campaign_plan = BudgetPlan(now_s, max(until_s, now_s + 1.0), float(counted), max(remaining, 1.0))
    return head.campaign_plan


def _due_share(plan: BudgetPlan, curve: NDArray[np.float64], until_s: float, *, is_fast: bool) -> float:
    """Return the share of a plan that is due until a time."""
    if is_fast:
        return min((until_s - plan.from_s) / FAST_S, 1.0)
    whole = amount_between(curve, plan.from_s, plan.until_s)
    return amount_between(curve, plan.from_s, until_s) / max(whole, 1e-9)


def _damp(previous: float, multiplier: float, requests: float) -> float:
    """Limit the change of a multiplier in a step."""
    if previous > 0.0 and multiplier > 0.0 and requests >= 50.0:
        step = math.log(multiplier / previous)
        return previous * math.exp(min(max(step, -_FASTEST), _FASTEST) * 0.6)
    return multiplier


def _multiplier(
    groups: Groups, group: AuctionGroup, traffic: Traffic, rate: float, ts: int, opened: int | CampaignShare
) -> float:
    """Return the multiplier of an ad group, given the number of open ad groups or its campaign share."""
    target = target_of(group)
    is_free = goal_units(group.line) == math.inf
    if is_free and isinstance(opened, int):
        group.is_paced = False
        paced = math.inf
        if not target:
            return find_quantile(groups.counts[group.number], min(max(1.0 / (opened + 1), 0.05), 0.5))
    else:
        paced = math.inf if is_free else _pace(groups, group, traffic, rate, ts)
        if isinstance(opened, CampaignShare) and opened.multiplier < paced:
            paced, group.planned = opened.multiplier, opened.planned
    if not target:
        group.is_paced = True
        return paced
    if group.earned() < LEARNED_AT and _has_time_to_learn(group, ts):
        spent = group.spent_ever / UNITS / target
        success = (group.earned() + LEARNING_TRUST) / (spent + LEARNING_TRUST)
        budget = LEARNING_A_DAY * target * min(success, 1.0)
        multiplier = min(paced, _explore(groups, group, traffic, rate, ts, budget))
    else:
        limit = AIM * target * group.cost_factor * results_per_score(groups, group)
        multiplier = min(paced, find_limit(groups.prices[group.number], limit))
        if group.lately_expected < FEW_A_DAY:
            starved = _explore(groups, group, traffic, rate, ts, STARVED_A_DAY * target)
            multiplier = max(multiplier, min(paced, starved))
    group.is_paced = multiplier == paced
    return multiplier


def results_per_score(groups: Groups, group: AuctionGroup) -> float:
    """Return the expected results of recent views over their scores, of an ad group and its goal.

    Scores are lower than expected results, since spam counts less, for example. Prices are known by score.
    """
    goal = group.line.goal
    same = [member for member in groups.groups if member.line.goal is goal]
    expected = sum(member.lately_expected for member in same)
    scored = sum(member.lately_scored for member in same)
    usual = (expected + TRUST) / (scored + TRUST)
    return (group.lately_expected + TRUST * usual) / (group.lately_scored + TRUST)


def _pace(groups: Groups, group: AuctionGroup, traffic: Traffic, rate: float, ts: int) -> float:
    """Return the multiplier that spends the budget along its plan; make a missing plan."""
    now_s, line, plan = ts / SECOND, group.line, group.plan
    curve = _curve(groups, group, traffic)
    if not plan.amount:
        begins_s = max(now_s, (line.starts_ts or 0) / SECOND)
        ends_s = math.inf if line.ends_ts is None else line.ends_ts / SECOND
        remaining = goal_units(line) - group.counted
        if line.budget_mode is LineBudgetMode.TOTAL:
            until_s = ends_s if ends_s < math.inf else begins_s + NO_END_S
        else:
            day_end_s = group.day_until / SECOND
            until_s = min(day_end_s, ends_s)
            if group.began_at >= group.day_from and group.spent_ever == 0:
                # The first day gets the rest of the daily curve.
                whole = amount_between(curve, group.day_from / SECOND, day_end_s)
                remaining *= amount_between(curve, begins_s, day_end_s) / max(whole, 1e-9)
            remaining = max(remaining, 1.0)
        plan = BudgetPlan(begins_s, max(until_s, begins_s + 1.0), float(group.counted), remaining)
        group.plan = plan
    if line.budget_mode is LineBudgetMode.TOTAL and line.ends_ts is None:
        plan.from_s, plan.until_s, plan.spent = now_s, now_s + NO_END_S, float(group.counted)
        plan.amount = goal_units(line) - group.counted
    spent = group.counted + group.promised * groups.view_rate
    ahead_s = min(now_s + HORIZON_S, max(plan.until_s, now_s + 1.0))
    is_fast = line.pacing is LinePacing.FAST
    due = _due_share(plan, curve, ahead_s, is_fast=is_fast)
    group.ahead = math.inf if is_fast else plan.spent + plan.amount * due
    groups.refresh(group)
    amount = amount_between(curve, now_s, ahead_s)
    lately = amount_between(curve, now_s - HORIZON_S, now_s)
    coming = rate * HORIZON_S * amount / max(lately, 1e-9)
    units = max(plan.spent + plan.amount * due - spent, 0.0) / max(groups.view_rate, 0.05)
    group.planned = units / max(coming, 1.0)
    number = group.number
    requests = float(groups.table[number, G_REQUESTS])
    multiplier = find_multiplier(
        groups.prices[number], groups.counts[number], requests, group.planned * group.correction
    )
    group.paced = _damp(group.paced, multiplier, requests)
    return group.paced


def _explore(
    groups: Groups, group: AuctionGroup, traffic: Traffic, rate: float, ts: int, micros_a_day: float
) -> float:
    """Return the multiplier that spends a daily amount along the curve of requests."""
    curve = _curve(groups, group, traffic)
    now_s, number = ts / SECOND, group.number
    lately = amount_between(curve, now_s - HORIZON_S, now_s)
    share = lately / max(amount_between(curve, now_s - DAY_S, now_s), 1e-9)
    units = micros_a_day * UNITS * share / max(rate * HORIZON_S, 1.0)
    requests = float(groups.table[number, G_REQUESTS])
    return find_multiplier(groups.prices[number], groups.counts[number], requests, units)


def _curve(groups: Groups, group: AuctionGroup, traffic: Traffic) -> NDArray[np.float64]:
    """Return the cumulative daily curve of an ad group, cached until the day or a country changes."""
    cached = groups.curves.get(group.number)
    if cached is None or cached[0] != traffic.day:
        offset_s = float(groups.table[group.number, G_OFFSET])
        curve = cumulate(traffic.curve_of(groups.allowed[group.number].astype(bool), offset_s))
        cached = groups.curves[group.number] = (traffic.day, curve)
    return cached[1]


def check_spend(groups: Groups, newest: NDArray[np.float64], passed_s: float) -> None:
    """Correct the pacing of each ad group by its actual over planned spend of the last step.

    Changing predictions make the landscape slightly wrong, so a steady error remains. The factor of a cost
    target follows the actual cost per expected conversion. ``newest`` are the eligible requests of each ad
    group in the last step, which took ``passed_s``.
    """
    share = 0.5 ** (passed_s / DAY_S)
    for group in groups.groups:
        number = group.number
        spent = group.spent_ever + group.promised * groups.view_rate
        planned = group.planned * float(newest[number]) * groups.view_rate
        actual = max(spent - group.spent_before, 0.0)
        group.spent_before = spent
        if planned > 0.0 and group.is_paced:
            price = float(groups.prices[number].sum() / max(groups.counts[number].sum(), 1.0))
            doubt = 3.0 * price + 0.1 * planned
            group.correction *= ((planned + doubt) / (actual + doubt)) ** GAIN
            group.correction = min(max(group.correction, 0.4), 2.5)
        group.lately_spent = group.lately_spent * share + actual / UNITS
        group.lately_expected = group.lately_expected * share + group.expected
        group.lately_scored = group.lately_scored * share + group.scored
        group.expected = group.scored = 0.0
        target = target_of(group)
        if target:
            cost = (group.lately_spent + TRUST * target) / (group.lately_expected + TRUST)
            factor = group.cost_factor * (target / cost) ** (0.5 * passed_s / 3_600.0)
            group.cost_factor = min(max(factor, FACTORS[0]), FACTORS[1])
