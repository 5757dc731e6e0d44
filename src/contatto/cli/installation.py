"""Opening the installation that a command works on."""

from typing import Any

import typer
from pydantic import ValidationError
from rich.console import Console

from contatto.app import open_context
from contatto.kit.log import set_up_logs
from contatto.kit.settings import Settings
from contatto.migrations.steps import UnknownSchema, migrate_schema
from contatto.ui.context import Context
from contatto.wiring import install

_err = Console(stderr=True, highlight=False)


def open_installation(**chosen: Any) -> Context:
    """Read the settings, say clearly what is wrong with them, and bring the schema up to date.

    Args:
        chosen: settings that the command line names; they win over the rest.

    Raises:
        typer.Exit: with code 2, when a setting is wrong, or another version wrote the database.
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
    context = open_context(install(settings))
    bring_up_to_date(context)
    return context


def bring_up_to_date(context: Context) -> None:
    """Give the database the schema of this release.

    Raises:
        typer.Exit: with code 2, when another version wrote it.
    """
    try:
        migrate_schema(context.db.engine)
    except UnknownSchema as error:
        context.db.close()
        _err.print(str(error))
        raise typer.Exit(2) from error
