"""Tables of money: charges, promises, grants, balances, earnings and counts of the trial."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Index,
    Integer,
    Select,
    String,
    Table,
    bindparam,
    func,
    literal_column,
    select,
)

from contatto.ads.model import Spent
from contatto.delivery.model import Balance, BalanceEntry, ChargedDay, Grant, Promise, TrialDay
from contatto.kit.db.prepared import PreparedQuery, Query, insert_all, insert_new, insert_rows, update_rows
from contatto.kit.db.tx import Tx, insert_for
from contatto.kit.db.types import instant, key, metadata, only, row_of, tenant, text, within
from contatto.kit.timestamps import micros
from contatto.measurement.model import ConversionKind
from contatto.measurement.store import conversions

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
    Column("viewer", String(36), nullable=False, server_default=""),
    Index("ix_delivery_promises_viewer", "business_id", "ad_group_id", "viewer", **only("viewer <> ''")),
    Index("ix_delivery_promises_sums", "business_id", "ad_group_id", "micros"),
    Index("ix_delivery_promises_expires_at", "business_id", "expires_at"),
)
"""A place in the budget that is kept for an ad that was chosen, as long as its view may be expected.

Each process asks every second for their sums by ad group, which come from the index alone, and for those that
have expired; there are as many promises as decisions of a quarter of an hour that nobody saw.
"""

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


# What every charge and every second of serving asks is made once and kept: building a statement anew costs
# several times what running it does.
_OF: Final = bindparam("of", type_=String)
_BESIDES: Final = bindparam("besides", type_=String)
_NOW: Final = bindparam("now", type_=BigInteger)
_NOTHING: Final = {"is_limited": False, "paid_in_micros": 0, "credit_micros": 0, "charged_micros": 0}


@cache
def _add_to_days(dialect: str) -> Any:
    insert = insert_for(dialect, charged_days)
    names = ("views", "clicks", "charged_micros")
    more = {name: charged_days.c[name] + insert.excluded[name] for name in names}
    return insert.on_conflict_do_update(index_elements=["business_id", "ad_group_id", "day"], set_=more)


@cache
def _add_to_balance(dialect: str) -> Any:
    insert = insert_for(dialect, balances)
    names = ("paid_in_micros", "charged_micros")
    more = {name: balances.c[name] + insert.excluded[name] for name in names}
    return insert.on_conflict_do_update(index_elements=["business_id", "ad_account_id"], set_=more)


def save_charges(tx: Tx, charged: Iterable[ChargedDay], own: Mapping[str, int]) -> None:
    """Add to the days of ad groups, and to what their accounts' own balances were charged.

    ``own`` are the amounts by ad account; what operators charge is taken from the balances with these.
    """
    found = list(charged)
    dialect = tx.connection.dialect.name
    insert_rows(tx, _add_to_days(dialect), [row_of(each) for each in found])
    rows = [
        _NOTHING
        | {"business_id": found[0].business_id, "ad_account_id": ad_account_id, "charged_micros": amount}
        for ad_account_id, amount in sorted(own.items())
        if amount
    ]
    if rows:
        insert_rows(tx, _add_to_balance(dialect), rows)


def _change_balance(tx: Tx, business_id: str, ad_account_id: str, paid_in_micros: int) -> None:
    row = _NOTHING | {
        "business_id": business_id, "ad_account_id": ad_account_id, "paid_in_micros": paid_in_micros,
    }  # fmt: skip
    insert_rows(tx, _add_to_balance(tx.connection.dialect.name), [row])


def _spent() -> Select[Any]:
    table = charged_days
    today = table.c.day == bindparam("day", type_=String)
    of_day = func.coalesce(func.sum(table.c.charged_micros).filter(today), 0)
    query = select(table.c.ad_group_id, of_day, func.sum(table.c.charged_micros))
    mine = table.c.business_id == _OF, within(table.c.ad_group_id, "named")
    return query.where(*mine).group_by(table.c.ad_group_id)


_SPENT: Final = Query(_spent())


def list_spent(tx: Tx, business_id: str, ad_group_ids: Collection[str], day: str) -> dict[str, Spent]:
    """What ad groups were charged on a day of their own, and ever."""
    rows = _SPENT.rows(tx, {"of": business_id, "named": ad_group_ids, "day": day})
    return {name: Spent(int(today), int(total)) for name, today, total in rows}


def list_charged_days(
    tx: Tx, business_id: str, ad_account_id: str, first: str, last: str
) -> list[ChargedDay]:
    """What an ad account was charged, by day and ad group, in the order of days."""
    table = charged_days
    query = select(table).where(
        table.c.business_id == business_id, table.c.ad_account_id == ad_account_id,
        table.c.day.between(first, last),
    )  # fmt: skip
    return tx.list(ChargedDay, query.order_by(table.c.day, table.c.ad_group_id))


_PROMISED_MORE: Final = (
    promises.update()
    .where(promises.c.business_id == _OF, promises.c.nonce == bindparam("of_nonce", type_=BigInteger))
    .values(micros=bindparam("amount", type_=BigInteger))
)


def save_promises(tx: Tx, made: Sequence[Promise]) -> None:
    """Keep promises; those under a frequency cap were claimed before, and get their amount."""
    insert_new(tx, promises, [row_of(promise) for promise in made if not promise.viewer])
    amounts = [
        {"of": promise.business_id, "of_nonce": promise.nonce, "amount": promise.micros}
        for promise in made
        if promise.viewer
    ]
    update_rows(tx, _PROMISED_MORE, amounts)


@cache
def _claim(dialect: str) -> Any:
    insert = insert_for(dialect, promises)
    names = ("ad_group_id", "ad_account_id", "micros", "expires_at", "viewer")
    changed = {name: insert.excluded[name] for name in names}
    return insert.on_conflict_do_update(index_elements=["business_id", "nonce"], set_=changed)


def save_claim(tx: Tx, claim: Promise) -> None:
    """Keep a place under a frequency cap, instead of another one of the same decision."""
    insert_rows(tx, _claim(tx.connection.dialect.name), [row_of(claim)])


def record_nobody_promised(tx: Tx, business_id: str, viewers: Collection[str]) -> None:
    """Remove some viewers from promises."""
    of_viewers = promises.c.business_id == business_id, promises.c.viewer.in_(sorted(viewers))
    tx.execute(
        promises.update().where(*of_viewers, promises.c.viewer != literal_column("''")).values(viewer="")
    )


_CLAIMED: Final = select(promises.c.expires_at).where(
    promises.c.business_id == _OF,
    promises.c.ad_group_id == bindparam("of_group", type_=String),
    promises.c.viewer == bindparam("of_viewer", type_=String),
    promises.c.viewer != literal_column("''"),
    promises.c.expires_at > _NOW,
)


def list_claims(tx: Tx, business_id: str, ad_group_id: str, viewer: str) -> list[int]:
    """List when the claims of a viewer on views of an ad group expire."""
    values = {"of": business_id, "of_group": ad_group_id, "of_viewer": viewer, "now": micros(tx.now)}
    return list(tx.execute(_CLAIMED, values).scalars())


_KEPT_ONES: Final = promises.delete().where(promises.c.business_id == _OF, within(promises.c.nonce, "nonces"))
_EXPIRED: Final = tuple(
    table.delete().where(table.c.business_id == _OF, table.c.expires_at <= _NOW)
    for table in (promises, grants)
)


def delete_promises(tx: Tx, business_id: str, nonces: Collection[int]) -> None:
    """Forget promises that were kept."""
    update_rows(tx, _KEPT_ONES, [{"of": business_id, "nonces": nonces}])


def delete_expired(tx: Tx, business_id: str) -> None:
    """Forget promises of views that cannot be expected any more, and grants of processes that are gone."""
    for statement in _EXPIRED:
        tx.execute(statement, {"of": business_id, "now": micros(tx.now)})


_PROMISED: Final = (
    select(promises.c.ad_group_id, func.sum(promises.c.micros))
    .where(promises.c.business_id == _OF)
    .group_by(promises.c.ad_group_id)
)
_GRANTED: Final = select(grants.c.server_id, grants.c.ad_group_id, grants.c.micros).where(
    grants.c.business_id == _OF, grants.c.server_id != _BESIDES
)


def _taken_of_accounts(table: Table, *which: ColumnElement[bool]) -> Select[Any]:
    query = select(table.c.ad_account_id, func.sum(table.c.micros))
    return query.where(table.c.business_id == _OF, *which).group_by(table.c.ad_account_id)


_TAKEN_OF_ACCOUNTS: Final = (
    _taken_of_accounts(promises),
    _taken_of_accounts(grants, grants.c.server_id != _BESIDES),
)


def list_promised(tx: Tx, business_id: str) -> dict[str, int]:
    """What is promised, by ad group."""
    rows = tx.execute(_PROMISED, {"of": business_id})
    return {name: int(amount) for name, amount in map(tuple, rows)}


def list_granted(tx: Tx, business_id: str, besides: str) -> dict[str, dict[str, int]]:
    """What all processes but one may still promise: by process, and by ad group."""
    granted: dict[str, dict[str, int]] = {}
    rows = tx.execute(_GRANTED, {"of": business_id, "besides": besides})
    for server_id, ad_group_id, amount in map(tuple, rows):
        granted.setdefault(server_id, {})[ad_group_id] = int(amount)
    return granted


def list_taken_of_accounts(tx: Tx, business_id: str, besides: str) -> dict[str, int]:
    """What is promised, or granted to all processes but one, by ad account."""
    taken: dict[str, int] = {}
    for statement in _TAKEN_OF_ACCOUNTS:
        for name, amount in map(tuple, tx.execute(statement, {"of": business_id, "besides": besides})):
            taken[name] = taken.get(name, 0) + int(amount)
    return taken


_MY_GRANTS: Final = grants.delete().where(
    grants.c.business_id == _OF, grants.c.server_id == bindparam("server", type_=String)
)


def save_grants(tx: Tx, business_id: str, server_id: str, made: Sequence[Grant]) -> None:
    """Put the grants of a process in place of those that it had."""
    tx.execute(_MY_GRANTS, {"of": business_id, "server": server_id})
    insert_all(tx, grants, [row_of(grant) for grant in made])


def find_balance(tx: Tx, business_id: str, ad_account_id: str) -> Balance:
    """What an ad account paid in, may owe, and was charged; without a row its budgets alone limit it."""
    mine = balances.c.business_id == business_id, balances.c.ad_account_id == ad_account_id
    found = tx.find(Balance, select(balances).where(*mine))
    return found or Balance(business_id, ad_account_id, is_limited=False)


_LIMITED: Final = PreparedQuery(
    Balance,
    select(balances).where(
        balances.c.business_id == _OF, within(balances.c.ad_account_id, "named"), balances.c.is_limited
    ),
)


def list_limited_balances(tx: Tx, business_id: str, ad_account_ids: Collection[str]) -> dict[str, Balance]:
    """The balances of ad accounts that may not spend more than they have."""
    values = {"of": business_id, "named": ad_account_ids}
    return {each.ad_account_id: each for each in _LIMITED.list(tx, values)}


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
    query = select(balance_entries).where(
        balance_entries.c.business_id == business_id, balance_entries.c.ad_account_id == ad_account_id
    )
    return tx.list(BalanceEntry, query.order_by(balance_entries.c.at, balance_entries.c.id))


class Charged(NamedTuple):
    """What an ad group was charged, in micros, and on which day that began."""

    micros: int
    since: date


def list_charged_since(
    tx: Tx, business_id: str, ad_group_ids: Collection[str], day: date
) -> dict[str, Charged]:
    """What ad groups were charged from a day on; those that were not are left out."""
    table = charged_days
    mine = table.c.business_id == business_id, table.c.ad_group_id.in_(sorted(ad_group_ids))
    charged = table.c.day >= day.isoformat(), table.c.charged_micros > 0
    query = select(table.c.ad_group_id, func.sum(table.c.charged_micros), func.min(table.c.day))
    rows = tx.execute(query.where(*mine, *charged).group_by(table.c.ad_group_id))
    return {name: Charged(int(micros), date.fromisoformat(since)) for name, micros, since in map(tuple, rows)}


def list_earned_since(
    tx: Tx, business_id: str, ad_account_id: str, day: date
) -> dict[tuple[str, ConversionKind], int]:
    """Conversions that ad groups of an account earned from a day on, by ad group and kind."""
    table = conversions
    mine = table.c.business_id == business_id, table.c.ad_account_id == ad_account_id
    stands = table.c.withdrawn_at.is_(None), table.c.day >= day.isoformat()
    query = select(table.c.ad_group_id, table.c.kind, func.count()).where(*mine, *stands)
    rows = tx.execute(query.group_by(table.c.ad_group_id, table.c.kind))
    return {(name, kind): int(count) for name, kind, count in map(tuple, rows)}


_COUNTS = ("views", "clicks", "charged_micros", "conversations", "leads")

trials = Table(
    "delivery_trials",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("ad_group_id", String(36), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("trial", Integer, primary_key=True, autoincrement=False),
    *(Column(name, BigInteger, nullable=False) for name in _COUNTS),
    Index("ix_delivery_trials_day", "day"),
)


@cache
def _add_to_trial_days(dialect: str) -> Any:
    insert = insert_for(dialect, trials)
    more = {name: trials.c[name] + insert.excluded[name] for name in _COUNTS}
    keys = ["business_id", "ad_group_id", "day", "trial"]
    return insert.on_conflict_do_update(index_elements=keys, set_=more)


def save_trial_days(tx: Tx, counted: Sequence[TrialDay]) -> None:
    """Add to what was counted; each day of an ad group and a group of viewers comes once."""
    if counted:
        insert_rows(
            tx, _add_to_trial_days(tx.connection.dialect.name), [row_of(trial_day) for trial_day in counted]
        )


def list_trials(tx: Tx, business_id: str, ad_group_ids: Collection[str], since: str) -> list[TrialDay]:
    """What was counted of ad groups from a day on, in sum for each group of viewers; the day is empty."""
    sums = [func.sum(trials.c[name]).label(name) for name in _COUNTS]
    query = (
        select(trials.c.ad_group_id, trials.c.trial, *sums)
        .where(
            trials.c.business_id == business_id,
            trials.c.ad_group_id.in_(sorted(ad_group_ids)),
            trials.c.day >= since,
        )
        .group_by(trials.c.ad_group_id, trials.c.trial)
    )
    return [
        TrialDay(business_id, ad_group_id, "", trial, *map(int, counts))
        for ad_group_id, trial, *counts in map(tuple, tx.execute(query))
    ]


def delete_old_trials(tx: Tx, before: str) -> int:
    """Delete some counts of days before one; say how many."""
    return tx.delete_some(trials, trials.c.day < before)
