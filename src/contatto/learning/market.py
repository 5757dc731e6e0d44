"""A marketplace in memory: weights, viewers, impressions, counts and settings."""

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
"""Where a row of weights has the means of what is learned again, …"""
VARIANCES_AGAIN: Final = slice(HEADS + FIRST_AGAIN, HEADS + FIRST_AGAIN + HEADS_AGAIN)
"""… and where their variances."""
FIRST_MEANS: Final = (-3.5, -1.0, -1.0, -2.0, -2.0)
"""Scores of the heads before anything was seen."""
FIRST_SPREAD: Final[dict[int, float | tuple[float, ...]]] = {
    BIAS: 4.0, F_CONTEXT: 0.015, F_HISTORY: (0.02, 0.05, 0.02, 0.1, 0.03), F_TIME: 0.003, F_AD: 0.06,
    F_AD_FEATURE: 0.015, F_CONTEXT_AD: (0.006, 0.006, 0.012, 0.006, 0.006),
    F_CONTEXT_FEATURE: (0.009, 0.009, 0.018, 0.009, 0.009),
    F_BETWEEN: 0.015, F_VIEWER: (0.1, 0.2, 0.5, 0.8, 0.3), F_STACKED: 0.25,
}  # fmt: skip
"""The variance expected of a weight of each family before anything was seen, by head where they differ.

People differ most in whether they send spam and whether they ever leave a contact. Whether they send spam,
what they did before tells most of it: with less, those of a click farm stay who their features make them look
like. Who leaves a contact hangs most on what is offered to whom, so there the crosses of requests and ads are
larger; were what people did before so too, it would be most of what the first day's few leads seem to tell.
"""
FITS: Final = (CLICK, CONVERSATION, LEAD)
"""Questions whose answer hangs on how well an ad fits who sees it, …"""
HOW_ALIKE: Final = 0.5
"""… so that the weights of a cross of a request and an ad are correlated so much between any two of them."""
_MOST_WEIGHTS: Final = (MOST_CONTEXT + 2) * (MOST_AD_FEATURES + 2) + 2 * BETWEEN + 4
_GROUP_TRUST: Final = 15.0
"""How many expected events the whole market's calibration is worth in an ad group."""


class Learned:
    """The table of weights with the variances of its families; ``again`` see `relearning`."""

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

    def alike(self) -> NDArray[np.float64]:
        """Variances and covariances expected of the weights of a feature: by family, head and head."""
        sizes = np.sqrt(self.spread[:, MEANS_AGAIN])
        near = np.tile(np.eye(HEADS_AGAIN), (FAMILIES, 1, 1))
        for one, other in permutations(FITS, 2):
            near[[F_CONTEXT_AD, F_CONTEXT_FEATURE], one - FIRST_AGAIN, other - FIRST_AGAIN] = HOW_ALIKE
        found: NDArray[np.float64] = near * sizes[:, :, None] * sizes[:, None, :]
        return found

    def forget(self, share: float) -> None:
        forget(self.table, self.family_of, self.spread, share)


class Viewers:
    """Those who were asked for: their history and their own effect on each head."""

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
        """The row of a viewer, made if there is none."""
        row = self.by_id.get(viewer_id)
        if row is None:
            row = self.by_id[viewer_id] = len(self.by_id)
            if row >= len(self.table):
                self._grow()
            self.table[row, V_DECAYED_AT] = now_s
            self.table[row, V_REQUESTED_AT] = -1e9
        return row

    def note_shown(self, row: int, ad: int, now_s: float) -> None:
        """Count a view of an ad; it takes the place of the ad that was shown longest ago."""
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

    def _grow(self) -> None:
        had = len(self.table)
        for name in (*VIEWER_ARRAYS, "again"):
            old: NDArray[Any] = getattr(self, name)
            made = np.full((2 * had, *old.shape[1:]), -1 if name in ("recent", "known") else 0, old.dtype)
            made[:had] = old
            setattr(self, name, made)


VIEWER_ARRAYS: Final = ("table", "recent", "shown", "weekly", "shown_at", "known", "flags")


class CalibrationCounts:
    """What came against what was expected, by ad group and head, fading; shrunk to the whole market."""

    def __init__(self) -> None:
        self.came = np.zeros((0, HEADS))
        self.expected = np.zeros((0, HEADS))
        self.tried = np.zeros((0, HEADS))

    def grow(self, groups: int) -> None:
        more = ((0, groups - len(self.came)), (0, 0))
        self.came, self.expected, self.tried = (
            np.pad(each, more) for each in (self.came, self.expected, self.tried)
        )

    def expect(self, group: int, head: int, amount: float, tries: float) -> None:
        self.expected[group, head] += amount
        self.tried[group, head] += tries

    def count(self, group: int, head: int, times: float = 1.0) -> None:
        self.came[group, head] += times

    def fade(self, shares: NDArray[np.float64]) -> None:
        for each in (self.came, self.expected, self.tried):
            each *= shares

    def factors(self) -> NDArray[np.float64]:
        """By what the odds of each head are multiplied in each ad group."""
        trust = _GROUP_TRUST
        whole = (self.came.sum(axis=0) + trust) / (self.expected.sum(axis=0) + trust)
        ratio = (self.came + trust * whole) / (self.expected + trust)
        mean = np.where(self.tried > 0.0, self.expected / np.maximum(self.tried, 1e-9), 0.05)
        mean = np.minimum(mean, 0.9)
        lifted = np.minimum(mean * ratio, 0.98)
        found: NDArray[np.float64] = np.clip(
            lifted / (1.0 - lifted) * (1.0 - mean) / np.maximum(mean, 1e-9), 0.1, 10.0
        )
        return found


type WorkSlices = Generator[None]

FIRST_USUAL: Final = (0.03, 0.3, 0.3, 0.15, 0.15)
"""How likely the answer to each head is yes, before anything was seen."""
VIEW: Final = -1
"""An ad was seen, which no head foretells."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A number that `--setting NAME=VALUE` changes."""

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
    """The state of a marketplace."""

    def __init__(self, seed: int, *, is_random: bool, settings: dict[str, float]) -> None:  # noqa: PLR0915
        self.seed = seed
        self.is_random = is_random
        self.settings = {name: settings.get(name, each.value) for name, each in SETTINGS.items()}
        self.asked_fields = FeatureFields("request")
        self.ad_fields = FeatureFields("ad")
        self.groups = Groups()
        self.caps = FrequencyCounter()
        self.learned = Learned(int(self.settings["table_bits"]))
        self.viewers = Viewers()
        self.classes = LatentClasses()
        self.work: WorkSlices | None = None
        """What is done in slices between requests."""
        self.viewers.row_of("", 0.0)  # nobody: what is thought of a stranger
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
        """What happened of impressions: the head that foretold it, or SEEN; None where nobody counts it."""
        self.rates = np.zeros(8)
        self.usual = np.array(FIRST_USUAL)
        self.clicks = 0.0
        """Clicks lately, …"""
        self.farm_clicks = 0.0
        """… and how many of them farms made, as far as that is known."""
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

    def note(self, what: int, impression: Impression) -> None:
        """Remember that something happened of an impression, for who counts it."""
        if self.happened is not None:
            self.happened.append((what, impression))

    def identity(self) -> list[object]:
        """What must be the same for a saved state to go on."""
        return [self.seed, self.is_random, [list(each) for each in sorted(self.settings.items())]]
