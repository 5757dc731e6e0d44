"""Rows of hot paths that come in one turn of an event loop, handed to the writer together."""

import asyncio
from collections.abc import Callable
from typing import Any

from contatto.kit.db.database import Waiting
from contatto.kit.db.lanes import Write
from contatto.kit.db.row_security import acting_for
from contatto.kit.db.tx import Row


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
