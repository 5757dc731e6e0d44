"""`contatto attribute` and `contatto report`: who won each conversion, from files of events."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from itertools import batched, chain
from pathlib import Path
from typing import Annotated, Final, TextIO

import msgspec
import typer
from rich.console import Console

from contatto.cli import streams
from contatto.measurement.engines.choices import EngineName
from contatto.measurement.engines.events import Choices, answered
from contatto.measurement.engines.rows import list_attributions, load_report
from contatto.measurement.engines.staging import EngineFailed, Staged
from contatto.measurement.engines.tables import MissingTable, holds_tables
from contatto.measurement.model import Policy

_MOST_COMPLAINTS: Final = 100
_AT_ONCE: Final = 1_000
_ENCODER: Final = msgspec.json.Encoder()

File = Annotated[
    str, typer.Argument(help="A file of JSON Lines, Parquet or CSV, a folder of tables, or - for stdin.")
]
ChosenPolicy = Annotated[
    Policy | None, typer.Option("--policy", help="Which touch wins; else as the file says, or click_first.")
]
ChosenEngine = Annotated[EngineName, typer.Option("--engine", help="What computes it.")]
Connection = Annotated[
    str,
    typer.Option(
        envvar="CONTATTO_CONNECTION",
        help="Where the engine is: a PostgreSQL URL, a Spark master, or a Spark Connect address (sc://…).",
    ),
]
MemoryLimit = Annotated[str, typer.Option(help="Most memory of the embedded engine, such as 1GB.")]
Output = Annotated[Path | None, typer.Option(help="A file to write to, instead of the terminal.")]


def attribute_command(
    file: File = streams.STDIN,
    policy: ChosenPolicy = None,
    engine: ChosenEngine = EngineName.DUCKDB,
    connection: Connection = "",
    memory_limit: MemoryLimit = "",
    output: Output = None,
) -> None:
    """Find the touch that won each conversion, and make the report.

    Reads and writes JSON Lines: rows of type config, business, adgroup, window, touch and conversion come in,
    rows of type attribution, report, total and unattributed go out. Lines that cannot be read are reported
    and skipped; then the exit code is 1.
    """
    choices = Choices(policy, engine, connection, memory_limit)
    with _answered(file, choices, output) as (staged, out):
        report = load_report(staged)
        _write(out, chain(list_attributions(staged), report.days, report.totals, report.unattributed))


def report_command(
    file: File = streams.STDIN,
    policy: ChosenPolicy = None,
    engine: ChosenEngine = EngineName.DUCKDB,
    connection: Connection = "",
    memory_limit: MemoryLimit = "",
    output: Output = None,
) -> None:
    """Make the report of ad groups by day, their totals, and what no touch won.

    Reads what `contatto attribute` reads, and writes rows of type report, total and unattributed.
    """
    choices = Choices(policy, engine, connection, memory_limit)
    with _answered(file, choices, output) as (staged, out):
        report = load_report(staged)
        _write(out, chain(report.days, report.totals, report.unattributed))


class _Faults:
    """Tells of the first faults, and counts all of them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.count = 0

    def add(self, line: int, fault: str) -> None:
        self.count += 1
        if self.count <= _MOST_COMPLAINTS:
            self._console.print(f"line {line}: {fault}")

    def finish(self) -> None:
        """Say how many lines were left out.

        Raises:
            typer.Exit: with 1 if there were any.
        """
        if self.count:
            more = f" ({_MOST_COMPLAINTS} are shown)" if self.count > _MOST_COMPLAINTS else ""
            self._console.print(f"{self.count} {'line' if self.count == 1 else 'lines'} skipped{more}")
            raise typer.Exit(1)


@contextmanager
def _answered(file: str, choices: Choices, output: Path | None) -> Iterator[tuple[Staged, TextIO]]:
    console = streams.complaints()
    faults = _Faults(console)
    try:
        with ExitStack() as stack:
            is_table = file != streams.STDIN and holds_tables(Path(file))
            source = file if is_table else streams.open_source(file, stack)
            out = streams.open_out(output, stack)
            with ExitStack() as bar:
                advance = streams.watch_bytes(file, console, bar)
                staged = stack.enter_context(answered(source, choices, faults.add, advance))
            yield staged, out
    except MissingTable as error:
        raise typer.BadParameter(str(error), param_hint="FILE") from error
    except EngineFailed as error:
        console.print(str(error))
        raise typer.Exit(2) from error
    except import_module("duckdb").Error as error:
        console.print(f"The engine gave up: {error}")
        raise typer.Exit(2) from error
    faults.finish()


def _write(out: TextIO, rows: Iterable[msgspec.Struct]) -> None:
    for several in batched(rows, _AT_ONCE):
        out.write(_ENCODER.encode_lines(several).decode())
