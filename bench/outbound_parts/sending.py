"""Commits requests at a steady pace, beside the machine that sends them, as the worker runs it."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from bench.outbound_parts.servers import HANGS
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.outbound.client import Client
from contatto.kit.outbound.machine import OutboundMachine
from contatto.kit.outbound.model import Ask, Done, HttpRequest, NewRequest, OutboundRequest, RetryPlan, Step
from contatto.kit.outbound.queue import OutboundKind, jobs, queue_request

BUSINESSES: Final = 5
ANSWER_S: Final = 1.0
"""Limit for an answer here, instead of 15 seconds, so that a block meets time-outs."""
_PLAN: Final = RetryPlan((5, 30, 120))
_SOUND, _OTHER = "s", "o"


class Sending:
    """Sends to ``hosts``, of which the first is the one that may hang; ``per_second`` to the others."""

    def __init__(self, db: Database, hosts: Sequence[str], per_second: int) -> None:
        self._db, self._hosts, self._per_second = db, hosts, per_second
        self._numbers = itertools.count(1)
        self._committed: dict[str, float] = {}
        self._poked: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        db.on_commit(self._poke, {jobs.name})

    def run(self, seconds: int, *, hangs: bool) -> dict[str, float]:
        """Return when each request to the others was committed, by its subject; in the end nothing is due."""
        self._committed = {}
        asyncio.run(self._run(seconds, HANGS if hangs else _OTHER))
        self._db.write_now(lambda tx: tx.execute(jobs.delete()))
        return {subject: at for subject, at in self._committed.items() if subject.startswith(_SOUND)}

    async def _run(self, seconds: int, other: str) -> None:
        client = Client(["127.0.0.1:*"], answer_s=ANSWER_S)
        kind = OutboundKind("bench", ask_for, lambda *_given: Done(), lambda *_told: None, _PLAN)
        machine = OutboundMachine(self._db, client, {"bench": kind})
        poked = asyncio.Event()
        self._poked = asyncio.get_running_loop(), poked
        works = [asyncio.create_task(machine.run()), asyncio.create_task(look(machine, poked))]
        await asyncio.gather(
            self._commit(_SOUND, self._hosts[1:], self._per_second, seconds),
            self._commit(other, self._hosts[:1], self._per_second // 10, seconds),
        )
        await asyncio.sleep(1)
        self._poked = None
        for work in reversed(works):
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)
        await client.close()

    async def _commit(self, mark: str, hosts: Sequence[str], per_second: int, seconds: int) -> None:
        """Commit one request after the other at its time, however long the commits take."""
        started = time.monotonic()
        writes = []
        for number in range(per_second * seconds):
            await asyncio.sleep(max(0.0, started + number / per_second - time.monotonic()))
            subject = f"{mark}{next(self._numbers)}"
            work = self._commit_one(hosts[number % len(hosts)], subject, f"b{number % BUSINESSES}")
            writes.append(asyncio.create_task(work))
        await asyncio.gather(*writes)

    async def _commit_one(self, host: str, subject: str, business_id: str) -> None:
        def work(tx: Tx) -> None:
            queue_request(tx, NewRequest(business_id, "bench", subject, host), _PLAN)

        await self._db.write(work)
        self._committed[subject] = time.monotonic()

    def _poke(self) -> None:
        if self._poked is not None:
            loop, poked = self._poked
            with suppress(RuntimeError):  # the loop of the block before
                loop.call_soon_threadsafe(poked.set)


async def look(machine: OutboundMachine, poked: asyncio.Event) -> None:
    """Look for what is due after each commit and twice a second, as the worker does."""
    while True:
        await machine.send_due()
        with suppress(TimeoutError):
            await asyncio.wait_for(poked.wait(), 0.5)
            await asyncio.sleep(0.005)
        poked.clear()


def ask_for(_tx: Tx, request: OutboundRequest) -> Step:
    return Ask(HttpRequest("POST", f"http://{request.destination}/{request.subject}", {}, b"{}"))
