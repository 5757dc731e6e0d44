"""Training examples from files of decisions: joined by DuckDB or Spark, read in batches for the learner.

Both engines run the SQL that was emitted from the definition, with equal results. One machine learns.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from contatto.kit.parquet import copy_to_file
from contatto.measurement.engines.spark import open_session
from contatto.measurement.engines.staging import EngineFailed


class Engine(StrEnum):
    """Where one may compute."""

    DUCKDB = "duckdb"
    SPARK = "spark"


BATCH_ROWS: Final = 20_000
"""Examples that are read at a time, unless one part has more."""
_ORDER: Final = ("part", "nonce")
_COLUMNS: Final = (
    "user_id, ts, ad, p, raw, hashes, weights, kinds, between, view_ts, click_ts, conversation_ts, lead_ts,"
    " spam_ts, views_day, clicks_day"
)


@cache
def sql_of(dialect: str, name: str) -> str:
    return files("contatto.delivery.engines").joinpath("sql", dialect, f"{name}.sql").read_text("utf-8")


class Embedded:
    """DuckDB in this process."""

    def make_examples(self, sources: Sequence[Path], as_of_ts: int, folder: Path) -> None:
        """Write the examples of files of decisions, as known at a moment, into a folder of Parquet files."""
        with _connect(folder) as db:
            listed = ", ".join("'{}'".format(str(path).replace("'", "''")) for path in sources)
            db.execute(
                f"CREATE VIEW entries AS SELECT * FROM read_parquet([{listed}], hive_partitioning = false)"
            )
            db.execute("CREATE TABLE cut AS SELECT ?::BIGINT AS as_of_ts", [as_of_ts])
            examples = f"SELECT * FROM ({sql_of('duckdb', 'examples')}) ORDER BY {', '.join(_ORDER)}"
            copy_to_file(db, examples, folder / "examples.parquet", BATCH_ROWS)


class OnSpark:
    """A Spark session; its workers have to see the folders under the same paths."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def make_examples(self, sources: Sequence[Path], as_of_ts: int, folder: Path) -> None:
        """Write the same rows as `Embedded`, in as many files as Spark likes."""
        spark = self._session
        spark.read.parquet(*map(str, sources)).createOrReplaceTempView("entries")
        spark.createDataFrame([(as_of_ts,)], "as_of_ts bigint").createOrReplaceTempView("cut")
        examples = spark.sql(sql_of("pyspark", "examples")).orderBy(*_ORDER)
        examples.write.mode("overwrite").parquet(str(folder))


type Computing = Embedded | OnSpark


@contextmanager
def computing_on(engine: Engine, connection: str = "") -> Iterator[Computing]:
    """Open an engine; Spark at a master, by default on all cores of this machine.

    Raises:
        EngineFailed: it is not installed, or takes no master.
    """
    if engine is Engine.DUCKDB:
        if connection:
            raise EngineFailed("DuckDB runs in this process and takes no --connection")
        yield Embedded()
        return
    session = open_session(connection or "local[*]")
    try:
        yield OnSpark(session)
    finally:
        session.stop()


def list_batches(folder: Path) -> list[range]:
    """Return the parts of impressions in each batch of a folder of examples."""
    with _connect(folder) as db:
        query = "SELECT part, count(*) FROM read_parquet(?) GROUP BY part ORDER BY part"
        counts = db.execute(query, [f"{folder}/*.parquet"]).fetchall()
    batches: list[range] = []
    first, end, rows = 0, 0, 0
    for part, count in counts:
        if rows and rows + count > BATCH_ROWS:
            batches.append(range(first, end))
            first, rows = part, 0
        end, rows = part + 1, rows + count
    return [*batches, range(first, end)]


def read_batch(folder: Path, parts: range) -> dict[str, Any]:
    """Return the columns of the examples of some parts, in an order that no engine changes."""
    query = (
        f"SELECT {_COLUMNS} FROM read_parquet(?) WHERE part >= ? AND part < ? ORDER BY {', '.join(_ORDER)}"
    )
    with _connect(folder) as db:
        columns: dict[str, Any] = db.execute(
            query, [f"{folder}/*.parquet", parts.start, parts.stop]
        ).fetchnumpy()
    return columns


def _connect(folder: Path) -> Any:
    """Open DuckDB in memory; what does not fit goes to a folder beside the files."""
    return import_module("duckdb").connect(config={"temp_directory": str(folder / "spill")})
