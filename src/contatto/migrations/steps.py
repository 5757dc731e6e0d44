"""Migration of a database to the schema of this release, and new schema steps."""

from importlib import import_module
from importlib.resources import files
from typing import Any, Final, Literal

from alembic import command
from alembic.autogenerate.api import AutogenContext
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine
from sqlalchemy.types import TypeDecorator

from contatto import audit as _audit
from contatto import wiring
from contatto.ads import store as _ads
from contatto.crm.store import events as _events
from contatto.forms import store as _forms
from contatto.leads.store import tables as _leads
from contatto.reports import store as _reports

TABLES_OF: Final = (wiring, _ads, _audit, _events, _forms, _leads, _reports)
"""Modules that define or import all tables of ``metadata``."""


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("contatto.migrations")))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes["connection"] = connection
    return config


def plain_type(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """Render our column types in a new step as SQLAlchemy's own, so that steps outlive our code."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl_instance!r}"
    return False


class UnknownSchema(Exception):
    """Error: the database is at a schema step that this release does not have."""


def migrate_schema(engine: Engine) -> None:
    """Run the steps that this database lacks, in one transaction.

    Raises:
        UnknownSchema: a newer release, or one from before the first, wrote this database.
    """
    # A write transaction from the start: SQLite would refuse to upgrade a read after another writer.
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        config = _config(connection)
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise UnknownSchema(
                "Another version of Contatto wrote this database, and this one does not know its schema. "
                "Nothing was changed. Use that version, or start with an empty folder."
            ) from error
        if connection.dialect.name == "postgresql":  # its driver takes 10 MiB of memory
            import_module("contatto.kit.db.postgres").protect_tables(connection)


def write_step(engine: Engine, message: str, revision: str) -> None:
    """Write a new step that takes the database of ``engine`` to the tables in the code."""
    with engine.connect() as connection:
        command.revision(_config(connection), message, autogenerate=True, rev_id=revision)
