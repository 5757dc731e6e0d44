"""What tables of PostgreSQL hold, found out anew soon after they grew.

The server looks by itself once a minute at the earliest. Until then a table that was empty counts as small,
and a statement that is made ready goes on as it was planned then: through all rows, for each batch again.
Source: https://www.postgresql.org/docs/current/routine-vacuuming.html#VACUUM-FOR-STATISTICS
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from contatto.kit.log import logger, where

LOOKS_AFTER_S: Final = 2.0
"""How long it waits between two looks, and before the first."""
GROWN_ROWS: Final = 1_000
"""Changed rows that matter; of a table that has more, as many as it has."""

_GROWN: Final = text(
    "SELECT quote_ident(relname) FROM pg_class"
    " WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
    " AND pg_has_role(relowner, 'USAGE')"
    " AND pg_stat_get_mod_since_analyze(oid) > greatest(:rows, reltuples)"
)


def learn_grown(connection: Connection) -> list[str]:
    """Find out what those tables hold that doubled since that was known; say which these are.

    Args:
        connection: one that commits each statement by itself.
    """
    grown = list(connection.execute(_GROWN, {"rows": GROWN_ROWS}).scalars())
    for table in grown:
        connection.exec_driver_sql(f"ANALYZE (SKIP_LOCKED) {table}")
    return grown


class Learner:
    """Looks for tables that grew, beside the work, now and then while something is written.

    Args:
        run: runs in a thread.
    """

    def __init__(self, engine: Engine, run: Callable[[Callable[[], None]], object]) -> None:
        self._engine = engine
        self._run = run
        self._lock = threading.Lock()
        self._looks_at = time.monotonic() + LOOKS_AFTER_S

    def wrote(self) -> None:
        """Something was written; it may be time to look."""
        if time.monotonic() < self._looks_at:
            return
        with self._lock:
            if time.monotonic() < self._looks_at:
                return
            self._looks_at = float("inf")  # until this one has ended
        try:
            self._run(self._look)
        except RuntimeError:  # the threads have ended
            return

    def _look(self) -> None:
        try:
            with self._engine.connect() as connection:
                learn_grown(connection.execution_options(isolation_level="AUTOCOMMIT"))
        except DBAPIError as error:  # it only makes things quicker
            logger().warning("database.not_learnt", error_at=where(error))
        finally:
            self._looks_at = time.monotonic() + LOOKS_AFTER_S
