"""Ad groups and ads of the auction: tables, budgets, plans and multipliers."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from contatto.learning.budgets import SECOND, BudgetPlan, day_bounds, goal_units, limit_units
from contatto.learning.columns import (
    A_FEATURES,
    A_GROUP,
    A_ON,
    AD_COLUMNS,
    BINS,
    G_ADVERTISER,
    G_AVAILABLE,
    G_CALIBRATION,
    G_ENDS,
    G_GOAL,
    G_OFFSET,
    G_OPEN,
    G_REQUESTS,
    G_STARTS,
    GROUP_COLUMNS,
    HEADS,
    MOST_AD_FEATURES,
    RAWS,
)
from contatto.learning.features import Hashed, name_hash
from contatto.learning.lines import AdGroupLine, AdLine, LineBudgetMode, LineGoal, Status

HALF_LIFE: Final = 1_500.0
"""Half-life of the price landscape, in requests."""


@dataclass(slots=True)
class AuctionGroup:
    """Ad group with its goal, spend and results; spend is in units (see `budgets`)."""

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
    expected: float = 0.0
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

    def charge(self, price: int) -> int:
        """Charge a view up to the limit; return the amount in units."""
        amount = max(0, min(price, int(min(limit_units(self.line) - self.counted, 1e18))))
        self.spent_day += amount
        self.spent_ever += amount
        return amount


SEVERAL: Final = 2
"""Number of ads from which on the advertiser is a feature of each."""
MOST_SETS: Final = 32
"""Size of the cache of row sets."""


class RowIndex(dict[int, int]):
    """Cache of rows by the API's numbers.

    Raises:
        KeyError: the number is unknown.
    """

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


class Groups:
    """Tables of all ad groups and ads."""

    def __init__(self) -> None:
        self.groups: list[AuctionGroup] = []
        self.by_id: dict[str, int] = {}
        self.ad_ids: list[str] = []
        self.ad_by_id: dict[str, int] = {}
        self.ad_lines: list[AdLine] = []
        self.advertisers: dict[str, int] = {}
        self.ads_of: dict[str, list[int]] = {}
        self.countries: dict[str, int] = {"": 0}
        self.features: dict[int, int] = {}
        self.view_rate = 1.0
        self.curves: dict[int, tuple[int, NDArray[np.float64]]] = {}
        self.table = np.zeros((8, GROUP_COLUMNS))
        self.allowed = np.zeros((8, 8), np.uint8)
        self.prices = np.zeros((8, BINS))
        self.counts = np.zeros((8, BINS))
        self.best_of = np.zeros((8, 2))
        self.ads = np.zeros((8, AD_COLUMNS), np.int64)
        self.ad_hashes = np.zeros(8, np.uint64)
        self.ad_features = np.zeros((8, MOST_AD_FEATURES), np.int64)
        self.ad_values = np.zeros((8, MOST_AD_FEATURES))
        self.feature_hashes = np.zeros(8, np.uint64)
        self.crosses = np.ones(8, np.uint8)
        self.stamps = np.zeros(8, np.int64)
        self.sums = np.zeros((8, HEADS + 1))
        self.able = np.zeros(9, np.int64)
        self.offers = np.zeros(9)
        self.raws = np.zeros((9, RAWS))
        self.by_number, self.ad_by_number = RowIndex(self.by_id), RowIndex(self.ad_by_id)

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
            self.table[number, G_CALIBRATION:] = 1.0
        group = self.groups[number]
        before, group.line = group.line, line
        for name, country in list(self.countries.items()):
            self.allowed[number, country] = _serves(line, name)
        for name in line.countries or ():
            self.country_of(name.upper())
        row = self.table[number]
        row[G_OPEN] = line.status is Status.ON
        row[G_STARTS] = (line.starts_ts or 0) / SECOND
        row[G_ENDS] = math.inf if line.ends_ts is None else line.ends_ts / SECOND
        row[G_GOAL] = 0.0 if line.goal is LineGoal.LEAD else 1.0
        row[G_ADVERTISER] = self.advertisers.setdefault(line.advertiser_id, len(self.advertisers))
        if before.timezone != line.timezone or not group.day_until:
            group.day_from, group.day_until = day_bounds(ts, line.timezone)
        self._set_offset(group, ts)
        group.plan, group.campaign_plan = BudgetPlan(), BudgetPlan()
        self.curves.clear()
        self.refresh(group)
        return group

    def set_ad(self, line: AdLine, hashed: Hashed) -> int:
        """Add or update an ad.

        Responses to ads of one advertiser are correlated: with several ads the advertiser is a feature.
        """
        advertiser_ads = self._ads_of_advertiser(line)
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
        self.ads[ad, A_GROUP] = self.by_id[line.adgroup_id]
        self.ads[ad, A_ON] = 1
        self.ads[ad, A_FEATURES] = 0
        for named, value in zip(*hashed, strict=True):
            self._add_feature(ad, named, value)
        if len(advertiser_ads) >= SEVERAL:
            named = name_hash("advertiser", self._advertiser_of(line))
            for changed in advertiser_ads if is_new and len(advertiser_ads) == SEVERAL else [ad]:
                self._add_feature(changed, named, 1.0)
        return ad

    def _advertiser_of(self, line: AdLine) -> str:
        return self.groups[self.by_id[line.adgroup_id]].line.advertiser_id

    def _ads_of_advertiser(self, line: AdLine) -> list[int]:
        return self.ads_of.setdefault(self._advertiser_of(line), [])

    def _add_feature(self, ad: int, named: int, value: float) -> None:
        count = self.ads[ad, A_FEATURES]
        if count < MOST_AD_FEATURES:
            feature = self.features.setdefault(named, len(self.features))
            size = len(self.feature_hashes)
            if feature >= size:
                self.feature_hashes = np.pad(self.feature_hashes, (0, size))
                self.crosses = np.pad(self.crosses, (0, size), constant_values=1)
                self.stamps = np.pad(self.stamps, (0, size))
                self.sums = np.pad(self.sums, ((0, size), (0, 0)))
            self.feature_hashes[feature] = named
            self.ad_features[ad, count] = feature
            self.ad_values[ad, count] = value
            self.ads[ad, A_FEATURES] = count + 1

    def _set_offset(self, group: AuctionGroup, ts: int) -> None:
        local = datetime.fromtimestamp(ts // SECOND, ZoneInfo(group.line.timezone)).utcoffset()
        self.table[group.number, G_OFFSET] = local.total_seconds() if local else 0.0

    def refresh(self, group: AuctionGroup) -> None:
        """Set the available budget, limited by the plan of the next half hour.

        Early predictions change most: a fivefold rise would else spend a day's budget in an hour.
        """
        remaining = goal_units(group.line) - group.counted - group.promised
        ahead = group.ahead - group.counted - group.promised * self.view_rate
        self.table[group.number, G_AVAILABLE] = max(min(remaining, ahead), 0.0)

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

    def fade(self, newest: NDArray[np.float64]) -> None:
        """Decay each ad group's landscape by the number of its newest requests."""
        shares = 0.5 ** (newest / HALF_LIFE)
        self.prices *= shares[:, None]
        self.counts *= shares[:, None]
        self.table[:, G_REQUESTS] *= shares

    def state(self) -> Any:
        return [
            [
                [
                    msgspec.to_builtins(group.line), group.number, group.day_from, group.day_until,
                    group.spent_day, group.spent_ever, group.promised,
                    _figures_of(group.plan),
                    group.views, group.clicks, group.conversations, group.spam, group.leads, group.predicted,
                    group.began_at, group.planned, group.spent_before, group.correction, group.paced,
                    group.is_paced, group.cost_factor, group.lately_spent, group.lately_expected,
                    group.expected, group.ahead, _figures_of(group.campaign_plan), group.campaign_paced,
                ]
                for group in self.groups
            ],
            [msgspec.to_builtins(line) for line in self.ad_lines],
            self.by_id, self.ad_ids, self.ad_by_id, self.advertisers, self.countries,
            {str(key): value for key, value in self.features.items()}, self.view_rate,
        ]  # fmt: skip

    def restore(self, state: Any) -> None:
        groups, ad_lines, self.by_id, self.ad_ids, self.ad_by_id, self.advertisers, self.countries, *rest = (
            state
        )
        self.features = {int(key): value for key, value in rest[0].items()}
        self.view_rate = rest[1]
        self.ad_lines = [msgspec.convert(line, AdLine) for line in ad_lines]
        self.groups = [_restored(*group) for group in groups]
        for ad, line in enumerate(self.ad_lines):
            self._ads_of_advertiser(line).append(ad)
        self.by_number, self.ad_by_number = RowIndex(self.by_id), RowIndex(self.ad_by_id)


GROUP_ARRAYS: Final = (
    "table", "allowed", "prices", "counts", "best_of", "ads", "ad_hashes", "ad_features", "ad_values",
    "feature_hashes", "crosses", "stamps", "sums", "able", "offers", "raws",
)  # fmt: skip
"""Tables of `Groups` in a snapshot."""
_FIELDS: Final = [item.name for item in fields(AuctionGroup)]
_PLANS: Final = (_FIELDS.index("plan"), _FIELDS.index("campaign_plan"))


def _restored(line: Any, number: int, *figures: Any) -> AuctionGroup:
    values: list[Any] = [msgspec.convert(line, AdGroupLine), number, *figures]
    for place in _PLANS:
        values[place] = BudgetPlan(*values[place])
    return AuctionGroup(*values)


def _figures_of(plan: BudgetPlan) -> list[float]:
    return [plan.from_s, plan.until_s, plan.spent, plan.amount]


def _serves(line: AdGroupLine, country: str) -> bool:
    return not line.countries or country in {name.upper() for name in line.countries}
