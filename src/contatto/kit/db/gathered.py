"""What comes at the same time, written together: rows of one turn of an event loop, and works of one kind."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from contatto.kit.db.database import Database, Waiting
from contatto.kit.db.lanes import Write
from contatto.kit.db.row_security import acting_for
from contatto.kit.db.tx import Row, Tx

AT_ONCE: Final = 512
"""Most works of one kind in one transaction; more only make the first of them wait."""


class GatheredRows:
    """Gathers the rows of a turn: to wake a writer for each of them costs more than to write it.

    Args:
        hand_over: takes the rows of one turn; it must return at once.
    """

    def __init__(self, hand_over: Callable[[list[Write]], None]) -> None:
        self._hand_over = hand_over
        self._rows: dict[asyncio.AbstractEventLoop, list[Write]] = {}

    async def put(self, statement: Any, row: Row) -> None:
        """Insert a row with a statement that is made once and kept; it is durable when this returns."""
        loop = asyncio.get_running_loop()
        rows = self._rows.get(loop)
        if rows is None:
            rows = self._rows[loop] = []
            loop.call_soon(self._end_turn, loop)
        waiting: Waiting[None] = Waiting(loop)
        rows.append(Write(waiting, acting_for(), statement=statement, row=row))
        await waiting.future  # type: ignore[misc]  # a loop's future, as there is a loop

    def _end_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        rows = self._rows.pop(loop)
        try:
            self._hand_over(rows)
        except Exception as error:  # it belongs to the callers
            for write in rows:
                write.waiting.settle(None, error)


class GatheredWork[T, R]:
    """Works of one kind, many in one transaction: what comes while one is on its way goes into the next.

    Args:
        db: where they are written.
        record: does many, in their order, and says of each what came of it; an exception in its place is what
            its caller gets, and of such a one nothing may have been written.
        most: so many in one transaction.
    """

    def __init__(
        self, db: Database, record: Callable[[Tx, Sequence[T]], Sequence[R | Exception]], most: int = AT_ONCE
    ) -> None:
        self._db = db
        self._record = record
        self._most = most
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def put(self, one: T) -> R:
        """Do one work; what came of it is durable when this returns."""
        written: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, written))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        return await written

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            if not await self._write(batch, is_last_try=len(batch) == 1):
                for each in batch:  # one of them is at fault, and the others are not
                    await self._write([each], is_last_try=True)

    async def _write(self, batch: list[tuple[T, asyncio.Future[R]]], *, is_last_try: bool) -> bool:
        """Say whether no work has to be tried again."""
        works = [one for one, _ in batch]
        try:
            outcomes = await self._db.write(lambda tx: self._record(tx, works))
        except BaseException as error:
            is_over = is_last_try or not isinstance(error, Exception)
            if is_over:
                for _, written in batch:
                    _settle(written, error)
            return is_over
        for (_, written), outcome in zip(batch, outcomes, strict=True):
            _settle(written, outcome)
        return True


def _settle[R](written: asyncio.Future[R], outcome: R | BaseException) -> None:
    if written.done():  # nobody waits any more
        return
    if isinstance(outcome, BaseException):
        written.set_exception(outcome)
    else:
        written.set_result(outcome)
