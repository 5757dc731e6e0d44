"""The live feed of members: it ends with their session, and tells what they may read at that moment."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import aclosing
from functools import partial
from typing import Any

import pytest

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.outbox import StoredEvent
from contatto.ui import live
from contatto.ui.live import LiveFeed, Reader
from tests.kit.feeds import (
    PATIENCE_S,
    Rang,
    feed_of,
    knock,
    number_of,
    opened,
    ring,
    take,
    until,
)


class Sessions:
    """What readers may hear of, as a table that a test changes."""

    def __init__(self) -> None:
        self.rights: dict[str, set[str]] = {"a": {"bells"}}
        self.asked: list[set[str]] = []

    def __call__(self, _tx: Tx, keys: Collection[str]) -> dict[str, set[str]]:
        self.asked.append(set(keys))
        return {key: self.rights[key] for key in keys if key in self.rights}


@pytest.fixture
def sessions() -> Sessions:
    return Sessions()


def with_needs(db: Database, work: Callable[[LiveFeed], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with feed_of(db, {"rang": "bells", "knocked": "doors"}) as feed:
            await work(feed)

    asyncio.run(run())


async def ended(stream: AsyncIterator[StoredEvent | None]) -> list[int]:
    """What a stream still gives until it ends."""
    async with asyncio.timeout(PATIENCE_S):
        return [number_of(event) async for event in stream if event is not None]


def test_it_is_asked_several_times_a_second_which_sessions_last() -> None:
    assert live.WATCH_S < 0.5


def test_a_stream_ends_soon_after_its_session(database: Database, sessions: Sessions) -> None:
    async def work(feed: LiveFeed) -> None:
        async with aclosing(await opened(feed, "b1", reader=Reader("a", sessions))) as stream:
            await ring(database, 1)
            assert await take(stream, 1) == [1]
            del sessions.rights["a"]
            assert await ended(stream) == []
        assert "b1" not in feed._streams

    with_needs(database, work)


def test_a_stream_of_a_session_that_is_over_tells_nothing_of_what_was_missed(
    database: Database, sessions: Sessions
) -> None:
    async def work(feed: LiveFeed) -> None:
        await ring(database, 1)
        assert await ended(feed.follow("b1", 0, Reader("gone", sessions))) == []

    with_needs(database, work)


def test_a_stream_tells_what_may_be_read_at_that_moment(database: Database, sessions: Sessions) -> None:
    heard: list[tuple[str, int]] = []

    async def listen(stream: AsyncIterator[StoredEvent | None]) -> None:
        async for event in stream:
            heard.extend([(event.name, number_of(event))] if event else [])

    async def work(feed: LiveFeed) -> None:
        listening = asyncio.create_task(listen(await opened(feed, "b1", 0, Reader("a", sessions))))
        for number, rights in enumerate(({"bells"}, {"books"}, {"books", "bells"})):
            sessions.rights["a"] = rights | {"doors"}
            # Once the second question is under way, the answer to the first holds.
            await until(partial(_is_as_long, sessions.asked, len(sessions.asked) + 2))
            feed.broadcast_transient("b1", Rang("b1", 10 + number))
            await ring(database, number)
            await knock(database, number)  # comes last, and is heard in any case
            await until(partial(heard.__contains__, ("knocked", number)))
        assert [number for name, number in heard if name == "rang"] == [10, 0, 12, 2]
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    with_needs(database, work)


def _is_as_long(asked: list[set[str]], length: int) -> bool:
    return len(asked) >= length


def test_an_event_that_says_not_who_may_hear_of_it_is_told_to_no_reader(
    database: Database, sessions: Sessions
) -> None:
    async def work() -> None:
        async with feed_of(database, {"knocked": "doors"}) as feed:
            await ring(database, 1)
            await knock(database, 2)
            sessions.rights["a"] = {"bells", "doors", ""}
            async with aclosing(feed.follow("b1", 0, Reader("a", sessions))) as stream:
                assert await take(stream, 1) == [2]

    asyncio.run(work())


def test_all_streams_of_a_process_ask_with_one_query(
    database: Database, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(feed: LiveFeed) -> None:
        sessions.rights |= {str(number): {"bells"} for number in range(50)}
        streams = [await opened(feed, "b1", 0, Reader(str(number), sessions)) for number in range(50)]
        look = feed._update_rights
        rounds: list[list[set[str]]] = []

        async def listened(of: Collection[Any]) -> None:
            before = len(sessions.asked)
            await look(of)
            rounds.append(sessions.asked[before:])

        monkeypatch.setattr(feed, "_update_rights", listened)
        await until(lambda: len(rounds) >= 2)
        everybody = {str(number) for number in range(50)}
        assert all(asked == [everybody] for asked in rounds)
        for stream in streams:
            await stream.aclose()

    with_needs(database, work)


def test_while_the_database_is_away_streams_go_on_and_end_afterwards(
    database: Database, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(feed: LiveFeed) -> None:
        async with aclosing(await opened(feed, "b1", reader=Reader("a", sessions))) as stream:
            await ring(database, 1)
            assert await take(stream, 1) == [1]
            refused = 0

            def refuse(_work: object) -> Any:
                nonlocal refused
                refused += 1
                raise ConnectionError

            with monkeypatch.context() as away:
                away.setattr(database, "read", refuse)
                await until(lambda: refused >= 2)
            del sessions.rights["a"]
            assert await ended(stream) == []

    with_needs(database, work)
