"""State of a marketplace: weights, viewers, impressions, counts and settings."""

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contatto.learning.budgets import Traffic
from contatto.learning.calibration import LabelDelays
from contatto.learning.columns import (
    BETWEEN,
    BETWEEN_VALUES,
    BIAS,
    CLICK,
    CONVERSATION,
    DAY_S,
    F_AD,
    F_AD_FEATURE,
    F_BETWEEN,
    F_CONTEXT,
    F_CONTEXT_AD,
    F_CONTEXT_FEATURE,
    F_HISTORY,
    F_STACKED,
    F_TIME,
    F_VIEWER,
    FAMILIES,
    FIRST_AGAIN,
    HEADS,
    HEADS_AGAIN,
    KNOWN_ADVERTISERS,
    LEAD,
    MOST_AD_FEATURES,
    MOST_CONTEXT,
    OUTCOME,
    RECENT_ADS,
    S_BAD_WEIGHT,
    S_EXPLORE,
    S_FARM_PRIOR,
    S_FLOOR_VARIANCE,
    S_RANDOM,
    S_SPAM_POWER,
    S_TEMPERATURE,
    STACKED,
    V_DECAYED_AT,
    V_REQUESTED_AT,
    VIEWER_COLUMNS,
)
from contatto.learning.columns import SETTINGS as SETTING_COLUMNS
from contatto.learning.features import FeatureFields, name_hash, slot_of
from contatto.learning.groups import Groups
from contatto.learning.impressions import FrequencyCounter, Impression, Records, Snapshots
from contatto.learning.latent_classes import LatentClasses
from contatto.learning.learner import FIRST_PRIOR, forget

MEANS_AGAIN: Final = slice(FIRST_AGAIN, FIRST_AGAIN + HEADS_AGAIN)
"""Columns with the means of the batch-trained heads."""
FIRST_MEANS: Final = (-3.5, -1.0, -1.0, -2.0, -2.0)
"""Prior scores of the heads."""
FIRST_SPREAD: Final[dict[int, float | tuple[float, ...]]] = {
    BIAS: 4.0, F_CONTEXT: 0.015, F_HISTORY: (0.02, 0.05, 0.02, 0.1, 0.03), F_TIME: 0.003, F_AD: 0.06,
    F_AD_FEATURE: 0.015, F_CONTEXT_AD: (0.006, 0.006, 0.012, 0.006, 0.006),
    F_CONTEXT_FEATURE: (0.009, 0.009, 0.018, 0.009, 0.009),
    F_BETWEEN: 0.015, F_VIEWER: (0.1, 0.2, 0.5, 0.8, 0.3), F_STACKED: 0.25,
}  # fmt: skip
"""Prior variance of the weights by family, and by head where they differ.

Viewers differ most in spam and leads. History predicts spam best: a smaller variance would hide click farms.
Leads depend most on the interaction of request and ad, so its variance is larger there. A larger one for
history would overfit the few leads of the first day.
"""
FITS: Final = (CLICK, CONVERSATION, LEAD)
"""Heads that depend on the fit of ad and viewer, …"""
HOW_ALIKE: Final = 0.5
"""… with this prior correlation between their weights of a request and ad interaction."""
_MOST_WEIGHTS: Final = (MOST_CONTEXT + 2) * (MOST_AD_FEATURES + 2) + 2 * BETWEEN + 4
_GROUP_TRUST: Final = 15.0
"""Weight of the market's calibration in that of an ad group, in expected events."""


class Learned:
    """Weights of the online learner; ``again`` are the means of batch training."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.shift = np.uint64(64 - bits)
        self.table = np.zeros((1 << bits, 2 * HEADS), np.float32)
        self.family_of = np.full(1 << bits, FAMILIES, np.uint8)
        self.spread = np.zeros((FAMILIES, HEADS))
        for family, variance in FIRST_SPREAD.items():
            self.spread[family] = variance
        self.slots = np.zeros(_MOST_WEIGHTS, np.int64)
        self.weights = np.zeros(_MOST_WEIGHTS)
        self.families = np.zeros(_MOST_WEIGHTS, np.int64)
        self.stack = np.zeros(STACKED)
        self.names = np.zeros((BETWEEN, BETWEEN_VALUES), np.uint64)
        for kind in range(BETWEEN):
            for value in range(BETWEEN_VALUES):
                self.names[kind, value] = name_hash("between", str(kind), str(value))
        bias = slot_of(np.uint64(0x5851F42D4C957F2D), self.shift)
        self.table[bias, :HEADS] = FIRST_MEANS
        self.table[bias, HEADS:] = FIRST_SPREAD[BIAS]
        self.again = np.zeros((1 << bits, HEADS_AGAIN), np.float32)
        self.again[bias] = FIRST_MEANS[MEANS_AGAIN]
        self.family_of[bias] = BIAS

    def prior_covariances(self) -> NDArray[np.float64]:
        """Return the prior covariance of the weights of a feature, by family, head and head."""
        sizes = np.sqrt(self.spread[:, MEANS_AGAIN])
        near = np.tile(np.eye(HEADS_AGAIN), (FAMILIES, 1, 1))
        for head, partner in permutations(FITS, 2):
            near[[F_CONTEXT_AD, F_CONTEXT_FEATURE], head - FIRST_AGAIN, partner - FIRST_AGAIN] = HOW_ALIKE
        covariance: NDArray[np.float64] = near * sizes[:, :, None] * sizes[:, None, :]
        return covariance

    def forget(self, share: float) -> None:
        forget(self.table, self.family_of, self.spread, share)


class Viewers:
    """Viewers with their history and their own effect on each head."""

    def __init__(self) -> None:
        self.by_id: dict[str, int] = {}
        self.table = np.zeros((1024, VIEWER_COLUMNS))
        self.recent = np.full((1024, RECENT_ADS), -1, np.int32)
        self.shown = np.zeros((1024, RECENT_ADS), np.float32)
        self.weekly = np.zeros((1024, RECENT_ADS), np.float32)
        self.shown_at = np.zeros((1024, RECENT_ADS))
        self.known = np.full((1024, KNOWN_ADVERTISERS), -1, np.int32)
        self.flags = np.zeros((1024, KNOWN_ADVERTISERS), np.uint8)
        self.again = np.zeros((1024, HEADS_AGAIN), np.float32)

    def row_of(self, viewer_id: str, now_s: float) -> int:
        """Return the row of a viewer; add a missing one."""
        row = self.by_id.get(viewer_id)
        if row is None:
            row = self.by_id[viewer_id] = len(self.by_id)
            if row >= len(self.table):
                for name in (*VIEWER_ARRAYS, "again"):
                    array: NDArray[Any] = getattr(self, name)
                    fill = -1 if name in ("recent", "known") else 0
                    larger = np.full((2 * len(array), *array.shape[1:]), fill, array.dtype)
                    larger[: len(array)] = array
                    setattr(self, name, larger)
            self.table[row, V_DECAYED_AT] = now_s
            self.table[row, V_REQUESTED_AT] = -1e9
        return row

    def note_shown(self, row: int, ad: int, now_s: float) -> None:
        """Count a view of an ad; a new ad replaces the least recent one."""
        recent = self.recent[row].tolist()
        place = recent.index(ad) if ad in recent else int(self.shown_at[row].argmin())
        day, week = 0.0, 0.0
        if recent[place] == ad:
            days = (now_s - float(self.shown_at[row, place])) / DAY_S
            day = float(self.shown[row, place]) * 0.5**days
            week = float(self.weekly[row, place]) * 0.5 ** (days / 7.0)
        self.recent[row, place], self.shown_at[row, place] = ad, now_s
        self.shown[row, place] = (-1.0 if day < 0.0 else 1.0) * (abs(day) + 1.0)
        self.weekly[row, place] = week + 1.0


VIEWER_ARRAYS: Final = ("table", "recent", "shown", "weekly", "shown_at", "known", "flags")


class CalibrationCounts:
    """Decayed actual and expected outcomes by ad group and head, with shrinkage to the market."""

    def __init__(self) -> None:
        self.came = np.zeros((0, HEADS))
        self.expected = np.zeros((0, HEADS))
        self.tried = np.zeros((0, HEADS))

    def grow(self, groups: int) -> None:
        more = ((0, groups - len(self.came)), (0, 0))
        self.came, self.expected, self.tried = (
            np.pad(counts, more) for counts in (self.came, self.expected, self.tried)
        )

    def expect(self, group: int, head: int, amount: float, tries: float) -> None:
        self.expected[group, head] += amount
        self.tried[group, head] += tries

    def count(self, group: int, head: int, times: float = 1.0) -> None:
        self.came[group, head] += times

    def fade(self, shares: NDArray[np.float64]) -> None:
        for counts in (self.came, self.expected, self.tried):
            counts *= shares

    def factors(self) -> NDArray[np.float64]:
        """Return the calibration factors of the odds, by ad group and head."""
        trust = _GROUP_TRUST
        whole = (self.came.sum(axis=0) + trust) / (self.expected.sum(axis=0) + trust)
        ratio = (self.came + trust * whole) / (self.expected + trust)
        mean = np.where(self.tried > 0.0, self.expected / np.maximum(self.tried, 1e-9), 0.05)
        mean = np.minimum(mean, 0.9)
        lifted = np.minimum(mean * ratio, 0.98)
        odds: NDArray[np.float64] = lifted / (1.0 - lifted) * (1.0 - mean) / np.maximum(mean, 1e-9)
        return np.clip(odds, 0.1, 10.0)


type WorkSlices = Generator[None]

FIRST_USUAL: Final = (0.03, 0.3, 0.3, 0.15, 0.15)
"""Prior rates of the heads."""
VIEW: Final = -1
"""Event of a view, beside the heads."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Setting that `--setting NAME=VALUE` changes."""

    value: float
    least: float
    most: float
    says: str


SETTINGS: Final = {
    "spam_power": Setting(
        0.5, 0.0, 4.0, "How much spam chats are avoided: the score times (1 - p_spam) to this power."
    ),
    "bad_weight": Setting(0.5, 0.0, 1.0, "How much leads that will be found unqualified count less."),
    "temperature": Setting(0.03, 0.001, 1.0, "How near two offers must be to be drawn by lot."),
    "explore": Setting(
        0.003, 0.0, 1.0, "The share of requests that go to any ad whose offer reaches the floor."
    ),
    "forget": Setting(0.02, 0.0, 1.0, "How much less sure every weight gets in a day."),
    "floor_variance": Setting(
        0.004, 0.0, 1.0, "The least variance of a weight, as a share of that of an unseen one."
    ),
    "table_bits": Setting(20, 12, 26, "Weights are kept in a table of two to this power."),
    "click_wait_s": Setting(600, 10, 86_400, "After so long without a click a view counts as not clicked."),
    "promise_s": Setting(
        900, 10, 86_400, "So long a place in the budget is kept for a view that did not come yet."
    ),
}  # fmt: skip


class MarketState:
    """State of a marketplace."""

    def __init__(self, seed: int, *, is_random: bool, settings: dict[str, float]) -> None:  # noqa: PLR0915
        self.seed = seed
        self.is_random = is_random
        self.settings = {name: settings.get(name, setting.value) for name, setting in SETTINGS.items()}
        self.asked_fields = FeatureFields("request")
        self.ad_fields = FeatureFields("ad")
        self.groups = Groups()
        self.caps = FrequencyCounter()
        self.learned = Learned(int(self.settings["table_bits"]))
        self.viewers = Viewers()
        self.classes = LatentClasses()
        self.work: WorkSlices | None = None
        """Training in slices between requests."""
        self.viewers.row_of("", 0.0)  # row 0: viewers without consent
        self.records = Records()
        self.snapshots = Snapshots()
        self.calibration = CalibrationCounts()
        self.traffic = Traffic()
        self.talks = LabelDelays(0.3)
        self.leads = LabelDelays(0.2)
        self.spam = LabelDelays(0.2)
        self.now = 0
        self.stepped_at = 0
        self.daily_at = 0
        self.relearned_at = 0
        self.clicks_then = 0
        self.requests = 0
        self.first_asked = 0
        self.click_wait = self.settings["click_wait_s"]
        self.promise_wait = self.settings["promise_s"]
        self.views_seen = 0.0
        self.views_lost = 0.0
        self.asked_before = np.zeros(0)
        self.seen: set[int] = set()
        self.seen_order: deque[tuple[int, int]] = deque()
        self.asked: dict[str, tuple[str, bytes]] = {}
        self.talk_of: dict[tuple[int, int], str] = {}
        self.lead_of: dict[tuple[int, int], str] = {}
        self.happened: list[tuple[int, Impression]] | None = None
        """Events of impressions for evaluation: a head, or VIEW; None without a listener."""
        self.rates = np.zeros(8)
        self.usual = np.array(FIRST_USUAL)
        self.clicks = 0.0
        """Decayed clicks, …"""
        self.farm_clicks = 0.0
        """… and those by suspected click farms."""
        self.numbers = np.zeros(SETTING_COLUMNS)
        self.numbers[S_SPAM_POWER] = self.settings["spam_power"]
        self.numbers[S_BAD_WEIGHT] = self.settings["bad_weight"]
        self.numbers[S_TEMPERATURE] = self.settings["temperature"]
        self.numbers[S_EXPLORE] = self.settings["explore"]
        self.numbers[S_FLOOR_VARIANCE] = self.settings["floor_variance"]
        self.numbers[S_RANDOM] = float(is_random)
        self.numbers[S_FARM_PRIOR] = FIRST_PRIOR
        self.hashes = np.zeros(MOST_CONTEXT, np.uint64)
        self.values = np.zeros(MOST_CONTEXT)
        self.kinds = np.zeros(MOST_CONTEXT, np.int64)
        self.base = np.zeros(8)
        self.between = np.zeros((2, BETWEEN), np.uint64)
        self.chosen = np.zeros(BETWEEN, np.uint64)
        self.outcome = np.zeros(OUTCOME)

    def note(self, event: int, impression: Impression) -> None:
        """Record an event of an impression for evaluation."""
        if self.happened is not None:
            self.happened.append((event, impression))

    def identity(self) -> list[object]:
        """Return seed, policy and settings, which a snapshot must share."""
        return [self.seed, self.is_random, [list(item) for item in sorted(self.settings.items())]]
