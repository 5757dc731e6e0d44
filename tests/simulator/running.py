"""A server of our own on a real port, with a clock that the simulator moves."""

import asyncio
import heapq
import itertools
import socket
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvicorn

from contatto.accounts.model import Role
from contatto.app import create_app, open_context
from contatto.channels.model import ReceiptCounts
from contatto.inbox.store.conversations import count_receipts
from contatto.kit import outbox
from contatto.kit.db.tx import Clock
from contatto.kit.settings import Settings
from contatto.measurement.rules import TRACKING_KEY
from contatto.simulator.traffic import MemberSession, VisitPlayer, connect
from contatto.simulator.world import build_world, invent_logins
from contatto.ui.requests import Context
from contatto.wiring import install
from tests.schema import copy_schema

HOST = "127.0.0.1"
TOGETHER_S = 4.0
"""What happens within so many seconds happens at once."""


class ShiftedClock(Clock):
    """Clock with normal speed that may start in the past, and is moved forward."""

    def __init__(self, shift: timedelta) -> None:
        self._shift = shift

    def now(self) -> datetime:
        return datetime.now(UTC) + self._shift

    def move_to(self, moment: datetime) -> None:
        """Set the clock; it never runs backwards."""
        if moment > self.now():
            self._shift = moment - datetime.now(UTC)


class Replay:
    """Time that jumps: when everybody waits, the clock moves to the moment that comes first.

    Each person is a coroutine. As soon as all of them wait, the earliest group goes on. So messages keep
    their order in time, however long the server takes for each.
    """

    def __init__(self, clock: ShiftedClock, starts_at: datetime) -> None:
        self._clock = clock
        self._starts_at = starts_at
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._running = 0
        self._nobody_runs = asyncio.Event()

    async def until(self, at_s: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (at_s, next(self._order), woken))
        self._rest()
        await woken

    async def play(self, flows: Sequence[Coroutine[None, None, None]]) -> None:
        """Run all of them to their ends; an error in one ends all."""
        self._running = len(flows)
        async with asyncio.TaskGroup() as group:
            for flow in flows:
                group.create_task(self._follow(flow))
            while True:
                await self._nobody_runs.wait()
                self._nobody_runs.clear()
                if not self._waiting:
                    return
                self._wake_next()

    async def _follow(self, flow: Coroutine[None, None, None]) -> None:
        await flow
        self._rest()

    def _rest(self) -> None:
        self._running -= 1
        if self._running == 0:
            self._nobody_runs.set()

    def _wake_next(self) -> None:
        first = self._waiting[0][0]
        self._clock.move_to(self._starts_at + timedelta(seconds=first))
        while self._waiting and self._waiting[0][0] <= first + TOGETHER_S:
            self._running += 1
            heapq.heappop(self._waiting)[2].set_result(None)


@dataclass
class Running:
    context: Context
    clock: ShiftedClock
    street: VisitPlayer

    async def settled(self) -> ReceiptCounts:
        """The ledger, once nothing waits."""
        business_id = self.street.world.business_id
        for _ in range(3_000):
            waiting = await self.context.db.read(outbox.count_waiting)
            ledger = await self.context.db.read(lambda tx: count_receipts(tx, business_id))
            if not waiting and not ledger.waiting:
                break
            await asyncio.sleep(0.02)
        return ledger


@asynccontextmanager
async def running_world(folder: Path, days: int) -> AsyncIterator[Running]:
    """A world without traffic, whose clock stands so many days back, at midnight.

    What people do depends on the hour: begun at any other, each run would see other people.
    """
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        now = Clock().now()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        clock = ShiftedClock(midnight - timedelta(days=days) - now)
        copy_schema(folder / "contatto.sqlite3")
        context = open_context(install(Settings(data_dir=folder)), clock)
        logins, signer = invent_logins(), context.vault.signer(TRACKING_KEY)
        world = await context.db.write(lambda tx: build_world(tx, logins, signer))
        config = uvicorn.Config(create_app(context), log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve([listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            async with connect(f"http://{HOST}:{port}") as open_browser:
                owner = next(login for login in world.logins if login.role == Role.OWNER)
                desk = MemberSession(open_browser(), owner)
                player = VisitPlayer(open_browser, world, desk, clock, context.vault)
                yield Running(context, clock, player)
        finally:
            server.should_exit = True
            await serving
            context.db.close()
