"""Recent impressions with feature snapshots, and frequency caps."""

from collections import deque
from typing import Any, Final

import msgspec
import numpy as np

from contatto.learning.columns import BETWEEN, DAY_US, HEADS_AGAIN, MOST_CONTEXT, STACKED
from contatto.learning.lines import AdGroupLine

_FIRST: Final = 1024


class Impression(msgspec.Struct, gc=False):
    """Impression of an ad with its outcomes.

    Times are microseconds, 0 for never. ``view_until`` and ``click_until`` end the attribution windows.
    ``raw`` are the uncalibrated predictions by head, the fit of the ad, the viewer's value, and the score.
    ``place`` is the row of its feature snapshot, -1 for none. ``is_promised``: the budget reserves its price.
    ``is_settled``: its click label is learned. ``waited_talk``, ``waited_lead`` and ``waited_spam`` are the
    shares of the label delay already learned as a missing label.
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
    """Feature snapshots of impressions, in reused rows of arrays.

    ``held`` are dual amounts by head (see `learner.learn_again`), ``stacks`` inputs from earlier heads.
    ``shares`` are weights in shared parameters, ``stands_for`` the numbers of views that rows represent.
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
        self.holders: dict[int, Impression] = {}
        """Impressions by row, in order of time."""

    def take(self) -> int:
        """Return a free row."""
        if not self.free:
            size = len(self.counts)
            for name in SNAPSHOT_ARRAYS:
                array = getattr(self, name)
                larger = np.zeros((2 * size, *array.shape[1:]), array.dtype)
                larger[:size] = array
                setattr(self, name, larger)
            self.free = list(range(2 * size - 1, size - 1, -1))
        place = self.free.pop()
        self.held[place], self.shares[place], self.stands_for[place] = 0.0, 1.0, 1.0
        return place

    def give_back(self, impression: Impression) -> None:
        if impression.place >= 0:
            self.free.append(impression.place)
            self.holders.pop(impression.place, None)
            impression.place = -1


SNAPSHOT_ARRAYS: Final = (
    "hashes", "values", "kinds", "between", "counts", "held", "stacks", "shares", "stands_for",
)  # fmt: skip


class Records:
    """Impressions by request (None without an ad), and touches by viewer, in order of time.

    ``promised`` wait for their view, ``unsettled`` for the end of the time to click. ``kept`` and
    ``long_kept`` wait for the end of the view window and of the click window.
    """

    def __init__(self) -> None:
        self.shown: dict[str, Impression | None] = {}
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
        impressions, touches, promised, unsettled, recent, long_kept = state
        self.shown = msgspec.convert(impressions, dict[str, Impression | None])
        self.touches = touches
        self.promised, self.unsettled = deque(promised), deque(unsettled)
        self.kept = deque((ts, name) for ts, name in recent)
        self.long_kept = deque((ts, name) for ts, name in long_kept)


_REMEMBERED: Final = 31 * DAY_US
"""Minimal retention of views, since a cap may get a longer period."""

type Pair = tuple[int, int]
"""Rows of an ad group and of a viewer."""


class FrequencyCounter:
    """Frequency caps of ad groups with their counted views.

    A view counts from its decision on, until its reservation in the budget expires.
    """

    def __init__(self) -> None:
        self.caps: dict[int, tuple[int, int]] = {}
        """Number of views and period in microseconds, by row of the ad group."""
        self.views: dict[Pair, list[int]] = {}
        """Times of views."""
        self.waiting: dict[Pair, dict[str, int]] = {}
        """Times of decisions without a view, by request."""
        self._dropped_at = 0

    def set_cap(self, line: AdGroupLine, group: int, records: Records) -> None:
        """Set the cap of an ad group; a new one counts the stored views."""
        before = self.caps.pop(group, None)
        if line.frequency and line.frequency_schedule:
            self.caps[group] = (line.frequency, line.frequency_schedule * DAY_US)
        if before is not None and group in self.caps:
            return
        self.views = {pair: times for pair, times in self.views.items() if pair[0] != group}
        self.waiting = {pair: requests for pair, requests in self.waiting.items() if pair[0] != group}
        for impression in records.shown.values() if group in self.caps else ():
            if impression is not None and impression.group == group:
                (self.note_view if impression.viewed_at else self.note_decision)(impression)

    def list_reached(self, viewer: int, ts: int, wait: int) -> list[int]:
        """List the ad groups with a reached cap; a decision counts for ``wait`` microseconds."""
        reached = []
        for group, (most, period) in self.caps.items():
            pair = group, viewer
            count = sum(at > ts - period for at in self.views.get(pair, ()))
            count += sum(at > ts - wait for at in self.waiting.get(pair, {}).values())
            if count >= most:
                reached.append(group)
        return reached

    def note_decision(self, impression: Impression) -> None:
        """Count a decision until its view arrives or expires."""
        if impression.group in self.caps:
            self.waiting.setdefault((impression.group, impression.viewer), {})[impression.request_id] = (
                impression.asked_at
            )

    def note_view(self, impression: Impression) -> None:
        if impression.group in self.caps:
            pair = impression.group, impression.viewer
            self.waiting.get(pair, {}).pop(impression.request_id, None)
            self.views.setdefault(pair, []).append(impression.viewed_at)

    def drop_old(self, ts: int, wait: int) -> None:
        """Delete expired views once a day."""
        if not self.caps or ts - self._dropped_at < DAY_US:
            return
        self._dropped_at = ts
        for pair, times in list(self.views.items()):
            period = max(self.caps[pair[0]][1], _REMEMBERED)
            self.views[pair] = [at for at in times if at > ts - period]
        for pair, requests in list(self.waiting.items()):
            self.waiting[pair] = {name: at for name, at in requests.items() if at > ts - wait}
        self.views = {pair: times for pair, times in self.views.items() if times}
        self.waiting = {pair: requests for pair, requests in self.waiting.items() if requests}

    def state(self) -> list[Any]:
        return [
            [[group, *cap] for group, cap in self.caps.items()],
            [[*pair, times] for pair, times in self.views.items()],
            [[*pair, requests] for pair, requests in self.waiting.items()],
            self._dropped_at,
        ]

    def restore(self, state: list[Any]) -> None:
        caps, views, waiting, self._dropped_at = state
        self.caps = {group: (most, period) for group, most, period in caps}
        self.views = {(group, viewer): times for group, viewer, times in views}
        self.waiting = {(group, viewer): requests for group, viewer, requests in waiting}
