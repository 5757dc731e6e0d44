"""Statements: what was paid and charged in an operator's placements, as rows of a table for either side."""

from collections.abc import Mapping
from typing import Final

from contatto.kit.db.tx import Tx
from contatto.kit.money import MICROS
from contatto.operators.actions.paying import load_operator_statement
from contatto.operators.model import Operator, OperatorBalance
from contatto.operators.store import accounts, places

_OPERATOR_HEAD: Final = "business,ad account,currency,day,placement,ad group,note,views,clicks,amount,balance"


def operator_statement(tx: Tx, operator: Operator) -> list[list[str]]:
    """All payments and charges in an operator's placements by ad account and day, under a head."""
    names = {each.id: each.name for each in places.list_placements(tx, operator.business_id)}
    businesses = {
        each.business_id: each.business_name for each in places.list_admissions(tx, operator.business_id)
    }
    rows = [_OPERATOR_HEAD.split(",")]
    for balance in accounts.list_balances(tx, operator.business_id):
        business = businesses.get(balance.business_id, "")
        rows += [[business, *row] for row in statement_rows(tx, balance, names, {})]
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
