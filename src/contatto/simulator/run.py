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

    def __init__(self, began_after_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._began_at = self._loop.time() - began_after_s

    async def until(self, at_s: float) -> None:
        await asyncio.sleep(max(0.0, self._began_at + at_s - self._loop.time()))


async def play_live(street: Street, people: Sequence[Visitor], starts_at: datetime, days: int) -> None:
    """Play visits until cancelled: first the looks that remain of a plan, then new people without end.

    Args:
        street: where they come.
        people: visitors of the plan from ``starts_at`` on.
        starts_at: the moment from which they count their time.
        days: how many days are planned at once.
    """
    since_s = (street.clock.now() - starts_at).total_seconds()
    timeline = _Now(since_s)
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
    remaining = [visitor for visitor in coming if visitor.looks]
    return sorted(remaining, key=lambda visitor: visitor.looks[0].at_s)


async def _visit_on_air(street: Street, visitor: Visitor, timeline: Timeline) -> None:
    """Play a visit; one that fails, as when somebody paused all ads, must not end the show."""
    try:
        await street.visit(visitor, timeline)
    except Exception as error:
        logger().warning("simulator.visit_failed", error_at=where(error))
