"""Attribution and reports of events in files, on each engine."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from io import BufferedIOBase, BytesIO, RawIOBase
from operator import add
from pathlib import Path
from typing import Any, Final

import msgspec

from contatto.measurement.engines import staging
from contatto.measurement.engines.parquet import create_table
from contatto.measurement.model import AttributionPolicy, Goal, TouchKind


def fill_with_duckdb(staged: staging.Staged, policy: AttributionPolicy, _connection: str = "") -> None:
    staged.db.execute(f"CREATE TABLE winners AS {staging.sql_of('duckdb', f'winners_{policy}')}")
    for name in staging.RESULTS:
        staged.db.execute(f"CREATE TABLE {name} AS {staging.sql_of('duckdb', name)}")


_TABLES: Final = {
    "touches": "touch_id bigint, business_id text, user_id text, adgroup_id text, click bigint, ts bigint,"
    " expires_ts bigint, day date, cost_micros bigint",
    "conversions": "conversion_id bigint, business_id text, user_id text, lead bigint, ts bigint, day date",
}
_ROWS_PER_BATCH: Final = 10_000


def fill_with_postgres(staged: staging.Staged, policy: AttributionPolicy, connection: str) -> None:
    """Compute in one transaction that leaves nothing behind. Raises EngineFailed."""
    if not connection:
        raise staging.EngineFailed(
            "PostgreSQL needs an address: --connection postgresql://user:pass@host/database"
        )
    psycopg = import_module("psycopg")  # the other engines start without it
    try:
        with psycopg.connect(connection.replace("+psycopg", "", 1)) as server:
            for table, described in _TABLES.items():
                server.execute(f"CREATE TEMP TABLE {table} ({described}) ON COMMIT DROP")
                rows = staged.db.execute(f"SELECT * FROM {table}")
                with server.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
                    while batch := rows.fetchmany(_ROWS_PER_BATCH):
                        for row in batch:
                            copy.write_row(row)
                server.execute(f"ANALYZE {table}")
            winners = staging.sql_of("postgres", f"winners_{policy}")
            server.execute(f"CREATE TEMP TABLE winners ON COMMIT DROP AS {winners}")
            server.execute("ANALYZE winners")
            for name, columns in staging.RESULTS.items():
                create_table(staged.db, name, columns)
                with server.cursor(f"read_{name}") as cursor:
                    cursor.execute(staging.sql_of("postgres", name))
                    names = [column.name for column in cursor.description or ()]
                    staged.load(name, (dict(zip(names, row, strict=True)) for row in cursor))
    except psycopg.Error as error:
        raise staging.EngineFailed(f"PostgreSQL: {error}") from error


_SETTINGS: Final = "SET join_use_nulls = 1"
"""Makes outer joins follow the SQL standard: a row without a partner has nulls, not zeros."""


def fill_with_clickhouse(staged: staging.Staged, policy: AttributionPolicy, connection: str) -> None:
    """Compute in this process. Raises EngineFailed if chDB is missing or fails, or for an address."""
    if connection:
        raise staging.EngineFailed("ClickHouse runs in this process and takes no --connection")
    chdb = staging.load_package("chdb.session", "clickhouse")
    folder = staged.folder / "clickhouse"
    session = chdb.Session()
    try:
        session.query(_SETTINGS)
        for name in ("touches", "conversions"):
            source = folder / name / "part.parquet"
            staged.export_parquet(name, source)
            session.query(f"CREATE VIEW {name} AS SELECT * FROM file('{source}', Parquet)")
        winners = staging.sql_of("clickhouse", f"winners_{policy}")
        session.query(f"CREATE TABLE winners ENGINE = MergeTree ORDER BY tuple() AS {winners}")
        for name in staging.RESULTS:
            target = folder / name / "all.parquet"
            target.parent.mkdir()
            session.query(
                f"INSERT INTO FUNCTION file('{target}', Parquet) {staging.sql_of('clickhouse', name)}"
            )
            staged.keep_parquet(name, target.parent)
    except RuntimeError as error:
        raise staging.EngineFailed(f"ClickHouse: {error}") from error
    finally:
        session.close()


class EngineName(StrEnum):
    DUCKDB = "duckdb"
    POSTGRES = "postgres"
    SPARK = "spark"
    SAIL = "sail"
    CLICKHOUSE = "clickhouse"


type Fill = Callable[[staging.Staged, AttributionPolicy, str], None]
"""Computes the results of staged events by a policy, with an engine at an address."""

CONNECT: Final = "sc://"
_EVENTS: Final = ("touches", "conversions")


def fill_with_spark(staged: staging.Staged, policy: AttributionPolicy, connection: str) -> None:
    """Compute on a Spark master, by default this machine, or at a Spark Connect address. Raises EngineFailed.

    Workers elsewhere have to see the folder of temporary files (TMPDIR) under the same path.
    """
    session, folder = open_session(connection or "local[*]"), staged.folder / "spark"
    try:
        for name in _EVENTS:
            staged.export_parquet(name, folder / name / "part.parquet")
            session.read.parquet(str(folder / name)).createOrReplaceTempView(name)
        answer_statements(session, policy, staging.RESULTS, str(folder))
        for name in staging.RESULTS:
            staged.keep_parquet(name, folder / name)
    finally:
        session.stop()


def fill_with_sail(staged: staging.Staged, policy: AttributionPolicy, connection: str) -> None:
    """Compute with Sail: at an address, or in a server for this run. Raises EngineFailed."""
    if connection:
        fill_with_spark(staged, policy, connection)
        return
    server = staging.load_package("pysail.spark", "sail").SparkConnectServer()
    server.start(background=True)
    try:
        _, port = server.listening_address
        fill_with_spark(staged, policy, f"{CONNECT}127.0.0.1:{port}")
    finally:
        server.stop()


def open_session(connection: str) -> Any:
    """Return a Spark session in ANSI mode, in which integers that overflow are errors."""
    builder = staging.load_package("pyspark.sql", "spark").SparkSession.builder.appName("contatto")
    if connection.startswith(CONNECT):
        return builder.remote(connection).getOrCreate()
    quiet = {
        "spark.ui.enabled": "false",
        "spark.log.level": "ERROR",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.session.timeZone": "UTC",
    }
    for name, value in quiet.items():
        builder = builder.config(name, value)
    return builder.master(connection).getOrCreate()


def answer_statements(session: Any, policy: AttributionPolicy, results: Iterable[str], folder: str) -> None:
    """Run the SQL of attribution over the views `touches` and `conversions`; write results below ``folder``.

    The winners are written first and read again, since every other statement starts from them.
    """
    for name, statement in {
        "winners": staging.sql_of("pyspark", f"winners_{policy}"),
        **{name: staging.sql_of("pyspark", name) for name in results},
    }.items():
        target = f"{folder}/{name}"
        session.sql(statement).write.mode("overwrite").parquet(target)
        if name == "winners":
            session.read.parquet(target).createOrReplaceTempView(name)


ENGINES: Final[dict[EngineName, Fill]] = {
    EngineName.DUCKDB: fill_with_duckdb,
    EngineName.POSTGRES: fill_with_postgres,
    EngineName.SPARK: fill_with_spark,
    EngineName.SAIL: fill_with_sail,
    EngineName.CLICKHOUSE: fill_with_clickhouse,
}


class AttributionRow(msgspec.Struct, tag="attribution", tag_field="type", frozen=True):
    """A conversion and the touch that won it; the three are None where none did."""

    conversion_id: int
    touch_id: int | None
    adgroup_id: staging.Id | None
    via: TouchKind | None


class TotalRow(msgspec.Struct, tag="total", tag_field="type", frozen=True, kw_only=True):
    """Figures of an ad group; ``conversions`` counts what its goal counts, costs are floored."""

    adgroup_id: staging.Id
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

    business_id: staging.Id
    conversations: int
    leads: int


@dataclass(frozen=True, slots=True)
class EventReport:
    """Report of ad groups by day and in total, and unattributed conversions."""

    days: list[DayRow]
    totals: list[TotalRow]
    unattributed: list[UnattributedRow]


_ZEROS: Final = (0,) * 7


def list_attributions(staged: staging.Staged) -> Iterator[AttributionRow]:
    """Yield one row per conversion, with at most 10,000 in memory at once."""
    names = {key: row.adgroup_id for key, (_, row) in staged.setup.adgroups.items()}
    cursor = staged.db.execute("SELECT conversion_id, touch_id, adgroup_id, click FROM attributions")
    while rows := cursor.fetchmany(_ROWS_PER_BATCH):
        for conversion_id, touch_id, adgroup_id, click in rows:
            if touch_id is None:
                yield AttributionRow(conversion_id, None, None, None)
            else:
                via = TouchKind.CLICK if click else TouchKind.VIEW
                yield AttributionRow(conversion_id, touch_id, names[adgroup_id], via)


def load_report(staged: staging.Staged) -> EventReport:
    setup = staged.setup
    sums: dict[str, tuple[int, ...]] = dict.fromkeys(setup.adgroups, _ZEROS)
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


def _figures(adgroup_id: staging.Id, goal: Goal, counts: tuple[int, ...]) -> dict[str, Any]:
    """Return the figures of a row; a cost per conversion is floored, and None without conversions."""
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
    """Warning of an omitted line, with its number and the reason."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Options of a run.

    Attributes:
        policy: which touch wins; None for the policy in the file, ``click_first`` if it names none.
        connection: where the engine is: a database URL, a Spark master, a Spark Connect address.
        memory_limit: limit of DuckDB, such as ``1GB``; empty for four fifths of the machine's memory.
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
        policy: ``click_first`` or ``last_touch``; None for that of a ``config`` row.
        engine: ``duckdb``, ``postgres``, ``spark``, ``sail`` or ``clickhouse``.
        connection: where the engine is; see ``EngineOptions``.

    Yields:
        One row for each conversion, in any order.

    Warns:
        MalformedLine: for each line that is left out.
    """
    chosen_policy = None if policy is None else AttributionPolicy(policy)
    options = EngineOptions(chosen_policy, EngineName(engine), connection)
    with answered(events, options, _warn) as staged:
        yield from list_attributions(staged)


def report(
    events: Source, *, policy: str | None = None, engine: str = "duckdb", connection: str = ""
) -> EventReport:
    """Make the report of a file, see `EventReport`. Warns of malformed lines, as in `attribute`."""
    chosen_policy = None if policy is None else AttributionPolicy(policy)
    options = EngineOptions(chosen_policy, EngineName(engine), connection)
    with answered(events, options, _warn) as staged:
        return load_report(staged)


@contextmanager
def answered(
    events: Source,
    options: EngineOptions,
    complain: staging.Complaint,
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[staging.Staged]:
    """Read events, attribute and count them with the engine, and hold the results open.

    ``complain`` gets each line that is left out, ``advance`` the number of bytes read.
    """
    with staging.Staged(options.memory_limit) as staged, ExitStack() as stack:
        if isinstance(events, str | Path) and staging.holds_tables(Path(events)):
            setup = staging.load_tables(staged, Path(events), complain)
        else:
            reader = staging.LineReader(complain)
            if isinstance(events, str | Path):
                source: BufferedIOBase | RawIOBase = stack.enter_context(Path(events).open("rb"))
            elif isinstance(events, BufferedIOBase | RawIOBase):
                source = events
            else:
                source = BytesIO(msgspec.json.Encoder().encode_lines(events))
            for size, chunk in reader.events(source):
                staged.add(chunk)
                advance(size)
            setup = reader.setup
        staged.finish(setup, complain)
        ENGINES[options.engine](staged, options.policy or setup.policy, options.connection)
        yield staged


def _warn(line: int, fault: str) -> None:
    warnings.warn(f"line {line}: {fault}", MalformedLine, stacklevel=2)
