"""Attribution and reports of events in files, for the command line and for Python."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase, BytesIO, RawIOBase
from operator import add
from pathlib import Path
from typing import Any, Final

import msgspec

from contatto.measurement.engines.choices import ENGINES, EngineName
from contatto.measurement.engines.lines import Complaint, Id, LineReader
from contatto.measurement.engines.staging import Staged
from contatto.measurement.engines.tables import holds_tables, load_tables
from contatto.measurement.model import AttributionPolicy, Goal, TouchKind

_AT_ONCE: Final = 10_000


class AttributionRow(msgspec.Struct, tag="attribution", tag_field="type", frozen=True):
    """A conversion and the touch that won it; the three are None where none did."""

    conversion_id: int
    touch_id: int | None
    adgroup_id: Id | None
    via: TouchKind | None


class TotalRow(msgspec.Struct, tag="total", tag_field="type", frozen=True, kw_only=True):
    """Figures of an ad group; ``conversions`` counts what its goal counts, costs are floored."""

    adgroup_id: Id
    spend_micros: int
    impressions: int
    clicks: int
    conversations: int
    leads: int
    conversions: int
    cost_per_conversion_micros: int | None
    rt_conversations: int
    rt_leads: int
    rt_conversions: int
    rt_cost_per_conversion_micros: int | None


class DayRow(TotalRow, tag="report", tag_field="type", frozen=True, kw_only=True):
    """Figures of an ad group on one day (``YYYY-MM-DD``) of its business's zone."""

    day: str


class UnattributedRow(msgspec.Struct, tag="unattributed", tag_field="type", frozen=True):
    """Count of a business's conversions without a winning touch."""

    business_id: Id
    conversations: int
    leads: int


@dataclass(frozen=True, slots=True)
class EventReport:
    """Report of events: by ad group and day, by ad group, and without credit by business."""

    days: list[DayRow]
    totals: list[TotalRow]
    unattributed: list[UnattributedRow]


_NONE: Final = (0,) * 7


def list_attributions(staged: Staged) -> Iterator[AttributionRow]:
    """One row a conversion, a few thousand in memory at once."""
    names = {key: row.adgroup_id for key, (_, row) in staged.setup.adgroups.items()}
    cursor = staged.db.execute("SELECT conversion_id, touch_id, adgroup_id, click FROM attributions")
    while rows := cursor.fetchmany(_AT_ONCE):
        for conversion_id, touch_id, adgroup_id, click in rows:
            if touch_id is None:
                yield AttributionRow(conversion_id, None, None, None)
            else:
                via = TouchKind.CLICK if click else TouchKind.VIEW
                yield AttributionRow(conversion_id, touch_id, names[adgroup_id], via)


def load_report(staged: Staged) -> EventReport:
    setup = staged.setup
    sums: dict[str, tuple[int, ...]] = dict.fromkeys(setup.adgroups, _NONE)
    days = []
    counted = "spend_micros, impressions, clicks, conversations, leads, rt_conversations, rt_leads"
    result = staged.db.execute(f"SELECT adgroup_id, day::VARCHAR, {counted} FROM report ORDER BY 1, 2")
    for adgroup_id, day, *counts in result.fetchall():
        _, adgroup = setup.adgroups[adgroup_id]
        days.append(DayRow(day=day, **_figures(adgroup.adgroup_id, adgroup.goal, tuple(counts))))
        sums[adgroup_id] = tuple(map(add, sums[adgroup_id], counts))
    totals = [
        TotalRow(**_figures(row.adgroup_id, row.goal, sums[key])) for key, (_, row) in setup.adgroups.items()
    ]
    query = "SELECT business_id, conversations, leads FROM unattributed"
    missed = {key: counts for key, *counts in staged.db.execute(query).fetchall()}
    unattributed = [
        UnattributedRow(row.business_id, *missed.get(key, (0, 0))) for key, row in setup.businesses.items()
    ]
    return EventReport(days, totals, unattributed)


def _figures(adgroup_id: Id, goal: Goal, counts: tuple[int, ...]) -> dict[str, Any]:
    """Conversions follow the goal; a cost per conversion is floored, and None where there is none."""
    spend, impressions, clicks, conversations, leads, rt_conversations, rt_leads = counts
    by_leads = goal is Goal.LEAD
    conversions = leads if by_leads else conversations
    rt_conversions = rt_leads if by_leads else rt_conversations
    return {
        "adgroup_id": adgroup_id,
        "spend_micros": spend,
        "impressions": impressions,
        "clicks": clicks,
        "conversations": conversations,
        "leads": leads,
        "conversions": conversions,
        "cost_per_conversion_micros": spend // conversions if conversions else None,
        "rt_conversations": rt_conversations,
        "rt_leads": rt_leads,
        "rt_conversions": rt_conversions,
        "rt_cost_per_conversion_micros": spend // rt_conversions if rt_conversions else None,
    }


type Source = str | Path | BufferedIOBase | RawIOBase | Iterable[dict[str, Any]]
"""A path (of JSON Lines, Parquet, CSV, or a folder of tables), an open file, or the rows as dictionaries."""


class MalformedLine(UserWarning):
    """A warning of a line that is no event and was left out; its text has the number and the reason."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Options of a run.

    Attributes:
        policy: which touch wins; None leaves it to the file, and a file without a word is ``click_first``.
        connection: where the engine is: a database URL, a Spark master, a Spark Connect address.
        memory_limit: what the embedded engine may use, such as ``1GB``; empty for four fifths of the machine.
    """

    policy: AttributionPolicy | None = None
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
        connection: where the engine is; see ``EngineOptions``.

    Yields:
        One row for each conversion, in any order.

    Warns:
        MalformedLine: for each line that is left out.
    """
    with answered(events, _options(policy, engine, connection), _warn) as staged:
        yield from list_attributions(staged)


def report(
    events: Source, *, policy: str | None = None, engine: str = "duckdb", connection: str = ""
) -> EventReport:
    """Make the report of ad groups by day, their totals, and what no touch won.

    Warns:
        MalformedLine: for each line that is left out.
    """
    with answered(events, _options(policy, engine, connection), _warn) as staged:
        return load_report(staged)


@contextmanager
def answered(
    events: Source,
    options: EngineOptions,
    complain: Complaint,
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[Staged]:
    """Read events, run the definition over them, and hold the results open.

    ``complain`` gets each line that is left out, ``advance`` the number of bytes read.
    """
    with Staged(options.memory_limit) as staged:
        if isinstance(events, str | Path) and holds_tables(Path(events)):
            setup = load_tables(staged, Path(events), complain)
        else:
            reader = LineReader(complain)
            with _opened(events) as source:
                for size, chunk in reader.events(source):
                    staged.add(chunk)
                    advance(size)
            setup = reader.setup
        staged.finish(setup, complain)
        ENGINES[options.engine](staged, options.policy or setup.policy, options.connection)
        yield staged


@contextmanager
def _opened(events: Source) -> Iterator[BufferedIOBase | RawIOBase]:
    if isinstance(events, str | Path):
        with Path(events).open("rb") as file:
            yield file
    elif isinstance(events, BufferedIOBase | RawIOBase):
        yield events
    else:
        yield BytesIO(msgspec.json.Encoder().encode_lines(events))


def _options(policy: str | None, engine: str, connection: str) -> EngineOptions:
    return EngineOptions(
        None if policy is None else AttributionPolicy(policy), EngineName(engine), connection
    )


def _warn(line: int, fault: str) -> None:
    warnings.warn(f"line {line}: {fault}", MalformedLine, stacklevel=2)
