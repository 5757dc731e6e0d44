"""SQLite as the embedded default: WAL, one writer thread and a write buffer."""

import asyncio
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from contatto.kit.concurrency import slot_released
from contatto.kit.db.database import (
    STATEMENTS_KEPT,
    Database,
    Tables,
    Work,
    acting_for,
    note_changes,
    take_changes,
)
from contatto.kit.db.statements import (
    CommitContent,
    InsertBatcher,
    Waiting,
    Write,
    WriteQueue,
    append_all,
    attempt,
    bind_rows,
    group_alike,
    run_many,
    settle,
)
from contatto.kit.db.tx import BYTES_OF, Clock, MadeLater, Parts, Row, Tx, savepoint, tell_who_waits
from contatto.kit.log import logger, where
from contatto.kit.vault import Vault

ENDING: Final = "-spool"
"""Suffix of the buffer's file."""
MOST: Final = 20_000
"""Greatest number of buffered rows; flushing more would lock the database for over a second."""
_BUFFER_PRAGMAS: Final = ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL")
_TABLE: Final = "CREATE TABLE IF NOT EXISTS spooled (id INTEGER PRIMARY KEY, rows BLOB NOT NULL)"


class _Rows(msgspec.Struct, array_like=True):
    """Rows of one statement, as the driver takes them."""

    sql: str
    values: list[Sequence[Any]]


_rows_decoder: Final = msgspec.msgpack.Decoder(list[_Rows])


class WriteBuffer:
    """Write-ahead buffer of hot-path rows while another process has locked SQLite's file.

    SQLite lets one process write at a time, and a batch of the worker takes a tenth of a second. Rows that
    arrive meanwhile become durable in a file of this process. Its next transaction flushes them in their
    order. After a crash the next process does, and may insert a row twice, which hot-path inserts must
    tolerate. Use it from one thread.

    Args:
        database: file of the database; the buffer lies beside it.
    """

    def __init__(self, database: str) -> None:
        self._path = Path(database + ENDING)
        self._file: sqlite3.Connection | None = None
        self._rows: list[_Rows] = []
        if self._path.exists():
            try:
                if file := self._opened():
                    saved = file.execute("SELECT rows FROM spooled ORDER BY id").fetchall()
                    self._rows = [rows for (raw,) in saved for rows in _rows_decoder.decode(raw)]
            except (sqlite3.DatabaseError, msgspec.MsgspecError) as error:
                # the file is renamed, so that the start goes on and nothing is lost
                self.close()
                self._file = None
                aside = self._path.with_name(f"{self._path.name}-unreadable-{time.time_ns()}")
                for ending in ("", "-wal", "-shm"):
                    part = Path(f"{self._path}{ending}")
                    if part.exists():
                        part.rename(f"{aside}{ending}")
                logger().error("spool.unreadable", set_aside_as=aside.name, error_at=where(error))

    def _opened(self) -> sqlite3.Connection | None:
        """Return the file once it is locked; None while another process has locked it."""
        if self._file is None:
            try:
                self._file = _open(self._path)
            except sqlite3.OperationalError:
                return None
        return self._file

    @property
    def has_rows(self) -> bool:
        return bool(self._rows)

    def append(self, writes: list[Write]) -> bool:
        """Make the rows of writes durable; return False where that is impossible."""
        if sum(len(rows.values) for rows in self._rows) >= MOST:
            return False
        try:
            if (file := self._opened()) is None:
                return False
            rows = []
            for group in group_alike(writes):
                bound = bind_rows(group[0].statement, [write.row or {} for write in group])
                if bound is None:
                    raise ValueError("the driver cannot run the statement")
                rows.append(_Rows(*bound))
            file.execute("INSERT INTO spooled (rows) VALUES (?)", (msgspec.msgpack.encode(rows),))
        except Exception as error:  # such as a full disk, or a bad row: the rows wait for the database
            logger().error("spool.failed", rows=len(writes), error_at=where(error))
            return False
        self._rows += rows
        return True

    def flush(self, tx: Tx) -> bool:
        """Insert all rows into their tables; return whether that wrote any."""
        if not self._rows:
            return False
        try:
            with savepoint(tx):
                for rows in self._rows:
                    _insert(tx, rows)
        except sqlite3.Error as error:  # the rows stay buffered, and are tried again
            logger().error("spool.failed", rows=len(self._rows), error_at=where(error))
            return False
        return True

    def truncate(self) -> None:
        """Delete all rows from the buffer, as they are in their tables."""
        self._rows = []
        if self._file:
            try:
                self._file.execute("DELETE FROM spooled")
            except sqlite3.Error as error:  # such as a full disk; the next truncation deletes them
                logger().error("spool.failed", error_at=where(error))

    def close(self) -> None:
        if self._file:
            self._file.close()


def _open(path: Path) -> sqlite3.Connection:
    file = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        for pragma in _BUFFER_PRAGMAS:
            file.execute(f"PRAGMA {pragma}")
        file.execute(_TABLE)
    except BaseException:
        file.close()
        raise
    return file


def _insert(tx: Tx, rows: _Rows) -> None:
    """Insert rows together, or one by one without those that lost their parent row meanwhile."""
    try:
        with savepoint(tx):
            run_many(tx, rows.sql, rows.values)
    except sqlite3.IntegrityError:
        for values in rows.values:
            try:
                with savepoint(tx):
                    run_many(tx, rows.sql, [values])
            except sqlite3.IntegrityError as error:
                logger().warning("spool.row_refused", error_at=where(error))


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

_CONTENTION_ENDING: Final = "-awaited"
"""Suffix of the lock file through which processes signal contention."""


class ProcessContention:
    """Contention signal between processes that write to the same file.

    A waiting process shares the lock of a file; another process that gets it exclusively knows that none
    waits. Without such locks (Windows) a request waits for a whole batch of another process.

    Args:
        database: file that all write to.
    """

    def __init__(self, database: str) -> None:
        self._file = os.open(database + _CONTENTION_ENDING, os.O_RDWR | os.O_CREAT, 0o600)
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
"""A busy writer would starve other processes, so it rests after some commits for longer than they poll."""

_AGAIN_S: Final = 0.5
"""Pause before another try to flush the buffer."""

_WATCH_S: Final = 0.02
"""Interval of checks for commits of other processes, each of some microseconds."""

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
        engine = create_engine(
            url, poolclass=QueuePool, pool_size=4, max_overflow=12, hide_parameters=True,
            query_cache_size=STATEMENTS_KEPT,
        )  # fmt: skip
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", begin)
        event.listen(engine, "checkout", self._renew)
        super().__init__(engine, clock, vault, ports)
        self._queue = WriteQueue()
        self._rows = InsertBatcher(self._enqueue)
        self._buffer = WriteBuffer(str(engine.url.database))
        self._contention = ProcessContention(str(engine.url.database))
        self._closed = False
        self._analyzed = 0
        with engine.connect() as connection:  # a new file becomes WAL here, before any other connection
            has_grown = connection.exec_driver_sql("PRAGMA page_count").scalar_one() > _GROWN_PAGES
            connection.rollback()
            if has_grown:
                _analyze(connection)
        self._writer = threading.Thread(target=self._write_groups, name="sqlite-writer", daemon=True)
        self._writer.start()

    async def read[T](self, work: Work[T]) -> T:
        return self.read_now(work)

    def read_now[T](self, work: Work[T]) -> T:
        with self.engine.connect() as connection:
            return work(Tx(connection, self.clock.now(), self.vault, self.ports, is_reading=True))

    async def write[T](self, work: Work[T], *, in_background: bool = False) -> T:
        waiting: Waiting[T] = Waiting(asyncio.get_running_loop())
        self._enqueue(Write(waiting, acting_for(), work=work, in_background=in_background))
        async with slot_released():
            return await waiting.future  # type: ignore[misc, no-any-return]  # a loop's future, as there is a loop

    def write_now[T](self, work: Work[T], *, in_background: bool = False) -> T:
        waiting: Waiting[T] = Waiting(None)
        self._enqueue(Write(waiting, acting_for(), work=work, in_background=in_background))
        return waiting.future.result()

    async def append(self, statement: Any, row: Row | MadeLater) -> None:
        await self._rows.put(statement, row)

    def _enqueue(self, write: Write | list[Write]) -> None:
        if self._closed:
            raise RuntimeError("the database is closed")
        self._queue.put(write)

    async def watch(self) -> None:
        connection = self.engine.raw_connection()
        try:
            last = _data_version(connection)
            while True:
                await asyncio.sleep(_WATCH_S)
                if (version := _data_version(connection)) != last:
                    last = version
                    self._committed()
        finally:
            connection.close()

    def close(self) -> None:
        self._closed = True
        self._queue.close()
        self._writer.join()
        super().close()
        self.engine.dispose()

    def _write_groups(self) -> None:
        writer = self.engine.connect().execution_options(writes=True, meanwhile=self._buffer_appends)
        with writer as connection, closing(self._buffer), closing(self._contention):
            note_changes(connection)
            analyzed, analyzes_after, busy_s = 0, ANALYZES_AFTER, 0.0
            while self._queue.wait(_AGAIN_S if self._buffer.has_rows else None):
                started = time.perf_counter()
                self._commit_group(connection)
                busy_s += time.perf_counter() - started
                if busy_s > _BUSY_S:
                    time.sleep(_REST_S)
                    busy_s = 0.0
                if _count_changes(connection) - analyzed > analyzes_after:
                    analyzes_after = min(2 * analyzes_after, _MOST_CHANGES)
                    self._analyzed += _analyze(connection)
                    analyzed = _count_changes(connection)

    def _buffer_appends(self) -> None:
        """Buffer hot-path rows while another process has locked the file."""
        if self._queue.is_awaited():
            self._contention.ask()
        if (rows := self._queue.take_appends()) and self._buffer.append(rows):
            settle(rows)
        else:
            self._queue.give_back(rows)
            look_again()

    def _renew(self, _connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        """Replace connections that opened before the last update of statistics, which they read only then."""
        if record.info.setdefault("analyzed", self._analyzed) != self._analyzed:
            raise DisconnectionError

    def _commit_group(self, connection: Connection) -> None:
        content: CommitContent | None = None
        changed: Tables = ()
        is_flushed = False
        try:
            with connection.begin():
                self._contention.rest()
                group, works = content = self._queue.next_commit()
                before = _count_changes(connection)
                take_changes(connection)
                tell_who_waits(connection, lambda: self._queue.is_awaited() or self._contention.ask_us())
                tx = Tx(connection, self.clock.now(), self.vault, self.ports)
                is_flushed = self._buffer.flush(tx)
                append_all(tx, group)
                for write in works:
                    group.append(write)
                    attempt(tx, write)
                if _count_changes(connection) != before:
                    changed = take_changes(connection)
            if is_flushed:
                self._buffer.truncate()
        except Exception as error:  # the commit itself failed, for every caller
            self._contention.rest()
            connection.invalidate()  # it may still be in the failed transaction
            group, works = content or self._queue.next_commit()
            group += works
            for write in group:
                write.error = write.error or error
        if changed != ():  # before callers go on, so that their next read is current
            self._committed(changed)
        settle(group)


def _analyze(connection: Connection) -> bool:
    """Update the statistics, and return whether they changed."""
    with suppress(DBAPIError), connection.begin():
        before = _list_figures(connection)
        connection.exec_driver_sql(_ANALYZE)
        return _list_figures(connection) != before
    return False


def _list_figures(connection: Connection) -> list[Any]:
    if not connection.exec_driver_sql(_HAS_FIGURES).scalar_one():
        return []
    return list(connection.exec_driver_sql("SELECT tbl, idx, stat FROM sqlite_stat1").all())


def _data_version(connection: Any) -> int:
    """Return a number that changes with each commit of another connection."""
    version: int = connection.driver_connection.execute("PRAGMA data_version").fetchone()[0]
    return version


def _count_changes(connection: Connection) -> int:
    """Return the number of rows changed through this connection."""
    changes: int = connection.connection.dbapi_connection.total_changes  # type: ignore[union-attr]
    return changes


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver's own BEGIN breaks savepoints
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    connection.create_function(BYTES_OF, 1, bytes.fromhex, deterministic=True)
