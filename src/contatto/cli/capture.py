"""The operator's commands for applications for automatic lead capture: list, approve, refuse."""

from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from contatto.capture import actions, store
from contatto.capture.store import CaptureSwitch
from contatto.cli.installation import open_installation
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.ui.context import Context

_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)
Account = Annotated[str, typer.Argument(help="Id of the channel account, as the list shows it.")]


def capture_commands(open_context: Callable[[], Context]) -> typer.Typer:
    """The commands, on an installation that ``open_context`` opens."""
    commands = typer.Typer(no_args_is_help=True, help=__doc__)

    def change(work: Callable[[Tx], CaptureSwitch], says: str) -> None:
        context = open_context()
        try:
            switch = context.db.write_now(work)
        except Refused as refused:
            _err.print(f"{refused.detail} Nothing was changed.")
            raise typer.Exit(1) from refused
        finally:
            context.db.close()
        _out.print(f"{says} {switch.company_name} ({switch.channel_account_id}).")

    @commands.command("list")
    def list_command() -> None:
        """Show the applications that wait for you."""
        context = open_context()
        waiting = context.db.read_now(store.list_applications)
        context.db.close()
        if not waiting:
            _out.print("No application waits.")
            return
        _out.print(_table_of(waiting))

    @commands.command("approve")
    def approve_command(account: Account) -> None:
        """Approve an application; the business may turn capture on then."""
        change(lambda tx: actions.approve_capture(tx, account), "Approved")

    @commands.command("refuse")
    def refuse_command(
        account: Account, reason: Annotated[str, typer.Option(prompt=True, help="What has to change.")]
    ) -> None:
        """Refuse an application; the business sees the reason, and capture is turned off."""
        change(lambda tx: actions.refuse_capture(tx, account, reason), "Refused")

    return commands


def _table_of(waiting: list[CaptureSwitch]) -> Table:
    table = Table()
    for name in ("account", "company", "site", "privacy policy", "applied"):
        table.add_column(name, overflow="fold")
    for each in waiting:
        applied = each.applied_at.strftime("%Y-%m-%d %H:%M") if each.applied_at else ""
        row = (each.channel_account_id, each.company_name, each.company_site, each.privacy_policy_url)
        table.add_row(*row, applied)
    return table


commands = capture_commands(open_installation)
