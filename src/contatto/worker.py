"""Background worker of a process: one task per kind of work."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from contatto.kit.background import Installation, run_maintenance_job
from contatto.kit.db.database import CommitSignal, Database
from contatto.kit.db.statements import Tables
from contatto.kit.exports import Exporter
from contatto.kit.log import logger, where
from contatto.kit.outbound.client import Client, Mailer
from contatto.kit.outbound.machine import OutboundMachine
from contatto.kit.outbound.queue import jobs
from contatto.kit.outbox import Drain
from contatto.kit.runtime import freeze_new_objects

POLL_S: Final = 0.5
"""Longest wait for a commit, since retries fall due without one."""
NOW_S: Final = 0.005
SOON_S: Final = 0.02
LATER_S: Final = 0.2
"""Waits after a commit, so that one batch covers several commits."""

MAINTENANCE_S: Final = 900.0
"""Interval of maintenance."""
REST_S: Final = 60.0
"""Delay of maintenance and rare jobs after the start."""
SELDOM_S: Final = 30.0
"""Least interval of rare jobs, which do not run at the start."""


@dataclass(eq=False)
class Worker:
    """Background worker; several processes may run one each, as each claims its work."""

    _db: Database
    _installation: Installation
    _stopped: threading.Event = field(default_factory=threading.Event)

    async def run(self) -> None:
        """Work until cancelled, with a task per kind of work."""
        settings = self._installation.settings
        mailer = Mailer(settings.smtp_url, settings.mail_from) if settings.sends_mail else None
        client = Client(settings.allowed_hosts, mailer=mailer)
        drain = Drain(self._installation.after)
        machine = OutboundMachine(self._db, client, self._installation.outbound)
        exporter = Exporter(self._db, self._installation.exports)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._try("prepare", self._prepare))
                for work in self._installation.queued_work(self._db.parallel_batches):
                    run = partial(work.run, self._db)
                    tasks.create_task(self._repeat(work.name, run, work.gather_after, work.tables))
                run = partial(drain.run_all, self._db)
                tasks.create_task(self._repeat("outbox", run, lambda _: SOON_S, drain.tables))
                tasks.create_task(
                    self._repeat("files", exporter.start_due, lambda _: LATER_S, exporter.tables)
                )
                sent = {jobs.name}
                tasks.create_task(self._repeat("outbound", machine.send_due, lambda _: NOW_S, sent))
                tasks.create_task(machine.run())
                for job in self._installation.periodic_jobs():
                    tasks.create_task(self._every("clock", job.every_s, partial(job.run, self._db)))
                maintain = partial(asyncio.to_thread, self.run_maintenance)
                tasks.create_task(self._every("maintenance", MAINTENANCE_S, maintain))
        finally:
            self._stopped.set()
            exporter.stop()
            await client.close()

    async def _prepare(self) -> int:
        """Load data for the first message, such as the words of all languages."""
        await asyncio.to_thread(self._installation.prepare, self._db)
        freeze_new_objects()
        return 0

    def run_maintenance(self) -> int:
        """Do the due maintenance, and return the number of jobs."""
        return sum(
            run_maintenance_job(self._db, kind, lambda: not self._stopped.is_set()) or 0
            for kind in self._installation.maintenance
        )

    async def _repeat(
        self, name: str, work: Callable[[], Awaitable[int]], gather: Callable[[int], float], tables: Tables
    ) -> None:
        """Work after each commit that changed these tables, and at least every ``POLL_S``.

        ``gather`` returns the wait after a commit, given the amount of the last work.
        """
        commits = CommitSignal(self._db, tables)
        while True:
            done = await self._try(name, work)
            await commits.wait(POLL_S, gather(done))

    async def _every(self, name: str, seconds: float, work: Callable[[], Awaitable[int]]) -> None:
        if seconds >= SELDOM_S:
            await asyncio.sleep(min(seconds, REST_S))
        while True:
            await self._try(name, work)
            await asyncio.sleep(seconds)

    async def _try(self, name: str, work: Callable[[], Awaitable[int]]) -> int:
        """Return the amount of work done, 0 after a failure."""
        try:
            return await work()
        except Exception as error:  # an unreachable database must not end the worker
            says = {"says": str(error)} if isinstance(error, OSError) else {}  # such as a full disk
            logger().error("worker.failed", work=name, error_at=where(error), **says)
            await asyncio.sleep(POLL_S)
        return 0
