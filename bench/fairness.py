"""Waiting times of one tenant while another tenant works without pause.

A server and a worker run as an operator runs them, over real HTTP. One tenant works without pause, in one of
nine ways. It imports six files at once, exports and edits all leads. It posts webhooks as fast as they are
taken. It changes audiences by files, sends events of leads, pastes lists, searches the inbox, filters leads,
opens reports or calls the API, each over several connections.

A member of another tenant opens the inbox again and again. That tenant gets a webhook ten times a second,
each with a phone number. This program reads the time from posting it to its lead from the database, first
while nobody else works. Target: p95 of pages and of leads under 0.5 s.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Self

from bench.fairness_parts.busy import PAGES, Program
from bench.fairness_parts.installation import Layout, new_database, running_postgres, serving
from bench.fairness_parts.shop import Shop, Waits, open_shop, write_steadily
from bench.harness import Options, Report, options, percentile
from bench.pages_parts.filling import fill
from contatto.accounts.actions import NewAdAccount, add_ad_account, issue_token
from contatto.accounts.model import BusinessId, Permission
from contatto.app import open_context
from contatto.kit.db.tx import Tx
from contatto.kit.settings import Settings
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import list_leads
from contatto.wiring import install

SAYS = "one tenant while another works without pause; goal: p95 of its pages and leads <= 500 ms"
LAYOUTS = (
    Layout("SQLite, one process", on_postgres=False, worker="in_process"),
    Layout("PostgreSQL, server and worker", on_postgres=True, worker="separate"),
)
QUICK_LAYOUTS = LAYOUTS[:1]
EVERY_S = 0.1
HEAD_START_S = 0.5
"""The busy tenant works before the first measured webhook comes, and its last requests end afterwards."""
STOP_S = 60.0
"""Time for the busy tenant to begin or to stop, on a busy machine."""
TARGET_MS = 500.0


def main() -> None:
    chosen = options(SAYS)
    report = Report("fairness", SAYS, chosen)
    layouts = QUICK_LAYOUTS if chosen.quick else LAYOUTS
    with running_postgres() if any(layout.on_postgres for layout in layouts) else nullcontext():
        for layout in layouts:
            run_layout(report, layout, chosen)
    report.finish()


def run_layout(report: Report, layout: Layout, chosen: Options) -> None:
    """Fill a new installation, start it, and measure it quiet and under each load."""
    with tempfile.TemporaryDirectory(prefix="contatto-bench-") as folder:
        home = Path(folder)
        url = new_database("fair") if layout.on_postgres else ""
        quiet, busy, program = build(home, url, chosen.size(20_000, 2_000))
        url = url or Settings(data_dir=home).url
        with serving(layout, home, url, {}) as port, BusyTenant(port) as neighbour:
            bench = Bench(report, layout.name, port, url, quiet, neighbour)
            bench.warm_up()
            bench.measure("quiet", chosen.size(150, 25), None)
            rows = chosen.size(5_000, 1_000)
            bench.measure("imports, exports, edits", chosen.size(300, 25), {"does": "work", "rows": rows})
            count = chosen.size(150, 25)
            bench.measure("webhooks", count, {"does": "flood", "app": asdict(busy.app)})
            for does in ("audiences", "events", "pasted lists", *PAGES, "API"):
                bench.measure(does, count, {"does": does, **asdict(program)})


def build(home: Path, url: str, leads: int) -> tuple[Shop, Shop, Program]:
    """Make a tenant without leads, one with many, and what a program of the latter needs."""
    context = open_context(install(Settings(data_dir=home, database_url=url)))
    world = fill(context, leads, leads)
    quiet = context.db.write_now(lambda tx: open_shop(tx, "quiet"))
    busy = context.db.write_now(lambda tx: open_shop(tx, "busy", world["business"]))

    def let_a_program_in(tx: Tx) -> Program:
        of = BusinessId(world["business"])
        account = add_ad_account(tx, of, NewAdAccount("Main", "SG", "SGD", "Asia/Singapore"))
        _, token = issue_token(tx, of, "bench", [scope.value for scope in Permission])
        leads = list_leads(tx, of, LeadFilter(), limit=500)
        return Program(token, str(account.number), tuple(str(lead.number) for lead in leads))

    program = context.db.write_now(let_a_program_in)
    context.db.close()
    return quiet, busy, program


class Bench:
    """Measures one running installation; the first case is what the others are compared with."""

    def __init__(
        self, report: Report, name: str, port: int, url: str, shop: Shop, neighbour: "BusyTenant"
    ) -> None:
        self._report, self._name, self._port, self._url, self._shop = report, name, port, url, shop
        self._neighbour = neighbour
        self._next = 1
        self._quiet_ms = 0.0

    def warm_up(self) -> None:
        """Wait until all processes have begun, and have loaded what they need for a first lead."""
        waits = asyncio.run(write_steadily(self._port, self._url, self._shop, (0, 1), EVERY_S, 60.0))
        if waits.lost:
            raise RuntimeError("the first webhook became no lead")

    def measure(self, load: str, count: int, busy: dict[str, object] | None) -> None:
        patience_s = 10.0 if self._report.options.quick else 60.0
        if busy:
            self._neighbour.start(busy)
            time.sleep(HEAD_START_S)
        span = (self._next, self._next + count)
        self._next += count
        waits = asyncio.run(write_steadily(self._port, self._url, self._shop, span, EVERY_S, patience_s))
        self._add(load, waits, self._neighbour.stop() if busy else {})
        time.sleep(HEAD_START_S)

    def _add(self, load: str, waits: Waits, did: dict[str, int]) -> None:
        p95 = percentile(waits.leads, 0.95) * 1e3
        page_p95 = percentile(waits.pages, 0.95) * 1e3
        self._quiet_ms = self._quiet_ms or p95
        self._report.add(
            f"{self._name}: {load}",
            webhooks=len(waits.answers),
            pages=len(waits.pages),
            page_p95_ms=page_p95,
            answer_p95_ms=percentile(waits.answers, 0.95) * 1e3,
            lead_p50_ms=percentile(waits.leads, 0.5) * 1e3,
            lead_p95_ms=p95,
            worst_ms=max(waits.leads, default=0.0) * 1e3,
            times_quiet=p95 / self._quiet_ms,
            no_lead=waits.lost,
            reaches_goal="yes"
            if max(p95, page_p95) <= TARGET_MS and waits.pages and not waits.lost
            else "NO",
            other_did=", ".join(f"{count:,} {what}" for what, count in sorted(did.items())),
        )


class BusyTenant:
    """The program of the busy tenant; it is loaded once, and takes one order after another."""

    def __init__(self, port: int) -> None:
        self._port = port
        command = [sys.executable, "-m", "bench.fairness_parts.busy"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def start(self, order: dict[str, object]) -> None:
        """Begin to work, and return when the work has begun."""
        self._exchange(json.dumps(order | {"port": self._port}))

    def stop(self) -> dict[str, int]:
        """Stop, and return the number of requests of each kind."""
        counts: dict[str, int] = json.loads(self._exchange("stop"))
        return counts

    def _exchange(self, line: str) -> str:
        """Send a line and return the answer.

        Raises:
            RuntimeError: the program ended, or took too long.
        """
        orders, answers = self._process.stdin, self._process.stdout
        if orders is None or answers is None:
            raise RuntimeError("the busy tenant has no pipes")
        timer = threading.Timer(STOP_S, self._process.kill)
        timer.start()
        try:
            print(line, file=orders, flush=True)
            answer = answers.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            timer.cancel()
        if not answer:
            raise RuntimeError("the busy tenant failed")
        return answer


if __name__ == "__main__":
    main()
