"""What is in the database, table by table, so that a test can say that a refusal changed no row."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import inspect, text

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.timestamps import micros
from contatto.worker import Worker

NOTED: Final = frozenset({"last_used_at"})
"""Columns that a refused request may change: that a token came is noted, whatever it asked for."""

COUNTED_AHEAD: Final = frozenset({"changed_days", "report_counts", "report_progress", "rate_limits"})
"""Tables that the clock brings up to date, whatever was asked; and the counts of tries, refused ones too."""

WAITS: Final = (
    "SELECT 1 FROM receipts WHERE state = 'received'",
    "SELECT 1 FROM events WHERE NOT fanned_out",
    "SELECT 1 FROM outbox_jobs WHERE state = 'due' AND attempts < 2",
    "SELECT 1 FROM report_tasks WHERE status IN ('QUEUING', 'PROCESSING')",
    "SELECT 1 FROM lead_jobs WHERE state <> 'done'",
    "SELECT 1 FROM outbound_requests WHERE state = 'due' AND attempts < 2 "
    "AND (due_at <= :now OR claim IS NOT NULL)",
)
"""Work that the background has taken on and not finished; what failed and waits for its next try is none."""


def all_rows(db: Database) -> dict[str, list[str]]:
    """Every row of every table, as text."""
    return db.read_now(lambda tx: {name: list(map(repr, rows)) for name, rows in _tables(tx)})


def _tables(tx: Tx) -> Iterator[tuple[str, list[list[object]]]]:
    """What the driver itself gives: SQLAlchemy would take most of the time of tests that look often."""
    cursor = tx.connection.connection.cursor()
    for name in set(inspect(tx.connection).get_table_names()) - COUNTED_AHEAD:
        cursor.execute(f"SELECT * FROM {name}")  # noqa: S608 - our own names
        told = [number for number, column in enumerate(cursor.description) if column[0] not in NOTED]
        yield name, [[_plain(row[number]) for number in told] for row in cursor.fetchall()]


def _plain(cell: object) -> object:
    return bytes(cell) if isinstance(cell, memoryview) else cell


def table_hashes(db: Database) -> dict[str, str]:
    """A hash of all rows of each table."""
    return {
        name: hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()
        for name, rows in all_rows(db).items()
    }


def wait_until_quiet(db: Database, seconds: float = 60.0) -> None:
    """Wait until the background, if there is one, has done all that earlier requests gave it."""
    if not any(isinstance(getattr(heard, "__self__", None), Worker) for heard in db._listeners):
        return
    end = time.monotonic() + seconds
    while db.read_now(_has_work) and time.monotonic() < end:
        time.sleep(0.01)


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
    wait_until_quiet(db)
    before = table_hashes(db)
    yield
    wait_until_quiet(db)
    after = table_hashes(db)
    changed = {name for name in before if before[name] != after[name]} - set(but)
    assert not changed, f"rows of {sorted(changed)} changed"
