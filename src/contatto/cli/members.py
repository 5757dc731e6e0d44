"""The operator's commands for members: add, list, change a role or a password, end access, give it back."""

from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer
from rich.table import Table

from contatto.accounts import actions, store
from contatto.accounts.actions import NewMember
from contatto.accounts.model import Business, Ended, Member, Role
from contatto.accounts.rules import normal_email
from contatto.cli.acting import Of, carry_out, find_one_business, out, print_table, record_command
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.settings import Settings
from contatto.people.actions import invitation_path, invite_member, reset_path
from contatto.people.rules import HANDED_FOR

Who = Annotated[str, typer.Argument(help="E-mail or id of the member.")]


def _meant(tx: Tx, business: Business, wanted: str) -> Member:
    """The member who is meant, held.

    Raises:
        Refused: NOT_FOUND.
    """
    for member in store.list_members(tx, business.id):
        if wanted.strip().lower() in (member.email, member.id):
            return actions.load_member(tx, business.id, member.id)
    raise Refused(errors.NOT_FOUND, "Member not found.")


def _say(done: str, ended: Ended) -> None:
    out.print(f"{done} {ended.sessions} sessions and {ended.tokens} access tokens have ended.")


commands = typer.Typer(no_args_is_help=True, help=__doc__)


def _act[T](command: str, who: str, business: str, work: Callable[[Tx, Member], T]) -> T:
    def follow(tx: Tx) -> T:
        of = find_one_business(tx, business)
        member = _meant(tx, of, who)
        result = work(tx, member)
        record_command(tx, of, f"member {command}", f"member_id={member.id}")
        return result

    return carry_out(follow)


@commands.command("add")
def add_command(
    email: Annotated[str, typer.Argument(help="E-mail that they log in with.")],
    role: Annotated[Role, typer.Option(help="What they may do.")] = Role.AGENT,
    name: Annotated[str, typer.Option(help="How they are called; the e-mail by default.")] = "",
    business: Of = "",
    invite: Annotated[bool, typer.Option(help="Print a link to hand over, and ask for no password.")] = False,
) -> None:
    """Add a member. Who works in another business already keeps the password that they have."""
    if invite:
        out.print(_act_on_business("invite", business, partial(_invite, email, role)), soft_wrap=True)
        return
    account = carry_out(lambda tx: store.find_user_by_email(tx, normal_email(email)))
    hashed = "" if account else _asked_hash()

    def work(tx: Tx, of: Business) -> str:
        if account is not None:
            return actions.join_business(tx, of.id, account, name, role).email
        return actions.add_member(tx, of.id, NewMember(email, name, role, ""), hashed).email

    out.print(f"{_act_on_business('add', business, work)} may log in as {role.value}.")


def _invite(email: str, role: Role, tx: Tx, of: Business) -> str:
    invitation = invite_member(tx, of.id, email, role)
    return Settings().link_address + invitation_path(tx, invitation, invitation.email)


def _act_on_business[T](command: str, business: str, work: Callable[[Tx, Business], T]) -> T:
    def follow(tx: Tx) -> T:
        of = find_one_business(tx, business)
        result = work(tx, of)
        record_command(tx, of, f"member {command}")
        return result

    return carry_out(follow)


def _asked_hash() -> str:
    """A password, asked for twice, as its hash."""
    return _hash(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


def _hash(password: str) -> str:
    try:
        return actions.hash_password(password)
    except Refused as refused:
        raise typer.BadParameter(refused.detail) from refused


@commands.command("list")
def list_command(business: Of = "") -> None:
    """Show the members, their roles and how many sessions each has open."""

    def work(tx: Tx) -> tuple[list[Member], dict[str, int]]:
        of = find_one_business(tx, business)
        return store.list_members(tx, of.id), store.count_sessions(tx, of.id)

    members, sessions = carry_out(work)
    table = Table("id", "e-mail", "name", "role", "sessions", "deactivated on")
    for member in members:
        since = f"{member.deactivated_at:%Y-%m-%d}" if member.deactivated_at else ""
        open_now = str(sessions.get(member.id, 0))
        table.add_row(member.id, member.email, member.display_name, member.role.value, open_now, since)
    print_table(table)


@commands.command("set-role")
def set_role_command(who: Who, role: Role, business: Of = "") -> None:
    """Give a member another role; they have to sign in anew."""
    ended = _act("set-role", who, business, lambda tx, member: actions.set_member_role(tx, member, role))
    _say(f"The role is {role.value}.", ended)


@commands.command("reset-password")
def reset_password_command(
    who: Who,
    business: Of = "",
    password: Annotated[str, typer.Option(help="The new one; asked for when it is not named.")] = "",
    keep_tokens: Annotated[bool, typer.Option(help="Let access tokens that they made go on.")] = False,
    link: Annotated[bool, typer.Option(help="Print a link to hand over, by which they choose it.")] = False,
) -> None:
    """Give a member a new password, and confirm their address; all that came in with the old one is out."""
    if link:
        path = _act("reset-password", who, business, lambda tx, member: reset_path(tx, member, HANDED_FOR))
        out.print(Settings().link_address + path, soft_wrap=True)
        return
    hashed = _hash(password) if password else _asked_hash()

    def work(tx: Tx, member: Member) -> Ended:
        ended = actions.change_password(tx, member, hashed, keep_tokens=keep_tokens)
        actions.confirm_email(tx, member)
        return ended

    _say("The password is changed.", _act("reset-password", who, business, work))


@commands.command("deactivate")
def deactivate_command(who: Who, business: Of = "") -> None:
    """Let a member in no more; what they wrote keeps their name."""
    _say("The member is deactivated.", _act("deactivate", who, business, actions.deactivate_member))


@commands.command("reactivate")
def reactivate_command(who: Who, business: Of = "") -> None:
    """Let a member in again, with the role and the password that they had."""
    _act("reactivate", who, business, actions.reactivate_member)
    out.print("The member may sign in again.")


@commands.command("sign-out")
def sign_out_command(who: Who, business: Of = "") -> None:
    """End all sessions of a member; they may sign in again."""
    count = _act("sign-out", who, business, actions.end_member_sessions)
    out.print(f"{count} sessions have ended.")
