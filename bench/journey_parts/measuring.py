"""A journey through a server that is started for real: kept, counted, sustained, and how long it takes."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from bench.harness import Cost, Report, measured, percentile
from bench.intake import SETTLED_WITHIN_S, Bare, Places, insert_bare, of_postgres
from bench.intake_parts.beside import most_per_s, postgres_cpu_s
from bench.intake_parts.sending import send_all
from bench.intake_parts.serving import (
    Place,
    Running,
    Statements,
    count_workers_statements,
    make_world,
    running,
)
from bench.journey_parts.copying import copy_of
from contatto.kit.db.tx import Tx
from contatto.kit.outbox import Drain
from contatto.simulator.world import DemoWorld

PACES: Final = (100, 500)
WARMING: Final = 60
MOST_SENT: Final = 150_000
"""Requests of a sustained run, whatever it could take: they are made before."""


@dataclass(frozen=True, slots=True)
class Journey:
    """A journey to measure.

    Attributes:
        noun: what one of them is called.
        make: makes groups of whole requests, one for each number; another number is another person.
        group: how many requests a group has.
        each: how many requests one of them takes, from beginning to end.
        waiting: how much of what follows waits to be done.
        bare: the table that the floor fills.
        first: a statement that the server's process begins with.
    """

    noun: str
    make: Callable[[Place, DemoWorld, range], list[list[bytes]]]
    group: int
    each: int
    waiting: Callable[[Tx], int]
    bare: Bare
    first: str = "pass"


@dataclass(frozen=True, slots=True)
class Part:
    """Requests of one kind: their name, which of each group they are, and how many."""

    case: str
    which: slice
    count: int


@dataclass(frozen=True, slots=True)
class Paced:
    """Requests at each of the paces: which of each group they are, and for how many seconds."""

    which: slice
    seconds: int

    @property
    def count(self) -> int:
        return sum(PACES) * self.seconds


@dataclass
class Bench:
    """One journey on one engine, and the rows that it adds."""

    report: Report
    places: Places
    journey: Journey
    kept: Cost = field(default_factory=Cost)
    """Cost of the last part."""
    at_once: int = 1
    """Number of requests of the last part that shared a commit."""
    made: int = 0
    """Number of groups of requests made."""

    def measure_kept(self, *parts: Part) -> Place:
        """Measure requests of each part, one part after another, without a worker."""
        place = self._new_place()
        with running(place, 0, self.journey.first, counts=True) as server:
            for part in parts:
                self._measure_part(place, server, part)
        return place

    def _measure_part(self, place: Place, server: Running, part: Part) -> None:
        made = self._parts(place, WARMING + part.count, part.which)
        asyncio.run(send_all(server.port, made[:WARMING]))
        beside = postgres_cpu_s(place)
        before, cpu, started = server.told(), server.cpu_s(), time.perf_counter()
        asyncio.run(send_all(server.port, made[WARMING:]))
        self.kept = Cost(time.perf_counter() - started, server.cpu_s() - cpu, server.peak_mib())
        beside, after = postgres_cpu_s(place) - beside, server.told()
        self.at_once = max(1, round(part.count / max(1, after.groups - before.groups)))
        statements = (after.statements - before.statements) / part.count
        more = of_postgres(beside, part.count)
        self.add(f"{self.places.engine}: {part.case}", self.kept, part.count, statements=statements, **more)

    def measure_floor(self, place: Place, count: int) -> None:
        """Measure the very same rows with the driver alone, as many in a commit as the server had."""
        sizes = {1: max(1, count // 10)} | {self.at_once: count}
        for size, some in sizes.items():
            name = f"{size} a commit" if size > 1 else "a commit each"
            cost = insert_bare(place, self.journey.bare, size, some)
            self.add(f"{self.places.engine} floor: the driver alone, {name}", cost, some)

    def measure_settled(self, place: Place, count: int) -> None:
        """Measure the background work that kept requests lead to, as the worker does it, in this process."""
        context = place.open()
        statements, drain = Statements(context), Drain(context.installation.after)
        with measured() as cost:
            asyncio.run(drain.run_all(context.db))
        context.db.close()
        case = f"{self.places.engine}: settled, which is what follows alone"
        self.add(case, cost, count, statements=statements.count / count)

    def measure_sustained(self, count: int, workers: int, seconds: float, pace: Paced | None = None) -> None:
        """So many requests of all kinds, or so many seconds, until nothing of what follows waits any more.

        Two moments say what waited then, so whether it lags behind more and more. An item is what its
        requests make together. With `pace` the same server is then sent requests at one pace after another.
        """
        place, waiting, own = self._new_place(), list[int](), 0.0
        made = self._parts(place, WARMING + count, slice(None))
        with running(place, workers, self.journey.first, counts=True) as server:
            asyncio.run(send_all(server.port, made[:WARMING]))
            self._wait(place)
            before, cpu, own = server.told(), server.cpu_s_of_each(), time.process_time()
            postgres_s, started, done = postgres_cpu_s(place), time.perf_counter(), 0
            half = WARMING + count // (2 * self.journey.group) * self.journey.group
            for some in (made[WARMING:half], made[half:]):
                done += len(asyncio.run(send_all(server.port, some, seconds=seconds / 2)))
                waiting.append(self._count_waiting(place))
            own, answered = time.process_time() - own, time.perf_counter()
            self._wait(place)
            ended, postgres_s = time.perf_counter(), postgres_cpu_s(place) - postgres_s
            took = [after - before for after, before in zip(server.cpu_s_of_each(), cpu, strict=True)]
            cost = Cost(ended - started, sum(took), server.peak_mib())
            statements = (server.told().statements - before.statements) / done
            if pace is not None:
                self._measure_waiting(place, server, pace)
        name = self.places.engine + (f", {workers} workers" if workers > 1 else "")
        items = done // self.journey.each
        beside = count_workers_statements(place) / (WARMING + done + (pace.count if pace else 0))
        self.add(
            f"{name}: with all that follows, sustained",
            cost,
            items,
            statements=(statements + beside) * self.journey.each,
            behind_s=ended - answered,
            waiting_half=waiting[0],
            waiting_end=waiting[1],
            server_us=took[0] * 1e6 / items,
            driver_us=own * 1e6 / items,
            **of_postgres(postgres_s, items),
            most_per_s=most_per_s((sum(took) + own + postgres_s) * 1e6 / items),
        )

    def _measure_waiting(self, place: Place, server: Running, paced: Paced) -> None:
        """At one pace after another: how long until it is kept, which is when the answer comes."""
        made = self._parts(place, paced.count, paced.which)
        for pace in PACES:
            self._wait(place)
            answered: dict[int, float] = {}
            due = asyncio.run(send_all(server.port, made[: pace * paced.seconds], pace, answered))
            made = made[pace * paced.seconds :]
            self._add_waits(pace, [(at - due[number]) * 1000 for number, at in answered.items()])

    def _add_waits(self, pace: int, waits: list[float]) -> None:
        figures = {f"p{share}_ms": percentile(waits, share / 100) for share in (50, 95, 99)}
        case = f"{self.places.engine}: request to {self.journey.noun}, {pace} a second"
        self.report.add(case, items=len(waits), **figures)

    def add(self, case: str, cost: Cost, count: int, **more: float) -> None:
        figures = {"per_s": cost.per_second(count), "cpu_us": cost.cpu_us_per(count)}
        self.report.add(case, items=count, **figures, peak_mib=cost.peak_rss_mib, **more)

    @cached_property
    def _original(self) -> tuple[Place, DemoWorld]:
        """An installation that is made once; the others are its copies."""
        place = self.places.new()
        return place, make_world(place)

    def _new_place(self) -> Place:
        return copy_of(self._original[0], self.places)

    def _parts(self, place: Place, count: int, which: slice) -> list[bytes]:
        """So many requests, of a part of each group."""
        groups = -(-count // len(range(self.journey.group)[which]))
        numbers = range(self.made, self.made + groups)
        self.made = numbers.stop
        made: Sequence[list[bytes]] = self.journey.make(place, self._original[1], numbers)
        return [request for parts in made for request in parts[which]][:count]

    def _count_waiting(self, place: Place) -> int:
        context = place.open()
        waiting = context.db.read_now(self.journey.waiting)
        context.db.close()
        return waiting

    def _wait(self, place: Place) -> None:
        context, limit = place.open(), time.monotonic() + SETTLED_WITHIN_S
        while context.db.read_now(self.journey.waiting):
            if time.monotonic() > limit:
                raise RuntimeError("what follows is not done")
            time.sleep(0.02)
        context.db.close()
