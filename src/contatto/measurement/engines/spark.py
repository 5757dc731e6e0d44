"""Spark, and Sail which speaks its protocol: stamped events go there as Parquet, and results come back so."""

from collections.abc import Iterable
from typing import Any, Final

from contatto.measurement.engines.staging import Staged, load_package, sql_of, winners_sql
from contatto.measurement.model import AttributionPolicy

CONNECT: Final = "sc://"
_EVENTS: Final = ("touches", "conversions")


def fill_with_spark(staged: Staged, policy: AttributionPolicy, connection: str) -> None:
    """Compute on a Spark master, by default all cores of this machine, or at a Spark Connect address.

    Workers elsewhere have to see the folder of temporary files (TMPDIR) under the same path.

    Raises:
        EngineFailed: PySpark is not installed.
    """
    session = open_session(connection or "local[*]")
    try:
        _fill(staged, policy, session)
    finally:
        session.stop()


def fill_with_sail(staged: Staged, policy: AttributionPolicy, connection: str) -> None:
    """Compute with Sail: at an address, or in a server that lives as long as this takes.

    Raises:
        EngineFailed: Sail is not installed.
    """
    if connection:
        fill_with_spark(staged, policy, connection)
        return
    server = load_package("pysail.spark", "sail").SparkConnectServer()
    server.start(background=True)
    try:
        _, port = server.listening_address
        fill_with_spark(staged, policy, f"{CONNECT}127.0.0.1:{port}")
    finally:
        server.stop()


def open_session(connection: str) -> Any:
    """Return a Spark session in ANSI mode, in which integers that overflow are errors."""
    builder = load_package("pyspark.sql", "spark").SparkSession.builder.appName("contatto")
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


def submitted_session() -> Any:
    """Return the session of `spark-submit`, which chose the master and the settings."""
    return load_package("pyspark.sql", "spark").SparkSession.builder.appName("contatto").getOrCreate()


def answer_statements(session: Any, policy: AttributionPolicy, results: Iterable[str], folder: str) -> None:
    """Run the definition over the views `touches` and `conversions`; each result is written below the folder.

    The winners are written first and read again, since every other statement starts from them.
    """
    for name, statement in {
        "winners": winners_sql("pyspark", policy),
        **{name: sql_of("pyspark", name) for name in results},
    }.items():
        target = f"{folder}/{name}"
        session.sql(statement).write.mode("overwrite").parquet(target)
        if name == "winners":
            session.read.parquet(target).createOrReplaceTempView(name)


def _fill(staged: Staged, policy: AttributionPolicy, session: Any) -> None:
    folder = staged.folder / "spark"
    for name in _EVENTS:
        staged.export_parquet(name, folder / name / "part.parquet")
        session.read.parquet(str(folder / name)).createOrReplaceTempView(name)
    answer_statements(session, policy, staged.results, str(folder))
    for name in staged.results:
        staged.keep_parquet(name, folder / name)
