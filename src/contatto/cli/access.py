"""Commands for access: first business, members, tokens, secret keys."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any

import sqlalchemy as sa
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from contatto.accounts import actions as account_actions
from contatto.accounts import store as account_store
from contatto.accounts.actions import NewAdAccount, NewMember
from contatto.accounts.model import Business, Ended, Member, Permission, Role
from contatto.accounts.rules import normal_email
from contatto.cli.installation import (
    BusinessOption,
    business_transaction,
    err,
    open_whole,
    out,
    print_table,
    record_command,
    transaction,
)
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import SEALED, Tx, metadata, row_columns, sealed_place
from contatto.kit.errors import Refused
from contatto.kit.settings import Settings
from contatto.kit.vault import add_key, load_keys, mark_retired, sealed_head
from contatto.people.actions import invitation_path, invite_member, reset_path
from contatto.people.rules import HANDED_FOR


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
    try:
        hashed = account_actions.hash_password(password)
        with storage.db.writing() as tx:
            new_business = account_actions.create_business(tx, business)
            owner = NewMember(email, email.partition("@")[0], Role.OWNER)
            account_actions.add_member(tx, new_business.id, owner, hashed)
            account = account_actions.add_ad_account(
                tx, new_business.id, NewAdAccount(business, country, currency, timezone)
            )
    except Refused as refused:
        err.print(f"{refused.detail} Nothing was kept. {refused.code.remedy}")
        raise typer.Exit(1) from refused
    finally:
        storage.db.close()
    out.print(f"Created {business} with advertiser_id {account.number}. Sign in as {email}.")


def migrate_command() -> None:
    """Bring the database to the schema of this release."""
    storage = open_whole()
    out.print(f"The schema is up to date ({storage.db.engine.dialect.name}).")
    storage.db.close()


Who = Annotated[str, typer.Argument(help="E-mail or id of the member.")]


def _print_ended(done: str, ended: Ended) -> None:
    out.print(f"{done} {ended.sessions} sessions and {ended.tokens} access tokens have ended.")


member_commands = typer.Typer(
    no_args_is_help=True,
    help="The operator's commands for members: add, list, change a role or a password, "
    "end access, give it back.",
)


@contextmanager
def _changed_member(command: str, who: str, business: str) -> Iterator[tuple[Tx, Member]]:
    """Load one member for a change, and write the command into the audit log after it."""
    with business_transaction(business) as (tx, one_business):
        members = account_store.list_members(tx, one_business.id)
        matches = [member.id for member in members if who.strip().lower() in (member.email, member.id)]
        if not matches:
            raise Refused(errors.NOT_FOUND, "Member not found.")
        member = account_actions.load_member(tx, one_business.id, matches[0])  # locked
        yield tx, member
        record_command(tx, one_business, f"member {command}", f"member_id={member.id}")


@member_commands.command("add")
def add_member_command(
    email: Annotated[str, typer.Argument(help="E-mail that they log in with.")],
    role: Annotated[Role, typer.Option(help="What they may do.")] = Role.AGENT,
    name: Annotated[str, typer.Option(help="How they are called; the e-mail by default.")] = "",
    business: BusinessOption = "",
    invite: Annotated[bool, typer.Option(help="Print a link to hand over, and ask for no password.")] = False,
) -> None:
    """Add a member. A person who works in another business already keeps their password."""
    account, hashed = None, ""
    if not invite:
        with transaction() as tx:
            account = account_store.find_user_by_email(tx, normal_email(email))
        hashed = "" if account else _asked_hash()

    with business_transaction(business) as (tx, one_business):
        if invite:
            invitation = invite_member(tx, one_business.id, email, role)
            result = Settings().link_address + invitation_path(tx, invitation, invitation.email)
        elif account is not None:
            result = account_actions.join_business(tx, one_business.id, account, name, role).email
        else:
            new_member = NewMember(email, name, role)
            result = account_actions.add_member(tx, one_business.id, new_member, hashed).email
        record_command(tx, one_business, f"member {'invite' if invite else 'add'}")
    out.print(result if invite else f"{result} may log in as {role.value}.", soft_wrap=invite)


def _asked_hash(password: str = "") -> str:
    """Return the hash of a password; ask for it twice where none is named."""
    try:
        return account_actions.hash_password(
            password or typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        )
    except Refused as refused:
        raise typer.BadParameter(refused.detail) from refused


@member_commands.command("list")
def list_members_command(business: BusinessOption = "") -> None:
    """Show the members, their roles and how many sessions each has open."""
    with business_transaction(business) as (tx, one_business):
        members = account_store.list_members(tx, one_business.id)
        sessions = account_store.count_sessions(tx, one_business.id)
    table = Table("id", "e-mail", "name", "role", "sessions", "deactivated on")
    for member in members:
        since = f"{member.deactivated_at:%Y-%m-%d}" if member.deactivated_at else ""
        open_now = str(sessions.get(member.id, 0))
        table.add_row(member.id, member.email, member.display_name, member.role.value, open_now, since)
    print_table(table)


@member_commands.command("set-role")
def set_role_command(who: Who, role: Role, business: BusinessOption = "") -> None:
    """Give a member another role; they have to sign in anew."""
    with _changed_member("set-role", who, business) as (tx, member):
        ended = account_actions.set_member_role(tx, member, role)
    _print_ended(f"The role is {role.value}.", ended)


@member_commands.command("reset-password")
def reset_password_command(
    who: Who,
    business: BusinessOption = "",
    password: Annotated[str, typer.Option(help="The new one; asked for when it is not named.")] = "",
    keep_tokens: Annotated[bool, typer.Option(help="Let access tokens that they made go on.")] = False,
    link: Annotated[bool, typer.Option(help="Print a link to hand over, by which they choose it.")] = False,
) -> None:
    """Give a member a new password, and confirm their address; all that came in with the old one is out."""
    if link:
        with _changed_member("reset-password", who, business) as (tx, member):
            path = reset_path(tx, member, HANDED_FOR)
        out.print(Settings().link_address + path, soft_wrap=True)
        return
    hashed = _asked_hash(password)
    with _changed_member("reset-password", who, business) as (tx, member):
        ended = account_actions.change_password(tx, member, hashed, keep_tokens=keep_tokens)
        account_actions.confirm_email(tx, member)
    _print_ended("The password is changed.", ended)


@member_commands.command("deactivate")
def deactivate_command(who: Who, business: BusinessOption = "") -> None:
    """Let a member in no more; their messages keep their name."""
    with _changed_member("deactivate", who, business) as (tx, member):
        ended = account_actions.deactivate_member(tx, member)
    _print_ended("The member is deactivated.", ended)


@member_commands.command("reactivate")
def reactivate_command(who: Who, business: BusinessOption = "") -> None:
    """Let a member in again, with the role and the password that they had."""
    with _changed_member("reactivate", who, business) as (tx, member):
        account_actions.reactivate_member(tx, member)
    out.print("The member may sign in again.")


@member_commands.command("sign-out")
def sign_out_command(who: Who, business: BusinessOption = "") -> None:
    """End all sessions of a member; they may sign in again."""
    with _changed_member("sign-out", who, business) as (tx, member):
        count = account_actions.end_member_sessions(tx, member)
    out.print(f"{count} sessions have ended.")


TokenName = Annotated[str, typer.Argument(help="What it is for, such as the name of the script.")]
Scopes = Annotated[
    list[str],
    typer.Option("--scope", help=f"Once for each: {', '.join(Permission)}. All when none is named."),
]
AdAccounts = Annotated[
    list[str], typer.Option("--ad-account", help="advertiser_id of an ad account, once for each; else all.")
]


def _ad_account_ids(tx: Tx, business: Business, numbers: list[str]) -> list[str] | None:
    """Return the ids of the ad accounts with these numbers; None for all. Raises NO_ADVERTISER."""
    ids_by_number = {
        str(account.number): account.id for account in account_store.list_ad_accounts(tx, business.id)
    }
    if set(numbers) - set(ids_by_number):
        raise Refused(errors.NO_ADVERTISER, f"--ad-account: name some of these: {', '.join(ids_by_number)}.")
    return [ids_by_number[number] for number in numbers] or None


token_commands = typer.Typer(
    no_args_is_help=True,
    help="The operator's commands for access tokens: make one, make an auth code, list, revoke.",
)


@token_commands.command("make")
def make_token_command(
    name: TokenName,
    scope: Scopes = [],  # noqa: B006  # typer copies it
    ad_account: AdAccounts = [],  # noqa: B006
    business: BusinessOption = "",
) -> None:
    """Make an access token and print it; it is shown this once only."""
    scopes = scope or list(Permission)
    with business_transaction(business) as (tx, one_business):
        ids = _ad_account_ids(tx, one_business, ad_account)
        token, secret = account_actions.issue_token(tx, one_business.id, name, scopes, ad_account_ids=ids)
        record_command(tx, one_business, "token make", f"token_id={token.id}")
    out.print(secret, soft_wrap=True)


@token_commands.command("code")
def make_auth_code_command(
    name: TokenName,
    scope: Scopes = [],  # noqa: B006
    ad_account: AdAccounts = [],  # noqa: B006
    business: BusinessOption = "",
) -> None:
    """Make an auth code and print it: a program changes it into a token, once, within ten minutes."""
    scopes = scope or list(Permission)
    with business_transaction(business) as (tx, one_business):
        ids = _ad_account_ids(tx, one_business, ad_account)
        code = account_actions.issue_auth_code(tx, one_business.id, name, scopes, ad_account_ids=ids)
        record_command(tx, one_business, "token code")
    out.print(code, soft_wrap=True)


@token_commands.command("list")
def list_tokens_command(business: BusinessOption = "") -> None:
    """Show the tokens that have not been revoked."""
    with business_transaction(business) as (tx, one_business):
        tokens = account_store.list_tokens(tx, one_business.id)
        ad_accounts = account_store.list_ad_accounts(tx, one_business.id)
    numbers = {str(account.id): str(account.number) for account in ad_accounts}
    table = Table("id", "name", "scopes", "ad accounts", "made on", "last used on")
    for token in tokens:
        if token.revoked_at is None:
            used = f"{token.last_used_at:%Y-%m-%d}" if token.last_used_at else "never"
            only = (
                "all"
                if token.ad_account_ids is None
                else " ".join(numbers[account] for account in token.ad_account_ids)
            )
            made_on = f"{token.created_at:%Y-%m-%d}"
            table.add_row(token.id, token.name, " ".join(token.scopes), only, made_on, used)
    print_table(table)


@token_commands.command("revoke")
def revoke_token_command(
    token_id: Annotated[str, typer.Argument(help="As the list shows it.")], business: BusinessOption = ""
) -> None:
    """End a token at once."""
    with business_transaction(business) as (tx, one_business):
        account_actions.revoke_token(tx, one_business.id, token_id)
        record_command(tx, one_business, "token revoke", f"token_id={token_id}")
    out.print("The token is revoked. Programs that use it are turned down from now on.")


_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)

key_commands = typer.Typer(
    no_args_is_help=True,
    help="The secret keys: list them, rotate to a new one, retire one that somebody else may know.",
)


@key_commands.command("list")
def list_keys_command() -> None:
    """Show the keys, newest first: how many values each still opens, and its use."""
    storage = open_whole()
    keys = load_keys(storage.settings.secret_keys, storage.settings.data_dir)
    table = Table("id", "sealed values", "use")
    for key in keys:
        count = storage.db.read_now(partial(count_sealed_with, key_id=key.id))
        use = "retired" if key.is_retired else "opens and verifies"
        use = "seals and signs" if key is keys[0] else use
        table.add_row(key.id, str(count), f"{use}; index and derived ids" if key is keys[-1] else use)
    storage.db.close()
    print_table(table)


@key_commands.command("rotate")
def rotate_keys_command(
    new_key: Annotated[bool, typer.Option(help="Put a new key into the key file first.")] = True,
) -> None:
    """Seal every contact value, message text and secret with the newest key. Stop the server first."""
    storage = open_whole()
    if new_key and not storage.settings.secret_keys:
        storage.db.close()
        add_key(storage.settings.data_dir)
        storage = open_whole()
    total = storage.db.read_now(count_sealed_rows)
    with Progress(console=_err, transient=True) as bar:
        task = bar.add_task("Sealing anew", total=total)
        changed = reseal_all(storage.db, lambda seen: bar.advance(task, seen))
    storage.db.close()
    _out.print(
        f"{changed} values are sealed with the newest key. The older keys still verify what they signed: "
        "if one of them leaked, run contatto keys retire."
    )


@key_commands.command("retire")
def retire_key_command(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The id, as contatto keys list shows it.")],
) -> None:
    """Retire a key that leaked: it opens nothing and verifies no signature any more. Stop the server first.

    Its signatures end: members confirm their forms again, and older links to ads, forms and pictures are
    refused. Visitors of the chat page begin anew if they have not come back since the rotation.
    """
    storage = open_whole()
    try:
        keys = load_keys(storage.settings.secret_keys, storage.settings.data_dir)
        live = [key.id for key in keys if not key.is_retired]
        refusal = ""
        if key_id not in live:
            older = ", ".join(live[1:])
            refusal = f"There is no key {key_id} that could be retired; name one of these: {older}."
        elif key_id == live[0]:
            refusal = "This is the newest key: put a new one in front of it with contatto keys rotate."
        elif count := storage.db.read_now(partial(count_sealed_with, key_id=key_id)):
            refusal = f"{count} values are still sealed with it: run contatto keys rotate first."
        if refusal:
            _err.print(f"{refusal} Nothing was changed.")
            raise typer.Exit(1)
        if storage.settings.secret_keys:
            _out.print(f"Nothing needs it. Write :retired behind the key {key_id} in CONTATTO_SECRET_KEYS.")
        else:
            mark_retired(storage.settings.data_dir, key_id)
            _out.print(f"{key_id} is retired. Start the server again.")
    finally:
        storage.db.close()
    if key_id == keys[-1].id:
        _out.print(
            "It is the oldest key, so it must stay where it is: the index that finds contact values and the "
            "ids of visitors follow from it. It does nothing else."
        )
    else:
        _out.print("Keep it as long as you keep backups from before: without it they cannot be read.")


def count_sealed_rows(tx: Tx) -> int:
    """Count the rows of all tables with sealed columns."""
    return sum(
        int(tx.scalar(sa.select(sa.func.count()).select_from(table))) for table, _ in _sealed_columns()
    )


def count_sealed_with(tx: Tx, key_id: str) -> int:
    """Count the values of all tables that only this key opens."""
    head = sealed_head(key_id)
    counts = [
        sa.select(sa.func.count()).where(sa.func.substr(column, 1, len(head)) == sa.literal(head))
        for _, columns in _sealed_columns()
        for column in columns
    ]
    return sum(int(tx.scalar(count)) for count in counts)


def reseal_all(db: Database, progress: Callable[[int], None], batch: int = 500) -> int:
    """Seal all values of older keys with the newest one, and return their number.

    It works in short transactions, so that processes that know the newest key go on working. A second run
    skips finished rows. ``progress`` gets the number of rows per step.
    """
    changed = 0
    for table, columns in _sealed_columns():
        keys = tuple(table.primary_key.columns)
        naming = (table.c[name] for name in row_columns(table))
        read = list(dict.fromkeys((*keys, table.c.business_id, *naming, *columns)))
        # Locked, so that a concurrent change is not overwritten.
        query = statement = sa.select(*read).order_by(*keys).limit(batch).with_for_update()
        row_count = batch
        while row_count == batch:
            with db.writing() as tx:
                rows = tx.execute(query).mappings().all()
                for row in rows:
                    fresh: dict[str, bytes] = {}
                    for column in columns:
                        value = row[column.name]
                        if value is not None and not tx.vault.is_current(value):
                            place = sealed_place(column, row)
                            fresh[column.name] = tx.vault.seal_bytes(
                                tx.vault.open_bytes(value, *place), *place
                            )
                    if fresh:
                        this_row = (key == row[key.name] for key in keys)
                        tx.execute(table.update().where(*this_row).values(**fresh))
                        changed += len(fresh)
            if rows:
                last = tuple(rows[-1][key.name] for key in keys)
                query = statement.where(sa.tuple_(*keys) > sa.tuple_(*last))
            row_count = len(rows)
            progress(row_count)
    return changed


def _sealed_columns() -> Iterator[tuple[sa.Table, list[sa.Column[Any]]]]:
    for table in metadata.sorted_tables:
        columns = [column for column in table.columns if column.info.get(SEALED)]
        if columns:
            yield table, columns
