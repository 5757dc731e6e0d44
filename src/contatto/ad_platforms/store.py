"""Tables of mirrored ad accounts, their tokens, campaigns and costs."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa

from contatto.ad_platforms import model
from contatto.kit.db.tx import Choice, Tx, instant, key, metadata, row_of, rows_of, sealed, tenant, text
from contatto.measurement.model import MeasuredAd
from contatto.measurement.store import measured_ads

MOST_ACCOUNTS: Final = 100

outside_accounts = sa.Table(
    "outside_accounts",
    metadata,
    key(),
    tenant(),
    sa.Column("platform", Choice(model.AdPlatform), nullable=False),
    sa.Column("external_id", sa.String(64), nullable=False),
    text("name"),
    text("base_url"),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("timezone", sa.String(64), nullable=False),
    sa.Column("state", Choice(model.PullState), nullable=False),
    sa.Column("reason", sa.String(64), nullable=False),
    sa.Column("backfill_days", sa.Integer, nullable=False),
    instant("pulled_at", nullable=True),
    sa.Column("pulled_through", sa.String(10), nullable=False),
    sa.Column("deep_day", sa.String(10), nullable=False),
    sa.Column("left_out", sa.Integer, nullable=False),
    instant("created_at"),
    sa.UniqueConstraint("business_id", "platform", "external_id"),
)

outside_tokens = sa.Table(
    "outside_tokens",
    metadata,
    sa.Column("outside_account_id", sa.String(36), primary_key=True),
    tenant(),
    sealed("access_token"),
    instant("changed_at"),
)


def record_account(tx: Tx, account: model.OutsideAccount, **changes: Any) -> model.OutsideAccount:
    tx.change(outside_accounts, account.business_id, account.id, **changes)
    return replace(account, **changes)


def find_outside_account(tx: Tx, business_id: str, account_id: str) -> model.OutsideAccount | None:
    where = rows_of(outside_accounts, business_id, id=account_id)
    return tx.find(model.OutsideAccount, sa.select(outside_accounts).where(*where))


def list_outside_accounts(tx: Tx, business_id: str) -> list[model.OutsideAccount]:
    query = sa.select(outside_accounts).where(outside_accounts.c.business_id == business_id)
    return tx.list(model.OutsideAccount, query.order_by(outside_accounts.c.created_at, outside_accounts.c.id))


def save_outside_token(tx: Tx, account: model.OutsideAccount, access_token: str) -> None:
    """Save the sealed access token of an account in place of an earlier one."""
    token = tx.vault.seal(access_token, account.business_id, "outside_tokens.access_token", account.id)
    row = {"outside_account_id": account.id, "business_id": account.business_id}
    tx.save(outside_tokens, row | {"access_token": token, "changed_at": tx.now})


def find_outside_token(tx: Tx, account: model.OutsideAccount) -> str | None:
    where = rows_of(outside_tokens, account.business_id, outside_account_id=account.id)
    token = tx.scalar(sa.select(outside_tokens.c.access_token).where(*where))
    place = account.business_id, "outside_tokens.access_token", account.id
    return None if token is None else tx.vault.open(token, *place)


outside_nodes = sa.Table(
    "outside_nodes",
    metadata,
    tenant(),
    sa.Column("account_id", sa.String(36), primary_key=True),
    sa.Column("level", Choice(model.NodeLevel), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("parent", sa.BigInteger, nullable=False),
    text("name"),
    sa.Column("status", Choice(model.OutsideStatus), nullable=False),
    sa.Column("goal", sa.String(64), nullable=False),
    sa.Column("click_window_s", sa.BigInteger),
    sa.Column("view_window_s", sa.BigInteger),
    sa.Column("mark", sa.BigInteger, nullable=False),
)
"""``mark`` is the pull or the file that wrote the row last. It grows with time, so late responses of older
pulls change nothing.
"""

outside_days = sa.Table(
    "outside_days",
    metadata,
    tenant(),
    sa.Column("account_id", sa.String(36), primary_key=True),
    sa.Column("ad_number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("spend_micros", sa.BigInteger, nullable=False),
    sa.Column("impressions", sa.BigInteger, nullable=False),
    sa.Column("clicks", sa.BigInteger, nullable=False),
    sa.Column("mark", sa.BigInteger, nullable=False),
    sa.Index("ix_outside_days_of_day", "business_id", "account_id", "day"),
)
"""Days are those of the account's zone; money is micros of its currency."""


def save_rows(
    tx: Tx,
    table: sa.Table,
    account: model.OutsideAccount,
    items: Iterable[model.OutsideNode | model.AdDay],
    mark: int,
) -> None:
    """Insert or replace nodes or daily costs, except those with a newer mark: platforms correct both."""
    keys = [column.name for column in table.primary_key]
    own = {"business_id": account.business_id, "account_id": account.id, "mark": mark}
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for item in items:
        row = row_of(item) | own
        rows[tuple(row[name] for name in keys)] = row
    if rows:
        insert = tx.upsert(table)
        new = {column.name: insert.excluded[column.name] for column in table.c if column.name not in keys}
        is_newer = table.c.mark <= insert.excluded.mark
        upsert = insert.on_conflict_do_update(index_elements=keys, set_=new, where=is_newer)
        tx.execute(upsert, list(rows.values()))


def delete_unseen(tx: Tx, account: model.OutsideAccount, walk: model.Walk) -> None:
    """Remove what the platform no longer has, after a part of a pull; nodes are only marked as deleted."""
    if walk.part is model.Part.SPEND:
        days = _days_of(account, (walk.first, walk.last))
        tx.execute(outside_days.delete().where(*days, outside_days.c.mark < walk.mark))
    elif walk.part in model.LEVEL_OF:
        level = model.LEVEL_OF[walk.part]
        where = rows_of(outside_nodes, account.business_id, account_id=account.id, level=level)
        unseen = sa.update(outside_nodes).where(*where, outside_nodes.c.mark < walk.mark)
        tx.execute(unseen.values(status=model.OutsideStatus.DELETED))


def _days_of(account: model.OutsideAccount, days: tuple[str, str]) -> list[sa.ColumnElement[bool]]:
    own = rows_of(outside_days, account.business_id, account_id=account.id)
    return [*own, outside_days.c.day.between(*days)]


def list_nodes(
    tx: Tx, account: model.OutsideAccount, level: model.NodeLevel, numbers: Collection[int] | None = None
) -> list[model.OutsideNode]:
    """List the campaigns, ad groups or ads of an account: all of them, or those of ``numbers``."""
    named = {} if numbers is None else {"number": list(numbers)}
    where = rows_of(outside_nodes, account.business_id, account_id=account.id, level=level, **named)
    return tx.list(model.OutsideNode, sa.select(outside_nodes).where(*where).order_by(outside_nodes.c.number))


def count_nodes(tx: Tx, business_id: str) -> dict[tuple[str, model.NodeLevel], int]:
    """Count the nodes of a business by account and level, without deleted ones."""
    groups = outside_nodes.c.account_id, outside_nodes.c.level
    query = sa.select(*groups, sa.func.count().label("count")).where(
        outside_nodes.c.business_id == business_id, outside_nodes.c.status != model.OutsideStatus.DELETED
    )
    rows = tx.execute(query.group_by(*groups)).mappings()
    return {(row["account_id"], model.NodeLevel(row["level"])): row["count"] for row in rows}


def list_ad_days(tx: Tx, account: model.OutsideAccount, days: tuple[str, str]) -> list[model.AdDay]:
    """List costs of ads on each of these days, both ends included."""
    query = sa.select(outside_days).where(*_days_of(account, days))
    return tx.list(model.AdDay, query.order_by(outside_days.c.day, outside_days.c.ad_number))


def list_ad_sums(tx: Tx, account: model.OutsideAccount, days: tuple[str, str]) -> dict[int, model.AdDay]:
    """Sum costs of ads over these days; the day of a sum is empty."""
    sums = [
        sa.func.sum(outside_days.c[name]).label(name) for name in ("spend_micros", "impressions", "clicks")
    ]
    query = sa.select(outside_days.c.ad_number, *sums).where(*_days_of(account, days))
    rows = tx.execute(query.group_by(outside_days.c.ad_number))
    return {int(row[0]): model.AdDay(int(row[0]), "", *map(int, row[1:])) for row in map(tuple, rows)}


def list_account_ads(tx: Tx, account: model.OutsideAccount) -> list[MeasuredAd]:
    query = sa.select(measured_ads).where(
        *rows_of(measured_ads, account.business_id, ad_account_id=account.id)
    )
    return tx.list(MeasuredAd, query.order_by(measured_ads.c.ad_number))
