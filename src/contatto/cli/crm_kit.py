"""The command that tries connectors against everything that real CRMs do to an integration."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from contatto.cli.acting import out
from contatto.crm.registry import CONNECTORS
from contatto.simulator.crms.cases import CASES
from contatto.simulator.crms.kit import Result, verify_connector

_MARKS = {True: "passed", False: "FAILED", None: "-"}


def verify_command(
    connector: Annotated[list[str] | None, typer.Option(help="A connector to try, such as hubspot.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All connectors with a CRM in memory.")] = False,
    to: Annotated[Path | None, typer.Option("--json", help="A file for the results.")] = None,
) -> None:
    """Play the failure kit: expired tokens, lost answers, merges, outages and more.

    A CRM in memory that speaks the vendor's API over HTTP does each of them. Every lead has to be there once
    in the end, with its latest values. The exit code is 1 if one connector fails one fault.
    """
    chosen = sorted(CASES) if every else list(connector or ())
    unknown = [name for name in chosen if name not in CASES]
    if unknown or not chosen:
        known = ", ".join(sorted(CASES))
        raise typer.BadParameter(f"name one of {known}, or --all", param_hint="--connector")
    results: list[Result] = []
    for name in chosen:
        table = Table("fault", "result", "", title=CONNECTORS[name].traits.label)
        for result in verify_connector(CONNECTORS[name], CASES[name]):
            table.add_row(result.fault, _MARKS[result.is_right], result.detail)
            results.append(result)
        out.print(table)
    wrong = [result for result in results if result.is_right is False]
    played = [result for result in results if result.is_right is not None]
    out.print(f"{len(played)} faults played with {len(chosen)} connectors, {len(wrong)} failed.")
    if to is not None:
        to.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n", encoding="utf-8")
    raise typer.Exit(1 if wrong else 0)
