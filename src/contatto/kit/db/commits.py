"""The parts of one commit of SQLite's writer: rows together, works one by one, and waking who waits."""

from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from contatto.kit.db.hot import insert_rows
from contatto.kit.db.lanes import Write
from contatto.kit.db.savepoints import savepoint
from contatto.kit.db.tx import Row, Tx


def append_all(tx: Tx, writes: list[Write]) -> None:
    """Insert rows of one statement together; if that fails, one by one, so that only the bad one fails."""
    for batch in group_alike(writes):
        try:
            with savepoint(tx):
                insert_rows(tx, batch[0].statement, [write.row or {} for write in batch])
        except Exception:  # found again, and given to its caller, below
            for write in batch:
                write.work = _insert(write.statement, write.row)
                attempt(tx, write)


def group_alike(writes: list[Write]) -> list[list[Write]]:
    """Rows of one statement and of one caller's business together, each in their order."""
    alike: dict[tuple[int, str], list[Write]] = defaultdict(list)
    for write in writes:
        alike[id(write.statement), write.business_id].append(write)
    return list(alike.values())


def _insert(statement: Any, row: Row | None) -> Callable[[Tx], None]:
    def insert_one(tx: Tx) -> None:
        tx.execute(statement, row)

    return insert_one


def attempt(tx: Tx, write: Write) -> None:
    """Do one write in a savepoint of its own; what goes wrong belongs to its caller."""
    if write.work is None or write.error is not None:
        return
    try:
        with savepoint(tx):
            write.result = write.work(tx)
    except BaseException as error:  # it belongs to the caller, not to the writer
        write.error = error


def settle(group: list[Write]) -> None:
    """Wake the callers, with one call for each event loop."""
    by_loop: dict[Any, list[Write]] = defaultdict(list)
    for write in group:
        if write.waiting.loop is None:
            write.waiting.settle(write.result, write.error)
        else:
            by_loop[write.waiting.loop].append(write)
    for loop, writes in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle_here, writes)


def _settle_here(writes: list[Write]) -> None:
    for write in writes:
        write.waiting.settle(write.result, write.error)
