"""How long one tenant's customers wait for their lead while another tenant works without pause.

A server and a worker run as an operator runs them, over real HTTP. One tenant imports six files at once,
exports all leads as CSV and XLSX and edits all of them, again and again, or posts webhooks as fast as they
are taken. Another tenant gets a webhook ten times a second, each with a phone number. The time from posting
it to its lead is read from the database by this program, first while nobody else works. Target: p95 under
0.5 s.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from bench.fairness_parts.installation import Layout, new_database, running_postgres, serving
from bench.fairness_parts.shop import Shop, Waits, open_shop, write_steadily
from bench.harness import Options, Report, options, percentile
from bench.pages_parts.filling import fill
from contatto.app import open_context
from contatto.kit.settings import Settings
from contatto.wiring import install

SAYS = "from webhook to lead of one tenant, while another works without pause"
LAYOUTS = (
    Layout("SQLite, one process", on_postgres=False, worker="in_process"),
    Layout("SQLite, server and worker", on_postgres=False, worker="separate"),
    Layout("PostgreSQL, server and worker", on_postgres=True, worker="separate"),
)
QUICK_LAYOUTS = (LAYOUTS[0], LAYOUTS[2])
EVERY_S = 0.1
HEAD_START_S = 1.5
"""The busy tenant is at it before the first measured webhook comes."""
TARGET_MS = 500.0


def main() -> None:
    chosen = options(SAYS)
    report = Report("fairness", SAYS, chosen)
    layouts = QUICK_LAYOUTS if chosen.quick else LAYOUTS
    with running_postgres():
        for layout in layouts:
            run_layout(report, layout, chosen)
    report.finish()


def run_layout(report: Report, layout: Layout, chosen: Options) -> None:
    """Fill a new installation, start it, and measure it quiet and under each load."""
    with tempfile.TemporaryDirectory(prefix="contatto-bench-") as folder:
        home = Path(folder)
        url = new_database("fair") if layout.on_postgres else ""
        quiet, busy = build(home, url, chosen.size(20_000, 2_000))
        url = url or Settings(data_dir=home).url
        with serving(layout, home, url, {}) as port:
            bench = Bench(report, layout.name, port, url, quiet)
            bench.warm_up()
            bench.measure("quiet", chosen.size(150, 30), None)
            rows = chosen.size(5_000, 1_000)
            bench.measure("imports, exports, edits", chosen.size(300, 60), {"does": "work", "rows": rows})
            bench.measure("webhooks", chosen.size(150, 30), {"does": "flood", "app": asdict(busy.app)})


def build(home: Path, url: str, leads: int) -> tuple[Shop, Shop]:
    """A tenant without leads, and one with many."""
    context = open_context(install(Settings(data_dir=home, database_url=url)))
    world = fill(context, leads, leads)
    quiet = context.db.write_now(lambda tx: open_shop(tx, "quiet"))
    busy = context.db.write_now(lambda tx: open_shop(tx, "busy", world["business"]))
    context.db.close()
    return quiet, busy


class Bench:
    """Measures one running installation; the first case is what the others are compared with."""

    def __init__(self, report: Report, name: str, port: int, url: str, shop: Shop) -> None:
        self._report, self._name, self._port, self._url, self._shop = report, name, port, url, shop
        self._next = 1
        self._quiet_ms = 0.0

    def warm_up(self) -> None:
        """Wait until all processes have begun, and have loaded what they need for a first lead."""
        waits = asyncio.run(write_steadily(self._port, self._url, self._shop, (0, 1), EVERY_S, 60.0))
        if waits.lost:
            raise RuntimeError("the first webhook became no lead")

    def measure(self, load: str, count: int, busy: dict[str, object] | None) -> None:
        patience_s = 10.0 if self._report.options.quick else 60.0
        seconds = count * EVERY_S + HEAD_START_S
        process = start_busy(busy | {"port": self._port, "seconds": seconds}) if busy else None
        if process:
            time.sleep(HEAD_START_S)
        span = (self._next, self._next + count)
        self._next += count
        waits = asyncio.run(write_steadily(self._port, self._url, self._shop, span, EVERY_S, patience_s))
        self._add(load, waits, finish_busy(process) if process else {})

    def _add(self, load: str, waits: Waits, did: dict[str, int]) -> None:
        p95 = percentile(waits.leads, 0.95) * 1e3
        self._quiet_ms = self._quiet_ms or p95
        self._report.add(
            f"{self._name}: {load}",
            webhooks=len(waits.answers),
            answer_p95_ms=percentile(waits.answers, 0.95) * 1e3,
            lead_p50_ms=percentile(waits.leads, 0.5) * 1e3,
            lead_p95_ms=p95,
            worst_ms=max(waits.leads, default=0.0) * 1e3,
            times_quiet=p95 / self._quiet_ms,
            no_lead=waits.lost,
            holds="yes" if p95 < TARGET_MS and not waits.lost else "NO",
            other_did=", ".join(f"{count:,} {what}" for what, count in sorted(did.items())),
        )


def start_busy(asked: dict[str, object]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.fairness_parts.busy", json.dumps(asked)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish_busy(process: subprocess.Popen[str]) -> dict[str, int]:
    told, _ = process.communicate(timeout=180)
    if process.returncode:
        raise RuntimeError("the busy tenant failed")
    did: dict[str, int] = json.loads(told)
    return did


if __name__ == "__main__":
    main()
