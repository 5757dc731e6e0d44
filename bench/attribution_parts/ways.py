"""Each way of attributing and reporting; run as a program, it does one and prints what that cost as JSON."""

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, Final

import duckdb

from bench.harness import measured
from contatto.measurement.engines.events import answer_statements, open_session
from contatto.measurement.engines.staging import sql_of
from contatto.measurement.model import AttributionPolicy

CLICK_US: Final = 7 * 86_400_000_000
VIEW_US: Final = 86_400_000_000
_KEYS: Final = ["business_id", "user_id"]
_TOUCHES: Final = ["touch_id", *_KEYS, "adgroup_id", "click", "ts", "day", "cost_micros"]
_SUMS: Final = ("spend", "views", "clicks", "chats", "leads", "rt_chats", "rt_leads")

type Rows = Iterable[tuple[Any, ...]]


def scan(folder: str) -> Rows:
    """Read and sum up every column that attribution needs, and nothing else: the floor."""
    texts = ", ".join(f"max({name})" for name in ("business_id", "user_id", "adgroup_id"))
    sums = f"{texts}, sum(touch_id), sum(click), sum(ts), sum(cost_micros)"
    with duckdb.connect() as db:
        return db.execute(f"SELECT {sums} FROM read_parquet('{folder}/touches.parquet')").fetchall()


def ours(folder: str) -> Rows:
    with duckdb.connect() as db:
        for table in ("touches", "conversions"):
            db.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{folder}/{table}.parquet')")
        db.execute(f"CREATE TABLE winners AS {sql_of('duckdb', 'winners_click_first')}")
        return db.execute(sql_of("duckdb", "report")).fetchall()


def pandas_asof(folder: str) -> Rows:
    """Two as-of joins; right only because all windows here are the same."""
    pd = import_module("pandas")
    touches = pd.read_parquet(f"{folder}/touches.parquet", columns=_TOUCHES).sort_values(["ts", "touch_id"])
    conversions = pd.read_parquet(f"{folder}/conversions.parquet").sort_values("ts")
    conversions = conversions.rename(columns={"day": "rt_day"})
    found = []
    for click, window in ((1, CLICK_US), (0, VIEW_US)):
        side = touches[touches.click == click][["ts", *_KEYS, "adgroup_id", "day"]]
        won = pd.merge_asof(conversions, side, on="ts", by=_KEYS, tolerance=window)
        found.append(won.set_index("conversion_id"))
    won = found[0].combine_first(found[1][["adgroup_id", "day"]]).dropna(subset=["adgroup_id"])
    parts = [
        touches.assign(spend=touches.cost_micros, views=1 - touches.click, clicks=touches.click),
        won.assign(chats=1 - won.lead, leads=won.lead),
        won.assign(day=won.rt_day, rt_chats=1 - won.lead, rt_leads=won.lead),
    ]
    kept = [part[["adgroup_id", "day", *(name for name in _SUMS if name in part)]] for part in parts]
    grouped = [part.groupby(["adgroup_id", "day"], observed=True).sum() for part in kept]
    counts = pd.concat(grouped).groupby(level=[0, 1]).sum()
    return [(*key, *map(int, row)) for key, row in zip(counts.index, counts.to_numpy(), strict=True)]


def polars_asof(folder: str) -> Rows:
    """Two as-of joins with the streaming engine; right only because all windows here are the same."""
    pl = import_module("polars")
    touches = pl.scan_parquet(f"{folder}/touches.parquet").select(_TOUCHES)
    conversions = pl.scan_parquet(f"{folder}/conversions.parquet").rename({"day": "rt_day"}).sort("ts")
    met = touches.join(conversions.select(_KEYS).unique(), on=_KEYS, how="semi").sort("ts", "touch_id")
    for click, window in ((1, CLICK_US), (0, VIEW_US)):
        side = met.filter(pl.col("click") == click).select("ts", *_KEYS, "adgroup_id", "day")
        conversions = conversions.join_asof(
            side, on="ts", by=_KEYS, tolerance=window, suffix=f"_{click}", check_sortedness=False
        )
    group = pl.coalesce("adgroup_id", "adgroup_id_0").alias("adgroup_id")
    won = conversions.with_columns(group, pl.coalesce("day", "day_0").alias("day")).drop_nulls("adgroup_id")
    parts = [
        touches.select(
            "adgroup_id", "day", spend="cost_micros", views=1 - pl.col("click"), clicks=pl.col("click")
        ),
        won.select("adgroup_id", "day", chats=1 - pl.col("lead"), leads=pl.col("lead")),
        won.select("adgroup_id", day="rt_day", rt_chats=1 - pl.col("lead"), rt_leads=pl.col("lead")),
    ]
    grouped = [part.group_by("adgroup_id", "day").agg(pl.all().sum()) for part in parts]
    counts = pl.concat(grouped, how="diagonal").group_by("adgroup_id", "day").agg(pl.col(_SUMS).sum())
    found: Rows = counts.collect(engine="streaming").rows()
    return found


def spark_local(folder: str) -> Rows:
    """Our definition on Spark, all cores of this machine; its start counts too."""
    session = open_session("local[*]")
    with tempfile.TemporaryDirectory() as target:
        for table in ("touches", "conversions"):
            session.read.parquet(f"{folder}/{table}.parquet").createOrReplaceTempView(table)
        answer_statements(session, AttributionPolicy.CLICK_FIRST, ["report"], target)
        rows = session.read.parquet(f"{target}/report").collect()
    gateway = session.sparkContext._gateway  # noqa: SLF001  # only a JVM that was waited for is measured
    session.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait()
    return [tuple(row) for row in rows]


WAYS: Final[dict[str, Callable[[str], Rows]]] = {
    "bare scan": scan,
    "contatto on DuckDB": ours,
    "Polars as-of, streaming": polars_asof,
    "pandas merge_asof": pandas_asof,
    "contatto on PySpark local": spark_local,
}


def main(way: str, folder: str) -> None:
    try:
        with measured(children=True) as cost:
            rows = list(WAYS[way](folder))
    except ImportError as missing:
        print(json.dumps({"skipped": f"{missing.name} is not installed"}))
        return
    except Exception as error:  # a peer that is missing, or gives up, is a row of the table too
        print(json.dumps({"skipped": f"{type(error).__name__}: {error}".splitlines()[0][:90]}))
        return
    text = "\n".join(sorted(f"{row[0]} {str(row[1])[:10]} {row[2:]}" for row in rows))
    answer = hashlib.sha256(text.encode()).hexdigest()[:8]
    print(
        json.dumps(
            {"cpu_s": cost.cpu_s, "wall_s": cost.wall_s, "rss_mib": cost.peak_rss_mib, "answer": answer}
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
