"""The tables of all capabilities, made by the schema steps that a real installation runs: once in a run."""

import shutil
from pathlib import Path
from typing import Any

import sqlalchemy

from contatto.migrations.steps import migrate_schema
from tests import postgres
from tests.once import made_once

POSTGRES_TEMPLATE = "template_of_tables"
"""The PostgreSQL database of a run that holds every table and no row."""


def create_schema(url: str) -> None:
    engine = sqlalchemy.create_engine(url)
    if engine.dialect.name == "sqlite":
        sqlalchemy.event.listen(engine, "connect", _write_to_memory_first)
    migrate_schema(engine)
    engine.dispose()


def _write_to_memory_first(connection: Any, _: object) -> None:
    """Three hundred statements, none of which has to survive a power cut, wait for no disk."""
    connection.execute("PRAGMA synchronous = OFF")


def copy_schema(path: Path) -> None:
    """Put a SQLite file with every table and no row at a path, unless one is there: the steps take longer."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sqlite_template(), path)


def sqlite_template() -> Path:
    """A SQLite file that holds every table and no row; nobody writes into it."""
    made = made_once("tables", lambda folder: create_schema(f"sqlite:///{folder / 'tables.db'}"))
    return made / "tables.db"


def postgres_template() -> str:
    """The name of the PostgreSQL database that is copied; the server is running."""

    def make(_: Path) -> None:
        with postgres.admin() as connection:
            connection.execute(
                f"CREATE DATABASE {POSTGRES_TEMPLATE} OWNER {postgres.OWNER} STRATEGY file_copy"
            )
        create_schema(postgres.url_of(POSTGRES_TEMPLATE))

    made_once("tables-on-postgresql", make)
    return POSTGRES_TEMPLATE
