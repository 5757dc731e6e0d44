"""Examples of learning from files of decisions, joined by DuckDB or Spark."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import ibis
import numpy as np

from contatto.delivery.model import DecisionFile
from contatto.learning.model import Entry, EntryKind, Record
from contatto.measurement.engines.parquet import Layout, copy_to_file, digest_of, sync, write_parquet
from contatto.measurement.engines.spark import open_session
from contatto.measurement.engines.staging import EngineFailed

DIALECTS: Final = ("duckdb", "pyspark")
DAY_US: Final = 86_400_000_000
RARE_US: Final = 14 * DAY_US
"""Views are counted over a day, what is rarer over two weeks."""
_NUMBERS: Final = "array<int64>"

ENTRIES: Final = ibis.table(
    {
        "business_id": "string",
        "seq": "int64",
        "kind": "string",
        "nonce": "int64",
        "ts": "int64",
        "arrived_ts": "int64",
        "user_id": "string",
        "said": "string",
        "ad": "int64",
        "ad_group": "int64",
        "model": "int64",
        "propensity": "float64",
        "price_micros": "int64",
        "country": "string",
        "p": "array<float64>",
        "raw": "array<float64>",
        "hashes": _NUMBERS,
        "weights": "array<float32>",
        "kinds": "array<int32>",
        "between": _NUMBERS,
    },
    name="entries",
)
"""The columns of a file of decisions that are needed here."""
CUT: Final = ibis.table({"as_of_ts": "int64"}, name="cut")
"""One row: the moment at which examples are taken."""

_DECIDED: Final = (
    "business_id", "nonce", "user_id", "ts", "ad", "ad_group", "model", "propensity", "price_micros",
    "country", "p", "raw", "hashes", "weights", "kinds", "between",
)  # fmt: skip
PARTS: Final = 256
"""Impressions are dealt into so many parts, whoever saw them: a part is a fair sample."""
COUNTERS: Final = {
    "views_day": ("view", DAY_US, False),
    "views_of_ad_day": ("view", DAY_US, True),
    "clicks_day": ("click", DAY_US, False),
    "clicks": ("click", RARE_US, False),
    "conversations": ("conversation", RARE_US, False),
    "leads": ("lead", RARE_US, False),
    "spam": ("spam", RARE_US, False),
}
"""Counters of a viewer at a decision: what is counted, since how long before, and whether of the same ad."""


def statements() -> dict[str, Any]:
    """Every expression by the name of its file."""
    return {"examples": examples()}


class _Spark(ibis.config.Config):  # type: ignore[misc]  # Ibis has no types
    """What Ibis asks about Spark where PySpark is not installed: numbers that are none stay so."""

    treat_nan_as_null: bool = False


def emit_sql(expression: Any, dialect: str) -> str:
    """The SQL of an expression, as it ships."""
    ibis.options.pyspark = _Spark()
    return f"{ibis.to_sql(expression, dialect=dialect)}\n"


def examples() -> Any:
    """Decisions whose ads were seen: features as they were, counters as of then, what came so far."""
    known = ENTRIES.cross_join(CUT)
    known = known.filter(known.arrived_ts <= known.as_of_ts, known.nonce != 0)
    decided = known.filter(known.kind == "decision", known.ad != 0).select(*_DECIDED)
    became = _became(known)
    seen = decided.inner_join(became, ["business_id", "nonce"]).select(
        *_DECIDED, *(name for name in became.columns if name not in ("business_id", "nonce"))
    )
    counted = _counters(decided, known)
    joined = seen.left_join(counted, ["business_id", "nonce"])
    counts = {name: joined[name].fill_null(0).cast("int64") for name in COUNTERS}
    return joined.select(*seen.columns, **counts, part=(joined.nonce % PARTS).cast("int64"))


def _became(known: Any) -> Any:
    """Return when each impression was seen, and what is known to have come of it; nulls where nothing has."""

    def when(kind: str) -> Any:
        return known.ts.min(where=known.kind == kind)

    found = known.group_by("business_id", "nonce").agg(
        view_ts=when("view"),
        click_ts=when("click"),
        conversation_ts=when("conversation"),
        lead_ts=when("lead"),
        lead_arrived_ts=known.arrived_ts.min(where=known.kind == "lead"),
        spam_ts=when("spam"),
        quality=known.said.argmax(known.seq, where=known.kind == "quality"),
    )
    return found.filter(found.view_ts.notnull())


def _counters(decided: Any, known: Any) -> Any:
    """What had come to be known of each viewer before each decision for them; none for who is nobody."""
    somebody = decided.filter(decided.user_id != "")
    asks = somebody.select("business_id", "user_id", "ad", "nonce", at=somebody.ts, kind=ibis.literal("ask"))
    came = known.filter(known.kind != "decision").group_by("business_id", "nonce", "kind")
    came = came.agg(at=known.arrived_ts.min())
    came = came.inner_join(somebody.select("business_id", "nonce", "user_id", "ad"), ["business_id", "nonce"])
    moments = asks.union(came.select("business_id", "user_id", "ad", "nonce", "at", "kind"))
    counts = {}
    for name, (kind, since_us, of_ad) in COUNTERS.items():
        of = ["business_id", "user_id", "ad"] if of_ad else ["business_id", "user_id"]
        before = ibis.window(group_by=of, order_by="at", range=(-since_us, -1))
        counts[name] = (moments.kind == kind).cast("int64").sum().over(before)
    found = moments.mutate(**counts)
    return found.filter(found.kind == "ask").select("business_id", "nonce", *COUNTERS)


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

``user_id`` is whom a decision was for (a pseudonym), or who saw or tapped; empty for nobody. ``said`` is a
word of what became of it. ``p`` are the estimates by head (click, conversation, lead, spam, unqualified),
``raw`` those before calibration; ``hashes``, ``weights``, ``kinds`` and ``between`` the features as they
were, numbers of 64 bits as signed ones.
"""
_FEATURES: Final = {"hashes": "BIGINT[]", "weights": "FLOAT[]", "kinds": "INTEGER[]", "between": "BIGINT[]"}
_THEIRS: Final = "(nonce IN (FROM theirs) OR user_id IN (FROM persons))"
_BLANK: Final = ", ".join(
    [
        f"CASE WHEN {_THEIRS} THEN '' ELSE user_id END AS user_id",
        *(f"CASE WHEN {_THEIRS} AND len({name}) > 0 THEN [] ELSE {name} END AS {name}" for name in _FEATURES),
    ]
)
_NEW: Final = ".new"


@dataclass(frozen=True, slots=True)
class Logged:
    """An entry, with its decision if it is one, and what else was said, opened."""

    entry: Entry
    record: Record | None = None
    said: str = ""
    ts: int = 0


def path_of(file: DecisionFile) -> Path:
    return Path(file.folder) / file.name


def write_decisions(folder: Path, business_id: str, day: str, some: Iterable[Logged]) -> DecisionFile:
    """Write entries that a log got on a day; what a crash left under the same name is replaced.

    Raises:
        OSError: the disk is full, or fails; nothing is left that counts.
    """
    seqs: list[int] = []

    def rows() -> Iterable[dict[str, object]]:
        for each in some:
            seqs.append(each.entry.seq)
            yield _row_of(each)

    held = iter(rows())
    first = next(held)
    name = f"decisions/day={day}/business={business_id}/part-{seqs[0]}.parquet"
    path = folder / name
    count = write_parquet(path, LAYOUT, _chain(first, held))
    return DecisionFile(
        business_id, name, str(folder), day, seqs[0], seqs[-1], count, path.stat().st_size, digest_of(path)
    )


def _chain(first: dict[str, object], others: Iterable[dict[str, object]]) -> Iterable[dict[str, object]]:
    yield first
    yield from others


def _row_of(logged: Logged) -> dict[str, object]:
    entry, record = logged.entry, logged.record
    row: dict[str, object] = {
        "business_id": entry.business_id,
        "seq": entry.seq,
        "kind": entry.kind.value,
        "nonce": entry.nonce,
        "ts": logged.ts or entry.ts,
        "arrived_ts": entry.arrived_ts or entry.ts,
        "user_id": entry.person_id or "",
        "said": logged.said,
    }
    return row if record is None else row | _decision_of(record)


def _decision_of(record: Record) -> dict[str, object]:
    shown = record.shown
    features: dict[str, object] = {name: [] for name in _FEATURES}
    if shown is not None:
        features = {
            "hashes": np.frombuffer(shown.hashes, np.int64).tolist(),
            "weights": np.frombuffer(shown.values, np.float32).tolist(),
            "kinds": np.frombuffer(shown.kinds, np.uint8).tolist(),
            "between": np.frombuffer(shown.between, np.int64).tolist(),
        }
    return {
        "ad": record.ad,
        "ad_group": record.ad_group,
        "model": record.version,
        "propensity": record.propensity,
        "price_micros": record.price_micros,
        "offer_micros": record.offer_micros,
        "floor_micros": record.floor_micros,
        "placement": record.placement,
        "trial": record.trial,
        "country": record.country,
        "p": list(record.p),
        "raw": list(record.raw),
    } | features


def check_decisions(file: DecisionFile) -> None:
    """See that a file is as it was written, to the last bit.

    Raises:
        OSError: it is gone or changed; the text names it.
    """
    path = path_of(file)
    fault = "" if path.exists() else "is gone"
    if not fault and (path.stat().st_size != file.size or digest_of(path) != file.sha256):
        fault = "is not what was written"
    if fault:
        raise OSError(f"{path} {fault}. Put it back from a backup.")


def moved_decisions(files: Iterable[DecisionFile], folder: Path) -> list[DecisionFile]:
    """The files that are not where they were, but here, with where they are now."""
    return [
        replace(file, folder=str(folder))
        for file in files
        if not path_of(file).exists() and (folder / file.name).exists()
    ]


def forget_in_files(files: Sequence[DecisionFile], persons: Collection[str]) -> list[DecisionFile]:
    """Write the files that hold some persons anew, beside themselves; `take_new_files` puts them in place.

    Persons are viewers by any of their ids. What they did stays, as done by nobody; their decisions lose the
    features, and keep what they cost.

    Returns:
        Those files as they will be.

    Raises:
        OSError: one of the files is gone or changed, or the disk fails.
    """
    if not files:  # DuckDB reads no empty list of files
        return []
    for file in files:
        check_decisions(file)
    found: list[DecisionFile] = []
    with import_module("duckdb").connect() as db:
        _find_theirs(db, [str(path_of(file)) for file in files], sorted(persons))
        for file in files:
            source = str(path_of(file)).replace("'", "''")
            rows = f"read_parquet('{source}', hive_partitioning = false)"
            if db.execute(f"SELECT 1 FROM {rows} WHERE {_THEIRS} LIMIT 1").fetchall():
                made = _new_of(file)
                copy_to_file(db, f"SELECT * REPLACE ({_BLANK}) FROM {rows} ORDER BY {LAYOUT.order}", made)
                found.append(replace(file, size=made.stat().st_size, sha256=digest_of(made)))
    return found


def _find_theirs(db: Any, paths: list[str], persons: list[str]) -> None:
    """Fill a table with the impressions of some persons, and of the viewers whom these show them to be."""
    db.execute("CREATE TABLE persons AS SELECT unnest(?::VARCHAR[]) AS user_id", [persons])
    db.execute(
        "CREATE TABLE entries AS SELECT nonce, kind, user_id FROM read_parquet(?, hive_partitioning = false)"
        " WHERE user_id <> ''",
        [paths],
    )
    seen = "SELECT DISTINCT nonce FROM entries SEMI JOIN persons USING (user_id) WHERE nonce <> 0"
    db.execute(
        f"INSERT INTO persons SELECT DISTINCT user_id FROM entries SEMI JOIN ({seen}) USING (nonce)"
        f" WHERE kind = '{EntryKind.DECISION}'"
    )
    db.execute(f"CREATE TABLE theirs AS {seen}")


def has_new_files(files: Iterable[DecisionFile]) -> bool:
    """Return whether any file was written anew beside itself."""
    return any(_new_of(file).exists() for file in files)


def take_new_files(files: Iterable[DecisionFile]) -> None:
    """Put files that were written anew in their places, if the list tells of them; else drop them."""
    for file in files:
        made = _new_of(file)
        if not made.exists():
            continue
        if digest_of(made) == file.sha256:
            made.replace(path_of(file))
        else:
            made.unlink()
        sync(made.parent)


def _new_of(file: DecisionFile) -> Path:
    path = path_of(file)
    return path.with_name(path.name + _NEW)


def drop_file(file: DecisionFile) -> None:
    """Delete a file that has come of age."""
    for path in (path_of(file), _new_of(file)):
        path.unlink(missing_ok=True)


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
    return files("contatto.delivery").joinpath("sql", dialect, f"{name}.sql").read_text("utf-8")


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
