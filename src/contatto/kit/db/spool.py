"""Rows that are durable before they are in their tables, while another process writes to SQLite's file.

SQLite lets one process write at a time, and a worker's batch holds the file for a tenth of a second. What
comes from outside meanwhile is answered as soon as it is safe, so it goes into a file that nobody else has.
"""

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from contatto.kit.db.hot import bind_rows, run_many
from contatto.kit.db.tx import Tx
from contatto.kit.db.writer import Write, group_alike, savepoint
from contatto.kit.log import logger, where

ENDING: Final = "-spool"
"""What the name of the file ends with, behind that of the database."""
MOST: Final = 20_000
"""So many rows are kept apart; more would hold the database for over a second when they are poured."""
_PRAGMAS: Final = ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL")
_TABLE: Final = "CREATE TABLE IF NOT EXISTS spooled (id INTEGER PRIMARY KEY, rows BLOB NOT NULL)"


class _Rows(msgspec.Struct, array_like=True):
    """Rows of one statement, with the values that the driver takes."""

    sql: str
    values: list[Sequence[Any]]


_kept: Final = msgspec.msgpack.Decoder(list[_Rows])


class Spool:
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
        for pragma in _PRAGMAS:
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
