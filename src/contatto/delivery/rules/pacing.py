"""Spending a budget evenly, as a pure function.

Theory. A day's budget is released in proportion to the time that has passed of the day in the ad account's
zone, with a head start so that the day begins at once. An ad group whose spend is ahead of what was released
sits out until time has caught up. Fast pacing releases all at once; a dynamic daily budget may take up to
125 % of its average in one day; a total budget is not paced by the day, only kept.
"""

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from contatto.ads.model import AdGroup, BudgetMode, Pacing
from contatto.ads.rules.delivering import most_of_day

HEAD_START: Final = 0.04
"""The share of a day's budget that is released at midnight: about an hour's worth."""
_DAY_S: Final = 86_400


def day_share(now: datetime, timezone: str) -> float:
    """The share of the local day that has passed, by the clock on the wall."""
    local = now.astimezone(ZoneInfo(timezone))
    return (local.hour * 3600 + local.minute * 60 + local.second) / _DAY_S


def has_budget(ad_group: AdGroup, spent_micros: int, spent_ever_micros: int, share_of_day: float) -> bool:
    """Whether an ad group may spend now.

    Args:
        ad_group: whose budget it is.
        spent_micros: spend of the present day.
        spent_ever_micros: spend since the beginning.
        share_of_day: how much of the day has passed, 0 to 1.
    """
    budget = ad_group.budget_micros
    if budget is None:
        return True
    if ad_group.budget_mode is BudgetMode.TOTAL:
        return spent_ever_micros < budget
    most = most_of_day(ad_group.budget_mode, budget)
    if ad_group.pacing is Pacing.SMOOTH:
        most *= min(1.0, share_of_day + HEAD_START)
    return spent_micros < most
