"""The quickest way to put many rows into a database: straight through SQLite, or by COPY into PostgreSQL."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

type Row = tuple[object, ...]


class Loader(Protocol):
    """Takes rows of a table, each with a value for every column that is named."""

    def load(self, table: str, names: str, rows: Iterable[Row]) -> None: ...


class SqliteLoader:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def load(self, table: str, names: str, rows: Iterable[Row]) -> None:
        marks = ", ".join("?" * (names.count(",") + 1))
        self._connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)


class PostgresLoader:
    """COPY knows no row-level security, so the owner of the tables steps aside from it while rows come in."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def load(self, table: str, names: str, rows: Iterable[Row]) -> None:
        name = sql.Identifier(table)
        columns = sql.SQL(", ").join(sql.Identifier(each.strip()) for each in names.split(","))
        rule = sql.SQL("ALTER TABLE {} {} FORCE ROW LEVEL SECURITY")
        with self._connection.cursor() as cursor:
            cursor.execute(rule.format(name, sql.SQL("NO")))
            with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(name, columns)) as copy:
                for row in rows:
                    copy.write_row(row)
            cursor.execute(rule.format(name, sql.SQL("")))


@contextmanager
def loading(url: str) -> Iterator[Loader]:
    """Yield a loader for the database at a SQLAlchemy URL; all that it loads is kept, or nothing."""
    where = make_url(url)
    if where.get_backend_name() == "sqlite":
        connection = sqlite3.connect(str(where.database), isolation_level=None)
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("BEGIN")
        yield SqliteLoader(connection)
        connection.execute("COMMIT")
        connection.close()
        return
    plain = where.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as opened:
        yield PostgresLoader(opened)


def gather_figures(url: str) -> None:
    """Let the database find out what its tables hold, as it does by itself in a long life."""
    where = make_url(url)
    if where.get_backend_name() == "sqlite":
        connection = sqlite3.connect(str(where.database))
        connection.execute("ANALYZE")
        connection.commit()
        connection.close()
        return
    plain = where.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as opened:
        opened.execute("VACUUM ANALYZE")
