"""The caller of an ad request, remembered for some seconds so that a request needs no SQL."""

import asyncio
import time
from functools import partial
from typing import Final

from starlette.requests import Request

from contatto.accounts.auth import API_HEADER, api_caller
from contatto.accounts.model import Caller
from contatto.kit.ids import hash_secret

KEEP_S: Final = 0.5
"""For so long after it was revoked a token may still get ads; a busy one is looked up twice a second."""
RENEW_S: Final = 0.25
"""What is older than this is looked up behind the answer."""
_MOST: Final = 1_000


class RecentCallers:
    """Callers by the hash of their token; unknown tokens are not kept."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, Caller]] = {}
        self._asking: dict[str, asyncio.Task[Caller]] = {}

    async def caller_of(self, request: Request) -> Caller:
        """The caller of a request; one that asks all the time is looked up behind the answers.

        Raises:
            Refused: SIGN_IN, BAD_TOKEN.
        """
        key = hash_secret(request.headers.get(API_HEADER, ""))
        known = self._known.get(key)
        age_s = KEEP_S if known is None else time.monotonic() - known[0]
        if known is None or age_s >= KEEP_S:
            return await self._look_up(key, request)
        if age_s >= RENEW_S and key not in self._asking:
            asking = self._asking[key] = asyncio.create_task(self._look_up(key, request))
            asking.add_done_callback(partial(self._asked, key))
        return known[1]

    async def _look_up(self, key: str, request: Request) -> Caller:
        caller = await api_caller(request)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = (time.monotonic(), caller)
        return caller

    def _asked(self, key: str, asking: asyncio.Task[Caller]) -> None:
        """Forget a token that does not let in any more; where the look-up failed, the next one asks."""
        del self._asking[key]
        if asking.cancelled() or asking.exception() is not None:
            self._known.pop(key, None)
