"""ClickHouse, embedded as chDB: stamped events go there as Parquet, and results come back so.

A server runs the same statements, those of the folder `sql/clickhouse`.
"""

from typing import Final

from contatto.measurement.engines.staging import EngineFailed, Staged, load_package
from contatto.measurement.engines.statements import sql_of, winners_sql
from contatto.measurement.model import Policy

_SETTINGS: Final = "SET join_use_nulls = 1"
"""The definition speaks of joins as the SQL standard does: what has no partner is null, not empty or zero."""


def fill_results(staged: Staged, policy: Policy, connection: str) -> None:
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
