"""What a serving process may promise of budgets: parts of them, granted in the database for some seconds."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from contatto.ads.model import Spent
from contatto.ads.rules.goals import add_spent
from contatto.ads.store import list_ad_group_ids
from contatto.delivery.model.decisions import Candidate
from contatto.delivery.model.ledger import Balance, Grant, Promise
from contatto.delivery.rules.competing import LEAST_VIEW_MICROS, budget_left, has_budget
from contatto.delivery.rules.sharing import Want, share_budgets
from contatto.delivery.store import ledger
from contatto.kit.db.tx import Tx
from contatto.kit.timestamps import micros
from contatto.measurement.rules import local_day

GRANT_US: Final = 15_000_000
"""For so long a process may promise what it was granted, unless it asks again."""
PROMISE_US: Final = 900_000_000
"""So long a place in the budget is kept for a view that did not come yet."""
LEAST_VIEWS: Final = 50
"""A process is granted this many of the cheapest views at least, where there is room."""
AHEAD: Final = 4
"""So many times what it promised since it last asked, a process is granted."""


@dataclass(frozen=True, slots=True)
class Till:
    """What a process holds of one budget, and for which day."""

    micros: float
    day: str
    until: int


@dataclass(frozen=True, slots=True)
class Used:
    """What a process promised of a budget since it last asked, and the price of one view there."""

    micros: int = 0
    view_micros: int = LEAST_VIEW_MICROS


def take_grants(
    tx: Tx, business_id: str, server_id: str, candidates: Iterable[Candidate], used: Mapping[str, Used]
) -> dict[str, Till]:
    """Take a part of every budget of a business for a serving process; by ad group.

    Args:
        tx: an open transaction.
        business_id: whose budgets.
        server_id: the process.
        candidates: the live ads.
        used: what it promised since it last asked, by ad group.
    """
    tx.hold_key("delivery grants", business_id)
    ledger.delete_expired(tx, business_id)
    groups = {candidate.ad_group.id: candidate for candidate in candidates}
    now = micros(tx.now)
    days = {zone: local_day(now, zone) for zone in {group.timezone for group in groups.values()}}
    spent: dict[str, Spent] = {}
    for zone, day in days.items():
        here = [name for name, each in groups.items() if each.timezone == zone]
        spent |= ledger.list_spent(tx, business_id, here, day)
    dearest = _dearest_views(groups, used)
    wants = [
        _want(each, used.get(name, Used()), spent.get(name, Spent()), dearest[each.ad_group.ad_account_id])
        for name, each in sorted(groups.items())
    ]
    held = ledger.list_granted(tx, business_id, server_id)
    promised = ledger.list_promised(tx, business_id)
    for name, amount in (each for of_server in held.values() for each in of_server.items()):
        promised[name] = promised.get(name, 0) + amount
    rooms = _rooms(tx, business_id, server_id, groups.values())
    rooms |= _campaign_rooms(tx, business_id, groups.values(), days, promised)
    granted = share_budgets(wants, promised, rooms, others=len(held))
    until = now + GRANT_US
    bounded = {
        want.ad_group_id
        for want in wants
        if want.left is not None or any(name in rooms for name in want.purses)
    }
    rows = [
        Grant(business_id, name, server_id, groups[name].ad_group.ad_account_id, granted[name], until)
        for name in sorted(bounded)
    ]
    ledger.save_grants(tx, business_id, server_id, rows)
    return {
        name: Till(granted[name] if name in bounded else math.inf, days[each.timezone], until)
        for name, each in groups.items()
    }


def keep_promises(tx: Tx, made: Sequence[Promise]) -> None:
    """Tell all processes what one of them promised."""
    ledger.save_promises(tx, made)


def _dearest_views(groups: Mapping[str, Candidate], used: Mapping[str, Used]) -> dict[str, int]:
    """What a view cost at most, by ad account: an ad group that would win instead must afford that too."""
    dearest: dict[str, int] = {}
    for name, each in groups.items():
        account = each.ad_group.ad_account_id
        cost = used[name].view_micros if name in used else LEAST_VIEW_MICROS
        dearest[account] = max(dearest.get(account, LEAST_VIEW_MICROS), cost)
    return dearest


def _want(candidate: Candidate, used: Used, spent: Spent, view_micros: int) -> Want:
    ad_group = candidate.ad_group
    least = max(LEAST_VIEW_MICROS, min(view_micros, LEAST_VIEWS * LEAST_VIEW_MICROS))
    wanted = max(AHEAD * used.micros, LEAST_VIEWS * least)
    left = budget_left(ad_group, spent)
    purses = (ad_group.ad_account_id, ad_group.campaign_id)
    return Want(ad_group.id, purses, left, wanted, LEAST_VIEW_MICROS)


def _campaign_rooms(
    tx: Tx, business_id: str, candidates: Iterable[Candidate], days: Mapping[str, str],
    taken: Mapping[str, int],
) -> dict[str, int]:  # fmt: skip
    """What is left to grant in each campaign with a budget.

    ``taken`` is what others hold and what is promised, by ad group: those that are paused now count too.
    """
    campaigns = {
        candidate.live.campaign.id: (candidate.live.campaign, candidate.timezone)
        for candidate in candidates
        if has_budget(candidate.live.campaign)
    }
    spent = load_campaign_spent(
        tx, business_id, {name: days[timezone] for name, (_, timezone) in campaigns.items()}
    )
    rooms = {}
    for name, (campaign, _) in campaigns.items():
        left = budget_left(campaign, spent[name].spent)
        held = sum(taken.get(ad_group_id, 0) for ad_group_id in spent[name].ad_group_ids)
        rooms[name] = max((left or 0) - held, 0)
    return rooms


@dataclass(frozen=True, slots=True)
class CampaignSpent:
    """What the ad groups of a campaign were charged together, those that are paused or deleted too."""

    ad_group_ids: tuple[str, ...]
    spent: Spent


def load_campaign_spent(tx: Tx, business_id: str, day_of: Mapping[str, str]) -> dict[str, CampaignSpent]:
    """What campaigns were charged on a day each, and ever; by their ids."""
    if not day_of:
        return {}
    under = list_ad_group_ids(tx, business_id, day_of)
    spent: dict[str, Spent] = {}
    for day in sorted(set(day_of.values())):
        here = [name for campaign, names in under.items() if day_of[campaign] == day for name in names]
        spent |= ledger.list_spent(tx, business_id, here, day)
    return {
        campaign: CampaignSpent(tuple(names), add_spent([spent.get(name, Spent()) for name in names]))
        for campaign, names in under.items()
    }


def _rooms(tx: Tx, business_id: str, server_id: str, candidates: Iterable[Candidate]) -> dict[str, int]:
    """What is left to grant in each ad account that is limited."""
    accounts = {candidate.ad_group.ad_account_id for candidate in candidates}
    limited: dict[str, Balance] = ledger.list_limited_balances(tx, business_id, accounts)
    if not limited:
        return {}
    taken = ledger.list_taken_of_accounts(tx, business_id, server_id)
    return {name: max(balance.room_micros - taken.get(name, 0), 0) for name, balance in limited.items()}
