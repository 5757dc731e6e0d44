"""How far an ad group has learned, and what keeps it from learning."""

from typing import Final

import numpy as np

from contatto.delivery.model.lines import BidType, BudgetMode, Goal
from contatto.delivery.model.phases import GroupState, Phase, Reason
from contatto.delivery.predict.groups import Group
from contatto.delivery.predict.market import Market
from contatto.delivery.predict.pacing import is_target_too_low
from contatto.delivery.predict.reporting import ENOUGH, report_group
from contatto.delivery.rules.columns import G_ASKED, G_MULTIPLIER

FEW_REQUESTS: Final = 20.0
"""Requests, fading, below which an ad group has hardly any to learn from."""


def state_of(market: Market, group: Group) -> GroupState:
    """What is to be said of an ad group now."""
    report = report_group(market, group)
    multiplier = float(market.groups.table[group.number, G_MULTIPLIER])
    phase = Phase(report.phase)
    return GroupState(
        int(group.line.adgroup_id),
        multiplier if np.isfinite(multiplier) else 0.0,
        phase,
        [] if phase is Phase.LEARNED else reasons_of(market, group, phase),
        group.earned(),
        ENOUGH,
        report.views,
        report.clicks,
        report.conversations,
        report.spam,
        report.leads,
        report.predicted_leads,
        report.spend_micros,
    )


def reasons_of(market: Market, group: Group, phase: Phase) -> list[Reason]:
    """List what keeps an ad group from learning."""
    is_low = is_target_too_low(group, market.now)
    if phase is Phase.LEARNING:
        return [Reason.FEW_CONVERSIONS, *([Reason.LOW_BID] if is_low else [])]
    line = group.line
    few = Reason.TOO_FEW_LEADS if line.goal is Goal.LEAD else Reason.TOO_FEW_CONVERSATIONS
    found = [few]
    if float(market.groups.table[group.number, G_ASKED]) < FEW_REQUESTS:
        found.append(Reason.LITTLE_TRAFFIC)
    elif is_low or (line.bid_type is BidType.CUSTOM and group.views < FEW_REQUESTS):
        found.append(Reason.LOW_BID)
    cost = group.spent_ever / 1_000 / max(group.earned(), 1)
    if line.budget_mode is BudgetMode.DAY and line.budget_micros and 7 * line.budget_micros < ENOUGH * cost:
        found.append(Reason.LITTLE_BUDGET)
    return found
