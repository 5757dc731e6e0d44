"""Files that are made in the background: claimed in one short write, made beside all else, kept in another.

What a file is made of is read in a thread of its own, so neither the event loop nor the one writer of SQLite
waits for it. A business has one file made at a time, and businesses have them made in turn.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.log import logger, where
from contatto.kit.turns import Queue, Turns

LEASE: Final = timedelta(seconds=60)
"""How long a claimed file belongs to its maker, who renews this as long as it works."""
RENEW_S: Final = 20.0

type Record = Callable[[Tx], None]


@dataclass(frozen=True, slots=True)
class Making[T]:
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


class Maker:
    """Makes the files of one kind that are due, beside each other."""

    def __init__(self, db: Database, kind: Making[Any]) -> None:
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
            while await make_next(self._db, self._kind, business_id):
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


async def make_next(db: Database, kind: Making[Any], business_id: str) -> bool:
    """Make the next file of a business; False when there is none."""
    claimed: list[Any] = []
    making = asyncio.ensure_future(db.run_aside(lambda: _make(db, kind, business_id, claimed), business_id))
    while True:
        done, _ = await asyncio.wait([making], timeout=RENEW_S)
        if done:
            return making.result()
        for file in claimed:
            await db.write(partial(_renew, kind, file), in_background=True)


def _renew[T](kind: Making[T], file: T, tx: Tx) -> None:
    kind.renew(tx, file)


def _make(db: Database, kind: Making[Any], business_id: str, claimed: list[Any]) -> bool:
    file = db.write_now(lambda tx: kind.claim(tx, business_id), in_background=True)
    if file is None:
        return False
    claimed.append(file)
    record = db.read_now(lambda tx: kind.make(tx, file))
    claimed.clear()
    db.write_now(record, in_background=True)
    return True


async def make_all(db: Database, kind: Making[Any]) -> int:
    """Make all files of a kind that are due, and wait for them; say of how many businesses they were."""
    maker, count = Maker(db, kind), 0
    while started := await maker.start_due():
        count += started
        await maker.finish()
    return count
