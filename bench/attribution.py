"""Attribution and report of millions of touches: our definition beside a bare scan and its peers.

Every way runs in a process of its own on the same seeded Parquet files, and all must come to the same
figures. Peers that are not installed are reported as skipped: `make bench` brings pandas and
Polars, `make test-engines` an environment with PySpark, which is used where it is there.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.attribution_parts.events import DAYS, START, write_events
from bench.attribution_parts.ways import WAYS
from bench.harness import MIB, Cost, Report, measured, options, percentile
from contatto.kit.db.database import Database, open_database
from contatto.kit.db.tx import Clock, Tx
from contatto.kit.vault import Vault
from contatto.measurement import store
from contatto.measurement.model import Conversion, ConversionKind
from contatto.migrations.steps import migrate_schema

SAYS: Final = "who earned what, from files and at ingest"
ROOT: Final = Path(__file__).resolve().parent.parent
SPARK_PYTHON: Final = ROOT / ".engines" / "spark" / "bin" / "python"
MOST_FOR_PEERS: Final = 20_000_000
BATCH: Final = 1_000
OURS: Final = ("bare scan", "contatto on DuckDB")
SPARK: Final = "contatto on PySpark local"

_SEEK: Final = (
    "SELECT touch_id FROM touches WHERE business_id = ? AND person_id = ? AND ts <= ? AND expires_ts >= ?"
    " AND {} ORDER BY ts DESC, touch_id DESC LIMIT 1"
)
_SEEKS: Final = (_SEEK.format("kind = 'click'"), _SEEK.format(f"kind = 'view' AND ts / {store.WEEK_US} = ?"))


def main() -> None:
    """Run everything and print one table."""
    chosen = options(SAYS)
    report = Report("attribution", SAYS, chosen)
    with tempfile.TemporaryDirectory(prefix="contatto-bench-") as folder:
        home = Path(folder)
        for count in (2_000_000,) if chosen.quick else (2_000_000, 20_000_000, 60_000_000):
            _add_ways(report, home / str(count), count, quick=chosen.quick)
        if not chosen.quick:
            _add_case(report, home / "by-user", 20_000_000, "sorted by day and user", by_user=True)
        _add_case(report, home / "bot", 2_000_000, "with a bot", bot=True)
        _add_ingest(report, home, chosen.size(full=1_000_000, quick=200_000))
    report.finish()


def _add_ways(report: Report, folder: Path, count: int, *, quick: bool) -> None:
    write_events(folder, count)
    floor = 0.0
    answers: set[str] = set()
    for way in WAYS:
        if way not in OURS and count > MOST_FOR_PEERS:
            continue
        if way == SPARK and quick:
            continue  # a JVM that starts, and a minute of work
        measurement = _measure(way, folder)
        if "skipped" in measurement:
            report.add(f"{way}, {count // 1_000_000}M: skipped, {measurement['skipped']}")
            continue
        floor = floor or measurement["cpu_s"]
        if way != "bare scan":
            answers.add(measurement["answer"])
        _add(report, f"{way}, {count // 1_000_000}M", measurement, floor)
    if len(answers) > 1:
        raise SystemExit(f"The ways do not agree: {answers}")


def _add_case(report: Report, folder: Path, count: int, name: str, **how: bool) -> None:
    write_events(folder, count, **how)
    floor = _measure("bare scan", folder)
    measurement = _measure("contatto on DuckDB", folder)
    _add(report, f"contatto on DuckDB, {count // 1_000_000}M {name}", measurement, floor["cpu_s"])


def _add(report: Report, case: str, found: dict[str, Any], floor: float) -> None:
    figures = {"cpu s": found["cpu_s"], "x floor": found["cpu_s"] / floor, "wall s": found["wall_s"]}
    report.add(case, **figures, **{"peak RSS MiB": found["rss_mib"], "answer": found["answer"]})


def _measure(way: str, folder: Path) -> dict[str, Any]:
    python = str(SPARK_PYTHON) if way == SPARK and SPARK_PYTHON.exists() else sys.executable
    command = [python, "-m", "bench.attribution_parts.ways", way, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"skipped": (done.stderr.strip().splitlines() or ["it died"])[-1][:90]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _add_ingest(report: Report, folder: Path, count: int) -> None:
    """Durable appends, then look-ups of winners, through the store on SQLite."""
    database = open_database(f"sqlite:///{folder / 'log.db'}", Clock(), Vault({"bench": bytes(32)}))
    migrate_schema(database.engine)
    rows = _touch_rows(count)
    with measured() as cost:
        for first in range(0, count, BATCH):
            some = rows[first : first + BATCH]
            database.write_now(partial(store.append_touches, rows=some))
    report.add(f"durable append in batches of {BATCH:,}", **_rates(cost, count))
    _add_lookups(report, database, count)
    database.close()
    size = (folder / "log.db").stat().st_size / MIB
    report.add(f"the log of {count:,} touches", **{"MiB": size})


def _add_lookups(report: Report, database: Database, count: int) -> None:
    chance = random.Random(2)
    asked = [
        Conversion(0, "b0", _person(chance, count), ConversionKind.LEAD, "", _moment(chance))
        for _ in range(20_000)
    ]

    def look(tx: Tx) -> list[float]:
        times = []
        for conversion in asked:
            started = time.perf_counter()
            store.list_candidates(tx, conversion)
            times.append(time.perf_counter() - started)
        return times

    def look_with_the_driver(tx: Tx) -> None:
        driver: Any = tx.connection.connection.driver_connection
        for conversion in asked:
            of = ("b0", conversion.person_id, conversion.ts, conversion.ts)
            for seek, more in zip(_SEEKS, ((), (conversion.ts // store.WEEK_US,)), strict=True):
                driver.execute(seek, of + more).fetchone()

    with measured() as cost:
        times = database.read_now(look)
    slowest = percentile(times, 0.99) * 1e6
    report.add("winner looked up at ingest", **_rates(cost, len(asked)), **{"p99 us": slowest})
    with measured() as cost:
        database.read_now(look_with_the_driver)
    report.add("the same two seeks by the driver alone", **_rates(cost, len(asked)))


def _rates(cost: Cost, count: int) -> dict[str, float]:
    """By the clock, and by the processor: other work on the machine slows the first alone."""
    return {"per s": cost.per_second(count), "per cpu s": count / cost.cpu_s}


def _touch_rows(count: int) -> list[dict[str, Any]]:
    chance = random.Random(1)
    step = DAYS * 86_400_000_000 // count
    return [
        {
            "touch_id": number,
            "business_id": "b0",
            "person_id": _person(chance, count),
            "ad_id": f"a{chance.randrange(2_000)}",
            "ad_group_id": f"g{chance.randrange(500)}",
            "ad_account_id": "account",
            "kind": "click" if chance.random() < 0.05 else "view",
            "ts": START + number * step,
            "expires_ts": START + number * step + 86_400_000_000,
            "day": "2026-01-01",
            "cost_micros": 10,
            "country": "",
        }
        for number in range(count)
    ]


def _moment(chance: random.Random) -> int:
    return START + chance.randrange(DAYS) * 86_400_000_000


def _person(chance: random.Random, count: int) -> str:
    return f"u{int(count / 10 * chance.random() ** 3)}"


if __name__ == "__main__":
    main()
