"""Answering platforms a moment later while more waits to be settled than is settled in a second."""

import asyncio
from typing import Final

from contatto.inbox.store.receipts import WAITING
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx

MOST_WAITING: Final = 2_000
"""Deliveries that may wait before platforms are slowed down: some batches, as full as they get."""
LOOK_EVERY: Final = 256
"""It is looked how much waits after so many deliveries: by then it may be too much."""
HOLD_S: Final = 0.1
"""So much later a delivery is answered, and so long it is until the next look, while too much waits.

It is no more, so that a worker that stands still makes nobody wait for long: what is stored is safe.
"""


class Backlog:
    """What waits to be settled, as far as a server has to know it: whether that is too much.

    To store costs less than to settle, so who sends without end would leave more and more waiting.
    A sender has only so many deliveries on their way at a time, so one that is answered later sends less.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._came = 0
        self._is_looking = False
        self._is_too_much = False
        self._until_s = 0.0
        self._next = asyncio.Event()

    async def hold(self) -> None:
        """Let a delivery wait for the next moment, if too much waits; in any case it is to be stored then."""
        loop = asyncio.get_running_loop()
        self._came += 1
        is_time = loop.time() >= self._until_s if self._is_too_much else self._came >= LOOK_EVERY
        if is_time and not self._is_looking:
            await self._look(loop)
        if self._is_too_much and self._until_s > loop.time():
            await self._next.wait()  # they go on together, and share a commit

    async def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_looking = True
        try:
            self._is_too_much = await self._db.read(_is_too_much)
        finally:
            self._is_looking, self._came = False, 0
        self._until_s, self._next = loop.time() + HOLD_S, asyncio.Event()
        if self._is_too_much:
            loop.call_at(self._until_s, self._next.set)


def _is_too_much(tx: Tx) -> bool:
    return WAITING.has_many(tx, MOST_WAITING)
