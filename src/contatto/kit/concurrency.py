"""Concurrency limits per business, values read in the background, and a queue for password hashes."""

import asyncio
import os
import sys
import threading
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.log import logger, where

REQUESTS_AT_ONCE: Final = 10_000
"""Slots of all tenants together: never exhausted, as the limit of connections is lower."""


@dataclass(eq=False)
class TenantSlots:
    """Concurrency limit for event loops: free slots of a process, and the most of one tenant."""

    _free: int
    _most_each: int
    _used_slots: Counter[str] = field(default_factory=Counter)
    _waiting: dict[str, deque[asyncio.Future[None]]] = field(default_factory=dict)

    @asynccontextmanager
    async def of(self, business_id: str) -> AsyncIterator[None]:
        """Hold a slot of a tenant, and wait for it if necessary."""
        await self.enter(business_id)
        try:
            yield
        finally:
            self.leave(business_id)

    async def enter(self, business_id: str) -> None:
        """Take a slot, after earlier waiters of this tenant."""
        if self._free and self._used_slots[business_id] < self._most_each:
            self._free -= 1
            self._used_slots[business_id] += 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(business_id, deque()).append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.leave(business_id)
            raise

    def leave(self, business_id: str) -> None:
        """Free a slot, and give free slots to the waiting tenants in turn."""
        self._free += 1
        self._used_slots[business_id] -= 1
        if not self._used_slots[business_id]:
            del self._used_slots[business_id]
        for following, line in list(self._waiting.items()):
            if not self._free:
                return
            while line and line[0].done():  # its caller gave up
                line.popleft()
            if not line:
                del self._waiting[following]
            elif self._used_slots[following] < self._most_each:
                self._free -= 1
                self._used_slots[following] += 1
                del self._waiting[following]
                line.popleft().set_result(None)
                if line:  # behind all others
                    self._waiting[following] = line


@dataclass(eq=False)
class RequestSlot:
    """Slot of one request among those of its tenant.

    A request frees it while it waits for a client, a thread or another server, and then queues again.
    """

    _slots: TenantSlots
    business_id: str = ""
    is_held: bool = False
    _has_ended: bool = False

    async def take(self, business_id: str) -> None:
        """Wait for a slot, unless the request has one or was answered."""
        is_needless = self.is_held or self._has_ended
        if is_needless:
            return
        self.business_id = business_id
        await self._slots.enter(business_id)
        self.is_held = True
        if self._has_ended:  # the answer was sent meanwhile, to a task that outlives the request
            self.release()

    def end(self) -> None:
        """Free the slot for good."""
        self._has_ended = True
        self.release()

    def release(self) -> None:
        """Free the slot, if the request has one."""
        if self.is_held:
            self.is_held = False
            # Later, so that the loop takes requests of other tenants first.
            asyncio.get_running_loop().call_soon(self._slots.leave, self.business_id)


_SLOT: ContextVar[RequestSlot | None] = ContextVar("slot", default=None)


async def take_slot(business_id: str) -> None:
    """Wait for a slot of the running request; outside of requests, return at once."""
    if (slot := _SLOT.get()) is not None:
        await slot.take(business_id)


@asynccontextmanager
async def slot_released() -> AsyncIterator[None]:
    """Release the slot of the running request inside the block, then queue for one again."""
    slot = _SLOT.get()
    if slot is None or not slot.is_held:
        yield
        return
    slot.release()
    try:
        yield
    finally:
        await slot.take(slot.business_id)


@dataclass(eq=False)
class RequestSlotLayer:
    """Middleware that limits concurrent requests per tenant, so that others need not wait.

    A request takes one of the slots once its caller is identified, and frees it with the first byte of its
    answer.
    """

    app: ASGIApp
    slots: TenantSlots

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        slot = RequestSlot(self.slots)

        async def receive_without_slot() -> Message:
            async with slot_released():
                return await receive()

        async def end_and_send(message: Message) -> None:
            slot.end()
            await send(message)

        token = _SLOT.set(slot)
        try:
            await self.app(scope, receive_without_slot, end_and_send)
        finally:
            slot.end()
            _SLOT.reset(token)


FRESH: Final = timedelta(seconds=2)
"""A value older than this is read again in the background."""
TOO_OLD: Final = timedelta(seconds=20)
"""A value older than this is not used: the caller waits for a new one."""


@dataclass(eq=False)
class FreshValues[T]:
    """Values of this process by key, read again in the background; a failed read logs ``_failure``."""

    _read_clock: Callable[[], datetime]
    _read: Callable[[str], Coroutine[Any, Any, T]]
    _failure: str
    _values: dict[str, tuple[datetime, T]] = field(default_factory=dict)
    _reading: dict[str, asyncio.Task[T]] = field(default_factory=dict)

    async def get(self, key: str) -> T:
        """Return a value that is at most ``TOO_OLD``, and about ``FRESH`` under load.

        After a failed read the last value stays in use until it is too old.
        """
        stored = self._values.get(key)
        if stored is None:
            return await self.refresh(key)
        age = self._read_clock() - stored[0]
        if age <= FRESH:
            return stored[1]
        reading = self.refresh(key)
        return await reading if age > TOO_OLD else stored[1]

    def refresh(self, key: str) -> asyncio.Task[T]:
        """Read a value now, after a change that must take effect at once."""
        reading = self._reading.get(key)
        if reading is None or reading.done():
            reading = self._reading[key] = asyncio.create_task(self._read_now(key))
            reading.add_done_callback(self._note_failure)
        return reading

    async def _read_now(self, key: str) -> T:
        read_at = self._read_clock()
        value = await self._read(key)
        self._values[key] = read_at, value
        return value

    def _note_failure(self, reading: asyncio.Task[T]) -> None:
        """Log the failure of a background read; a waiting request gets it from the task."""
        error = None if reading.cancelled() else reading.exception()
        if error is not None and not isinstance(error, Refused):
            logger().warning(self._failure, error_at=where(error))


THREADS: Final = 1
"""Each hash takes 64 MiB of memory, and all cores that argon2 may use."""
PLACES: Final = 32
"""Greatest number of waiting and running hashes."""
KEPT_FOR_KNOWN: Final = 8
"""Places reserved for browsers that signed in here before."""
OF_ONE_NETWORK: Final = 8
_COME_AGAIN_S: Final = 5
_NICE: Final = 5


class HashPool:
    """Slow password hashes in a thread, behind a short queue, so that they delay no page."""

    def __init__(self) -> None:
        def lower_priority() -> None:  # on Linux each thread has its own priority
            if sys.platform == "linux":
                with suppress(OSError):
                    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)

        self._threads = ThreadPoolExecutor(THREADS, "hashing", initializer=lower_priority)
        self._taken = 0
        self._of_network: Counter[str] = Counter()

    @contextmanager
    def place(self, network: str, *, is_known: bool = False) -> Iterator[None]:
        """Hold a place in the queue; take it in the event loop, before any read.

        One network may hold only a part of the places, and an unknown browser none of the reserved ones.
        Raises TOO_MANY, when no place is free.
        """
        places = PLACES if is_known else PLACES - KEPT_FOR_KNOWN
        if self._taken >= places or self._of_network[network] >= OF_ONE_NETWORK:
            raise Refused(errors.TOO_MANY, "Too many people are logging in right now.", _COME_AGAIN_S)
        self._taken += 1
        self._of_network[network] += 1
        try:
            yield
        finally:
            self._taken -= 1
            self._of_network[network] -= 1
            if not self._of_network[network]:
                del self._of_network[network]

    async def run[**P, T](self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work in the pool's thread, for the holder of a place."""
        job = self._threads.submit(work, *args, **kwargs)
        async with slot_released():
            return await asyncio.wrap_future(job)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
