"""Leads with what is due of them, and how long a request waits from its commit until it is sent.

First, leads and their deliveries are made in one transaction each, beside the bare insert of the same rows
(``outbound_parts/pairs.py``). Then the worker's machine sends over real HTTP to servers in another process:
a hundred requests a second (two hundred on PostgreSQL) to twenty of them, and a tenth of that to one more, of
five businesses in turn. In blocks by turns that one answers as the others do, or hangs; all else is the same.
The time-out is short, so that a block that hangs meets all there is of it: places that are taken, time-outs,
the breaker, a probe. Blocks come in pairs, whose order changes; the rise is that within a pair, as the median
of all pairs with the least and the most. What the machine does beside it falls on both.

Targets: p95 of 0.12 s at most, and one that hangs raises the p95 of the others by 10 % at most. Where others
take the processors the waits tell of them: see ``load``, the mean number of tasks that want one. The more
comes together, the fewer ``statements_each``. A full run takes five minutes on two quiet cores, a quick one
one and a half.
"""

import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import event

from bench.fairness_parts.installation import new_database, running_postgres
from bench.harness import Report, measured, options, percentile
from bench.outbound_parts.pairs import run_pairs
from bench.outbound_parts.sending import Sending
from bench.outbound_parts.servers import Servers
from contatto.app import open_context
from contatto.kit.log import set_up_logs
from contatto.kit.settings import Settings
from contatto.migrations.steps import migrate_schema
from contatto.ui.requests import Context
from contatto.wiring import install

SAYS = "leads with what is due of them, and from commit to sent while one destination hangs"
PER_SECOND = {"SQLite": 100, "PostgreSQL": 200}
TARGET_MS = 120.0
MOST_RISE_PCT = 10.0
NUMBERS = itertools.count(1)
STARTED = time.monotonic()


@dataclass(frozen=True)
class Block:
    """Measures taken while one destination answered, or hung: waits in seconds, and the cost of each."""

    waits: list[float]
    asked: int
    cpu_s: float
    statements: int

    @property
    def p95_s(self) -> float:
        return percentile(self.waits, 0.95)


def main() -> None:
    chosen = options(SAYS)
    set_up_logs("critical", "json")  # one that hangs is told of in each block
    report = Report("outbound", SAYS, chosen)
    seconds, pairs = chosen.size(full=6, quick=3), chosen.size(full=2_000, quick=200)
    rounds = chosen.size(full=7, quick=2)
    with running_postgres():
        for name in PER_SECOND:
            tell(f"{name}: {pairs} leads with what is due of them")
            with opened(name, "pairs") as context:
                run_pairs(report, name, context.db, pairs)
        for name in PER_SECOND:
            compare_cases(report, name, seconds, rounds)
    report.finish()


def tell(text: str) -> None:
    """Say how far it is, beside the table that goes to the output."""
    print(f"{time.monotonic() - STARTED:5.0f} s  {text}", file=sys.stderr, flush=True)


@contextmanager
def opened(name: str, purpose: str) -> Iterator[Context]:
    """Open an installation with an empty database, durable as in production."""
    url = new_database(f"outbound_{purpose}_{next(NUMBERS)}") if name == "PostgreSQL" else ""
    with tempfile.TemporaryDirectory(prefix="contatto-bench-") as folder:
        context = open_context(install(Settings(data_dir=Path(folder), database_url=url)))
        migrate_schema(context.db.engine)
        yield context
        context.db.close()


def compare_cases(report: Report, name: str, seconds: int, rounds: int) -> None:
    """Play pairs of blocks; print what came of each case, and what one that hangs does to the others."""
    calm: list[Block] = []
    hanging: list[Block] = []
    with opened(name, "sending") as context, Servers() as servers:
        sending = Sending(context.db, servers.hosts, PER_SECOND[name])
        run_block(context, sending, servers, 1, hangs=False)  # what is made once is there
        for number in range(rounds):
            for hangs in (False, True) if number % 2 == 0 else (True, False):
                block = run_block(context, sending, servers, seconds, hangs=hangs)
                (hanging if hangs else calm).append(block)
                case = "one hangs" if hangs else "all answer"
                tell(f"{name}, pair {number + 1} of {rounds}, {case}: p95 {block.p95_s * 1e3:.1f} ms")
    for says, blocks in (("all answer", calm), ("one hangs", hanging)):
        report.add(f"{name}, {PER_SECOND[name]} a second: {says}", **figures_of(blocks))
    rises = [100 * (after.p95_s / before.p95_s - 1) for before, after in zip(calm, hanging, strict=True)]
    rise = statistics.median(rises)
    report.add(
        f"{name}: p95 of the others, with one that hangs",
        rise_pct=rise,
        least_pct=min(rises),
        most_pct=max(rises),
        holds="yes" if rise <= MOST_RISE_PCT else "NO",
    )


def figures_of(blocks: Sequence[Block]) -> dict[str, object]:
    """Return the waits of all blocks of one case together, and the cost of each request."""
    waits = [wait for block in blocks for wait in block.waits]
    asked = sum(block.asked for block in blocks)
    p95_ms = percentile(waits, 0.95) * 1e3
    return {
        "requests": asked,
        "p50_ms": percentile(waits, 0.5) * 1e3,
        "p95_ms": p95_ms,
        "worst_ms": max(waits, default=0.0) * 1e3,
        "not_sent": asked - len(waits),
        "cpu_ms_each": sum(block.cpu_s for block in blocks) / asked * 1e3,
        "statements_each": sum(block.statements for block in blocks) / asked,
        "load": os.getloadavg()[0],
        "holds": "yes" if p95_ms <= TARGET_MS and len(waits) == asked else "NO",
    }


def run_block(context: Context, sending: Sending, servers: Servers, seconds: int, *, hangs: bool) -> Block:
    """One block of one case, which leaves nothing due."""
    statements = 0

    def count(*_told: object) -> None:
        nonlocal statements
        statements += 1

    event.listen(context.db.engine, "after_cursor_execute", count)
    with measured() as cost:
        sent = sending.run(seconds, hangs=hangs)
    event.remove(context.db.engine, "after_cursor_execute", count)
    got = servers.take()
    waits = [got[subject] - at for subject, at in sent.items() if subject in got]
    return Block(waits, len(sent), cost.cpu_s, statements)


if __name__ == "__main__":
    main()
