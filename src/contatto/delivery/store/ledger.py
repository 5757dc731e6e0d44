"""Tables of charges, promises, budget leases, and results of each trial arm."""

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
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
from contatto.delivery.model import ChargedDay, LeaseRow, Promise, TrialDay
from contatto.kit.db.prepared import Query, add_counts, insert_all, insert_new, insert_rows, update_rows
from contatto.kit.db.tx import Tx, insert_for, metadata, only, row_of, within
from contatto.kit.values import micros
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
"""Budget that a decision reserves while its view is missing.

Each ad server sums promises by ad group every second from an index alone, and deletes expired ones. The table
has as many rows as the decisions of a quarter of an hour without a view.
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
"""Budget that one ad server may promise alone, for some seconds."""


# Frequent statements are built once, because building one costs more than running it.
_BUSINESS: Final = bindparam("business", type_=String)
_EXCEPT_SERVER: Final = bindparam("except_server", type_=String)
_NOW_US: Final = bindparam("now", type_=BigInteger)


def save_charged_days(tx: Tx, days: Iterable[ChargedDay]) -> None:
    """Add to the days of ad groups."""
    add_counts(tx, charged_days, ("views", "clicks", "charged_micros"), map(row_of, days))


def _spent() -> Select[Any]:
    table = charged_days
    today = table.c.day == bindparam("day", type_=String)
    of_day = func.coalesce(func.sum(table.c.charged_micros).filter(today), 0)
    query = select(table.c.ad_group_id, of_day, func.sum(table.c.charged_micros))
    where = table.c.business_id == _BUSINESS, within(table.c.ad_group_id, "named")
    return query.where(*where).group_by(table.c.ad_group_id)


_SPENT: Final = Query(_spent())


def list_spent(tx: Tx, business_id: str, ad_group_ids: Collection[str], day: str) -> dict[str, Spent]:
    """Return the charges of ad groups on a day of their own, and in total."""
    rows = _SPENT.rows(tx, {"business": business_id, "named": ad_group_ids, "day": day})
    return {name: Spent(int(today), int(total)) for name, today, total in rows}


def list_charged_days(
    tx: Tx, business_id: str, ad_account_id: str, first: str, last: str
) -> list[ChargedDay]:
    """List the charges of an ad account by day and ad group, oldest day first."""
    table = charged_days
    query = select(table).where(
        table.c.business_id == business_id, table.c.ad_account_id == ad_account_id,
        table.c.day.between(first, last),
    )  # fmt: skip
    return tx.list(ChargedDay, query.order_by(table.c.day, table.c.ad_group_id))


_CLAIMED_AMOUNT: Final = (
    promises.update()
    .where(promises.c.business_id == _BUSINESS, promises.c.nonce == bindparam("of_nonce", type_=BigInteger))
    .values(micros=bindparam("amount", type_=BigInteger))
)


def save_promises(tx: Tx, new: Sequence[Promise]) -> None:
    """Publish promises to all ad servers; a promise with a viewer is a claim already, and gets its amount."""
    insert_new(tx, promises, [row_of(promise) for promise in new if not promise.viewer])
    amounts = [
        {"business": promise.business_id, "of_nonce": promise.nonce, "amount": promise.micros}
        for promise in new
        if promise.viewer
    ]
    update_rows(tx, _CLAIMED_AMOUNT, amounts)


@cache
def _claim(dialect: str) -> Any:
    insert = insert_for(dialect, promises)
    names = ("ad_group_id", "ad_account_id", "micros", "expires_at", "viewer")
    changed = {name: insert.excluded[name] for name in names}
    return insert.on_conflict_do_update(index_elements=["business_id", "nonce"], set_=changed)


def save_claim(tx: Tx, claim: Promise) -> None:
    """Claim a view under a frequency cap, in place of another claim of the same decision."""
    insert_rows(tx, _claim(tx.connection.dialect.name), [row_of(claim)])


def delete_promise_viewers(tx: Tx, business_id: str, viewers: Collection[str]) -> None:
    """Remove the pseudonyms of viewers from promises."""
    of_viewers = promises.c.business_id == business_id, promises.c.viewer.in_(sorted(viewers))
    tx.execute(
        promises.update().where(*of_viewers, promises.c.viewer != literal_column("''")).values(viewer="")
    )


_CLAIMED: Final = select(promises.c.expires_at).where(
    promises.c.business_id == _BUSINESS,
    promises.c.ad_group_id == bindparam("of_group", type_=String),
    promises.c.viewer == bindparam("of_viewer", type_=String),
    promises.c.viewer != literal_column("''"),
    promises.c.expires_at > _NOW_US,
)


def list_claims(tx: Tx, business_id: str, ad_group_id: str, viewer: str) -> list[int]:
    """List the expiry times of the claims of a viewer on views of an ad group."""
    values = {"business": business_id, "of_group": ad_group_id, "of_viewer": viewer, "now": micros(tx.now)}
    return list(tx.execute(_CLAIMED, values).scalars())


_FULFILLED: Final = promises.delete().where(
    promises.c.business_id == _BUSINESS, within(promises.c.nonce, "nonces")
)
_EXPIRED: Final = tuple(
    table.delete().where(table.c.business_id == _BUSINESS, table.c.expires_at <= _NOW_US)
    for table in (promises, grants)
)


def delete_promises(tx: Tx, business_id: str, nonces: Collection[int]) -> None:
    """Delete promises of decisions with a view, or without use."""
    update_rows(tx, _FULFILLED, [{"business": business_id, "nonces": nonces}])


def delete_expired(tx: Tx, business_id: str) -> None:
    """Delete expired promises, and leases of ad servers that ended."""
    for statement in _EXPIRED:
        tx.execute(statement, {"business": business_id, "now": micros(tx.now)})


_PROMISED: Final = (
    select(promises.c.ad_group_id, func.sum(promises.c.micros))
    .where(promises.c.business_id == _BUSINESS)
    .group_by(promises.c.ad_group_id)
)
_LEASED: Final = select(grants.c.server_id, grants.c.ad_group_id, grants.c.micros).where(
    grants.c.business_id == _BUSINESS, grants.c.server_id != _EXCEPT_SERVER
)


def _committed(table: Table, *which: ColumnElement[bool]) -> Select[Any]:
    query = select(table.c.ad_account_id, func.sum(table.c.micros))
    return query.where(table.c.business_id == _BUSINESS, *which).group_by(table.c.ad_account_id)


_COMMITTED: Final = (_committed(promises), _committed(grants, grants.c.server_id != _EXCEPT_SERVER))


def list_promised(tx: Tx, business_id: str) -> dict[str, int]:
    """Return the promised amount by ad group."""
    rows = tx.execute(_PROMISED, {"business": business_id})
    return {name: int(amount) for name, amount in map(tuple, rows)}


def list_leased(tx: Tx, business_id: str, except_server: str) -> dict[str, dict[str, int]]:
    """Return the leases of all other ad servers: by ad server, and by ad group."""
    leased: dict[str, dict[str, int]] = {}
    rows = tx.execute(_LEASED, {"business": business_id, "except_server": except_server})
    for server_id, ad_group_id, amount in map(tuple, rows):
        leased.setdefault(server_id, {})[ad_group_id] = int(amount)
    return leased


def list_committed_of_accounts(tx: Tx, business_id: str, except_server: str) -> dict[str, int]:
    """Return promises and the leases of all other ad servers, by ad account."""
    committed: dict[str, int] = {}
    values = {"business": business_id, "except_server": except_server}
    for statement in _COMMITTED:
        for name, amount in map(tuple, tx.execute(statement, values)):
            committed[name] = committed.get(name, 0) + int(amount)
    return committed


_LEASES_OF_SERVER: Final = grants.delete().where(
    grants.c.business_id == _BUSINESS, grants.c.server_id == bindparam("server", type_=String)
)


def save_leases(tx: Tx, business_id: str, server_id: str, leases: Sequence[LeaseRow]) -> None:
    """Replace the leases of an ad server."""
    tx.execute(_LEASES_OF_SERVER, {"business": business_id, "server": server_id})
    insert_all(tx, grants, [row_of(lease) for lease in leases])


class ChargedTotal(NamedTuple):
    """Charges of an ad group in micros, and their first day."""

    micros: int
    since: date


def list_charged_since(
    tx: Tx, business_id: str, ad_group_ids: Collection[str], day: date
) -> dict[str, ChargedTotal]:
    """Return the charges of ad groups from a day on; ad groups without charges are missing."""
    table = charged_days
    where = table.c.business_id == business_id, table.c.ad_group_id.in_(sorted(ad_group_ids))
    charged = table.c.day >= day.isoformat(), table.c.charged_micros > 0
    query = select(table.c.ad_group_id, func.sum(table.c.charged_micros), func.min(table.c.day))
    rows = tx.execute(query.where(*where, *charged).group_by(table.c.ad_group_id))
    return {
        name: ChargedTotal(int(micros), date.fromisoformat(since)) for name, micros, since in map(tuple, rows)
    }


def list_earned_since(
    tx: Tx, business_id: str, ad_account_id: str, day: date
) -> dict[tuple[str, ConversionKind], int]:
    """Count the conversions that ad groups of an account earned from a day on, by ad group and kind."""
    table = conversions
    where = table.c.business_id == business_id, table.c.ad_account_id == ad_account_id
    valid = table.c.withdrawn_at.is_(None), table.c.day >= day.isoformat()
    query = select(table.c.ad_group_id, table.c.kind, func.count()).where(*where, *valid)
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
"""Results by day; ``trial`` is the group of viewers (see `rules.results.trial_of`)."""


def save_trial_days(tx: Tx, days: Iterable[TrialDay]) -> None:
    """Add to the counts of the trial; each ad group, day and group of viewers appears once."""
    add_counts(tx, trials, _COUNTS, map(row_of, days))


def list_trials(tx: Tx, business_id: str, ad_group_ids: Collection[str], since: str) -> list[TrialDay]:
    """Sum the counts of ad groups from a day on, by group of viewers; the day is empty."""
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
    """Delete some counts from before a day; return their number."""
    return tx.delete_some(trials, trials.c.day < before)
