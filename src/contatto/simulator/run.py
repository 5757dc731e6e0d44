"""Playing people live, as time goes: they are planned as those of history are."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from contatto.kit.log import logger, where
from contatto.simulator.people import Visitor, plan_people
from contatto.simulator.traffic import Street, Timeline

DAY_S: Final = 86_400.0


class _Now:
    """Time as it is; moments count from a beginning, which may lie days back."""

    def __init__(self, starts_at: datetime, now: datetime) -> None:
        self._loop = asyncio.get_running_loop()
        self._began_at = self._loop.time() - (now - starts_at).total_seconds()

    async def until(self, at_s: float) -> None:
        await asyncio.sleep(max(0.0, self._began_at + at_s - self._loop.time()))


async def play_live(street: Street, people: Sequence[Visitor], starts_at: datetime, days: int) -> None:
    """Let people come until cancelled: first those whose moments are still to come, then ever new ones.

    Args:
        street: where they come.
        people: those who were planned from ``starts_at`` on, for so many days.
        starts_at: the moment from which they count their time.
        days: how many days are planned at once.
    """
    now = street.clock.now()
    timeline = _Now(starts_at, now)
    since_s = (now - starts_at).total_seconds()
    async with asyncio.TaskGroup() as group:
        for visitor in list_coming(people, since_s, days):
            await timeline.until(visitor.looks[0].at_s)
            group.create_task(_visit_on_air(street, visitor, timeline))


def list_coming(people: Sequence[Visitor], since_s: float, days: int) -> Iterator[Visitor]:
    """Yield people from a moment on without end, by their next look."""
    seed, starts_s, span_s = 0, 0.0, days * DAY_S
    while True:
        yield from leave_out_past(people, since_s)
        seed, starts_s = seed + 1, starts_s + span_s
        people = [visitor.moved(starts_s) for visitor in plan_people(seed, len(people), span_s)]


def leave_out_past(people: Sequence[Visitor], since_s: float) -> list[Visitor]:
    """Return the people who have looks left, without those that are over."""
    coming = [visitor.from_moment(since_s) for visitor in people]
    return sorted((each for each in coming if each.looks), key=lambda visitor: visitor.looks[0].at_s)


async def _visit_on_air(street: Street, visitor: Visitor, now: Timeline) -> None:
    """Play a visit; one that fails, as when somebody paused all ads, must not end the show."""
    try:
        await street.visit(visitor, now)
    except Exception as error:
        logger().warning("simulator.visit_failed", error_at=where(error))
