"""What ad accounts pay an operator and are charged in its placements, and the statements of both sides."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.timestamps import micros
from contatto.measurement.rules import local_day
from contatto.operators.model import Operator, OperatorBalance, OperatorPayment, PlacedDay
from contatto.operators.store import accounts

MOST_MICROS = 10**15
"""A payment of a thousand million is a slip of the hand."""


def load_operator_balance(tx: Tx, operator: Operator, ad_account_id: str) -> OperatorBalance:
    """What an ad account has with an operator; NOT_FOUND for one of no business that it admitted."""
    found = accounts.find_operator_balance(tx, operator.business_id, ad_account_id)
    if found is None:
        raise Refused(errors.NOT_FOUND)
    return found


def pay_operator(
    tx: Tx, operator: Operator, ad_account_id: str, amount_micros: int, note: str
) -> OperatorBalance:
    """Note a payment of an ad account to an operator; less than 0 is one back.

    Raises:
        Refused: NOT_FOUND; INVALID for nothing, and for more than anybody pays.
    """
    balance = load_operator_balance(tx, operator, ad_account_id)
    if not 0 < abs(amount_micros) <= MOST_MICROS:
        raise Refused(errors.INVALID, "amount: Enter an amount other than 0, of at most 1,000,000,000.")
    day = local_day(micros(tx.now), operator.timezone)
    payment = OperatorPayment(
        new_id(), operator.business_id, balance.business_id, ad_account_id, tx.now, day, amount_micros,
        note.strip()[:200],
    )  # fmt: skip
    accounts.append_payment(tx, balance, payment)
    return load_operator_balance(tx, operator, ad_account_id)


def set_credit(tx: Tx, operator: Operator, ad_account_id: str, credit_micros: int) -> OperatorBalance:
    """Say what an ad account may owe an operator.

    Raises:
        Refused: NOT_FOUND; INVALID for less than 0, and for more than anybody lends.
    """
    balance = load_operator_balance(tx, operator, ad_account_id)
    if not 0 <= credit_micros <= MOST_MICROS:
        raise Refused(errors.INVALID, "credit: Enter a credit limit from 0 to 1,000,000,000.")
    accounts.record_credit(tx, balance, credit_micros)
    return load_operator_balance(tx, operator, ad_account_id)


def charge_placements(tx: Tx, charged: Sequence[PlacedDay]) -> None:
    """Count what views and clicks in placements cost, and take it from the balances."""
    if charged:
        accounts.save_placed_days(tx, charged)


def count_earned_in_placements(tx: Tx, days: Sequence[PlacedDay]) -> None:
    """Count the conversations and leads that placements earned, beside what was charged there."""
    if days:
        accounts.save_earned_days(tx, days)


@dataclass(frozen=True, slots=True)
class PlacedLine:
    """A payment, or a day's charges of an ad group in a placement; ``balance_micros`` is left after it."""

    day: str
    placement_id: str
    ad_group_id: str
    note: str
    views: int
    clicks: int
    micros: int
    balance_micros: int


def load_operator_statement(tx: Tx, operator_id: str, ad_account_id: str) -> list[PlacedLine]:
    """All payments of an ad account to an operator, and its charges there, by day."""
    days = accounts.list_placed_days(tx, operator_id, ad_account_id=ad_account_id)
    paid = accounts.list_payments(tx, operator_id, ad_account_id)
    moves: list[tuple[str, int, PlacedDay | OperatorPayment]] = [
        *((each.day, 0, each) for each in paid),
        *((each.day, 1, each) for each in days),
    ]
    left, lines = 0, []
    for day, _, each in sorted(moves, key=lambda move: move[:2]):
        if isinstance(each, OperatorPayment):
            left += each.micros
            lines.append(PlacedLine(day, "", "", each.note, 0, 0, each.micros, left))
        else:
            left -= each.charged_micros
            counts = (each.views, each.clicks, -each.charged_micros)
            lines.append(PlacedLine(day, each.placement_id, each.ad_group_id, "", *counts, left))
    return lines


def purge_sightings(tx: Tx) -> int:
    """Forget what people were shown before yesterday, in whatever zone; say how much."""
    return accounts.delete_old_sightings(tx, f"{tx.now - timedelta(days=2):%Y-%m-%d}")
