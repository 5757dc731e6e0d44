"""Budgets that the ad groups of a campaign share: one plan, and one multiplier for all of them.

Theory. The next conversion should cost the same in each ad group; so money goes where it brings more, and
one multiplier serves all. It is read off their landscapes together: what requests of the coming half hour
cost all of them at a multiplier, against what the plan of the campaign wants spent in it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contatto.delivery.model.lines import BudgetMode, Pacing
from contatto.delivery.predict.groups import Group, Groups
from contatto.delivery.predict.traffic import Traffic, amount_between, cumulate
from contatto.delivery.rules.budgets import (
    FAST_S,
    HORIZON_S,
    NO_END_S,
    SECOND,
    UNITS,
    Plan,
    find_multiplier,
    spend_at,
)
from contatto.delivery.rules.columns import BINS, G_ASKED, G_ENDS, G_OFFSET, G_OPEN, G_STARTS

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
    campaigns: dict[str, list[Group]] = {}
    for group in groups.groups:
        if group.line.campaign_id:
            campaigns.setdefault(group.line.campaign_id, []).append(group)
    shares: dict[int, Share] = {}
    for members in campaigns.values():
        able = [member for member in members if _is_open(groups, member, now) and has_campaign_budget(member)]
        if able:
            shares |= _pace(groups, _Pool(members, able), traffic, rates, now)
    return shares


def has_campaign_budget(group: Group) -> bool:
    """Return whether the campaign of an ad group has a budget."""
    line = group.line
    return line.campaign_micros is not None and line.campaign_mode is not BudgetMode.INFINITE


@dataclass(frozen=True, slots=True)
class _Pool:
    """The ad groups of a campaign with a budget; the first that is ``able`` keeps its plan."""

    members: list[Group]
    able: list[Group]

    @property
    def is_by_day(self) -> bool:
        return self.able[0].line.campaign_mode is BudgetMode.DAY

    @property
    def goal(self) -> int:
        """What should be spent, of the day or ever, in units."""
        return (self.able[0].line.campaign_micros or 0) * UNITS

    @property
    def counted(self) -> int:
        """What was spent of it."""
        return sum(member.spent_day if self.is_by_day else member.spent_ever for member in self.members)


def _is_open(groups: Groups, group: Group, now: int) -> bool:
    row = groups.table[group.number]
    return bool(row[G_OPEN]) and bool(row[G_STARTS] <= now / SECOND < row[G_ENDS])


def _pace(
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
        weight = float(rates[each.number]) * coming_s / max(float(groups.table[each.number, G_ASKED]), 1e-9)
        prices += groups.prices[each.number] * weight / each.correction
        counts += groups.counts[each.number] * weight
        asked += float(groups.table[each.number, G_ASKED])
    wanted = _due(groups, pool, plan, curve, ahead_s)
    multiplier = find_multiplier(prices, counts, 1.0, wanted)
    had = able[0].campaign_paced
    if had > 0.0 and multiplier > 0.0 and asked >= 50.0:
        step = math.log(multiplier / had)
        multiplier = had * math.exp(min(max(step, -_FASTEST), _FASTEST) * 0.6)
    return {each.number: _share(groups, each, multiplier) for each in able}


def _share(groups: Groups, group: Group, multiplier: float) -> Share:
    group.campaign_paced = multiplier
    asked = max(float(groups.table[group.number, G_ASKED]), 1e-9)
    cost = spend_at(groups.prices[group.number], multiplier) / asked
    return Share(multiplier, cost / group.correction)


def _due(groups: Groups, pool: _Pool, plan: Plan, curve: NDArray[np.float64], ahead_s: float) -> float:
    """Units that the plan wants promised until a moment, beyond what is spent and promised."""
    if all(each.line.pacing is Pacing.FAST for each in pool.able):
        due = min((ahead_s - plan.from_s) / FAST_S, 1.0)
    else:
        whole = amount_between(curve, plan.from_s, plan.until_s)
        due = amount_between(curve, plan.from_s, ahead_s) / max(whole, 1e-9)
    spent = pool.counted + sum(member.promised for member in pool.members) * groups.view_rate
    return max(plan.spent + plan.amount * due - spent, 0.0) / max(groups.view_rate, 0.05)


def _plan_of(pool: _Pool, curve: NDArray[np.float64], now_s: float) -> Plan:
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
    head.campaign_plan = Plan(now_s, max(until_s, now_s + 1.0), float(pool.counted), max(left, 1.0))
    return head.campaign_plan


def _end_of(able: Sequence[Group]) -> float:
    """Return when the last ad group ends, in seconds since 1970."""
    return max(math.inf if group.line.ends_ts is None else group.line.ends_ts / SECOND for group in able)
