"""What is in the database, table by table, so that a test can say that a refusal changed no row."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import metadata


def table_hashes(db: Database) -> dict[str, str]:
    """A hash of all rows of each table."""

    def look(tx: Tx) -> dict[str, str]:
        found = {}
        for table in metadata.sorted_tables:
            rows = tx.execute(text(f"SELECT * FROM {table.name}")).all()  # noqa: S608 - our own names
            cells = sorted(repr([bytes(c) if isinstance(c, memoryview) else c for c in row]) for row in rows)
            found[table.name] = hashlib.sha256("\n".join(cells).encode()).hexdigest()
        return found

    return db.read_now(look)


@contextmanager
def nothing_changes(db: Database, *but: str) -> Iterator[None]:
    """Fail if a row of any table is another one afterwards, those of the tables ``but`` apart."""
    before = table_hashes(db)
    yield
    after = table_hashes(db)
    changed = {name for name in before if before[name] != after[name]} - set(but)
    assert changed == set()
