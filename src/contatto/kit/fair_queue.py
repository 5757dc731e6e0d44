"""Fair order of waiting work: tenants are served in turn."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Final, Self

from sqlalchemy import Column, ColumnElement, Integer, Select, Table, bindparam, func, literal, select

from contatto.kit.db.prepared import PreparedQuery, Query
from contatto.kit.db.tx import Tx

MOST_TURNS: Final = 50
"""Businesses that one batch serves; the next batch goes on with those after them."""

type ListRows[T] = Callable[[str, int], list[T]]
"""Lists so many rows of one business at most."""


class Queue:
    """A table whose rows wait for work; its queries are asked all the time, so they are made once and kept.

    Args:
        table: has a column ``business_id``, and an index of it with ``due``, of the rows that wait.
        waits: whether a row waits, in the very words of that index; it may have parameters.
        due: from when on a row may be worked on.
        also: what a row must fulfil besides, to be taken.
    """

    def __init__(
        self,
        table: Table,
        waits: ColumnElement[Any],
        due: Column[Any],
        also: ColumnElement[bool] | None = None,
    ) -> None:
        self.tables = frozenset({table.name})
        self.parameters: dict[str, Any] = {}
        business = table.c.business_id
        now, most = bindparam("now", type_=due.type), bindparam("most", type_=Integer)
        first = select(func.min(business).label("id")).where(waits, business > bindparam("after"))
        turn = first.cte("turn", recursive=True)
        following = select(func.min(business)).where(waits, business > turn.c.id).scalar_subquery()
        turn = turn.union_all(select(following).where(turn.c.id.is_not(None)))
        first_due = select(func.min(due)).where(waits, business == turn.c.id).scalar_subquery()
        self._businesses = Query(
            select(turn.c.id).where(turn.c.id.is_not(None), first_due <= now).limit(most)
        )
        but = bindparam("but", type_=Integer)
        self._others = Query(select(literal(1)).select_from(table).where(waits).limit(1).offset(but))
        rows = select(table).where(waits, business == bindparam("of"), due <= now)
        rows = rows if also is None else rows.where(also)
        self.unlocked = rows.order_by(due, *table.primary_key.columns).limit(most)
        self.locked = self.unlocked.with_for_update(skip_locked=True)
        self._seeks: dict[type[Any], PreparedQuery[Any]] = {}

    def given(self, **values: Any) -> Self:
        """The same queue with the parameters of what waits."""
        made = copy(self)
        made.parameters = values
        return made

    def is_due(self, tx: Tx) -> bool:
        """Return whether a row of any business is due."""
        return bool(self.list_businesses(tx, "", 1))

    def is_late(self, tx: Tx, by: timedelta) -> bool:
        """Return whether a row of any business has been due for so long."""
        return bool(self.list_businesses(tx, "", 1, tx.now - by))

    def has_many(self, tx: Tx, count: int) -> bool:
        """Return whether so many rows wait, of all businesses together, due or not."""
        return bool(self._others.rows(tx, self.parameters | {"but": count - 1}))

    def list_businesses(self, tx: Tx, after: str, most: int, due: datetime | None = None) -> list[str]:
        """Businesses with a row that is due, after one of them, by their ids.

        Each is looked for in the index, so the many rows of one business are not read. ``due`` may be earlier
        than now.
        """
        values = self.parameters | {"after": after, "now": due or tx.now, "most": most}
        return [business_id for (business_id,) in self._businesses.rows(tx, values)]

    def list[T](self, tx: Tx, shape: type[T], business_id: str, most: int) -> list[T]:
        """Rows of a business that are due, the first first; nobody else takes them meanwhile."""
        values = self.values(tx, business_id, most)
        if tx.locks_rows or not self._has_fields_of(shape):
            return tx.list(shape, self.rows(tx), values)
        if shape not in self._seeks:
            self._seeks[shape] = PreparedQuery(shape, self.unlocked)
        return self._seeks[shape].list(tx, values)

    def _has_fields_of(self, shape: type[Any]) -> bool:
        return {field.name for field in fields(shape)} <= set(self.unlocked.selected_columns.keys())

    def rows(self, tx: Tx) -> Select[Any]:
        """The query of such rows, with ``values``; nobody else takes them meanwhile."""
        return self.locked if tx.locks_rows else self.unlocked

    def values(self, tx: Tx, business_id: str, most: int) -> dict[str, Any]:
        """The parameters of ``rows``."""
        return self.parameters | {"of": business_id, "now": tx.now, "most": most}


class Turns:
    """The turns of one kind of work; it remembers who was served last, from batch to batch."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self._last = ""

    def list_businesses(self, tx: Tx, most: int = MOST_TURNS) -> list[str]:
        """Businesses with rows that are due, from the one after the last that was served."""
        businesses = self.queue.list_businesses(tx, self._last, most)
        if len(businesses) < most and self._last:
            others = self.queue.list_businesses(tx, "", most)
            businesses += [each for each in others if each <= self._last]
        return businesses[:most]

    def list_rows[T](self, tx: Tx, most: int, list_of: ListRows[T]) -> list[T]:
        """Rows that are due: one of each business, then the second of each, and so on."""
        businesses = self.list_businesses(tx)
        share = max(1, most // max(1, len(businesses)))
        return list(in_turn([list_of(business, share) for business in businesses]))

    def served(self, business_id: str) -> None:
        """Note whose row was worked on, so that the next batch begins with the business after it."""
        self._last = business_id


def in_turn[T](lists: Iterable[Iterable[T]]) -> Iterator[T]:
    """The first of each, then the second of each, until all have ended."""
    waiting = deque(iter(each) for each in lists)
    while waiting:
        following = waiting.popleft()
        for item in following:
            yield item
            waiting.append(following)
            break
