"""How much may be sent to one destination: some requests at once, and few while it is down.

A circuit breaker: after some tries in a row without an answer nothing more is sent for a while; then one
request is let through. If it is answered all is well again, else the while grows.
Source: Michael T. Nygard, "Release It!", chapter 5, "Circuit Breaker".
"""

from collections.abc import Callable
from typing import Final

OPENS_AFTER: Final = 5
"""Tries in a row without an answer."""
COOL_S: Final = (5.0, 15.0, 60.0, 300.0)
"""How long nothing is sent: after it has opened, after the first probe that failed, and so on."""
JITTER: Final = 0.2
"""Share of a wait that chance may add, so that not all come back at the same moment."""


def with_jitter(seconds: float, chance: float) -> float:
    """A wait with what chance (0–1) adds to it."""
    return seconds * (1 + JITTER * chance)


class Destination:
    """What is on its way to one destination, and its breaker.

    Args:
        places: requests that may be on their way at once.
        chance: gives numbers from 0 to 1.
    """

    def __init__(self, places: int, chance: Callable[[], float]) -> None:
        self._places = places
        self._chance = chance
        self._on_its_way = 0
        self._failures = 0
        self._opened = 0
        self._closed_until = 0.0

    def room(self, now_s: float) -> int:
        """Return how many more requests may be sent now."""
        if not self._opened:
            return self._places - self._on_its_way
        return 0 if now_s < self._closed_until or self._on_its_way else 1

    @property
    def is_idle(self) -> bool:
        """Return whether nothing is worth remembering."""
        return not (self._on_its_way or self._failures or self._opened)

    @property
    def is_open(self) -> bool:
        """Return whether the breaker keeps requests back."""
        return bool(self._opened)

    def begin(self) -> None:
        self._on_its_way += 1

    def end(self) -> None:
        self._on_its_way -= 1

    def note(self, now_s: float, *, is_answered: bool) -> None:
        """Note whether a request was answered."""
        if is_answered:
            self._failures = self._opened = 0
            return
        self._failures += 1
        if self._failures >= OPENS_AFTER and now_s >= self._closed_until:
            cool_s = COOL_S[min(self._opened, len(COOL_S) - 1)]
            self._closed_until = now_s + with_jitter(cool_s, self._chance())
            self._opened += 1
