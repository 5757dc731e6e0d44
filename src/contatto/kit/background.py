"""Background work of a process: queues, schedules and maintenance."""

import asyncio
import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final, Protocol

from contatto.kit.db.database import Database
from contatto.kit.db.statements import Tables
from contatto.kit.db.tx import Parts, Tx
from contatto.kit.exports import ExportFormats
from contatto.kit.outbound.queue import OutboundKind
from contatto.kit.outbox import After
from contatto.kit.sandbox import Overworked
from contatto.kit.sandbox_child import Work as Thought
from contatto.kit.settings import Settings

type Batch = Callable[[Tx], int]
"""Do some of the work within the time of a batch; return how much, 0 when nothing is left."""
SEVERAL: Final = 4
"""Least rows of a batch that indicate load."""
MANY: Final = 100
"""Rows that make the fixed costs of a batch negligible."""
_CROWDED: Final = 2.5
"""Factor of the wait under high load."""
type IsDue = Callable[[Tx], bool]


@dataclass(frozen=True, slots=True)
class QueuedWork:
    """Work that waits in tables, and is looked for after commits.

    Args:
        name: for the log.
        is_due: whether there is any; a read, so that looking costs no write.
        run_batch: does some of it.
        in_background: whether it yields to writes of people and platforms.
        gather_s: wait after a commit, longer for less urgent work.
        busy_s: least wait under load, so that rows share a batch.
        many: rows that make the fixed costs of a batch negligible.
        tables: tables that may bring work when they change.
        has_many: whether the next batch should begin at once. Without it a batch of many says so; with it
            such a batch means that more will arrive, and waits longer.
        is_brief: whether the wait is at most the time of the last batch. Under little load that is soon
            enough, and on a busy machine batches take longer and so gather more.
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

    def gather_after(self, count: int, took_s: float = math.inf) -> float:
        """Return the seconds to wait after a commit, by the rows and the seconds of the last batch."""
        if count < SEVERAL:
            return self.gather_s
        is_crowded = self.has_many is not None and count >= self.many
        busy_s = self.busy_s * _CROWDED if is_crowded else self.busy_s
        return max(self.gather_s, min(busy_s, took_s) if self.is_brief else busy_s)


@dataclass(frozen=True, slots=True)
class PeriodicJob:
    """Scheduled work; ``is_due`` may spare it a write, and may take long."""

    every_s: float
    run_batch: Batch
    is_due: Callable[[Tx], object] | None = None

    async def run(self, db: Database) -> int:
        """Do all of it, and return how much."""
        if self.is_due is not None and not await db.read_long(self.is_due):
            return 0
        done = 0
        while count := await db.write(self.run_batch, in_background=True):
            done += count
        return done


@dataclass(frozen=True, slots=True)
class PeriodicCount:
    """Scheduled work with long reads and small writes; ``start`` is called before each run.

    ``read_next`` reads for the next piece, and returns its write; None when nothing is left.
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
    """Piece of long computing: input for a process, and the write of its result."""

    raw: bytes
    keep: Callable[[bytes, Tx], None]


class Pool(Protocol):
    """Runner of long computing in a process, which ends with the pool."""

    async def run(self, work: Thought, raw: bytes) -> bytes:
        """Run a function on bytes. Raises Overworked: it failed, or exceeded a limit."""

    def close(self) -> None:
        """End remaining processes."""


@dataclass(frozen=True, slots=True)
class PeriodicStudy:
    """Scheduled work with long computing in a process, and small writes.

    Args:
        every_s: seconds between two runs.
        start: called before each run.
        read_next: reads the next piece; None when nothing is left.
        think: top-level function that the process runs.
        confined: makes the pool of one process, which ends after each run; a `LongProcess` may open files.
    """

    every_s: float
    start: Callable[[], None]
    read_next: Callable[[Tx], Study | None]
    think: Thought
    confined: Callable[[], Pool]

    async def run(self, db: Database) -> int:
        """Do all of it, and return the number of pieces; a failed piece waits for the next run."""
        self.start()
        done, confined = 0, self.confined()
        try:
            while (study := await db.read_long(self.read_next)) is not None:
                try:
                    answer = await confined.run(self.think, study.raw)
                except Overworked:  # the pool has logged it
                    continue
                await db.write(partial(study.keep, answer), in_background=True)
                done += 1
        finally:
            await asyncio.to_thread(confined.close)
        return done


class Queued:
    """Queued work in this process, with the time of its last batch."""

    def __init__(self, db: Database, work: QueuedWork) -> None:
        self._db = db
        self._work = work
        self._took_s = math.inf

    def gather_after(self, count: int) -> float:
        """Return the seconds to wait after a commit."""
        return self._work.gather_after(count, self._took_s)

    async def run(self) -> int:
        """Do all that is due, and return how much."""
        done = count = 0
        while await self._db.read(self._work.is_due):
            if self._work.busy_s and count >= SEVERAL:
                has_many = self._work.has_many
                if not (count >= self._work.many if has_many is None else await self._db.read(has_many)):
                    await asyncio.sleep(self.gather_after(count))
            began = perf_counter()
            count = await self._db.write(self._work.run_batch, in_background=self._work.in_background)
            self._took_s = perf_counter() - began
            if not count:
                break
            done += count
        return done


type Record = Callable[[Tx], object]
type Job = Callable[[Tx], Record | None]
"""Read in a transaction, work on files, and return the final write."""

_LOCK: Final = "in-use.lock"


@dataclass(frozen=True, slots=True)
class MaintenanceJob:
    """Scheduled jobs of one folder, in sequence.

    ``number`` is an advisory lock of the database, for machines with separate file locks.
    """

    folder: Path
    number: int
    list_jobs: Callable[[Tx], list[Job]]


def run_maintenance_job(
    db: Database, kind: MaintenanceJob, should_continue: Callable[[], bool] = lambda: True
) -> int | None:
    """Do all due jobs, and return how many; None when another process does.

    A process that dies releases its locks, and the next run repeats its job.
    """
    with folder_lock(kind.folder) as is_mine:
        if not is_mine:
            return None
        done = 0
        for job in db.read_now(kind.list_jobs):
            if not should_continue():
                break
            db.read_now(partial(_do, db, kind, job))
            done += 1
        return done


def _do(db: Database, kind: MaintenanceJob, job: Job, tx: Tx) -> None:
    tx.advisory_lock(kind.number)
    record = job(tx)
    if record is not None:
        db.write_now(record, in_background=True)


@contextmanager
def folder_lock(folder: Path) -> Iterator[bool]:
    """Lock a folder, and yield False where another process has locked it.

    The lock is that of an empty SQLite file, which works on every operating system, and ends with the
    process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / _LOCK, timeout=0, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            yield False
        else:
            yield True


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Composition of one process: a frozen value that `wiring` builds.

    Nothing registers itself at import. Tests build their own, and a missing part fails where it is built.

    Attributes:
        ports: dependencies on higher packages, which every transaction carries.
        after: handlers of each event, by their durable names.
        told_to: permission that an open page needs for an event, by the event's name.
        prepare: loads what the first work needs, in a thread.
        queued_work: work that waits in tables, for a number of concurrent batches.
        exports: kinds of files that are written in the background.
        outbound: kinds of requests to outside systems, by durable names.
        periodic_jobs: scheduled work.
        maintenance: scheduled long work on files.
        resources: state of one app, such as rate limits, indexes and pools.
    """

    settings: Settings
    ports: Parts
    after: After
    told_to: Mapping[str, str]
    prepare: Callable[[Database], None]
    queued_work: Callable[[int], tuple[QueuedWork, ...]]
    exports: ExportFormats
    outbound: Mapping[str, OutboundKind]
    periodic_jobs: Callable[[], tuple[PeriodicJob | PeriodicCount | PeriodicStudy, ...]]
    maintenance: tuple[MaintenanceJob, ...]
    resources: Callable[[Database, Settings], Parts]
