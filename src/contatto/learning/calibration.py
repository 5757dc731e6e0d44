"""Calibration of predictions: label delay, actual over predicted rates, and shrinkage of viewer effects."""

import math
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contatto.kit.runtime import compiled

TRUST: Final = 10.0
"""The precision with which the slope is expected to be 0."""
BOUNDS: Final = (-0.8, 0.5)
_STEPS: Final = 8
LEAST_WORTH: Final = 1e-30
"""Lower bound of a viewer's value, so that it has a logarithm."""


@compiled
def boldness(score: float, slope: float, mean: float) -> float:
    """How many times an estimate counts: by a slope that was fitted, and the mean at which it counts once."""
    return math.exp(slope * (score - mean))


def fit_slope(
    scores: NDArray[np.float64], expected: NDArray[np.float64], came: NDArray[np.float64]
) -> tuple[float, float]:
    """Fit the slope.

    Args:
        scores: logarithms of estimates.
        expected: how much was expected of each, greater than 0.
        came: how much came.

    Returns:
        The slope, and the mean score at which it changes nothing.
    """
    mean = float(expected @ scores / expected.sum())
    away = scores - mean
    slope, level = 0.0, came.sum() / expected.sum()
    for _ in range(_STEPS):
        now = expected * np.exp(np.clip(slope * away, -5.0, 5.0))
        level = max(came.sum(), 1.0) / now.sum()
        now *= level
        middle = float(now @ away / now.sum())
        rise = float((came - now) @ away) - TRUST * slope
        bend = float(now @ (away - middle) ** 2) + TRUST
        slope += min(max(rise / bend, -0.5), 0.5)
    return min(max(slope, BOUNDS[0]), BOUNDS[1]), mean


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
_MARKET_WEIGHT: Final = 0.5
"""Prior probability that the labels of an ad group arrive as those of the market."""
_RATE_STEPS: Final = 8


_CURVES: Final = np.diff(1.0 - np.exp(-np.array((0.0, *EDGES_S)) / np.array(_MEANS_S)[:, None]), axis=1)
"""Share of the labels that arrive between two edges, by mean delay."""


def likely_hazards(
    came: NDArray[np.float64], waited: NDArray[np.float64], market: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the expected share of missing labels that arrive by the next edge, for an ad group.

    The mean of delay curves (the market's, and exponential ones of short to long means) by their posterior
    probability. Shrinkage towards the market alone hides late labels that are rare in the whole market.

    Args:
        came: labels of the ad group by edge.
        waited: samples of the ad group by edge, labels included.
        market: the same share in the whole market.
    """
    survivors = np.cumprod(1.0 - np.minimum(market, 0.95))
    total = 1.0 - survivors[-1]
    curves = np.vstack([-np.diff(survivors, prepend=1.0) / total, _CURVES])
    before = np.cumsum(curves, axis=1) - curves
    rates = np.full((len(curves), 1), total)
    hazards = rates * curves / (1.0 - rates * before)
    for _ in range(_RATE_STEPS):
        expected = (waited * hazards).sum(axis=1, keepdims=True)
        rates = np.clip(rates * (came.sum() + 2.0) / (expected + 2.0), 1e-6, 0.95)
        hazards = np.clip(rates * curves / (1.0 - rates * before), 1e-9, 0.95)
    evidence = (came * np.log(hazards) + (waited - came) * np.log1p(-hazards)).sum(axis=1)
    priors = np.full(len(curves), (1.0 - _MARKET_WEIGHT) / len(_MEANS_S))
    priors[0] = _MARKET_WEIGHT
    weights = priors * np.exp(evidence - evidence.max())
    mean: NDArray[np.float64] = (weights[:, None] * hazards).sum(axis=0) / weights.sum()
    return mean


class LabelDelays:
    """Samples of one head without a label, and the label delay per ad group."""

    def __init__(self, prior_rate: float) -> None:
        self.prior_rate = prior_rate
        self.at_edge: list[deque[tuple[int, str]]] = [deque() for _ in EDGES_S]
        self.waited = np.zeros((0, len(EDGES_S)))
        self.came = np.zeros((0, len(EDGES_S)))
        self.all_waited = np.full(len(EDGES_S), 4.0)
        # Prior: in each interval a fifth of the missing labels arrive.
        self.all_came = self.all_waited * prior_rate * np.array([0.2 * 0.8**i for i in range(len(EDGES_S))])
        self.shares: dict[int, list[float]] = {}

    def grow(self, groups: int) -> None:
        if len(self.waited) < groups:
            more = ((0, groups - len(self.waited)), (0, 0))
            self.waited, self.came = np.pad(self.waited, more), np.pad(self.came, more)

    def add(self, started_at: int, name: str) -> None:
        self.at_edge[0].append((started_at, name))

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

        Counting it at once would show only arrivals at edges that no other sample has reached.
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
        last = next((i for i, age_s in enumerate(EDGES_S) if window_s <= age_s), len(EDGES_S) - 1)
        return 1.0 if edge >= last else min(shares[edge] / max(shares[last], 1e-9), 1.0)

    def refit(self, fade: float) -> None:
        """Decay the counts per ad group, and invalidate the shares."""
        self.waited *= fade
        self.came *= fade
        self.shares.clear()

    def state(self) -> Any:
        return [
            [list(queue) for queue in self.at_edge],
            self.all_waited.tolist(),
            self.all_came.tolist(),
            self.waited.tolist(),
            self.came.tolist(),
            self.shares,
        ]

    def restore(self, state: Any) -> None:
        edges, all_waited, all_came, waited, arrived, shares = state
        self.at_edge = [deque((at, name) for at, name in edge) for edge in edges]
        self.all_waited, self.all_came = np.array(all_waited), np.array(all_came)
        self.waited = np.array(waited).reshape(-1, len(EDGES_S))
        self.came = np.array(arrived).reshape(-1, len(EDGES_S))
        self.shares = {int(key): list(value) for key, value in shares.items()}
