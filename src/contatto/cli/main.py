"""The `contatto` command: serve, work, migrate, set up a business, contacts, attribution, the demo world."""

import gc
import os
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
from typer.core import TyperGroup

from contatto import __version__


class LazyCommand(NamedTuple):
    """A command: ``module:attribute`` under ``contatto.cli``, and its line of help."""

    import_path: str
    help: str
    opens_data: bool = True
    """True for a command on an installation, which takes ``--data-dir``."""


COMMANDS: Final[dict[str, LazyCommand]] = {
    "serve": LazyCommand("serve:serve_command", "Serve pages, API and webhooks, and do the background work."),
    "worker": LazyCommand("worker:worker_command", "Do the background work in a process of its own."),
    "demo": LazyCommand("demo:demo_command", "Build a lively world, and serve it until Ctrl+C."),
    "init": LazyCommand("access:init_command", "Create the first business with its owner and an ad account."),
    "migrate": LazyCommand("access:migrate_command", "Bring the database to the schema of this release."),
    "member": LazyCommand("access:member_commands", "Members: add, list, roles, passwords, access."),
    "token": LazyCommand("access:token_commands", "Access tokens: make, list, revoke."),
    "ads": LazyCommand("queues:ad_review_commands", "The review of ads: list, approve, reject."),
    "capture": LazyCommand(
        "queues:capture_commands", "Applications for automatic lead capture: list, approve."
    ),
    "model": LazyCommand(
        "models:model_commands", "What delivery learned: list, show, train, relearn, roll back."
    ),
    "balance": LazyCommand("operators:balance_commands", "Balances of ad accounts: show, pay in, limit."),
    "operator": LazyCommand(
        "operators:operator_commands", "Marketplaces: placements, who takes part, money."
    ),
    "jobs": LazyCommand("queues:job_commands", "Background work that failed: list, show, replay, dismiss."),
    "crm": LazyCommand("crm:commands", "Linked CRMs: link, ledger, pause, send again, verify connectors."),
    "keys": LazyCommand("access:key_commands", "The secret keys: list, rotate, retire one that leaked."),
    "seal": LazyCommand(
        "models:seal_command",
        "Write days of touches and decisions, and conversions, as sorted Parquet files.",
    ),
    "detect": LazyCommand("files:detect_command", "Find contact details in messages.", opens_data=False),
    "attribute": LazyCommand(
        "files:attribute_command", "Say who won each conversion in files of events.", opens_data=False
    ),
    "report": LazyCommand("files:report_command", "Report files of events by day and ad.", opens_data=False),
    "deliver": LazyCommand(
        "deliver:deliver_command", "Decide which ad is shown, line by line, and learn.", opens_data=False
    ),
    "simulate": LazyCommand(
        "simulate:simulate_command", "See what delivery reaches in a world of known truth.", opens_data=False
    ),
    "version": LazyCommand("main:version_command", "Print the version.", opens_data=False),
}
"""Every command. A module is imported when its command is called, so that small commands start at once."""


class LazyGroup(TyperGroup):
    """Group that lists its commands from a table, and imports the called one."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].import_path.partition(":")
        gc.disable()  # loaded modules stay, and searching them for garbage takes a tenth of the start
        try:
            target: Any = getattr(import_module(f"contatto.cli.{module}"), attribute)
        finally:
            gc.enable()
        if not isinstance(target, typer.Typer):
            single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            single.command(cmd_name)(target)
            target = single
        command = typer.main.get_command(target)
        if COMMANDS[cmd_name].opens_data:
            for part in getattr(command, "commands", {cmd_name: command}).values():  # of a group, or itself
                part.params.extend(typer.main.get_command(_data_dir_option).params)
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.items()])


def _set_data_dir(folder: Path | None) -> None:
    """Put the folder into the environment, which the settings and the processes of a server read."""
    if folder is not None:
        os.environ["CONTATTO_DATA_DIR"] = str(folder)


_data_dir_option: Final = typer.Typer(add_completion=False)


@_data_dir_option.command()
def _declare_data_dir(
    _data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            expose_value=False,
            callback=_set_data_dir,
            help="Folder of the database and keys; else CONTATTO_DATA_DIR.",
        ),
    ] = None,
) -> None:
    """Declare the option that every command on an installation takes."""


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    help=__doc__,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _start() -> None:
    """Let only the owner read the files that a command writes."""
    os.umask(0o077)  # exports and reports hold personal data in clear text


def version_command() -> None:
    """Print the version."""
    typer.echo(__version__)
