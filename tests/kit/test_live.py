"""The live feed: every event once, the missed ones first, and only one's own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import pytest
from starlette.requests import Request

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.outbox import StoredEvent, emit, last_seq
from contatto.ui import live
from contatto.ui.live import LiveFeed, Reader, resume_point, sse, stream_events

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
    feed = LiveFeed(db, needs)
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
                await stream.aclose()  # type: ignore[attr-defined]

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


async def take_one(stream: Any) -> int:
    async with asyncio.timeout(PATIENCE_S):
        event = await anext(stream)
    return number_of(event)


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
        async with aclosing(stream_events(feed, "b1", rendered)) as stream:
            assert await anext(stream) == "retry: 1000\n\n"
            assert '"number":2' in await anext(stream)

    with_feed(database, work)


def test_a_whisper_reaches_open_pages_of_its_business_and_is_no_row(database: Database) -> None:
    async def work(feed: LiveFeed) -> None:
        stream = stream_events(feed, "b1", None)
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


def test_an_event_as_text_carries_its_number_name_and_data() -> None:
    assert sse("rang", '{"a":1}', 7) == 'id: 7\nevent: rang\ndata: {"a":1}\n\n'
    assert sse("rang", "{}") == "event: rang\ndata: {}\n\n"


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


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what another task does."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():
            await asyncio.sleep(0.005)


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
            known = len(sessions.asked) + 2  # once the next question is under way, this one's answer holds
            await until(lambda known=known: len(sessions.asked) >= known)
            feed.broadcast_transient("b1", Rang("b1", 10 + number))
            await ring(database, number)
            await knock(database, number)  # comes last, and is heard in any case
            await until(lambda number=number: ("knocked", number) in heard)
        assert [number for name, number in heard if name == "rang"] == [10, 0, 12, 2]
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    with_needs(database, work)


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
        look = feed._look_after
        rounds: list[list[set[str]]] = []

        async def listened(of: Collection[Any]) -> None:
            before = len(sessions.asked)
            await look(of)
            rounds.append(sessions.asked[before:])

        monkeypatch.setattr(feed, "_look_after", listened)
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
