"""What comes at the same time, written together: rows of one turn of an event loop, and works of one kind."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from sqlalchemy.exc import OperationalError

from contatto.kit.db.database import Waiting, Work
from contatto.kit.db.row_security import acting_for
from contatto.kit.db.tx import MadeLater, Row, Tx
from contatto.kit.db.writer import Write

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

    def put(self, statement: Any, row: Row | MadeLater) -> Awaitable[None]:
        """Insert a row with a statement that is made once and kept; it is durable once that was awaited."""
        loop = asyncio.get_running_loop()
        rows = self._rows.get(loop)
        if rows is None:
            rows = self._rows[loop] = []
            loop.call_soon(self._end_turn, loop)
        waiting: Waiting[None] = Waiting(loop)
        now, later = (None, row) if callable(row) else (row, None)
        rows.append(Write(waiting, acting_for(), statement=statement, row=now, make=later))
        return waiting.future  # type: ignore[return-value]  # a loop's future, as there is a loop

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
        run: reads or writes, such as ``Database.write``.
        work: does many, in their order, and says of each what came of it; an exception in its place is what
            its caller gets, and of such a one nothing may have been written.
        most: so many in one transaction.
    """

    def __init__(
        self,
        run: Callable[[Work[Sequence[R | Exception]]], Awaitable[Sequence[R | Exception]]],
        work: Callable[[Tx, Sequence[T]], Sequence[R | Exception]],
        most: int = AT_ONCE,
    ) -> None:
        self._run = run
        self._work = work
        self._most = most
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._going: asyncio.Task[None] | None = None

    async def put(self, one: T) -> R:
        """Do one work; what it wrote is durable when this returns."""
        waiting: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, waiting))
        if self._going is None or self._going.done():
            self._going = asyncio.create_task(self._do_all())
        return await waiting

    async def _do_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            if not await self._do(batch, is_last_try=len(batch) == 1):
                for each in batch:  # one of them is at fault, and the others are not
                    await self._do([each], is_last_try=True)

    async def _run_again(self, work: Work[Sequence[R | Exception]]) -> Sequence[R | Exception]:
        """Run a work; once more where none is at fault: another was in the way, or the database was away."""
        try:
            return await self._run(work)
        except OperationalError:
            return await self._run(work)

    async def _do(self, batch: list[tuple[T, asyncio.Future[R]]], *, is_last_try: bool) -> bool:
        """Say whether no work has to be tried again."""
        works = [one for one, _ in batch]
        try:
            outcomes = await self._run_again(lambda tx: self._work(tx, works))
        except OperationalError as error:
            for _, waiting in batch:
                _settle(waiting, error)
            return True
        except BaseException as error:
            is_over = is_last_try or not isinstance(error, Exception)
            if is_over:
                for _, waiting in batch:
                    _settle(waiting, error)
            return is_over
        for (_, waiting), outcome in zip(batch, outcomes, strict=True):
            _settle(waiting, outcome)
        return True


def _settle[R](waiting: asyncio.Future[R], outcome: R | BaseException) -> None:
    if waiting.done():  # whoever asked went away
        return
    if isinstance(outcome, BaseException):
        waiting.set_exception(outcome)
    else:
        waiting.set_result(outcome)
