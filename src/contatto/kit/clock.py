"""Clock of a transaction, and batches limited by time."""

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol


class Clock(Protocol):
    """Anything that knows the time in UTC."""

    def now(self) -> datetime: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class FixedClock:
    """Clock that moves only on request; for tests and replays."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def advance(self, **units: float) -> None:
        """Move forward by ``timedelta(**units)``."""
        self.moment += timedelta(**units)


BATCH_S: Final = 0.03
"""Time of a batch; with its last item it holds SQLite's writer for some 50 ms."""
LONG_BATCH_S: Final = 4 * BATCH_S
"""Time of a batch on PostgreSQL, where others write concurrently."""


def in_time[T](
    items: Iterable[T],
    seconds: float | Callable[[], float] = BATCH_S,
    clock: Callable[[], float] = time.perf_counter,
    look_every: int = 1,
) -> Iterator[T]:
    """Yield items until the time is up, and at least the first.

    With the clock of the thread (`time.thread_time`) batches do not shrink on a busy machine, where fewer
    items would share the fixed costs. For items of some microseconds ``look_every`` limits the calls of the
    clock. ``seconds`` may be a function, if the limit changes meanwhile.
    """
    started = clock()
    for count, item in enumerate(items, 1):
        yield item
        if count % look_every == 0 and clock() - started >= (seconds() if callable(seconds) else seconds):
            return
