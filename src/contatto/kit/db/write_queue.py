"""Write queue of SQLite with group commits, savepoints and contention notices."""

import asyncio
import os
import sqlite3
import sys
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from contatto.kit.db.database import Waiting, Work, acting_for
from contatto.kit.db.prepared import driver_of, insert_rows
from contatto.kit.db.tx import MadeLater, Row, Tx, in_time

GROUP_LIMIT: Final = 512
"""Greatest number of hot-path rows per commit; more only delay the first of them."""
GROUP_S: Final = 0.02
"""Time for which a commit takes further writes."""


@dataclass(slots=True)
class Write:
    """Queued write: either work, or an insert that may be grouped."""

    waiting: Waiting[Any]
    business_id: str = ""
    work: Work[Any] | None = None
    statement: Any = None
    row: Row | None = None
    make: MadeLater | None = None
    in_background: bool = False
    result: Any = None
    error: BaseException | None = None


def with_rows(writes: list[Write]) -> list[Write]:
    """Build the rows of writes, report errors to their callers, and return the other writes."""
    ready: list[Write] = []
    for write in writes:
        try:
            if write.make is not None:
                write.row, write.make = write.make(), None
        except Exception as error:  # it belongs to the caller
            write.waiting.tell(None, error)
        else:
            ready.append(write)
    return ready


type CommitContent = tuple[list[Write], Iterator[Write]]
"""Content of a commit: hot-path rows, and writes one by one until the time is up."""


class WriteQueue:
    """Queue of writes: those of requests in turn by tenant, and those of the background.

    A commit takes hot-path rows and writes of requests, or some of the background; while both wait they
    alternate. So a request waits for one batch at most, and requests do not starve the background.
    """

    def __init__(self) -> None:
        self._arrived: SimpleQueue[Write | list[Write] | None] = SimpleQueue()
        self._appends: deque[Write] = deque()
        self._requests: dict[str, deque[Write]] = {}
        self._background: deque[Write] = deque()
        self._is_background_next = False
        self._is_closing = False
        self._has_asked = False

    def put(self, write: Write | list[Write]) -> None:
        """Enqueue a write, or a list of hot-path rows."""
        self._arrived.put(write)
        if isinstance(write, Write) and write.work is not None and not write.in_background:
            self._has_asked = True

    def is_awaited(self) -> bool:
        """Return whether a request waits for the end of the current commit."""
        return self._has_asked or bool(self._requests)

    def close(self) -> None:
        """Let the writer end after the queued writes."""
        self._arrived.put(None)

    def wait(self, most_s: float | None = None) -> bool:
        """Wait for a write, at most ``most_s`` seconds; return False when the queue is closed and empty."""
        self._sort_arrived()
        while not (self._appends or self._requests or self._background):
            if self._is_closing:
                return False
            try:
                self._sort(self._arrived.get(timeout=most_s))
            except Empty:
                return True
            self._sort_arrived()
        return True

    def take_appends(self) -> list[Write]:
        """Return hot-path rows in the order of arrival, at most as many as share a commit."""
        self._sort_arrived()
        return [self._appends.popleft() for _ in range(min(len(self._appends), GROUP_LIMIT))]

    def _sort_arrived(self) -> None:
        while True:
            try:
                self._sort(self._arrived.get_nowait())
            except Empty:
                return

    def _sort(self, write: Write | list[Write] | None) -> None:
        if write is None:
            self._is_closing = True
        elif isinstance(write, list):
            self._appends += with_rows(write)
        elif write.in_background:
            self._background.append(write)
        elif write.work is None:
            self._appends.append(write)
        else:
            self._requests.setdefault(write.business_id, deque()).append(write)

    def give_back(self, appends: list[Write]) -> None:
        """Return rows to the front of the queue."""
        self._appends.extendleft(reversed(appends))

    def next_commit(self) -> CommitContent:
        """Return the content of the next commit."""
        self._has_asked = False
        has_requests = bool(self._appends or self._requests)
        if self._background and (self._is_background_next or not has_requests):
            self._is_background_next = False
            taken = (self._background.popleft() for _ in range(len(self._background)))
            return [], in_time(taken, GROUP_S)
        self._is_background_next = bool(self._background)
        return self.take_appends(), in_time(self._take_requests(), GROUP_S)

    def _take_requests(self) -> Iterator[Write]:
        while self._requests:
            business_id, line = next(iter(self._requests.items()))
            del self._requests[business_id]
            write = line.popleft()
            if line:
                self._requests[business_id] = line  # behind all others
            yield write


_DEFERRED: Final = "held_back"


@contextmanager
def holding(connection: Connection) -> Iterator[list[Any]]:
    """Defer appends to `held_of` within; the caller handles the list."""
    deferred: list[Any] = []
    connection.info[_DEFERRED] = deferred
    try:
        yield deferred
    finally:
        del connection.info[_DEFERRED]


def held_of(connection: Connection) -> list[Any] | None:
    """Return the deferred list of `holding`; None outside of it."""
    deferred: list[Any] | None = connection.info.get(_DEFERRED)
    return deferred


@contextmanager
def savepoint(tx: Tx) -> Iterator[None]:
    """Undo the work within if it raises; earlier work stays."""
    deferred = held_of(tx.connection)
    before = len(deferred or ())
    try:
        with _part(tx):
            yield
    except BaseException:
        if deferred:
            del deferred[before:]
        raise


@contextmanager
def _part(tx: Tx) -> Iterator[None]:
    """Open a savepoint; on SQLite through the driver, since SQLAlchemy's takes as long as a small write."""
    if tx.locks_rows:
        with tx.connection.begin_nested():
            yield
        return
    run = driver_of(tx).execute
    run("SAVEPOINT part")
    try:
        yield
    except BaseException:
        run("ROLLBACK TO part")
        run("RELEASE part")
        raise
    run("RELEASE part")


def append_all(tx: Tx, writes: list[Write]) -> None:
    """Insert rows of one statement together; if that fails, one by one, so that only the bad one fails."""
    for batch in group_alike(writes):
        try:
            with savepoint(tx):
                insert_rows(tx, batch[0].statement, [write.row or {} for write in batch])
        except Exception:  # the single insert finds the bad row, and its caller gets the error
            for write in batch:
                write.work = partial(Tx.execute, statement=write.statement, rows=write.row)
                attempt(tx, write)


def group_alike(writes: list[Write]) -> list[list[Write]]:
    """Group rows by statement and tenant, and keep their order."""
    groups: dict[tuple[int, str], list[Write]] = defaultdict(list)
    for write in writes:
        groups[id(write.statement), write.business_id].append(write)
    return list(groups.values())


def attempt(tx: Tx, write: Write) -> None:
    """Run one write in a savepoint of its own, and record its error for the caller."""
    if write.work is None or write.error is not None:
        return
    try:
        with savepoint(tx):
            write.result = write.work(tx)
    except BaseException as error:  # it belongs to the caller
        write.error = error


def settle(group: list[Write]) -> None:
    """Wake the callers, with one call per event loop."""

    def settle_here(writes: list[Write]) -> None:
        for write in writes:
            write.waiting.settle(write.result, write.error)

    by_loop: dict[Any, list[Write]] = defaultdict(list)
    for write in group:
        if write.waiting.loop is None:
            write.waiting.settle(write.result, write.error)
        else:
            by_loop[write.waiting.loop].append(write)
    for loop, writes in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle_here, writes)


_WAIT_S: Final = 10.0
"""Greatest wait for another process that has locked the file."""
_LOOK_S: Final = 0.001
"""Pause between two tries; SQLite's own busy handler sleeps up to 100 ms."""


def begin(connection: Connection) -> None:
    """Begin a transaction; one that writes locks the file at once, or waits for it.

    The option ``writes`` marks it, and ``meanwhile`` is called between two tries.

    Raises:
        OperationalError: another process had locked the file for too long.
    """
    driver: Any = connection.connection.driver_connection  # a tenth of the time of SQLAlchemy's way
    options = connection.get_execution_options()
    if not options.get("writes", False):
        driver.execute("BEGIN")
        return
    meanwhile = options.get("meanwhile", look_again)
    driver.execute("PRAGMA busy_timeout=0")
    end = time.monotonic() + _WAIT_S
    while True:
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            # Extended codes have the plain code in their low byte.
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() > end:
                raise OperationalError("BEGIN IMMEDIATE", None, error) from error
            meanwhile()
        else:
            return


def look_again() -> None:
    """Sleep until the next try."""
    time.sleep(_LOOK_S)


if sys.platform == "win32":
    _SHARED, _EXCLUSIVE, _FREE = 0, 0, 0

    def _flock(file: int, kind: int) -> None: ...

else:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN
    from fcntl import flock as _flock

    _SHARED, _EXCLUSIVE, _FREE = LOCK_SH, LOCK_EX | LOCK_NB, LOCK_UN

_IS_AWAITED: Final = "is_awaited"
ENDING: Final = "-awaited"
"""Suffix of the lock file through which processes signal contention."""


def tell_who_waits(connection: Connection, is_awaited: Callable[[], bool]) -> None:
    """Attach the contention check of a connection's writer."""
    connection.info[_IS_AWAITED] = is_awaited


def is_awaited(tx: Tx) -> bool:
    """Return whether a request waits for the end of this transaction; never on PostgreSQL.

    Rows of ``Database.append`` do not count, as no page waits for them.
    """
    check: Callable[[], bool] | None = tx.connection.info.get(_IS_AWAITED)
    return check is not None and check()


class ProcessContention:
    """Contention signal between processes that write to the same file.

    A waiting process shares the lock of a file; another process that gets it exclusively knows that none
    waits. Without such locks (Windows) a request waits for a whole batch of another process.

    Args:
        database: file that all write to.
    """

    def __init__(self, database: str) -> None:
        self._file = os.open(database + ENDING, os.O_RDWR | os.O_CREAT, 0o600)
        self._is_asking = False

    def ask(self) -> None:
        """Signal that a request waits here, until `rest`."""
        if not self._is_asking:
            self._is_asking = True
            _flock(self._file, _SHARED)

    def rest(self) -> None:
        """Signal that no request waits any more."""
        if self._is_asking:
            self._is_asking = False
            _flock(self._file, _FREE)

    def ask_us(self) -> bool:
        """Return whether a request of another process waits."""
        try:
            _flock(self._file, _EXCLUSIVE)
        except BlockingIOError:
            return True
        _flock(self._file, _FREE)
        return False

    def close(self) -> None:
        os.close(self._file)


AT_ONCE: Final = 512
"""Greatest number of works per transaction; more only delay the first of them."""


class InsertBatcher:
    """Gathers the rows of one turn of an event loop, as waking a writer costs more than a row.

    Args:
        hand_over: takes the rows of one turn; it must return at once.
    """

    def __init__(self, hand_over: Callable[[list[Write]], None]) -> None:
        self._hand_over = hand_over
        self._rows: dict[asyncio.AbstractEventLoop, list[Write]] = {}

    def put(self, statement: Any, row: Row | MadeLater) -> Awaitable[None]:
        """Insert a row with a cached statement; await the result for durability."""
        loop = asyncio.get_running_loop()
        rows = self._rows.get(loop)
        if rows is None:
            rows = self._rows[loop] = []
            loop.call_soon(self._flush, loop)
        waiting: Waiting[None] = Waiting(loop)
        write = Write(waiting, acting_for(), statement=statement)
        if callable(row):
            write.make = row
        else:
            write.row = row
        rows.append(write)
        return waiting.future  # type: ignore[return-value]  # a loop's future, as there is a loop

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        rows = self._rows.pop(loop)
        try:
            self._hand_over(rows)
        except Exception as error:  # it belongs to the callers
            for write in rows:
                write.waiting.settle(None, error)


class WorkBatcher[T, R]:
    """Runs works of one kind, many per transaction; later ones wait for the next transaction.

    Args:
        run: reads or writes, such as ``Database.write``.
        work: does many works, in their order, and returns a result or an exception for each.
            A work with an exception must have written nothing.
        most: greatest number of works per transaction.
    """

    def __init__(
        self,
        run: Callable[[Work[Sequence[R | Exception]]], Awaitable[Sequence[R | Exception]]],
        work: Callable[[Tx, Sequence[T]], Sequence[R | Exception]],
        most: int = AT_ONCE,
    ) -> None:
        self._run = run
        self._work = work
        self._most = most
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._going: asyncio.Task[None] | None = None

    async def put(self, one: T) -> R:
        """Do one work; its writes are durable when this returns."""
        waiting: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, waiting))
        if self._going is None or self._going.done():
            self._going = asyncio.create_task(self._do_all())
        return await waiting

    async def _do_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            if not await self._do(batch, is_last_try=len(batch) == 1):
                for item in batch:  # one of them is at fault
                    await self._do([item], is_last_try=True)

    async def _do(self, batch: list[tuple[T, asyncio.Future[R]]], *, is_last_try: bool) -> bool:
        """Return False where each work has to be tried alone."""
        works = [one for one, _ in batch]

        def run_all(tx: Tx) -> Sequence[R | Exception]:
            return self._work(tx, works)

        outcomes: Sequence[R | BaseException]
        try:
            try:
                outcomes = await self._run(run_all)
            except OperationalError:  # no work is at fault: a conflict, or the database was away
                outcomes = await self._run(run_all)
        except OperationalError as error:
            outcomes = [error] * len(batch)
        except BaseException as error:
            if not is_last_try and isinstance(error, Exception):
                return False
            outcomes = [error] * len(batch)
        for (_, waiting), outcome in zip(batch, outcomes, strict=True):
            _settle(waiting, outcome)
        return True


def _settle[R](waiting: asyncio.Future[R], outcome: R | BaseException) -> None:
    if waiting.done():  # its caller gave up
        return
    if isinstance(outcome, BaseException):
        waiting.set_exception(outcome)
    else:
        waiting.set_result(outcome)
