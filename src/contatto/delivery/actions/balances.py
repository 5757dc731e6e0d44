"""Balances of ad accounts: payments, and whether an account may spend no more than it has."""

from dataclasses import dataclass, replace

from contatto.accounts.model import AdAccount
from contatto.delivery.model.ledger import Balance, BalanceEntry, ChargedDay
from contatto.delivery.store import ledger
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.timestamps import micros
from contatto.measurement.rules import local_day
from contatto.operators.model import PlacedDay
from contatto.operators.store import list_placed_days_of_account

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
