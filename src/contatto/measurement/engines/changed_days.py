"""Marks of days of which something changed after they were counted ahead."""

from sqlalchemy import Column, Index, String, Table, select

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, key, metadata, row_of, tenant
from contatto.measurement.model import ChangedDay, CountedEvent

changed_days = Table(
    "changed_days",
    metadata,
    key(),
    tenant(),
    Column("ad_account_id", String(36), nullable=False),
    Column("day", String(10), nullable=False),
    Column("source", Choice(CountedEvent), nullable=False),
    Index("ix_changed_days_of_account", "business_id", "ad_account_id"),
)
"""A row for each change, so that no two writers wait for each other and no change is lost to a count."""


def append_changed_day(tx: Tx, mark: ChangedDay) -> None:
    tx.insert(changed_days, row_of(mark))


def list_changed_days(tx: Tx, business_id: str, ad_account_id: str) -> list[ChangedDay]:
    """The marks of an account, several of them maybe for one day."""
    mine = select(changed_days).where(changed_days.c.business_id == business_id)
    return tx.list(ChangedDay, mine.where(changed_days.c.ad_account_id == ad_account_id))


def list_changed_accounts(tx: Tx) -> list[tuple[str, str]]:
    """Business and ad account of all marks, for the worker."""
    wanted = select(changed_days.c.business_id, changed_days.c.ad_account_id).distinct()
    return [(row.business_id, row.ad_account_id) for row in tx.execute(wanted)]


def delete_changed_days(tx: Tx, business_id: str, mark_ids: list[str]) -> int:
    """Delete marks; say how many of them were there."""
    of, count = changed_days.c.business_id == business_id, 0
    for first in range(0, len(mark_ids), 500):
        gone = changed_days.delete().where(of, changed_days.c.id.in_(mark_ids[first : first + 500]))
        count += tx.execute(gone).rowcount
    return count
