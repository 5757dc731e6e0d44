"""Fair order of waiting work: tenants are served in turn, in batches that a failing row does not stop."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, Self

import sqlalchemy as sa

from contatto.kit.db.statements import PreparedQuery, Query
from contatto.kit.db.tx import BATCH_S, LONG_BATCH_S, Tx, savepoint

MOST_TURNS: Final = 50
"""Tenants per batch; the next batch continues after them."""

_MOST: Final = sa.bindparam("most", type_=sa.Integer)

type ListRows[T] = Callable[[str, int], list[T]]
"""List at most this number of rows of one tenant."""


class TenantRow(Protocol):
    """Row that belongs to a business."""

    @property
    def business_id(self) -> str: ...


def distinct_due(column: sa.Column[Any], waits: sa.ColumnElement[Any], due: sa.Column[Any]) -> sa.Select[Any]:
    """Return the query of the next values of a column, such as tenants, that have a due row.

    An index skip scan avoids reading many rows of one value. The parameters are ``after``, the last value
    so far, ``now`` and ``most``.
    """
    first = sa.select(sa.func.min(column).label("value")).where(waits, column > sa.bindparam("after"))
    turn = first.cte("turn", recursive=True)
    following = sa.select(sa.func.min(column)).where(waits, column > turn.c.value).scalar_subquery()
    turn = turn.union_all(sa.select(following).where(turn.c.value.is_not(None)))
    first_due = sa.select(sa.func.min(due)).where(waits, column == turn.c.value).scalar_subquery()
    is_due = first_due <= sa.bindparam("now", type_=due.type)
    return sa.select(turn.c.value).where(turn.c.value.is_not(None), is_due).limit(_MOST)


class Queue:
    """Table with rows that wait for work, and its cached queries.

    Args:
        table: has a column ``business_id``, and a partial index of it with ``due``.
        waits: condition of waiting rows, verbatim as in that index; it may have parameters.
        due: earliest time of work on a row.
        also: further condition of rows to take.
    """

    def __init__(
        self,
        table: sa.Table,
        waits: sa.ColumnElement[Any],
        due: sa.Column[Any],
        also: sa.ColumnElement[bool] | None = None,
    ) -> None:
        self.tables = frozenset({table.name})
        self.parameters: dict[str, Any] = {}
        business = table.c.business_id
        self._businesses = Query(distinct_due(business, waits, due))
        but = sa.bindparam("but", type_=sa.Integer)
        self._nth_row = Query(sa.select(sa.literal(1)).select_from(table).where(waits).limit(1).offset(but))
        rows = sa.select(table).where(
            waits, business == sa.bindparam("of"), due <= sa.bindparam("now", type_=due.type)
        )
        rows = rows if also is None else rows.where(also)
        self.unlocked = rows.order_by(due, *table.primary_key.columns).limit(_MOST)
        self.locked = self.unlocked.with_for_update(skip_locked=True)
        self._prepared_queries: dict[type[Any], PreparedQuery[Any]] = {}

    def given(self, **values: Any) -> Self:
        """Return the queue with values for the parameters of its condition."""
        queue = copy(self)
        queue.parameters = values
        return queue

    def is_due(self, tx: Tx, late_by: timedelta = timedelta()) -> bool:
        """Return whether a row of any tenant is due, or overdue by some time."""
        return bool(self.list_businesses(tx, "", 1, tx.now - late_by))

    def has_many(self, tx: Tx, count: int) -> bool:
        """Return whether at least ``count`` rows of all tenants wait."""
        return bool(self._nth_row.rows(tx, self.parameters | {"but": count - 1}))

    def list_businesses(self, tx: Tx, after: str, most: int, due: datetime | None = None) -> list[str]:
        """Return tenants with a due row, after one of them, by id.

        ``due`` may lie in the past.
        """
        values = self.parameters | {"after": after, "now": due or tx.now, "most": most}
        return [business_id for (business_id,) in self._businesses.rows(tx, values)]

    def list[T](self, tx: Tx, shape: type[T], business_id: str, most: int) -> list[T]:
        """Return due rows of a tenant, oldest first, locked."""
        values = self.values(tx, business_id, most)
        names: set[str] = {field.name for field in fields(shape)}  # type: ignore[arg-type]
        if not names <= set(self.locked.selected_columns.keys()):
            return tx.list(shape, self.locked, values)
        if shape not in self._prepared_queries:
            self._prepared_queries[shape] = PreparedQuery(shape, self.locked)
        return self._prepared_queries[shape].list(tx, values)

    def values(self, tx: Tx, business_id: str, most: int) -> dict[str, Any]:
        """Return the parameters of the queries ``locked`` and ``unlocked``."""
        return self.parameters | {"of": business_id, "now": tx.now, "most": most}


@dataclass(eq=False)
class Turns:
    """Round robin over tenants, which continues from batch to batch, after the last served one."""

    queue: Queue
    last: str = ""

    def list_businesses(self, tx: Tx, most: int = MOST_TURNS) -> list[str]:
        """Return tenants with due rows, beginning after the last served one."""
        businesses = self.queue.list_businesses(tx, self.last, most)
        if len(businesses) < most and self.last:
            first = self.queue.list_businesses(tx, "", most)
            businesses += [business_id for business_id in first if business_id <= self.last]
        return businesses[:most]

    def list_rows[T](self, tx: Tx, most: int, list_of: ListRows[T]) -> list[T]:
        """Return due rows: the first of each tenant, then the second of each, and so on."""
        businesses = self.list_businesses(tx)
        share = max(1, most // max(1, len(businesses)))
        return list(in_turn([list_of(business, share) for business in businesses]))


def in_turn[T](lists: Iterable[Iterable[T]]) -> Iterator[T]:
    """Yield the first item of each list, then the second of each, until all have ended."""
    waiting = deque(map(iter, lists))
    while waiting:
        following = waiting.popleft()
        for item in following:
            yield item
            waiting.append(following)
            break


def batch_seconds(tx: Tx) -> float:
    """Return the time budget of a batch; it is shorter while a request waits for this transaction."""
    return BATCH_S if tx.is_awaited() else LONG_BATCH_S


def run_batch[Row: TenantRow](
    tx: Tx,
    turns: Turns,
    limit: int,
    list_rows: ListRows[Row],
    work: Callable[[Sequence[Row]], list[Row]],
    note_failure: Callable[[Row, Exception], None],
) -> int:
    """Work on due rows of many businesses, in turn; halve the batch until a row that fails is alone.

    Each attempt runs in a savepoint. After a failure each business is tried apart, so it stops no other;
    a business that has had its time waits for the next batch. Rows of a business keep their order.

    Args:
        tx: transaction of the batch.
        turns: order of the businesses, from batch to batch.
        limit: most rows to read.
        list_rows: reads the rows of one business, oldest first.
        work: works on rows in order, for as long as a batch may take, and returns those that it tried.
        note_failure: records that a row failed.

    Returns the number of tried rows; call again until it is 0.
    """
    rows = turns.list_rows(tx, limit, list_rows)
    pieces = [rows] if rows else []
    tried, begun, end = list[Row](), set[str](), math.inf
    while pieces:
        piece = pieces.pop()
        business_id = piece[0].business_id
        if tried and business_id in begun and time.perf_counter() > end:
            continue
        begun.add(business_id)
        try:
            with savepoint(tx):
                finished = work(piece)
        except Exception as error:  # a failure concerns these rows alone
            end = min(end, time.perf_counter() + batch_seconds(tx))
            of_business: dict[str, list[Row]] = {}
            for row in piece:
                of_business.setdefault(row.business_id, []).append(row)
            half = len(piece) // 2
            if len(of_business) > 1:  # the first one is tried next
                pieces += reversed(of_business.values())
            elif half:
                pieces += [piece[half:], piece[:half]]
            else:
                note_failure(piece[0], error)
                tried += piece
            continue
        tried += finished
        if len(finished) < len(piece):  # later rows of the business must not overtake the rest
            pieces = [waiting for waiting in pieces if waiting[0].business_id != business_id]
    if tried:
        turns.last = tried[-1].business_id
    return len(tried)
