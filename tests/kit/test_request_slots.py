"""Places: so many at once, fewer for each business, served in turn; and turns of requests."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from contatto.kit.concurrency import RequestSlotLayer, TenantSlots, slot_released, take_slot


class Visits:
    """Who is inside, who was let in so far, and a way to let each out."""

    def __init__(self, places: TenantSlots) -> None:
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


def play(places: TenantSlots, story: Callable[[Visits], Awaitable[None]]) -> None:
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

    play(TenantSlots(3, 1), story)


def test_who_waits_is_served_in_turn_by_business() -> None:
    async def story(visits: Visits) -> None:
        for name in ("a1", "a2", "a3", "a4", "b1", "b2", "c1"):
            await visits.come(name)
        for _ in range(6):
            await visits.leave(next(iter(visits.inside)))
        assert visits.came == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]

    play(TenantSlots(1, 1), story)


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

    play(TenantSlots(1, 1), story)


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

    play(TenantSlots(1, 1), story)


class Requests:
    """Requests through the layer, in the order in which they work; a path names business and request."""

    def __init__(self, steps: int = 0) -> None:
        self.steps = steps
        self.works: list[str] = []
        self.answers: list[str] = []
        self.most_at_once = self.at_once = 0
        self.thread = asyncio.Event()
        self.layer = RequestSlotLayer(self.answer, TenantSlots(100, 1))

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        name = scope["path"]
        await take_slot(name[0])
        self.works.append(name)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        for _ in range(self.steps):
            await asyncio.sleep(0)
        self.at_once -= 1
        if name.endswith("thread"):
            async with slot_released():
                await self.thread.wait()
        if name.endswith("fault"):
            raise ValueError(name)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        self.answers.append(name)

    def start(self, name: str) -> asyncio.Task[None]:
        async def receive() -> Any:
            return {"type": "http.request"}

        async def send(_: Any) -> None:
            return

        return asyncio.create_task(self.layer({"type": "http", "path": name}, receive, send))


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_a_request_waits_for_at_most_one_of_a_business_that_has_many(steps: int) -> None:
    requests = Requests(steps)

    async def story() -> None:
        names = [*(f"a{number}" for number in range(20)), "b1"]
        await asyncio.gather(*(requests.start(name) for name in names))

    asyncio.run(story())
    assert requests.works.index("b1") <= 1
    assert len(requests.answers) == 21


def test_requests_of_one_business_work_one_after_the_other_in_their_order() -> None:
    requests = Requests(3)

    async def story() -> None:
        await asyncio.gather(*(requests.start(f"a{number}") for number in range(9)))

    asyncio.run(story())
    assert requests.most_at_once == 1
    assert requests.works == [f"a{number}" for number in range(9)]


def test_a_request_that_waits_for_a_thread_lets_its_colleagues_work() -> None:
    requests = Requests()

    async def story() -> None:
        slow = requests.start("a thread")
        await asyncio.gather(requests.start("a1"), requests.start("a2"))
        assert requests.answers == ["a1", "a2"]
        requests.thread.set()
        await slow
        assert requests.answers == ["a1", "a2", "a thread"]

    asyncio.run(story())


def test_a_request_that_fails_or_is_cancelled_frees_its_place() -> None:
    requests = Requests(1)

    async def story() -> None:
        waiting = [requests.start(name) for name in ("a fault", "a1", "a2", "a3")]
        await asyncio.sleep(0)
        waiting[2].cancel()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [
            ValueError,
            type(None),
            asyncio.CancelledError,
            type(None),
        ]

    asyncio.run(story())
    assert requests.answers == ["a1", "a3"]
