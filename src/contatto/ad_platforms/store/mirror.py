"""Tables of what is mirrored of ad accounts elsewhere: campaigns to ads, and what each ad cost a day."""

from collections.abc import Collection, Iterable
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, String, Table, func, select, update

from contatto.ad_platforms.model import AdDay, NodeLevel, NodeStatus, OutsideAccount, OutsideNode
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, metadata, row_of, tenant, text
from contatto.measurement.model import MeasuredAd
from contatto.measurement.store import measured_ads

outside_nodes = Table(
    "outside_nodes",
    metadata,
    tenant(),
    Column("account_id", String(36), primary_key=True),
    Column("level", Choice(NodeLevel), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("parent", BigInteger, nullable=False),
    text("name"),
    Column("status", Choice(NodeStatus), nullable=False),
    Column("goal", String(64), nullable=False),
    Column("click_window_s", BigInteger),
    Column("view_window_s", BigInteger),
    Column("mark", BigInteger, nullable=False),
)
"""``mark`` is the pull or the file that told of the row last. It grows with time: a late answer of an older
one changes nothing.
"""

outside_days = Table(
    "outside_days",
    metadata,
    tenant(),
    Column("account_id", String(36), primary_key=True),
    Column("ad_number", BigInteger, primary_key=True, autoincrement=False),
    Column("day", String(10), primary_key=True),
    Column("spend_micros", BigInteger, nullable=False),
    Column("impressions", BigInteger, nullable=False),
    Column("clicks", BigInteger, nullable=False),
    Column("mark", BigInteger, nullable=False),
    Index("ix_outside_days_of_day", "business_id", "account_id", "day"),
)
"""Days are those of the account's zone; money is micros of its currency."""

_NODE_KEY: Final = ("account_id", "level", "number")
_DAY_KEY: Final = ("account_id", "ad_number", "day")


def save_nodes(tx: Tx, account: OutsideAccount, nodes: Iterable[OutsideNode], mark: int) -> None:
    """Insert nodes, or replace what is known of them."""
    mine = {"business_id": account.business_id, "account_id": account.id, "mark": mark}
    _replace(tx, outside_nodes, _NODE_KEY, {_key(node): row_of(node) | mine for node in nodes}.values())


def _key(node: OutsideNode) -> tuple[NodeLevel, int]:
    return node.level, node.number


def save_days(tx: Tx, account: OutsideAccount, days: Iterable[AdDay], mark: int) -> None:
    """Insert what ads cost on days, or replace it: platforms correct their figures."""
    mine = {"business_id": account.business_id, "account_id": account.id, "mark": mark}
    rows = {(day.ad_number, day.day): row_of(day) | mine for day in days}
    _replace(tx, outside_days, _DAY_KEY, rows.values())


def _replace(tx: Tx, table: Table, keys: Collection[str], rows: Iterable[dict[str, Any]]) -> None:
    found = list(rows)
    if found:
        insert = tx.upsert(table)
        new = {column.name: insert.excluded[column.name] for column in table.c if column.name not in keys}
        is_newer = table.c.mark <= insert.excluded.mark
        tx.execute(insert.on_conflict_do_update(index_elements=list(keys), set_=new, where=is_newer), found)


def mark_nodes_deleted(tx: Tx, account: OutsideAccount, level: NodeLevel, mark: int) -> None:
    """Mark as gone what a whole pull did not see. It stays, with all that it cost."""
    unseen = update(outside_nodes).where(
        outside_nodes.c.business_id == account.business_id,
        outside_nodes.c.account_id == account.id,
        outside_nodes.c.level == level,
        outside_nodes.c.mark < mark,
    )
    tx.execute(unseen.values(status=NodeStatus.DELETED))


def delete_unseen_days(tx: Tx, account: OutsideAccount, days: tuple[str, str], mark: int) -> None:
    """Delete the figures of these days that a whole pull of them did not bring again."""
    tx.execute(
        outside_days.delete().where(
            outside_days.c.business_id == account.business_id,
            outside_days.c.account_id == account.id,
            outside_days.c.day.between(*days),
            outside_days.c.mark < mark,
        )
    )


def list_nodes(
    tx: Tx, account: OutsideAccount, level: NodeLevel, numbers: Collection[int] | None = None
) -> list[OutsideNode]:
    """The campaigns, ad groups or ads of an account, by their numbers: all of them, or those named."""
    mine = select(outside_nodes).where(
        outside_nodes.c.business_id == account.business_id,
        outside_nodes.c.account_id == account.id,
        outside_nodes.c.level == level,
    )
    if numbers is not None:
        mine = mine.where(outside_nodes.c.number.in_(list(numbers)))
    return tx.list(OutsideNode, mine.order_by(outside_nodes.c.number))


def count_nodes(tx: Tx, business_id: str) -> dict[tuple[str, NodeLevel], int]:
    """How many of each level an account has, those that are gone left out."""
    where = outside_nodes.c.account_id, outside_nodes.c.level
    mine = select(*where, func.count().label("count")).where(
        outside_nodes.c.business_id == business_id, outside_nodes.c.status != NodeStatus.DELETED
    )
    rows = tx.execute(mine.group_by(*where)).mappings()
    return {(row["account_id"], NodeLevel(row["level"])): row["count"] for row in rows}


def list_ad_days(tx: Tx, account: OutsideAccount, days: tuple[str, str]) -> list[AdDay]:
    """What each ad cost on each of these days, both ends included."""
    mine = select(outside_days).where(
        outside_days.c.business_id == account.business_id,
        outside_days.c.account_id == account.id,
        outside_days.c.day.between(*days),
    )
    return tx.list(AdDay, mine.order_by(outside_days.c.day, outside_days.c.ad_number))


def list_ad_sums(tx: Tx, account: OutsideAccount, days: tuple[str, str]) -> dict[int, AdDay]:
    """What each ad cost on these days together; the day of a sum is empty."""
    sums = [func.sum(outside_days.c[name]).label(name) for name in ("spend_micros", "impressions", "clicks")]
    mine = select(outside_days.c.ad_number, *sums).where(
        outside_days.c.business_id == account.business_id,
        outside_days.c.account_id == account.id,
        outside_days.c.day.between(*days),
    )
    rows = tx.execute(mine.group_by(outside_days.c.ad_number))
    return {int(row[0]): AdDay(int(row[0]), "", *map(int, row[1:])) for row in map(tuple, rows)}


def list_account_ads(tx: Tx, account: OutsideAccount) -> list[MeasuredAd]:
    """All ads of an account that measuring knows, with all above them."""
    mine = select(measured_ads).where(
        measured_ads.c.business_id == account.business_id, measured_ads.c.ad_account_id == account.id
    )
    return tx.list(MeasuredAd, mine.order_by(measured_ads.c.ad_number))


def list_outside_ads(tx: Tx, business_id: str, ad_numbers: Iterable[int]) -> list[MeasuredAd]:
    """Ads of other platforms by those platforms' ids; two accounts may have the same."""
    mine = select(measured_ads).where(
        measured_ads.c.business_id == business_id,
        measured_ads.c.ad_number.in_(list(ad_numbers)),
        measured_ads.c.platform != "",
    )
    return tx.list(MeasuredAd, mine)
