"""Deliveries as they came in, their bodies sealed, and the ledger that counts them."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    func,
    literal_column,
    or_,
    select,
    type_coerce,
    update,
)

from contatto.channels.model import Platform
from contatto.inbox.model import Ledger, Receipt, ReceiptState
from contatto.kit.db.tx import Tx, insert_for
from contatto.kit.db.types import Choice, Serial, instant, metadata, sealed, tenant
from contatto.kit.moments import micros

receipts = Table(
    "receipts",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    tenant(),
    Column("platform", Choice(Platform), nullable=False),
    Column("account", String(128), nullable=False),
    Column("natural_key", String(300), nullable=False),
    sealed("body", nullable=True),
    Column("copies", Integer, nullable=False),
    Column("state", Choice(ReceiptState), nullable=False),
    Column("reason", String(64)),
    Column("attempts", Integer, nullable=False),
    instant("received_at"),
    UniqueConstraint("business_id", "platform", "natural_key"),
    Index("ix_receipts_waiting", "id", sqlite_where=literal_column("state = 'received'"),
          postgresql_where=literal_column("state = 'received'")),
)  # fmt: skip


def _append_receipt(dialect: str) -> Any:
    insert = insert_for(dialect, receipts)
    again = {"copies": receipts.c.copies + 1}
    return insert.on_conflict_do_update(index_elements=["business_id", "platform", "natural_key"], set_=again)


APPEND_RECEIPT: Final = {dialect: _append_receipt(dialect) for dialect in ("sqlite", "postgresql")}
"""The insert of the hot path: a repeated delivery only counts up its copies."""


def append_receipt(tx: Tx, row: dict[str, Any]) -> None:
    """Keep a delivery in a transaction with other things; a repeated one only counts up its copies."""
    tx.execute(APPEND_RECEIPT[tx.connection.dialect.name], row)


WAIT_US: Final = 4_000_000
"""A delivery that failed waits for 4 seconds from its arrival, then for 16, 36, 64…"""


def list_waiting_receipts(tx: Tx, limit: int) -> list[Receipt]:
    """Deliveries of all businesses that are due, in order of arrival; for the worker only.

    Several workers never settle the same account at the same time: they would wait for each other's rows.
    """
    tries = receipts.c.attempts
    due_at = type_coerce(receipts.c.received_at, BigInteger) + tries * tries * WAIT_US
    waiting = select(receipts).where(receipts.c.state == literal_column("'received'"))
    waiting = waiting.where(or_(tries == 0, due_at <= micros(tx.now))).order_by(receipts.c.id).limit(limit)
    if not tx.locks_rows:
        return tx.list(Receipt, waiting)
    account = func.hashtextextended(receipts.c.business_id + receipts.c.account, 0)
    mine = waiting.where(func.pg_try_advisory_xact_lock(account)).with_for_update(skip_locked=True)
    return tx.list(Receipt, mine)


def mark_receipts(tx: Tx, settled: Sequence[Receipt], state: ReceiptState, reason: str | None) -> None:
    """Settle receipts. The body of a stored one is let go: the message is kept, the copy is not needed."""
    values: dict[str, Any] = {"state": state, "reason": reason}
    if state in (ReceiptState.STORED, ReceiptState.MERGED):
        values["body"] = None
    tx.execute(update(receipts).where(receipts.c.id.in_([each.id for each in settled])).values(**values))


def mark_receipt_tried(tx: Tx, receipt: Receipt) -> None:
    tx.execute(update(receipts).where(receipts.c.id == receipt.id).values(attempts=receipt.attempts + 1))


def count_receipts(tx: Tx, business_id: str) -> Ledger:
    """The ledger of a business: received = stored + merged + refused + waiting."""
    of, reason = receipts.c.state, receipts.c.reason
    counted = select(of, reason, func.count(), func.sum(receipts.c.copies)).group_by(of, reason)
    rows: list[Any] = list(tx.execute(counted.where(receipts.c.business_id == business_id)))
    by_state = {state: sum(row[2] for row in rows if row[0] is state) for state in ReceiptState}
    copies = sum(int(row[3]) for row in rows)
    return Ledger(
        received=copies,
        stored=by_state[ReceiptState.STORED],
        merged=by_state[ReceiptState.MERGED] + copies - sum(by_state.values()),
        refused=by_state[ReceiptState.REFUSED],
        waiting=by_state[ReceiptState.RECEIVED],
        reasons={row[1] or "": row[2] for row in rows if row[0] is ReceiptState.REFUSED},
    )
