"""Live feed of committed outbox events to open pages (server-sent events).

A member's stream ends with their session, in every process. It contains only events that the member may read
at that moment.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import msgspec
from starlette.requests import HTTPConnection
from starlette.responses import StreamingResponse

from contatto.kit.db.database import CommitSignal, Database
from contatto.kit.db.tx import Tx
from contatto.kit.log import logger, where
from contatto.kit.outbox import StoredEvent, event_name, events, last_seq, list_events

POLL_S: Final = 1.0
"""Interval of reads without a signal of a commit, since other processes commit too."""
GATHER_S: Final = 0.1
"""Wait after a commit, so that pages get several events together."""
HEARTBEAT_S: Final = 15.0
"""Interval of heartbeats on a quiet stream."""
OVERLAP: Final = 256
"""Sequence numbers to read again, since on PostgreSQL a lower one may commit after a higher one."""

WATCH_S: Final = 0.4
"""Interval of checks of sessions and permissions."""
A_PAGE_MS: Final = 100
"""CPU time that a process spends on one open page after an event, since the page fetches its lists."""
HEARTBEAT: Final = ": still here\n\n"
"""Comment that browsers ignore."""

type Rights = Callable[[Tx, Collection[str]], Mapping[str, Collection[str]]]
"""Function that returns the rights of open streams by their keys; ended sessions are missing."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reader of a stream; ``key`` is the hash of a session's token, and ``rights`` checks its rights."""

    key: str = field(repr=False)
    rights: Rights


@dataclass(eq=False, slots=True)
class _Batch:
    """Events of a tenant; their text is rendered once for all readers with the same rights."""

    events: list[StoredEvent]
    texts: dict[frozenset[str] | None, str] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class _Stream:
    """Open stream; without a reader it gets all events of its tenant."""

    reader: Reader | None
    queue: asyncio.Queue[_Batch | None] = field(default_factory=asyncio.Queue)
    rights: frozenset[str] = frozenset()
    sent: frozenset[int] = frozenset()
    """Sequence numbers of missed events that were sent when the stream began."""
    is_over: bool = False
    pace_ms: int = 0
    """Last announced pause between two fetches, see `pace_of`."""

    def end(self) -> None:
        self.is_over = True
        self.queue.put_nowait(None)


@dataclass(eq=False)
class LiveFeed:
    """Reader of the events table for all open streams of this process.

    ``_needs`` are the required rights by event name; a reader gets no event without one.
    """

    _db: Database
    _needs: Mapping[str, str] = field(default_factory=dict)
    _streams: dict[str, set[_Stream]] = field(default_factory=partial(defaultdict, set))
    _closed: bool = False
    _cursor: int = 0
    _sent_seqs: set[int] = field(default_factory=set)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self) -> None:
        """Send new events, and end the streams of expired sessions, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send_after_commits())
            while True:
                await asyncio.sleep(WATCH_S)
                streams = [stream for streams in self._streams.values() for stream in streams]
                try:
                    await self._update_rights(streams)
                except Exception as error:  # an unreachable database must not end the feed
                    logger().error("live.failed", error_at=where(error))

    async def _update_rights(self, streams: Collection[_Stream]) -> None:
        """Update the rights of streams, and end those of expired sessions."""
        streams_of: dict[Rights, list[_Stream]] = defaultdict(list)
        for stream in streams:
            if stream.reader is not None:
                streams_of[stream.reader.rights].append(stream)
        for rights, group in streams_of.items():
            keys = {stream.reader.key for stream in group if stream.reader}
            current = await self._db.read(lambda tx: rights(tx, keys))  # noqa: B023  # it runs at once
            for stream in group:
                granted = current.get(stream.reader.key) if stream.reader else None
                if granted is None:
                    stream.end()
                else:
                    stream.rights = frozenset(granted)

    async def _send_after_commits(self) -> None:
        commits = CommitSignal(self._db, {events.name})
        while True:
            await commits.wait(POLL_S, GATHER_S)
            if not self._streams:
                continue
            try:
                fresh = await self._db.read(
                    partial(list_events, after_seq=self._cursor - OVERLAP, limit=5_000)
                )
            except Exception as error:
                logger().error("live.failed", error_at=where(error))
                await asyncio.sleep(POLL_S)
                continue
            events_of: dict[str, list[StoredEvent]] = defaultdict(list)
            for event in fresh:
                if event.seq not in self._sent_seqs and event.business_id in self._streams:
                    events_of[event.business_id].append(event)
            for business_id, new_events in events_of.items():
                batch = _Batch(new_events)
                for stream in self._streams[business_id]:
                    stream.queue.put_nowait(batch)
            self._cursor = max([self._cursor, *(event.seq for event in fresh)])
            self._sent_seqs = {event.seq for event in fresh if event.seq > self._cursor - OVERLAP}

    def broadcast_transient(self, business_id: str, event: Any) -> None:
        """Send open pages of this process an event without a row, such as typing."""
        stored_event = StoredEvent(
            0, business_id, event_name(type(event)), msgspec.json.encode(event).decode()
        )
        batch = _Batch([stored_event])
        for stream in self._streams.get(business_id, ()):
            stream.queue.put_nowait(batch)

    def close(self) -> None:
        """End all open streams, so that the server can stop."""
        self._closed = True
        for streams in self._streams.values():
            for stream in streams:
                stream.end()

    async def follow(
        self, business_id: str, after_seq: int | None, reader: Reader | None = None
    ) -> AsyncGenerator[StoredEvent | None, None]:
        """Yield events of a tenant as they are committed, and None as a heartbeat.

        The missed events after ``after_seq`` come first. With a reader it yields only events that the reader
        may see, and ends soon after the reader's rights.
        """
        async with aclosing(self._follow(business_id, after_seq, reader)) as updates:
            async for stream, batch in updates:
                if batch is None:
                    yield None
                    continue
                for event in batch.events:
                    if self._may_see(stream, event):
                        yield event

    async def write_stream(
        self, business_id: str, after_seq: int | None, reader: Reader | None = None
    ) -> AsyncGenerator[str, None]:
        """Yield events as server-sent events, with those of one commit in one text; arguments of `follow`."""
        yield "retry: 1000\n\n"
        async with aclosing(self._follow(business_id, after_seq, reader)) as updates:
            async for stream, batch in updates:
                if batch is None:
                    yield HEARTBEAT
                elif text := self._text_of(stream, batch):
                    pace_ms = pace_of(sum(map(len, self._streams.values())))
                    if pace_ms != stream.pace_ms:
                        stream.pace_ms = pace_ms
                        text = sse("pace", str(pace_ms)) + text
                    yield text

    def _text_of(self, stream: _Stream, batch: _Batch) -> str:
        """Return the events that a stream may see as text, rendered once for equal rights."""
        is_own = stream.is_over or not stream.sent.isdisjoint(event.seq for event in batch.events)
        rights = stream.rights if stream.reader else None
        text = None if is_own else batch.texts.get(rights)
        if text is None:
            visible = (event for event in batch.events if self._may_see(stream, event))
            text = "".join(sse(event.name, event.payload, event.seq or None) for event in visible)
            if not is_own:
                batch.texts[rights] = text
        return text

    async def _follow(
        self, business_id: str, after_seq: int | None, reader: Reader | None
    ) -> AsyncGenerator[tuple[_Stream, _Batch | None], None]:
        stream = _Stream(reader)
        async with self._opening:  # a second stream must not move the start of the first
            if not self._streams:  # events before the first stream count as sent
                before = await self._db.read(lambda tx: list_events(tx, last_seq(tx) - OVERLAP, 5_000))
                self._sent_seqs = {event.seq for event in before}
                self._cursor = max(self._sent_seqs, default=0)
            self._streams[business_id].add(stream)
        try:
            await self._update_rights([stream])
            if after_seq is not None:
                last = after_seq
                while page := await self._db.read(
                    partial(list_events, after_seq=last, business_id=business_id)
                ):
                    yield stream, _Batch(page)
                    stream.sent |= {event.seq for event in page}
                    last = page[-1].seq
            while not (self._closed or stream.is_over):
                try:
                    batch = await asyncio.wait_for(stream.queue.get(), HEARTBEAT_S)
                except TimeoutError:
                    yield stream, None
                    continue
                if batch is None:
                    return
                yield stream, batch
        finally:
            self._streams[business_id].discard(stream)
            if not self._streams[business_id]:
                del self._streams[business_id]

    def _may_see(self, stream: _Stream, event: StoredEvent) -> bool:
        if stream.is_over or event.seq in stream.sent:
            return False
        return stream.reader is None or self._needs.get(event.name) in stream.rights


def pace_of(pages: int) -> int:
    """Return the pause in milliseconds between two fetches of a page, by the number of open pages.

    It grows in powers of two, so that it changes rarely.
    """
    return A_PAGE_MS << (pages - 1).bit_length() if pages > 2 else 0


def sse(name: str, data: str, event_id: int | None = None) -> str:
    """Format a server-sent event. Source: WHATWG HTML, section 9.2."""
    head = "" if event_id is None else f"id: {event_id}\n"
    return f"{head}event: {name}\ndata: {data}\n\n"


def sse_answer(stream: AsyncIterator[str]) -> StreamingResponse:
    """Return a response that stays open and is not cached."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


def resume_point(request: HTTPConnection) -> int | None:
    """Return the number of the last event that a page has; None if the page names none.

    After a lost connection the browser sends it as a header, at first the page as ``after``.
    """
    for number in (request.headers.get("last-event-id", ""), request.query_params.get("after", "")):
        if number.isascii() and number.isdigit() and len(number) <= 18:
            return int(number)
    return None
