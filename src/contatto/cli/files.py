"""Commands that filter files: contact detection, attribution, reports."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from enum import StrEnum
from importlib import import_module
from io import BufferedReader
from itertools import batched, chain
from pathlib import Path
from typing import Annotated, BinaryIO, Final, NamedTuple, TextIO, cast

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress

from contatto.capture.fields.numbers import country_code
from contatto.capture.rules import detect_contacts_batch
from contatto.measurement.engines.events import (
    EngineName,
    EngineOptions,
    answered,
    list_attributions,
    load_report,
)
from contatto.measurement.engines.staging import EngineFailed, MissingTable, Staged, holds_tables
from contatto.measurement.model import AttributionPolicy

STDIN = "-"


_err: Final = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def open_source(file: str, stack: ExitStack) -> BufferedReader:
    """Open the file, or standard input for ``-``."""
    if file == STDIN:
        return cast("BufferedReader", sys.stdin.buffer)
    try:
        return stack.enter_context(Path(file).open("rb"))
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="FILE") from error


def open_out(output: Path | None, stack: ExitStack) -> TextIO:
    """Open the file to write to, or standard output in UTF-8."""
    if output is not None:
        return stack.enter_context(output.open("w", encoding="utf-8", errors="backslashreplace", newline=""))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    return sys.stdout


def watch_bytes(file: str, stack: ExitStack) -> Callable[[int], None]:
    """Return a callback for the number of bytes read; on a terminal it moves a bar."""
    if not _err.is_terminal:
        return lambda _: None
    total = None if file == STDIN else Path(file).stat().st_size
    progress = stack.enter_context(Progress(console=_err, transient=True))
    task = progress.add_task("Reading", total=total)
    return lambda size: progress.advance(task, size)


class OutputForm(StrEnum):
    """Form of messages: one a line, one JSON object a line, or a table with a header."""

    TEXT = "text"
    JSONL = "jsonl"
    CSV = "csv"


_MESSAGES_AT_ONCE = 2_000
_NO_COUNTRY = "{!r} is no ISO 3166 country code with phone numbers, such as IT"
_ENDINGS = {
    ".jsonl": OutputForm.JSONL,
    ".ndjson": OutputForm.JSONL,
    ".json": OutputForm.JSONL,
    ".csv": OutputForm.CSV,
}
_COLUMNS = ("id", "field", "value", "start", "end", "raw", "confidence", "rule", "extension")


class InputMessage(NamedTuple):
    """One message to read; its id is its line number if the input has none."""

    id: str | int
    text: str
    country: str


class BadLine(Exception):
    """A line that is no message; its text says why."""


class _Line(msgspec.Struct):
    text: str
    id: str | int | None = None
    country: str | None = None


def detect_command(
    file: Annotated[str, typer.Argument(help="A file, or - for standard input.")] = "-",
    country: Annotated[
        str,
        typer.Option(
            help="Country of messages that name none, such as IT. Without it, only numbers with + count.",
            metavar="CODE",
        ),
    ] = "",
    form: Annotated[
        OutputForm | None, typer.Option("--from", help="Form of the input; else by its name or first sign.")
    ] = None,
    to: Annotated[
        OutputForm, typer.Option("--to", help="Form of the output: jsonl or csv.")
    ] = OutputForm.JSONL,
    output: Annotated[Path | None, typer.Option(help="A file to write to, instead of the terminal.")] = None,
) -> None:
    """Find contact details in messages.

    Reads text (a message a line), JSON Lines ({"id", "text", "country"}) or CSV (columns id, text, country)
    and writes JSON Lines or CSV. Lines that cannot be read are reported and skipped; then the exit code is 1.
    """
    if to is OutputForm.TEXT:
        raise typer.BadParameter("the output is jsonl or csv", param_hint="--to")
    if country and not country_code(country.upper()):
        raise typer.BadParameter(_NO_COUNTRY.format(country), param_hint="--country")
    with ExitStack() as stack:
        source = open_source(file, stack)
        out = open_out(output, stack)
        rows = csv.writer(out, lineterminator="\n")
        if to is OutputForm.CSV:
            rows.writerow(_COLUMNS)
        lines = _watched(source, watch_bytes(file, stack))
        guess = _ENDINGS.get(Path(file).suffix.lower(), OutputForm.TEXT)
        if file == STDIN:
            first = source.readline()
            guess = OutputForm.JSONL if first.lstrip()[:1] == b"{" else OutputForm.TEXT
            lines = chain([first], lines)
        bad = 0
        for several in batched(_parse_messages(lines, form or guess, country.upper()), _MESSAGES_AT_ONCE):
            good = []
            for number, message in several:
                if isinstance(message, BadLine):
                    bad += 1
                    _err.print(f"line {number}: {message}")
                else:
                    good.append(message)
            matches_of_all = detect_contacts_batch([(message.text, message.country) for message in good])
            for message, matches in zip(good, matches_of_all, strict=True):
                contacts = [asdict(match) for match in matches]
                if to is OutputForm.CSV:
                    rows.writerows((message.id, *row.values()) for row in contacts)
                else:
                    out.write(json.dumps({"id": message.id, "contacts": contacts}, ensure_ascii=False) + "\n")
    if bad:
        _err.print(f"{bad} {'line' if bad == 1 else 'lines'} skipped")
        raise typer.Exit(1)


def _watched(source: BinaryIO, advance: Callable[[int], None]) -> Iterator[bytes]:
    for line in source:
        advance(len(line))
        yield line


def _parse_messages(
    lines: Iterable[bytes], form: OutputForm, country: str
) -> Iterator[tuple[int, InputMessage | BadLine]]:
    """Yield each message, or the fault of its line, with the number of the line."""
    if form is OutputForm.CSV:
        yield from _csv_rows(lines, country)
        return
    for number, line in enumerate(lines, 1):
        if line.strip():
            text = line.rstrip(b"\r\n")
            try:
                parsed = (
                    _Line(text.decode()) if form is OutputForm.TEXT else msgspec.json.decode(text, type=_Line)
                )
                yield number, _checked(number, parsed.id, parsed.text, parsed.country, country)
            except UnicodeDecodeError:
                yield number, BadLine("is not UTF-8")
            except msgspec.MsgspecError as error:
                yield number, BadLine(str(error))
            except BadLine as error:
                yield number, error


def _csv_rows(lines: Iterable[bytes], country: str) -> Iterator[tuple[int, InputMessage | BadLine]]:
    texts = (line.decode("utf-8", "replace") for line in lines)
    rows = csv.DictReader(texts, strict=True)
    while True:
        try:
            row = next(rows, None)
            if row is None:
                return
            text = row.get("text")
            if text is None:
                raise BadLine("has no column `text`")
            yield rows.line_num, _checked(rows.line_num, row.get("id"), text, row.get("country"), country)
        except csv.Error as error:
            yield rows.line_num, BadLine(str(error))
        except BadLine as error:
            yield rows.line_num, error


def _checked(
    number: int, message_id: str | int | None, text: str, message_country: str | None, default: str
) -> InputMessage:
    country = (message_country or default).upper()
    if country and not country_code(country):
        raise BadLine(f"country {_NO_COUNTRY.format(country)}")
    return InputMessage(number if message_id is None else message_id, text, country)


_MOST_COMPLAINTS: Final = 100
_ROWS_AT_ONCE: Final = 1_000
_ENCODER: Final = msgspec.json.Encoder()

File = Annotated[
    str, typer.Argument(help="A file of JSON Lines, Parquet or CSV, a folder of tables, or - for stdin.")
]
ChosenPolicy = Annotated[
    AttributionPolicy | None,
    typer.Option("--policy", help="Which touch wins; else as the file says, or click_first."),
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
    file: File = STDIN,
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
    options = EngineOptions(policy, engine, connection, memory_limit)
    _compute(file, options, output, list_attributions)


def report_command(
    file: File = STDIN,
    policy: ChosenPolicy = None,
    engine: ChosenEngine = EngineName.DUCKDB,
    connection: Connection = "",
    memory_limit: MemoryLimit = "",
    output: Output = None,
) -> None:
    """Make the report of ad groups by day, their totals, and what no touch won.

    Reads what `contatto attribute` reads, and writes rows of type report, total and unattributed.
    """
    options = EngineOptions(policy, engine, connection, memory_limit)
    _compute(file, options, output)


class _Faults:
    """Counter of faulty lines that prints the first ones."""

    count = 0

    def add(self, line: int, fault: str) -> None:
        self.count += 1
        if self.count <= _MOST_COMPLAINTS:
            _err.print(f"line {line}: {fault}")


def _compute(
    file: str,
    options: EngineOptions,
    output: Path | None,
    list_first: Callable[[Staged], Iterable[msgspec.Struct]] = lambda _: (),
) -> None:
    """Compute attribution over a file, and write the report, after the rows of ``list_first``.

    Exit with 1 if lines were skipped.
    """
    faults = _Faults()
    try:
        with ExitStack() as stack:
            is_table = file != STDIN and holds_tables(Path(file))
            source = file if is_table else open_source(file, stack)
            out = open_out(output, stack)
            with ExitStack() as bar:
                advance = watch_bytes(file, bar)
                staged = stack.enter_context(answered(source, options, faults.add, advance))
            report = load_report(staged)
            rows = chain(list_first(staged), report.days, report.totals, report.unattributed)
            for several in batched(rows, _ROWS_AT_ONCE):
                out.write(_ENCODER.encode_lines(several).decode())
    except MissingTable as error:
        raise typer.BadParameter(str(error), param_hint="FILE") from error
    except EngineFailed as error:
        _err.print(str(error))
        raise typer.Exit(2) from error
    except import_module("duckdb").Error as error:
        _err.print(f"The engine gave up: {error}")
        raise typer.Exit(2) from error
    if faults.count:
        more = f" ({_MOST_COMPLAINTS} are shown)" if faults.count > _MOST_COMPLAINTS else ""
        _err.print(f"{faults.count} {'line' if faults.count == 1 else 'lines'} skipped{more}")
        raise typer.Exit(1)
