"""Whether others wait for the transaction that is open, so that long work in it can give way."""

import os
import sys
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection

from contatto.kit.db.tx import Tx

if sys.platform == "win32":
    _SHARED, _ALONE, _FREE = 0, 0, 0

    def _flock(file: int, kind: int) -> None: ...

else:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN
    from fcntl import flock as _flock

    _SHARED, _ALONE, _FREE = LOCK_SH, LOCK_EX | LOCK_NB, LOCK_UN

_IS_AWAITED: Final = "is_awaited"
ENDING: Final = "-awaited"
"""What the name of the file ends with by whose lock processes know of each other."""


def tell_who_waits(connection: Connection, is_awaited: Callable[[], bool]) -> None:
    """Let what works through a connection ask whether somebody waits for it."""
    connection.info[_IS_AWAITED] = is_awaited


def is_awaited(tx: Tx) -> bool:
    """Whether a request waits until this transaction ends; never on PostgreSQL, where others write meanwhile.

    What is kept by ``Database.append`` is no such request: nobody looks at a page until it is answered.
    """
    asked: Callable[[], bool] | None = tx.connection.info.get(_IS_AWAITED)
    return asked is not None and asked()


class Neighbours:
    """Other processes that write to the same file: they are told that a request waits here, and tell it.

    Who waits shares the lock of a file, so whoever gets it alone knows that nobody does. Where there are no
    such locks (Windows) nobody is ever told: a request then waits for a whole batch of another process.

    Args:
        database: the file that all write to.
    """

    def __init__(self, database: str) -> None:
        self._file = os.open(database + ENDING, os.O_RDWR | os.O_CREAT, 0o600)
        self._is_asking = False

    def ask(self) -> None:
        """Tell that a request waits here, until `rest` is called."""
        if not self._is_asking:
            self._is_asking = True
            _flock(self._file, _SHARED)

    def rest(self) -> None:
        """Tell that none waits any more."""
        if self._is_asking:
            self._is_asking = False
            _flock(self._file, _FREE)

    def ask_us(self) -> bool:
        """Return whether a request waits in another process, while none is told of here."""
        try:
            _flock(self._file, _ALONE)
        except BlockingIOError:
            return True
        _flock(self._file, _FREE)
        return False

    def close(self) -> None:
        os.close(self._file)
