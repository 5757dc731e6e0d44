"""The background work of one process: settles what came in, drains the outbox, runs the chores."""

import asyncio
import time
from contextlib import suppress
from typing import Final

from contatto import wiring
from contatto.kit.db.database import Database
from contatto.kit.log import logger, where
from contatto.kit.outbox import drain

POLL_S: Final = 0.5
"""How often the tables are looked at when nobody pokes: retries fall due, other processes commit."""
GATHER_S: Final = 0.005
"""How long it waits after a poke, so that commits that follow at once are worked on together."""


class Worker:
    """Runs until cancelled. Several may run at once: each claims what it works on."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._poked = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._next_run = [0.0] * len(wiring.EVERY)
        db.on_commit(self._poke)

    def _poke(self) -> None:
        if not self._poked.is_set() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._poked.set)

    async def run(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._poked.wait(), POLL_S)
                await asyncio.sleep(GATHER_S)
            self._poked.clear()
            try:
                await self.run_once()
            except Exception as error:  # a database that is away for a while must not end the worker
                logger().error("worker.failed", error_at=where(error))
                await asyncio.sleep(POLL_S)

    async def run_once(self) -> int:
        """Do all that is due now; say how many pieces of work that was."""
        done = 0
        for chore in wiring.WHEN_WOKEN:
            while count := await self._db.write(chore):
                done += count
        while count := await drain(self._db, wiring.AFTER):
            done += count
        await self._run_chores()
        return done

    async def _run_chores(self) -> None:
        now = time.monotonic()
        for index, (seconds, chore) in enumerate(wiring.EVERY):
            if now >= self._next_run[index]:
                self._next_run[index] = now + seconds
                await self._db.write(chore)
