"""Background work of a process: queues, schedules, maintenance and export jobs."""

import asyncio
import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Final, Protocol

from contatto.kit.db.database import Database, Tables
from contatto.kit.db.tx import Parts, Tx
from contatto.kit.dispatch import After
from contatto.kit.fair_queue import Queue, Turns
from contatto.kit.log import logger, where
from contatto.kit.outbound.steps import OutboundKind
from contatto.kit.sandbox import Overworked
from contatto.kit.sandbox_child import Work as Thought
from contatto.kit.settings import Settings

type Batch = Callable[[Tx], int]
"""Does some of the work, for as long as a batch may take; says how much that was, 0 when nothing is left."""
SEVERAL: Final = 4
"""From so many rows in one batch on, more come than are worked off one by one."""
MANY: Final = 100
"""So many rows share what a batch costs whatever is in it, where that is not much."""
_CROWDED: Final = 2.5
"""So many times as long it waits where a hundred come at once."""
type IsDue = Callable[[Tx], bool]


@dataclass(frozen=True, slots=True)
class QueuedWork:
    """Work that waits in tables, and is looked for whenever something was committed.

    Args:
        name: for the log.
        is_due: whether there is any; it is asked first, so that looking costs no write.
        run_batch: does some of it.
        in_background: whether it gives way to what people and platforms write.
        gather_s: how long it waits after a commit before it looks: what is less urgent looks less often.
        busy_s: at least so long where several rows came at once, so that many share a batch.
        many: so many rows share what a batch costs whatever is in it.
        tables: those whose changes may bring work; commits that change no other wake it for nothing.
        has_many: whether so much waits that the next batch begins at once. Without it a batch of many says
            so; with it such a batch says that more will come, and that is waited for longer.
        is_brief: whether it waits no longer than the last batch took. Where little comes that is soon enough,
            and where the machine is busy batches take longer, so that more share the next one.
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
        """Seconds to wait after a commit, when the last time so many rows were worked on.

        Args:
            count: those rows.
            took_s: seconds that the last batch of them took.
        """
        if count < SEVERAL:
            return self.gather_s
        is_crowded = self.has_many is not None and count >= self.many
        busy_s = self.busy_s * _CROWDED if is_crowded else self.busy_s
        return max(self.gather_s, min(busy_s, took_s) if self.is_brief else busy_s)


@dataclass(frozen=True, slots=True)
class PeriodicJob:
    """Work by the clock; ``is_due`` may spare it a write, and may take long."""

    every_s: float
    run_batch: Batch
    is_due: IsDue | None = None

    async def run(self, db: Database) -> int:
        """Do it to its end; say how much that was."""
        if self.is_due is not None and not await db.read_long(self.is_due):
            return 0
        done = 0
        while count := await db.write(self.run_batch, in_background=True):
            done += count
        return done


@dataclass(frozen=True, slots=True)
class PeriodicCount:
    """Work by the clock that reads for long and writes little.

    Args:
        every_s: seconds between two runs.
        start: before each run.
        read_next: read for the next piece of work, and give what keeps it; None when nothing is left.
    """

    every_s: float
    start: Callable[[], None]
    read_next: Callable[[Tx], Callable[[Tx], None] | None]

    async def run(self, db: Database) -> int:
        """Do it to its end; say how many pieces that were."""
        self.start()
        done = 0
        while (record := await db.read_long(self.read_next)) is not None:
            await db.write(record, in_background=True)
            done += 1
        return done


@dataclass(frozen=True, slots=True)
class Study:
    """A piece of long thinking: bytes for the process that does it, and what keeps its answer."""

    raw: bytes
    keep: Callable[[bytes, Tx], None]


class Pool(Protocol):
    """Where a study is thought through: a process, which ends when the pool is closed."""

    async def run(self, work: Thought, raw: bytes) -> bytes:
        """Have a function work on bytes.

        Raises:
            Overworked: it broke, or broke a limit.
        """

    def close(self) -> None:
        """End what is left."""


@dataclass(frozen=True, slots=True)
class PeriodicStudy:
    """Work by the clock that reads, has a process of its own think for long, and writes little.

    Args:
        every_s: seconds between two runs.
        start: before each run.
        read_next: read for the next piece of work; None when nothing is left.
        think: what the process does, a function at the top of its module.
        confined: makes the pool of one process, which ends after each run; `kit/sandbox` makes one that may
            open files.
    """

    every_s: float
    start: Callable[[], None]
    read_next: Callable[[Tx], Study | None]
    think: Thought
    confined: Callable[[], Pool]

    async def run(self, db: Database) -> int:
        """Do it to its end; say how many pieces that were. A piece that breaks is left for the next run."""
        self.start()
        done, confined = 0, self.confined()
        try:
            while (study := await db.read_long(self.read_next)) is not None:
                try:
                    answer = await confined.run(self.think, study.raw)
                except Overworked:  # the pool has written it down
                    continue
                await db.write(partial(study.keep, answer), in_background=True)
                done += 1
        finally:
            await asyncio.to_thread(confined.close)
        return done


class Queued:
    """A kind of work that waits in tables, as it is worked off here: how long its last batch took."""

    def __init__(self, db: Database, work: QueuedWork) -> None:
        self._db = db
        self._work = work
        self._took_s = math.inf

    def gather_after(self, count: int) -> float:
        """Seconds to wait after a commit, when the last time so many rows were worked on."""
        return self._work.gather_after(count, self._took_s)

    async def run(self) -> int:
        """Do all that is due; say how much that was."""
        done = count = 0
        while await self._db.read(self._work.is_due):
            if self._work.busy_s and count >= SEVERAL and not await self._has_many(count):
                await asyncio.sleep(self.gather_after(count))
            began = perf_counter()
            count = await self._db.write(self._work.run_batch, in_background=self._work.in_background)
            self._took_s = perf_counter() - began
            if not count:
                break
            done += count
        return done

    async def _has_many(self, count: int) -> bool:
        has_many = self._work.has_many
        return count >= self._work.many if has_many is None else await self._db.read(has_many)


type Record = Callable[[Tx], object]
type Job = Callable[[Tx], Record | None]
"""Reads in the transaction it is given, works on files, and returns what is then to be written down."""

_LOCK: Final = "in-use.lock"


@dataclass(frozen=True, slots=True)
class MaintenanceJob:
    """Jobs of one folder, each done in full before the next.

    ``number`` is held in the database, for machines that share it and whose folders do not know locks.
    """

    folder: Path
    number: int
    list_jobs: Callable[[Tx], list[Job]]


def run_maintenance_job(
    db: Database, kind: MaintenanceJob, should_continue: Callable[[], bool] = lambda: True
) -> int | None:
    """Do all that is due; say how many jobs that were, or None when somebody else is at it.

    Whoever dies holds nothing any more. A job that dies half-way is found again by the next run.
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
    """Hold a folder as long as this lasts; False when another does. A dead process holds nothing.

    The lock is that of an empty SQLite file, which every operating system knows how to keep.
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


LEASE: Final = timedelta(seconds=60)
"""How long a claimed file belongs to its maker, who renews this as long as it works."""
RENEW_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class ExportJob[T]:
    """One kind of file.

    Args:
        queue: the rows of files that are asked for.
        claim: take the first of a business until a time, or give None.
        renew: keep it until a later time.
        make: read what it holds; give what keeps it, or what notes why it cannot be made.
    """

    queue: Queue
    claim: Callable[[Tx, str], T | None]
    renew: Callable[[Tx, T], None]
    make: Callable[[Tx, T], Record]


class Exporter:
    """Makes the files of one kind that are due, beside each other."""

    def __init__(self, db: Database, kind: ExportJob[Any]) -> None:
        self._db = db
        self._kind = kind
        self._turns = Turns(kind.queue)
        self._running: dict[str, asyncio.Task[None]] = {}

    @property
    def tables(self) -> frozenset[str]:
        """Whose changes may bring work."""
        return self._kind.queue.tables

    async def start_due(self) -> int:
        """Begin with a file of each business that has none in the making; say how many these were."""
        due = await self._db.read(self._turns.list_businesses)
        fresh = [business_id for business_id in due if business_id not in self._running]
        for business_id in fresh:
            self._turns.served(business_id)
            task = asyncio.create_task(self._keep_making(business_id))
            self._running[business_id] = task
        return len(fresh)

    async def _keep_making(self, business_id: str) -> None:
        try:
            while await export_next(self._db, self._kind, business_id):
                pass
        except Exception as error:  # a database that is away for a while: the lease ends, and it is due again
            logger().error("making.failed", error_at=where(error))
        finally:
            del self._running[business_id]

    def stop(self) -> None:
        """Leave what is in the making: its lease ends, and another makes it."""
        for task in self._running.values():
            task.cancel()

    async def finish(self) -> None:
        """Wait for the files that are in the making."""
        while self._running:
            await asyncio.gather(*self._running.values())


async def export_next(db: Database, kind: ExportJob[Any], business_id: str) -> bool:
    """Make the next file of a business; False when there is none."""
    claimed: list[Any] = []
    making = asyncio.ensure_future(db.run_aside(lambda: _make(db, kind, business_id, claimed), business_id))
    while True:
        done, _ = await asyncio.wait([making], timeout=RENEW_S)
        if done:
            return making.result()
        for file in claimed:
            await db.write(partial(_renew, kind, file), in_background=True)


def _renew[T](kind: ExportJob[T], file: T, tx: Tx) -> None:
    kind.renew(tx, file)


def _make(db: Database, kind: ExportJob[Any], business_id: str, claimed: list[Any]) -> bool:
    file = db.write_now(lambda tx: kind.claim(tx, business_id), in_background=True)
    if file is None:
        return False
    claimed.append(file)
    record = db.read_now(lambda tx: kind.make(tx, file))
    claimed.clear()
    db.write_now(record, in_background=True)
    return True


async def export_all(db: Database, kind: ExportJob[Any]) -> int:
    """Make all files of a kind that are due, and wait for them; say of how many businesses they were."""
    maker, count = Exporter(db, kind), 0
    while started := await maker.start_due():
        count += started
        await maker.finish()
    return count


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """The tables that tie the capabilities of one process together.

    Attributes:
        ports: what capabilities ask of those above them; every transaction carries them.
        after: the handlers of each event, by their durable names.
        told_to: the permission that an open page needs to be told of an event, by the event's name.
        prepare: loads what the first work would wait for, in a thread of its own.
        queued_work: work that waits in tables, for so many batches at a time; its turns are new.
        export_jobs: files that are made in the background.
        outbound: the kinds of requests to outside systems, by the names that are kept with them.
        periodic_jobs: work by the clock.
        maintenance: long work on files by the clock.
        resources: what one app has for itself, such as rate limits, indexes and pools.
    """

    settings: Settings
    ports: Parts
    after: After
    told_to: Mapping[str, str]
    prepare: Callable[[Database], None]
    queued_work: Callable[[int], tuple[QueuedWork, ...]]
    export_jobs: tuple[ExportJob[Any], ...]
    outbound: Mapping[str, OutboundKind]
    periodic_jobs: Callable[[], tuple[PeriodicJob | PeriodicCount | PeriodicStudy, ...]]
    maintenance: tuple[MaintenanceJob, ...]
    resources: Callable[[Database, Settings], Parts]
