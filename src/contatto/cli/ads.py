"""The operator's commands for the review of ads: list, approve, reject."""

from collections.abc import Callable
from typing import Annotated

import typer
from rich.table import Table

from contatto.ads import store
from contatto.ads.actions.campaigns import approve_ad, reject_ad
from contatto.ads.model import Ad
from contatto.cli.acting import carry_out, out, print_table
from contatto.kit.db.tx import Tx

AdId = Annotated[int, typer.Argument(help="Id of the ad, as the list shows it.")]
commands = typer.Typer(no_args_is_help=True, help=__doc__)


@commands.command("list")
def list_command() -> None:
    """Show the ads that wait for your review."""
    waiting = carry_out(store.list_ads_in_review)
    if waiting:
        print_table(_table_of(waiting))
    else:
        out.print("No ad waits.")


@commands.command("approve")
def approve_command(ad_id: AdId) -> None:
    """Approve an ad: it may be shown."""
    _review(lambda tx: approve_ad(tx, ad_id), "Approved")


@commands.command("reject")
def reject_command(
    ad_id: AdId, reason: Annotated[str, typer.Option(prompt=True, help="What has to change.")]
) -> None:
    """Reject an ad: it is not shown, and the business sees the reason."""
    _review(lambda tx: reject_ad(tx, ad_id, reason), "Rejected")


def _review(work: Callable[[Tx], Ad], says: str) -> None:
    ad = carry_out(work)
    out.print(f"{says} {ad.name} ({ad.number}).")


def _table_of(waiting: list[Ad]) -> Table:
    table = Table("ad", "name", "headline", "text", "changed")
    for ad in waiting:
        changed = ad.updated_at.strftime("%Y-%m-%d %H:%M")
        table.add_row(str(ad.number), ad.name, ad.headline, ad.text, changed)
    return table
