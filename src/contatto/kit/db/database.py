"""Database access: transactions on SQLite or PostgreSQL, the queue of writes, cached counts."""

import asyncio
import sqlite3
import stat
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from importlib import import_module
from itertools import chain
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from contatto.kit.concurrency import TenantSlots, slot_released
from contatto.kit.db.statements import Tables, note_changes, take_changes
from contatto.kit.db.tx import BYTES_OF, NO_PARTS, Clock, ContactReads, Parts, Tx, Work, in_time, savepoint
from contatto.kit.settings import Settings
from contatto.kit.vault import KEY_FILE, Vault, load_keys

_acting_for: ContextVar[str] = ContextVar("acting_for", default="")


def act_for(business_id: str) -> None:
    """Restrict later transactions of this request to one tenant."""
    _acting_for.set(business_id)


@contextmanager
def acting(business_id: str) -> Iterator[None]:
    """Restrict transactions and tasks within to another tenant; an empty id means all tenants."""
    before = _acting_for.set(business_id)
    try:
        yield
    finally:
        _acting_for.reset(before)


def acting_for() -> str:
    """Return the tenant of this request; empty outside of requests."""
    return _acting_for.get()


type Listener = Callable[[], None]
LONG_AT_ONCE: Final = 2
"""Concurrent long reads of a process, at most one per tenant, so that short work stays fast."""

STATEMENTS_KEPT: Final = 2_000
"""Size of the cache of compiled statements, some 25 kB each; compiling one takes a millisecond."""


class Database(ABC):
    """Storage of one installation.

    ``read`` and ``write`` are for the event loop, ``read_now`` and ``write_now`` for plain code. A write
    returns after a durable commit; an exception rolls it back. Long reads use ``read_long`` or ``run_aside``.
    Long work writes in batches, ``in_background``, which end early when a request waits. Requests that are
    not ``is_hurried``, such as webhooks, do not end them. A request that may change many rows uses
    ``write_each``, so that other writes come in between.
    """

    def __init__(self, engine: sa.Engine, clock: Clock, vault: Vault, ports: Parts) -> None:
        self.engine = engine
        self.clock = clock
        self.vault = vault
        self.ports = ports
        self._listeners: list[tuple[Listener, Tables]] = []
        self._long = TenantSlots(LONG_AT_ONCE, 1)
        self._aside = ThreadPoolExecutor(LONG_AT_ONCE, thread_name_prefix="aside")

    parallel_batches: int
    """Useful concurrency of batches of one kind of work, or of requests of one tenant."""

    async def read[T](self, work: Work[T]) -> T:
        """Read on the event loop, as SQLite answers at once; PostgreSQL reads in a thread."""
        return self.read_now(work)

    @abstractmethod
    async def write[T](self, work: Work[T], *, in_background: bool = False, is_hurried: bool = True) -> T: ...

    async def write_each[I, R](self, items: Sequence[I], work: Callable[[Tx, I], R]) -> list[R]:
        """Run a write for each item, with as many per transaction as fit into the time of a batch.

        Writes of other tenants come in between. When an item raises, earlier transactions remain committed.
        """
        results: list[R] = []

        def write_batch(tx: Tx) -> list[R]:
            return [work(tx, item) for item in in_time(items[len(results) :])]

        while len(results) < len(items):
            results += await (self.write_more(write_batch) if results else self.write(write_batch))
        return results

    async def write_more[T](self, work: Work[T]) -> T:
        """Write without an audit entry, for a request that wrote one already."""
        return await self.write(work)

    @abstractmethod
    def read_now[T](self, work: Work[T]) -> T: ...

    @abstractmethod
    def write_now[T](self, work: Work[T], *, in_background: bool = False) -> T: ...

    @contextmanager
    def writing(self) -> Iterator[Tx]:
        """Open a write transaction on a connection of its own, as a command beside the server does."""
        with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield Tx(connection, self.clock.now(), self.vault, self.ports)

    async def read_long[T](self, work: Work[T], business_id: str = "") -> T:
        """Read in a thread beside the event loop; few run at once, in turn by tenant."""
        return await self.run_aside(lambda: self.read_now(work), business_id)

    async def run_aside[T](self, work: Callable[[], T], business_id: str = "") -> T:
        """Run plain code with long reads in a thread; few run at once, in turn by tenant.

        The default tenant is that of the request.
        """
        async with slot_released(), self._long.of(business_id or acting_for()):
            run = copy_context().run
            return await asyncio.get_running_loop().run_in_executor(self._aside, run, work)

    def close(self) -> None:
        """Stop the threads of `run_aside`; subclasses close the rest."""
        self._aside.shutdown(wait=True, cancel_futures=True)

    async def watch(self) -> None:  # noqa: B027  # beside SQLite's server only commands write
        """Notify listeners of commits by other processes, until cancelled; return at once without any."""

    def on_commit(self, listener: Listener, tables: Tables = None) -> None:
        """Call ``listener`` after every commit that changed something, in the committing thread.

        It must return at once. Commits without a change do not count, else the worker would wake itself
        forever. With ``tables`` it is called for changes of these tables, and for unknown changes, such as
        commits of other processes.
        """
        self._listeners.append((listener, tables))

    def _committed(self, changed: Tables = None) -> None:
        for listener, tables in self._listeners:
            if tables is None or changed is None or not set(tables).isdisjoint(changed):
                with suppress(RuntimeError):  # its event loop is closed
                    listener()


class CommitSignal:
    """Signal to one coroutine that a commit changed some tables."""

    def __init__(self, db: Database, tables: Tables) -> None:
        self._loop, self._poked = asyncio.get_running_loop(), asyncio.Event()
        db.on_commit(self._poke, tables)

    def _poke(self) -> None:
        if not (self._poked.is_set() or self._loop.is_closed()):
            self._loop.call_soon_threadsafe(self._poked.set)

    async def wait(self, most_s: float, gather_s: float) -> None:
        """Wait for a commit, and a little longer for others; at most ``most_s`` seconds without one."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._poked.wait(), most_s)
            await asyncio.sleep(gather_s)
        self._poked.clear()


class RequestDatabase(Database):
    """Database of one request: it records reads of contact data, and each `write` has an audit entry.

    ``follow`` appends the entry, in the transaction of a write and with its result.
    """

    def __init__(self, db: Database, reads: ContactReads, follow: Callable[[Tx, Any], None] | None) -> None:
        self._db, self._reads, self._follow = db, reads, follow
        self.engine, self.clock, self.vault, self.ports = db.engine, db.clock, db.vault, db.ports
        self.parallel_batches = db.parallel_batches

    def _run_recorded[T](self, work: Work[T], follow: Callable[[Tx, T], None] | None, tx: Tx) -> T:
        result = work(replace(tx, contact_reads=self._reads))
        if follow is not None:
            follow(tx, result)
        return result

    async def read[T](self, work: Work[T]) -> T:
        return await self._db.read(partial(self._run_recorded, work, None))

    async def write[T](self, work: Work[T], *, in_background: bool = False, is_hurried: bool = True) -> T:
        run = partial(self._run_recorded, work, self._follow)
        return await self._db.write(run, in_background=in_background, is_hurried=is_hurried)

    async def write_more[T](self, work: Work[T]) -> T:
        return await self._db.write(partial(self._run_recorded, work, None))

    def read_now[T](self, work: Work[T]) -> T:
        return self._db.read_now(partial(self._run_recorded, work, None))

    def write_now[T](self, work: Work[T], *, in_background: bool = False) -> T:
        run = partial(self._run_recorded, work, None)
        return self._db.write_now(run, in_background=in_background)

    async def run_aside[T](self, work: Callable[[], T], business_id: str = "") -> T:
        return await self._db.run_aside(work, business_id)


LEAST: Final = 2_000
"""Fewest rows that are cached."""
PER_ROW: Final = timedelta(microseconds=5)
"""Greatest age per counted row after a change: 50 times as long as counting takes."""
MOST_CHANGED: Final = timedelta(seconds=1)
"""Upper bound of that age, as the reader may have made the change."""
MOST_AGE: Final = timedelta(seconds=10)
"""Greatest age without a change, as tasks become overdue without one."""
_MOST_CACHED: Final = 2_000

type Counts[K] = Mapping[K, int]


@dataclass(frozen=True, slots=True)
class _CachedCount:
    counts: Counts[Any]
    rows: int
    state: object
    at: datetime


class CachedCounts:
    """Cache of counts.

    The cost of a count grows with its rows. While no commit changes the tables, the cached one is right.
    After a change it is reused for a time in proportion to its size, so that counting takes a constant share
    of a process. Few rows are counted each time, so that small tenants see each change at once.
    """

    def __init__(
        self, db: Database, tables: Collection[str], least: int = LEAST, per_row: timedelta = PER_ROW
    ) -> None:
        self.clock, self.least, self.per_row = db.clock, least, per_row
        self.cached: OrderedDict[Hashable, _CachedCount] = OrderedDict()
        self.state = object()
        db.on_commit(self._invalidate, tables)

    def _invalidate(self) -> None:
        self.state = object()

    def begin(self) -> "CountReader":
        """Return a reader; call this before the transaction that may count."""
        return CountReader(self, self.state)


@dataclass(frozen=True, slots=True)
class CountReader:
    """Counts for one transaction, from the cache or the tables."""

    cache: CachedCounts
    state: object

    def find[K](self, key: Hashable, count: Callable[[], Counts[K]]) -> Counts[K]:
        """Return the cached count of this key, or the result of ``count``.

        The key must identify the tenant and the filter.
        """
        cache, all_cached = self.cache, self.cache.cached
        at, cached = cache.clock.now(), all_cached.get(key)
        if cached is not None:
            is_current = cached.state is cache.state
            most = MOST_AGE if is_current else min(MOST_CHANGED, cached.rows * cache.per_row)
            if timedelta() <= at - cached.at < most:
                return cast("Counts[K]", cached.counts)
        counts = count()
        rows = sum(counts.values())
        if rows >= cache.least:
            all_cached[key] = _CachedCount(counts, rows, self.state, at)
            all_cached.move_to_end(key)
            if len(all_cached) > _MOST_CACHED:
                all_cached.popitem(last=False)
        else:
            all_cached.pop(key, None)
        return counts


GROUP_S: Final = 0.02
"""Time for which a commit takes further writes."""


@dataclass(slots=True)
class Write:
    """Queued write; its future is one of an event loop, or of a thread that waits.

    Where it ``is_hurried``, a page waits for it, so a batch of the background should end soon.
    """

    future: asyncio.Future[Any] | Future[Any]
    business_id: str
    work: Work[Any]
    in_background: bool = False
    is_hurried: bool = True
    result: Any = None
    error: BaseException | None = None


@dataclass(eq=False)
class WriteQueue:
    """Queue of writes: those of requests in turn by tenant, and those of the background.

    A commit takes writes of requests, or some of the background; while both wait they alternate. So a
    request waits for one batch at most, and requests do not starve the background.
    """

    _arrived: SimpleQueue[Write | None] = field(default_factory=SimpleQueue)
    _unhurried: deque[Write] = field(default_factory=deque)
    _requests: dict[str, deque[Write]] = field(default_factory=dict)
    _background: deque[Write] = field(default_factory=deque)
    _is_background_next: bool = False
    _is_closing: bool = False
    _is_closed: bool = False
    _has_new_request: bool = False

    def put(self, write: Write | None) -> None:
        """Queue a write; None lets the writer end after those that are queued, and refuses later ones."""
        if write is None:
            self._is_closed = True
        elif self._is_closed:
            raise RuntimeError("the database is closed")
        self._arrived.put(write)
        if write is not None and write.is_hurried and not write.in_background:
            self._has_new_request = True

    def is_awaited(self) -> bool:
        """Return whether a request waits for the end of the current commit."""
        return self._has_new_request or bool(self._requests)

    def wait(self) -> bool:
        """Wait for a write; return False when the queue is closed and empty."""
        self._sort_arrived(waits=False)
        while not (self._unhurried or self._requests or self._background):
            if self._is_closing:
                return False
            self._sort_arrived(waits=True)
        return True

    def _sort_arrived(self, *, waits: bool) -> None:
        """Sort the writes that have arrived, or wait for the first of them."""
        while True:
            try:
                write = self._arrived.get(block=waits)
            except Empty:
                return
            waits = False
            if write is None:
                self._is_closing = True
            elif write.in_background:
                self._background.append(write)
            elif not write.is_hurried:
                self._unhurried.append(write)
            else:
                self._requests.setdefault(write.business_id, deque()).append(write)

    def next_commit(self) -> Iterator[Write]:
        """Return the writes of the next commit, one by one until its time is up."""
        self._has_new_request = False
        has_requests = bool(self._unhurried or self._requests)
        if self._background and (self._is_background_next or not has_requests):
            self._is_background_next = False
            return in_time((self._background.popleft() for _ in range(len(self._background))), GROUP_S)
        self._is_background_next = bool(self._background)
        self._sort_arrived(waits=False)
        unhurried = [self._unhurried.popleft() for _ in range(len(self._unhurried))]
        return chain(unhurried, in_time(self._take_requests(), GROUP_S))

    def _take_requests(self) -> Iterator[Write]:
        while self._requests:
            business_id, line = next(iter(self._requests.items()))
            del self._requests[business_id]
            write = line.popleft()
            if line:
                self._requests[business_id] = line  # behind all others
            yield write


def attempt(tx: Tx, write: Write) -> None:
    """Run one write in a savepoint of its own, and record its error for the caller."""
    try:
        with savepoint(tx):
            write.result = write.work(tx)
    except BaseException as error:  # it belongs to the caller
        write.error = error


def settle(group: list[Write]) -> None:
    """Wake the callers, with one call per event loop."""

    def settle_here(writes: list[Write]) -> None:
        for write in writes:
            if write.future.done():  # its caller gave up
                continue
            if write.error is not None:
                write.future.set_exception(write.error)
            else:
                write.future.set_result(write.result)

    by_loop: dict[asyncio.AbstractEventLoop | None, list[Write]] = defaultdict(list)
    for write in group:
        loop = write.future.get_loop() if isinstance(write.future, asyncio.Future) else None
        by_loop[loop].append(write)
    for loop, writes in by_loop.items():
        if loop is None:
            settle_here(writes)
            continue
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle_here, writes)


_WAIT_S: Final = 10.0
"""Greatest wait for another process that has locked the file."""
_LOOK_S: Final = 0.001
"""Pause between two tries; SQLite's own busy handler sleeps up to 100 ms."""


def begin(connection: sa.Connection) -> None:
    """Begin a transaction; one with the option ``writes`` locks the file at once, or waits for it.

    Raises:
        OperationalError: another process had locked the file for too long.
    """
    driver: Any = connection.connection.driver_connection  # a tenth of the time of SQLAlchemy's way
    if not connection.get_execution_options().get("writes", False):
        driver.execute("BEGIN")
        return
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
            time.sleep(_LOOK_S)
        else:
            return


ANALYZES_AFTER: Final = 2_000
"""Changed rows between two updates of statistics; it doubles each time."""
_MOST_CHANGES: Final = 64_000
_GROWN_PAGES: Final = 2_000
"""Pages of a file with more than empty tables."""
_ANALYZE: Final = "PRAGMA optimize=0x10002"
"""Without statistics SQLite considers a tenant as selective as a lead, and scans all rows of a tenant.

It samples some hundred rows of each index, of tables that grew tenfold since the last time.
Source: https://www.sqlite.org/lang_analyze.html
"""

_HAS_FIGURES: Final = "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_stat1'"

_BUSY_S: Final = 0.02
_REST_S: Final = 0.003
"""A busy writer would starve commands of other processes, so it rests for longer than they poll."""

_PRAGMAS: Final = (
    "PRAGMA busy_timeout=10000",  # first, as the change to WAL of a new file may have to wait too
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA wal_autocheckpoint=16000",  # 64 MiB: the more share one, the fewer pages are written twice
    "PRAGMA cache_size=-65536",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA analysis_limit=400",
)


class SqliteDatabase(Database):
    """One file, many readers, one writer thread.

    Writes queue up during a commit, and the next commit takes all of them. Each has its own savepoint, so a
    failed one does not affect the others.
    """

    parallel_batches = 1

    def __init__(self, url: str, clock: Clock, vault: Vault, ports: Parts) -> None:
        engine = sa.create_engine(
            url, poolclass=QueuePool, pool_size=4, max_overflow=12, hide_parameters=True,
            query_cache_size=STATEMENTS_KEPT,
        )  # fmt: skip
        sa.event.listen(engine, "connect", _prepare)
        sa.event.listen(engine, "begin", begin)
        sa.event.listen(engine, "checkout", self._renew)
        super().__init__(engine, clock, vault, ports)
        self._queue = WriteQueue()
        self._analyzed = 0
        with engine.connect() as connection:  # a new file becomes WAL here, before any other connection
            has_grown = connection.exec_driver_sql("PRAGMA page_count").scalar_one() > _GROWN_PAGES
            connection.rollback()
            if has_grown:
                _analyze(connection)
        self._writer = threading.Thread(target=self._write_groups, name="sqlite-writer", daemon=True)
        self._writer.start()

    def read_now[T](self, work: Work[T]) -> T:
        with self.engine.connect() as connection:
            return work(Tx(connection, self.clock.now(), self.vault, self.ports, is_reading=True))

    async def write[T](self, work: Work[T], *, in_background: bool = False, is_hurried: bool = True) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put(Write(future, acting_for(), work, in_background, is_hurried))
        if not is_hurried:  # a webhook holds no slot
            return await future
        async with slot_released():
            return await future

    def write_now[T](self, work: Work[T], *, in_background: bool = False) -> T:
        future: Future[T] = Future()
        self._queue.put(Write(future, acting_for(), work, in_background))
        return future.result()

    def close(self) -> None:
        self._queue.put(None)
        self._writer.join()
        super().close()
        self.engine.dispose()

    def _write_groups(self) -> None:
        with self.engine.connect().execution_options(writes=True) as connection:
            note_changes(connection)
            analyzed, analyzes_after, busy_s = 0, ANALYZES_AFTER, 0.0
            while self._queue.wait():
                started = time.perf_counter()
                group: list[Write] = []
                writes: Iterator[Write] | None = None
                changed: Tables = ()
                try:
                    with connection.begin():
                        writes = self._queue.next_commit()
                        before = _count_changes(connection)
                        take_changes(connection)
                        is_awaited = self._queue.is_awaited
                        tx = Tx(connection, self.clock.now(), self.vault, self.ports, is_awaited=is_awaited)
                        for write in writes:
                            group.append(write)
                            attempt(tx, write)
                        if _count_changes(connection) != before:
                            changed = take_changes(connection) or None
                except Exception as error:  # the commit itself failed, for every caller
                    connection.invalidate()  # it may still be in the failed transaction
                    group += writes or self._queue.next_commit()
                    for write in group:
                        write.error = write.error or error
                if changed != ():  # before callers go on, so that their next read is current
                    self._committed(changed)
                settle(group)
                busy_s += time.perf_counter() - started
                if busy_s > _BUSY_S:
                    time.sleep(_REST_S)
                    busy_s = 0.0
                if _count_changes(connection) - analyzed > analyzes_after:
                    analyzes_after = min(2 * analyzes_after, _MOST_CHANGES)
                    self._analyzed += _analyze(connection)
                    analyzed = _count_changes(connection)

    def _renew(self, _connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        """Replace connections that opened before the last update of statistics, which they read only then."""
        if record.info.setdefault("analyzed", self._analyzed) != self._analyzed:
            raise DisconnectionError


def _analyze(connection: sa.Connection) -> bool:
    """Update the statistics, and return whether they changed."""
    with suppress(DBAPIError), connection.begin():
        before = _list_figures(connection)
        connection.exec_driver_sql(_ANALYZE)
        return _list_figures(connection) != before
    return False


def _list_figures(connection: sa.Connection) -> list[Any]:
    if not connection.exec_driver_sql(_HAS_FIGURES).scalar_one():
        return []
    return list(connection.exec_driver_sql("SELECT tbl, idx, stat FROM sqlite_stat1").all())


def _count_changes(connection: sa.Connection) -> int:
    """Return the number of rows changed through this connection."""
    changes: int = connection.connection.dbapi_connection.total_changes  # type: ignore[union-attr]
    return changes


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver's own BEGIN breaks savepoints
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    connection.create_function(BYTES_OF, 1, bytes.fromhex, deterministic=True)


_OTHER_USERS: Final = stat.S_IRWXG | stat.S_IRWXO
_FILE_SUFFIXES: Final = ("", "-wal", "-shm", "-journal")
"""Suffixes of SQLite's files, which inherit the rights of the database."""


def open_database(url: str, clock: Clock, vault: Vault, ports: Parts = NO_PARTS) -> Database:
    """Open the storage of a SQLAlchemy URL; raises ValueError for other engines."""
    if url.startswith("sqlite:"):
        return SqliteDatabase(url, clock, vault, ports)
    if url.startswith("postgresql"):
        postgres_url = url.replace("postgresql://", "postgresql+psycopg://", 1)
        # Loaded lazily: its driver takes 10 MiB of memory.
        opened: Database = import_module("contatto.kit.db.postgres").PostgresDatabase(
            postgres_url, clock, vault, ports
        )
        return opened
    raise ValueError("database_url must start with sqlite: or postgresql:")


def open_storage(settings: Settings, clock: Clock, ports: Parts) -> Database:
    """Open the storage of an installation with its keys, readable by its owner only."""
    keys = load_keys(settings.secret_keys, settings.data_dir)
    vault = Vault({key.id: key.raw for key in keys}, {key.id for key in keys if key.is_retired})
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    # Take the rights of other users from existing files, such as a restored backup.
    file = settings.url.removeprefix("sqlite:///").partition("?")[0]
    suffixes = _FILE_SUFFIXES if file != settings.url else ()  # of PostgreSQL there are none
    for path in (settings.data_dir / KEY_FILE, *(Path(f"{file}{suffix}") for suffix in suffixes)):
        if path.is_file() and (mode := path.stat().st_mode) & _OTHER_USERS:
            path.chmod(stat.S_IMODE(mode) & ~_OTHER_USERS)
    return open_database(settings.url, clock, vault, ports)
