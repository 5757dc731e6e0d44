"""A server of our own on a real port, with a clock that the simulator moves."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import uvicorn

from contatto.accounts.model import Role
from contatto.app import create_app, open_context
from contatto.inbox.model import Ledger
from contatto.inbox.store.receipts import count_receipts
from contatto.kit import outbox
from contatto.kit.clock import ShiftedClock, SystemClock
from contatto.kit.settings import Settings
from contatto.measurement.rules import TRACKING_KEY
from contatto.simulator.browser import Browser
from contatto.simulator.desk import Desk
from contatto.simulator.traffic import Street
from contatto.simulator.world import build_world, invent_logins
from contatto.ui.context import Context
from contatto.wiring import install
from tests.schema import copy_schema

HOST = "127.0.0.1"


@dataclass
class Running:
    context: Context
    clock: ShiftedClock
    street: Street

    async def settled(self) -> Ledger:
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
        now = SystemClock().now()
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
        browser = Browser(HOST, port)
        try:
            desk = Desk(browser, world.login(Role.OWNER))
            yield Running(context, clock, Street(browser, world, desk, clock, context.vault))
        finally:
            browser.close()
            server.should_exit = True
            await serving
            context.db.close()
