"""Opening the installation that a command works on, with no more of it than the command needs."""

from importlib import import_module
from importlib.resources import files
from typing import Any, NamedTuple

import typer
from pydantic import ValidationError
from rich.console import Console
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from contatto.kit.clock import SystemClock
from contatto.kit.db.connect import open_storage
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Parts
from contatto.kit.log import set_up_logs
from contatto.kit.settings import Settings

_err = Console(stderr=True, highlight=False)


class Storage(NamedTuple):
    """An open database and the settings that led to it; the caller closes the database."""

    settings: Settings
    db: Database


class _LatePorts(Parts):
    """The ports of `wiring`, which loads when work first needs one of them."""

    def __getitem__[T](self, kind: type[T]) -> T:
        port: T = import_module("contatto.wiring").PORTS[kind]
        return port


def read_settings(**chosen: Any) -> Settings:
    """Read the settings, and print what is wrong with them.

    Args:
        chosen: settings from the command line; they win over the rest.

    Raises:
        typer.Exit: with code 2, when a setting is wrong.
    """
    try:
        settings = Settings(**chosen)
    except ValidationError as error:
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"]).upper()
            _err.print(f"CONTATTO_{name}: {problem['msg']}.")
        _err.print("Every setting is in docs/reference/settings.md.")
        raise typer.Exit(2) from error
    set_up_logs(settings.log_level, settings.log_format)
    return settings


def open_small() -> Storage:
    """Open storage for a command that reads or writes a few rows.

    Alembic and the packages that the command does not use stay unloaded while the schema is current.

    Raises:
        typer.Exit: with code 2, when a setting is wrong, or another version wrote the database.
    """
    settings = read_settings()
    db = open_storage(settings, SystemClock(), _LatePorts())
    if not is_current(db.engine):
        bring_up_to_date(db)
    return Storage(settings, db)


def open_whole() -> Storage:
    """Open storage with every table and port loaded, and bring the schema up to date.

    A command that goes through all tables needs this: a table that is not loaded would be left out.

    Raises:
        typer.Exit: with code 2, when a setting is wrong, or another version wrote the database.
    """
    settings = read_settings()
    import_module("contatto.migrations.steps")  # every table
    db = open_storage(settings, SystemClock(), import_module("contatto.wiring").PORTS)
    bring_up_to_date(db)
    return Storage(settings, db)


def is_current(engine: Engine) -> bool:
    """Report whether the database is at the last schema step of this release."""
    steps = (file.name for file in files("contatto.migrations").joinpath("versions").iterdir())
    last = max(step.partition("_")[0] for step in steps if step.endswith(".py"))
    try:
        with engine.connect() as connection:
            current = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
    except DBAPIError:  # the table is missing, so the database is new
        return False
    return list(current) == [last]


def bring_up_to_date(db: Database) -> None:
    """Give the database the schema of this release; SQLite at the last step needs no Alembic for that.

    Raises:
        typer.Exit: with code 2, when another version wrote it.
    """
    if db.engine.dialect.name == "sqlite" and is_current(db.engine):
        return
    steps = import_module("contatto.migrations.steps")
    try:
        steps.migrate_schema(db.engine)
    except steps.UnknownSchema as error:
        db.close()
        _err.print(str(error))
        raise typer.Exit(2) from error
