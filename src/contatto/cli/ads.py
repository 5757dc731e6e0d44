"""The operator's commands for the review of ads: list, approve, reject."""

from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from contatto.ads.actions import ads as actions
from contatto.ads.model import Ad
from contatto.ads.store import nodes
from contatto.cli.installation import open_installation
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.ui.context import Context

_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)
AdId = Annotated[int, typer.Argument(help="Id of the ad, as the list shows it.")]


def ads_commands(open_context: Callable[[], Context]) -> typer.Typer:
    """The commands, on an installation that ``open_context`` opens."""
    commands = typer.Typer(no_args_is_help=True, help=__doc__)

    def change(work: Callable[[Tx], Ad], says: str) -> None:
        context = open_context()
        try:
            ad = context.db.write_now(work)
        except Refused as refused:
            _err.print(f"{refused.detail} Nothing was changed.")
            raise typer.Exit(1) from refused
        finally:
            context.db.close()
        _out.print(f"{says} {ad.name} ({ad.number}).")

    @commands.command("list")
    def list_command() -> None:
        """Show the ads that wait for your review."""
        context = open_context()
        waiting = context.db.read_now(nodes.list_ads_in_review)
        context.db.close()
        if not waiting:
            _out.print("No ad waits.")
            return
        _out.print(_table_of(waiting))

    @commands.command("approve")
    def approve_command(ad_id: AdId) -> None:
        """Approve an ad: it may be shown."""
        change(lambda tx: actions.approve_ad(tx, ad_id), "Approved")

    @commands.command("reject")
    def reject_command(
        ad_id: AdId, reason: Annotated[str, typer.Option(prompt=True, help="What has to change.")]
    ) -> None:
        """Reject an ad: it is not shown, and the business sees the reason."""
        change(lambda tx: actions.reject_ad(tx, ad_id, reason), "Rejected")

    return commands


def _table_of(waiting: list[Ad]) -> Table:
    table = Table()
    for name in ("ad", "name", "headline", "text", "changed"):
        table.add_column(name, overflow="fold")
    for ad in waiting:
        changed = ad.updated_at.strftime("%Y-%m-%d %H:%M")
        table.add_row(str(ad.number), ad.name, ad.headline, ad.text, changed)
    return table


commands = ads_commands(open_installation)
