"""A part of a transaction that is kept or undone by itself."""

from collections.abc import Iterator
from contextlib import contextmanager

from contatto.kit.db.held import held_of
from contatto.kit.db.hot import driver_of
from contatto.kit.db.tx import Tx


@contextmanager
def savepoint(tx: Tx) -> Iterator[None]:
    """Undo what is done within, if it raises; what was done before stays.

    On SQLite the driver is told itself: SQLAlchemy's own savepoints take as long as a small write.
    """
    if tx.locks_rows:
        with tx.connection.begin_nested():
            yield
        return
    held = held_of(tx.connection)
    before = len(held or ())
    run = driver_of(tx).execute
    run("SAVEPOINT part")
    try:
        yield
    except BaseException:
        run("ROLLBACK TO part")
        run("RELEASE part")
        if held:
            del held[before:]
        raise
    run("RELEASE part")
