"""The processor time of a PostgreSQL server on this machine, which runs outside of the process that asks."""

import psycopg
from sqlalchemy.engine import make_url

from bench.harness import process_cpu_s

_OURS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


class ServerTime:
    """Adds up what the server's processes for one database used; always 0 for SQLite, which has no server."""

    def __init__(self, url: str) -> None:
        where = make_url(url)
        self._connection: psycopg.Connection | None = None
        if where.get_backend_name() == "postgresql":
            plain = where.set(drivername="postgresql").render_as_string(hide_password=False)
            self._connection = psycopg.connect(plain, autocommit=True)

    def used_s(self) -> float:
        """Seconds up to now, in steps of a hundredth; 0 when the server runs on another machine."""
        if self._connection is None:
            return 0.0
        try:
            return sum(process_cpu_s(row[0]) for row in self._connection.execute(_OURS).fetchall())
        except OSError:
            return 0.0

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
