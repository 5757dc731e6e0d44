"""Statements: what was paid and charged in an operator's placements, as rows of a table for either side."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from contatto.ads.store.nodes import list_ad_groups_by_id
from contatto.kit.db.tx import Tx
from contatto.kit.money import MICROS
from contatto.operators.actions.paying import load_operator_statement
from contatto.operators.model import Operator, OperatorBalance
from contatto.operators.store import accounts, places

_OPERATOR_HEAD: Final = "business,ad account,currency,day,placement,ad group,note,views,clicks,amount,balance"


def name_charged_groups(tx: Tx, operator: Operator) -> dict[str, str]:
    """Return the names of the ad groups that were charged in an operator's placements, by id.

    They belong to the advertisers, so the transaction acts for no single tenant.
    """
    ids: dict[str, set[str]] = defaultdict(set)
    for day in accounts.list_placed_days(tx, operator.business_id):
        ids[day.business_id].add(day.ad_group_id)
    groups = [
        group for business_id, some in ids.items() for group in list_ad_groups_by_id(tx, business_id, some)
    ]
    return {group.id: group.name for group in groups}


def operator_statement(tx: Tx, operator: Operator, groups: Mapping[str, str]) -> list[list[str]]:
    """List all payments and charges in an operator's placements by ad account and day, under a head.

    Args:
        tx: reads for the operator.
        operator: its placements are those charged.
        groups: names of ad groups by id, from `name_charged_groups`.
    """
    names = {each.id: each.name for each in places.list_placements(tx, operator.business_id)}
    businesses = {
        each.business_id: each.business_name for each in places.list_admissions(tx, operator.business_id)
    }
    rows = [_OPERATOR_HEAD.split(",")]
    for balance in accounts.list_balances(tx, operator.business_id):
        business = businesses.get(balance.business_id, "")
        rows += [[business, *row] for row in statement_rows(tx, balance, names, groups)]
    return rows


def statement_rows(
    tx: Tx, balance: OperatorBalance, names: Mapping[str, str], groups: Mapping[str, str]
) -> list[list[str]]:
    """List a balance's statement: ad account, currency, day, placement, ad group, note, counts and money.

    ``groups`` has the names of ad groups that the reader may know; others go by their ids.
    """
    lines = load_operator_statement(tx, balance.operator_id, balance.ad_account_id)
    return [
        [
            str(balance.number), balance.currency, line.day, names.get(line.placement_id, line.placement_id),
            groups.get(line.ad_group_id, line.ad_group_id), line.note,
            str(line.views), str(line.clicks), f"{line.micros / MICROS:.6f}",
            f"{line.balance_micros / MICROS:.6f}",
        ]
        for line in lines
    ]  # fmt: skip
