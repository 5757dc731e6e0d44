"""Background work of a process: queues, schedules and maintenance."""

import asyncio
import math
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final

from contatto.kit.db.database import Database
from contatto.kit.db.statements import Tables
from contatto.kit.db.tx import Parts, Tx
from contatto.kit.exports import ExportFormats
from contatto.kit.outbound.queue import OutboundKind
from contatto.kit.outbox import After
from contatto.kit.sandbox import LongProcess, Overworked, SandboxPool
from contatto.kit.sandbox_child import Work as Computation
from contatto.kit.settings import Settings

type Batch = Callable[[Tx], int]
"""Does some of the work within the time of a batch; returns how much, 0 when nothing is left."""
SEVERAL: Final = 4
"""Least rows of a batch that indicate load."""
MANY: Final = 100
"""Least rows of a batch that indicate high load: its fixed costs are negligible."""
_CROWDED: Final = 2.5
"""Factor of the wait under high load."""
type IsDue = Callable[[Tx], bool]


@dataclass(slots=True)
class QueuedWork:
    """Work that waits in tables; the worker checks for it after commits.

    Args:
        name: for the log.
        is_due: reads whether any work waits, so that a check costs no write.
        run_batch: does some of the work.
        in_background: whether it yields to requests.
        gather_s: wait after a commit, longer for less urgent work.
        busy_s: least wait between batches under load, so that rows share a batch.
        many: least rows of a large batch, which indicates high load.
        tables: changes of these tables may bring work.
        has_many: reads whether the next batch should begin at once. Without it, that is so after a large
            batch. With it, a large batch means high load, and the wait is longer.
        is_brief: whether the wait is at most as long as the last batch took. Busy machines then gather more.
        took_s: seconds of the last batch in this process.
    """

    name: str
    is_due: IsDue
    run_batch: Batch
    in_background: bool = True
    gather_s: float = 0.05
    busy_s: float = 0.0
    many: int = MANY
    tables: Tables = None
    has_many: IsDue | None = None
    is_brief: bool = False
    took_s: float = math.inf

    def gather_after(self, count: int) -> float:
        """Return the seconds to wait after a commit, by the rows and the seconds of the last batch."""
        if count < SEVERAL:
            return self.gather_s
        is_crowded = self.has_many is not None and count >= self.many
        busy_s = self.busy_s * _CROWDED if is_crowded else self.busy_s
        return max(self.gather_s, min(busy_s, self.took_s) if self.is_brief else busy_s)

    async def run(self, db: Database) -> int:
        """Run batches while work is due, and return how much was done."""
        done = count = 0
        while await db.read(self.is_due):
            if self.busy_s and count >= SEVERAL:
                is_full = count >= self.many if self.has_many is None else await db.read(self.has_many)
                if not is_full:
                    await asyncio.sleep(self.gather_after(count))
            began = perf_counter()
            count = await db.write(self.run_batch, in_background=self.in_background)
            self.took_s = perf_counter() - began
            if not count:
                break
            done += count
        return done


@dataclass(frozen=True, slots=True)
class PeriodicJob:
    """Scheduled work; ``is_due`` is a read that may take long, and avoids needless writes."""

    every_s: float
    run_batch: Batch
    is_due: Callable[[Tx], object] | None = None

    async def run(self, db: Database) -> int:
        """Run batches until nothing is left, and return how much was done."""
        if self.is_due is not None and not await db.read_long(self.is_due):
            return 0
        done = 0
        while count := await db.write(self.run_batch, in_background=True):
            done += count
        return done


@dataclass(frozen=True, slots=True)
class PeriodicReadJob:
    """Scheduled work with long reads and small writes; ``start`` is called before each run.

    ``read_next`` prepares the next piece, and returns the write that saves it; None when nothing is left.
    """

    every_s: float
    start: Callable[[], None]
    read_next: Callable[[Tx], Callable[[Tx], None] | None]

    async def run(self, db: Database) -> int:
        """Do all of it, and return the number of pieces."""
        self.start()
        done = 0
        while (record := await db.read_long(self.read_next)) is not None:
            await db.write(record, in_background=True)
            done += 1
        return done


@dataclass(frozen=True, slots=True)
class Study:
    """Piece of long computing: input for a process, and a function that saves its result."""

    raw: bytes
    keep: Callable[[bytes, Tx], None]


@dataclass(frozen=True, slots=True)
class PeriodicStudy:
    """Scheduled work with long computing in a process, and small writes.

    ``start`` is called before each run, and ``read_next`` returns None when nothing is left. ``compute`` is a
    top-level function, for a process of the pool, which ends after each run; a `LongProcess` may open files.
    """

    every_s: float
    start: Callable[[], None]
    read_next: Callable[[Tx], Study | None]
    compute: Computation
    make_pool: Callable[[], SandboxPool | LongProcess]

    async def run(self, db: Database) -> int:
        """Do all of it, and return the number of pieces; a failed piece waits for the next run."""
        self.start()
        done, pool = 0, self.make_pool()
        try:
            while (study := await db.read_long(self.read_next)) is not None:
                try:
                    answer = await pool.run(self.compute, study.raw)
                except Overworked:  # the pool has logged it
                    continue
                await db.write(partial(study.keep, answer), in_background=True)
                done += 1
        finally:
            await asyncio.to_thread(pool.close)
        return done


type Record = Callable[[Tx], object]
type Job = Callable[[Tx], Record | None]
"""Read in a transaction, work on files, and return the write that completes the job, if any."""

_LOCK: Final = "in-use.lock"


@dataclass(frozen=True, slots=True)
class MaintenanceJob:
    """Scheduled jobs of one folder, in sequence.

    ``number`` is an advisory lock of the database, since machines do not share file locks.
    """

    folder: Path
    number: int
    list_jobs: Callable[[Tx], list[Job]]


def run_maintenance_job(
    db: Database, kind: MaintenanceJob, should_continue: Callable[[], bool] = lambda: True
) -> int | None:
    """Run all due jobs, and return how many; None when another process runs them.

    A process that dies releases its locks, and the next run repeats its job.
    """
    kind.folder.mkdir(parents=True, exist_ok=True)
    # The lock is that of an empty SQLite file: it works on every operating system, and ends with the process.
    with closing(sqlite3.connect(kind.folder / _LOCK, timeout=0, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            return None
        done = 0
        for job in db.read_now(kind.list_jobs):
            if not should_continue():
                break
            db.read_now(partial(_run_locked, db, kind, job))
            done += 1
        return done


def _run_locked(db: Database, kind: MaintenanceJob, job: Job, tx: Tx) -> None:
    """Run a job under the advisory lock of ``tx``; its write is another transaction."""
    tx.advisory_locks([kind.number])
    record = job(tx)
    if record is not None:
        db.write_now(record, in_background=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Composition of one process: a frozen value that `wiring` builds.

    Nothing registers itself at import. Tests build their own, and a missing part fails where it is built.

    Attributes:
        ports: dependencies on higher packages, which every transaction carries.
        event_permissions: permission that members need to receive an event on an open page, by its name.
        prepare: loads what the first work needs, in a thread.
        queued_work: work that waits in tables, for a number of concurrent batches.
        resources: state of one app, such as rate limits, indexes and pools.
    """

    settings: Settings
    ports: Parts
    after: After
    event_permissions: Mapping[str, str]
    prepare: Callable[[Database], None]
    queued_work: Callable[[int], tuple[QueuedWork, ...]]
    exports: ExportFormats
    outbound: Mapping[str, OutboundKind]
    periodic_jobs: Callable[[], tuple[PeriodicJob | PeriodicReadJob | PeriodicStudy, ...]]
    maintenance: tuple[MaintenanceJob, ...]
    resources: Callable[[Database, Settings], Parts]
