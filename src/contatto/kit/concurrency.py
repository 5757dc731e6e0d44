"""Concurrency limits per business, and a queue for password hashes."""

import asyncio
import os
import sys
import threading
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contatto.kit import errors
from contatto.kit.errors import Refused

REQUESTS_AT_ONCE: Final = 10_000
"""Requests of all businesses together; the limit of connections is lower."""


class TenantSlots:
    """Places of one process; to be used from event loops alone.

    Args:
        most: how many there are.
        each: how many a business may hold at a time.
    """

    def __init__(self, most: int, each: int) -> None:
        self._free = most
        self._each = each
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def of(self, business_id: str) -> AsyncIterator[None]:
        """Hold a place for a business as long as this lasts; wait for one if need be."""
        await self.enter(business_id)
        try:
            yield
        finally:
            self.leave(business_id)

    async def enter(self, business_id: str) -> None:
        """Take a place, after those of this business that wait already."""
        if self._free and self._held[business_id] < self._each:
            self._give(business_id)
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(business_id, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave(business_id)
            raise

    def _give(self, business_id: str) -> None:
        self._free -= 1
        self._held[business_id] += 1

    def leave(self, business_id: str) -> None:
        """Free a place, and give it to the next business in line."""
        self._free += 1
        self._held[business_id] -= 1
        if not self._held[business_id]:
            del self._held[business_id]
        while self._free and (following := self._next()) is not None:
            self._give(following)

    def _next(self) -> str | None:
        """Give a place to the business whose turn it is, which then is the last in the line."""
        for business_id, line in list(self._waiting.items()):
            while line and line[0].done():  # its caller gave up
                line.popleft()
            if not line:
                del self._waiting[business_id]
            elif self._held[business_id] < self._each:
                del self._waiting[business_id]
                line.popleft().set_result(None)
                if line:
                    self._waiting[business_id] = line
                return business_id
        return None


class RequestSlot:
    """The place that one request holds among the requests of its business.

    A request frees it while it waits for a client, a thread or another server. Then it queues again.
    """

    def __init__(self, places: TenantSlots) -> None:
        self._places = places
        self._business_id = ""
        self._is_held = False
        self._has_ended = False

    async def take(self, business_id: str) -> None:
        """Wait for a place, unless the request holds one or has been answered."""
        if self._is_held or self._has_ended:
            return
        self._business_id = business_id
        await self._places.enter(business_id)
        self._is_held = True
        self._free_if_ended()

    def end(self) -> None:
        """Free the place for good."""
        self._has_ended = True
        self._release()

    @asynccontextmanager
    async def given_up(self) -> AsyncIterator[None]:
        """Free the place for as long as this lasts."""
        if not self._is_held:
            yield
            return
        self._release()
        try:
            yield
        finally:
            await self.take(self._business_id)

    def _free_if_ended(self) -> None:
        """Free a place that came after the answer, to a task that outlives the request."""
        if self._has_ended:
            self._release()

    def _release(self) -> None:
        if self._is_held:
            self._is_held = False
            # Not at once: between two requests of one business, the loop looks for those of others.
            asyncio.get_running_loop().call_soon(self._places.leave, self._business_id)


_TURN: ContextVar[RequestSlot | None] = ContextVar("turn", default=None)


async def take_slot(business_id: str) -> None:
    """Wait until the running request may work for its business; outside of requests, go on at once."""
    if (turn := _TURN.get()) is not None:
        await turn.take(business_id)


@asynccontextmanager
async def slot_released() -> AsyncIterator[None]:
    """Let other requests of the business work while this one waits."""
    if (turn := _TURN.get()) is None:
        yield
        return
    async with turn.given_up():
        yield


class RequestSlotLayer:
    """Runs few requests of one business at a time, so that those of others wait for one of them at most.

    A request takes its turn where its caller is identified, and ends it with the first byte of its answer.

    Args:
        app: the wrapped app.
        most_of_one: requests of one business that work at the same time.
    """

    def __init__(self, app: ASGIApp, most_of_one: int) -> None:
        self.app = app
        self._places = TenantSlots(REQUESTS_AT_ONCE, most_of_one)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        turn = RequestSlot(self._places)

        async def receive_meanwhile() -> Message:
            async with turn.given_up():
                return await receive()

        async def send_last(message: Message) -> None:
            turn.end()
            await send(message)

        token = _TURN.set(turn)
        try:
            await self.app(scope, receive_meanwhile, send_last)
        finally:
            turn.end()
            _TURN.reset(token)


THREADS: Final = 1
"""Each hash takes the memory that argon2 is told to take (64 MiB), and all the cores that it may have."""
PLACES: Final = 32
"""Most that wait or are hashed at a time; more are told to come again."""
KEPT_FOR_KNOWN: Final = 8
"""Places that only browsers which signed in here before may take."""
OF_ONE_NETWORK: Final = 8
_COME_AGAIN_S: Final = 5
_NICE: Final = 5


class HashPool:
    """Runs slow hashes one after the other."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "hashing", initializer=_step_back)
        self._taken = 0
        self._of_network: Counter[str] = Counter()

    @contextmanager
    def place(self, network: str, *, is_known: bool = False) -> Iterator[None]:
        """Hold a place in the queue; to be taken in the event loop, before anything is counted or read.

        Args:
            network: who asks; one network holds only some of the places.
            is_known: whether the browser signed in here before.

        Raises:
            Refused: TOO_MANY, when there is none.
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
        """Do the work in the pool's thread; only for who holds a place."""
        job = self._threads.submit(work, *args, **kwargs)
        async with slot_released():
            return await asyncio.wrap_future(job)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _step_back() -> None:
    """Let the event loop go first; on Linux a thread has a priority of its own, which its threads inherit."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
