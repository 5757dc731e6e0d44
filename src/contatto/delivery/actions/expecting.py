"""What budgets of ad groups are expected to bring in a week."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, NamedTuple

from contatto.accounts.model import AdAccount
from contatto.ads.model import AdGroup, BudgetMode, NodeFilter, Page
from contatto.ads.store import list_ad_groups
from contatto.delivery.rules.expecting import Earned, Expected, expect
from contatto.delivery.store.earnings import list_charged_since, list_earned_since
from contatto.kit.db.tx import Tx
from contatto.kit.timestamps import micros
from contatto.measurement.model import ConversionKind, Goal
from contatto.measurement.rules import local_day

LOOK_BACK: Final = timedelta(days=14)
WEEK: Final = 7
_KINDS: Final = {Goal.LEAD: ConversionKind.LEAD, Goal.CONVERSATION: ConversionKind.CONVERSATION}


@dataclass(frozen=True, slots=True)
class Outlook:
    """An ad group with what its budget is, and is expected to bring, in a week; ``doubled`` with twice of it.

    Without a budget of its own ``budget_micros`` is what it spent in a week, as ``spent_micros`` is. Who
    began less than two weeks ago is judged by the days since. No more than twice that is counted on: what
    is not spent brings nothing. None: there is nothing to go by.
    """

    ad_group: AdGroup
    budget_micros: int
    spent_micros: int
    expected: Expected | None
    doubled: Expected | None


def list_outlooks(tx: Tx, account: AdAccount) -> list[Outlook]:
    """What the ad groups of an account are expected to bring, by the last two weeks."""
    own, like = _load_earned(tx, account)
    outlooks = []
    for group, earned, days in own.values():
        lately = earned.spend_micros * WEEK // days
        budget = _weekly(group) or lately
        most = 2 * lately or 2 * budget
        one, two = (expect(earned, like[group.goal], min(times * budget, most)) for times in (1, 2))
        outlooks.append(Outlook(group, budget, lately, one, two))
    return outlooks


def expect_of(tx: Tx, account: AdAccount, ad_group: AdGroup, budget_micros: int) -> Expected | None:
    """What a budget is expected to bring an ad group of an account; None: there is nothing to go by."""
    own, like = _load_earned(tx, account)
    earned = own[ad_group.id].earned if ad_group.id in own else Earned(0, 0)
    return expect(earned, like[ad_group.goal], budget_micros)


class _Lately(NamedTuple):
    """What an ad group earned in the days since it was charged first, at most those that are looked back."""

    ad_group: AdGroup
    earned: Earned
    days: int


def _load_earned(tx: Tx, account: AdAccount) -> tuple[dict[str, _Lately], dict[Goal, Earned]]:
    """What each ad group earned lately, by id, and all of each goal."""
    groups = list_ad_groups(tx, account.business_id, account.id, NodeFilter(), Page())
    today = date.fromisoformat(local_day(micros(tx.now), account.timezone))
    day = today - LOOK_BACK
    charged = list_charged_since(tx, account.business_id, [group.id for group in groups], day)
    earned = list_earned_since(tx, account.business_id, account.id, day)
    own = {}
    for group in groups:
        spend, since = charged.get(group.id, (0, day))
        conversions = earned.get((group.id, _KINDS[group.goal]), 0)
        days = min((today - since).days + 1, LOOK_BACK.days)
        own[group.id] = _Lately(group, Earned(conversions, spend), days)
    return own, {
        goal: _sum([each.earned for each in own.values() if each.ad_group.goal is goal]) for goal in Goal
    }


def _weekly(group: AdGroup) -> int:
    amount = group.budget_micros or 0
    if amount and group.budget_mode in (BudgetMode.DAY, BudgetMode.DYNAMIC_DAY):
        return WEEK * amount
    if amount and group.budget_mode is BudgetMode.TOTAL:
        return amount
    return 0


def _sum(some: list[Earned]) -> Earned:
    return Earned(sum(earned.conversions for earned in some), sum(each.spend_micros for each in some))
