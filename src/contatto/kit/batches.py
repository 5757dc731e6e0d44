"""Batches of background work, sized by the time that they may hold the database, not by a number of rows."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

BATCH_S: Final = 0.03
"""How long a batch goes on; with the thing that it has begun it holds SQLite's one writer some 50 ms."""
LONG_BATCH_S: Final = 4 * BATCH_S
"""The same where a batch holds up nobody but its like: on PostgreSQL others write meanwhile."""


def in_time[T](
    items: Iterable[T],
    seconds: float | Callable[[], float] = BATCH_S,
    clock: Callable[[], float] = time.perf_counter,
    look_every: int = 1,
) -> Iterator[T]:
    """Items until the time is up, counted from the first, which comes in any case.

    With the clock of the thread (`time.thread_time`) a batch is no smaller where others have the processor:
    what it costs whatever is in it would be shared by the fewer the busier the machine is. Of items that take
    some microseconds the clock is looked at after each ``look_every`` of them: it is a call of the system.
    How many seconds it may take can change while it goes on.
    """
    started = clock()
    for count, item in enumerate(items, 1):
        yield item
        if count % look_every == 0 and clock() - started >= (seconds() if callable(seconds) else seconds):
            return
