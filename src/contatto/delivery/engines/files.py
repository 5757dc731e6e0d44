"""Training examples from files of decisions, joined by DuckDB or Spark."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np

from contatto.delivery.rules import DecisionFile
from contatto.learning.model import Entry, EntryKind, Record
from contatto.measurement.engines.events import open_session
from contatto.measurement.engines.parquet import Layout, copy_to_file, digest_of, sync, write_parquet
from contatto.measurement.engines.staging import EngineFailed, sql_of

LAYOUT: Final = Layout(
    {
        "business_id": "VARCHAR",
        "seq": "BIGINT",
        "kind": "VARCHAR",
        "nonce": "BIGINT",
        "ts": "BIGINT",
        "arrived_ts": "BIGINT",
        "user_id": "VARCHAR",
        "said": "VARCHAR",
        "ad": "BIGINT",
        "ad_group": "BIGINT",
        "model": "BIGINT",
        "propensity": "DOUBLE",
        "price_micros": "BIGINT",
        "offer_micros": "BIGINT",
        "floor_micros": "BIGINT",
        "placement": "VARCHAR",
        "trial": "BIGINT",
        "country": "VARCHAR",
        "p": "DOUBLE[]",
        "raw": "DOUBLE[]",
        "hashes": "BIGINT[]",
        "weights": "FLOAT[]",
        "kinds": "INTEGER[]",
        "between": "BIGINT[]",
    },
    "nonce, seq",
)
"""One row for each entry: the columns from ``ad`` on are those of a decision, and null in other rows.

``user_id`` is the pseudonym of the viewer of a decision, or the person who viewed or clicked, or empty.
``said`` is the quality or source of an outcome. ``p`` are the estimates by head (click, conversation, lead,
spam, unqualified), ``raw`` those before calibration. Features of the request are ``hashes`` with their
``weights`` and ``kinds``. ``between`` are hashes of the viewer's history with the ad, and of the hour and
weekday in the ad group's time zone. Hashes are stored as signed numbers.
"""


_OF_RECORD: Final = (
    "ad", "ad_group", "propensity", "price_micros", "offer_micros", "floor_micros", "placement", "trial",
    "country",
)  # fmt: skip
_FEATURES: Final = ("hashes", "weights", "kinds", "between")
_ERASED: Final = "(nonce IN (FROM erased) OR user_id IN (FROM persons))"
"""SQL condition of rows that reveal an erased person."""
_BLANK: Final = ", ".join(
    [
        f"CASE WHEN {_ERASED} THEN '' ELSE user_id END AS user_id",
        *(f"CASE WHEN {_ERASED} AND len({name}) > 0 THEN [] ELSE {name} END AS {name}" for name in _FEATURES),
    ]
)


def path_of(file: DecisionFile) -> Path:
    return Path(file.folder) / file.name


def write_decisions(folder: Path, business_id: str, day: str, rows: Iterable[dict[str, Any]]) -> DecisionFile:
    """Write the rows of a day into a file, and replace what a crash left under the same name.

    Raises OSError: the disk is full or fails; no listed file was changed.
    """
    iterator = iter(rows)
    first = last = next(iterator)

    def all_rows() -> Iterator[dict[str, Any]]:
        nonlocal last
        for row in chain([first], iterator):
            last = row
            yield row

    name = f"decisions/day={day}/business={business_id}/part-{first['seq']}.parquet"
    path = folder / name
    count = write_parquet(path, LAYOUT, all_rows())
    seqs = first["seq"], last["seq"]
    size = path.stat().st_size
    return DecisionFile(business_id, name, str(folder), day, *seqs, count, size, digest_of(path))


def row_of_entry(
    entry: Entry, record: Record | None = None, *, word: str = "", ts: int = 0
) -> dict[str, Any]:
    """Return the row of a decrypted entry, with its decision, or the word and time of an outcome."""
    row: dict[str, Any] = {
        "business_id": entry.business_id,
        "seq": entry.seq,
        "kind": entry.kind.value,
        "nonce": entry.nonce,
        "ts": ts or entry.ts,
        "arrived_ts": entry.arrived_ts or entry.ts,
        "user_id": entry.person_id or "",
        "said": word,
    }
    if record is None:
        return row
    row |= {name: getattr(record, name) for name in _OF_RECORD}
    row |= {"model": record.version, "p": list(record.p), "raw": list(record.raw)}
    shown = record.shown
    if shown is None:
        return row | {name: [] for name in _FEATURES}
    return row | {
        "hashes": np.frombuffer(shown.hashes, np.int64).tolist(),
        "weights": np.frombuffer(shown.values, np.float32).tolist(),
        "kinds": np.frombuffer(shown.kinds, np.uint8).tolist(),
        "between": np.frombuffer(shown.between, np.int64).tolist(),
    }


def check_decisions(file: DecisionFile) -> None:
    """Raise OSError if a file is missing, or was changed since it was written; the text names it."""
    path = path_of(file)
    if not path.exists():
        raise OSError(f"{path} is gone. Put it back from a backup.")
    if path.stat().st_size != file.size or digest_of(path) != file.sha256:
        raise OSError(f"{path} is not what was written. Put it back from a backup.")


def forget_in_files(files: Sequence[DecisionFile], persons: Collection[str]) -> list[DecisionFile]:
    """Rewrite the files that contain some persons, beside the old ones; `take_new_files` replaces these.

    ``persons`` are viewers by any of their ids. Their views and clicks stay without a person; their decisions
    lose the features and keep the prices. The result is the rewritten files. Raises OSError: a file is
    missing or changed, or the disk fails.
    """
    if not files:  # DuckDB reads no empty list of files
        return []
    for file in files:
        check_decisions(file)
    rewritten: list[DecisionFile] = []
    with import_module("duckdb").connect() as db:
        db.execute("CREATE TABLE persons AS SELECT unnest(?::VARCHAR[]) AS user_id", [sorted(persons)])
        db.execute(
            "CREATE TABLE entries AS SELECT nonce, kind, user_id FROM"
            " read_parquet(?, hive_partitioning = false) WHERE user_id <> ''",
            [[str(path_of(file)) for file in files]],
        )
        # impressions of the persons, and the pseudonyms that these impressions reveal
        of_persons = "SELECT DISTINCT nonce FROM entries SEMI JOIN persons USING (user_id) WHERE nonce <> 0"
        db.execute(
            "INSERT INTO persons SELECT DISTINCT user_id FROM entries"
            f" SEMI JOIN ({of_persons}) USING (nonce) WHERE kind = '{EntryKind.DECISION}'"
        )
        db.execute(f"CREATE TABLE erased AS {of_persons}")
        for file in files:
            source = str(path_of(file)).replace("'", "''")
            rows = f"read_parquet('{source}', hive_partitioning = false)"
            if db.execute(f"SELECT 1 FROM {rows} WHERE {_ERASED} LIMIT 1").fetchall():
                path = rewritten_path_of(file)
                copy_to_file(db, f"SELECT * REPLACE ({_BLANK}) FROM {rows} ORDER BY {LAYOUT.order}", path)
                rewritten.append(replace(file, size=path.stat().st_size, sha256=digest_of(path)))
    return rewritten


def take_new_files(files: Iterable[DecisionFile]) -> None:
    """Replace files by their rewritten versions, if the list has their digests; else delete these."""
    for file in files:
        path = rewritten_path_of(file)
        if not path.exists():
            continue
        if digest_of(path) == file.sha256:
            path.replace(path_of(file))
        else:
            path.unlink()
        sync(path.parent)


def rewritten_path_of(file: DecisionFile) -> Path:
    """Return the path of the rewritten version beside a file."""
    path = path_of(file)
    return path.with_name(f"{path.name}.new")


class Engine(StrEnum):
    """Engines that can join examples."""

    DUCKDB = "duckdb"
    SPARK = "spark"


BATCH_ROWS: Final = 20_000
"""Examples in a batch, unless one part has more."""
_ORDER: Final = ("part", "nonce")
_COLUMNS: Final = (
    "user_id, ts, ad, p, hashes, weights, kinds, between, view_ts, click_ts, conversation_ts, lead_ts,"
    " spam_ts, quality, views_day, clicks_day"
)


_PACKAGE: Final = "contatto.delivery"


type MakeExamples = Callable[[Sequence[Path], int, Path], None]
"""Writes the examples at a time from some files into a folder of Parquet files."""


def make_examples(sources: Sequence[Path], as_of_ts: int, folder: Path) -> None:
    """Write the examples with DuckDB in this process."""
    with _connect(folder) as db:
        listed = ", ".join("'{}'".format(str(path).replace("'", "''")) for path in sources)
        db.execute(
            f"CREATE VIEW entries AS SELECT * FROM read_parquet([{listed}], hive_partitioning = false)"
        )
        db.execute("CREATE TABLE cut AS SELECT ?::BIGINT AS as_of_ts", [as_of_ts])
        examples = f"SELECT * FROM ({sql_of('duckdb', 'examples', _PACKAGE)}) ORDER BY {', '.join(_ORDER)}"
        copy_to_file(db, examples, folder / "examples.parquet", BATCH_ROWS)


@contextmanager
def computing_on(engine: Engine, connection: str = "") -> Iterator[MakeExamples]:
    """Open an engine; Spark runs at a master, by default on this machine. Raises EngineFailed.

    Workers of Spark need the folders under the same paths, and write any number of files.
    """
    if engine is Engine.DUCKDB:
        if connection:
            raise EngineFailed("DuckDB runs in this process and takes no --connection")
        yield make_examples
        return
    spark = open_session(connection or "local[*]")

    def make_on_spark(sources: Sequence[Path], as_of_ts: int, folder: Path) -> None:
        spark.read.parquet(*map(str, sources)).createOrReplaceTempView("entries")
        spark.createDataFrame([(as_of_ts,)], "as_of_ts bigint").createOrReplaceTempView("cut")
        examples = spark.sql(sql_of("pyspark", "examples", _PACKAGE)).orderBy(*_ORDER)
        examples.write.mode("overwrite").parquet(str(folder))

    try:
        yield make_on_spark
    finally:
        spark.stop()


def list_batches(folder: Path) -> list[range]:
    """Return the ranges of parts that form the batches of a folder of examples."""
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
    """Return the columns of the examples of some parts, in the same order for all engines."""
    query = (
        f"SELECT {_COLUMNS} FROM read_parquet(?) WHERE part >= ? AND part < ? ORDER BY {', '.join(_ORDER)}"
    )
    with _connect(folder) as db:
        columns: dict[str, Any] = db.execute(
            query, [f"{folder}/*.parquet", parts.start, parts.stop]
        ).fetchnumpy()
    return columns


def _connect(folder: Path) -> Any:
    """Open DuckDB in memory; it spills to a folder beside the files."""
    return import_module("duckdb").connect(config={"temp_directory": str(folder / "spill")})
