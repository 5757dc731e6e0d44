"""Places for what takes long: so many at once, fewer for one business, and who waits is served in turn."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Places:
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
        await self._enter(business_id)
        try:
            yield
        finally:
            self._leave(business_id)

    async def _enter(self, business_id: str) -> None:
        if self._free and self._held[business_id] < self._each:
            self._give(business_id)
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(business_id, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._leave(business_id)
            raise

    def _give(self, business_id: str) -> None:
        self._free -= 1
        self._held[business_id] += 1

    def _leave(self, business_id: str) -> None:
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
