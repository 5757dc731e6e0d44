"""Engines that run the definition over staged events."""

from collections.abc import Callable
from enum import StrEnum
from importlib import import_module
from typing import Final

from contatto.measurement.engines import spark
from contatto.measurement.engines.staging import EngineFailed, Staged, load_package, sql_of, winners_sql
from contatto.measurement.model import AttributionPolicy


def fill_with_duckdb(staged: Staged, policy: AttributionPolicy, _connection: str = "") -> None:
    staged.db.execute(f"CREATE TABLE winners AS {winners_sql('duckdb', policy)}")
    for name in staged.results:
        staged.db.execute(f"CREATE TABLE {name} AS {sql_of('duckdb', name)}")


_TABLES: Final = {
    "touches": "touch_id bigint, business_id text, user_id text, adgroup_id text, click bigint, ts bigint,"
    " expires_ts bigint, day date, cost_micros bigint",
    "conversions": "conversion_id bigint, business_id text, user_id text, lead bigint, ts bigint, day date",
}
_ROWS_PER_BATCH: Final = 10_000


def fill_with_postgres(staged: Staged, policy: AttributionPolicy, connection: str) -> None:
    """Compute in one transaction that leaves nothing behind.

    Raises:
        EngineFailed: no address, or the server refused something.
    """
    if not connection:
        raise EngineFailed("PostgreSQL needs an address: --connection postgresql://user:pass@host/database")
    psycopg = import_module("psycopg")  # the other engines start without it
    try:
        with psycopg.connect(connection.replace("+psycopg", "", 1)) as server:
            for table, columns in _TABLES.items():
                server.execute(f"CREATE TEMP TABLE {table} ({columns}) ON COMMIT DROP")
                rows = staged.db.execute(f"SELECT * FROM {table}")
                with server.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
                    while batch := rows.fetchmany(_ROWS_PER_BATCH):
                        for row in batch:
                            copy.write_row(row)
                server.execute(f"ANALYZE {table}")
            server.execute(f"CREATE TEMP TABLE winners ON COMMIT DROP AS {winners_sql('postgres', policy)}")
            server.execute("ANALYZE winners")
            for name in staged.results:
                with server.cursor(f"read_{name}") as cursor:
                    cursor.execute(sql_of("postgres", name))
                    names = [column.name for column in cursor.description or ()]
                    staged.keep(name, (dict(zip(names, row, strict=True)) for row in cursor))
    except psycopg.Error as error:
        raise EngineFailed(f"PostgreSQL: {error}") from error


_SETTINGS: Final = "SET join_use_nulls = 1"
"""The definition joins as the SQL standard: a row without a partner has nulls, not empty values or zeros."""


def fill_with_clickhouse(staged: Staged, policy: AttributionPolicy, connection: str) -> None:
    """Compute in this process.

    Raises:
        EngineFailed: chDB is not installed, it refused something, or an address was given.
    """
    if connection:
        raise EngineFailed("ClickHouse runs in this process and takes no --connection")
    chdb = load_package("chdb.session", "clickhouse")
    folder = staged.folder / "clickhouse"
    session = chdb.Session()
    try:
        session.query(_SETTINGS)
        for name in ("touches", "conversions"):
            source = folder / name / "part.parquet"
            staged.export_parquet(name, source)
            session.query(f"CREATE VIEW {name} AS SELECT * FROM file('{source}', Parquet)")
        winners = winners_sql("clickhouse", policy)
        session.query(f"CREATE TABLE winners ENGINE = MergeTree ORDER BY tuple() AS {winners}")
        for name in staged.results:
            target = folder / name / "all.parquet"
            target.parent.mkdir()
            session.query(f"INSERT INTO FUNCTION file('{target}', Parquet) {sql_of('clickhouse', name)}")
            staged.keep_parquet(name, target.parent)
    except RuntimeError as error:
        raise EngineFailed(f"ClickHouse: {error}") from error
    finally:
        session.close()


class EngineName(StrEnum):
    DUCKDB = "duckdb"
    POSTGRES = "postgres"
    SPARK = "spark"
    SAIL = "sail"
    CLICKHOUSE = "clickhouse"


type Fill = Callable[[Staged, AttributionPolicy, str], None]
"""Takes the staged events, the policy, and where the engine is to be found."""

ENGINES: Final[dict[EngineName, Fill]] = {
    EngineName.DUCKDB: fill_with_duckdb,
    EngineName.POSTGRES: fill_with_postgres,
    EngineName.SPARK: spark.fill_with_spark,
    EngineName.SAIL: spark.fill_with_sail,
    EngineName.CLICKHOUSE: fill_with_clickhouse,
}
