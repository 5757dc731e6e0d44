"""Attribution and reports of events in files, for the command line and for Python."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase, BytesIO, RawIOBase
from pathlib import Path
from typing import Any

import msgspec

from contatto.measurement.engines.choices import ENGINES, EngineName
from contatto.measurement.engines.lines import Complaint, LineReader, Setup
from contatto.measurement.engines.rows import AttributionRow, EventReport, list_attributions, load_report
from contatto.measurement.engines.staging import Staged
from contatto.measurement.engines.tables import holds_tables, load_tables
from contatto.measurement.model import Policy

type Source = str | Path | BufferedIOBase | RawIOBase | Iterable[dict[str, Any]]
"""A path (of JSON Lines, Parquet, CSV, or a folder of tables), an open file, or the rows as dictionaries."""


class MalformedLine(UserWarning):
    """A warning of a line that is no event and was left out; its text has the number and the reason."""


@dataclass(frozen=True, slots=True)
class Choices:
    """Options of the caller.

    Attributes:
        policy: which touch wins; None leaves it to the file, and a file without a word is ``click_first``.
        connection: where the engine is: a database URL, a Spark master, a Spark Connect address.
        memory_limit: what the embedded engine may use, such as ``1GB``; empty for four fifths of the machine.
    """

    policy: Policy | None = None
    engine: EngineName = EngineName.DUCKDB
    connection: str = ""
    memory_limit: str = ""


def attribute(
    events: Source, *, policy: str | None = None, engine: str = "duckdb", connection: str = ""
) -> Iterator[AttributionRow]:
    """Find the touch that won each conversion.

    Args:
        events: configuration and events: a path of JSON Lines, Parquet or CSV, an open binary file of JSON
            Lines, or the rows as dictionaries. See ``docs/how-to/attribute-files-of-events.md``.
        policy: ``click_first`` or ``last_touch``; None leaves it to a ``config`` row.
        engine: ``duckdb``, ``postgres``, ``spark`` or ``sail``.
        connection: where the engine is; see ``Choices``.

    Yields:
        One row for each conversion, in any order.

    Warns:
        MalformedLine: for each line that is left out.
    """
    with answered(events, _choices(policy, engine, connection), _warn) as staged:
        yield from list_attributions(staged)


def report(
    events: Source, *, policy: str | None = None, engine: str = "duckdb", connection: str = ""
) -> EventReport:
    """Make the report of ad groups by day, their totals, and what no touch won.

    Warns:
        MalformedLine: for each line that is left out.
    """
    with answered(events, _choices(policy, engine, connection), _warn) as staged:
        return load_report(staged)


@contextmanager
def answered(
    events: Source, choices: Choices, complain: Complaint, advance: Callable[[int], None] = lambda _: None
) -> Iterator[Staged]:
    """Read events, run the definition over them, and hold the results open.

    ``complain`` is told of each line that is left out, ``advance`` how many bytes were read.
    """
    with Staged(choices.memory_limit) as staged:
        if isinstance(events, str | Path) and holds_tables(Path(events)):
            setup = load_tables(staged, Path(events), complain)
        else:
            setup = _load_lines(staged, events, complain, advance)
        staged.finish(setup, complain)
        ENGINES[choices.engine](staged, choices.policy or setup.policy, choices.connection)
        yield staged


def _load_lines(staged: Staged, events: Source, complain: Complaint, advance: Callable[[int], None]) -> Setup:
    reader = LineReader(complain)
    with _opened(events) as source:
        for size, chunk in reader.events(source):
            staged.add(chunk)
            advance(size)
    return reader.setup


@contextmanager
def _opened(events: Source) -> Iterator[BufferedIOBase | RawIOBase]:
    if isinstance(events, str | Path):
        with Path(events).open("rb") as file:
            yield file
    elif isinstance(events, BufferedIOBase | RawIOBase):
        yield events
    else:
        yield BytesIO(msgspec.json.Encoder().encode_lines(events))


def _choices(policy: str | None, engine: str, connection: str) -> Choices:
    return Choices(None if policy is None else Policy(policy), EngineName(engine), connection)


def _warn(line: int, fault: str) -> None:
    warnings.warn(f"line {line}: {fault}", MalformedLine, stacklevel=2)
