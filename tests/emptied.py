"""PostgreSQL databases with every table and no row: a test's rows go after it, its database serves the next.

To make a database copies some seven hundred files, which costs a hundred times as much as to empty one.
After a test that changed more than rows, a table or a policy for example, the database goes as a whole.
"""

import itertools
import os

import psycopg
from psycopg import sql

from tests import postgres

type Admin = psycopg.Connection[tuple[object, ...]]

STEPS = "alembic_version"
"""The one table that has a row from the start: the last schema step."""
CATALOGUES = {
    "pg_class": "oid",
    "pg_attribute": "attrelid",
    "pg_attrdef": "oid",
    "pg_constraint": "oid",
    "pg_trigger": "oid",
    "pg_policy": "oid",
    "pg_proc": "oid",
    STEPS: "tableoid",
}
"""Where the schema is written down, and the number by which PostgreSQL tells ours from its own."""
FIRST_OF_OURS = 16384


class EmptiedDatabases:
    """What one process of the tests has: a test takes one and gives it back."""

    def __init__(self, admin: Admin, template: str) -> None:
        self._admin = admin
        self._template = template
        self._numbers = itertools.count(1)
        self._free: list[Emptied] = []

    def take(self) -> "Emptied":
        return self._free.pop() if self._free else self._make()

    def give_back(self, used: "Emptied") -> None:
        if used.empty():
            self._free.append(used)
        else:
            self._drop(used)

    def drop_all(self) -> None:
        while self._free:
            self._drop(self._free.pop())

    def _make(self) -> "Emptied":
        name = f"t_{os.getpid()}_emptied_{next(self._numbers)}"
        make = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY file_copy")
        names = (sql.Identifier(each) for each in (name, postgres.OWNER, self._template))
        self._admin.execute(make.format(*names))
        return Emptied(name)

    def _drop(self, used: "Emptied") -> None:
        used.close()
        self._admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(used.name)))


class Emptied:
    """One database, and the superuser's connection that empties it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._admin = postgres.admin(name)
        tables = [str(table) for (table,) in self._admin.execute(_TABLES)]
        self._tables = [table for table in tables if table != STEPS]
        self._schema = _schema()
        self._made_with = self._admin.execute(self._schema).fetchone()
        # No trigger, foreign keys among them, is asked; and the order of the tables does not matter.
        self._admin.execute("SET session_replication_role = replica")

    def empty(self) -> bool:
        """Take all rows out, and count from the start again; say no if more than rows was changed."""
        self._admin.execute(_END_OTHERS)
        if self._admin.execute(self._schema).fetchone() != self._made_with:
            return False
        filled = [str(table) for (table,) in self._admin.execute(_filled(self._tables))]
        names = [sql.Identifier(table) for table in filled]
        if names:
            self._admin.execute(sql.SQL(";").join(sql.SQL("DELETE FROM {}").format(each) for each in names))
            # Else the next test's rows would lie in the gaps, in an order of their own.
            self._admin.execute(sql.SQL("VACUUM {}").format(sql.SQL(",").join(names)))
        self._admin.execute(_COUNT_ANEW)
        # What was deleted counts as changes of the rows; else it would be told while the next test runs.
        self._admin.execute("SELECT pg_stat_force_next_flush()")
        return True

    def close(self) -> None:
        self._admin.close()


_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
_END_OTHERS = (
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_COUNT_ANEW = (
    "SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false) "
    "FROM pg_sequences WHERE last_value IS NOT NULL"
)


def _schema() -> sql.Composed:
    """Asks what changes with every change of the schema: how many rows say it, and who wrote the last one."""
    one = sql.SQL("(SELECT (count(*), max(xmin::text::bigint)) FROM {} WHERE {} >= {})")
    parts = [
        one.format(sql.Identifier(catalogue), sql.Identifier(number), FIRST_OF_OURS)
        for catalogue, number in CATALOGUES.items()
    ]
    return sql.SQL("SELECT {}").format(sql.SQL(",").join(parts))


def _filled(tables: list[str]) -> sql.Composed:
    """Asks which of these tables hold a row."""
    one = sql.SQL("SELECT {} WHERE EXISTS (SELECT FROM {})")
    return sql.SQL(" UNION ALL ").join(one.format(table, sql.Identifier(table)) for table in tables)
