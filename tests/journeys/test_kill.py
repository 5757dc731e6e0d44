"""A server that is killed in the middle of its work loses nothing that it answered, and doubles nothing."""

import asyncio
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2

from contatto.app import open_context
from contatto.channels.connectors.tiktok import SIGNATURE_HEADER, sign_body
from contatto.channels.model import ReceiptCounts
from contatto.inbox.store.conversations import count_receipts
from contatto.kit.settings import Settings
from contatto.wiring import install
from tests.journeys.running import APP_ID, APP_SECRET, message, open_house, webhook_body

COUNT = 2_000
AT_ONCE = 32
SEED = 7


def test_a_server_killed_amid_two_thousand_webhooks_loses_and_doubles_nothing(tmp_path: Path) -> None:
    home = tmp_path / "data"
    context, ids = open_house(home)
    context.db.close()
    rng = random.Random(SEED)  # noqa: S311  # the same moment in every run
    bodies = {f"m{number}": body_of(number) for number in range(COUNT)}
    with serving(home) as (server, port):
        answered = asyncio.run(send_until_killed(port, bodies, server, rng.randint(300, COUNT - 300)))
    assert server.returncode == -signal.SIGKILL
    assert 300 <= len(answered) < COUNT

    unsure = set(bodies) - answered
    again = rng.sample(sorted(answered), 100)
    with serving(home) as (server, port):
        heard = asyncio.run(send_all(port, {name: bodies[name] for name in [*unsure, *again]}))
        ledger = wait_until_settled(home, ids["business_id"])
    assert heard == unsure | set(again)

    assert ledger.received == ledger.stored + ledger.merged + ledger.refused
    assert ledger.received >= COUNT + len(again)
    assert (ledger.stored, ledger.refused, ledger.waiting) == (COUNT, 0, 0)
    with closing(sqlite3.connect(home / "contatto.sqlite3")) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert file.execute("SELECT count(*), count(DISTINCT id) FROM messages").fetchone() == (COUNT, COUNT)
        assert file.execute("SELECT count(*) FROM receipts").fetchone() == (COUNT,)


def body_of(number: int) -> bytes:
    person, at_ms = f"person-{number % 100}", 1_795_000_000_000 + number
    return webhook_body("im_receive_msg", message(f"line {number}", person, at_ms, f"m{number}"))


@contextmanager
def serving(home: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`contatto serve` on this data, ended at the latest with the block."""
    server, port = start(home)
    for _ in range(2):  # another process may take the port before the server does
        if server.poll() is not None:
            server, port = start(home)
    try:
        assert server.poll() is None, "the server did not open its port"
        yield server, port
    finally:
        server.terminate()
        server.wait(60)


def start(home: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start a server and wait until its port is open, or it has ended."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("contatto")), "serve", "--port", str(port)]
    settings = {"CONTATTO_DATA_DIR": str(home), "CONTATTO_LOG_LEVEL": "error"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONTATTO_")}
    server = subprocess.Popen(command, env=kept | settings, cwd=home, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while time.monotonic() < end and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    return server, port


async def send_until_killed(
    port: int, bodies: dict[str, bytes], server: subprocess.Popen[bytes], after: int
) -> set[str]:
    """Send all at once, a number at a time; kill the server when that many are answered."""
    answered: set[str] = set()

    async def kill_in_time() -> None:
        while len(answered) < after:
            await asyncio.sleep(0.001)
        server.kill()
        await asyncio.to_thread(server.wait)

    await asyncio.gather(kill_in_time(), send_some(port, bodies, answered))
    return answered


async def send_all(port: int, bodies: dict[str, bytes]) -> set[str]:
    answered: set[str] = set()
    await send_some(port, bodies, answered)
    return answered


async def send_some(port: int, bodies: dict[str, bytes], answered: set[str]) -> None:
    """Send these over some connections, and note each that was answered; who is not answered gives up."""
    waiting = iter(bodies.items())

    async def send() -> None:
        for name, body in waiting:
            headers = {SIGNATURE_HEADER: sign_body(body, APP_SECRET, int(time.time()))}
            try:
                answer = await platform.post(f"/webhooks/tiktok/{APP_ID}", content=body, headers=headers)
            except httpx2.HTTPError:
                return
            assert answer.status_code == 200, answer.content
            answered.add(name)

    async with httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60
    ) as platform:
        await asyncio.gather(*(send() for _ in range(AT_ONCE)))


def wait_until_settled(home: Path, business_id: str) -> ReceiptCounts:
    context = open_context(install(Settings(data_dir=home)))
    end = time.monotonic() + 120
    try:
        while True:
            ledger = context.db.read_now(lambda tx: count_receipts(tx, business_id))
            if not ledger.waiting or time.monotonic() > end:
                return ledger
            time.sleep(0.05)
    finally:
        context.db.close()
