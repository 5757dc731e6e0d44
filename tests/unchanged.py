"""What is in the database, table by table, so that a test can say that a refusal changed no row."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import inspect, text

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx


def all_rows(db: Database) -> dict[str, list[str]]:
    """Every row of every table, as text."""

    def look(tx: Tx) -> dict[str, list[str]]:
        found = {}
        for name in inspect(tx.connection).get_table_names():
            rows = tx.execute(text(f"SELECT * FROM {name}")).all()  # noqa: S608 - our own names
            found[name] = [repr([bytes(c) if isinstance(c, memoryview) else c for c in row]) for row in rows]
        return found

    return db.read_now(look)


def table_hashes(db: Database) -> dict[str, str]:
    """A hash of all rows of each table."""
    return {
        name: hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()
        for name, rows in all_rows(db).items()
    }


@contextmanager
def nothing_changes(db: Database, *but: str) -> Iterator[None]:
    """Fail if a row of any table is another one afterwards, those of the tables ``but`` apart."""
    before = table_hashes(db)
    yield
    after = table_hashes(db)
    changed = {name for name in before if before[name] != after[name]} - set(but)
    assert changed == set()
