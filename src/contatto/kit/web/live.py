"""The live feed: events of the outbox, handed to open pages as they are committed (server-sent events)."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
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

type Wanted = Callable[[StoredEvent], bool]


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

    async def stream(self, business_id: str, wanted: Wanted, after_seq: int | None) -> AsyncIterator[str]:
        """Events of a business as SSE text; with ``after_seq`` it first gives what was missed since then."""
        if not self._streams:
            await self._start_from_now()
        queue: asyncio.Queue[StoredEvent | None] = asyncio.Queue()
        self._streams[business_id].add(queue)
        try:
            yield "retry: 1000\n\n"
            sent: set[int] = set()
            if after_seq is not None:
                missed = await self._db.read(lambda tx: list_events_of(tx, business_id, after_seq))
                sent.update(event.seq for event in missed)
                for event in filter(wanted, missed):
                    yield _as_sse(event)
            async for waiting in self._until_closed(queue):
                if waiting is None:
                    yield ": still here\n\n"
                elif wanted(waiting) and waiting.seq not in sent:
                    yield _as_sse(waiting)
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


def _as_sse(event: StoredEvent) -> str:
    return f"id: {event.seq}\nevent: {event.name}\ndata: {event.payload}\n\n"


def live_answer(
    feed: LiveFeed, business_id: str, wanted: Wanted, last_event_id: str | None
) -> StreamingResponse:
    """An SSE response that resumes after the browser's ``Last-Event-ID``."""
    after = int(last_event_id) if last_event_id and last_event_id.isdigit() else None
    return StreamingResponse(
        feed.stream(business_id, wanted, after),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
