"""Long work by the clock, on files: beside all other work, and by one process at a time."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx

type Record = Callable[[Tx], object]
type Job = Callable[[Tx], Record | None]
"""Reads in the transaction it is given, works on files, and returns what is then to be written down."""

_LOCK: Final = "in-use.lock"


@dataclass(frozen=True, slots=True)
class MaintenanceJob:
    """Jobs of one folder, each done in full before the next.

    ``number`` is held in the database, for machines that share it and whose folders do not know locks.
    """

    folder: Path
    number: int
    list_jobs: Callable[[Tx], list[Job]]


def run_maintenance_job(
    db: Database, kind: MaintenanceJob, should_continue: Callable[[], bool] = lambda: True
) -> int | None:
    """Do all that is due; say how many jobs that were, or None when somebody else is at it.

    Whoever dies holds nothing any more. A job that dies half-way is found again by the next run.
    """
    with folder_lock(kind.folder) as is_mine:
        if not is_mine:
            return None
        done = 0
        for job in db.read_now(kind.list_jobs):
            if not should_continue():
                break
            db.read_now(partial(_do, db, kind, job))
            done += 1
        return done


def _do(db: Database, kind: MaintenanceJob, job: Job, tx: Tx) -> None:
    tx.advisory_lock(kind.number)
    record = job(tx)
    if record is not None:
        db.write_now(record, in_background=True)


@contextmanager
def folder_lock(folder: Path) -> Iterator[bool]:
    """Hold a folder as long as this lasts; False when another does. A dead process holds nothing.

    The lock is that of an empty SQLite file, which every operating system knows how to keep.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / _LOCK, timeout=0, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            yield False
        else:
            yield True
