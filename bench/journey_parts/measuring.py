"""A journey through a server that is started for real: kept, counted, sustained, and how long it takes."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.harness import Cost, Report, percentile
from bench.intake import SETTLED_WITHIN_S, Bare, Places, insert_bare
from bench.intake_parts.sending import send_all
from bench.intake_parts.serving import (
    Place,
    count_groups,
    count_statements,
    make_world,
    running,
)
from contatto.kit.db.tx import Tx
from contatto.simulator.world import World

PACES: Final = (100, 500)
WARMING: Final = 60
COUNTED: Final = 400
"""Requests of which the statements are counted, in a run of their own."""
MOST_SENT: Final = 150_000
"""Requests of a sustained run, whatever it could take: they are made before."""


@dataclass(frozen=True, slots=True)
class Journey:
    """What is measured.

    Attributes:
        noun: what one of them is called.
        make: makes groups of whole requests.
        group: how many requests a group has.
        each: how many requests one of them takes, from beginning to end.
        waiting: how much of what follows waits to be done.
        bare: the table that the floor fills.
        first: a statement that the server's process begins with.
    """

    noun: str
    make: Callable[[Place, World, int], list[list[bytes]]]
    group: int
    each: int
    waiting: Callable[[Tx], int]
    bare: Bare
    first: str = "pass"


@dataclass
class Bench:
    """One journey on one engine, and the rows that it adds."""

    report: Report
    places: Places
    journey: Journey
    kept: Cost = field(default_factory=Cost)

    def measure_kept(self, count: int, case: str, which: slice) -> Place:
        """So many requests of a part of each group, without a worker."""
        place, engine = self.places.new(), self.places.engine
        made = self._parts(place, WARMING + count, which)
        with running(place, 0, self.journey.first) as server:
            asyncio.run(send_all(server.port, made[:WARMING]))
            cpu, started = server.cpu_s(), time.perf_counter()
            asyncio.run(send_all(server.port, made[WARMING:]))
            cost = Cost(time.perf_counter() - started, server.cpu_s() - cpu, server.peak_mib())
        self.add(f"{engine}: {case}", cost, count, statements=self._count_statements(which))
        self.kept = cost
        return place

    def measure_floor(self, place: Place, count: int) -> None:
        """The very same rows with the driver alone, as many in a commit as the server had."""
        group = max(1, round((WARMING + count) / count_groups(place)))
        sizes = {1: max(1, count // 10)} | {group: count}
        for size, some in sizes.items():
            name = f"{size} a commit" if size > 1 else "a commit each"
            cost = insert_bare(place, self.journey.bare, size, some)
            self.add(f"{self.places.engine} floor: the driver alone, {name}", cost, some)

    def measure_sustained(self, count: int, workers: int) -> None:
        """So many requests of all kinds, until nothing of what follows waits any more."""
        place = self.places.new()
        made = self._parts(place, WARMING + count, slice(None))
        with running(place, workers, self.journey.first) as server:
            asyncio.run(send_all(server.port, made[:WARMING]))
            self._wait(place)
            cpu, started = server.cpu_s(), time.perf_counter()
            asyncio.run(send_all(server.port, made[WARMING:]))
            answered = time.perf_counter()
            self._wait(place)
            ended = time.perf_counter()
            cost = Cost(ended - started, server.cpu_s() - cpu, server.peak_mib())
        name = self.places.engine + (f", {workers} workers" if workers > 1 else "")
        items = count // self.journey.each
        self.add(f"{name}: with all that follows, sustained", cost, items, behind_s=ended - answered)

    def measure_waiting(self, pace: int, seconds: int, which: slice) -> None:
        """At a pace: how long until it is kept, which is when the answer comes."""
        place = self.places.new()
        made = self._parts(place, WARMING + pace * seconds, which)
        answered: dict[int, float] = {}
        with running(place, 1, self.journey.first) as server:
            asyncio.run(send_all(server.port, made[:WARMING]))
            self._wait(place)
            due = asyncio.run(send_all(server.port, made[WARMING:], pace, answered))
        waits = [(at - due[number]) * 1000 for number, at in answered.items()]
        figures = {f"p{share}_ms": percentile(waits, share / 100) for share in (50, 95, 99)}
        case = f"{self.places.engine}: request to {self.journey.noun}, {pace} a second"
        self.report.add(case, items=len(waits), **figures)

    def add(self, case: str, cost: Cost, count: int, **more: float) -> None:
        figures = {"per_s": cost.per_second(count), "cpu_us": cost.cpu_us_per(count)}
        self.report.add(case, items=count, **figures, peak_mib=cost.peak_rss_mib, **more)

    def _count_statements(self, which: slice) -> float:
        place = self.places.new()
        made = self._parts(place, COUNTED, which)
        with running(place, 0, self.journey.first, counts=True):
            pass
        before = count_statements(place)
        with running(place, 0, self.journey.first, counts=True) as server:
            asyncio.run(send_all(server.port, made))
        return (count_statements(place) - before) / len(made)

    def _parts(self, place: Place, count: int, which: slice) -> list[bytes]:
        """So many requests, of a part of each group."""
        groups = -(-count // len(range(self.journey.group)[which]))
        made: Sequence[list[bytes]] = self.journey.make(place, make_world(place), groups)
        return [request for parts in made for request in parts[which]][:count]

    def _wait(self, place: Place) -> None:
        context, limit = place.open(), time.monotonic() + SETTLED_WITHIN_S
        while context.db.read_now(self.journey.waiting):
            if time.monotonic() > limit:
                raise RuntimeError("what follows is not done")
            time.sleep(0.02)
        context.db.close()
