"""The operator's commands for access tokens: make one, make an auth code, list, revoke."""

from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from contatto.accounts import actions, store
from contatto.accounts.model import ApiToken, Business, Permission
from contatto.cli.installation import open_installation
from contatto.kit import errors
from contatto.kit.context import Context
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused

_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)
Name = Annotated[str, typer.Argument(help="What it is for, such as the name of the script.")]
Of = Annotated[
    str, typer.Option("--business", help="Name or id of the business; needed when there are several.")
]
Scopes = Annotated[
    list[str],
    typer.Option("--scope", help=f"Once for each: {', '.join(Permission)}. All when none is named."),
]


def find_one_business(tx: Tx, wanted: str) -> Business:
    """The business that is meant: by its name or id, or the only one.

    Raises:
        Refused: NOT_FOUND.
    """
    found = [each for each in store.list_businesses(tx) if wanted in ("", each.id, each.name)]
    if len(found) != 1:
        names = ", ".join(each.name for each in store.list_businesses(tx)) or "none yet; run contatto init"
        raise Refused(errors.NOT_FOUND, f"--business: name one of these: {names}.")
    return found[0]


def token_commands(open_context: Callable[[], Context]) -> typer.Typer:  # noqa: C901  # one inner function a command
    """The commands, on an installation that ``open_context`` opens."""
    commands = typer.Typer(no_args_is_help=True, help=__doc__)

    def carry_out[T](work: Callable[[Tx], T]) -> T:
        context = open_context()
        try:
            return context.db.write_now(work)
        except Refused as refused:
            _err.print(f"{refused.detail} Nothing was changed.")
            raise typer.Exit(1) from refused
        finally:
            context.db.close()

    @commands.command("make")
    def make_command(name: Name, scope: Scopes = [], business: Of = "") -> None:  # noqa: B006  # typer copies it
        """Make an access token and print it; it is shown this once only."""
        wanted = scope or list(Permission)

        def work(tx: Tx) -> str:
            return actions.issue_token(tx, find_one_business(tx, business).id, name, wanted)[1]

        _out.print(carry_out(work), soft_wrap=True)

    @commands.command("code")
    def code_command(name: Name, scope: Scopes = [], business: Of = "") -> None:  # noqa: B006  # typer copies it
        """Make an auth code and print it: a program changes it into a token, once, within ten minutes."""
        wanted = scope or list(Permission)

        def work(tx: Tx) -> str:
            return actions.issue_auth_code(tx, find_one_business(tx, business).id, name, wanted)

        _out.print(carry_out(work), soft_wrap=True)

    @commands.command("list")
    def list_command(business: Of = "") -> None:
        """Show the tokens that have not been revoked."""

        def work(tx: Tx) -> list[ApiToken]:
            tokens = store.list_tokens(tx, find_one_business(tx, business).id)
            return [each for each in tokens if each.revoked_at is None]

        table = Table("id", "name", "scopes", "made on", "last used on")
        for each in carry_out(work):
            used = f"{each.last_used_at:%Y-%m-%d}" if each.last_used_at else "never"
            table.add_row(each.id, each.name, " ".join(each.scopes), f"{each.created_at:%Y-%m-%d}", used)
        _out.print(table)

    @commands.command("revoke")
    def revoke_command(
        token_id: Annotated[str, typer.Argument(help="As the list shows it.")], business: Of = ""
    ) -> None:
        """End a token at once."""
        carry_out(lambda tx: actions.revoke_token(tx, find_one_business(tx, business).id, token_id))
        _out.print("The token is revoked. Programs that use it are turned down from now on.")

    return commands


commands = token_commands(open_installation)
