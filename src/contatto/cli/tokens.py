"""The operator's commands for access tokens: make one, make an auth code, list, revoke."""

from typing import Annotated

import typer
from rich.table import Table

from contatto.accounts import actions, store
from contatto.accounts.model import ApiToken, Business, Permission
from contatto.cli.acting import Of, carry_out, find_one_business, out, print_table, record_command
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused

Name = Annotated[str, typer.Argument(help="What it is for, such as the name of the script.")]
Scopes = Annotated[
    list[str],
    typer.Option("--scope", help=f"Once for each: {', '.join(Permission)}. All when none is named."),
]
AdAccounts = Annotated[
    list[str],
    typer.Option("--ad-account", help="advertiser_id of an ad account, once for each; else all."),
]


def _chosen(tx: Tx, business: Business, numbers: list[str]) -> list[str] | None:
    """Our ids of the ad accounts that are named; None for all.

    Raises:
        Refused: NO_ADVERTISER.
    """
    ours = {str(account.number): account.id for account in store.list_ad_accounts(tx, business.id)}
    if set(numbers) - set(ours):
        raise Refused(errors.NO_ADVERTISER, f"--ad-account: name some of these: {', '.join(ours)}.")
    return [ours[number] for number in numbers] or None


commands = typer.Typer(no_args_is_help=True, help=__doc__)


@commands.command("make")
def make_command(
    name: Name,
    scope: Scopes = [],  # noqa: B006  # typer copies it
    ad_account: AdAccounts = [],  # noqa: B006
    business: Of = "",
) -> None:
    """Make an access token and print it; it is shown this once only."""

    def work(tx: Tx) -> str:
        of = find_one_business(tx, business)
        limits = _chosen(tx, of, ad_account)
        kept, token = actions.issue_token(tx, of.id, name, scope or list(Permission), ad_account_ids=limits)
        record_command(tx, of, "token make", f"token_id={kept.id}")
        return token

    out.print(carry_out(work), soft_wrap=True)


@commands.command("code")
def code_command(
    name: Name,
    scope: Scopes = [],  # noqa: B006
    ad_account: AdAccounts = [],  # noqa: B006
    business: Of = "",
) -> None:
    """Make an auth code and print it: a program changes it into a token, once, within ten minutes."""

    def work(tx: Tx) -> str:
        of = find_one_business(tx, business)
        limits = _chosen(tx, of, ad_account)
        code = actions.issue_auth_code(tx, of.id, name, scope or list(Permission), ad_account_ids=limits)
        record_command(tx, of, "token code")
        return code

    out.print(carry_out(work), soft_wrap=True)


@commands.command("list")
def list_command(business: Of = "") -> None:
    """Show the tokens that have not been revoked."""

    def work(tx: Tx) -> tuple[list[ApiToken], dict[str, str]]:
        of = find_one_business(tx, business)
        ad_accounts = store.list_ad_accounts(tx, of.id)
        return store.list_tokens(tx, of.id), {str(account.id): str(account.number) for account in ad_accounts}

    tokens, numbers = carry_out(work)
    table = Table("id", "name", "scopes", "ad accounts", "made on", "last used on")
    for token in tokens:
        if token.revoked_at is None:
            used = f"{token.last_used_at:%Y-%m-%d}" if token.last_used_at else "never"
            only = (
                "all"
                if token.ad_account_ids is None
                else " ".join(numbers[account] for account in token.ad_account_ids)
            )
            made = f"{token.created_at:%Y-%m-%d}"
            table.add_row(token.id, token.name, " ".join(token.scopes), only, made, used)
    print_table(table)


@commands.command("revoke")
def revoke_command(
    token_id: Annotated[str, typer.Argument(help="As the list shows it.")], business: Of = ""
) -> None:
    """End a token at once."""

    def work(tx: Tx) -> None:
        of = find_one_business(tx, business)
        actions.revoke_token(tx, of.id, token_id)
        record_command(tx, of, "token revoke", f"token_id={token_id}")

    carry_out(work)
    out.print("The token is revoked. Programs that use it are turned down from now on.")
