"""The clock that the edges hand down, and batches of work sized by the time that they may take."""

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


class ShiftedClock:
    """A clock that runs at normal speed but may stand in the past; the simulator moves it forward."""

    def __init__(self, shift: timedelta = timedelta()) -> None:
        self._shift = shift

    def now(self) -> datetime:
        return datetime.now(UTC) + self._shift

    def move_to(self, moment: datetime) -> None:
        """Set the clock. It never runs backwards: an earlier moment than now is ignored."""
        if moment > self.now():
            self._shift = moment - datetime.now(UTC)

    def back_to_present(self) -> None:
        self._shift = timedelta()


class FixedClock:
    """A clock that stands still until it is told otherwise; for tests and replays."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def advance(self, **units: float) -> None:
        """Move forward by ``timedelta(**units)``."""
        self.moment += timedelta(**units)


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
