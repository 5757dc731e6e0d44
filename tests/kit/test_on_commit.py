"""Who waits for commits is told of every change, and of nothing else."""

import asyncio

from contatto.inbox.model import NoticePosted
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.drain import drain
from contatto.kit.outbox import emit, list_events
from contatto.wiring import AFTER


def change_something(tx: Tx) -> None:
    emit(tx, "b1", NoticePosted("b1", "conversation-1", "lead-1"))


def test_a_change_is_told_once_it_is_committed(database: Database) -> None:
    told: list[int] = []
    database.on_commit(lambda: told.append(len(database.read_now(lambda tx: list_events(tx, 0)))))
    database.write_now(change_something)
    asyncio.run(asyncio.wait_for(_wait_for(told), 60))
    assert told == [1]


def test_a_write_that_changes_nothing_tells_nobody_so_the_worker_does_not_wake_itself(
    database: Database,
) -> None:
    told: list[bool] = []
    database.on_commit(lambda: told.append(True))
    asyncio.run(_drain_twice(database))
    assert told == []


async def _drain_twice(database: Database) -> None:
    assert await drain(database, AFTER) == 0
    assert await drain(database, AFTER) == 0


async def _wait_for(told: list[int]) -> None:
    while not told:
        await asyncio.sleep(0.01)
