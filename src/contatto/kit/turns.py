"""Whose turn it is: businesses with work that waits are served one after another, however much each has."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Select, Table, func, select

from contatto.kit.db.tx import Tx

MOST_TURNS: Final = 50
"""Businesses that one batch serves; the next batch goes on with those after them."""

type ListRows[T] = Callable[[str, int], list[T]]
"""Lists so many rows of one business at most."""


@dataclass(frozen=True, slots=True)
class Queue:
    """A table whose rows wait for work.

    Args:
        table: has a column ``business_id``, and an index of it with ``due``, of the rows that wait.
        waits: whether a row waits, in the very words of that index.
        due: from when on a row may be worked on.
    """

    table: Table
    waits: ColumnElement[Any]
    due: Column[Any]

    def is_due(self, tx: Tx) -> bool:
        """Whether a row of any business is due."""
        return bool(self.list_businesses(tx, "", 1))

    def list_businesses(self, tx: Tx, after: str, most: int) -> list[str]:
        """Businesses with a row that is due, after one of them, by their ids.

        Each is looked for in the index, so the many rows of one business are not read.
        """
        business = self.table.c.business_id
        first = select(func.min(business).label("id")).where(self.waits, business > after)
        turn = first.cte("turn", recursive=True)
        following = select(func.min(business)).where(self.waits, business > turn.c.id).scalar_subquery()
        turn = turn.union_all(select(following).where(turn.c.id.is_not(None)))
        first_due = select(func.min(self.due)).where(self.waits, business == turn.c.id).scalar_subquery()
        found = select(turn.c.id).where(turn.c.id.is_not(None), first_due <= tx.now).limit(most)
        return list(tx.execute(found).scalars())

    def rows_of(self, tx: Tx, business_id: str, limit: int, *, locked: bool = True) -> Select[Any]:
        """The rows of a business that are due, the first first; locked, nobody else takes them meanwhile."""
        mine = select(self.table).where(
            self.waits, self.table.c.business_id == business_id, self.due <= tx.now
        )
        keys = self.table.primary_key.columns
        mine = mine.order_by(self.due, *keys).limit(limit)
        return mine.with_for_update(skip_locked=True) if locked and tx.locks_rows else mine


class Turns:
    """The turns of one kind of work; it remembers who was served last, from batch to batch."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self._last = ""

    def list_businesses(self, tx: Tx, most: int = MOST_TURNS) -> list[str]:
        """Businesses with rows that are due, from the one after the last that was served."""
        found = self.queue.list_businesses(tx, self._last, most)
        if len(found) < most and self._last:
            others = self.queue.list_businesses(tx, "", most)
            found += [each for each in others if each <= self._last]
        return found[:most]

    def list_rows[T](self, tx: Tx, most: int, list_of: ListRows[T]) -> list[T]:
        """Rows that are due: one of each business, then the second of each, and so on."""
        businesses = self.list_businesses(tx)
        share = max(1, most // max(1, len(businesses)))
        return list(in_turn([list_of(each, share) for each in businesses]))

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
