"""The server's process and its database: started, watched from outside, and read afterwards."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

from sqlalchemy import event, text
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from bench.fairness_parts.installation import READY_WITHIN_S, end, free_port, wait_until_open
from bench.harness import process_cpu_s
from contatto.app import create_app, open_context
from contatto.capture.actions import turn_on_capture
from contatto.channels.actions import NewAccount, connect_account
from contatto.channels.model import ChannelAccount, Platform
from contatto.cli.serve import Serving
from contatto.cli.worker import run_worker
from contatto.kit.db import statements
from contatto.kit.db.tx import Tx, driver_of
from contatto.kit.log import set_up_logs
from contatto.kit.runtime import freeze_loaded_objects
from contatto.kit.settings import Settings
from contatto.measurement.rules import TRACKING_KEY
from contatto.migrations.steps import migrate_schema
from contatto.simulator.world import COMPANY, DemoWorld, build_world, invent_logins
from contatto.ui.requests import Context
from contatto.wiring import install

TOLD: Final = "/told-to-the-benchmark"
SERVED: Final = "served.json"
WORKED: Final = ".worked.json"
READY: Final = ".ready"
BEGIN: Final = "begin"
_SHIFT: Final = 5_000 << 22
"""Numbers of leads of five seconds: so long a transaction may stay open behind later ones."""


@dataclass(frozen=True)
class Place:
    """Location of an installation: its folder, and its PostgreSQL database if it has one."""

    home: Path
    url: str = ""

    def open(self, **settings: Any) -> Context:
        if self.url:
            settings["database_url"] = self.url
        return open_context(install(Settings(data_dir=self.home, **settings)))


class Running:
    """A server that runs, with the workers beside it."""

    def __init__(self, pids: list[int], port: int) -> None:
        self.pids, self.port = pids, port

    def cpu_s(self) -> float:
        return sum(self.cpu_s_of_each())

    def cpu_s_of_each(self) -> list[float]:
        """Return the CPU of the server, then that of each worker beside it."""
        return [process_cpu_s(pid) for pid in self.pids]

    def peak_mib(self) -> float:
        """Return the sum of the most memory that each of them held."""
        return sum(map(_peak_mib, self.pids))

    def told(self) -> "Told":
        """Return the counts of the server up to now."""
        with urlopen(f"http://127.0.0.1:{self.port}{TOLD}") as answer:  # our own server
            return Told(**json.load(answer))


@dataclass(frozen=True)
class Told:
    """Commits and statements of a server; of the latter there are none unless it counts them."""

    groups: int
    statements: int


class Telling:
    """An app that also tells what was counted."""

    def __init__(self, app: ASGIApp, told: Callable[[], Told]) -> None:
        self._app, self._told = app, told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == TOLD:
            await JSONResponse(asdict(self._told()))(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM:")).split()[1]) / 1024


def make_world(place: Place) -> DemoWorld:
    context = place.open()
    migrate_schema(context.db.engine)
    logins, signer = invent_logins(), context.vault.signer(TRACKING_KEY)
    world = context.db.write_now(lambda tx: build_world(tx, logins, signer))
    context.db.close()
    return world


def add_accounts(place: Place, world: DemoWorld, count: int) -> list[ChannelAccount]:
    """So many accounts of the world's app, with capture on: its own and others."""
    own = world.accounts[Platform.TIKTOK]

    def add(tx: Tx, number: int) -> ChannelAccount:
        new = NewAccount(Platform.TIKTOK, f"{own.external_id}{number:02d}", "Branch", own.handle, "SG")
        account = connect_account(tx, world.business_id, new)
        turn_on_capture(tx, world.business_id, account.id, COMPANY)
        return account

    context = place.open()
    added = [context.db.write_now(partial(add, number=number)) for number in range(1, count)]
    context.db.close()
    return [own, *added]


@contextmanager
def running(place: Place, workers: int, first: str = "pass", *, counts: bool = False) -> Iterator[Running]:
    """Run a server, and workers beside it or one in its process.

    ``first`` is a statement that their processes begin with; with `counts` each of them counts statements.
    """
    port, is_apart = free_port(), bool(place.url)
    worker = "in_process" if workers and not is_apart else "separate"
    codes = [f"serve({str(place.home)!r}, {place.url!r}, {port}, {worker!r}, counts={counts})"]
    codes += [f"work({str(place.home)!r}, {place.url!r}, counts={counts})"] * (workers if is_apart else 0)
    with _started(
        [f"from bench.intake_parts.serving import *; {first}; {code}" for code in codes], port
    ) as started:
        yield started


@contextmanager
def running_workers(place: Place, count: int) -> Iterator[Running]:
    """So many workers with no server, that have read all they need, and wait for the word to begin."""
    code = f"work({str(place.home)!r}, {place.url!r}, waits=True)"
    with _started(["from bench.intake_parts.serving import *; " + code] * count) as started:
        wait_until(lambda: len(list(place.home.glob(f"*{READY}"))) == count)
        yield started


def begin_work(place: Place) -> None:
    """Give the word to workers that wait for it."""
    (place.home / BEGIN).touch()


def wait_until(is_true: Callable[[], bool]) -> None:
    limit = time.monotonic() + READY_WITHIN_S
    while not is_true():
        if time.monotonic() > limit:
            raise RuntimeError("what should begin does not")
        time.sleep(0.005)


@contextmanager
def running_bare(place: Place) -> Iterator[Running]:
    """Run a server with nothing but a route that keeps the bodies it receives."""
    port = free_port()
    code = f"serve_bare({str(place.home)!r}, {place.url!r}, {port})"
    with _started([f"from bench.intake_parts.bare import *; {code}"], port) as started:
        yield started


@contextmanager
def _started(codes: list[str], port: int = 0) -> Iterator[Running]:
    """Start processes of Python; with a port the first of them serves."""
    processes = [subprocess.Popen([sys.executable, "-c", code]) for code in codes]
    try:
        if port:
            wait_until_open(port)
        yield Running([process.pid for process in processes], port)
    finally:
        for process in processes:
            process.send_signal(signal.SIGINT)
        for process in processes:
            end(process)


def work(home: str, url: str, *, counts: bool = False, waits: bool = False) -> None:
    """Run a worker's process, as `contatto worker`; it may wait for the word to begin."""
    set_up_logs("warning", "json")
    context = Place(Path(home), url).open()
    statements = Statements(context) if counts else None
    freeze_loaded_objects()
    if waits:
        context.installation.prepare(context.db)
        (Path(home) / f"{os.getpid()}{READY}").touch()
        wait_until((Path(home) / BEGIN).exists)
    with suppress(KeyboardInterrupt):
        asyncio.run(run_worker(context.db, context.installation))
    context.db.close()
    if statements:
        told = Path(home) / f"{os.getpid()}{WORKED}"
        told.write_text(json.dumps({"statements": statements.count}))


def serve(home: str, url: str, port: int, worker: Any, *, counts: bool = False) -> None:
    """Run the server's process as `contatto serve`; at its end, store the number of commits."""
    set_up_logs("warning", "json")
    context = Place(Path(home), url).open(worker=worker)
    groups: list[None] = []
    context.db.on_commit(lambda: groups.append(None))
    statements = Statements(context) if counts else None

    def told() -> Told:
        return Told(len(groups), statements.count if statements else 0)

    app = Telling(create_app(context), told)
    Serving(context, app, host="127.0.0.1", port=port).run()
    context.db.close()
    (context.settings.data_dir / SERVED).write_text(json.dumps(asdict(told())))


def learn(place: Place) -> None:
    """Let the database find out what its tables hold, as it does by itself where it has run for a while."""

    def analyze(tx: Tx) -> None:
        tx.execute(text("ANALYZE"))

    context = place.open()
    context.db.write_now(analyze)
    context.db.close()


def count_groups(place: Place) -> int:
    """Return how many commits the server made that ran there last."""
    return int(json.loads((place.home / SERVED).read_text())["groups"])


def count_statements(place: Place) -> int:
    """Return how many statements the server made that counted them there last, and all workers that did."""
    served = int(json.loads((place.home / SERVED).read_text())["statements"])
    return served + count_workers_statements(place)


def count_workers_statements(place: Place) -> int:
    """Return how many statements the workers made that ran there beside the server."""
    told = place.home.glob(f"*{WORKED}")
    return sum(int(json.loads(each.read_text())["statements"]) for each in told)


def count_waiting(tx: Tx) -> int:
    return int(tx.scalar(text("SELECT count(*) FROM receipts WHERE state = 'received'")))


def is_waiting(tx: Tx) -> bool:
    """Return whether anything waits; asked often, so it must not read all that does."""
    return bool(tx.scalar(text("SELECT EXISTS (SELECT 1 FROM receipts WHERE state = 'received')")))


def count_events(tx: Tx) -> int:
    """Events that no handler has heard of yet, and jobs that are due."""
    waiting = "SELECT (SELECT count(*) FROM events WHERE NOT fanned_out)"
    return int(
        tx.scalar(
            text(f"{waiting} + (SELECT count(*) FROM jobs WHERE state = 'due' AND event_seq IS NOT NULL)")
        )
    )


def count_stored(tx: Tx) -> int:
    return int(tx.scalar(text("SELECT count(*) FROM receipts")))


def list_new_leads(tx: Tx, after: int) -> list[tuple[int, int]]:
    """Leads from a number on, with the microsecond of the message that made them."""
    rows = tx.execute(
        text("SELECT number, created_at FROM leads WHERE number > :after ORDER BY number"),
        {"after": after - _SHIFT},
    )
    return [(row.number, row.created_at) for row in rows]


class Statements:
    """Counts statements, those past SQLAlchemy too; one with many rows is one."""

    def __init__(self, context: Context) -> None:
        self.count = 0
        event.listen(context.db.engine, "before_cursor_execute", self._note)
        setattr(statements, "driver_of", lambda tx: _Counting(driver_of(tx), self))  # noqa: B010  # it only imports the name

    def _note(self, *_: object) -> None:
        self.count += 1


class _Counting:
    def __init__(self, driver: Any, statements: Statements) -> None:
        self._driver, self._statements = driver, statements

    def __getattr__(self, name: str) -> Any:
        self._statements.count += 1
        return getattr(self._driver, name)
