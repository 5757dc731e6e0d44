"""Access to an installation for commands: settings, storage, business, tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.resources import files
from typing import Annotated, Any, Final, NamedTuple

import sqlalchemy as sa
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from sqlalchemy.exc import DBAPIError

from contatto.accounts import store
from contatto.accounts.model import Business
from contatto.audit import AuditRecord, append_records
from contatto.kit import errors
from contatto.kit.db.database import Database, open_storage
from contatto.kit.db.tx import Clock, Parts, Tx
from contatto.kit.errors import Refused
from contatto.kit.log import set_up_logs
from contatto.kit.settings import Settings


class Storage(NamedTuple):
    """An open database, which the caller closes, and its settings."""

    settings: Settings
    db: Database


class _LatePorts(Parts):
    """Ports that import `wiring` at the first access."""

    def __getitem__[T](self, kind: type[T]) -> T:
        port: T = import_module("contatto.wiring").PORTS[kind]
        return port


def read_settings(**chosen: Any) -> Settings:
    """Read the settings; ``chosen`` overrides them. Print invalid ones, and end the command with code 2."""
    try:
        settings = Settings(**chosen)
    except ValidationError as error:
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"]).upper()
            err.print(f"CONTATTO_{name}: {problem['msg']}.")
        err.print("Every setting is in docs/reference/settings.md.")
        raise typer.Exit(2) from error
    set_up_logs(settings.log_level, settings.log_format)
    return settings


def open_whole() -> Storage:
    """Open storage with every table and port loaded, and bring the schema up to date.

    A command that goes through all tables needs this: a table that is not loaded would be left out.
    """
    settings = read_settings()
    import_module("contatto.migrations.steps")  # every table
    db = open_storage(settings, Clock(), import_module("contatto.wiring").PORTS)
    bring_up_to_date(db)
    return Storage(settings, db)


def check_workers(db: Database) -> None:
    """End the command with code 2 on SQLite, where one process does all writing, so no worker may run."""
    if db.engine.dialect.name == "sqlite":
        db.close()
        err.print(
            "On SQLite `contatto serve` does the background work itself: leave out CONTATTO_WORKER. "
            "Processes of `contatto worker` need PostgreSQL; set CONTATTO_DATABASE_URL."
        )
        raise typer.Exit(2)


def is_current(engine: sa.Engine) -> bool:
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
    """Migrate the database to the schema of this release; end the command with 2 for an unknown schema.

    A current SQLite database is left alone, without loading Alembic.
    """
    if db.engine.dialect.name == "sqlite" and is_current(db.engine):
        return
    steps = import_module("contatto.migrations.steps")
    try:
        steps.migrate_schema(db.engine)
    except steps.UnknownSchema as error:
        db.close()
        err.print(str(error))
        raise typer.Exit(2) from error


out: Final = Console(highlight=False)
err: Final = Console(stderr=True, highlight=False)
OPERATOR: Final = "operator"
"""Actor of commands in the audit log; it never signs in."""
_MOST_COLUMNS: Final = 10_000
BusinessOption = Annotated[
    str, typer.Option("--business", help="Name or id of the business; needed when there are several.")
]


def find_one_business(tx: Tx, name_or_id: str) -> Business:
    """Return the business with this name or id, or the only one. Raises NOT_FOUND."""
    businesses = store.list_businesses(tx)
    matches = [business for business in businesses if name_or_id in ("", business.id, business.name)]
    if len(matches) != 1:
        names = ", ".join(business.name for business in businesses) or "none yet; run contatto init"
        raise Refused(errors.NOT_FOUND, f"--business: use one of {names}.")
    return matches[0]


@contextmanager
def transaction() -> Iterator[Tx]:
    """Open one transaction for a command's work on a few rows; print a refusal, and end the command with 1.

    Alembic and the packages that the command does not use stay unloaded while the schema is current.
    """
    db = open_storage(read_settings(), Clock(), _LatePorts())
    if not is_current(db.engine):
        bring_up_to_date(db)
    try:
        with db.writing() as tx:
            yield tx
    except Refused as refused:
        err.print(f"{refused.detail} Nothing was changed.")
        raise typer.Exit(1) from refused
    finally:
        db.close()


@contextmanager
def business_transaction(name_or_id: str) -> Iterator[tuple[Tx, Business]]:
    """Open a transaction for work on the one business with this name or id; empty for the only one."""
    with transaction() as tx:
        yield tx, find_one_business(tx, name_or_id)


def print_table(table: Table, empty: str = "") -> None:
    """Print a table without breaking words, wider than the screen if necessary.

    A table without rows is replaced by the text ``empty``.
    """
    if empty and not table.rows:
        out.print(empty)
        return
    wide = out.options.update(width=_MOST_COLUMNS)
    columns = [
        [Measurement.get(out, wide, cell) for cell in (column.header, *column.cells)]
        for column in table.columns
    ]
    longest_words = [max(cell.minimum for cell in cells) for cells in columns]
    frame = Measurement.get(out, wide, table).maximum - sum(
        max(cell.maximum for cell in cells) for cells in columns
    )
    spare = max(0, out.width - frame - sum(longest_words))
    for column, cells, word in zip(table.columns, columns, longest_words, strict=True):
        more = min(spare, max(cell.maximum for cell in cells) - word)
        column.width, spare = word + more, spare - more
    width = max(out.width, frame + sum(column.width or 0 for column in table.columns))
    Console(highlight=False, width=width).print(table)


def record_command(tx: Tx, business: Business, command: str, objects: str = "") -> None:
    """Write into the audit log what a command did."""
    append_records(tx, [AuditRecord(business.id, OPERATOR, OPERATOR, f"contatto {command}", objects, "")])
