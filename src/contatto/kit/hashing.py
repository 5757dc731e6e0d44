"""Slow hashes of passwords, in a thread of their own behind a short queue: they hold up no page."""

import asyncio
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Final

from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.places import turn_given_up

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
        async with turn_given_up():
            return await asyncio.wrap_future(job)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _step_back() -> None:
    """Let the event loop go first; on Linux a thread has a priority of its own, which its threads inherit."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
