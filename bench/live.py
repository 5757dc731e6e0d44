"""Open pages of the inbox: how much of a core it takes to tell two hundred of them of all that comes in.

A server is started for real, with its worker, and messages are sent at a pace: once while nobody looks, and
once while each of so many signed-in tabs has its stream open. The difference is what the pages cost. Its
share of a core is of the seconds that the pace asks for, also on a machine that is too busy to keep the
pace. A page is told at most ten texts a second: *at most* is what it would cost to tell all
pages so many. Target: less than 20 % of a core.
"""

import asyncio
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.harness import Report, options
from bench.intake import WARMING, wait_until_settled
from bench.intake_parts.sending import HOST, make_requests, send_all
from bench.intake_parts.serving import Place, Running, make_world, running
from contatto.accounts.actions import open_session
from contatto.accounts.model import BusinessId
from contatto.accounts.store import list_members
from contatto.kit.db.tx import Tx
from contatto.simulator.world import World
from contatto.ui.live import GATHER_S
from contatto.ui.sessions import SESSION_COOKIE

SAYS = "pages of the inbox that are open while a hundred messages a second come in, on SQLite"
PAGES = 200
PACE = 100


@dataclass(frozen=True)
class Told:
    """What a run cost the server, how long it took, and how often a page was told something."""

    cpu_s: float
    wall_s: float
    times: float
    messages: float


def main() -> None:
    chosen = options(SAYS)
    report = Report("live", SAYS, chosen)
    seconds = chosen.size(full=60, quick=8)
    with tempfile.TemporaryDirectory(prefix="contatto-bench-") as folder:
        alone = measure(Place(Path(folder) / "alone"), 0, seconds)
        watched = measure(Place(Path(folder) / "watched"), PAGES, seconds)
    add(report, "nobody looks", alone, seconds)
    add(report, f"{PAGES} pages are open", watched, seconds)
    pages_s = watched.cpu_s - alone.cpu_s
    each_s = pages_s / (watched.times * PAGES)
    report.add(
        "the pages alone",
        percent_of_a_core=100 * pages_s / seconds,
        at_most_percent=100 * each_s * PAGES / GATHER_S,
        cpu_us_a_text=each_s * 1e6,
    )
    report.finish()


def add(report: Report, case: str, told: Told, seconds: int) -> None:
    figures = {"percent_of_a_core": 100 * told.cpu_s / seconds, "texts_a_page": told.times}
    report.add(case, **figures, messages_a_page=told.messages, behind_s=told.wall_s - seconds)


def measure(place: Place, pages: int, seconds: int) -> Told:
    world = make_world(place)
    tokens = open_sessions(place, world, pages)
    with running(place, workers=1) as server:
        return asyncio.run(watch(place, world, server, tokens, seconds))


def open_sessions(place: Place, world: World, count: int) -> list[str]:
    def work(tx: Tx) -> list[str]:
        member = list_members(tx, BusinessId(world.business_id))[0]
        return [open_session(tx, member, days=1) for _ in range(count)]

    context = place.open()
    tokens = context.db.write_now(work)
    context.db.close()
    return tokens


async def watch(place: Place, world: World, server: Running, tokens: list[str], seconds: int) -> Told:
    """Send messages at the pace while the pages are open."""
    sent = make_requests(world, WARMING + PACE * seconds)
    await send_all(server.port, sent.requests[:WARMING])
    await asyncio.to_thread(wait_until_settled, place, WARMING)
    heard: list[bytes] = []
    ready = asyncio.Semaphore(0)
    pages = [asyncio.create_task(follow(server.port, token, heard, ready)) for token in tokens]
    for _ in pages:
        await ready.acquire()
    cpu, started = server.cpu_s(), time.perf_counter()
    await send_all(server.port, sent.requests[WARMING:], PACE)
    await asyncio.to_thread(wait_until_settled, place, len(sent.requests))
    cpu, wall = server.cpu_s() - cpu, time.perf_counter() - started
    for page in pages:
        page.cancel()
    await asyncio.gather(*pages, return_exceptions=True)
    count = max(1, len(tokens))
    messages = sum(text.count(b"event: message_received") for text in heard)
    return Told(cpu, wall, len(heard) / count, messages / count)


async def follow(port: int, token: str, heard: list[bytes], ready: asyncio.Semaphore) -> None:
    """A tab: its stream of events, until it is closed."""
    reader, writer = await asyncio.open_connection(HOST, port)
    head = f"GET /live HTTP/1.1\r\nhost: {HOST}\r\ncookie: {SESSION_COOKIE}={token}\r\n\r\n"
    try:
        writer.write(head.encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer.decode())
        await reader.readuntil(b"retry: 1000")
        ready.release()
        while text := await reader.read(1 << 20):
            heard.append(text)
    finally:
        writer.close()


if __name__ == "__main__":
    os.environ.pop("CONTATTO_DATABASE_URL", None)
    main()
