"""Leads with what is due of them, and how long a request waits from its commit until it is sent.

First, leads and their deliveries are made in one transaction each, beside the bare insert of the same rows
(``outbound_parts/pairs.py``). Then the worker's machine sends over real HTTP to servers in another process:
one that hangs for 20 seconds, and twenty that answer at once. A hundred requests a second (two hundred on
PostgreSQL) are committed for the twenty, and a tenth of that for the one that hangs, of five businesses in
turn. The server that gets a request notes when; both processes read one clock.
Both cases are played in turn, and the median p95 of each counts. Targets: p95 of 0.12 s at most, and one that
hangs raises the p95 of the others by 10 % at most. Where others take the processors the waits tell of them:
see ``load``, the mean number of tasks that want one. The more comes together, the fewer ``statements_each``.
"""

import asyncio
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from sqlalchemy import event

from bench.fairness_parts.installation import new_database, running_postgres
from bench.harness import Report, measured, options, percentile
from bench.outbound_parts.pairs import run_pairs
from contatto.app import open_context
from contatto.kit.client import Client
from contatto.kit.db.tx import Tx
from contatto.kit.exchange import HttpRequest
from contatto.kit.log import set_up_logs
from contatto.kit.outbound.kinds import OutboundKind
from contatto.kit.outbound.machine import OutboundMachine
from contatto.kit.outbound.model import Ask, Done, NewRequest, OutboundRequest, RetryPlan, Step
from contatto.kit.outbound.store import outbound_requests, queue_request
from contatto.kit.settings import Settings
from contatto.migrations.steps import migrate_schema
from contatto.ui.context import Context
from contatto.wiring import install

SAYS = "leads with what is due of them, and from commit to sent while one destination hangs"
SOUND, BUSINESSES = 20, 5
PER_SECOND = {"SQLite": 100, "PostgreSQL": 200}
HANGS_S = 20.0
TARGET_MS = 120.0
ROUNDS = 3
NUMBERS = itertools.count(1)
MOST_RISE_PCT = 10.0
PLAN = RetryPlan((5, 30, 120))


def main() -> None:
    chosen = options(SAYS)
    set_up_logs("error", "json")
    report = Report("outbound", SAYS, chosen)
    seconds, pairs = chosen.size(full=15, quick=3), chosen.size(full=3_000, quick=200)
    rounds = chosen.size(full=ROUNDS, quick=1)
    with running_postgres():
        for name in PER_SECOND:
            with opened(name, "pairs") as context:
                run_pairs(report, name, context.db, pairs)
        for name in PER_SECOND:
            compare_cases(report, name, seconds, rounds)
    report.finish()


@contextmanager
def opened(name: str, purpose: str) -> Iterator[Context]:
    """An installation with an empty database, durable as in production."""
    url = new_database(f"outbound_{purpose}_{next(NUMBERS)}") if name == "PostgreSQL" else ""
    with tempfile.TemporaryDirectory(prefix="contatto-bench-") as folder:
        context = open_context(install(Settings(data_dir=Path(folder), database_url=url)))
        migrate_schema(context.db.engine)
        yield context
        context.db.close()


def compare_cases(report: Report, name: str, seconds: int, rounds: int) -> None:
    """Play both cases in turn; print the median run of each, and what one that hangs does to the others."""
    calm, hanging = [], []
    for _ in range(rounds):
        calm.append(run_case(name, seconds, hangs=False))
        hanging.append(run_case(name, seconds, hangs=True))
    per_second = PER_SECOND[name]
    for says, runs in (("all answer", calm), ("one hangs", hanging)):
        figures = sorted(runs, key=lambda run: run["p95_ms"])[len(runs) // 2]
        holds = figures["p95_ms"] <= TARGET_MS and not figures["not_sent"]
        report.add(f"{name}, {per_second} a second: {says}", **figures, holds="yes" if holds else "NO")
    middle = [sorted(run["p95_ms"] for run in runs)[len(runs) // 2] for runs in (calm, hanging)]
    rise_pct = 100 * (middle[1] / middle[0] - 1)
    holds = rise_pct <= MOST_RISE_PCT
    report.add(
        f"{name}: p95 of the others, with one that hangs", rise_pct=rise_pct, holds="yes" if holds else "NO"
    )


def run_case(name: str, seconds: int, *, hangs: bool) -> dict[str, float]:
    """One run: its waits from commit to sent, and what it cost."""
    with opened(name, "hangs" if hangs else "calm") as context, Servers() as servers:
        asked: list[int] = []
        event.listen(context.db.engine, "after_cursor_execute", lambda *_told: asked.append(1))
        with measured() as cost:
            sending = Sending(context, servers.hosts, PER_SECOND[name])
            sent = asyncio.run(sending.run(seconds, hangs=hangs))
        got = servers.stop()
    waits = [got[subject] - at for subject, at in sent.items() if subject in got]
    return {
        "requests": len(sent),
        "p50_ms": percentile(waits, 0.5) * 1e3,
        "p95_ms": percentile(waits, 0.95) * 1e3,
        "worst_ms": max(waits, default=0.0) * 1e3,
        "not_sent": len(sent) - len(waits),
        "cpu_ms_each": cost.cpu_us_per(len(sent)) / 1e3,
        "statements_each": len(asked) / len(sent),
        "load": os.getloadavg()[0],
    }


@dataclass
class Sending:
    """Commits requests at a steady pace, beside the machine that sends them, as the worker runs it."""

    context: Context
    hosts: list[str]
    per_second: int
    committed: dict[str, float] = field(default_factory=dict)

    async def run(self, seconds: int, *, hangs: bool) -> dict[str, float]:
        client = Client(["127.0.0.1:*"])
        kind = OutboundKind("bench", ask_for, lambda *_given: Done(), lambda *_told: None, PLAN)
        machine = OutboundMachine(self.context.db, client, {"bench": kind})
        poked = asyncio.Event()
        loop = asyncio.get_running_loop()
        sent = {outbound_requests.name}
        self.context.db.on_commit(partial(poke, loop, poked), sent)
        works = [asyncio.create_task(machine.run()), asyncio.create_task(look(machine, poked))]
        committing = [asyncio.create_task(self._commit(self.hosts[1:], self.per_second, seconds))]
        if hangs:
            few = self.per_second // 10
            committing.append(asyncio.create_task(self._commit(self.hosts[:1], few, seconds)))
        await asyncio.gather(*committing)
        await asyncio.sleep(1)
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)
        await client.close()
        return {subject: at for subject, at in self.committed.items() if not subject.startswith("hangs")}

    async def _commit(self, hosts: list[str], per_second: int, seconds: int) -> None:
        """Commit one request after the other at its time, however long the commits take."""
        started = time.monotonic()
        writes = []
        for number in range(per_second * seconds):
            await asyncio.sleep(max(0.0, started + number / per_second - time.monotonic()))
            host = hosts[number % len(hosts)]
            subject = f"{'hangs' if host == self.hosts[0] else 's'}{number}"
            writes.append(asyncio.create_task(self._commit_one(host, subject, f"b{number % BUSINESSES}")))
        await asyncio.gather(*writes)

    async def _commit_one(self, host: str, subject: str, business_id: str) -> None:
        def work(tx: Tx) -> None:
            queue_request(tx, NewRequest(business_id, "bench", subject, host), PLAN)

        await self.context.db.write(work)
        self.committed[subject] = time.monotonic()


async def look(machine: OutboundMachine, poked: asyncio.Event) -> None:
    """Look for what is due after each commit and twice a second, as the worker does."""
    while True:
        await machine.send_due()
        with suppress(TimeoutError):
            await asyncio.wait_for(poked.wait(), 0.5)
            await asyncio.sleep(0.005)
        poked.clear()


def poke(loop: asyncio.AbstractEventLoop, poked: asyncio.Event) -> None:
    loop.call_soon_threadsafe(poked.set)


def ask_for(_tx: Tx, request: OutboundRequest) -> Step:
    return Ask(HttpRequest("POST", f"http://{request.destination}/{request.subject}", {}, b"{}"))


class Servers:
    """The servers, in a process of their own: the first hangs, the others answer at once."""

    def __enter__(self) -> "Servers":
        command = [sys.executable, "-c", "from bench.outbound import serve; serve()"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.hosts: list[str] = json.loads(self._output().readline())
        return self

    def _output(self) -> IO[str]:
        if self._process.stdout is None:
            raise RuntimeError("the servers have no output")
        return self._process.stdout

    def stop(self) -> dict[str, float]:
        """End them; give when each request came."""
        told, _ = self._process.communicate("", timeout=300)
        got: dict[str, float] = json.loads(told)
        return got

    def __exit__(self, *_error: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def serve() -> None:
    """Serve until the input ends; then tell when each request came."""
    got: dict[str, float] = {}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wait_s: float) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            got.setdefault(head.split(b" ")[1].decode().strip("/"), time.monotonic())
            await asyncio.sleep(wait_s)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    async def go() -> None:
        servers = []
        for number in range(SOUND + 1):
            wait_s = 0.0 if number else HANGS_S
            handler = partial(answer, wait_s=wait_s)
            servers.append(await asyncio.start_server(handler, "127.0.0.1", 0))
        hosts = [f"127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers]
        print(json.dumps(hosts), flush=True)
        await asyncio.to_thread(sys.stdin.read)

    asyncio.run(go())
    print(json.dumps(got))


if __name__ == "__main__":
    main()
