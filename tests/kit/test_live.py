"""The live feed: every event once, the missed ones first, and only one's own."""

import asyncio
from contextlib import AsyncExitStack, aclosing
from typing import Any
from urllib.parse import quote

import pytest
from starlette.requests import Request

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.outbox import emit, last_seq
from contatto.ui import live
from contatto.ui.live import LiveFeed, pace_of, resume_point, sse
from tests.kit.feeds import (
    PATIENCE_S,
    Rang,
    number_of,
    opened,
    ring,
    take,
    take_one,
    with_feed,
)


def test_an_open_page_gets_each_event_of_its_business_once(database: Database) -> None:
    async def work(feed: LiveFeed) -> None:
        await ring(database, 0)
        async with aclosing(await opened(feed, "b1")) as stream:
            for number in (1, 2):
                await ring(database, number)
                await ring(database, 100 + number, "b2")
            assert await take(stream, 2) == [1, 2]
            await asyncio.gather(*(ring(database, number) for number in range(3, 40)))
            assert sorted(await take(stream, 37)) == list(range(3, 40))

    with_feed(database, work)


def test_a_page_that_was_away_gets_what_it_missed_first_and_nothing_twice(database: Database) -> None:
    async def work(feed: LiveFeed) -> None:
        await ring(database, 1)
        seen = await database.read(last_seq)
        await ring(database, 2)
        await ring(database, 200, "b2")
        await ring(database, 3)
        async with aclosing(await opened(feed, "b1", seen)) as stream:
            await ring(database, 4)
            await ring(database, 5)
            assert await take(stream, 4) == [2, 3, 4, 5]

    with_feed(database, work)


def test_a_page_that_missed_very_many_gets_all_of_them(database: Database) -> None:
    def ring_often(tx: Any) -> None:
        for number in range(1_203):
            emit(tx, "b1", Rang("b1", number))

    async def work(feed: LiveFeed) -> None:
        await database.write(ring_often)
        async with aclosing(await opened(feed, "b1", 0)) as stream:
            await ring(database, 1_203)
            assert await take(stream, 1_204) == list(range(1_204))

    with_feed(database, work)


def test_streams_that_open_together_miss_nothing(database: Database) -> None:
    async def work(feed: LiveFeed) -> None:
        for _ in range(5):
            streams = [feed.follow("b1", None) for _ in range(4)]
            firsts = [asyncio.ensure_future(anext(stream)) for stream in streams]
            while len(feed._streams.get("b1", ())) == 0:
                await asyncio.sleep(0)
            await ring(database, 7)
            while len(feed._streams["b1"]) < 4:
                await asyncio.sleep(0.001)
            await ring(database, 8)
            async with asyncio.timeout(PATIENCE_S):
                assert number_of(await firsts[0]) == 7  # type: ignore[arg-type]
                for first in firsts:
                    assert number_of(await first) in (7, 8)  # type: ignore[arg-type]
            for stream in streams:
                await stream.aclose()

    with_feed(database, work)


def test_a_lower_number_that_commits_later_is_not_lost(database: Database) -> None:
    """On PostgreSQL a long transaction may commit a lower number after a higher one was handed out."""

    async def work(feed: LiveFeed) -> None:
        await ring(database, 0)
        async with aclosing(await opened(feed, "b1")) as stream:
            with database.engine.connect() as slow, slow.begin():
                await _reserve_and_commit_later(database, slow, stream)
            await ring(database, 3)
            assert sorted(await take(stream, 2)) == [1, 3]

    if database.engine.dialect.name == "postgresql":
        with_feed(database, work)
    else:
        assert not database.read_now(lambda tx: tx.locks_rows)  # one writer: numbers come in order


async def _reserve_and_commit_later(db: Database, connection: Any, stream: Any) -> None:
    emit(Tx(connection, db.clock.now(), db.vault), "b1", Rang("b1", 1))
    await ring(db, 2)
    assert await take_one(stream) == 2


def test_a_quiet_stream_gives_a_sign_of_life(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.01)

    async def work(feed: LiveFeed) -> None:
        async with aclosing(feed.follow("b1", None)) as stream:
            assert await anext(stream) is None

    with_feed(database, work)


def test_closing_ends_every_stream(database: Database) -> None:
    async def work(feed: LiveFeed) -> None:
        stream = await opened(feed, "b1")
        feed.close()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises((StopAsyncIteration, RuntimeError)):
                await anext(stream)

    with_feed(database, work)


def test_a_stream_that_is_left_is_forgotten(database: Database) -> None:
    async def work(feed: LiveFeed) -> None:
        async with aclosing(feed.follow("b1", 0)) as stream:
            await ring(database, 1)
            assert await take_one(stream) == 1
            assert len(feed._streams["b1"]) == 1
        assert "b1" not in feed._streams

    with_feed(database, work)


def asked(query: str = "", header: str = "") -> Request:
    headers = [(b"last-event-id", header.encode("latin-1"))] if header else []
    return Request({"type": "http", "query_string": query.encode(), "headers": headers})


@pytest.mark.parametrize("text", ["", "abc", "-1", "\u00b2", "9" * 30, "1.5"])
def test_a_senseless_number_is_taken_as_none(text: str) -> None:
    assert resume_point(asked(header=text)) is None
    assert resume_point(asked(f"after={quote(text)}")) is None


def test_a_stream_goes_on_after_what_the_browser_heard_or_else_after_the_rendered_page() -> None:
    assert resume_point(asked("after=7")) == 7
    assert resume_point(asked("after=7", "9")) == 9
    assert resume_point(asked("after=7", "abc")) == 7


def test_a_page_hears_what_came_between_its_rendering_and_its_stream(database: Database) -> None:
    async def work(feed: LiveFeed) -> None:
        await ring(database, 1)
        rendered = await database.read(last_seq)
        await ring(database, 2)
        async with aclosing(feed.write_stream("b1", rendered)) as stream:
            assert await anext(stream) == "retry: 1000\n\n"
            assert '"number":2' in await anext(stream)

    with_feed(database, work)


def test_what_was_committed_at_once_is_one_text_without_what_was_told_before(
    database: Database,
) -> None:
    async def work(feed: LiveFeed) -> None:
        await ring(database, 1)
        async with aclosing(feed.write_stream("b1", 0)) as stream:
            assert await anext(stream) == "retry: 1000\n\n"
            assert '"number":1' in await anext(stream)

            def three(tx: Tx) -> None:
                for number in (2, 3, 4):
                    emit(tx, "b1", Rang("b1", number))

            await database.write(three)
            async with asyncio.timeout(PATIENCE_S):
                text = await anext(stream)
            assert [f'"number":{number}' in text for number in (1, 2, 3, 4)] == [False, True, True, True]

    with_feed(database, work)


def test_a_whisper_reaches_open_pages_of_its_business_and_is_no_row(database: Database) -> None:
    async def work(feed: LiveFeed) -> None:
        stream = feed.write_stream("b1", None)
        async with aclosing(stream):
            assert await anext(stream) == "retry: 1000\n\n"
            second = asyncio.ensure_future(anext(stream))
            while "b1" not in feed._streams:
                await asyncio.sleep(0)
            feed.broadcast_transient("b2", Rang("b2", 4))
            feed.broadcast_transient("b1", Rang("b1", 5))
            async with asyncio.timeout(PATIENCE_S):
                assert await second == 'event: rang\ndata: {"business_id":"b1","number":5}\n\n'
            assert await database.read(last_seq) == 0

    with_feed(database, work)


def test_pages_are_told_to_fetch_less_often_where_many_are_open(database: Database) -> None:
    assert [pace_of(pages) for pages in (1, 2, 3, 4, 5, 8, 200)] == [0, 0, 400, 400, 800, 800, 25_600]

    async def work(feed: LiveFeed) -> None:
        async with AsyncExitStack() as stack:
            streams = [
                await stack.enter_async_context(aclosing(feed.write_stream("b1", 0))) for _ in range(3)
            ]
            for stream in streams:
                await anext(stream)
            texts = ["", "", ""]
            for number in range(3):
                waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
                async with asyncio.timeout(PATIENCE_S):
                    while len(feed._streams["b1"]) < len(streams):
                        await asyncio.sleep(0)
                    await ring(database, number)
                    texts = [before + await text for before, text in zip(texts, waiting, strict=True)]
        assert [text.count("event: pace\ndata: 400\n\n") for text in texts] == [1, 1, 1]
        assert [text.count("event: rang") for text in texts] == [3, 3, 3]

    with_feed(database, work)


def test_an_event_as_text_carries_its_number_name_and_data() -> None:
    assert sse("rang", '{"a":1}', 7) == 'id: 7\nevent: rang\ndata: {"a":1}\n\n'
    assert sse("rang", "{}") == "event: rang\ndata: {}\n\n"
