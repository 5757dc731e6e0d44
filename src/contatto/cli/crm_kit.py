"""The command that tries connectors against everything that real CRMs do to an integration."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from contatto.cli.acting import out, print_table
from contatto.crm.registry import CONNECTORS
from contatto.signals.connectors import CONNECTORS as SIGNALS
from contatto.simulator.ad_platforms import verify_signals
from contatto.simulator.crms.failure_kit import CASES, Result, verify_connector

_PLATFORMS = {each.value: each for each in SIGNALS}
_MARKS = {True: "passed", False: "FAILED", None: "-"}


def verify_command(
    connector: Annotated[list[str] | None, typer.Option(help="A connector to try, such as hubspot.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them, of ad platforms too.")] = False,
    to: Annotated[Path | None, typer.Option("--json", help="A file for the results.")] = None,
) -> None:
    """Play the failure kit: expired tokens, lost answers, merges, outages and more.

    A CRM in memory that speaks the vendor's API over HTTP does each of them. Every lead has to be there once
    in the end, with its latest values. Of what an ad platform is told of leads, each step has to count once.
    The exit code is 1 if one connector fails one fault.
    """
    known = (*sorted(CASES), *sorted(_PLATFORMS))
    chosen = list(known if every else connector or ())
    if not chosen or not set(chosen) <= set(known):
        raise typer.BadParameter(f"name one of {', '.join(known)}, or --all", param_hint="--connector")
    results: list[Result] = []
    for name in chosen:
        title, played = _play(name)
        table = Table("fault", "result", "", title=title)
        for result in played:
            table.add_row(result.fault, _MARKS[result.is_right], result.detail)
            results.append(result)
        print_table(table)
    wrong = [result for result in results if result.is_right is False]
    tried = [result for result in results if result.is_right is not None]
    out.print(f"{len(tried)} faults played with {len(chosen)} connectors, {len(wrong)} failed.")
    if to is not None:
        to.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n", encoding="utf-8")
    raise typer.Exit(1 if wrong else 0)


def _play(name: str) -> tuple[str, Iterator[Result]]:
    """What a connector is called, and what comes of its faults, one after the other."""
    if name in _PLATFORMS:
        return f"{name}: signals", verify_signals(name, SIGNALS[_PLATFORMS[name]])
    return CONNECTORS[name].traits.label, verify_connector(CONNECTORS[name], CASES[name])
