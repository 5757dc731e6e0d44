"""Messages through the signed webhook: how many a second, and the server's CPU for each beside bare SQLite.

One server process is started for real and loaded from this one over keep-alive connections. Each message is
answered after its row is durable (WAL, synchronous FULL). The floors insert the very same rows with the
sqlite3 module: in groups of the size that the server reached, and with a commit for each.
"""

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from bench.harness import Cost, Report, measured, options, process_cpu_s
from contatto.app import create_app, open_context
from contatto.channels.connectors.tiktok import SIGNATURE_HEADER, sign_body
from contatto.channels.model import Platform
from contatto.inbox.actions.incoming import settle_receipts
from contatto.kit.log import set_up_logs
from contatto.kit.settings import Settings
from contatto.measurement.rules import TRACKING_KEY
from contatto.migrations.steps import migrate_schema
from contatto.simulator.payloads import Thread, received_message
from contatto.simulator.people import plan_people
from contatto.simulator.world import World, build_world, invent_logins
from contatto.wiring import install

HOST = "127.0.0.1"
CONNECTIONS = 64
SAYS = "messages through the signed webhook, durable on SQLite"
ANSWERED = b"HTTP/1.1 200"
READY_WITHIN_S = 30.0
SERVED = "served.json"
COLUMNS = (
    "business_id", "platform", "account", "natural_key", "body", "copies", "state", "reason", "attempts",
    "received_at", "due_at",
)  # fmt: skip


@dataclass
class Run:
    """What one load on the server gave."""

    cost: Cost
    groups: int
    settled_s: float = 0.0


def main() -> None:
    chosen = options(SAYS)
    report = Report("intake", SAYS, chosen)
    count = chosen.size(full=40_000, quick=8_000)
    with tempfile.TemporaryDirectory(prefix="contatto-bench-") as folder:
        home = Path(folder)
        alone = load_server(home / "alone", count, worker="separate")
        rows = read_rows(home / "alone")
        grouped = insert_bare(home / "grouped.sqlite3", rows, max(1, round(count / alone.groups)))
        single = insert_bare(home / "single.sqlite3", rows[: chosen.size(full=5_000, quick=1_000)], 1)
        settling = settle_all(home / "alone")
        both = load_server(home / "both", count, worker="in_process")
    floor = grouped.cpu_us_per(count)
    add(report, "floor: bare SQLite, a commit each", single, len(rows[: chosen.size(5_000, 1_000)]), floor)
    add(report, "floor: bare SQLite, grouped alike", grouped, count, floor)
    add(report, "webhook, stored", alone.cost, count, floor, group=count / alone.groups)
    add(report, "settling what was stored", settling, count, floor)
    add(report, "webhook, stored and settled", both.cost, count, floor, behind_s=both.settled_s)
    report.finish()


def add(report: Report, case: str, cost: Cost, count: int, floor: float, **more: float) -> None:
    used = cost.cpu_us_per(count)
    figures = {"messages": count, "per_s": cost.per_second(count), "cpu_us": used, "floors": used / floor}
    report.add(case, **figures, **more)


def load_server(home: Path, count: int, worker: str) -> Run:
    """Start a server on a new database, send the messages, wait until they are settled where it does that."""
    world = make_world(home)
    requests = make_requests(world, count)
    port = free_port()
    code = f"from bench.intake import serve; serve({str(home)!r}, {port}, {worker!r})"
    server = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_until_open(port)
        asyncio.run(send_all(port, requests[:50]))  # the first ones also pay for filling caches
        cpu, started = process_cpu_s(server.pid), time.perf_counter()
        asyncio.run(send_all(port, requests[50:]))
        cost = Cost(wall_s=time.perf_counter() - started)
        answered = time.perf_counter()
        if worker == "in_process":
            wait_until_settled(home)
            cost.wall_s = time.perf_counter() - started
        cost.cpu_s = process_cpu_s(server.pid) - cpu
        settled_s = time.perf_counter() - answered
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)
    if (found := len(read_rows(home))) != count:
        raise RuntimeError(f"{found} of {count} messages are stored")
    return Run(cost, json.loads((home / SERVED).read_text())["groups"], settled_s)


def make_world(home: Path) -> World:
    context = open_context(install(Settings(data_dir=home)))
    migrate_schema(context.db.engine)
    logins, signer = invent_logins(), context.vault.signer(TRACKING_KEY)
    world = context.db.write_now(lambda tx: build_world(tx, logins, signer))
    context.db.close()
    return world


def make_requests(world: World, count: int) -> list[bytes]:
    """Whole signed requests, of people who chat in several languages; every message id is new."""
    account = world.accounts[Platform.TIKTOK]
    texts = [line.text for visitor in plan_people(1, 2_000, 86_400.0, 0.0) for line in visitor.lines] or [
        "hello"
    ]
    now = time.time()
    found: list[bytes] = []
    for number in range(count):
        person = number // 4
        thread = Thread(world.app_id, account.external_id, account.handle, f"p{person}", f"handle_{person}")
        at_ms = int(now * 1000) + number
        body = received_message(thread, f"m{number}", texts[number % len(texts)], at_ms)
        head = (
            f"POST /webhooks/tiktok/{world.app_id} HTTP/1.1\r\nhost: {HOST}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"{SIGNATURE_HEADER}: {sign_body(body, world.app_secret, int(now))}\r\n\r\n"
        )
        found.append(head.encode() + body)
    return found


async def send_all(port: int, requests: list[bytes]) -> None:
    """Send all over some connections, each with one request on its way at a time."""
    waiting = iter(requests)

    async def send_some() -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        for request in waiting:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(ANSWERED):
                raise RuntimeError(head.decode())
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(send_some() for _ in range(CONNECTIONS)))


def serve(home: str, port: int, worker: Any) -> None:
    """The server's process: as `contatto serve`, and at its end it says how many commits there were."""
    settings = Settings(data_dir=Path(home), worker=worker)
    set_up_logs("warning", "json")
    context = open_context(install(settings))
    groups: list[None] = []
    context.db.on_commit(lambda: groups.append(None))
    app = create_app(context)
    quiet: dict[str, Any] = {"access_log": False, "log_level": "warning", "server_header": False}
    config = uvicorn.Config(app, HOST, port, proxy_headers=False, **quiet)
    with suppress(KeyboardInterrupt):  # it ends by SIGINT; uvicorn lets a SIGTERM end the process at once
        uvicorn.Server(config).run()
    context.db.close()
    (context.settings.data_dir / SERVED).write_text(json.dumps({"groups": len(groups)}))


def read_rows(home: Path) -> list[tuple[Any, ...]]:
    with sqlite3.connect(home / "contatto.sqlite3") as connection:
        return connection.execute(f"SELECT {', '.join(COLUMNS)} FROM receipts ORDER BY id").fetchall()


def insert_bare(path: Path, rows: list[tuple[Any, ...]], group: int) -> Cost:
    """Insert the rows with nothing but the sqlite3 module, as durably as the server does."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    with sqlite3.connect(path.parent / "alone" / "contatto.sqlite3") as model:
        made = "SELECT sql FROM sqlite_master WHERE tbl_name = 'receipts' AND sql IS NOT NULL"
        for (statement,) in model.execute(made).fetchall():
            connection.execute(statement)
    insert = (
        f"INSERT INTO receipts ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "
        "ON CONFLICT (business_id, platform, natural_key) DO UPDATE SET copies = copies + 1"
    )
    with measured() as cost:
        for start in range(0, len(rows), group):
            connection.execute("BEGIN IMMEDIATE")
            for row in rows[start : start + group]:
                connection.execute(insert, row)
            connection.execute("COMMIT")
    connection.close()
    return cost


def settle_all(home: Path) -> Cost:
    """Settle what the first server stored, as the worker does, in this process."""
    context = open_context(install(Settings(data_dir=home)))
    with measured() as cost:
        while context.db.write_now(settle_receipts):
            pass
    context.db.close()
    return cost


def wait_until_open(port: int) -> None:
    end = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def wait_until_settled(home: Path) -> None:
    waiting = "SELECT count(*) FROM receipts WHERE state = 'received'"
    with sqlite3.connect(home / "contatto.sqlite3") as connection:
        while connection.execute(waiting).fetchone()[0]:
            time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    os.environ.pop("CONTATTO_DATABASE_URL", None)
    main()
