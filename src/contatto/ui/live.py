"""The live feed: events of the outbox, handed to open pages as they are committed (server-sent events).

A stream of a member ends with the session that it was opened with, in every process, and tells only what the
member may read at that moment.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import msgspec
from starlette.requests import HTTPConnection
from starlette.responses import StreamingResponse

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.log import logger, where
from contatto.kit.outbox import StoredEvent, event_name, events, last_seq, list_events, list_events_of

POLL_S: Final = 1.0
"""How often the events table is read when nobody pokes: another process may have committed."""
GATHER_S: Final = 0.1
"""How long it waits after a commit, so that open pages hear of all that follows at once together."""
HEARTBEAT_S: Final = 15.0
OVERLAP: Final = 256
"""Sequence numbers read again: on PostgreSQL a lower number may commit after a higher one."""

WATCH_S: Final = 0.4
"""How often it is asked which sessions still last, and what their members may read."""
A_PAGE_MS: Final = 100
"""How long the pages leave a process for each of them: one that is told of news fetches its lists anew."""
SIGN_OF_LIFE: Final = ": still here\n\n"

type Rights = Callable[[Tx, Collection[str]], Mapping[str, Collection[str]]]
"""For the keys of open streams: what each may be told of. A key that is left out has ended."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads a stream: a key (the hash of a session's token), and what says whether it still holds."""

    key: str = field(repr=False)
    rights: Rights


@dataclass(eq=False, slots=True)
class _News:
    """Events of a business, told together; their text is written once for all who have the same rights."""

    events: list[StoredEvent]
    texts: dict[frozenset[str] | None, str] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class _Stream:
    """An open stream; without a reader it is told all of its business."""

    reader: Reader | None
    queue: asyncio.Queue[_News | None] = field(default_factory=asyncio.Queue)
    rights: frozenset[str] = frozenset()
    given: frozenset[int] = frozenset()
    """What it was told of before, out of the table."""
    is_over: bool = False
    pace_ms: int = 0
    """How long it was told to leave between two fetches."""

    def end(self) -> None:
        self.is_over = True
        self.queue.put_nowait(None)


class LiveFeed:
    """One reader of the events table for all open streams of this process.

    Args:
        db: holds the events.
        needs: what somebody must have the right to read to be told of an event, by its name. An event that
            is not named is told to no reader.
    """

    def __init__(self, db: Database, needs: Mapping[str, str] | None = None) -> None:
        self._db = db
        self._needs = needs or {}
        self._streams: dict[str, set[_Stream]] = defaultdict(set)
        self._poked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._cursor = 0
        self._handed: set[int] = set()
        self._opening = asyncio.Lock()
        db.on_commit(self._poke, {events.name})

    def _poke(self) -> None:
        loop = self._loop
        if loop is not None and not self._poked.is_set() and not loop.is_closed():
            loop.call_soon_threadsafe(self._poked.set)

    async def run(self) -> None:
        """Hand out new events, and end the streams of sessions that are over, until cancelled."""
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hand_out())
            tasks.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                await self._look_after([stream for streams in self._streams.values() for stream in streams])
            except Exception as error:  # as below
                logger().error("live.failed", error_at=where(error))

    async def _look_after(self, streams: Collection[_Stream]) -> None:
        """Ask what the readers of streams may be told now, all at once; end those of nobody."""
        asked: dict[Rights, list[_Stream]] = defaultdict(list)
        for stream in streams:
            if stream.reader is not None:
                asked[stream.reader.rights].append(stream)
        for rights, read in asked.items():
            keys = {stream.reader.key for stream in read if stream.reader}
            known = await self._db.read(partial(_call, rights, keys))
            for stream in read:
                now = known.get(stream.reader.key) if stream.reader else None
                if now is None:
                    stream.end()
                else:
                    stream.rights = frozenset(now)

    async def _hand_out(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._poked.wait(), POLL_S)
                await asyncio.sleep(GATHER_S)
            self._poked.clear()
            try:
                if self._streams:
                    await self._hand_out_new()
            except Exception as error:  # a database that is away for a while must not end the feed
                logger().error("live.failed", error_at=where(error))
                await asyncio.sleep(POLL_S)

    async def _hand_out_new(self) -> None:
        start = self._cursor - OVERLAP
        fresh = await self._db.read(lambda tx: list_events(tx, start, 5_000))
        told: dict[str, list[StoredEvent]] = defaultdict(list)
        for event in fresh:
            if event.seq not in self._handed and event.business_id in self._streams:
                told[event.business_id].append(event)
        for business_id, some in told.items():
            self._tell(business_id, _News(some))
        self._cursor = max([self._cursor, *(event.seq for event in fresh)])
        self._handed = {event.seq for event in fresh if event.seq > self._cursor - OVERLAP}

    async def _start_from_now(self) -> None:
        """Count all that is there as handed out; called before the first stream opens."""
        known = await self._db.read(lambda tx: list_events(tx, last_seq(tx) - OVERLAP, 5_000))
        self._handed = {event.seq for event in known}
        self._cursor = max(self._handed, default=0)

    def broadcast_transient(self, business_id: str, event: Any) -> None:
        """Tell open pages of this process something that is worth no row, such as that somebody writes."""
        stored_event = StoredEvent(
            0, business_id, event_name(type(event)), msgspec.json.encode(event).decode()
        )
        self._tell(business_id, _News([stored_event]))

    def _tell(self, business_id: str, news: _News) -> None:
        for stream in self._streams.get(business_id, ()):
            stream.queue.put_nowait(news)

    def close(self) -> None:
        """End all open streams, so that the server can stop."""
        self._closed = True
        for streams in self._streams.values():
            for stream in streams:
                stream.end()

    async def follow(
        self, business_id: str, after_seq: int | None, reader: Reader | None = None
    ) -> AsyncGenerator[StoredEvent | None, None]:
        """Events of a business as they are committed; None now and then, as a sign of life.

        With ``after_seq`` it first gives what was missed since then. With a reader it gives only what that
        may read, and ends soon after the reader's rights have ended.
        """
        async with aclosing(self._follow(business_id, after_seq, reader)) as told:
            async for stream, news in told:
                if news is None:
                    yield None
                    continue
                for event in news.events:
                    if self._may_hear(stream, event):
                        yield event

    async def write_stream(
        self, business_id: str, after_seq: int | None, reader: Reader | None = None
    ) -> AsyncGenerator[str, None]:
        """The same as server-sent events; what was committed together is one text."""
        async with aclosing(self._follow(business_id, after_seq, reader)) as told:
            async for stream, news in told:
                if news is None:
                    yield SIGN_OF_LIFE
                elif text := self._text_of(stream, news):
                    yield self._new_pace(stream) + text

    def _new_pace(self, stream: _Stream) -> str:
        """Tells a page how long to leave between two fetches, if that has changed."""
        pace_ms = pace_of(sum(map(len, self._streams.values())))
        if pace_ms == stream.pace_ms:
            return ""
        stream.pace_ms = pace_ms
        return sse("pace", str(pace_ms))

    def _text_of(self, stream: _Stream, news: _News) -> str:
        """What a stream may hear of some events, written once for all that may hear the same."""
        if stream.is_over or not stream.given.isdisjoint(event.seq for event in news.events):
            return "".join(_sse_of(event) for event in news.events if self._may_hear(stream, event))
        rights = stream.rights if stream.reader else None
        text = news.texts.get(rights)
        if text is None:
            heard = (event for event in news.events if self._may_hear(stream, event))
            text = news.texts[rights] = "".join(map(_sse_of, heard))
        return text

    async def _follow(
        self, business_id: str, after_seq: int | None, reader: Reader | None
    ) -> AsyncGenerator[tuple[_Stream, _News | None], None]:
        stream = _Stream(reader)
        async with self._opening:  # a second stream must not move the start of the first
            if not self._streams:
                await self._start_from_now()
            self._streams[business_id].add(stream)
        try:
            await self._look_after([stream])
            if after_seq is not None:
                async for page in self._missed(business_id, after_seq):
                    yield stream, _News(page)
                    stream.given |= {event.seq for event in page}
            async for news in self._until_closed(stream):
                yield stream, news
        finally:
            self._streams[business_id].discard(stream)
            if not self._streams[business_id]:
                del self._streams[business_id]

    def _may_hear(self, stream: _Stream, event: StoredEvent) -> bool:
        if stream.is_over or event.seq in stream.given:
            return False
        return stream.reader is None or self._needs.get(event.name) in stream.rights

    async def _missed(self, business_id: str, after_seq: int) -> AsyncIterator[list[StoredEvent]]:
        """All that is in the table after a sequence number, page by page."""
        last = after_seq
        while page := await self._db.read(partial(list_events_of, business_id=business_id, after_seq=last)):
            yield page
            last = page[-1].seq

    async def _until_closed(self, stream: _Stream) -> AsyncIterator[_News | None]:
        """News as they come; None when it is time for a sign of life."""
        while not (self._closed or stream.is_over):
            try:
                news = await asyncio.wait_for(stream.queue.get(), HEARTBEAT_S)
            except TimeoutError:
                yield None
                continue
            if news is None:
                return
            yield news


def pace_of(pages: int) -> int:
    """Milliseconds that each page leaves between two fetches where so many are open in a process.

    In steps of two, so that few are told anew as pages come and go.
    """
    return A_PAGE_MS << (pages - 1).bit_length() if pages > 2 else 0


def _call(rights: Rights, keys: Collection[str], tx: Tx) -> Mapping[str, Collection[str]]:
    return rights(tx, keys)


def sse(name: str, data: str, event_id: int | None = None) -> str:
    """One server-sent event. Source: WHATWG HTML, section 9.2."""
    head = "" if event_id is None else f"id: {event_id}\n"
    return f"{head}event: {name}\ndata: {data}\n\n"


def _sse_of(event: StoredEvent) -> str:
    return sse(event.name, event.payload, event.seq or None)


def sse_answer(stream: AsyncIterator[str]) -> StreamingResponse:
    """A response that stays open and is never stored."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


def resume_point(request: HTTPConnection) -> int | None:
    """The last event that a page knows: told by the browser after a gap, else by the page as rendered."""
    for known in (request.headers.get("last-event-id", ""), request.query_params.get("after", "")):
        if known.isascii() and known.isdigit() and len(known) <= 18:
            return int(known)
    return None


async def stream_events(
    feed: LiveFeed, business_id: str, after: int | None, reader: Reader | None = None
) -> AsyncGenerator[str, None]:
    """Events of a business that somebody may read, as SSE text, beginning with those after a number."""
    yield "retry: 1000\n\n"
    async with aclosing(feed.write_stream(business_id, after, reader)) as texts:
        async for text in texts:
            yield text
