"""`contatto detect`: contact details of messages from a file or standard input, as JSON Lines or CSV."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from enum import StrEnum
from itertools import batched, chain
from pathlib import Path
from typing import Annotated, BinaryIO, NamedTuple, Protocol, TextIO

import msgspec
import typer
from rich.console import Console

from contatto.capture.model import ContactMatch
from contatto.capture.rules import detect_contacts_batch, has_number_plan
from contatto.cli import streams


class OutputForm(StrEnum):
    """How messages are written: one a line, one JSON object a line, or a table with a header."""

    TEXT = "text"
    JSONL = "jsonl"
    CSV = "csv"


_AT_ONCE = 2_000
_ENDINGS = {
    ".jsonl": OutputForm.JSONL,
    ".ndjson": OutputForm.JSONL,
    ".json": OutputForm.JSONL,
    ".csv": OutputForm.CSV,
}
_COLUMNS = ("id", "field", "value", "start", "end", "raw", "confidence", "rule", "extension")


class Message(NamedTuple):
    """One message to read, under the id it came with."""

    id: str | int
    text: str
    country: str


class BadLine(Exception):
    """A line that is no message; its text says why."""


class _Line(msgspec.Struct):
    text: str
    id: str | int | None = None
    country: str | None = None


class Sink(Protocol):
    """Where results go."""

    def write(self, message: Message, found: list[ContactMatch]) -> None: ...


class JsonLines:
    """One object a message: `{"id", "contacts": [...]}`."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, message: Message, found: list[ContactMatch]) -> None:
        line = {"id": message.id, "contacts": [asdict(match) for match in found]}
        self._out.write(json.dumps(line, ensure_ascii=False) + "\n")


class TableSink:
    """One row a contact."""

    def __init__(self, out: TextIO) -> None:
        self._rows = csv.writer(out, lineterminator="\n")
        self._rows.writerow(_COLUMNS)

    def write(self, message: Message, found: list[ContactMatch]) -> None:
        self._rows.writerows((message.id, *asdict(match).values()) for match in found)


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
    if country and not has_number_plan(country.upper()):
        raise typer.BadParameter(_no_country(country), param_hint="--country")
    complaints = streams.complaints()
    with ExitStack() as stack:
        source = streams.open_source(file, stack)
        out = streams.open_out(output, stack)
        sink: Sink = TableSink(out) if to is OutputForm.CSV else JsonLines(out)
        lines = _watched(source, streams.watch_bytes(file, complaints, stack))
        if file == streams.STDIN:
            first = source.readline()
            guess = OutputForm.JSONL if first.lstrip()[:1] == b"{" else OutputForm.TEXT
            lines = chain([first], lines)
        else:
            guess = _ENDINGS.get(Path(file).suffix.lower(), OutputForm.TEXT)
        bad = _run(_messages(lines, form or guess, country.upper()), sink, complaints)
    if bad:
        complaints.print(f"{bad} {'line' if bad == 1 else 'lines'} skipped")
        raise typer.Exit(1)


def _watched(source: BinaryIO, advance: Callable[[int], None]) -> Iterator[bytes]:
    for line in source:
        advance(len(line))
        yield line


def _messages(
    lines: Iterable[bytes], form: OutputForm, country: str
) -> Iterator[tuple[int, Message | BadLine]]:
    """Each message with its line's number, or what is wrong with that line."""
    if form is OutputForm.CSV:
        yield from _rows(lines, country)
        return
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, _message(number, line.rstrip(b"\r\n"), form, country)
            except BadLine as error:
                yield number, error


def _message(number: int, line: bytes, form: OutputForm, country: str) -> Message:
    try:
        if form is OutputForm.TEXT:
            return _checked(number, None, line.decode(), country, country)
        parsed = msgspec.json.decode(line, type=_Line)
    except UnicodeDecodeError as error:
        raise BadLine("is not UTF-8") from error
    except msgspec.MsgspecError as error:
        raise BadLine(str(error)) from error
    return _checked(number, parsed.id, parsed.text, parsed.country, country)


def _rows(lines: Iterable[bytes], country: str) -> Iterator[tuple[int, Message | BadLine]]:
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


def _checked(number: int, given: str | int | None, text: str, market: str | None, default: str) -> Message:
    country = (market or default).upper()
    if country and not has_number_plan(country):
        raise BadLine(f"country {_no_country(country)}")
    return Message(number if given is None else given, text, country)


def _no_country(code: str) -> str:
    return f"{code!r} is no ISO 3166 country code with phone numbers, such as IT"


def _run(messages: Iterator[tuple[int, Message | BadLine]], sink: Sink, complaints: Console) -> int:
    """Detect and write, some thousand at once; the number of bad lines comes back."""
    bad = 0
    for several in batched(messages, _AT_ONCE):
        good = []
        for number, message in several:
            if isinstance(message, BadLine):
                bad += 1
                complaints.print(f"line {number}: {message}")
            else:
                good.append(message)
        found = detect_contacts_batch([(message.text, message.country) for message in good])
        for message, matches in zip(good, found, strict=True):
            sink.write(message, matches)
    return bad
