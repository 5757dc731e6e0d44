"""Budgets: grants to serving processes, charges, and balances of ad accounts."""

import math
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from contatto.accounts.model import AdAccount
from contatto.ads.model import AdGroup, Campaign, FrequencyCap, Spent
from contatto.ads.rules.goals import add_spent
from contatto.ads.store import list_ad_group_ids, list_ad_groups_by_id, list_campaigns_with_budget
from contatto.delivery.model import Balance, BalanceEntry, Candidate, ChargedDay, Grant, Promise, TrialDay
from contatto.delivery.rules.targeting import (
    LEAST_VIEW_MICROS,
    Want,
    budget_left,
    charge_left,
    has_budget,
    share_budgets,
)
from contatto.delivery.store import ledger
from contatto.delivery.store import log as entries
from contatto.delivery.store.ledger import save_trial_days
from contatto.kit import errors
from contatto.kit.db.database import Database, acting
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.timestamps import micros
from contatto.learning.model import EntryKind
from contatto.measurement.model import Impression, Touch, TouchKind
from contatto.measurement.rules import local_day
from contatto.measurement.store import list_known_touches, list_view_times
from contatto.operators.actions import charge_placements
from contatto.operators.model import PlacedDay
from contatto.operators.store import (
    list_balances_of_accounts,
    list_owners_of_placements,
    list_placed_days_of_account,
)

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


_KINDS: Final = {TouchKind.VIEW: EntryKind.VIEW, TouchKind.CLICK: EntryKind.CLICK}


@dataclass(slots=True)
class _Budget:
    """The budget of an ad group or a campaign: what was spent on each day, and charged just now."""

    node: AdGroup | Campaign
    spent: dict[str, Spent]
    taken: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def left(self, day: str) -> int | None:
        """What may still be charged on a day; None where there is no budget."""
        before = self.spent[day]
        ever = before.ever_micros + sum(self.taken.values())
        return charge_left(self.node, Spent(before.day_micros + self.taken[day], ever))


type Append = Callable[[Tx, str, Sequence[entries.NewEntry]], object]
"""Puts entries of a business into the log."""
type Purse = tuple[str, str]
"""Which balance pays: that with an operator, or with none ("") the ad account's own; and the ad account."""


def charge_impressions(
    tx: Tx, impressions: Sequence[Impression], append: Append = entries.append_entries
) -> list[Touch]:
    """Charge for views and clicks that are about to be appended; each comes back with what it is charged.

    One that is there already stays as it is. Of the others no account is charged by two processes at once.
    ``append`` puts them into the log.
    """
    by_business: defaultdict[str, list[Impression]] = defaultdict(list)
    for impression in impressions:
        by_business[impression.touch.business_id].append(impression)
    charged: dict[int, Touch] = {}
    for business_id, mine in sorted(by_business.items()):
        charged |= _charge_business(tx, business_id, mine, append)
    return [charged.get(each.touch.touch_id, each.touch) for each in impressions]


def _charge_business(
    tx: Tx, business_id: str, impressions: list[Impression], append: Append
) -> dict[int, Touch]:
    for account in sorted({each.touch.ad_account_id for each in impressions}):
        tx.hold_key("charges", account)
    known_touches = list_known_touches(tx, business_id, [each.touch.touch_id for each in impressions])
    fresh = {
        impression.touch.touch_id: impression
        for impression in impressions
        if impression.touch.touch_id not in known_touches
    }
    if not fresh:
        return {}
    named = {each.placement for each in fresh.values() if each.placement}
    owners = list_owners_of_placements(tx, named) if named else {}
    charged = _charge(tx, business_id, list(fresh.values()), owners)
    _save_placed(tx, [(touch, fresh[touch.touch_id].placement) for touch in charged], owners)
    own: defaultdict[str, int] = defaultdict(int)
    days: dict[tuple[str, str], ChargedDay] = {}
    for touch in charged:
        place = (touch.ad_group_id, touch.day)
        had = days.get(place) or ChargedDay(business_id, *place, touch.ad_account_id, 0, 0, 0)
        days[place] = _with_touch(had, touch)
        if fresh[touch.touch_id].placement not in owners:
            own[touch.ad_account_id] += touch.cost_micros
    ledger.save_charges(tx, [days[place] for place in sorted(days)], own)
    _save_trials(tx, [(touch, fresh[touch.touch_id].trial) for touch in charged])
    ledger.delete_promises(tx, business_id, {fresh[touch.touch_id].nonce for touch in charged})
    append(tx, business_id, [entry_of(touch, fresh[touch.touch_id].nonce) for touch in charged])
    return {touch.touch_id: touch for touch in charged}


def _with_touch[D: (ChargedDay, TrialDay, PlacedDay)](had: D, touch: Touch) -> D:
    """What was counted on a day, with a view or click more and what it was charged."""
    is_view = touch.kind is TouchKind.VIEW
    return replace(
        had,
        views=had.views + is_view,
        clicks=had.clicks + (not is_view),
        charged_micros=had.charged_micros + touch.cost_micros,
    )


def _save_trials(tx: Tx, charged: Sequence[tuple[Touch, int]]) -> None:
    """What was shown to viewers who take part in the trial of delivery."""
    days: dict[tuple[str, str, int], TrialDay] = {}
    for touch, trial in charged:
        if trial:
            place = (touch.ad_group_id, touch.day, trial)
            days[place] = _with_touch(days.get(place) or TrialDay(touch.business_id, *place), touch)
    save_trial_days(tx, [days[place] for place in sorted(days)])


def _save_placed(tx: Tx, charged: Sequence[tuple[Touch, str]], owners: Mapping[str, str]) -> None:
    """What was charged in placements of operators, to be taken from the balances with these."""
    days: dict[tuple[str, str, str], PlacedDay] = {}
    for touch, placement in charged:
        if placement not in owners:
            continue
        place = (placement, touch.ad_group_id, touch.day)
        had = days.get(place) or PlacedDay(
            owners[placement], touch.business_id, placement, touch.ad_account_id, touch.ad_group_id,
            touch.day, 0, 0, 0,
        )  # fmt: skip
        days[place] = _with_touch(had, touch)
    charge_placements(tx, [days[place] for place in sorted(days)])


def _load_rooms(tx: Tx, business_id: str, accounts: set[str], *, is_placed: bool) -> dict[Purse, int]:
    """What may still be charged to the balances that are limited; all with operators are."""
    limited = ledger.list_limited_balances(tx, business_id, accounts)
    rooms = {("", name): balance.room_micros for name, balance in limited.items()}
    found = list_balances_of_accounts(tx, business_id, accounts) if is_placed else []
    return rooms | {(each.operator_id, each.ad_account_id): each.room_micros for each in found}


def _charge(
    tx: Tx, business_id: str, impressions: list[Impression], owners: Mapping[str, str]
) -> list[Touch]:
    priced = [each.touch for each in impressions if each.touch.cost_micros]
    budgets = _load_budgets(tx, business_id, priced)
    accounts = {each.ad_account_id for each in priced}
    left_of = _load_rooms(tx, business_id, accounts, is_placed=bool(owners))
    charged: list[Touch] = []
    for impression in impressions:
        touch, amount = impression.touch, impression.touch.cost_micros
        if amount:
            paying = budgets.get(touch.ad_group_id, [])
            for budget in paying:
                left = budget.left(touch.day)
                amount = amount if left is None else min(amount, left)
            purse: Purse = (owners.get(impression.placement, ""), touch.ad_account_id)
            if purse in left_of or purse[0]:  # with an operator there is nothing without a balance
                amount = min(amount, left_of.get(purse, 0))
                left_of[purse] = left_of.get(purse, 0) - amount
            for budget in paying:
                budget.taken[touch.day] += amount
        charged.append(replace(touch, cost_micros=amount))
    return charged


def _load_budgets(tx: Tx, business_id: str, priced: Sequence[Touch]) -> dict[str, list[_Budget]]:
    """The budgets that pay for each ad group: its own, and that of its campaign if there is one."""
    groups = list_ad_groups_by_id(tx, business_id, {touch.ad_group_id for touch in priced})
    days = sorted({each.day for each in priced})
    budgets = {group.id: [_Budget(group, {})] for group in groups}
    for day in days:
        spent = ledger.list_spent(tx, business_id, budgets.keys(), day)
        for name, own in budgets.items():
            own[0].spent[day] = spent.get(name, Spent())
    campaigns = list_campaigns_with_budget(tx, business_id, {group.campaign_id for group in groups})
    shared = {campaign.id: _Budget(campaign, {}) for campaign in campaigns if has_budget(campaign)}
    for day in days:
        for name, found in load_campaign_spent(tx, business_id, dict.fromkeys(shared, day)).items():
            shared[name].spent[day] = found.spent
    for group in groups:
        if group.campaign_id in shared:
            budgets[group.id].append(shared[group.campaign_id])
    return budgets


def entry_of(touch: Touch, nonce: int) -> entries.NewEntry:
    """Return the entry of the log for a view or a click of an impression."""
    return entries.NewEntry(_KINDS[touch.kind], touch.ts, nonce, touch.ad_id, touch.touch_id, touch.person_id)


def note_click(tx: Tx, touch: Touch) -> None:
    """A platform told of a click on an ad: it belongs to the impression that this person saw last, if any."""
    view = entries.find_view_of(tx, touch.business_id, touch.person_id, touch.ad_id)
    if view is not None and view.ts <= touch.ts:
        news = replace(entry_of(touch, view.nonce), ts=micros(tx.now))  # the log is in the order of the news
        entries.append_entries(tx, touch.business_id, [news])


MOST_MICROS = 10**15
"""A payment of a thousand million is a slip of the hand."""


def pay_in(tx: Tx, account: AdAccount, amount_micros: int, note: str) -> Balance:
    """Note a payment into a balance; less than 0 is a refund.

    Raises:
        Refused: INVALID for nothing, and for more than anybody pays.
    """
    if not 0 < abs(amount_micros) <= MOST_MICROS:
        raise Refused(errors.INVALID, "Enter an amount other than 0, of at most 1,000,000,000.")
    day = local_day(micros(tx.now), account.timezone)
    entry = BalanceEntry(new_id(), account.business_id, account.id, tx.now, day, amount_micros, note[:200])
    ledger.append_balance_entry(tx, entry)
    return ledger.find_balance(tx, account.business_id, account.id)


def set_balance_limit(tx: Tx, account: AdAccount, *, is_limited: bool, credit_micros: int = 0) -> Balance:
    """Say whether an account is charged no more than it paid in and may owe.

    Raises:
        Refused: INVALID for a credit below 0, and for more than anybody lends.
    """
    if not 0 <= credit_micros <= MOST_MICROS:
        raise Refused(errors.INVALID, "Enter a credit from 0 to 1,000,000,000.")
    balance = ledger.find_balance(tx, account.business_id, account.id)
    ledger.record_limit(tx, balance, is_limited=is_limited, credit_micros=credit_micros)
    return ledger.find_balance(tx, account.business_id, account.id)


@dataclass(frozen=True, slots=True)
class StatementLine:
    """A day's charges of an ad group, or a payment; ``balance_micros`` is what was left after it."""

    day: str
    ad_group_id: str
    note: str
    views: int
    clicks: int
    micros: int
    balance_micros: int


def load_statement(tx: Tx, account: AdAccount) -> list[StatementLine]:
    """All payments and charges of an ad account, by day, with what was left after each.

    What operators charge is on their own statements, as it is taken from the balances with them.
    """
    days = ledger.list_charged_days(tx, account.business_id, account.id, "0000-00-00", "9999-99-99")
    placed = list_placed_days_of_account(tx, account.business_id, account.id)
    days = [day for day in _less(days, placed) if day.views or day.clicks or day.charged_micros]
    paid = ledger.list_balance_entries(tx, account.business_id, account.id)
    moves: list[tuple[str, int, ChargedDay | BalanceEntry]] = [
        *((each.day, 0, each) for each in paid),
        *((each.day, 1, each) for each in days),
    ]
    left, lines = 0, []
    for _, _, each in sorted(moves, key=lambda move: move[:2]):
        if isinstance(each, BalanceEntry):
            left += each.micros
            lines.append(StatementLine(each.day, "", each.note, 0, 0, each.micros, left))
        else:
            left -= each.charged_micros
            counts = (each.views, each.clicks, -each.charged_micros)
            lines.append(StatementLine(each.day, each.ad_group_id, "", *counts, left))
    return lines


def _less(days: list[ChargedDay], placed: list[PlacedDay]) -> list[ChargedDay]:
    """Charged days without what of them was charged in placements of operators."""
    left = {(day.ad_group_id, day.day): day for day in days}
    for placed_day in placed:
        place = placed_day.ad_group_id, placed_day.day
        had = left[place]
        left[place] = replace(
            had,
            views=had.views - placed_day.views,
            clicks=had.clicks - placed_day.clicks,
            charged_micros=had.charged_micros - placed_day.charged_micros,
        )
    return list(left.values())


DAY_US: Final = 86_400_000_000
MOST_FULL: Final = 100_000
"""So many viewers with a reached cap are remembered for each business."""


@dataclass(frozen=True, slots=True)
class ViewClaim:
    """A view of a capped ad group that a decision is about to promise.

    ``viewer`` is the pseudonym for delivery; ``persons`` are the ids of the same viewer in touches.
    """

    nonce: int
    ad_group: AdGroup
    cap: FrequencyCap
    viewer: str
    persons: tuple[str, ...]


@dataclass(slots=True)
class Claims:
    """The claims of one decision: the ad group that has a place, and those that must stay out."""

    granted: int = 0
    refused: set[int] = field(default_factory=set)


def claim_view(tx: Tx, claim: ViewClaim) -> tuple[bool, int]:
    """Keep a place under a frequency cap for a view.

    Returns:
        False if the cap is reached; and until when it is reached now (microseconds), 0 if it is not.
    """
    group, ts = claim.ad_group, micros(tx.now)
    tx.hold_key("frequency", group.id, claim.viewer)
    # Claims are read before views: a view that comes in between counts twice, never not at all.
    ends = ledger.list_claims(tx, group.business_id, group.id, claim.viewer)
    period = claim.cap.days * DAY_US
    views = list_view_times(tx, group.business_id, group.id, claim.persons, ts - period)
    ends += [at + period for at in views]
    is_granted = len(ends) < claim.cap.views
    if is_granted:
        until = ts + PROMISE_US
        ends.append(until)
        place = (group.business_id, claim.nonce, group.id, group.ad_account_id)
        ledger.save_claim(tx, Promise(*place, 0, until, claim.viewer))
    return is_granted, _full_until(ends, claim.cap.views)


def _full_until(ends: list[int], most: int) -> int:
    """Return the time from which one more view is within the cap; 0 if it is now."""
    return sorted(ends)[len(ends) - most] if len(ends) >= most else 0


class FrequencyCaps:
    """The frequency caps of a business in one serving process.

    It remembers viewers with a reached cap, so that only an ad that may be shown costs a claim.
    """

    def __init__(self, db: Database, business_id: str) -> None:
        self._db = db
        self._business_id = business_id
        self._full: OrderedDict[tuple[str, int], tuple[FrequencyCap, int]] = OrderedDict()

    def is_reached(self, viewer: str, ad_group: int, cap: FrequencyCap, ts: int) -> bool:
        """Report whether this process knows that a viewer has reached the cap of an ad group."""
        full_cap, until = self._full.get((viewer, ad_group), (cap, 0))
        return full_cap == cap and until > ts

    def give_back(self, viewer: str, ad_group: int) -> None:
        """Forget that a cap is reached, because a claim is given back."""
        self._full.pop((viewer, ad_group), None)

    async def claim(self, claim: ViewClaim) -> bool:
        """Keep a place for a view; False if the cap is reached."""
        with acting(self._business_id):
            is_granted, full_until = await self._db.write(lambda tx: claim_view(tx, claim))
        key = (claim.viewer, claim.ad_group.number)
        self._full.pop(key, None)
        if full_until:
            self._full[key] = (claim.cap, full_until)
            if len(self._full) > MOST_FULL:
                self._full.popitem(last=False)
        return is_granted
