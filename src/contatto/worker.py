"""The background work of one process: settles what came in, drains the outbox, runs chores and errands."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

from contatto import wiring
from contatto.kit.client import Client
from contatto.kit.db.database import Database
from contatto.kit.errands import run_errands
from contatto.kit.log import logger, where
from contatto.kit.outbox import drain
from contatto.kit.settings import Settings
from contatto.kit.shifts import run_shift

POLL_S: Final = 0.5
"""How often the tables are looked at when nobody pokes: retries fall due, other processes commit."""
GATHER_S: Final = 0.005
"""How long it waits after a poke, so that commits that follow at once are worked on together."""

REST_S: Final = 60.0
"""How long it waits after the start before long work begins."""


class Worker:
    """Runs until cancelled. Several may run at once: each claims what it works on."""

    def __init__(self, db: Database, settings: Settings | None = None) -> None:
        self._db = db
        self._settings = settings or Settings()
        self._poked = asyncio.Event()
        self._errands_poked = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._stopped = threading.Event()
        self._next_run = [0.0] * len(wiring.EVERY)
        db.on_commit(self._poke)

    def _poke(self) -> None:
        for poked in (self._poked, self._errands_poked):
            if not poked.is_set() and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(poked.set)

    async def run(self) -> None:
        """Work until cancelled; a slow outside system holds up nothing but its own errands."""
        client = Client(self._settings.allowed_hosts)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._repeat(self._poked, self.run_once))
                tasks.create_task(self._repeat(self._errands_poked, partial(self.run_errands, client)))
                tasks.create_task(self._keep_shifts())
        finally:
            self._stopped.set()
            await client.close()

    async def _keep_shifts(self) -> None:
        await asyncio.sleep(REST_S)
        while True:
            try:
                await asyncio.to_thread(self.run_shifts)
            except OSError as error:
                logger().error("worker.shift_failed", error_at=where(error), says=str(error))
            except Exception as error:  # nor must anything else end the worker
                logger().error("worker.shift_failed", error_at=where(error))
            await asyncio.sleep(wiring.SHIFT_S)

    def run_shifts(self) -> int:
        """Do the long work on files that is due; say how many jobs that were."""
        kinds = wiring.shifts(self._settings)
        return sum(run_shift(self._db, kind, lambda: not self._stopped.is_set()) or 0 for kind in kinds)

    async def _repeat(self, poked: asyncio.Event, work: Callable[[], Awaitable[int]]) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(poked.wait(), POLL_S)
                await asyncio.sleep(GATHER_S)
            poked.clear()
            try:
                await work()
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

    async def run_errands(self, client: Client) -> int:
        """Do all that is due at outside systems; say how many requests that were."""
        done = 0
        for kind in wiring.errands(self._settings):
            while count := await run_errands(self._db, client, kind):
                done += count
        return done

    async def _run_chores(self) -> None:
        now = time.monotonic()
        for index, (seconds, chore) in enumerate(wiring.EVERY):
            if now >= self._next_run[index]:
                self._next_run[index] = now + seconds
                await self._db.write(chore)
