"""What was shown to whom, for as long as something may become of it, with its features as they were."""

from collections import deque
from typing import Any, Final

import msgspec
import numpy as np

from contatto.delivery.rules.columns import BETWEEN, HEADS_AGAIN, MOST_CONTEXT, STACKED

_FIRST: Final = 1024


class Shown(msgspec.Struct, gc=False):
    """An ad that was chosen for a request, and what became of it.

    Instants are microseconds, 0 for never. ``view_until`` and ``click_until`` end the windows that were in
    force at the touch. ``raw`` is what was estimated before calibration, by head, how well the ad fits, and
    what the viewer is worth. ``place`` is where its features are kept, -1 when they no longer are;
    ``waited`` is the share of late labels that was allowed for, by head.
    """

    request_id: str
    ad: int
    group: int
    viewer: int
    asked_at: int
    offer: int
    price: int
    propensity: float
    p: tuple[float, ...]
    raw: tuple[float, ...]
    place: int
    viewed_at: int = 0
    clicked_at: int = 0
    early_click_at: int = 0
    view_until: int = 0
    click_until: int = 0
    is_promised: bool = True
    is_settled: bool = False
    talked_at: int = 0
    lead_at: int = 0
    spam_at: int = 0
    waited_talk: float = 0.0
    waited_lead: float = 0.0
    waited_spam: float = 0.0


class Snapshots:
    """The features of requests as they were: rows of arrays that are used again when nobody needs them.

    ``held`` is what each has moved (see `relearning`), ``stacks`` what its earlier heads said, ``shares`` how
    much of it shared weights may take, ``stands_for`` for how many views without a click it was kept,
    itself included.
    """

    def __init__(self) -> None:
        self.hashes = np.zeros((_FIRST, MOST_CONTEXT), np.uint64)
        self.values = np.zeros((_FIRST, MOST_CONTEXT), np.float32)
        self.kinds = np.zeros((_FIRST, MOST_CONTEXT), np.uint8)
        self.between = np.zeros((_FIRST, BETWEEN), np.uint64)
        self.counts = np.zeros(_FIRST, np.int64)
        self.held = np.zeros((_FIRST, HEADS_AGAIN), np.float32)
        self.stacks = np.zeros((_FIRST, STACKED), np.float32)
        self.shares = np.ones(_FIRST, np.float32)
        self.stands_for = np.ones(_FIRST, np.float32)
        self.free = list(range(_FIRST - 1, -1, -1))
        self.holders: dict[int, Shown] = {}
        """Whose features the rows in use are, in the order of time."""

    def take(self) -> int:
        """A free row; who takes it becomes its holder."""
        if not self.free:
            self._grow()
        place = self.free.pop()
        self.held[place], self.shares[place], self.stands_for[place] = 0.0, 1.0, 1.0
        return place

    def _grow(self) -> None:
        had = len(self.counts)
        for name in SNAPSHOT_ARRAYS:
            old = getattr(self, name)
            made = np.zeros((2 * had, *old.shape[1:]), old.dtype)
            made[:had] = old
            setattr(self, name, made)
        self.free = list(range(2 * had - 1, had - 1, -1))

    def give_back(self, shown: Shown) -> None:
        if shown.place >= 0:
            self.free.append(shown.place)
            self.holders.pop(shown.place, None)
            shown.place = -1


SNAPSHOT_ARRAYS: Final = (
    "hashes", "values", "kinds", "between", "counts", "held", "stacks", "shares", "stands_for",
)  # fmt: skip


class Records:
    """What was shown, by request, and by viewer in the order of time."""

    def __init__(self) -> None:
        self.shown: dict[str, Shown | None] = {}
        self.touches: dict[int, list[str]] = {}
        self.promised: deque[str] = deque()
        self.unsettled: deque[str] = deque()
        self.kept: deque[tuple[int, str]] = deque()
        self.long_kept: deque[tuple[int, str]] = deque()

    def state(self) -> Any:
        return [
            self.shown,
            self.touches,
            list(self.promised),
            list(self.unsettled),
            list(self.kept),
            list(self.long_kept),
        ]

    def restore(self, state: Any) -> None:
        shown, touches, promised, unsettled, kept, long_kept = state
        self.shown = msgspec.convert(shown, dict[str, Shown | None])
        self.touches = touches
        self.promised, self.unsettled = deque(promised), deque(unsettled)
        self.kept = deque((ts, name) for ts, name in kept)
        self.long_kept = deque((ts, name) for ts, name in long_kept)
