"""The ledger: what was charged on each day, what is promised or granted, and what ad accounts have left.

A charge is a touch with its price. The ledger counts it in the same transaction, so at any moment what was
charged, what reports show as spend and what the balance lost are one amount. Money is micros.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Index, String, Table, func, select

from contatto.delivery.model.ledger import Balance, BalanceEntry, ChargedDay, Grant, Promise, Spent
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, key, metadata, tenant, text
from contatto.kit.rows import row_of
from contatto.kit.timestamps import micros

charged_days = Table(
    "charged_days",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("ad_group_id", String(36), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("ad_account_id", String(36), nullable=False),
    Column("views", BigInteger, nullable=False),
    Column("clicks", BigInteger, nullable=False),
    Column("charged_micros", BigInteger, nullable=False),
    Index("ix_charged_days_ad_account_id", "business_id", "ad_account_id", "day"),
)

promises = Table(
    "delivery_promises",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("nonce", BigInteger, primary_key=True, autoincrement=False),
    Column("ad_group_id", String(36), nullable=False),
    Column("ad_account_id", String(36), nullable=False),
    Column("micros", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("ix_delivery_promises_ad_group_id", "business_id", "ad_group_id"),
)
"""A place in the budget that is kept for an ad that was chosen, as long as its view may be expected."""

grants = Table(
    "delivery_grants",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("ad_group_id", String(36), primary_key=True),
    Column("server_id", String(36), primary_key=True),
    Column("ad_account_id", String(36), nullable=False),
    Column("micros", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)
"""A part of a budget that one serving process may promise by itself, for some seconds."""

balances = Table(
    "balances",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("ad_account_id", String(36), primary_key=True),
    Column("is_limited", Boolean, nullable=False),
    Column("paid_in_micros", BigInteger, nullable=False),
    Column("credit_micros", BigInteger, nullable=False),
    Column("charged_micros", BigInteger, nullable=False),
)

balance_entries = Table(
    "balance_entries",
    metadata,
    key(),
    tenant(),
    Column("ad_account_id", String(36), nullable=False),
    instant("at"),
    Column("day", String(10), nullable=False),
    Column("micros", BigInteger, nullable=False),
    text("note"),
    Index("ix_balance_entries_ad_account_id", "business_id", "ad_account_id", "at"),
)


def save_charges(tx: Tx, charged: Iterable[ChargedDay]) -> None:
    """Add to the days of ad groups, and to what their accounts were charged."""
    found = list(charged)
    insert = tx.upsert(charged_days)
    names = ("views", "clicks", "charged_micros")
    more = {name: charged_days.c[name] + insert.excluded[name] for name in names}
    keys = ["business_id", "ad_group_id", "day"]
    tx.execute(insert.on_conflict_do_update(index_elements=keys, set_=more), [row_of(each) for each in found])
    accounts: dict[tuple[str, str], int] = {}
    for each in found:
        place = (each.business_id, each.ad_account_id)
        accounts[place] = accounts.get(place, 0) + each.charged_micros
    for (business_id, ad_account_id), amount in sorted(accounts.items()):
        if amount:
            _change_balance(tx, business_id, ad_account_id, charged_micros=amount)


def _change_balance(tx: Tx, business_id: str, ad_account_id: str, **more: int) -> None:
    none = {"is_limited": False, "paid_in_micros": 0, "credit_micros": 0, "charged_micros": 0}
    insert = tx.upsert(balances).values(business_id=business_id, ad_account_id=ad_account_id, **(none | more))
    added = {name: balances.c[name] + amount for name, amount in more.items()}
    keys = ["business_id", "ad_account_id"]
    tx.execute(insert.on_conflict_do_update(index_elements=keys, set_=added))


def list_spent(tx: Tx, business_id: str, ad_group_ids: Collection[str], day: str) -> dict[str, Spent]:
    """What ad groups were charged on a day of their own, and ever."""
    table = charged_days
    of_day = func.coalesce(func.sum(table.c.charged_micros).filter(table.c.day == day), 0)
    ever = func.sum(table.c.charged_micros)
    wanted = (
        select(table.c.ad_group_id, of_day, ever)
        .where(table.c.business_id == business_id, table.c.ad_group_id.in_(sorted(ad_group_ids)))
        .group_by(table.c.ad_group_id)
    )
    return {name: Spent(int(today), int(total)) for name, today, total in map(tuple, tx.execute(wanted))}


def list_charged_days(
    tx: Tx, business_id: str, ad_account_id: str, first: str, last: str
) -> list[ChargedDay]:
    """What an ad account was charged, by day and ad group, in the order of days."""
    table = charged_days
    mine = select(table).where(
        table.c.business_id == business_id, table.c.ad_account_id == ad_account_id,
        table.c.day.between(first, last),
    )  # fmt: skip
    return tx.list(ChargedDay, mine.order_by(table.c.day, table.c.ad_group_id))


def save_promises(tx: Tx, made: Sequence[Promise]) -> None:
    if made:
        tx.execute(tx.upsert(promises).on_conflict_do_nothing(), [row_of(each) for each in made])


def delete_promises(tx: Tx, business_id: str, nonces: Collection[int]) -> None:
    """Forget promises that were kept."""
    mine = promises.c.business_id == business_id, promises.c.nonce.in_(sorted(nonces))
    tx.execute(promises.delete().where(*mine))


def delete_expired(tx: Tx, business_id: str) -> None:
    """Forget promises of views that cannot be expected any more, and grants of processes that are gone."""
    now = micros(tx.now)
    for table in (promises, grants):
        tx.execute(table.delete().where(table.c.business_id == business_id, table.c.expires_at <= now))


def list_promised(tx: Tx, business_id: str) -> dict[str, int]:
    """What is promised, by ad group."""
    return _sums(tx, promises, promises.c.business_id == business_id)


def list_granted(tx: Tx, business_id: str, besides: str) -> dict[str, int]:
    """What all processes but one may still promise, by ad group."""
    return _sums(tx, grants, grants.c.business_id == business_id, grants.c.server_id != besides)


def list_taken_of_accounts(tx: Tx, business_id: str, besides: str) -> dict[str, int]:
    """What is promised, or granted to all processes but one, by ad account."""
    taken: dict[str, int] = {}
    for table, *which in ((promises,), (grants, grants.c.server_id != besides)):
        wanted = select(table.c.ad_account_id, func.sum(table.c.micros))
        wanted = wanted.where(table.c.business_id == business_id, *which).group_by(table.c.ad_account_id)
        for name, amount in map(tuple, tx.execute(wanted)):
            taken[name] = taken.get(name, 0) + int(amount)
    return taken


def count_servers(tx: Tx, business_id: str, besides: str) -> int:
    """How many other processes serve ads of a business."""
    count = select(func.count(grants.c.server_id.distinct()))
    return int(tx.scalar(count.where(grants.c.business_id == business_id, grants.c.server_id != besides)))


def _sums(tx: Tx, table: Table, *which: Any) -> dict[str, int]:
    wanted = select(table.c.ad_group_id, func.sum(table.c.micros)).where(*which)
    rows = tx.execute(wanted.group_by(table.c.ad_group_id))
    return {name: int(amount) for name, amount in map(tuple, rows)}


def save_grants(tx: Tx, business_id: str, server_id: str, made: Sequence[Grant]) -> None:
    """Put the grants of a process in place of those that it had."""
    tx.execute(grants.delete().where(grants.c.business_id == business_id, grants.c.server_id == server_id))
    if made:
        tx.execute(grants.insert(), [row_of(each) for each in made])


def find_balance(tx: Tx, business_id: str, ad_account_id: str) -> Balance:
    """What an ad account paid in, may owe, and was charged; without a row its budgets alone limit it."""
    mine = balances.c.business_id == business_id, balances.c.ad_account_id == ad_account_id
    found = tx.find(Balance, select(balances).where(*mine))
    return found or Balance(business_id, ad_account_id, is_limited=False)


def list_limited_balances(tx: Tx, business_id: str, ad_account_ids: Collection[str]) -> dict[str, Balance]:
    """The balances of ad accounts that may not spend more than they have."""
    mine = select(balances).where(
        balances.c.business_id == business_id, balances.c.ad_account_id.in_(sorted(ad_account_ids)),
        balances.c.is_limited,
    )  # fmt: skip
    return {each.ad_account_id: each for each in tx.list(Balance, mine)}


def record_limit(tx: Tx, balance: Balance, *, is_limited: bool, credit_micros: int) -> None:
    """Say whether an ad account may spend no more than it has, and what it may owe."""
    _change_balance(tx, balance.business_id, balance.ad_account_id, paid_in_micros=0)
    mine = (
        balances.c.business_id == balance.business_id, balances.c.ad_account_id == balance.ad_account_id,
    )  # fmt: skip
    values: Mapping[str, Any] = {"is_limited": is_limited, "credit_micros": credit_micros}
    tx.execute(balances.update().where(*mine).values(**values))


def append_balance_entry(tx: Tx, entry: BalanceEntry) -> None:
    """Add a payment (or a refund, below 0) to a balance."""
    tx.insert(balance_entries, row_of(entry))
    _change_balance(tx, entry.business_id, entry.ad_account_id, paid_in_micros=entry.micros)


def list_balance_entries(tx: Tx, business_id: str, ad_account_id: str) -> list[BalanceEntry]:
    """The payments of an ad account, in the order of time."""
    mine = select(balance_entries).where(
        balance_entries.c.business_id == business_id, balance_entries.c.ad_account_id == ad_account_id
    )
    return tx.list(BalanceEntry, mine.order_by(balance_entries.c.at, balance_entries.c.id))
