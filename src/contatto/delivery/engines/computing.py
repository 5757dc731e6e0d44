"""Where examples are made and shards computed: in this process with DuckDB, or on Spark, with equal results.

Each runs the SQL that was emitted from the definition, and the same Python on each shard. What shards give
comes back in their order, so sums do not depend on how many machines there are.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from importlib import import_module
from importlib.resources import files
from itertools import starmap
from pathlib import Path
from typing import Any, Final, Protocol

from contatto.kit.parquet import copy_to_file
from contatto.measurement.engines.spark import open_session
from contatto.measurement.engines.staging import EngineFailed


class Engine(StrEnum):
    """Where one may compute."""

    DUCKDB = "duckdb"
    SPARK = "spark"


SHARDS: Final = 16
"""Parts that viewers are dealt into; also how many machines can be of use at once."""


class Computing(Protocol):
    """Makes examples, and runs tasks on shards of them."""

    def make_examples(self, sources: Sequence[Path], as_of_ts: int, folder: Path) -> None:
        """Write the examples of files of decisions, as known at a moment: one folder for each shard."""

    def run_tasks[A, R](self, task: Callable[[Path, A], R], arguments: Sequence[tuple[Path, A]]) -> list[R]:
        """Run a task on shards; what each gives comes back in their order."""


def shard_folder(folder: Path, shard: int) -> Path:
    """Where the examples of a shard are."""
    return folder / f"shard={shard}"


@cache
def sql_of(dialect: str, name: str) -> str:
    return files("contatto.delivery.engines").joinpath("sql", dialect, f"{name}.sql").read_text("utf-8")


class Embedded:
    """DuckDB, and this process."""

    def make_examples(self, sources: Sequence[Path], as_of_ts: int, folder: Path) -> None:
        with import_module("duckdb").connect() as db:
            listed = ", ".join("'{}'".format(str(path).replace("'", "''")) for path in sources)
            db.execute(
                f"CREATE VIEW entries AS SELECT * FROM read_parquet([{listed}], hive_partitioning = false)"
            )
            db.execute("CREATE TABLE cut AS SELECT ?::BIGINT AS as_of_ts", [as_of_ts])
            db.execute(f"CREATE TABLE examples AS {sql_of('duckdb', 'examples')}")
            for shard in range(SHARDS):
                one = f"SELECT * FROM examples WHERE part % {SHARDS} = {shard}"
                copy_to_file(db, one, shard_folder(folder, shard) / "all.parquet")

    def run_tasks[A, R](self, task: Callable[[Path, A], R], arguments: Sequence[tuple[Path, A]]) -> list[R]:
        return list(starmap(task, arguments))


class OnSpark:
    """A Spark session; its workers have to see the folders under the same paths, and to have Contatto."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def make_examples(self, sources: Sequence[Path], as_of_ts: int, folder: Path) -> None:
        spark = self._session
        spark.read.parquet(*map(str, sources)).createOrReplaceTempView("entries")
        spark.createDataFrame([(as_of_ts,)], "as_of_ts bigint").createOrReplaceTempView("cut")
        found = spark.sql(sql_of("pyspark", "examples")).selectExpr("*", f"part % {SHARDS} AS shard")
        found.repartition(SHARDS, "shard").write.mode("overwrite").partitionBy("shard").parquet(str(folder))

    def run_tasks[A, R](self, task: Callable[[Path, A], R], arguments: Sequence[tuple[Path, A]]) -> list[R]:
        context = self._session.sparkContext
        found: list[R] = (
            context.parallelize(arguments, len(arguments)).map(lambda each: task(*each)).collect()
        )
        return found


@contextmanager
def computing_on(engine: Engine, connection: str = "") -> Iterator[Computing]:
    """An engine; Spark at a master, by default on all cores of this machine.

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
