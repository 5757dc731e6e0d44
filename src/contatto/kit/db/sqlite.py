"""SQLite as the embedded default: WAL, one writer thread and a write buffer."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from contatto.kit.clock import Clock
from contatto.kit.concurrency import slot_released
from contatto.kit.db.database import (
    STATEMENTS_KEPT,
    Database,
    Tables,
    Waiting,
    Work,
    acting_for,
    followed,
    note_changes,
    take_changes,
)
from contatto.kit.db.prepared import bind_rows, run_many
from contatto.kit.db.tx import MadeLater, Parts, Row, Tx
from contatto.kit.db.types import BYTES_OF
from contatto.kit.db.write_queue import (
    InsertBatcher,
    ProcessContention,
    Taken,
    Write,
    WriteQueue,
    append_all,
    attempt,
    begin,
    group_alike,
    look_again,
    savepoint,
    settle,
    tell_who_waits,
)
from contatto.kit.log import logger, where
from contatto.kit.vault import Vault

ENDING: Final = "-spool"
"""What the name of the file ends with, behind that of the database."""
MOST: Final = 20_000
"""So many rows are kept apart; more would hold the database for over a second when they are poured."""
_BUFFER_PRAGMAS: Final = ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL")
_TABLE: Final = "CREATE TABLE IF NOT EXISTS spooled (id INTEGER PRIMARY KEY, rows BLOB NOT NULL)"


class _Rows(msgspec.Struct, array_like=True):
    """Rows of one statement, with the values that the driver takes."""

    sql: str
    values: list[Sequence[Any]]


_kept: Final = msgspec.msgpack.Decoder(list[_Rows])


class WriteBuffer:
    """Rows of hot paths on their way to their tables; of one thread alone.

    They are poured into these in the order of their arrival by the next transaction of their writer. After a
    crash whoever opens the database first pours what was left: a row that the crash kept from being crossed
    out is inserted once more then, so the insert of a hot path must bear that.

    Args:
        database: the file of the database, beside which this one lies while it is needed.
    """

    def __init__(self, database: str) -> None:
        self._path = Path(database + ENDING)
        self._file: sqlite3.Connection | None = None
        self._rows: list[_Rows] = []
        if self._path.exists():
            try:
                self._read_rows()
            except (sqlite3.DatabaseError, msgspec.MsgspecError) as error:
                self._set_aside(error)

    def _read_rows(self) -> None:
        """Read the rows that a process left.

        Raises:
            sqlite3.DatabaseError: the file is no database, or is damaged.
            msgspec.MsgspecError: something else wrote into it.
        """
        if file := self._opened():
            kept = file.execute("SELECT rows FROM spooled ORDER BY id").fetchall()
            self._rows = [rows for (raw,) in kept for rows in _kept.decode(raw)]

    def _set_aside(self, error: Exception) -> None:
        """Rename a file that cannot be read, so that the start goes on and nothing is lost."""
        self.close()
        self._file = None
        aside = self._path.with_name(f"{self._path.name}-unreadable-{time.time_ns()}")
        for ending in ("", "-wal", "-shm"):
            part = Path(f"{self._path}{ending}")
            if part.exists():
                part.rename(f"{aside}{ending}")
        logger().error("spool.unreadable", set_aside_as=aside.name, error_at=where(error))

    def _opened(self) -> sqlite3.Connection | None:
        """The file, once it is ours alone; None while another process has it."""
        if self._file is None:
            try:
                self._file = _open(self._path)
            except sqlite3.OperationalError:
                return None
        return self._file

    @property
    def has_rows(self) -> bool:
        return bool(self._rows)

    def keep(self, writes: list[Write]) -> bool:
        """Make the rows of writes durable; False where that cannot be, such as where another has the file."""
        if sum(len(rows.values) for rows in self._rows) >= MOST:
            return False
        try:
            if (file := self._opened()) is None:
                return False
            rows = [_bound(alike) for alike in group_alike(writes)]
            file.execute("INSERT INTO spooled (rows) VALUES (?)", (msgspec.msgpack.encode(rows),))
        except Exception as error:  # such as a full disk, or a bad row: they wait for the database then
            logger().error("spool.failed", rows=len(writes), error_at=where(error))
            return False
        self._rows += rows
        return True

    def pour(self, tx: Tx) -> bool:
        """Put all rows into their tables; say whether any are there once the transaction is committed."""
        if not self._rows:
            return False
        try:
            with savepoint(tx):
                for rows in self._rows:
                    _insert(tx, rows)
        except sqlite3.Error as error:  # they stay, and are tried again
            logger().error("spool.failed", rows=len(self._rows), error_at=where(error))
            return False
        return True

    def clear(self) -> None:
        """Cross out all rows: they are in their tables."""
        self._rows = []
        if self._file:
            try:
                self._file.execute("DELETE FROM spooled")
            except sqlite3.Error as error:  # such as a full disk; they are crossed out with the next ones
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


def _bound(alike: list[Write]) -> _Rows:
    """The rows of one statement for the driver.

    Raises:
        ValueError: only SQLAlchemy can run it.
    """
    bound = bind_rows(alike[0].statement, [write.row or {} for write in alike])
    if bound is None:
        raise ValueError("the driver cannot run the statement")
    return _Rows(*bound)


def _insert(tx: Tx, rows: _Rows) -> None:
    """Insert rows together, or one by one, without those that what they belong to has gone of meanwhile."""
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


LEARNS_AFTER: Final = 2_000
"""Changed rows after which the database finds out anew what its tables hold; then after twice as many."""
_LEARNS_AT_LEAST_AFTER: Final = 64_000
_GROWN_PAGES: Final = 2_000
"""Pages of a file that has more in it than empty tables."""
_LEARN: Final = "PRAGMA optimize=0x10002"
"""Without it SQLite takes a tenant for as rare as a lead, and reads all rows of a tenant to find one lead's.

It looks at some hundred rows of each index, and only of tables that grew tenfold since the last time.
Source: https://www.sqlite.org/lang_analyze.html
"""

_HAS_FIGURES: Final = "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_stat1'"

_HELD_S: Final = 0.02
_REST_S: Final = 0.003
"""Whoever has just written begins again at once, so another process would hardly ever write. So after some
commits in a row the writer leaves the file alone for longer than others take to look."""

_AGAIN_S: Final = 0.5
"""How long rows stay in the spool whose tables could not be written to, before that is tried again."""

_WATCH_S: Final = 0.02
"""How often it is looked whether another process has committed: a page in memory tells, in microseconds."""

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

    Writes queue up while a commit is on its way to the disk; the next commit takes all of them. Each keeps
    its own savepoint, so one that fails takes nothing from the others.
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
        self._lanes = WriteQueue()
        self._rows = InsertBatcher(self._enqueue)
        self._spool = WriteBuffer(str(engine.url.database))
        self._neighbours = ProcessContention(str(engine.url.database))
        self._closed = False
        self._learnt = 0
        with engine.connect() as connection:  # a new file becomes WAL here, before anybody else has it open
            has_grown = connection.exec_driver_sql("PRAGMA page_count").scalar_one() > _GROWN_PAGES
            connection.rollback()
            if has_grown:
                _learn(connection)
        self._writer = threading.Thread(target=self._write_groups, name="sqlite-writer", daemon=True)
        self._writer.start()

    async def read[T](self, work: Work[T]) -> T:
        return self.read_now(work)

    def read_now[T](self, work: Work[T]) -> T:
        with self.engine.connect() as connection:
            return work(Tx(connection, self.clock.now(), self.vault, self.ports, is_reading=True))

    async def write[T](self, work: Work[T], *, in_background: bool = False) -> T:
        waiting: Waiting[T] = Waiting(asyncio.get_running_loop())
        self._enqueue(Write(waiting, acting_for(), work=followed(work), in_background=in_background))
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
        self._lanes.put(write)

    async def watch(self) -> None:
        connection = self.engine.raw_connection()
        try:
            known = _data_version(connection)
            while True:
                await asyncio.sleep(_WATCH_S)
                if (version := _data_version(connection)) != known:
                    known = version
                    self._committed()
        finally:
            connection.close()

    def close(self) -> None:
        self._closed = True
        self._lanes.close()
        self._writer.join()
        super().close()
        self.engine.dispose()

    def _write_groups(self) -> None:
        writer = self.engine.connect().execution_options(writes=True, meanwhile=self._keep_appends)
        with writer as connection, closing(self._spool), closing(self._neighbours):
            note_changes(connection)
            learnt, learns_after, held_s = 0, LEARNS_AFTER, 0.0
            while self._lanes.wait(_AGAIN_S if self._spool.has_rows else None):
                started = time.perf_counter()
                self._commit_group(connection)
                held_s += time.perf_counter() - started
                if held_s > _HELD_S:
                    time.sleep(_REST_S)
                    held_s = 0.0
                if _count_changes(connection) - learnt > learns_after:
                    learns_after = min(2 * learns_after, _LEARNS_AT_LEAST_AFTER)
                    self._learnt += _learn(connection)
                    learnt = _count_changes(connection)

    def _is_awaited(self) -> bool:
        return self._lanes.is_awaited() or self._neighbours.ask_us()

    def _keep_appends(self) -> None:
        """Make rows of hot paths durable that came while another process holds the file."""
        if self._lanes.is_awaited():
            self._neighbours.ask()
        if (rows := self._lanes.take_appends()) and self._spool.keep(rows):
            settle(rows)
        else:
            self._lanes.give_back(rows)
            look_again()

    def _renew(self, _connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        """A connection reads the figures when it opens; of an older one another takes the place."""
        if record.info.setdefault("learnt", self._learnt) != self._learnt:
            raise DisconnectionError

    def _commit_group(self, connection: Connection) -> None:
        taken: Taken | None = None
        changed: Tables = ()
        is_poured = False
        try:
            with connection.begin():
                self._neighbours.rest()
                group, works = taken = self._lanes.next_commit()
                before = _count_changes(connection)
                take_changes(connection)
                tell_who_waits(connection, self._is_awaited)
                tx = Tx(connection, self.clock.now(), self.vault, self.ports)
                is_poured = self._spool.pour(tx)
                append_all(tx, group)
                for write in works:
                    group.append(write)
                    attempt(tx, write)
                if _count_changes(connection) != before:
                    changed = take_changes(connection)
            if is_poured:
                self._spool.clear()
        except Exception as error:  # the commit itself failed: every caller must be told
            self._neighbours.rest()
            connection.invalidate()  # it may still be inside of the failed transaction; the next is fresh
            group, works = taken or self._lanes.next_commit()
            group += works
            for write in group:
                write.error = write.error or error
        if changed != ():  # before the callers hear of it: what they ask for next must not be of before
            self._committed(changed)
        settle(group)


def _learn(connection: Connection) -> bool:
    """Find out what the tables hold; say whether anything is known now that was not."""
    with suppress(DBAPIError), connection.begin():
        before = _list_figures(connection)
        connection.exec_driver_sql(_LEARN)
        return _list_figures(connection) != before
    return False


def _list_figures(connection: Connection) -> list[Any]:
    if not connection.exec_driver_sql(_HAS_FIGURES).scalar_one():
        return []
    return list(connection.exec_driver_sql("SELECT tbl, idx, stat FROM sqlite_stat1").all())


def _data_version(connection: Any) -> int:
    """A number that changes with each commit through another connection."""
    version: int = connection.driver_connection.execute("PRAGMA data_version").fetchone()[0]
    return version


def _count_changes(connection: Connection) -> int:
    """Rows that were changed through this connection so far."""
    changes: int = connection.connection.dbapi_connection.total_changes  # type: ignore[union-attr]
    return changes


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves; the driver's own habit breaks savepoints
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    connection.create_function(BYTES_OF, 1, bytes.fromhex, deterministic=True)
