"""An operator with one placement, and many businesses whose ads compete in it."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bench.decision_parts.shop import BUDGET_MICROS
from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewAdAccount
from contatto.ads.actions.campaigns import (
    NewAd,
    NewAdGroup,
    NewCampaign,
    create_ad,
    create_ad_group,
    create_campaign,
)
from contatto.app import open_context
from contatto.channels.actions import NewAccount, connect_account
from contatto.channels.model import Platform
from contatto.kit.db.tx import Tx
from contatto.kit.settings import Settings
from contatto.measurement.model import Goal
from contatto.migrations.steps import migrate_schema
from contatto.operators import actions as operators_actions
from contatto.operators import store as operator_accounts
from contatto.operators import store as operators_store
from contatto.operators.model import AdmissionState, Category, Operator, Placement, ReviewState
from contatto.ui.requests import Context
from contatto.wiring import install

FLOOR_MICROS: Final = 2_000_000
PAID_MICROS: Final = 1_000_000_000_000
_AT_ONCE: Final = 100
"""Businesses that one transaction opens."""


@dataclass(frozen=True, slots=True)
class Forum:
    """An operator and its placement, open."""

    context: Context
    operator: Operator
    placement: Placement


def open_forum(home: Path, businesses: int, ads: int) -> Forum:
    """Make an operator, and so many admitted businesses with money and so many approved ads each."""
    context = open_context(install(Settings(data_dir=home)))
    migrate_schema(context.db.engine)

    def begin(tx: Tx) -> tuple[Operator, Placement]:
        operator = operators_actions.open_operator(tx, "The Forum", "Asia/Singapore")
        bare = Placement("", "", "Front page", "SGD", FLOOR_MICROS, (), (), 0, is_on=True, created_at=tx.now)
        return operator, operators_actions.add_placement(tx, operator, bare)

    operator, placement = context.db.write_now(begin)
    for first in range(0, businesses, _AT_ONCE):
        count = min(_AT_ONCE, businesses - first)
        context.db.write_now(partial(_add_businesses, operator=operator, businesses=count, ads=ads))
    _approve_all(context, operator)
    return Forum(context, operator, placement)


def _add_businesses(tx: Tx, operator: Operator, businesses: int, ads: int) -> None:
    for _ in range(businesses):
        business = accounts.create_business(tx, "Kopi")
        new = NewAdAccount("Kopi", "SG", "SGD", "Asia/Singapore")
        account = accounts.add_ad_account(tx, business.id, new)
        channel = connect_account(
            tx, business.id, NewAccount(Platform.WEBCHAT, "", "Kopi", business.id, "SG")
        )
        campaign = create_campaign(tx, business.id, NewCampaign(account.id, "Kopi"))
        group = create_ad_group(
            tx, business.id,
            NewAdGroup(
                campaign.id, "All", Goal.CONVERSATION, ("SG",), channel.id, budget_micros=BUDGET_MICROS
            ),
        )  # fmt: skip
        for number in range(ads):
            create_ad(tx, business.id, NewAd(group.id, f"Ad {number}", "Write to us"))
        operators_actions.ask_admission(tx, operator.business_id, business, Category.FOOD)
        operators_actions.decide_admission(tx, operator, business.id, AdmissionState.ADMITTED)


def _approve_all(context: Context, operator: Operator) -> None:
    sender = operators_actions.AdSender()
    sender.start_over()
    while (keep := context.db.read_now(sender.read_next)) is not None:
        context.db.write_now(keep)

    def review(tx: Tx) -> int:
        waiting = operators_store.list_reviews(tx, operator.business_id, ReviewState.PENDING)
        for each in waiting:
            operators_actions.decide_review(tx, operator, each.ad_id, each.digest, ReviewState.APPROVED, "")
        return len(waiting)

    while context.db.write_now(review):
        pass

    def pay(tx: Tx) -> None:
        for balance in operator_accounts.list_balances(tx, operator.business_id):
            operators_actions.pay_operator(tx, operator, balance.ad_account_id, PAID_MICROS, "first payment")

    context.db.write_now(pay)
