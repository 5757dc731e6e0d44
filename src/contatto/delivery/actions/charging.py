"""Charging for views and clicks: each once, never more than the budget or the balance has left.

The ledger, the touch and the log that delivery learns from are written in one transaction.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from contatto.ads.model import AdGroup, Campaign, Spent
from contatto.ads.store import list_ad_groups_by_id, list_campaigns_with_budget
from contatto.delivery.actions.budgeting import load_campaign_spent
from contatto.delivery.model.ledger import ChargedDay
from contatto.delivery.model.log import EntryKind
from contatto.delivery.model.trials import TrialDay
from contatto.delivery.rules.competing import charge_left, has_budget
from contatto.delivery.store import ledger
from contatto.delivery.store import log as entries
from contatto.delivery.store.trials import save_trial_days
from contatto.kit.db.tx import Tx
from contatto.kit.timestamps import micros
from contatto.measurement.model import Impression, Touch, TouchKind
from contatto.measurement.store import list_known_touches
from contatto.operators.actions import charge_placements
from contatto.operators.model import PlacedDay
from contatto.operators.store import list_balances_of_accounts, list_owners_of_placements

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
