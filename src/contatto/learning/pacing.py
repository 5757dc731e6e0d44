"""Pacing multipliers of ad groups and campaigns: from budgets, plans and cost targets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contatto.learning.budgets import (
    FAST_S,
    HORIZON_S,
    NO_END_S,
    SECOND,
    UNITS,
    BudgetPlan,
    Traffic,
    amount_between,
    cumulate,
    find_limit,
    find_multiplier,
    find_quantile,
    goal_units,
    spend_at,
)
from contatto.learning.columns import (
    BINS,
    DAY_S,
    G_ENDS,
    G_MULTIPLIER,
    G_OFFSET,
    G_OPEN,
    G_REQUESTS,
    G_STARTS,
)
from contatto.learning.groups import AuctionGroup, Groups
from contatto.learning.lines import LineBidType, LineBudgetMode, LinePacing

_FASTEST: Final = 0.7
"""A multiplier changes by no more in a step, as a logarithm."""


@dataclass(frozen=True, slots=True)
class Share:
    """The multiplier of an ad group by the budget of its campaign; ``wanted`` are units for each request."""

    multiplier: float
    wanted: float


def pace_campaigns(
    groups: Groups, traffic: Traffic, rates: NDArray[np.float64], now: int
) -> dict[int, Share]:
    """The multipliers of ad groups whose campaigns have a budget, by their numbers.

    Args:
        groups: the ad groups.
        traffic: the curve of requests.
        rates: requests a second that each ad group could have served lately.
        now: the time.
    """
    campaigns: dict[str, list[AuctionGroup]] = {}
    for group in groups.groups:
        if group.line.campaign_id:
            campaigns.setdefault(group.line.campaign_id, []).append(group)
    shares: dict[int, Share] = {}
    for members in campaigns.values():
        able = [member for member in members if _is_open(groups, member, now) and has_campaign_budget(member)]
        if able:
            shares |= _pace_pool(groups, _Pool(members, able), traffic, rates, now)
    return shares


def has_campaign_budget(group: AuctionGroup) -> bool:
    """Return whether the campaign of an ad group has a budget."""
    line = group.line
    return line.campaign_micros is not None and line.campaign_mode is not LineBudgetMode.INFINITE


@dataclass(frozen=True, slots=True)
class _Pool:
    """The ad groups of a campaign with a budget; the first that is ``able`` keeps its plan."""

    members: list[AuctionGroup]
    able: list[AuctionGroup]

    @property
    def is_by_day(self) -> bool:
        return self.able[0].line.campaign_mode is LineBudgetMode.DAY

    @property
    def goal(self) -> int:
        """What should be spent, of the day or ever, in units."""
        return (self.able[0].line.campaign_micros or 0) * UNITS

    @property
    def counted(self) -> int:
        """What was spent of it."""
        return sum(member.spent_day if self.is_by_day else member.spent_ever for member in self.members)


def _is_open(groups: Groups, group: AuctionGroup, now: int) -> bool:
    row = groups.table[group.number]
    return bool(row[G_OPEN]) and bool(row[G_STARTS] <= now / SECOND < row[G_ENDS])


def _pace_pool(
    groups: Groups, pool: _Pool, traffic: Traffic, rates: NDArray[np.float64], now: int
) -> dict[int, Share]:
    now_s, able = now / SECOND, pool.able
    served = np.asarray(groups.allowed[[each.number for each in able]].max(axis=0), np.bool_)
    curve = cumulate(traffic.curve_of(served, float(groups.table[able[0].number, G_OFFSET])))
    plan = _plan_of(pool, curve, now_s)
    ahead_s = min(now_s + HORIZON_S, max(plan.until_s, now_s + 1.0))
    amount = amount_between(curve, now_s, ahead_s)
    lately = amount_between(curve, now_s - HORIZON_S, now_s)
    coming_s = HORIZON_S * amount / max(lately, 1e-9)
    prices, counts, asked = np.zeros(BINS), np.zeros(BINS), 0.0
    for each in able:
        weight = (
            float(rates[each.number]) * coming_s / max(float(groups.table[each.number, G_REQUESTS]), 1e-9)
        )
        prices += groups.prices[each.number] * weight / each.correction
        counts += groups.counts[each.number] * weight
        asked += float(groups.table[each.number, G_REQUESTS])
    wanted = _due(groups, pool, plan, curve, ahead_s)
    multiplier = find_multiplier(prices, counts, 1.0, wanted)
    had = able[0].campaign_paced
    if had > 0.0 and multiplier > 0.0 and asked >= 50.0:
        step = math.log(multiplier / had)
        multiplier = had * math.exp(min(max(step, -_FASTEST), _FASTEST) * 0.6)
    return {each.number: _share(groups, each, multiplier) for each in able}


def _share(groups: Groups, group: AuctionGroup, multiplier: float) -> Share:
    group.campaign_paced = multiplier
    asked = max(float(groups.table[group.number, G_REQUESTS]), 1e-9)
    cost = spend_at(groups.prices[group.number], multiplier) / asked
    return Share(multiplier, cost / group.correction)


def _due(groups: Groups, pool: _Pool, plan: BudgetPlan, curve: NDArray[np.float64], ahead_s: float) -> float:
    """Units that the plan wants promised until a moment, beyond what is spent and promised."""
    if all(each.line.pacing is LinePacing.FAST for each in pool.able):
        due = min((ahead_s - plan.from_s) / FAST_S, 1.0)
    else:
        whole = amount_between(curve, plan.from_s, plan.until_s)
        due = amount_between(curve, plan.from_s, ahead_s) / max(whole, 1e-9)
    spent = pool.counted + sum(member.promised for member in pool.members) * groups.view_rate
    return max(plan.spent + plan.amount * due - spent, 0.0) / max(groups.view_rate, 0.05)


def _plan_of(pool: _Pool, curve: NDArray[np.float64], now_s: float) -> BudgetPlan:
    """The plan of a campaign; one that runs without an end has a new one in each step."""
    head, ends_s = pool.able[0], _end_of(pool.able)
    if head.campaign_plan.amount and (pool.is_by_day or ends_s < math.inf):
        return head.campaign_plan
    left = float(pool.goal - pool.counted)
    until_s = ends_s if ends_s < math.inf else now_s + NO_END_S
    if pool.is_by_day:
        until_s = min(head.day_until / SECOND, ends_s)
        is_new = all(member.began_at >= member.day_from and not member.spent_ever for member in pool.members)
        if is_new:  # the first day gets the part of it that is left
            whole = amount_between(curve, head.day_from / SECOND, head.day_until / SECOND)
            left *= amount_between(curve, now_s, head.day_until / SECOND) / max(whole, 1e-9)
    head.campaign_plan = BudgetPlan(now_s, max(until_s, now_s + 1.0), float(pool.counted), max(left, 1.0))
    return head.campaign_plan


def _end_of(able: Sequence[AuctionGroup]) -> float:
    """Return when the last ad group ends, in seconds since 1970."""
    return max(math.inf if group.line.ends_ts is None else group.line.ends_ts / SECOND for group in able)


GAIN: Final = 0.25
"""How much of a step's error in spend (as a power) is corrected in the next."""
LEARNED_AT: Final = 20
"""Conversions from which on a cost target is bid; before, learning has a budget."""
LEARNING_S: Final = 2.5 * DAY_S
"""So long an ad group with a cost target may learn at a higher cost."""
FEW_A_DAY: Final = 1.0
"""An ad group that expects fewer conversions in a day wins next to nothing at its cost target."""
LEARNING_A_DAY: Final = 10.0
"""So many times the cost target may be spent in a day while an ad group learns, less if it costs too much."""
LEARNING_TRUST: Final = 4.0
"""So many conversions at the target are believed while an ad group learns."""
STARVED_A_DAY: Final = 0.1
"""The same for an ad group that would win next to nothing at its cost target."""
FACTORS: Final = (0.8, 1.25)
"""Bounds of what a cost target is multiplied by, so that the cost that comes out is the target."""
TRUST: Final = 10.0
"""So many conversions at the target are believed before anything was seen."""


def steer_groups(groups: Groups, traffic: Traffic, rates: NDArray[np.float64], now: int) -> None:
    """Set every ad group's multiplier from its plan, its cost target and its landscape.

    Args:
        groups: the ad groups.
        traffic: the curve of requests.
        rates: requests a second that each ad group could have served lately.
        now: the time.
    """
    opened = sum(1 for group in groups.groups if groups.table[group.number, G_OPEN])
    shares = pace_campaigns(groups, traffic, rates, now)
    for group in groups.groups:
        rate, share = float(rates[group.number]), shares.get(group.number)
        found = _multiplier(groups, group, traffic, rate, now, opened if share is None else share)
        groups.table[group.number, G_MULTIPLIER] = found


def target_of(group: AuctionGroup) -> float:
    """What a conversion may cost, in micros; 0 without a target."""
    line = group.line
    return float(line.bid_micros or 0) if line.bid_type is LineBidType.CUSTOM else 0.0


def is_target_too_low(group: AuctionGroup, now: int) -> bool:
    """Return whether a cost target holds an ad group back that had its time to learn and won little by it."""
    is_held = target_of(group) > 0.0 and not group.is_paced
    return is_held and not _has_time_to_learn(group, now) and group.lately_expected < FEW_A_DAY


def _has_time_to_learn(group: AuctionGroup, now: int) -> bool:
    """Return whether an ad group may still learn at more than its cost target."""
    return now - max(group.began_at, group.line.starts_ts or 0) < LEARNING_S * SECOND


def _multiplier(
    groups: Groups, group: AuctionGroup, traffic: Traffic, rate: float, now: int, among: int | Share
) -> float:
    """The multiplier of an ad group ``among`` so many that are open, or by the budget of its campaign."""
    target = target_of(group)
    is_free = goal_units(group.line) == math.inf
    if is_free and isinstance(among, int):
        group.is_paced = False
        paced = math.inf
        if not target:
            return find_quantile(groups.counts[group.number], min(max(1.0 / (among + 1), 0.05), 0.5))
    else:
        paced = math.inf if is_free else _pace(groups, group, traffic, rate, now)
        if isinstance(among, Share) and among.multiplier < paced:
            paced, group.wanted = among.multiplier, among.wanted
    if not target:
        group.is_paced = True
        return paced
    if group.earned() < LEARNED_AT and _has_time_to_learn(group, now):
        spent = group.spent_ever / UNITS / target
        worth = (group.earned() + LEARNING_TRUST) / (spent + LEARNING_TRUST)
        budget = LEARNING_A_DAY * target * min(worth, 1.0)
        found = min(paced, _explore(groups, group, traffic, rate, now, budget))
    else:
        found = min(paced, find_limit(groups.prices[group.number], target * group.cost_factor))
        if group.lately_expected < FEW_A_DAY:
            starved = _explore(groups, group, traffic, rate, now, STARVED_A_DAY * target)
            found = max(found, min(paced, starved))
    group.is_paced = found == paced
    return found


def _pace(groups: Groups, group: AuctionGroup, traffic: Traffic, rate: float, now: int) -> float:
    """The multiplier that spends the budget along its plan."""
    number = group.number
    asked = float(groups.table[number, G_REQUESTS])
    group.wanted = _wanted(groups, group, traffic, rate, now)
    wanted = group.wanted * group.correction
    multiplier = find_multiplier(groups.prices[number], groups.counts[number], asked, wanted)
    had = group.paced
    if had > 0.0 and multiplier > 0.0 and asked >= 50.0:
        step = math.log(multiplier / had)
        multiplier = had * math.exp(min(max(step, -0.7), 0.7) * 0.6)
    group.paced = multiplier
    return multiplier


def _explore(
    groups: Groups, group: AuctionGroup, traffic: Traffic, rate: float, now: int, micros_a_day: float
) -> float:
    """The multiplier that spends an amount in a day along the curve of requests."""
    curve = _curve(groups, group, traffic)
    now_s = now / SECOND
    share = amount_between(curve, now_s - HORIZON_S, now_s) / max(
        amount_between(curve, now_s - DAY_S, now_s), 1e-9
    )
    wanted = micros_a_day * UNITS * share / max(rate * HORIZON_S, 1.0)
    number = group.number
    return find_multiplier(
        groups.prices[number], groups.counts[number], float(groups.table[number, G_REQUESTS]), wanted
    )


def check_spend(groups: Groups, newest: NDArray[np.float64], passed_s: float) -> None:
    """Compare what each ad group spent in the last step with what was wanted; correct a steady error.

    Estimates move, and what the landscape tells of yesterday's is then a little off. Cost targets follow
    what conversions cost lately, as they are expected to come.
    """
    share = 0.5 ** (passed_s / DAY_S)
    for group in groups.groups:
        number = group.number
        spent = group.spent_ever + group.promised * groups.view_rate
        wanted = group.wanted * float(newest[number]) * groups.view_rate
        actual = max(spent - group.spent_then, 0.0)
        group.spent_then = spent
        if wanted > 0.0 and group.is_paced:
            price = float(groups.prices[number].sum() / max(groups.counts[number].sum(), 1.0))
            doubt = 3.0 * price + 0.1 * wanted
            group.correction *= ((wanted + doubt) / (actual + doubt)) ** GAIN
            group.correction = min(max(group.correction, 0.4), 2.5)
        group.lately_spent = group.lately_spent * share + actual / UNITS
        group.lately_expected = group.lately_expected * share + group.expected
        group.expected = 0.0
        target = target_of(group)
        if target:
            cost = (group.lately_spent + TRUST * target) / (group.lately_expected + TRUST)
            factor = group.cost_factor * (target / cost) ** (0.5 * passed_s / 3_600.0)
            group.cost_factor = min(max(factor, FACTORS[0]), FACTORS[1])


def _wanted(groups: Groups, group: AuctionGroup, traffic: Traffic, rate: float, now: int) -> float:
    """Units to spend for each request that comes next, so that spend follows the plan."""
    now_s = now / SECOND
    line = group.line
    curve = _curve(groups, group, traffic)
    if not group.plan.amount:
        group.plan = _make_plan(group, curve, now_s)
    plan = group.plan
    if line.budget_mode is LineBudgetMode.TOTAL and line.ends_ts is None:
        plan.from_s, plan.until_s, plan.spent = now_s, now_s + NO_END_S, float(group.counted)
        plan.amount = goal_units(line) - group.counted
    spent = group.counted + group.promised * groups.view_rate
    ahead_s = min(now_s + HORIZON_S, max(plan.until_s, now_s + 1.0))
    if line.pacing is LinePacing.FAST:
        due = min((ahead_s - plan.from_s) / FAST_S, 1.0)
    else:
        whole = amount_between(curve, plan.from_s, plan.until_s)
        due = amount_between(curve, plan.from_s, ahead_s) / max(whole, 1e-9)
    is_smooth = line.pacing is not LinePacing.FAST
    group.ahead = plan.spent + plan.amount * due if is_smooth else math.inf
    groups.refresh(group)
    amount = amount_between(curve, now_s, ahead_s)
    lately = amount_between(curve, now_s - HORIZON_S, now_s)
    coming = rate * HORIZON_S * amount / max(lately, 1e-9)
    wanted = max(plan.spent + plan.amount * due - spent, 0.0) / max(groups.view_rate, 0.05)
    return wanted / max(coming, 1.0)


def _curve(groups: Groups, group: AuctionGroup, traffic: Traffic) -> NDArray[np.float64]:
    """The curve of an ad group, summed up; it changes with the day and with the countries."""
    known = groups.curves.get(group.number)
    if known is None or known[0] != traffic.day:
        offset_s = float(groups.table[group.number, G_OFFSET])
        curve = cumulate(traffic.curve_of(groups.allowed[group.number].astype(bool), offset_s))
        known = groups.curves[group.number] = (traffic.day, curve)
    return known[1]


def _make_plan(group: AuctionGroup, curve: NDArray[np.float64], now_s: float) -> BudgetPlan:
    """The plan of a budget from now on; the first day of an ad group gets the part of it that is left."""
    line = group.line
    starts_s = (line.starts_ts or 0) / SECOND
    begins_s = max(now_s, starts_s)
    ends_s = math.inf if line.ends_ts is None else line.ends_ts / SECOND
    left = goal_units(line) - group.counted
    if line.budget_mode is LineBudgetMode.TOTAL:
        until_s = ends_s if ends_s < math.inf else begins_s + NO_END_S
        return BudgetPlan(begins_s, max(until_s, begins_s + 1.0), float(group.counted), left)
    from_s, until_s = group.day_from / SECOND, min(group.day_until / SECOND, ends_s)
    is_first = group.began_at >= group.day_from and group.spent_ever == 0
    if is_first:
        whole = amount_between(curve, from_s, group.day_until / SECOND)
        left *= amount_between(curve, begins_s, group.day_until / SECOND) / max(whole, 1e-9)
    return BudgetPlan(begins_s, max(until_s, begins_s + 1.0), float(group.counted), max(left, 1.0))
