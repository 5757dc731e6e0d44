"""A part of a transaction that is kept or undone by itself, and with it what is held back in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection

from contatto.kit.db.hot import driver_of
from contatto.kit.db.tx import Tx

_HELD: Final = "held_back"


@contextmanager
def holding(connection: Connection) -> Iterator[list[Any]]:
    """Hold back what is appended to `held_of` within; who holds it sees to all that is in the list."""
    held: list[Any] = []
    connection.info[_HELD] = held
    try:
        yield held
    finally:
        del connection.info[_HELD]


def held_of(connection: Connection) -> list[Any] | None:
    """What is held back; None where nothing is."""
    held: list[Any] | None = connection.info.get(_HELD)
    return held


@contextmanager
def savepoint(tx: Tx) -> Iterator[None]:
    """Undo what is done within, if it raises; what was done before stays."""
    held = held_of(tx.connection)
    before = len(held or ())
    try:
        with _part(tx):
            yield
    except BaseException:
        if held:
            del held[before:]
        raise


@contextmanager
def _part(tx: Tx) -> Iterator[None]:
    """On SQLite the driver is told itself: SQLAlchemy's own savepoints take as long as a small write."""
    if tx.locks_rows:
        with tx.connection.begin_nested():
            yield
        return
    run = driver_of(tx).execute
    run("SAVEPOINT part")
    try:
        yield
    except BaseException:
        run("ROLLBACK TO part")
        run("RELEASE part")
        raise
    run("RELEASE part")
