"""Messages through the signed webhook, until they are leads: how many a second, and the CPU of each.

A server process is started for real, with a worker, and loaded from this one over keep-alive connections.
Each message is answered after its row is durable. Every third carries contact details, and as many of the
others do as people write them by themselves; no two say the same, and few name what another names. Floors: a
route of Starlette with nothing around it, which keeps the body of the same requests with group commit; and
the very same rows of the first table inserted with the driver alone, in groups of the size that the server
reached, or with a commit each. *Stored* comes in rounds, each settled before the next, so that platforms are
never held back; *settled* is what that took.

On SQLite the worker is in the server's process. *Sustained* counts from the first request until nothing
waits any more, so what came in faster than it was settled is no gain; ``waiting_half`` and ``waiting_end``
say what was left at two moments, so whether it lags behind more and more. ``driver_us`` is the CPU of this
process, which shares the processors and is in no other figure; ``statements`` are those of a message, in
the server and all workers. ``postgres_us`` is the CPU of PostgreSQL's processes, which share the processors
too; ``most_per_s`` is what all processors could do if none of them ever waited. *By 1 or 2 workers alone*
nothing else runs but them and PostgreSQL, from the moment when all of them are ready until all is settled
and handed out. The waiting times are from the moment when a message was due to be sent until others see its
lead.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

from bench.fairness_parts.installation import new_database, running_postgres
from bench.harness import Cost, Options, Report, measured, options, percentile
from bench.intake_parts.beside import keep_on_cores, most_per_s, postgres_cpu_s
from bench.intake_parts.sending import PER_PERSON, SHARES, Sent, make_requests, send_all
from bench.intake_parts.serving import (
    Place,
    add_accounts,
    begin_work,
    count_events,
    count_groups,
    count_statements,
    count_stored,
    count_waiting,
    is_waiting,
    learn,
    list_new_leads,
    make_world,
    running,
    running_bare,
    running_workers,
)
from bench.intake_parts.storing import load, store_in_rounds
from contatto.kit.db.tx import Tx

SAYS = "signed webhooks, durable, until they are leads; every third message carries contact details"
WARMING = 60
PACES = (100, 500)
ACCOUNTS = 4
"""Accounts that the messages come to: deliveries of one are settled by one worker at a time."""
SETTLED_WITHIN_S = 300.0
SUSTAINED_S = 120.0


def main() -> None:
    chosen = options(SAYS, add=add_engine)
    report = Report("intake", SAYS, chosen)
    sizes = Sizes(
        stored=chosen.size(full=60_000, quick=2_000),
        alone=chosen.size(full=60_000, quick=8_000),
        sustained=chosen.size(full=300_000, quick=12_000),
        paced_s=chosen.size(full=30, quick=6),
    )
    run_on_engines(report, chosen, lambda places, workers: bench_engine(report, places, workers, sizes))


def run_on_engines(
    report: Report, chosen: Options, bench: Callable[["Places", tuple[int, ...]], None]
) -> None:
    """Run a benchmark on the engines that were chosen; it is given new places, and the numbers of workers."""
    with tempfile.TemporaryDirectory(prefix="contatto-bench-") as folder:
        try:
            if chosen.more.engine != "postgresql":
                bench(Places(Path(folder), "SQLite"), (1,))
            if chosen.more.engine != "sqlite":
                with running_postgres():
                    bench(Places(Path(folder), "PostgreSQL"), (1, 2))
        finally:  # what was measured is shown, though something later did not come about
            report.finish()


def add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), help="one of the two alone")


@dataclass(frozen=True)
class Sizes:
    """Numbers of messages of each part, and seconds of the parts that have a pace.

    Attributes:
        sustained: no more are made; a run ends after two minutes in any case.
    """

    stored: int
    alone: int
    sustained: int
    paced_s: int


def bench_engine(report: Report, places: "Places", workers: tuple[int, ...], sizes: Sizes) -> None:
    engine = places.engine
    bench_storing(report, engine, places, sizes.stored)
    if engine == "PostgreSQL":
        for number in workers:
            bench_alone(report, places.new(), sizes.alone, number)
    for name, number in list_layouts(engine, workers):
        bench_sustained(report, name, places.new(), sizes.sustained, number)
        for pace in PACES if number == 1 else ():
            bench_waiting(report, name, places.new(), pace, sizes.paced_s)


def list_layouts(engine: str, workers: tuple[int, ...]) -> list[tuple[str, int]]:
    """Names of ways to run, with the number of workers."""
    if engine == "SQLite":
        return [("SQLite", 1)]
    return [(f"{engine}, {number} workers" if number > 1 else engine, number) for number in workers]


class Places:
    """Installations of one engine, each new."""

    def __init__(self, folder: Path, engine: str) -> None:
        self.engine, self._folder, self._made = engine, folder, 0

    def new(self) -> Place:
        self._made += 1
        name = f"{self.engine.lower()}_{self._made}"
        url = new_database(name) if self.engine == "PostgreSQL" else ""
        return Place(self._folder / name, url)


def bench_storing(report: Report, engine: str, places: Places, count: int) -> None:
    """Measure the webhook without a worker, in rounds that are settled in between; and the floors."""
    place = places.new()
    requests = make_requests(make_world(place), WARMING + count).requests
    warming, counted = requests[:WARMING], requests[WARMING:]
    with running_bare(place) as bare:
        load(bare, warming)
        floor = load(bare, counted)
    add(report, f"{engine} floor: a bare route, group commit", floor, count)
    with running(place, workers=0, counts=True) as server:
        stored, settled = store_in_rounds(place, server, warming, counted, RECEIPTS.table)
    group = max(1, round((WARMING + count) / count_groups(place)))
    for name, size, some in ((f"{group} a commit", group, count), ("a commit each", 1, count // 10)):
        cost = insert_bare(place, RECEIPTS, size, some)
        add(report, f"{engine} floor: the driver alone, {name}", cost, some)
    stored.statements = count_statements(place) * count // (WARMING + count)
    for name, done in (("stored", stored), ("settled", settled)):
        more = of_postgres(done.postgres_s, count)
        each = done.statements / count
        add(report, f"{engine}: {name}", done.cost, count, statements=each, **more)


def of_postgres(cpu_s: float, count: int) -> dict[str, float]:
    """Return the figure of PostgreSQL's processes, where there are any."""
    return {"postgres_us": cpu_s * 1e6 / count} if cpu_s else {}


def bench_alone(report: Report, place: Place, count: int, workers: int) -> None:
    """Settle stored messages and hand out their events by workers with nothing beside them.

    They and PostgreSQL have as many cores as there are workers: one of them and PostgreSQL take more than
    one, so how much faster two are would otherwise tell how many cores there are.
    """
    sent = make_sent(place, count)
    with running(place, workers=0) as server:
        asyncio.run(send_all(server.port, sent.requests))
    learn(place)
    with running_workers(place, workers) as ready:
        cores = keep_on_cores(ready.pids, workers)
        beside, cpu, started = postgres_cpu_s(place), ready.cpu_s(), time.perf_counter()
        begin_work(place)
        wait_until_settled(place, count)
        wait_until_handed_out(place)
        cost = Cost(time.perf_counter() - started, ready.cpu_s() - cpu, ready.peak_mib())
        beside = postgres_cpu_s(place) - beside
        keep_on_cores([], os.cpu_count() or 1)
    name = f"PostgreSQL: settled and handed out by {workers} alone, on as many cores ({cores})"
    add(report, name, cost, count, **of_postgres(beside, count))


def bench_sustained(report: Report, name: str, place: Place, count: int, workers: int) -> None:
    """Store and settle for two minutes at most; two moments show whether the backlog grows."""
    sent, waiting = make_sent(place, WARMING + count), list[int]()
    with running(place, workers, counts=True) as server:
        asyncio.run(send_all(server.port, sent.requests[:WARMING]))
        wait_until_settled(place, WARMING)
        learn(place)
        cpu, own, started = server.cpu_s_of_each(), time.process_time(), time.perf_counter()
        beside, done = postgres_cpu_s(place), 0
        for half in (sent.requests[WARMING::2], sent.requests[WARMING + 1 :: 2]):
            done += len(asyncio.run(send_all(server.port, half, seconds=SUSTAINED_S / 2)))
            waiting.append(now_waiting(place))
        own, answered = time.process_time() - own, time.perf_counter()
        wait_until_settled(place, WARMING + done)
        ended = time.perf_counter()
        beside = postgres_cpu_s(place) - beside
        took = [after - before for after, before in zip(server.cpu_s_of_each(), cpu, strict=True)]
        cost = Cost(ended - started, sum(took), server.peak_mib())
    add(
        report,
        f"{name}: stored and settled, sustained",
        cost,
        done,
        statements=count_statements(place) / (WARMING + done),
        behind_s=ended - answered,
        waiting_half=waiting[0],
        waiting_end=waiting[1],
        server_us=took[0] * 1e6 / done,
        driver_us=own * 1e6 / done,
        **of_postgres(beside, done),
        most_per_s=most_per_s((sum(took) + own + beside) * 1e6 / done),
    )


def make_sent(place: Place, count: int, per_person: int = PER_PERSON) -> Sent:
    world = make_world(place)
    return make_requests(world, count, per_person, add_accounts(place, world, ACCOUNTS))


def now_waiting(place: Place) -> int:
    context = place.open()
    waiting = context.db.read_now(count_waiting)
    context.db.close()
    return waiting


def bench_waiting(report: Report, name: str, place: Place, pace: int, seconds: int) -> None:
    """Messages at a pace, each of another person; how long it takes until their leads are seen."""
    sent = make_sent(place, WARMING + pace * seconds, per_person=1)
    seen: dict[int, float] = {}
    ended = Event()
    watching = Thread(target=watch_leads, args=(place, sent, seen, ended))
    with running(place, workers=1) as server:
        asyncio.run(send_all(server.port, sent.requests[:WARMING]))
        wait_until_settled(place, WARMING)
        learn(place)
        watching.start()
        due = asyncio.run(send_all(server.port, sent.requests[WARMING:], pace))
        wait_until_settled(place, len(sent.requests))
        ended.set()
        watching.join()
    waits = [
        (seen[number] - due[number - WARMING]) * 1000
        for number in range(WARMING, len(sent.requests))
        if number % SHARES == 0
    ]
    figures = {f"p{share}_ms": percentile(waits, share / 100) for share in (50, 95, 99)}
    report.add(f"{name}: webhook to lead, {pace} messages a second", messages=len(waits), **figures)


def watch_leads(place: Place, sent: Sent, seen: dict[int, float], ended: Event) -> None:
    """Note when each message's lead is there for others, looking every few milliseconds."""
    context, after, is_last = place.open(), 0, False
    while not is_last:
        is_last = ended.wait(0.005)
        for number, created_at in context.db.read_now(lambda tx, of=after: list_new_leads(tx, of)):  # type: ignore[misc]  # of a lambda with a default
            seen.setdefault(created_at // 1000 - sent.since_ms, time.time())
            after = max(after, number)
    context.db.close()


def wait_until_settled(place: Place, count: int) -> None:
    """Wait until all messages are stored, and none waits."""
    _wait(place, lambda tx: not is_waiting(tx) and count_stored(tx) >= count)


def wait_until_handed_out(place: Place) -> None:
    """Wait until all handlers have heard of all events."""
    _wait(place, lambda tx: not count_events(tx))


def _wait(place: Place, is_done: Callable[[Tx], bool]) -> None:
    context, limit = place.open(), time.monotonic() + SETTLED_WITHIN_S
    while not context.db.read_now(is_done):
        if time.monotonic() > limit:
            raise RuntimeError("the worker does not settle what waits")
        time.sleep(0.02)
    context.db.close()


@dataclass(frozen=True)
class Bare:
    """A table whose rows are inserted anew with the driver alone, and the columns of its indexes."""

    table: str
    order: str
    unique: str
    index: str


RECEIPTS = Bare("kept_receipts", "id", "business_id, platform, natural_key", "business_id, due_at")


def insert_bare(place: Place, bare: Bare, group: int, count: int) -> Cost:
    """Insert rows anew with nothing but the driver, as durably as the server does."""
    context = place.open()
    connection = context.db.engine.raw_connection()
    driver: Any = connection.driver_connection
    mark = "%s" if place.url else "?"
    cursor = driver.cursor()
    cursor.execute(f"SELECT * FROM {bare.table} ORDER BY {bare.order} LIMIT {count}")
    names = [column[0] for column in cursor.description]
    rows = cursor.fetchall()
    cursor.execute(f"CREATE TABLE bare AS SELECT * FROM {bare.table} WHERE 1 = 0")
    cursor.execute(f"CREATE UNIQUE INDEX bare_key ON bare ({bare.unique})")
    cursor.execute(f"CREATE INDEX bare_index ON bare ({bare.index})")
    driver.commit()
    values = ", ".join([mark] * len(names))
    insert = f"INSERT INTO bare ({', '.join(names)}) VALUES ({values}) ON CONFLICT DO NOTHING"
    with measured() as cost:
        for start in range(0, len(rows), group):
            cursor.executemany(insert, rows[start : start + group])
            driver.commit()
    cursor.execute("DROP TABLE bare")
    driver.commit()
    connection.close()
    context.db.close()
    return cost


def add(report: Report, case: str, cost: Cost, count: int, **more: float) -> None:
    figures: dict[str, float] = {
        "messages": count,
        "per_s": cost.per_second(count),
        "cpu_us": cost.cpu_us_per(count),
    }
    report.add(case, **figures, peak_mib=cost.peak_rss_mib, **more)


if __name__ == "__main__":
    os.environ.pop("CONTATTO_DATABASE_URL", None)
    main()
