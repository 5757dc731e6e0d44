"""Ledger of deliveries: rows of a table, each sent by a request of the outbound queue.

An entry is due until a request settles it as sent, verified, withheld or dead. While its receiver is not
active it has no request; the worker queues one when the receiver is active again. The outbound queue
sends requests, and retries them after a back-off.
"""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from contatto.integrations.model import DeliveryState, LedgerEntry
from contatto.kit.db.tx import Choice, Serial, Tx, in_time, instant, rows_of, tenant
from contatto.kit.outbound.model import OutboundRequest

REASON_LIMIT: Final = 64
"""Most characters of a reason."""
IS_WAITING: Final = "(state = 'due' AND NOT is_queued)"
"""Condition of the partial indexes of due entries without a request."""


def ledger_columns() -> tuple[sa.Column[Any], ...]:
    """Return the columns that each table of deliveries has."""
    return (
        sa.Column("id", Serial, primary_key=True, autoincrement=True),
        tenant(),
        sa.Column("state", Choice(DeliveryState), nullable=False),
        sa.Column("is_queued", sa.Boolean, nullable=False),
        sa.Column("reason", sa.String(REASON_LIMIT), nullable=False),
        instant("created_at"),
        instant("settled_at", nullable=True),
    )


class DeliveryLedger[E: LedgerEntry]:
    """Deliveries to receivers of one kind: CRMs, ad platforms or subscriptions.

    Args:
        table: has the columns of `ledger_columns`, and an id of the receiver.
        entry_type: dataclass of a row.
        receiver: the table's column with the id of the receiver.
        receiver_id: the same id in the table of receivers.
        is_active: the condition of receivers that get deliveries now.
    """

    def __init__(
        self,
        table: sa.Table,
        entry_type: type[E],
        receiver: sa.Column[Any],
        receiver_id: sa.Column[Any],
        is_active: sa.ColumnElement[bool],
    ) -> None:
        self._table = table
        self._entry_type = entry_type
        self._receiver = receiver
        self._receiver_id = receiver_id
        has_no_request: sa.ColumnElement[bool] = sa.literal_column(
            f"({table.name}.state = 'due' AND NOT {table.name}.is_queued)"
        )
        self.tables = {table.name, receiver_id.table.name}
        self._is_waiting: sa.ColumnElement[bool] = sa.and_(has_no_request, is_active)

    def find(self, tx: Tx, business_id: str, entry_id: int, receiver_id: str | None = None) -> E | None:
        """Return an entry; with ``receiver_id`` only one of this receiver."""
        own = {} if receiver_id is None else {self._receiver.name: receiver_id}
        is_entry = rows_of(self._table, business_id, id=entry_id, **own)
        return tx.find(self._entry_type, sa.select(self._table).where(*is_entry))

    def find_open(self, tx: Tx, request: OutboundRequest) -> E | None:
        """Return the entry of a request, unless it is settled."""
        entry = self.find(tx, request.business_id, int(request.subject))
        return entry if entry is not None and entry.settled_at is None else None

    def list_entries(
        self,
        tx: Tx,
        business_id: str,
        receiver_id: str | None = None,
        states: Collection[DeliveryState] = (),
        limit: int | None = 50,
    ) -> list[E]:
        """Return the latest entries of a receiver, or of all, the newest first."""
        own: dict[str, Any] = {} if receiver_id is None else {self._receiver.name: receiver_id}
        own |= {"state": tuple(states)} if states else {}
        query = sa.select(self._table).where(*rows_of(self._table, business_id, **own))
        return tx.list(self._entry_type, query.order_by(self._table.c.id.desc()).limit(limit))

    def count_states(self, tx: Tx, business_id: str) -> dict[str, dict[DeliveryState, int]]:
        """Count the entries of each receiver by state."""
        keys = self._receiver, self._table.c.state
        query = sa.select(*keys, sa.func.count().label("n")).where(self._table.c.business_id == business_id)
        states: dict[str, dict[DeliveryState, int]] = {}
        for row in tx.execute(query.group_by(*keys)).mappings():
            states.setdefault(row[self._receiver.name], {})[row["state"]] = row["n"]
        return states

    def find_oldest_due(self, tx: Tx, business_id: str, receiver_id: str) -> datetime | None:
        """Return the creation time of the oldest due entry of a receiver."""
        own = {self._receiver.name: receiver_id, "state": DeliveryState.DUE}
        query = sa.select(sa.func.min(self._table.c.created_at)).where(
            *rows_of(self._table, business_id, **own)
        )
        oldest: datetime | None = tx.scalar(query)
        return oldest

    def change(self, entry: E) -> sa.Update:
        """Return an UPDATE statement for the row of an entry."""
        return sa.update(self._table).where(*rows_of(self._table, entry.business_id, id=entry.id))

    def record(self, tx: Tx, entry: E, state: DeliveryState, reason: str = "", **values: Any) -> None:
        """Set the state of an entry; every state but due settles it."""
        settled_at = None if state is DeliveryState.DUE else tx.now
        changes = {"state": state, "reason": reason[:REASON_LIMIT], "settled_at": settled_at}
        tx.execute(self.change(entry).values(**changes | values))

    def has_waiting(self, tx: Tx) -> bool:
        """Report whether a due entry of an active receiver has no request."""
        joined = self._receiver_id.table.join(self._table, self._receiver_id == self._receiver)
        query = sa.select(self._table.c.id).select_from(joined).where(self._is_waiting)
        return tx.scalar(query.limit(1)) is not None

    def release(self, tx: Tx, limit: int) -> Iterator[E]:
        """Yield waiting entries of active receivers, of all businesses, until the time of a batch is up.

        The caller queues a request for each; then the entry is marked as queued.
        """
        query = (
            sa.select(self._table)
            .join(self._receiver_id.table, self._receiver_id == self._receiver)
            .where(self._is_waiting)
            .order_by(self._table.c.id)
            .limit(limit)
        )
        locked = query.with_for_update(skip_locked=True, of=self._table)
        for entry in in_time(tx.list(self._entry_type, locked)):
            yield entry
            tx.execute(self.change(entry).values(is_queued=True))
