"""The clock that the edges hand down, so that nothing below them reads the time by itself."""

from datetime import UTC, datetime, timedelta
from typing import Protocol


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
