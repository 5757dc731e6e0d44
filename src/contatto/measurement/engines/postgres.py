"""PostgreSQL as the engine: the stamped events go into temporary tables there, and the results come back."""

from typing import Any, Final

import psycopg
from psycopg import sql

from contatto.measurement.engines.staging import EngineFailed, Staged
from contatto.measurement.engines.statements import sql_of, winners_sql
from contatto.measurement.model import Policy

_TABLES: Final = {
    "touches": "touch_id bigint, business_id text, user_id text, adgroup_id text, click bigint, ts bigint,"
    " expires_ts bigint, day date, cost_micros bigint",
    "conversions": "conversion_id bigint, business_id text, user_id text, lead bigint, ts bigint, day date",
}
_AT_ONCE: Final = 10_000


def fill_results(staged: Staged, policy: Policy, connection: str) -> None:
    """Compute in one transaction that leaves nothing behind.

    Raises:
        EngineFailed: no address, or the server refused something.
    """
    if not connection:
        raise EngineFailed("PostgreSQL needs an address: --connection postgresql://user:pass@host/database")
    try:
        with psycopg.connect(connection.replace("+psycopg", "", 1)) as server:
            for table, columns in _TABLES.items():
                _copy_table(server, staged, table, columns)
            _execute(server, f"CREATE TEMP TABLE winners ON COMMIT DROP AS {winners_sql('postgres', policy)}")
            _execute(server, "ANALYZE winners")
            for name in staged.results:
                with server.cursor(f"read_{name}") as cursor:
                    cursor.execute(_own(sql_of("postgres", name)))
                    names = [column.name for column in cursor.description or ()]
                    staged.keep(name, (dict(zip(names, row, strict=True)) for row in cursor))
    except psycopg.Error as error:
        raise EngineFailed(f"PostgreSQL: {error}") from error


def _copy_table(server: psycopg.Connection[Any], staged: Staged, table: str, columns: str) -> None:
    _execute(server, f"CREATE TEMP TABLE {table} ({columns}) ON COMMIT DROP")
    rows = staged.db.execute(f"SELECT * FROM {table}")
    with server.cursor() as cursor, cursor.copy(_own(f"COPY {table} FROM STDIN")) as copy:
        while some := rows.fetchmany(_AT_ONCE):
            for row in some:
                copy.write_row(row)
    _execute(server, f"ANALYZE {table}")


def _execute(server: psycopg.Connection[Any], statement: str) -> None:
    server.execute(_own(statement))


def _own(statement: str) -> sql.SQL:
    """A text of ours, with no value from outside in it."""
    return sql.SQL(statement)
