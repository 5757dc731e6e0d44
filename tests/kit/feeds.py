"""A live feed under test: events to tell of, open streams, and waiting for what they give."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from contatto.kit.db.database import Database
from contatto.kit.outbox import StoredEvent, emit
from contatto.ui.live import LiveFeed, Reader

PATIENCE_S: Final = 60
"""What hangs fails after this long; nothing that works is waited for so long, however busy the machine is."""


@dataclass(frozen=True, slots=True)
class Rang:
    business_id: str
    number: int


@dataclass(frozen=True, slots=True)
class Knocked:
    """Of something else: who may hear of the one need not hear of the other."""

    business_id: str
    number: int


def ring(db: Database, number: int, business_id: str = "b1") -> Any:
    return db.write(lambda tx: emit(tx, business_id, Rang(business_id, number)))


def knock(db: Database, number: int) -> Any:
    return db.write(lambda tx: emit(tx, "b1", Knocked("b1", number)))


def number_of(event: StoredEvent) -> int:
    return int(event.payload.rpartition(":")[2].rstrip("}"))


async def take(stream: AsyncIterator[StoredEvent | None], count: int) -> list[int]:
    found: list[int] = []
    async with asyncio.timeout(PATIENCE_S):
        async for event in stream:
            if event is not None:
                found.append(number_of(event))
            if len(found) == count:
                break
    return found


@asynccontextmanager
async def feed_of(db: Database, needs: dict[str, str] | None = None) -> AsyncIterator[LiveFeed]:
    feed = LiveFeed(db, needs or {})
    task = asyncio.create_task(feed.run())
    await asyncio.sleep(0)
    yield feed
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def with_feed(db: Database, work: Callable[[LiveFeed], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with feed_of(db) as feed:
            await work(feed)

    asyncio.run(run())


async def opened(
    feed: LiveFeed, business_id: str, after: int | None = None, reader: Reader | None = None
) -> Any:
    """A stream that is open already: what comes from now on is for it."""
    before = sum(len(queues) for queues in feed._streams.values())
    stream = feed.follow(business_id, after, reader)
    first = asyncio.ensure_future(anext(stream))
    async with asyncio.timeout(PATIENCE_S):
        while sum(len(queues) for queues in feed._streams.values()) == before and not first.done():
            await asyncio.sleep(0.001)

    async def whole() -> AsyncIterator[StoredEvent | None]:
        async with aclosing(stream):
            yield await first
            async for event in stream:
                yield event

    return whole()


async def take_one(stream: Any) -> int:
    async with asyncio.timeout(PATIENCE_S):
        event = await anext(stream)
    return number_of(event)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what another task does."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():
            await asyncio.sleep(0.005)
