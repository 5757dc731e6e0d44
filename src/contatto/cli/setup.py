"""`contatto init` and `contatto migrate`: the first business, and the schema of this release."""

from typing import Annotated

import typer
from rich.console import Console

from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewAdAccount, NewMember
from contatto.accounts.model import Role
from contatto.cli.installation import open_whole
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused

_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)


def init_command(
    business: Annotated[str, typer.Option(prompt=True, help="Name of the business.")],
    email: Annotated[str, typer.Option(prompt=True, help="E-mail of its owner.")],
    country: Annotated[
        str, typer.Option(prompt=True, help="Registration country of the ad account, such as SG.")
    ],
    currency: Annotated[str, typer.Option(prompt=True, help="Currency of the ad account, such as SGD.")],
    timezone: Annotated[str, typer.Option(prompt=True, help="Time zone of the ad account, an IANA name.")],
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True)],
) -> None:
    """Create the first business with its owner and an ad account."""
    storage = open_whole()

    def create(tx: Tx) -> str:
        made = accounts.create_business(tx, business)
        owner = NewMember(email, email.partition("@")[0], Role.OWNER, password)
        accounts.add_member(tx, made.id, owner, hashed)
        account = accounts.add_ad_account(tx, made.id, NewAdAccount(business, country, currency, timezone))
        return str(account.number)

    try:
        hashed = accounts.hash_password(password)
        number = storage.db.write_now(create)
    except Refused as refused:
        _err.print(f"{refused.detail} Nothing was kept. {refused.code.remedy}")
        raise typer.Exit(1) from refused
    finally:
        storage.db.close()
    _out.print(f"Created {business} with advertiser_id {number}. Sign in as {email}.")


def migrate_command() -> None:
    """Bring the database to the schema of this release."""
    storage = open_whole()
    _out.print(f"The schema is up to date ({storage.db.engine.dialect.name}).")
    storage.db.close()
