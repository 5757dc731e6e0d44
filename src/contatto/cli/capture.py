"""The operator's commands for applications for automatic lead capture: list, approve, refuse."""

from collections.abc import Callable
from typing import Annotated

import typer
from rich.table import Table

from contatto.capture import actions, store
from contatto.capture.store import CaptureSwitch
from contatto.cli.acting import carry_out, out, print_table
from contatto.kit.db.tx import Tx

Account = Annotated[str, typer.Argument(help="Id of the channel account, as the list shows it.")]
commands = typer.Typer(no_args_is_help=True, help=__doc__)


@commands.command("list")
def list_command() -> None:
    """Show the applications that wait for you."""
    waiting = carry_out(store.list_applications)
    if waiting:
        print_table(_table_of(waiting))
    else:
        out.print("No application waits.")


@commands.command("approve")
def approve_command(account: Account) -> None:
    """Approve an application; the business may turn capture on then."""
    _review(lambda tx: actions.approve_capture(tx, account), "Approved")


@commands.command("refuse")
def refuse_command(
    account: Account, reason: Annotated[str, typer.Option(prompt=True, help="What has to change.")]
) -> None:
    """Refuse an application; the business sees the reason, and capture is turned off."""
    _review(lambda tx: actions.refuse_capture(tx, account, reason), "Refused")


def _review(work: Callable[[Tx], CaptureSwitch], says: str) -> None:
    switch = carry_out(work)
    out.print(f"{says} {switch.company_name} ({switch.channel_account_id}).")


def _table_of(waiting: list[CaptureSwitch]) -> Table:
    table = Table("account", "company", "site", "privacy policy", "applied")
    for capture_switch in waiting:
        applied = capture_switch.applied_at.strftime("%Y-%m-%d %H:%M") if capture_switch.applied_at else ""
        row = (
            capture_switch.channel_account_id,
            capture_switch.company_name,
            capture_switch.company_site,
            capture_switch.privacy_policy_url,
        )
        table.add_row(*row, applied)
    return table
