"""The operator's commands for linked CRMs: link, list, pause, resume, send again, remove, verify."""

import os
from collections.abc import Callable
from typing import Annotated, Final

import typer
from rich.table import Table

from contatto.cli.acting import Of, carry_out, find_one_business, out, print_table, record_command
from contatto.cli.crm_kit import verify_command
from contatto.crm.actions.changes import incoming_path, open_incoming
from contatto.crm.actions.checks import queue_comparison
from contatto.crm.actions.targets import (
    CrmLedger,
    NewTarget,
    link_crm,
    load_ledger,
    load_target,
    pause_target,
    reconnect_target,
    remove_target,
    resend_dead,
    resume_target,
    resync_target,
    start_path,
)
from contatto.crm.model import ConnectorTraits, Target, TargetState
from contatto.crm.registry import CONNECTORS
from contatto.crm.rules.reasons import Alarm
from contatto.kit.db.tx import Tx
from contatto.kit.settings import Settings

SECRET: Final = "CONTATTO_CRM_"  # noqa: S105  # begins names of variables
Number = Annotated[int, typer.Argument(help="Number of the linked CRM, as `contatto crm list` shows it.")]
Pairs = Annotated[
    list[str] | None, typer.Option("--set", help="A setting as name=value; `connectors` shows the names.")
]
commands = typer.Typer(no_args_is_help=True, help=__doc__)
commands.command("verify")(verify_command)


@commands.command("connectors")
def connectors_command() -> None:
    """Show which CRMs can be linked, and what each asks for."""
    table = Table("connector", "name", "settings", "secrets")
    for name in sorted(CONNECTORS):
        traits = CONNECTORS[name].traits
        settings = ", ".join(setting.name for setting in traits.settings if not setting.is_secret)
        secrets = ", ".join(each.name for each in traits.settings if each.is_secret)
        table.add_row(name, traits.label, settings, secrets)
    print_table(table)


@commands.command("link")
def link_command(
    connector: Annotated[str, typer.Argument(help="Name of the connector, such as tryton.")],
    address: Annotated[str, typer.Option(help="Where the CRM is; not needed where the vendor has one.")] = "",
    name: Annotated[str, typer.Option(help="What it is called in lists.")] = "",
    pairs: Pairs = None,
    business: Of = "",
) -> None:
    """Link a CRM: leads that are there go to it, and each change from now on.

    Secrets are asked for, or read from variables such as CONTATTO_CRM_PASSWORD. Where the vendor has to be
    asked (OAuth), it prints the address to open.
    """
    found = CONNECTORS.get(connector)
    if found is None:
        raise typer.BadParameter(f"connector: one of {', '.join(sorted(CONNECTORS))}.")
    given = _given(found.traits, pairs)
    new = NewTarget(connector, name, address, given)
    allowed = Settings().allowed_hosts

    def work(tx: Tx) -> Target:
        of = find_one_business(tx, business)
        target = link_crm(tx, of.id, new, allowed)
        record_command(tx, of, "crm link", f"target={target.number}")
        return target

    made = carry_out(work)
    out.print(f"Linked as {made.number}.")
    _print_consent(found.traits, made)


def _print_consent(traits: ConnectorTraits, target: Target) -> None:
    """Where a member allows it, if the vendor has to be asked; a browser has to do that, not a command."""
    if traits.oauth is not None and target.state is TargetState.DISCONNECTED:
        out.print("Sign in as an administrator, and allow it there:")
        out.print(f"{Settings().link_address}{start_path(target)}", soft_wrap=True)


def _given(traits: ConnectorTraits, pairs: list[str] | None) -> dict[str, str]:
    """Settings from the options, secrets from variables or from whoever sits there."""
    given = dict(_pair(each) for each in pairs or ())
    secret = {each.name for each in traits.settings if each.is_secret}
    if secret & given.keys():
        raise typer.BadParameter("--set: a secret would stay in the shell's history; leave it out.")
    for setting in traits.settings:
        if setting.is_secret:
            found = os.environ.get(f"{SECRET}{setting.name.upper()}", "")
            if not found and setting.is_required:
                found = typer.prompt(setting.label, hide_input=True)
            given[setting.name] = found
    return given


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"--set: write name=value, not {text}.")
    return name.strip(), value


@commands.command("list")
def list_command(business: Of = "") -> None:
    """Show the linked CRMs with their ledger: each lead is to come, due, sent, verified or dead."""

    def work(tx: Tx) -> CrmLedger:
        return load_ledger(tx, find_one_business(tx, business).id)

    found = carry_out(work)
    columns = ("leads", "to come", "due", "sent", "verified", "dead", "oldest due")
    table = Table("number", "name", "state", *columns, "why")
    for each in found.targets:
        has = each.standing
        counts = (has.leads, has.to_come, has.due, has.sent, has.verified, has.dead)
        why = each.target.reason or ("none arrives" if each.is_alarming else "")
        why = why or ("differs there" if Alarm.DIFFERS in each.alarms else "")
        numbers = (f"{count:,}" for count in counts)
        since = f"{has.due_since:%Y-%m-%d %H:%M}" if has.due_since else ""
        target = each.target
        table.add_row(str(target.number), target.name, target.state.value, *numbers, since, why)
    intake = found.intake
    out.print(
        f"Received {intake.received:,} = stored {intake.stored:,} + merged {intake.merged:,} + "
        f"refused {intake.refused:,} + waiting {intake.waiting:,}"
    )
    if found.targets:
        print_table(table)
    else:
        out.print("No CRM is linked.")
    if not all(each.standing.adds_up for each in found.targets):
        out.print("The counts of a CRM do not add up.")
        raise typer.Exit(1)


def _change(number: int, business: str, command: str, change: Callable[[Tx, Target], None]) -> None:
    def work(tx: Tx) -> None:
        of = find_one_business(tx, business)
        change(tx, load_target(tx, of.id, number))
        record_command(tx, of, f"crm {command}", f"target={number}")

    carry_out(work)
    out.print("Done.")


@commands.command("pause")
def pause_command(number: Number, business: Of = "") -> None:
    """Let leads queue until `resume`."""
    _change(number, business, "pause", pause_target)


@commands.command("resume")
def resume_command(number: Number, business: Of = "") -> None:
    """Let leads go there again; those that waited go by themselves."""
    _change(number, business, "resume", resume_target)


@commands.command("compare")
def compare_command(number: Number, business: Of = "") -> None:
    """Compare its records with our ledger now; `list` and the API tell what came of it."""
    _change(number, business, "compare", queue_comparison)


@commands.command("resync")
def resync_command(number: Number, business: Of = "") -> None:
    """Send every lead once more."""
    _change(number, business, "resync", resync_target)


@commands.command("resend")
def resend_command(number: Number, business: Of = "") -> None:
    """Send dead letters again, 500 at a time."""

    def resend(tx: Tx, target: Target) -> None:
        resend_dead(tx, target)

    _change(number, business, "resend", resend)


@commands.command("reconnect")
def reconnect_command(number: Number, pairs: Pairs = None, address: str = "", business: Of = "") -> None:
    """Connect a CRM again, with new secrets; what waited goes there by itself."""
    allowed = Settings().allowed_hosts
    traits = carry_out(lambda tx: _traits_of(tx, business, number))
    given = _given(traits, pairs)
    _change(
        number,
        business,
        "reconnect",
        lambda tx, target: reconnect_target(tx, target, address, {**target.settings, **given}, allowed),
    )


def _traits_of(tx: Tx, business: str, number: int) -> ConnectorTraits:
    target = load_target(tx, find_one_business(tx, business).id, number)
    return CONNECTORS[target.connector].traits


@commands.command("webhook")
def webhook_command(number: Number, business: Of = "") -> None:
    """Let a CRM post what people change there: shows the address, and a new secret, this once."""

    def work(tx: Tx) -> tuple[Target, str]:
        of = find_one_business(tx, business)
        target = load_target(tx, of.id, number)
        secret = open_incoming(tx, target)
        record_command(tx, of, "crm webhook", f"target={number}")
        return target, secret

    target, secret = carry_out(work)
    out.print(f"{Settings().link_address}{incoming_path(target.number)}", soft_wrap=True)
    out.print(secret, soft_wrap=True)


@commands.command("remove")
def remove_command(
    number: Number,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    business: Of = "",
) -> None:
    """Unlink a CRM: nothing more goes there, and its secrets are forgotten. What is there stays there."""
    if not yes:
        typer.confirm("Nothing more goes there. Remove it?", abort=True)
    _change(number, business, "remove", remove_target)
