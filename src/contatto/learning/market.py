"""State of a marketplace: budgets, ad groups and ads, weights, viewers, counts and settings."""

import math
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from contatto.learning import columns as col
from contatto.learning.features import FeatureFields, Hashed, LatentClasses, list_features, name_hash, slot_of
from contatto.learning.impressions import (
    FrequencyCounter,
    Impression,
    LabelDelays,
    Records,
    Snapshots,
    add_rows,
)
from contatto.learning.learner import FIRST_PRIOR, OF_FIT
from contatto.learning.model import AdGroupLine, AdLine, LineBudgetMode, LineGoal, Status

UNITS: Final = 1_000
"""Spend is counted in thousandths of a micro: prices are for a thousand views."""
MOST_OF_DAY: Final = 1.25
"""Limit of a day's charges, in daily budgets."""
HORIZON_S: Final = 1_800.0
"""Time that pacing looks ahead."""
NO_END_S: Final = 7.0 * col.DAY_S
"""Assumed time until a total budget without an end is spent."""
FAST_S: Final = 3 * 3_600.0
"""Time in which fast pacing spends the budget."""


@dataclass(slots=True)
class BudgetPlan:
    """Planned spend between two times in units, on top of ``spent``."""

    from_s: float = 0.0
    until_s: float = 0.0
    spent: float = 0.0
    amount: float = 0.0


def day_bounds(ts: int, timezone: str) -> tuple[int, int]:
    """Return the start of the local day and of the next one, in microseconds; a day may have 23 hours."""
    zone = ZoneInfo(timezone)
    local = datetime.fromtimestamp(ts // col.SECOND, zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    following = (midnight.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=zone)
    return round(midnight.timestamp()) * col.SECOND, round(following.timestamp()) * col.SECOND


def limit_units(line: AdGroupLine) -> float:
    """Return the limit of charges of the day, or in total; infinite without a budget."""
    if line.budget_mode is LineBudgetMode.INFINITE or line.budget_micros is None:
        return float("inf")
    most = MOST_OF_DAY if line.budget_mode is LineBudgetMode.DAY else 1.0
    return float(int(line.budget_micros * most) * UNITS)


def goal_units(line: AdGroupLine) -> float:
    """Return the planned spend of the day, or in total."""
    if line.budget_mode is LineBudgetMode.INFINITE or line.budget_micros is None:
        return float("inf")
    return float(line.budget_micros * UNITS)


def find_multiplier(
    prices: NDArray[np.float64], counts: NDArray[np.float64], requests: float, units: float
) -> float:
    """Return the smallest multiplier that spends some units per request on a landscape.

    ``prices`` and ``counts`` are the total price and number of its requests, by bin of the lowest winning
    multiplier. ``requests`` is the number of eligible requests.
    """
    if requests <= 0.0 or units <= 0.0:
        return 0.0
    total = np.cumsum(prices)
    need = units * requests
    place = int(np.searchsorted(total, need))
    if place >= len(total):
        filled = np.flatnonzero(counts)
        return multiplier_at(float(filled[-1]) + 2.0) if len(filled) else 0.0
    before = float(total[place - 1]) if place else 0.0
    inside = (need - before) / max(float(total[place]) - before, 1e-9)
    return multiplier_at(place + min(inside, 1.0))


def find_limit(prices: NDArray[np.float64], target: float) -> float:
    """Return the largest multiplier with a mean cost per conversion at the target.

    In a second-price auction a bid at the cost target pays less than the target. A request costs its lowest
    winning multiplier per conversion, so the landscape gives the mean cost of all won requests. The result is
    between the target and 1.5 times the target.
    """
    conversions = prices / _CENTRES
    average = np.cumsum(prices) / np.maximum(np.cumsum(conversions), 1e-300)
    reached = multiplier_at(float(np.searchsorted(average, target, side="right")))
    return min(max(reached, target), 1.5 * target) if conversions.any() else target


def spend_at(prices: NDArray[np.float64], multiplier: float) -> float:
    """Return the total price of the requests that a multiplier wins; see `find_multiplier`."""
    if multiplier <= 0.0:
        return 0.0
    place = (math.log2(multiplier) - col.LOWEST_OCTAVE) * col.BINS_AN_OCTAVE
    whole = min(max(int(place), 0), len(prices))
    inside = float(prices[whole]) * (place - whole) if whole < len(prices) and place > 0.0 else 0.0
    return float(prices[:whole].sum()) + inside


def find_quantile(counts: NDArray[np.float64], share: float) -> float:
    """Return the multiplier that wins a share of all requests."""
    total = np.cumsum(counts)
    if total[-1] <= 0.0:
        return 0.0
    return multiplier_at(float(np.searchsorted(total, share * total[-1])) + 1.0)


_CENTRES: Final = np.exp2((np.arange(col.BINS) + 0.5) / col.BINS_AN_OCTAVE + col.LOWEST_OCTAVE)


def multiplier_at(place: float) -> float:
    """Return the multiplier at a position on the landscape's axis of bins."""
    return float(2.0 ** (place / col.BINS_AN_OCTAVE + col.LOWEST_OCTAVE))


SLOTS: Final = 96
SLOT_S: Final = 900
_NEWEST: Final = 0.4
"""Weight of the newest day in the curve."""
_USUAL_PEAK: Final = 20.0
_PEAK_TRUST: Final = 2.0
"""Prior of the hour with most requests, by local time: von Mises with this concentration."""
_PEAKS: Final = np.arange(24.0)
_DEPTHS: Final = np.array([0.2, 0.5, 0.8])
"""Half of the difference of the busiest and the quietest hour, as a multiple of the mean."""
_MOST_EVIDENCE: Final = 300.0
"""Requests that count as evidence of a daily curve: it is no wave in detail."""

Curve = NDArray[np.float64]


@dataclass(slots=True)
class Traffic:
    """Requests by country and quarter hour of the UTC day, averaged over days."""

    today: Curve = field(default_factory=lambda: np.zeros((8, SLOTS)))
    mean: Curve = field(default_factory=lambda: np.zeros((8, SLOTS)))
    weight: Curve = field(default_factory=lambda: np.zeros(SLOTS))
    day: int = -1
    began_s: int = 0
    now_s: int = 0

    def count(self, country: int, now_s: int) -> None:
        day, second = divmod(now_s, col.DAY_S)
        self.now_s = now_s
        if day != self.day:
            if self.day < 0:
                self.began_s = now_s
            else:
                first = (
                    -(-(self.began_s % col.DAY_S) // SLOT_S) if self.began_s // col.DAY_S == self.day else 0
                )
                observed = np.arange(SLOTS) >= first
                share = np.where(observed, np.where(self.weight > 0.0, _NEWEST, 1.0), 0.0)
                self.mean += share * (self.today - self.mean)
                self.weight[observed] += 1.0
            self.today[:] = 0.0
            self.day = day
        if country >= len(self.today):
            more = ((0, country + 8 - len(self.today)), (0, 0))
            self.today, self.mean = np.pad(self.today, more), np.pad(self.mean, more)
        self.today[country, second // SLOT_S] += 1.0

    def curve_of(self, countries: NDArray[np.bool_], offset_s: float = 0.0) -> Curve:
        """Return the smoothed requests of these countries in each quarter hour of a UTC day.

        Slots that no day has shown yet follow the curve of `expect_day` for a time zone with this UTC offset.
        """
        served = np.flatnonzero(countries[: len(self.mean)])
        curve: Curve = self.mean[served].sum(axis=0)
        is_known, begins_s = self.weight > 0.0, self.day * col.DAY_S + np.arange(SLOTS) * SLOT_S
        is_new = ~is_known & (begins_s >= self.began_s) & (begins_s + SLOT_S <= self.now_s)
        curve[is_new] = self.today[served].sum(axis=0)[is_new]
        is_known |= is_new
        expected = expect_day(curve, is_known, offset_s)
        if not curve.any():
            return expected
        curve = np.where(is_known, curve, expected)
        curve = 0.5 * curve + 0.25 * (np.roll(curve, 1) + np.roll(curve, -1))
        return np.asarray(curve + 0.01 * expected.mean())


def expect_day(curve: Curve, is_known: NDArray[np.bool_], offset_s: float) -> Curve:
    """Return the daily curve that the known slots of ``curve`` let expect.

    It is the mean of waves with different peaks and depths, by their posterior given the known slots.
    """
    hours = (np.arange(SLOTS) + 0.5) * SLOT_S / 3_600 + offset_s / 3_600
    waves = 1.0 + _DEPTHS[:, None, None] * np.cos((hours - _PEAKS[:, None]) * (np.pi / 12.0))
    waves = waves.reshape(-1, SLOTS)
    evidence = np.tile(np.cos((_PEAKS - _USUAL_PEAK) * (np.pi / 12.0)), len(_DEPTHS)) * _PEAK_TRUST
    total = float(curve[is_known].sum())
    if total > 0.0:
        waves *= total / waves[:, is_known].sum(axis=1, keepdims=True)
        weight = min(_MOST_EVIDENCE / total, 1.0)
        evidence += weight * (np.log(waves[:, is_known]) @ curve[is_known])
    chances = np.exp(evidence - evidence.max())
    return np.asarray(chances @ waves / chances.sum())


def amount_between(cumulated: Curve, from_s: float, to_s: float) -> float:
    """Return the area under a repeating daily curve between two times (seconds since 1970).

    ``cumulated`` has its sums up to each slot, from 0 on.
    """
    amounts = []
    for at_s in (from_s, to_s):
        days, second = divmod(at_s, col.DAY_S)
        slot, into = divmod(second, SLOT_S)
        place = int(slot)
        step = float(cumulated[place + 1] - cumulated[place])
        amounts.append(float(days * cumulated[SLOTS] + cumulated[place] + step * into / SLOT_S))
    return amounts[1] - amounts[0]


HALF_LIFE: Final = 1_500.0
"""Half-life of the price landscape, in requests."""


@dataclass(slots=True)
class AuctionGroup:
    """Ad group with its goal, spend and results; spend is in units (see `UNITS`).

    ``promised`` is the price of decisions that wait for their view. ``planned`` is the planned spend per
    eligible request, and ``correction`` its factor against a steady pacing error. ``paced`` is the multiplier
    of the budget plan; ``is_paced`` is False where the cost target sets another. ``cost_factor`` corrects
    the bid limit by the actual cost. ``expected`` and ``scored`` are results of views since the last
    step, ``lately_expected`` and ``lately_scored`` their decayed sums. ``lately_spent`` is in micros.
    """

    line: AdGroupLine
    number: int
    day_from: int = 0
    day_until: int = 0
    spent_day: int = 0
    spent_ever: int = 0
    promised: int = 0
    plan: BudgetPlan = field(default_factory=BudgetPlan)
    views: int = 0
    clicks: int = 0
    conversations: int = 0
    spam: int = 0
    leads: int = 0
    predicted: float = 0.0
    began_at: int = 0
    planned: float = 0.0
    spent_before: float = 0.0
    correction: float = 1.0
    paced: float = 0.0
    is_paced: bool = False
    cost_factor: float = 1.0
    lately_spent: float = 0.0
    lately_expected: float = 0.0
    lately_scored: float = 0.0
    expected: float = 0.0
    scored: float = 0.0
    ahead: float = math.inf
    """Limit of the spend until the next step of pacing."""
    campaign_plan: BudgetPlan = field(default_factory=BudgetPlan)
    """Plan of the campaign budget, stored with the first serving ad group."""
    campaign_paced: float = 0.0

    @property
    def counted(self) -> int:
        """Spend under the budget: of the day, or in total."""
        return self.spent_day if self.line.budget_mode is LineBudgetMode.DAY else self.spent_ever

    def earned(self) -> int:
        """Return the conversions by the goal."""
        return self.leads if self.line.goal is LineGoal.LEAD else self.conversations


SEVERAL: Final = 2
"""Number of ads from which on the advertiser is a feature of each."""
MOST_SETS: Final = 32
"""Size of the cache of row sets."""


class RowIndex(dict[int, int]):
    """Cache of rows by the API's numbers. Raises KeyError for an unknown number."""

    def __init__(self, by_id: dict[str, int]) -> None:
        super().__init__()
        self._by_id = by_id
        self._sets: dict[tuple[int, ...], NDArray[np.int64]] = {}

    def rows_of(self, numbers: Iterable[int]) -> NDArray[np.int64]:
        """Return the rows of some numbers; requests repeat the same sets."""
        key = tuple(numbers)
        rows = self._sets.get(key)
        if rows is None:
            if len(self._sets) >= MOST_SETS:
                self._sets.clear()
            rows = np.fromiter(map(self.__getitem__, key), np.int64, len(key))
            self._sets[key] = rows
        return rows

    def __missing__(self, number: int) -> int:
        place = self[number] = self._by_id[str(number)]
        return place


@dataclass
class Groups:
    """Tables of all ad groups and ads.

    ``prices`` and ``counts`` are the price landscape, by ad group and bin. ``stamps``, ``sums``, ``able``,
    ``offers``, ``raws`` and ``best_of`` are scratch of an auction.
    """

    groups: list[AuctionGroup] = field(default_factory=list)
    by_id: dict[str, int] = field(default_factory=dict)
    ad_ids: list[str] = field(default_factory=list)
    ad_by_id: dict[str, int] = field(default_factory=dict)
    ad_lines: list[AdLine] = field(default_factory=list)
    advertisers: dict[str, int] = field(default_factory=dict)
    countries: dict[str, int] = field(default_factory=lambda: {"": 0})
    features: dict[int, int] = field(default_factory=dict)
    view_rate: float = 1.0
    table: NDArray[np.float64] = field(default_factory=lambda: np.zeros((8, col.GROUP_COLUMNS)))
    allowed: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((8, 8), np.uint8))
    prices: NDArray[np.float64] = field(default_factory=lambda: np.zeros((8, col.BINS)))
    counts: NDArray[np.float64] = field(default_factory=lambda: np.zeros((8, col.BINS)))
    best_of: NDArray[np.float64] = field(default_factory=lambda: np.zeros((8, 2)))
    ads: NDArray[np.int64] = field(default_factory=lambda: np.zeros((8, col.AD_COLUMNS), np.int64))
    ad_hashes: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(8, np.uint64))
    ad_features: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros((8, col.MOST_AD_FEATURES), np.int64)
    )
    ad_values: NDArray[np.float64] = field(default_factory=lambda: np.zeros((8, col.MOST_AD_FEATURES)))
    feature_hashes: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(8, np.uint64))
    crosses: NDArray[np.uint8] = field(default_factory=lambda: np.ones(8, np.uint8))
    stamps: NDArray[np.int64] = field(default_factory=lambda: np.zeros(8, np.int64))
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros((8, col.HEADS)))
    able: NDArray[np.int64] = field(default_factory=lambda: np.zeros(9, np.int64))
    offers: NDArray[np.float64] = field(default_factory=lambda: np.zeros(9))
    raws: NDArray[np.float64] = field(default_factory=lambda: np.zeros((9, col.RAWS)))

    def __post_init__(self) -> None:
        self.by_number, self.ad_by_number = RowIndex(self.by_id), RowIndex(self.ad_by_id)
        self.curves: dict[int, tuple[int, Curve]] = {}
        self.results_per_score: dict[LineGoal, float] = {}
        """Usual ratio by goal at this step, see `outcomes.results_per_score`."""
        self.ads_of: dict[str, list[int]] = {}
        for ad, line in enumerate(self.ad_lines):
            advertiser = self.groups[self.by_id[line.adgroup_id]].line.advertiser_id
            self.ads_of.setdefault(advertiser, []).append(ad)

    def country_of(self, name: str) -> int:
        """Return the number of a country; new ones are open to ad groups without targeting."""
        if (known_number := self.countries.get(name)) is not None:
            return known_number
        if len(self.countries) >= 1_000:
            return 0
        number = self.countries[name] = len(self.countries)
        if number >= self.allowed.shape[1]:
            self.allowed = np.pad(self.allowed, ((0, 0), (0, number)))
        for group in self.groups:
            self.allowed[group.number, number] = _serves(group.line, name)
        self.curves.clear()
        return number

    def set_group(self, line: AdGroupLine, ts: int) -> AuctionGroup:
        """Add or update an ad group."""
        number = self.by_id.get(line.adgroup_id)
        if number is None:
            number = self.by_id[line.adgroup_id] = len(self.groups)
            self.groups.append(AuctionGroup(line, number, began_at=ts))
            size = len(self.table)
            if number >= size:
                for name in ("table", "allowed", "prices", "counts", "best_of"):
                    setattr(self, name, np.pad(getattr(self, name), ((0, size), (0, 0))))
            self.table[number, col.G_CALIBRATION :] = 1.0
        group = self.groups[number]
        before, group.line = group.line, line
        for name, country in list(self.countries.items()):
            self.allowed[number, country] = _serves(line, name)
        for name in line.countries or ():
            self.country_of(name.upper())
        row = self.table[number]
        row[col.G_OPEN] = line.status is Status.ON
        row[col.G_STARTS] = (line.starts_ts or 0) / col.SECOND
        row[col.G_ENDS] = math.inf if line.ends_ts is None else line.ends_ts / col.SECOND
        row[col.G_GOAL] = 0.0 if line.goal is LineGoal.LEAD else 1.0
        row[col.G_ADVERTISER] = self.advertisers.setdefault(line.advertiser_id, len(self.advertisers))
        if before.timezone != line.timezone or not group.day_until:
            group.day_from, group.day_until = day_bounds(ts, line.timezone)
        self._set_offset(group, ts)
        group.plan, group.campaign_plan = BudgetPlan(), BudgetPlan()
        self.curves.clear()
        self.refresh(group)
        return group

    def has_line(self, line: AdGroupLine | AdLine) -> bool:
        """Report whether an ad group or ad is known in this version, apart from its time."""
        if isinstance(line, AdGroupLine):
            place = self.by_id.get(line.adgroup_id)
            current: AdGroupLine | AdLine | None = None if place is None else self.groups[place].line
        else:
            place = self.ad_by_id.get(line.ad_id)
            current = None if place is None else self.ad_lines[place]
        if current is None:
            return False
        return msgspec.structs.replace(current, ts=0) == msgspec.structs.replace(line, ts=0)

    def set_ad(self, line: AdLine, hashed: Hashed) -> int:
        """Add or update an ad.

        Responses to ads of one advertiser are correlated: with several ads the advertiser is a feature.
        """
        advertiser = self.groups[self.by_id[line.adgroup_id]].line.advertiser_id
        advertiser_ads = self.ads_of.setdefault(advertiser, [])
        ad = self.ad_by_id.get(line.ad_id)
        is_new = ad is None
        if ad is None:
            ad = self.ad_by_id[line.ad_id] = len(self.ad_ids)
            self.ad_ids.append(line.ad_id)
            self.ad_lines.append(line)
            size = len(self.ads)
            if ad >= size:
                for name in ("ads", "ad_features", "ad_values", "raws"):
                    setattr(self, name, np.pad(getattr(self, name), ((0, size), (0, 0))))
                for name in ("ad_hashes", "able", "offers"):
                    setattr(self, name, np.pad(getattr(self, name), (0, size)))
            self.ad_hashes[ad] = name_hash("ad", line.ad_id)
            advertiser_ads.append(ad)
        self.ad_lines[ad] = line
        self.ads[ad, col.A_GROUP] = self.by_id[line.adgroup_id]
        self.ads[ad, col.A_ON] = 1
        self.ads[ad, col.A_FEATURES] = 0
        added = [(ad, named, value) for named, value in zip(*hashed, strict=True)]
        if len(advertiser_ads) >= SEVERAL:
            named = name_hash("advertiser", advertiser)
            changed_ads = advertiser_ads if is_new and len(advertiser_ads) == SEVERAL else [ad]
            added += [(changed, named, 1.0) for changed in changed_ads]
        for row, named, value in added:
            count = self.ads[row, col.A_FEATURES]
            if count == col.MOST_AD_FEATURES:
                continue
            feature = self.features.setdefault(named, len(self.features))
            size = len(self.feature_hashes)
            if feature >= size:
                self.feature_hashes = np.pad(self.feature_hashes, (0, size))
                self.crosses = np.pad(self.crosses, (0, size), constant_values=1)
                self.stamps = np.pad(self.stamps, (0, size))
                self.sums = np.pad(self.sums, ((0, size), (0, 0)))
            self.feature_hashes[feature] = named
            self.ad_features[row, count] = feature
            self.ad_values[row, count] = value
            self.ads[row, col.A_FEATURES] = count + 1
        return ad

    def _set_offset(self, group: AuctionGroup, ts: int) -> None:
        local = datetime.fromtimestamp(ts // col.SECOND, ZoneInfo(group.line.timezone)).utcoffset()
        self.table[group.number, col.G_OFFSET] = local.total_seconds() if local else 0.0

    def refresh(self, group: AuctionGroup) -> None:
        """Set the available budget, limited by the plan of the next half hour.

        Early predictions change most: a fivefold rise would else spend a day's budget in an hour.
        """
        remaining = goal_units(group.line) - group.counted - group.promised
        ahead = group.ahead - group.counted - group.promised * self.view_rate
        self.table[group.number, col.G_AVAILABLE] = max(min(remaining, ahead), 0.0)

    def turn_days(self, ts: int) -> None:
        """Begin a new day for ad groups after their local midnight."""
        for group in self.groups:
            if ts >= group.day_until:
                group.day_from, group.day_until = day_bounds(ts, group.line.timezone)
                group.spent_day = 0
                self._set_offset(group, ts)
                if group.line.budget_mode is LineBudgetMode.DAY:
                    group.plan = BudgetPlan()
                if group.line.campaign_mode is LineBudgetMode.DAY:
                    group.campaign_plan = BudgetPlan()
                self.refresh(group)


def _serves(line: AdGroupLine, country: str) -> bool:
    return not line.countries or country in {name.upper() for name in line.countries}


FIRST_MEANS: Final = (-3.5, -1.0, -1.0, -2.0, -2.0)
"""Prior scores of the heads."""
FIRST_SPREAD: Final[dict[int, float | tuple[float, ...]]] = {
    col.BIAS: 4.0, col.F_CONTEXT: 0.015, col.F_HISTORY: (0.02, 0.05, 0.02, 0.1, 0.03),
    col.F_AD: 0.06, col.F_AD_FEATURE: 0.015, col.F_CONTEXT_AD: (0.006, 0.006, 0.012, 0.006, 0.006),
    col.F_CONTEXT_FEATURE: (0.009, 0.009, 0.018, 0.009, 0.009),
    col.F_BETWEEN: 0.015, col.F_CONTACT: 0.015, col.F_VIEWER: (0.1, 0.2, 0.5, 0.8, 0.3),
}  # fmt: skip
"""Prior variance of the weights by family, and by head where they differ; see `Learned.scale_context`.

Viewers differ most in spam and leads. History predicts spam best: a smaller variance would hide click farms.
Leads depend most on the interaction of request and ad, so its variance is larger there. A larger one for
history would overfit the few leads of the first day.
"""
HOW_ALIKE: Final = 0.5
"""Prior correlation between heads that depend on the fit of ad and viewer, in their weights of a request and
ad interaction."""
OF_CONTEXT: Final = (col.F_CONTEXT, col.F_CONTEXT_AD, col.F_CONTEXT_FEATURE)
"""Families of request features and their interactions."""
_MOST_WEIGHTS: Final = (col.MOST_CONTEXT + 2) * (col.MOST_AD_FEATURES + 2) + 2 * col.BETWEEN + 4
_GROUP_TRUST: Final = 15.0
"""Weight of the market's calibration in that of an ad group, in expected events, …"""
_MARKET_TRUST: Final = 5.0
"""… and of uncorrected predictions in the market's."""


class Learned:
    """Weights by slot and head.

    Decisions read ``table``; training changes ``draft``, and replaces the table when it ends. ``widths`` are
    the doublings of the prior standard deviation of a weight, ``scale`` is the factor of the prior variances
    of request features.
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.shift = np.uint64(64 - bits)
        self.table = np.zeros((1 << bits, col.HEADS), np.float32)
        self.family_of = np.full(1 << bits, col.FAMILIES, np.uint8)
        self.spread = np.zeros((col.FAMILIES, col.HEADS))
        for family, variance in FIRST_SPREAD.items():
            self.spread[family] = variance
        self.scale = 1.0
        self.slots = np.zeros(_MOST_WEIGHTS, np.int64)
        self.weights = np.zeros(_MOST_WEIGHTS)
        self.families = np.zeros(_MOST_WEIGHTS, np.int64)
        self.names = np.zeros((col.BETWEEN, col.BETWEEN_VALUES), np.uint64)
        for kind in range(col.BETWEEN):
            for value in range(col.BETWEEN_VALUES):
                self.names[kind, value] = name_hash("between", str(kind), str(value))
        bias = slot_of(np.uint64(0x5851F42D4C957F2D), self.shift)
        self.draft = np.zeros((1 << bits, col.HEADS), np.float32)
        self.table[bias] = self.draft[bias] = FIRST_MEANS
        self.widths = np.zeros((1 << bits, col.HEADS), np.uint8)
        self.family_of[bias] = col.BIAS

    def scale_context(self, scale: float) -> None:
        """Set the scale of the prior variances of request features, and scale their weights."""
        for family in OF_CONTEXT:
            self.spread[family] = np.array(FIRST_SPREAD[family]) * scale
        self.draft[np.flatnonzero(np.isin(self.family_of, OF_CONTEXT))] *= scale / self.scale
        self.scale = scale

    def prior_covariances(self) -> NDArray[np.float64]:
        """Return the prior covariance of the weights of a feature, by family, head and head."""
        sizes = np.sqrt(self.spread)
        near = np.tile(np.eye(col.HEADS), (col.FAMILIES, 1, 1))
        for family in OF_FIT:
            near[family, : col.FITS, : col.FITS] += HOW_ALIKE * (1.0 - np.eye(col.FITS))
        return np.asarray(near * sizes[:, :, None] * sizes[:, None, :])


@dataclass
class Viewers:
    """Viewers with their history and their own effect on each head."""

    by_id: dict[str, int] = field(default_factory=dict)
    table: NDArray[np.float64] = field(default_factory=lambda: np.zeros((1024, col.VIEWER_COLUMNS)))
    recent: NDArray[np.int32] = field(default_factory=lambda: np.full((1024, col.RECENT_ADS), -1, np.int32))
    shown: NDArray[np.float32] = field(default_factory=lambda: np.zeros((1024, col.RECENT_ADS), np.float32))
    weekly: NDArray[np.float32] = field(default_factory=lambda: np.zeros((1024, col.RECENT_ADS), np.float32))
    shown_at: NDArray[np.float64] = field(default_factory=lambda: np.zeros((1024, col.RECENT_ADS)))
    known: NDArray[np.int32] = field(
        default_factory=lambda: np.full((1024, col.KNOWN_ADVERTISERS), -1, np.int32)
    )
    flags: NDArray[np.uint8] = field(
        default_factory=lambda: np.zeros((1024, col.KNOWN_ADVERTISERS), np.uint8)
    )
    draft: NDArray[np.float32] = field(default_factory=lambda: np.zeros((1024, col.HEADS), np.float32))
    """Effects in training, see `Learned`."""

    def row_of(self, viewer_id: str, now_s: float) -> int:
        """Return the row of a viewer; add a missing one."""
        row = self.by_id.get(viewer_id)
        if row is None:
            row = self.by_id[viewer_id] = len(self.by_id)
            if row >= len(self.table):
                for name in (*VIEWER_ARRAYS, "draft"):
                    add_rows(getattr(self, name), -1 if name in ("recent", "known") else 0)
            self.table[row, col.V_DECAYED_AT] = now_s
            self.table[row, col.V_REQUESTED_AT] = -1e9
        return row

    def note_shown(self, row: int, ad: int, now_s: float) -> None:
        """Count a view of an ad; a new ad replaces the least recent one."""
        recent = self.recent[row].tolist()
        place = recent.index(ad) if ad in recent else int(self.shown_at[row].argmin())
        day, week = 0.0, 0.0
        if recent[place] == ad:
            days = (now_s - float(self.shown_at[row, place])) / col.DAY_S
            day = float(self.shown[row, place]) * 0.5**days
            week = float(self.weekly[row, place]) * 0.5 ** (days / 7.0)
        self.recent[row, place], self.shown_at[row, place] = ad, now_s
        self.shown[row, place] = (-1.0 if day < 0.0 else 1.0) * (abs(day) + 1.0)
        self.weekly[row, place] = week + 1.0


VIEWER_ARRAYS: Final = ("table", "recent", "shown", "weekly", "shown_at", "known", "flags")


@dataclass(slots=True)
class CalibrationCounts:
    """Decayed outcomes by ad group and head, with shrinkage to the market.

    ``came`` counts actual outcomes, ``tried`` predictions with a label; ``expected`` is the sum of these.
    """

    came: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, col.HEADS)))
    expected: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, col.HEADS)))
    tried: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, col.HEADS)))

    def grow(self, groups: int) -> None:
        more = ((0, groups - len(self.came)), (0, 0))
        self.came, self.expected, self.tried = (
            np.pad(counts, more) for counts in (self.came, self.expected, self.tried)
        )

    def factors(self) -> NDArray[np.float64]:
        """Return the calibration factors of the odds, by ad group and head."""
        actual, expected = self.came.sum(axis=0), self.expected.sum(axis=0)
        whole = (actual + _MARKET_TRUST) / (expected + _MARKET_TRUST)
        ratio = (self.came + _GROUP_TRUST * whole) / (self.expected + _GROUP_TRUST)
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
    "table_bits": Setting(20, 12, 26, "Weights are kept in a table of two to this power."),
    "click_wait_s": Setting(600, 10, 86_400, "After so long without a click a view counts as not clicked."),
    "promise_s": Setting(
        900, 10, 86_400, "So long a place in the budget is kept for a view that did not come yet."
    ),
}  # fmt: skip


class MarketState:
    """State of a marketplace.

    ``clicks_then`` are the clicks at the last batch training. ``rates`` are eligible requests per second by
    ad group, ``asked_before`` their counts at the last step, and ``usual`` recent rates by head. ``talk_of``
    and ``lead_of`` have the credited request by viewer and advertiser. ``seen`` has digests of recent lines,
    and ``asked`` the answers to queries by id.
    """

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
        self.numbers = np.zeros(col.SETTINGS)
        self.numbers[col.S_SPAM_POWER] = self.settings["spam_power"]
        self.numbers[col.S_BAD_WEIGHT] = self.settings["bad_weight"]
        self.numbers[col.S_TEMPERATURE] = self.settings["temperature"]
        self.numbers[col.S_EXPLORE] = self.settings["explore"]
        self.numbers[col.S_RANDOM] = float(is_random)
        self.numbers[col.S_FARM_PRIOR] = FIRST_PRIOR
        self.numbers[col.S_SLOPE : col.S_MEAN] = 1.0
        self.hashes = np.zeros(col.MOST_CONTEXT, np.uint64)
        self.values = np.zeros(col.MOST_CONTEXT)
        self.kinds = np.zeros(col.MOST_CONTEXT, np.int64)
        self.base = np.zeros(8)
        self.between = np.zeros((2, col.BETWEEN), np.uint64)
        self.chosen = np.zeros(col.BETWEEN, np.uint64)
        self.outcome = np.zeros(col.OUTCOME)

    def list_weights(self, place: int, ad: int) -> int:
        """List the weights of an ad with a stored feature snapshot; return their number."""
        learned, groups, snapshots = self.learned, self.groups, self.snapshots
        return int(
            list_features(
                snapshots.hashes[place], snapshots.values[place], snapshots.kinds[place],
                int(snapshots.counts[place]), ad, groups.ad_hashes[ad], groups.ad_features[ad],
                groups.ad_values[ad], int(groups.ads[ad, col.A_FEATURES]), groups.feature_hashes,
                groups.crosses, snapshots.between[place], learned.shift, learned.slots, learned.weights,
                learned.families,
            )
        )  # fmt: skip

    def note(self, event: int, impression: Impression) -> None:
        """Record an event of an impression for evaluation."""
        if self.happened is not None:
            self.happened.append((event, impression))

    def identity(self) -> list[object]:
        """Return seed, policy and settings, which a snapshot must share."""
        return [self.seed, self.is_random, [list(item) for item in sorted(self.settings.items())]]
