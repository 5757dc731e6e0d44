"""Background work as values: what waits in tables, and what happens by the clock; each in short batches."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Final, Protocol

from contatto.kit.confined import Overworked
from contatto.kit.confined_child import Work as Thought
from contatto.kit.db.changes import Tables
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx

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
        confined: makes the pool of one process, which ends after each run; `kit/apart` makes one that may
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
