"""Commands for linked CRMs, and the failure kit of connectors."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from contatto.cli.installation import BusinessOption, business_transaction, out, print_table, record_command
from contatto.crm.actions import targets
from contatto.crm.actions.checks import INCOMING_PATH, CompareWork, open_incoming
from contatto.crm.actions.deliveries import queue_work
from contatto.crm.model import ConnectorTraits, Target, TargetState
from contatto.crm.registry import CONNECTORS
from contatto.integrations.model import Alarm
from contatto.kit.db.tx import Tx
from contatto.kit.settings import Settings
from contatto.signals.connectors import CONNECTORS as SIGNALS
from contatto.simulator.ad_platforms import verify_signals
from contatto.simulator.crms.failure_kit import CASES, FaultResult, verify_connector

_PLATFORMS = {platform.value: platform for platform in SIGNALS}
_MARKS = {True: "passed", False: "FAILED", None: "-"}


def verify_command(
    connector: Annotated[list[str] | None, typer.Option(help="A connector to try, such as hubspot.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them, of ad platforms too.")] = False,
    to: Annotated[Path | None, typer.Option("--json", help="A file for the results.")] = None,
) -> None:
    """Play the failure kit: expired tokens, lost answers, merges, outages and more.

    A CRM in memory that speaks the vendor's API over HTTP does each of them. Every lead has to be there once
    in the end, with its latest values. An ad platform has to count each step of a lead once.
    The exit code is 1 if one connector fails one fault.
    """
    names = (*sorted(CASES), *sorted(_PLATFORMS))
    chosen = list(names if every else connector or ())
    if not chosen or not set(chosen) <= set(names):
        raise typer.BadParameter(f"name one of {', '.join(names)}, or --all", param_hint="--connector")
    results: list[FaultResult] = []
    for name in chosen:
        if name in _PLATFORMS:
            title, verified = f"{name}: signals", verify_signals(name, SIGNALS[_PLATFORMS[name]])
        else:
            title, verified = CONNECTORS[name].traits.label, verify_connector(CONNECTORS[name], CASES[name])
        table = Table("fault", "result", "", title=title)
        for result in verified:
            table.add_row(result.fault, _MARKS[result.is_right], result.detail)
            results.append(result)
        print_table(table)
    wrong = [result for result in results if result.is_right is False]
    tried = [result for result in results if result.is_right is not None]
    out.print(f"{len(tried)} faults played with {len(chosen)} connectors, {len(wrong)} failed.")
    if to is not None:
        to.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n", encoding="utf-8")
    raise typer.Exit(1 if wrong else 0)


SECRET: Final = "CONTATTO_CRM_"  # noqa: S105  # prefix of environment variables
Number = Annotated[int, typer.Argument(help="Number of the linked CRM, as `contatto crm list` shows it.")]
Pairs = Annotated[
    list[str] | None, typer.Option("--set", help="A setting as name=value; `connectors` shows the names.")
]
commands = typer.Typer(
    no_args_is_help=True,
    help="The operator's commands for linked CRMs: link, list, pause, resume, send again, remove, verify.",
)
commands.command("verify")(verify_command)


@commands.command("connectors")
def connectors_command() -> None:
    """Show which CRMs can be linked, and what each asks for."""
    table = Table("connector", "name", "settings", "secrets")
    for name in sorted(CONNECTORS):
        traits = CONNECTORS[name].traits
        settings = ", ".join(setting.name for setting in traits.settings if not setting.is_secret)
        secrets = ", ".join(setting.name for setting in traits.settings if setting.is_secret)
        table.add_row(name, traits.label, settings, secrets)
    print_table(table)


@commands.command("link")
def link_command(
    connector: Annotated[str, typer.Argument(help="Name of the connector, such as tryton.")],
    address: Annotated[str, typer.Option(help="Where the CRM is; not needed where the vendor has one.")] = "",
    name: Annotated[str, typer.Option(help="What it is called in lists.")] = "",
    pairs: Pairs = None,
    business: BusinessOption = "",
) -> None:
    """Link a CRM: leads that are there go to it, and each change from now on.

    The command prompts for secrets, or reads them from variables such as CONTATTO_CRM_PASSWORD. Where the
    vendor asks for consent (OAuth), it prints the address to open.
    """
    linked_connector = CONNECTORS.get(connector)
    if linked_connector is None:
        raise typer.BadParameter(f"connector: one of {', '.join(sorted(CONNECTORS))}.")
    settings = _read_target_settings(linked_connector.traits, pairs)
    new = targets.NewTarget(connector, name, address, settings)
    allowed = Settings().allowed_hosts
    with business_transaction(business) as (tx, one_business):
        target = targets.link_crm(tx, one_business.id, new, allowed)
        record_command(tx, one_business, "crm link", f"target={target.number}")
    out.print(f"Linked as {target.number}.")
    if linked_connector.traits.oauth is not None and target.state is TargetState.DISCONNECTED:
        out.print("Sign in as an administrator, and allow it there:")
        out.print(f"{Settings().link_address}{targets.start_path(target)}", soft_wrap=True)


def _read_target_settings(traits: ConnectorTraits, pairs: list[str] | None) -> dict[str, str]:
    """Read settings from the options, and secrets from variables or a prompt."""
    settings: dict[str, str] = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"--set: write name=value, not {pair}.")
        settings[name.strip()] = value
    secret_names = {setting.name for setting in traits.settings if setting.is_secret}
    if secret_names & settings.keys():
        raise typer.BadParameter("--set: a secret would stay in the shell's history; leave it out.")
    for setting in traits.settings:
        if setting.is_secret:
            secret = os.environ.get(f"{SECRET}{setting.name.upper()}", "")
            if not secret and setting.is_required:
                secret = typer.prompt(setting.label, hide_input=True)
            settings[setting.name] = secret
    return settings


@commands.command("list")
def list_command(business: BusinessOption = "") -> None:
    """Show the linked CRMs with their ledger: each lead is to come, due, sent, verified or dead."""
    with business_transaction(business) as (tx, one_business):
        ledger = targets.load_ledger(tx, one_business.id)
    columns = ("leads", "to come", "due", "sent", "verified", "dead", "oldest due")
    table = Table("number", "name", "state", *columns, "why")
    for target_row in ledger.targets:
        target, counts = target_row.target, target_row.counts
        is_quiet = Alarm.SHUT_OUT in target_row.alarms or Alarm.NONE_ARRIVES in target_row.alarms
        why = target.reason or ("none arrives" if is_quiet else "")
        why = why or ("differs there" if Alarm.DIFFERS in target_row.alarms else "")
        states = (counts.total, counts.to_come, counts.due, counts.sent, counts.verified, counts.dead)
        numbers = (f"{count:,}" for count in states)
        since = f"{counts.due_since:%Y-%m-%d %H:%M}" if counts.due_since else ""
        table.add_row(str(target.number), target.name, target.state.value, *numbers, since, why)
    intake = ledger.intake
    out.print(
        f"Received {intake.received:,} = stored {intake.stored:,} + merged {intake.merged:,} + "
        f"refused {intake.refused:,} + waiting {intake.waiting:,}"
    )
    print_table(table, "No CRM is linked.")
    if not all(target_row.counts.adds_up for target_row in ledger.targets):
        out.print("The counts of a CRM do not add up.")
        raise typer.Exit(1)


def _change(number: int, business: str, command: str, change: Callable[[Tx, Target], object]) -> None:
    with business_transaction(business) as (tx, one_business):
        change(tx, targets.load_target(tx, one_business.id, number))
        record_command(tx, one_business, f"crm {command}", f"target={number}")
    out.print("Done.")


def _add_change(name: str, change: Callable[[Tx, Target], object], text: str) -> None:
    """Add a command that changes a linked CRM, and needs no more than its number."""

    @commands.command(name, help=text)
    def command(number: Number, business: BusinessOption = "") -> None:
        _change(number, business, name, change)


_add_change("pause", targets.pause_target, "Let leads queue until `resume`.")
_add_change("resume", targets.resume_target, "Let leads go there again; those that waited go by themselves.")
_add_change(
    "compare",
    partial(queue_work, work=CompareWork),
    "Compare its records with our ledger now; `list` and the API show the result.",
)
_add_change("resync", targets.resync_target, "Send every lead once more.")
_add_change("resend", targets.resend_dead, "Send dead letters again, 500 at a time.")


@commands.command("reconnect")
def reconnect_command(
    number: Number, pairs: Pairs = None, address: str = "", business: BusinessOption = ""
) -> None:
    """Connect a CRM again, with new secrets; waiting leads go there then."""
    allowed = Settings().allowed_hosts
    with business_transaction(business) as (tx, one_business):
        target = targets.load_target(tx, one_business.id, number)
    traits = CONNECTORS[target.connector].traits
    settings = _read_target_settings(traits, pairs)
    _change(
        number,
        business,
        "reconnect",
        lambda tx, target: targets.reconnect_target(
            tx, target, address, {**target.settings, **settings}, allowed
        ),
    )


@commands.command("webhook")
def webhook_command(number: Number, business: BusinessOption = "") -> None:
    """Let a CRM post what people change there: shows the address, and a new secret, this once."""
    with business_transaction(business) as (tx, one_business):
        secret = open_incoming(tx, targets.load_target(tx, one_business.id, number))
        record_command(tx, one_business, "crm webhook", f"target={number}")
    out.print(f"{Settings().link_address}{INCOMING_PATH.format(target_id=number)}", soft_wrap=True)
    out.print(secret, soft_wrap=True)


@commands.command("remove")
def remove_command(
    number: Number,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    business: BusinessOption = "",
) -> None:
    """Unlink a CRM: nothing more goes there, and its secrets are forgotten. Its records stay there."""
    if not yes:
        typer.confirm("Nothing more goes there. Remove it?", abort=True)
    _change(number, business, "remove", targets.remove_target)
