"""Recent impressions, label delays, calibration, and frequency caps."""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contatto.learning.columns import BETWEEN, DAY_US, HEADS, MOST_CONTEXT
from contatto.learning.model import AdGroupLine

_FIRST: Final = 1024


def add_rows(array: NDArray[Any], fill: int = 0) -> None:
    """Lengthen an array by an eighth in place, since a copy would delay a decision.

    Views of the array are invalid afterwards.
    """
    size = len(array)
    array.resize((size + max(size // 8, _FIRST), *array.shape[1:]), refcheck=False)
    if fill:
        array[size:] = fill


class Impression(msgspec.Struct, array_like=True, gc=False):
    """Impression of an ad with its outcomes.

    Times are microseconds, 0 for never. ``view_until`` and ``click_until`` end the attribution windows.
    ``early_click_at`` is a click that arrived before its view. ``p`` are the calibrated predictions by head.
    ``raw`` are the uncalibrated ones, the viewer's value, and the score.
    ``place`` is the row of its feature snapshot, -1 for none. ``is_promised``: the budget reserves its price.
    ``is_settled``: its click label is final. ``waited_talk``, ``waited_lead`` and ``waited_spam`` are
    shares of late labels, as calibration counts them: those that would have arrived by the age of the last
    missing label. ``bad`` is the label of an unqualified lead (see `learner.slope_of`). ``is_new``: no
    training has its latest outcome.
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
    bad: float = 0.0
    is_new: bool = True


class Snapshots:
    """Feature snapshots of impressions, in reused rows of arrays.

    ``held`` are dual amounts by head (see `learner.settle_all`).
    ``shares`` are weights in shared parameters, ``stands_for`` the numbers of views that rows represent.
    """

    def __init__(self) -> None:
        self.hashes = np.zeros((_FIRST, MOST_CONTEXT), np.uint64)
        self.values = np.zeros((_FIRST, MOST_CONTEXT), np.float32)
        self.kinds = np.zeros((_FIRST, MOST_CONTEXT), np.uint8)
        self.between = np.zeros((_FIRST, BETWEEN), np.uint64)
        self.counts = np.zeros(_FIRST, np.int64)
        self.held = np.zeros((_FIRST, HEADS), np.float32)
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
                add_rows(getattr(self, name))
            self.free = list(range(len(self.counts) - 1, size - 1, -1))
        place = self.free.pop()
        self.held[place], self.shares[place], self.stands_for[place] = 0.0, 1.0, 1.0
        return place

    def give_back(self, impression: Impression) -> None:
        if impression.place >= 0:
            self.free.append(impression.place)
            self.holders.pop(impression.place, None)
            impression.place = -1


SNAPSHOT_ARRAYS: Final = (
    "hashes", "values", "kinds", "between", "counts", "held", "shares", "stands_for",
)  # fmt: skip


@dataclass(slots=True)
class Records:
    """Impressions by request (None without an ad), and touches by viewer, in order of time.

    ``promised`` wait for their view, ``unsettled`` for the end of the time to click. ``kept`` and
    ``long_kept`` wait for the end of the view window and of the click window.
    """

    shown: dict[str, Impression | None] = field(default_factory=dict)
    touches: dict[int, list[str]] = field(default_factory=dict)
    promised: deque[str] = field(default_factory=deque)
    unsettled: deque[str] = field(default_factory=deque)
    kept: deque[tuple[int, str]] = field(default_factory=deque)
    long_kept: deque[tuple[int, str]] = field(default_factory=deque)


_REMEMBERED: Final = 31 * DAY_US
"""Minimal retention of views, since a cap may get a longer period."""


@dataclass(slots=True)
class FrequencyCounter:
    """Frequency caps of ad groups with their counted views, by rows of ad group and viewer.

    A view counts from its decision on, until its reservation in the budget expires.
    """

    caps: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Number of views and period in microseconds, by row of the ad group."""
    views: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    """Times of views."""
    waiting: dict[tuple[int, int], dict[str, int]] = field(default_factory=dict)
    """Times of decisions without a view, by request."""
    dropped_at: int = 0

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
        if not self.caps or ts - self.dropped_at < DAY_US:
            return
        self.dropped_at = ts
        for pair, times in list(self.views.items()):
            period = max(self.caps[pair[0]][1], _REMEMBERED)
            self.views[pair] = [at for at in times if at > ts - period]
        for pair, requests in list(self.waiting.items()):
            self.waiting[pair] = {name: at for name, at in requests.items() if at > ts - wait}
        self.views = {pair: times for pair, times in self.views.items() if times}
        self.waiting = {pair: requests for pair, requests in self.waiting.items() if requests}


MINUTE: Final = 60.0
HOUR: Final = 3_600.0
DAY: Final = 86_400.0
EDGES_S: Final = (
    2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 16 * HOUR,
    DAY, 1.5 * DAY, 2 * DAY, 3 * DAY, 4 * DAY, 5 * DAY, 7 * DAY, 14 * DAY, 28 * DAY,
)  # fmt: skip
"""Ages at which a sample without a label is checked."""
_SHRINK: Final = 40.0
"""Weight of the likely label delay in that of an ad group, in samples."""
_MEANS_S: Final = (0.25 * HOUR, HOUR, 4 * HOUR, 12 * HOUR, DAY, 2 * DAY, 4 * DAY)
"""Mean delays of the exponential curves that are compared with the market's."""
_MARKET_WEIGHT: Final = 0.3
"""Prior probability that the labels of an ad group arrive as those of the market."""
_RATE_STEPS: Final = 8


_CURVES: Final = np.diff(1.0 - np.exp(-np.array((0.0, *EDGES_S)) / np.array(_MEANS_S)[:, None]), axis=1)
"""Share of the labels that arrive between two edges, by mean delay."""


def likely_hazards(
    arrived: NDArray[np.float64], waited: NDArray[np.float64], market: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the expected share of missing labels that arrive by the next edge, for an ad group.

    The mean of delay curves (the market's, and exponential ones of short to long means) by their posterior
    probability. Shrinkage towards the market alone hides late labels that are rare in the whole market.
    ``arrived`` and ``waited`` are labels and all samples of the ad group by edge, ``market`` the same share
    in the whole market.
    """
    survivors = np.cumprod(1.0 - np.minimum(market, 0.95))
    total = 1.0 - survivors[-1]
    curves = np.vstack([-np.diff(survivors, prepend=1.0) / total, _CURVES])
    before = np.cumsum(curves, axis=1) - curves
    rates = np.full((len(curves), 1), total)
    hazards = rates * curves / (1.0 - rates * before)
    for _ in range(_RATE_STEPS):
        expected = (waited * hazards).sum(axis=1, keepdims=True)
        rates = np.clip(rates * (arrived.sum() + 2.0) / (expected + 2.0), 1e-6, 0.95)
        hazards = np.clip(rates * curves / (1.0 - rates * before), 1e-9, 0.95)
    evidence = (arrived * np.log(hazards) + (waited - arrived) * np.log1p(-hazards)).sum(axis=1)
    priors = np.full(len(curves), (1.0 - _MARKET_WEIGHT) / len(_MEANS_S))
    priors[0] = _MARKET_WEIGHT
    weights = priors * np.exp(evidence - evidence.max())
    mean: NDArray[np.float64] = (weights[:, None] * hazards).sum(axis=0) / weights.sum()
    return mean


@dataclass(slots=True)
class LabelDelays:
    """Samples of one head without a label, and the label delay per ad group.

    ``at_edge`` queues samples by the next edge of ``EDGES_S`` that they reach. ``waited`` counts samples that
    reached an edge, by ad group and edge; ``came`` counts the labels among them. ``all_*`` are market sums.
    """

    prior_rate: float
    at_edge: list[deque[tuple[int, str]]] = field(default_factory=lambda: [deque() for _ in EDGES_S])
    waited: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, len(EDGES_S))))
    came: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, len(EDGES_S))))
    all_waited: NDArray[np.float64] = field(default_factory=lambda: np.full(len(EDGES_S), 4.0))
    all_came: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    shares: dict[int, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.all_came):  # prior: in each interval a fifth of the missing labels arrive
            fifths = np.array([0.2 * 0.8**i for i in range(len(EDGES_S))])
            self.all_came = self.all_waited * self.prior_rate * fifths

    def grow(self, groups: int) -> None:
        if len(self.waited) < groups:
            more = ((0, groups - len(self.waited)), (0, 0))
            self.waited, self.came = np.pad(self.waited, more), np.pad(self.came, more)

    def next_due(self, ts: int) -> list[tuple[int, int, str]]:
        """Remove the samples that passed an edge; return edge, start and name of each."""
        due: list[tuple[int, int, str]] = []
        for edge, queue in enumerate(self.at_edge):
            limit = ts - int(EDGES_S[edge] * 1e6)
            while queue and queue[0][0] <= limit:
                started_at, name = queue.popleft()
                due.append((edge, started_at, name))
                if edge + 1 < len(EDGES_S):
                    self.at_edge[edge + 1].append((started_at, name))
        return due

    def count_wait(self, group: int, edge: int) -> None:
        self.waited[group, edge] += 1.0
        self.all_waited[edge] += 1.0

    def count_arrival(self, group: int, edge: int, age_s: float) -> None:
        """Count a label that arrived at an age, once the sample passed the next edge.

        Counted at once, labels would appear at an edge before the samples without one.
        """
        if (EDGES_S[edge - 1] if edge else -1.0) < age_s <= EDGES_S[edge]:
            self.count_wait(group, edge)
            self.came[group, edge] += 1.0
            self.all_came[edge] += 1.0

    def shares_by_edge(self, windows_s: Sequence[float]) -> NDArray[np.float64]:
        """Return `share_by` of all ad groups and edges, by the windows of the ad groups."""
        return np.array(
            [
                [self.share_by(group, edge, window_s) for edge in range(len(EDGES_S))]
                for group, window_s in enumerate(windows_s)
            ]
        ).reshape(-1, len(EDGES_S))

    def share_by(self, group: int, edge: int, window_s: float) -> float:
        """Return the share of an ad group's labels in its window that arrive by an edge."""
        shares = self.shares.get(group)
        if shares is None:
            likely = likely_hazards(self.came[group], self.waited[group], self.all_came / self.all_waited)
            hazards = (self.came[group] + _SHRINK * likely) / (self.waited[group] + _SHRINK)
            shares = [float(share) for share in 1.0 - np.cumprod(1.0 - np.minimum(hazards, 0.95))]
            self.shares[group] = shares
        last = min(bisect_left(EDGES_S, window_s), len(EDGES_S) - 1)
        return 1.0 if edge >= last else min(shares[edge] / max(shares[last], 1e-9), 1.0)

    def share_at(self, group: int, age_s: float, window_s: float) -> float:
        """Return `share_by` the last edge before an age; 0 before the first."""
        edge = bisect_right(EDGES_S, age_s) - 1
        return self.share_by(group, edge, window_s) if edge >= 0 else 0.0

    def refit(self, fade: float) -> None:
        """Decay the counts per ad group, and invalidate the shares."""
        self.waited *= fade
        self.came *= fade
        self.shares.clear()
