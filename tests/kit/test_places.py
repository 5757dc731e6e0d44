"""Places: so many at once, fewer for each business, and who waits is served in turn."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from contatto.kit.places import Places


class Visits:
    """Who is inside, who was let in so far, and a way to let each out."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.came: list[str] = []
        self.inside: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str) -> None:
        async def visit() -> None:
            async with self.places.of(name[0]):
                self.came.append(name)
                self.inside[name] = asyncio.Event()
                await self.inside[name].wait()

        self.tasks[name] = asyncio.create_task(visit())
        await asyncio.sleep(0)

    async def leave(self, name: str) -> None:
        self.inside.pop(name).set()
        await self.tasks[name]
        for _ in range(3):
            await asyncio.sleep(0)


def play(places: Places, story: Callable[[Visits], Awaitable[None]]) -> None:
    async def go() -> None:
        visits = Visits(places)
        await story(visits)
        for task in visits.tasks.values():
            task.cancel()
        await asyncio.gather(*visits.tasks.values(), return_exceptions=True)

    asyncio.run(go())


def test_a_business_has_no_more_than_its_places_however_many_are_free() -> None:
    async def story(visits: Visits) -> None:
        for name in ("a1", "a2", "a3", "b1"):
            await visits.come(name)
        assert visits.came == ["a1", "b1"]
        await visits.leave("b1")
        assert visits.came == ["a1", "b1"]
        await visits.leave("a1")
        assert visits.came == ["a1", "b1", "a2"]

    play(Places(3, 1), story)


def test_who_waits_is_served_in_turn_by_business() -> None:
    async def story(visits: Visits) -> None:
        for name in ("a1", "a2", "a3", "a4", "b1", "b2", "c1"):
            await visits.come(name)
        for _ in range(6):
            await visits.leave(next(iter(visits.inside)))
        assert visits.came == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]

    play(Places(1, 1), story)


def test_who_gave_up_takes_no_place_and_stands_in_nobodys_way() -> None:
    async def story(visits: Visits) -> None:
        for name in ("a1", "b1", "c1"):
            await visits.come(name)
        visits.tasks["b1"].cancel()
        await visits.leave("a1")
        assert visits.came == ["a1", "c1"]
        await visits.leave("c1")
        await visits.come("d1")
        assert visits.came[-1] == "d1"

    play(Places(1, 1), story)


def test_a_place_that_was_given_to_one_who_gives_up_at_that_moment_is_free_again() -> None:
    async def story(visits: Visits) -> None:
        await visits.come("a1")
        await visits.come("b1")
        visits.inside["a1"].set()
        await asyncio.sleep(0)  # a1 has left, b1 has its place and has not run yet
        visits.tasks["b1"].cancel()
        with pytest.raises(asyncio.CancelledError):
            await visits.tasks["b1"]
        await visits.come("c1")
        assert visits.came == ["a1", "c1"]

    play(Places(1, 1), story)
