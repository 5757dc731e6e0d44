"""What is in the database, table by table, so that a test can say that a refusal changed no row."""

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from typing import Any, Final

import psycopg
from sqlalchemy import inspect, text

from contatto.kit.db.database import CommitSignal, Database
from contatto.kit.db.tx import Tx
from contatto.kit.outbound.queue import jobs
from contatto.kit.values import micros

NOTED: Final = frozenset({"last_used_at"})
"""Columns that a refused request may change: that a token came is noted, whatever it asked for."""

COUNTED_AHEAD: Final = frozenset({"changed_days", "report_counts", "report_progress", "rate_limits"})
"""Tables that the clock brings up to date, whatever was asked; and the counts of tries, refused ones too."""

WAITS: Final = (
    "SELECT 1 FROM receipts WHERE state = 'received'",
    "SELECT 1 FROM events WHERE NOT fanned_out",
    "SELECT 1 FROM export_jobs WHERE state IN ('queued', 'running')",
    "SELECT 1 FROM lead_jobs WHERE state <> 'done'",
    "SELECT 1 FROM jobs WHERE state = 'due' AND attempts < 2 "
    "AND (due_at <= :now OR claim IS NOT NULL OR event_seq IS NOT NULL)",
)
"""Work that the background has taken on and not finished; what failed and waits for its next try is none."""


type Rows = dict[str, list[str]]
"""Rows as text, by table."""


def all_rows(db: Database) -> Rows:
    """Every row of every table, as text."""

    def read(tx: Tx) -> Rows:
        return _rows(tx.connection.connection.cursor(), inspect(tx.connection).get_table_names())

    return db.read_now(read)


def _rows(cursor: Any, tables: list[str]) -> Rows:
    """What the driver itself gives: SQLAlchemy would take most of the time of tests that look often."""
    return {name: texts_of(cursor, f"SELECT * FROM {name}") for name in set(tables) - COUNTED_AHEAD}  # noqa: S608 - our own names


def texts_of(cursor: Any, query: str) -> list[str]:
    """The rows that a query gives, as text, without the columns that are only noted."""
    cursor.execute(query)
    names = [column[0] for column in cursor.description]
    if NOTED.isdisjoint(names):
        return [_text_of(row) for row in cursor.fetchall()]
    told = [number for number, name in enumerate(names) if name not in NOTED]
    return [_text_of(tuple(row[number] for number in told)) for row in cursor.fetchall()]


@lru_cache(20_000)
def _text_of(row: tuple[object, ...]) -> str:
    """Remembered: a model of delivery has half a million bytes, and from look to look hardly a row is new."""
    return repr(row)


def _hashes(rows: Rows) -> dict[str, str]:
    """A hash of all rows of each table."""
    return {
        name: hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest() for name, found in rows.items()
    }


@contextmanager
def watched(db: Database) -> Iterator[Callable[[], object]]:
    """What tells whether anybody has committed a change: it gives the same as long as nobody has.

    To read all rows takes a thousand times as long, and most requests that are refused write nothing.
    Sources: https://www.sqlite.org/pragma.html#pragma_data_version and
    https://www.postgresql.org/docs/current/functions-info.html (pg_current_snapshot).
    """
    if db.engine.dialect.name == "sqlite":
        with closing(_sqlite(db)) as own:
            yield lambda: own.execute("PRAGMA data_version").fetchone()
    else:
        url = db.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as connection:
            yield lambda: connection.execute("SELECT pg_current_snapshot()::text").fetchone()


def _sqlite(db: Database) -> sqlite3.Connection:
    return sqlite3.connect(str(db.engine.url.database), isolation_level=None)


@contextmanager
def _as_it_was(db: Database) -> Iterator[Callable[[], Rows]]:
    """All rows as they are now, to be read later and only if that is needed."""
    if db.engine.dialect.name != "sqlite":
        rows = all_rows(db)
        yield lambda: rows
        return
    with closing(_sqlite(db)) as then:
        then.execute("BEGIN")
        tables = [name for (name,) in then.execute(_SQLITE_TABLES)]  # from here on it sees this moment alone
        yield lambda: _rows(then.cursor(), tables)


_SQLITE_TABLES: Final = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'"
)


def wait_until_quiet(db: Database, seconds: float = 60.0) -> None:
    """Wait until the background has done all that earlier requests gave it.

    Raises:
        AssertionError: no worker works on this database, so that there would be nothing to wait for.
    """
    assert has_worker(db), "no worker listens to this database"
    end = time.monotonic() + seconds
    while db.read_now(_has_work) and time.monotonic() < end:
        time.sleep(0.01)


@contextmanager
def _nothing_is_learned(db: Database) -> Iterator[None]:
    """Delivery learns beside any request, and whoever has the lease of a log keeps that: now it is nobody.

    A learner that is at work has lost the lease when it comes to keep what it learned.
    """
    if not has_worker(db):
        yield
        return
    _lease_to(db, "nobody", _FAR)
    try:
        yield
    finally:
        _lease_to(db, "", 0)


def _lease_to(db: Database, learner: str, until: int) -> None:
    taken = text("UPDATE delivery_streams SET lease_by = :learner, lease_until = :until")
    db.write_now(lambda tx: tx.execute(taken, {"learner": learner, "until": until}))


_FAR: Final = 2**62


def _settle(db: Database) -> None:
    """Many databases of tests have no background that could change them."""
    if has_worker(db):
        wait_until_quiet(db)


def has_worker(db: Database) -> bool:
    """Whether a worker of this process listens to what is committed."""
    return any(
        isinstance(getattr(listener, "__self__", None), CommitSignal) and tables == {jobs.name}
        for listener, tables in db._listeners
    )


def _has_work(tx: Tx) -> bool:
    now = {"now": micros(tx.now)}
    return any(
        tx.execute(text(f"{waits} LIMIT 1"), now if ":now" in waits else {}).first() for waits in WAITS
    )


@contextmanager
def nothing_changes(db: Database, *but: str) -> Iterator[None]:
    """Fail if a row of any table is another one afterwards, those of the tables ``but`` apart.

    What earlier requests of the same test module left to the background is done first.
    """
    _settle(db)
    with _nothing_is_learned(db), watched(db) as version, _as_it_was(db) as before:
        of_start = version()
        yield
        _settle(db)
        if version() == of_start:
            return
        was, after = _hashes(before()), _hashes(all_rows(db))
    changed = {name for name in was if was[name] != after[name]} - set(but)
    assert not changed, f"rows of {sorted(changed)} changed"
