"""SQLite as the embedded default: WAL and one writer thread."""

import asyncio
import sqlite3
import threading
import time
from contextlib import suppress
from typing import Any, Final

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
    settle,
)
from contatto.kit.db.tx import BYTES_OF, Clock, MadeLater, Parts, Row, Tx, tell_who_waits
from contatto.kit.vault import Vault

_WAIT_S: Final = 10.0
"""Greatest wait for another process that has locked the file."""
_LOOK_S: Final = 0.001
"""Pause between two tries; SQLite's own busy handler sleeps up to 100 ms."""


def begin(connection: Connection) -> None:
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
        """Return at once: only commands write beside the server."""

    def close(self) -> None:
        self._closed = True
        self._queue.close()
        self._writer.join()
        super().close()
        self.engine.dispose()

    def _write_groups(self) -> None:
        with self.engine.connect().execution_options(writes=True) as connection:
            note_changes(connection)
            tell_who_waits(connection, self._queue.is_awaited)
            analyzed, analyzes_after, busy_s = 0, ANALYZES_AFTER, 0.0
            while self._queue.wait():
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

    def _renew(self, _connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        """Replace connections that opened before the last update of statistics, which they read only then."""
        if record.info.setdefault("analyzed", self._analyzed) != self._analyzed:
            raise DisconnectionError

    def _commit_group(self, connection: Connection) -> None:
        content: CommitContent | None = None
        changed: Tables = ()
        try:
            with connection.begin():
                group, works = content = self._queue.next_commit()
                before = _count_changes(connection)
                take_changes(connection)
                tx = Tx(connection, self.clock.now(), self.vault, self.ports)
                append_all(tx, group)
                for write in works:
                    group.append(write)
                    attempt(tx, write)
                if _count_changes(connection) != before:
                    changed = take_changes(connection)
        except Exception as error:  # the commit itself failed, for every caller
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


def _count_changes(connection: Connection) -> int:
    """Return the number of rows changed through this connection."""
    changes: int = connection.connection.dbapi_connection.total_changes  # type: ignore[union-attr]
    return changes


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver's own BEGIN breaks savepoints
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    connection.create_function(BYTES_OF, 1, bytes.fromhex, deterministic=True)
