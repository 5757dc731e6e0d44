"""How a transaction of SQLite begins, where other processes may be writing to the file."""

import sqlite3
import time
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

_WAIT_S: Final = 10.0
"""How long a writer waits for another process that holds the file."""
_LOOK_S: Final = 0.001
"""How often it asks meanwhile: SQLite's own waiting sleeps up to 100 ms between two tries."""


def begin(connection: Connection) -> None:
    """Begin a transaction; one that writes has the file at once, or waits for it.

    Whoever writes says so by the option ``writes``, and may have something to do ``meanwhile``.

    Raises:
        OperationalError: another process had the file for too long.
    """
    driver: Any = connection.connection.driver_connection  # to ask it itself is a tenth of the way
    options = connection.get_execution_options()
    if not options.get("writes", False):
        driver.execute("BEGIN")
        return
    meanwhile = options.get("meanwhile", look_again)
    driver.execute("PRAGMA busy_timeout=0")
    end = time.monotonic() + _WAIT_S
    while True:
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > end:
                raise OperationalError("BEGIN IMMEDIATE", None, error) from error
            meanwhile()
        else:
            return


def look_again() -> None:
    """Wait until it is time to ask for the file once more."""
    time.sleep(_LOOK_S)


def _is_busy(error: sqlite3.OperationalError) -> bool:
    """Return whether another process holds the file; extended codes carry the plain one in their low byte."""
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
