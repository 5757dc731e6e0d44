"""The caller of an ad request, remembered for some seconds so that a request needs no SQL."""

import time
from typing import Final

from starlette.requests import Request

from contatto.accounts.auth import API_HEADER, api_caller
from contatto.accounts.model import Caller
from contatto.kit.ids import hash_secret

KEEP_S: Final = 0.5
"""For so long after it was revoked a token may still get ads; a busy one is looked up twice a second."""
_MOST: Final = 1_000


class RecentCallers:
    """Callers by the hash of their token; unknown tokens are not kept."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, Caller]] = {}

    async def caller_of(self, request: Request) -> Caller:
        """The caller of a request.

        Raises:
            Refused: SIGN_IN, BAD_TOKEN.
        """
        key = hash_secret(request.headers.get(API_HEADER, ""))
        known = self._known.get(key)
        if known is not None and time.monotonic() - known[0] < KEEP_S:
            return known[1]
        caller = await api_caller(request)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = (time.monotonic(), caller)
        return caller
