"""The live feed: events of the outbox, handed to open pages as they are committed (server-sent events)."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from starlette.responses import StreamingResponse

from contatto.kit.db.database import Database
from contatto.kit.outbox import StoredEvent, last_seq, list_events, list_events_of

POLL_S: Final = 1.0
"""How often the events table is read when nobody pokes: another process may have committed."""
HEARTBEAT_S: Final = 15.0
OVERLAP: Final = 256
"""Sequence numbers read again: on PostgreSQL a lower number may commit after a higher one."""

SIGN_OF_LIFE: Final = ": still here\n\n"


class LiveFeed:
    """One reader of the events table for all open streams of this process."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._streams: dict[str, set[asyncio.Queue[StoredEvent | None]]] = defaultdict(set)
        self._poked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._cursor = 0
        self._handed: set[int] = set()
        db.on_commit(self._poke)

    def _poke(self) -> None:
        loop = self._loop
        if loop is not None and not self._poked.is_set() and not loop.is_closed():
            loop.call_soon_threadsafe(self._poked.set)

    async def run(self) -> None:
        """Read new events and hand them out, until cancelled."""
        self._loop = asyncio.get_running_loop()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._poked.wait(), POLL_S)
            self._poked.clear()
            if self._streams:
                await self._hand_out_new()

    async def _hand_out_new(self) -> None:
        start = self._cursor - OVERLAP
        fresh = await self._db.read(lambda tx: list_events(tx, start, 5_000))
        for event in fresh:
            if event.seq not in self._handed:
                for queue in self._streams.get(event.business_id, ()):
                    queue.put_nowait(event)
        self._cursor = max([self._cursor, *(event.seq for event in fresh)])
        self._handed = {event.seq for event in fresh if event.seq > self._cursor - OVERLAP}

    async def _start_from_now(self) -> None:
        """Count all that is there as handed out; called before the first stream opens."""
        self._cursor = await self._db.read(last_seq)
        self._handed = set(range(self._cursor - OVERLAP, self._cursor + 1))

    def close(self) -> None:
        """End all open streams, so that the server can stop."""
        self._closed = True
        for queues in self._streams.values():
            for queue in queues:
                queue.put_nowait(None)

    async def follow(self, business_id: str, after_seq: int | None) -> AsyncIterator[StoredEvent | None]:
        """Events of a business as they are committed; None now and then, as a sign of life.

        With ``after_seq`` it first gives what was missed since then.
        """
        if not self._streams:
            await self._start_from_now()
        queue: asyncio.Queue[StoredEvent | None] = asyncio.Queue()
        self._streams[business_id].add(queue)
        try:
            given: set[int] = set()
            if after_seq is not None:
                missed = await self._db.read(lambda tx: list_events_of(tx, business_id, after_seq))
                given.update(event.seq for event in missed)
                for event in missed:
                    yield event
            async for waiting in self._until_closed(queue):
                if waiting is None or waiting.seq not in given:
                    yield waiting
        finally:
            self._streams[business_id].discard(queue)
            if not self._streams[business_id]:
                del self._streams[business_id]

    async def _until_closed(
        self, queue: asyncio.Queue[StoredEvent | None]
    ) -> AsyncIterator[StoredEvent | None]:
        """Events as they come; None when it is time for a sign of life."""
        while not self._closed:
            try:
                event = await asyncio.wait_for(queue.get(), HEARTBEAT_S)
            except TimeoutError:
                yield None
                continue
            if event is None:
                return
            yield event


def sse(name: str, data: str, event_id: int | None = None) -> str:
    """One server-sent event. Source: WHATWG HTML, section 9.2."""
    head = "" if event_id is None else f"id: {event_id}\n"
    return f"{head}event: {name}\ndata: {data}\n\n"


def sse_answer(stream: AsyncIterator[str]) -> StreamingResponse:
    """A response that stays open and is never stored."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


async def stream_events(feed: LiveFeed, business_id: str, last_event_id: str | None) -> AsyncIterator[str]:
    """All events of a business as SSE text, resumed after the browser's ``Last-Event-ID``."""
    yield "retry: 1000\n\n"
    after = int(last_event_id) if last_event_id and last_event_id.isdigit() else None
    async for event in feed.follow(business_id, after):
        yield SIGN_OF_LIFE if event is None else sse(event.name, event.payload, event.seq)
