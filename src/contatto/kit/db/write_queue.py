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
from queue import Empty, SimpleQueue
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from contatto.kit.clock import in_time
from contatto.kit.db.database import Waiting, Work, acting_for
from contatto.kit.db.prepared import driver_of, insert_rows
from contatto.kit.db.tx import MadeLater, Row, Tx

GROUP_LIMIT: Final = 512
"""Most rows of hot paths that share one commit; more only makes the first of them wait."""
GROUP_S: Final = 0.02
"""How long a commit goes on taking up writes that wait."""


@dataclass(slots=True)
class Write:
    """One write that waits: either work, or an insert that may be grouped with its like."""

    waiting: Waiting[Any]
    business_id: str = ""
    work: Work[Any] | None = None
    statement: Any = None
    row: Row | None = None
    make: MadeLater | None = None
    in_background: bool = False
    result: Any = None
    error: BaseException | None = None


def list_made(writes: list[Write]) -> list[Write]:
    """Those whose rows could be made, or were there; the callers of the others are told what went wrong."""
    made: list[Write] = []
    for write in writes:
        try:
            if write.make is not None:
                write.row, write.make = write.make(), None
        except Exception as error:  # it belongs to the caller, not to the writer
            write.waiting.tell(None, error)
        else:
            made.append(write)
    return made


type Taken = tuple[list[Write], Iterator[Write]]
"""What goes into a commit: rows of hot paths, and writes one by one until the time is up."""


class WriteQueue:
    """The writes of requests, one business after the other, and those of the background.

    A commit takes rows of hot paths and writes of requests, or some of the background; while both wait they
    alternate. So neither who asks for much nor long work in the background keeps a request waiting for more
    than a batch of it, and requests without end do not stop the background.
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
        """Let a write wait, or a list of rows of hot paths."""
        self._arrived.put(write)
        if isinstance(write, Write) and write.work is not None and not write.in_background:
            self._has_asked = True

    def is_awaited(self) -> bool:
        """Return whether a request waits until the commit that is on its way has ended."""
        return self._has_asked or bool(self._requests)

    def close(self) -> None:
        """Let the writer end once it has done what waits."""
        self._arrived.put(None)

    def wait(self, most_s: float | None = None) -> bool:
        """Wait until there is something to write, or for so long; False when nothing comes any more."""
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
        """Rows of hot paths that wait, in the order of their arrival; no more than share a commit."""
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
            self._appends += list_made(write)
        elif write.in_background:
            self._background.append(write)
        elif write.work is None:
            self._appends.append(write)
        else:
            self._requests.setdefault(write.business_id, deque()).append(write)

    def give_back(self, appends: list[Write]) -> None:
        """Let rows that were taken wait again, before all others."""
        self._appends.extendleft(reversed(appends))

    def next_commit(self) -> Taken:
        """Take what goes into the next commit."""
        self._has_asked = False
        has_requests = bool(self._appends or self._requests)
        if self._background and (self._is_background_next or not has_requests):
            self._is_background_next = False
            return [], in_time(self._take_background(), GROUP_S)
        self._is_background_next = bool(self._background)
        return self.take_appends(), in_time(self._take_requests(), GROUP_S)

    def _take_background(self) -> Iterator[Write]:
        while self._background:
            yield self._background.popleft()

    def _take_requests(self) -> Iterator[Write]:
        while self._requests:
            business_id, line = next(iter(self._requests.items()))
            del self._requests[business_id]
            write = line.popleft()
            if line:
                self._requests[business_id] = line  # behind all others
            yield write


_HELD: Final = "held_back"


@contextmanager
def holding(connection: Connection) -> Iterator[list[Any]]:
    """Hold back what is appended to `held_of` within; who holds it sees to all that is in the list."""
    held: list[Any] = []
    connection.info[_HELD] = held
    try:
        yield held
    finally:
        del connection.info[_HELD]


def held_of(connection: Connection) -> list[Any] | None:
    """What is held back; None where nothing is."""
    held: list[Any] | None = connection.info.get(_HELD)
    return held


@contextmanager
def savepoint(tx: Tx) -> Iterator[None]:
    """Undo what is done within, if it raises; what was done before stays."""
    held = held_of(tx.connection)
    before = len(held or ())
    try:
        with _part(tx):
            yield
    except BaseException:
        if held:
            del held[before:]
        raise


@contextmanager
def _part(tx: Tx) -> Iterator[None]:
    """On SQLite the driver is told itself: SQLAlchemy's own savepoints take as long as a small write."""
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


_WAIT_S: Final = 10.0
"""How long a writer waits for another process that holds the file."""
_LOOK_S: Final = 0.001
"""How often it asks meanwhile: SQLite's own waiting sleeps up to 100 ms between two tries."""


def begin(connection: Connection) -> None:
    """Begin a transaction; one that writes has the file at once, or waits for it.

    Whoever writes says so by the option ``writes``, and may have something to do ``meanwhile``.

    Raises:
        OperationalError: another process had the file for too long.
    """
    driver: Any = connection.connection.driver_connection  # to ask it itself is a tenth of the way
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
            if not _is_busy(error) or time.monotonic() > end:
                raise OperationalError("BEGIN IMMEDIATE", None, error) from error
            meanwhile()
        else:
            return


def look_again() -> None:
    """Wait until it is time to ask for the file once more."""
    time.sleep(_LOOK_S)


def _is_busy(error: sqlite3.OperationalError) -> bool:
    """Return whether another process holds the file; extended codes carry the plain one in their low byte."""
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


if sys.platform == "win32":
    _SHARED, _ALONE, _FREE = 0, 0, 0

    def _flock(file: int, kind: int) -> None: ...

else:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN
    from fcntl import flock as _flock

    _SHARED, _ALONE, _FREE = LOCK_SH, LOCK_EX | LOCK_NB, LOCK_UN

_IS_AWAITED: Final = "is_awaited"
ENDING: Final = "-awaited"
"""What the name of the file ends with by whose lock processes know of each other."""


def tell_who_waits(connection: Connection, is_awaited: Callable[[], bool]) -> None:
    """Let what works through a connection ask whether somebody waits for it."""
    connection.info[_IS_AWAITED] = is_awaited


def is_awaited(tx: Tx) -> bool:
    """Whether a request waits until this transaction ends; never on PostgreSQL, where others write meanwhile.

    What is kept by ``Database.append`` is no such request: nobody looks at a page until it is answered.
    """
    asked: Callable[[], bool] | None = tx.connection.info.get(_IS_AWAITED)
    return asked is not None and asked()


class ProcessContention:
    """Other processes that write to the same file: they are told that a request waits here, and tell it.

    Who waits shares the lock of a file, so whoever gets it alone knows that nobody does. Where there are no
    such locks (Windows) nobody is ever told: a request then waits for a whole batch of another process.

    Args:
        database: the file that all write to.
    """

    def __init__(self, database: str) -> None:
        self._file = os.open(database + ENDING, os.O_RDWR | os.O_CREAT, 0o600)
        self._is_asking = False

    def ask(self) -> None:
        """Tell that a request waits here, until `rest` is called."""
        if not self._is_asking:
            self._is_asking = True
            _flock(self._file, _SHARED)

    def rest(self) -> None:
        """Tell that none waits any more."""
        if self._is_asking:
            self._is_asking = False
            _flock(self._file, _FREE)

    def ask_us(self) -> bool:
        """Return whether a request waits in another process, while none is told of here."""
        try:
            _flock(self._file, _ALONE)
        except BlockingIOError:
            return True
        _flock(self._file, _FREE)
        return False

    def close(self) -> None:
        os.close(self._file)


AT_ONCE: Final = 512
"""Most works of one kind in one transaction; more only make the first of them wait."""


class InsertBatcher:
    """Gathers the rows of a turn: to wake a writer for each of them costs more than to write it.

    Args:
        hand_over: takes the rows of one turn; it must return at once.
    """

    def __init__(self, hand_over: Callable[[list[Write]], None]) -> None:
        self._hand_over = hand_over
        self._rows: dict[asyncio.AbstractEventLoop, list[Write]] = {}

    def put(self, statement: Any, row: Row | MadeLater) -> Awaitable[None]:
        """Insert a row with a statement that is made once and kept; it is durable once that was awaited."""
        loop = asyncio.get_running_loop()
        rows = self._rows.get(loop)
        if rows is None:
            rows = self._rows[loop] = []
            loop.call_soon(self._end_turn, loop)
        waiting: Waiting[None] = Waiting(loop)
        now, later = (None, row) if callable(row) else (row, None)
        rows.append(Write(waiting, acting_for(), statement=statement, row=now, make=later))
        return waiting.future  # type: ignore[return-value]  # a loop's future, as there is a loop

    def _end_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        rows = self._rows.pop(loop)
        try:
            self._hand_over(rows)
        except Exception as error:  # it belongs to the callers
            for write in rows:
                write.waiting.settle(None, error)


class WorkBatcher[T, R]:
    """Works of one kind, many in one transaction: what comes while one is on its way goes into the next.

    Args:
        run: reads or writes, such as ``Database.write``.
        work: does many, in their order, and says of each what came of it; an exception in its place is what
            its caller gets, and of such a one nothing may have been written.
        most: so many in one transaction.
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
        """Do one work; what it wrote is durable when this returns."""
        waiting: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, waiting))
        if self._going is None or self._going.done():
            self._going = asyncio.create_task(self._do_all())
        return await waiting

    async def _do_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            if not await self._do(batch, is_last_try=len(batch) == 1):
                for each in batch:  # one of them is at fault, and the others are not
                    await self._do([each], is_last_try=True)

    async def _run_again(self, work: Work[Sequence[R | Exception]]) -> Sequence[R | Exception]:
        """Run a work; once more where none is at fault: another was in the way, or the database was away."""
        try:
            return await self._run(work)
        except OperationalError:
            return await self._run(work)

    async def _do(self, batch: list[tuple[T, asyncio.Future[R]]], *, is_last_try: bool) -> bool:
        """Say whether no work has to be tried again."""
        works = [one for one, _ in batch]
        try:
            outcomes = await self._run_again(lambda tx: self._work(tx, works))
        except OperationalError as error:
            for _, waiting in batch:
                _settle(waiting, error)
            return True
        except BaseException as error:
            is_over = is_last_try or not isinstance(error, Exception)
            if is_over:
                for _, waiting in batch:
                    _settle(waiting, error)
            return is_over
        for (_, waiting), outcome in zip(batch, outcomes, strict=True):
            _settle(waiting, outcome)
        return True


def _settle[R](waiting: asyncio.Future[R], outcome: R | BaseException) -> None:
    if waiting.done():  # whoever asked went away
        return
    if isinstance(outcome, BaseException):
        waiting.set_exception(outcome)
    else:
        waiting.set_result(outcome)
