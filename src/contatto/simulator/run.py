"""Playing time: some days of history as fast as they go, and then people now and then, live."""

import asyncio
import heapq
import itertools
import random
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from contatto.kit.clock import ShiftedClock
from contatto.kit.log import logger, where
from contatto.simulator.desk import Desk
from contatto.simulator.people import LIVE, Visitor, plan_visitor
from contatto.simulator.traffic import Street

TOGETHER_S: Final = 4.0
"""What happens within so many seconds of history happens at once."""
DESK_EVERY_S: Final = 6 * 3600.0
DESK_SHARE: Final = 0.3
LIVE_EVERY_S: Final = (1.5, 5.0)
"""Seconds between two people, for somebody who has just started the demo and watches."""
CALM_AFTER_S: Final = 900.0
CALM: Final = 4.0
"""Later people come so many times as seldom, so that a demo may run for days."""


class Replay:
    """Time that jumps: when everybody waits, the clock moves to the moment that comes first.

    Theory. Every person is a coroutine; those that run are counted. A person who waits stands in a heap by
    moment. As soon as nobody runs, the earliest group is taken, the clock is set, and they run on. So
    messages keep their order in time, however long the server takes for each.
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


@dataclass(frozen=True, slots=True)
class _Now:
    """Time as it is; moments count from the start of the show."""

    loop: asyncio.AbstractEventLoop
    started_at: float

    async def until(self, at_s: float) -> None:
        await asyncio.sleep(max(0.0, self.started_at + at_s - self.loop.time()))


async def play_history(
    street: Street, people: Sequence[Visitor], clock: ShiftedClock, starts_at: datetime
) -> None:
    """Play everybody's visit, in order of time, and the desk's rounds; the clock ends where they end."""
    replay = Replay(clock, starts_at)
    last = max((visitor.seen_at_s[-1] for visitor in people), default=0.0)
    flows = [street.visit(visitor, replay) for visitor in people]
    await replay.play([*flows, _desk_rounds(street.desk, replay, last)])


async def _desk_rounds(desk: Desk, replay: Replay, last_s: float) -> None:
    rng = random.Random(0)
    for moment in itertools.count(DESK_EVERY_S, DESK_EVERY_S):
        if moment >= last_s:
            return
        await replay.until(moment)
        await desk.work_through_leads(rng, DESK_SHARE)


async def play_live(street: Street, rng: random.Random) -> None:
    """Let people come until cancelled; they do in seconds what takes others minutes."""
    loop = asyncio.get_running_loop()
    timeline = _Now(loop, loop.time())
    async with asyncio.TaskGroup() as group:
        for visitor in live_visitors(rng):
            await timeline.until(visitor.seen_at_s[0])
            group.create_task(_visit_on_air(street, visitor, timeline))


def live_visitors(rng: random.Random) -> Iterator[Visitor]:
    """Yield people without end, each with the seconds after the start at which they see ads."""
    at_s = 0.0
    while True:
        views = tuple(at_s + 2 * number for number in range(rng.randint(1, LIVE.most_views)))
        yield plan_visitor(rng, LIVE, views)
        at_s += rng.uniform(*LIVE_EVERY_S) * (CALM if at_s > CALM_AFTER_S else 1)


async def _visit_on_air(street: Street, visitor: Visitor, now: _Now) -> None:
    """A visit among live ones: one that fails (somebody paused all ads, say) must not end the show."""
    try:
        await street.visit(visitor, now)
    except Exception as error:
        logger().warning("simulator.visit_failed", error_at=where(error))
