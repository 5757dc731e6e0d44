"""Open pages of the inbox: how much of a core it takes to tell two hundred of them of all that comes in.

A server is started for real, with its worker, and messages are sent at a pace, by turns: a round while nobody
looks, and a round while each of so many signed-in tabs has its stream open. The difference is what the pages
cost: the rounds are on one server, so what its start and its growth cost is on both sides. Its share of a
core is of the seconds that the pace asks for, also where a machine is too busy to keep it. A page is told
at most ten texts a second: *at most* is what it would cost to tell all pages so many.

A page that is told of news also fetches its list and the counts of the navigation anew, as often as so many
open pages are told to (`pace_of`): what one fetch costs is measured over the messages that came, and its
share of a core follows. Target: less than 20 % of a core for both together.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.harness import Report, options
from bench.intake import WARMING, wait_until_settled
from bench.intake_parts.sending import HOST, make_requests, send_all
from bench.intake_parts.serving import Place, Running, make_world, running
from contatto.accounts.actions import open_session
from contatto.accounts.model import BusinessId
from contatto.accounts.store import list_members
from contatto.kit.db.tx import Tx
from contatto.simulator.world import DemoWorld
from contatto.ui.live import GATHER_S, pace_of
from contatto.ui.render import SESSION_COOKIE

SAYS = "pages of the inbox that are open while a hundred messages a second come in, on SQLite"
PAGES = 200
PACE = 100
FETCHES = 60


@dataclass
class Seen:
    """Cost of some rounds to the server, their time, and the number of messages to pages."""

    cpu_s: list[float] = field(default_factory=list)
    wall_s: float = 0.0
    texts: int = 0
    messages: int = 0


def main() -> None:
    chosen = options(SAYS)
    report = Report("live", SAYS, chosen)
    rounds, seconds = chosen.size(full=6, quick=3), chosen.size(full=10, quick=3)
    with tempfile.TemporaryDirectory(prefix="contatto-bench-") as folder:
        alone, watched, fetch_s = measure(Place(Path(folder) / "place"), rounds, seconds)
    add(report, "nobody looks", alone, rounds * seconds, 1)
    add(report, f"{PAGES} pages are open", watched, rounds * seconds, PAGES)
    each_round = [more - less for more, less in zip(watched.cpu_s, alone.cpu_s, strict=True)]
    pages_s = sum(each_round)
    told, fetched = 100 * pages_s / (rounds * seconds), 100_000 * fetch_s * PAGES / pace_of(PAGES)
    report.add(
        "they are told",
        percent_of_a_core=told,
        least_percent=100 * min(each_round) / seconds,
        most_percent=100 * max(each_round) / seconds,
        at_most_percent=100 * pages_s / watched.texts * PAGES / GATHER_S,
        cpu_us_a_text=pages_s / watched.texts * 1e6,
    )
    report.add("they fetch lists and counts", percent_of_a_core=fetched, cpu_us_a_fetch=fetch_s * 1e6)
    report.add("the pages in all", percent_of_a_core=told + fetched)
    report.finish()


def add(report: Report, case: str, seen: Seen, seconds: int, pages: int) -> None:
    figures = {"percent_of_a_core": 100 * sum(seen.cpu_s) / seconds, "texts_a_page": seen.texts / pages}
    report.add(case, **figures, messages_a_page=seen.messages / pages, behind_s=seen.wall_s - seconds)


def measure(place: Place, rounds: int, seconds: int) -> tuple[Seen, Seen, float]:
    """Measure rounds with the pages closed and with them open; and the CPU of the requests of a page."""
    world = make_world(place)
    tokens = open_sessions(place, world, PAGES)
    sent = make_requests(world, WARMING + PACE * seconds * 2 * (rounds + 1)).requests
    alone, watched = Seen(), Seen()
    with running(place, workers=1) as server:
        asyncio.run(send_all(server.port, sent[:WARMING]))
        done = WARMING
        for number in range(rounds + 1):
            # The first round fills caches, and the order changes, so that neither is always the later one.
            kinds = [(alone, []), (watched, tokens)] if number % 2 else [(watched, tokens), (alone, [])]
            for seen, looking in kinds:
                wait_until_settled(place, done)
                some = sent[done : done + PACE * seconds]
                done += len(some)
                counted = seen if number else Seen()
                asyncio.run(watch(server, some, looking, counted, partial(wait_until_settled, place, done)))
        requests = [_get(path, tokens[0]) for path in ("/inbox/list?tab=all&show=open", "/nav?section=inbox")]
        asyncio.run(send_all(server.port, requests))
        cpu = server.cpu_s()
        asyncio.run(send_all(server.port, requests * FETCHES))
        fetch_s = (server.cpu_s() - cpu) / FETCHES
    return alone, watched, fetch_s


def _get(path: str, token: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: {HOST}\r\ncookie: {SESSION_COOKIE}={token}\r\n\r\n".encode()


def open_sessions(place: Place, world: DemoWorld, count: int) -> list[str]:
    def work(tx: Tx) -> list[str]:
        member = list_members(tx, BusinessId(world.business_id))[0]
        return [open_session(tx, member, days=1) for _ in range(count)]

    context = place.open()
    tokens = context.db.write_now(work)
    context.db.close()
    return tokens


async def watch(
    server: Running, sent: list[bytes], tokens: list[str], seen: Seen, settle: Callable[[], None]
) -> None:
    """Send messages at the pace while the pages are open, and add what it cost."""
    heard: list[bytes] = []
    ready = asyncio.Semaphore(0)
    pages = [asyncio.create_task(follow(server.port, token, heard, ready)) for token in tokens]
    for _ in pages:
        await ready.acquire()
    cpu, started = server.cpu_s(), time.perf_counter()
    await send_all(server.port, sent, PACE)
    await asyncio.to_thread(settle)
    seen.cpu_s.append(server.cpu_s() - cpu)
    seen.wall_s += time.perf_counter() - started
    for page in pages:
        page.cancel()
    await asyncio.gather(*pages, return_exceptions=True)
    seen.texts += len(heard)
    seen.messages += sum(text.count(b"event: message_received") for text in heard)


async def follow(port: int, token: str, heard: list[bytes], ready: asyncio.Semaphore) -> None:
    """Read the stream of events of a tab until it is closed."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(_get("/live", token))
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
