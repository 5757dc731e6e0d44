"""Ad groups and ads as they compete: their tables for the auction, their budgets, plans and multipliers."""

import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from contatto.delivery.model.lines import AdGroupLine, AdLine, BidType, BudgetMode, Goal, Pacing, Status
from contatto.delivery.predict.fields import Hashed
from contatto.delivery.predict.traffic import Traffic, amount_between, cumulate
from contatto.delivery.rules.budgets import (
    FAST_S,
    HORIZON_S,
    NO_END_S,
    SECOND,
    Plan,
    day_bounds,
    find_multiplier,
    find_quantile,
    goal_units,
    limit_units,
)
from contatto.delivery.rules.columns import (
    A_FEATURES,
    A_GROUP,
    A_ON,
    AD_COLUMNS,
    BINS,
    G_ADVERTISER,
    G_ASKED,
    G_AVAILABLE,
    G_CALIBRATION,
    G_ENDS,
    G_GOAL,
    G_LIMIT,
    G_MULTIPLIER,
    G_OFFSET,
    G_OPEN,
    G_STARTS,
    GROUP_COLUMNS,
    HEADS,
    MOST_AD_FEATURES,
)
from contatto.delivery.rules.hashing import name_hash

HALF_LIFE: Final = 1_500.0
"""So many requests later a request of the landscape counts half."""


GAIN: Final = 0.25
"""How much of a step's error in spend (as a power) is corrected in the next."""


@dataclass(slots=True)
class Group:
    """An ad group: what its advertiser wants, what it spent and earned. Spend is in units (see `budgets`)."""

    line: AdGroupLine
    number: int
    day_from: int = 0
    day_until: int = 0
    spent_day: int = 0
    spent_ever: int = 0
    promised: int = 0
    plan: Plan = field(default_factory=Plan)
    views: int = 0
    clicks: int = 0
    conversations: int = 0
    spam: int = 0
    leads: int = 0
    predicted: float = 0.0
    began_at: int = 0
    wanted: float = 0.0
    spent_then: float = 0.0
    correction: float = 1.0

    @property
    def counted(self) -> int:
        """Spend under the present budget: of the day, or ever."""
        return self.spent_day if self.line.budget_mode is BudgetMode.DAY else self.spent_ever

    def earned(self) -> int:
        """Conversions, as the goal counts them."""
        return self.leads if self.line.goal is Goal.LEAD else self.conversations

    def charge(self, price: int) -> int:
        """Charge a view, never over the limit; what was charged comes back, in units."""
        amount = max(0, min(price, int(min(limit_units(self.line) - self.counted, 1e18))))
        self.spent_day += amount
        self.spent_ever += amount
        return amount


class Groups:
    """All ad groups and ads, and their tables."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self.by_id: dict[str, int] = {}
        self.ad_ids: list[str] = []
        self.ad_by_id: dict[str, int] = {}
        self.ad_lines: list[AdLine] = []
        self.advertisers: dict[str, int] = {}
        self.countries: dict[str, int] = {"": 0}
        self.features: dict[int, int] = {}
        self.view_rate = 1.0
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
        self.sums = np.zeros((8, HEADS))
        self.able = np.zeros(9, np.int64)
        self.offers = np.zeros(9)
        self.raws = np.zeros((9, 2 * HEADS + 1))

    def country_of(self, name: str) -> int:
        """The number of a country; new ones are open to ad groups that serve everywhere."""
        known = self.countries.get(name)
        if known is not None:
            return known
        if len(self.countries) >= 1_000:
            return 0
        number = self.countries[name] = len(self.countries)
        if number >= self.allowed.shape[1]:
            self.allowed = np.pad(self.allowed, ((0, 0), (0, number)))
        for group in self.groups:
            self.allowed[group.number, number] = _serves(group.line, name)
        return number

    def set_group(self, line: AdGroupLine, now: int) -> Group:
        """Take an ad group as it is from now on."""
        number = self.by_id.get(line.adgroup_id)
        if number is None:
            number = self.by_id[line.adgroup_id] = len(self.groups)
            self.groups.append(Group(line, number, began_at=now))
            self._grow_groups()
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
        row[G_GOAL] = 0.0 if line.goal is Goal.LEAD else 1.0
        row[G_ADVERTISER] = self.advertisers.setdefault(line.advertiser_id, len(self.advertisers))
        has_target = line.bid_type is BidType.CUSTOM and line.bid_micros
        row[G_LIMIT] = line.bid_micros if has_target else math.inf
        if before.timezone != line.timezone or not group.day_until:
            group.day_from, group.day_until = day_bounds(now, line.timezone)
        self._set_offset(group, now)
        group.plan = Plan()
        self.refresh(group)
        return group

    def set_ad(self, line: AdLine, hashed: Hashed) -> int:
        """Take an ad as it is from now on."""
        ad = self.ad_by_id.get(line.ad_id)
        if ad is None:
            ad = self.ad_by_id[line.ad_id] = len(self.ad_ids)
            self.ad_ids.append(line.ad_id)
            self.ad_lines.append(line)
            self._grow_ads()
            self.ad_hashes[ad] = name_hash("ad", line.ad_id)
        self.ad_lines[ad] = line
        names, values = hashed
        self.ads[ad, A_GROUP] = self.by_id[line.adgroup_id]
        self.ads[ad, A_ON] = 1
        self.ads[ad, A_FEATURES] = len(names)
        for k, named in enumerate(names):
            self.ad_features[ad, k] = self._feature(named)
            self.ad_values[ad, k] = values[k]
        return ad

    def _feature(self, named: int) -> int:
        known = self.features.get(named)
        if known is None:
            known = self.features[named] = len(self.features)
            if known >= len(self.feature_hashes):
                self.feature_hashes = np.pad(self.feature_hashes, (0, known))
                self.crosses = np.pad(self.crosses, (0, known), constant_values=1)
                self.stamps = np.pad(self.stamps, (0, known))
                self.sums = np.pad(self.sums, ((0, known), (0, 0)))
            self.feature_hashes[known] = named
        return known

    def _grow_groups(self) -> None:
        had = len(self.table)
        if len(self.groups) > had:
            for name in ("table", "allowed", "prices", "counts", "best_of"):
                setattr(self, name, np.pad(getattr(self, name), ((0, had), (0, 0))))

    def _grow_ads(self) -> None:
        had = len(self.ads)
        if len(self.ad_ids) > had:
            for name in ("ads", "ad_features", "ad_values", "raws"):
                setattr(self, name, np.pad(getattr(self, name), ((0, had), (0, 0))))
            for name in ("ad_hashes", "able", "offers"):
                setattr(self, name, np.pad(getattr(self, name), (0, had)))

    def _set_offset(self, group: Group, now: int) -> None:
        local = datetime.fromtimestamp(now // SECOND, ZoneInfo(group.line.timezone)).utcoffset()
        self.table[group.number, G_OFFSET] = local.total_seconds() if local else 0.0

    def refresh(self, group: Group) -> None:
        """Tell the auction what is left of a budget, promises taken off."""
        left = goal_units(group.line) - group.counted - group.promised
        self.table[group.number, G_AVAILABLE] = max(left, 0.0)

    def turn_days(self, now: int) -> None:
        """Begin the new day of each ad group whose local day has ended."""
        for group in self.groups:
            if now >= group.day_until:
                group.day_from, group.day_until = day_bounds(now, group.line.timezone)
                group.spent_day = 0
                self._set_offset(group, now)
                if group.line.budget_mode is BudgetMode.DAY:
                    group.plan = Plan()
                self.refresh(group)

    def fade(self, newest: NDArray[np.float64]) -> None:
        """Let each ad group's landscape fade with the requests that came since (``newest``)."""
        shares = 0.5 ** (newest / HALF_LIFE)
        self.prices *= shares[:, None]
        self.counts *= shares[:, None]
        self.table[:, G_ASKED] *= shares

    def steer(self, traffic: Traffic, rates: np.ndarray, now: int) -> None:
        """Set every ad group's multiplier from its plan and its landscape.

        Args:
            traffic: the curve of requests.
            rates: requests a second that each ad group could have served lately.
            now: the time.
        """
        opened = sum(1 for group in self.groups if self.table[group.number, G_OPEN])
        for group in self.groups:
            self.table[group.number, G_MULTIPLIER] = self._multiplier(group, traffic, rates, now, opened)

    def _multiplier(self, group: Group, traffic: Traffic, rates: np.ndarray, now: int, opened: int) -> float:
        line, number = group.line, group.number
        row = self.table[number]
        has_target = row[G_LIMIT] < math.inf
        budget = goal_units(line)
        if has_target and (budget == math.inf or line.pacing is Pacing.FAST):
            return math.inf
        if budget == math.inf:
            return find_quantile(self.counts[number], min(max(1.0 / (opened + 1), 0.05), 0.5))
        wanted = self._wanted(group, traffic, float(rates[number]), now)
        group.wanted = wanted
        wanted *= group.correction
        found = find_multiplier(self.prices[number], self.counts[number], float(row[G_ASKED]), wanted)
        had = float(row[G_MULTIPLIER])
        if had <= 0.0 or found <= 0.0 or row[G_ASKED] < 50.0:
            return found
        step = math.log(found / had)
        return had * math.exp(min(max(step, -0.7), 0.7) * 0.6)

    def check(self, newest: NDArray[np.float64]) -> None:
        """Compare what each ad group spent in the last step with what was wanted; correct a steady error.

        Estimates move, and what the landscape tells of yesterday's is then a little off.
        """
        for group in self.groups:
            number = group.number
            spent = group.spent_ever + group.promised * self.view_rate
            expected = group.wanted * float(newest[number]) * self.view_rate
            actual = max(spent - group.spent_then, 0.0)
            group.spent_then = spent
            if expected > 0.0:
                price = float(self.prices[number].sum() / max(self.counts[number].sum(), 1.0))
                doubt = 3.0 * price + 0.1 * expected
                ratio = (expected + doubt) / (actual + doubt)
                group.correction = min(max(group.correction * ratio**GAIN, 0.4), 2.5)

    def _wanted(self, group: Group, traffic: Traffic, rate: float, now: int) -> float:
        """Units to spend for each request of the coming hour, so that spend follows the plan."""
        now_s = now / SECOND
        line = group.line
        curve = cumulate(traffic.curve_of(self.allowed[group.number].astype(bool)))
        if not group.plan.amount:
            self._make_plan(group, curve, now_s)
        plan = group.plan
        rolling = line.budget_mode is BudgetMode.TOTAL and line.ends_ts is None
        if rolling:
            plan.from_s, plan.until_s, plan.spent = now_s, now_s + NO_END_S, float(group.counted)
            plan.amount = goal_units(line) - group.counted
        spent = group.counted + group.promised * self.view_rate
        ahead_s = min(now_s + HORIZON_S, max(plan.until_s, now_s + 1.0))
        whole = amount_between(curve, plan.from_s, plan.until_s)
        if line.pacing is Pacing.FAST:
            target = plan.spent + plan.amount * min((ahead_s - plan.from_s) / FAST_S, 1.0)
        else:
            target = plan.spent + plan.amount * amount_between(curve, plan.from_s, ahead_s) / max(whole, 1e-9)
        amount = amount_between(curve, now_s, ahead_s)
        lately = amount_between(curve, now_s - HORIZON_S / 2, now_s)
        coming = rate * (HORIZON_S / 2) * amount / max(lately, 1e-9)
        wanted = max(target - spent, 0.0) / max(self.view_rate, 0.05)
        return wanted / max(coming, 1.0)

    def _make_plan(self, group: Group, curve: np.ndarray, now_s: float) -> None:
        line = group.line
        starts_s = (line.starts_ts or 0) / SECOND
        begins_s = max(now_s, starts_s)
        ends_s = math.inf if line.ends_ts is None else line.ends_ts / SECOND
        left = goal_units(line) - group.counted
        if line.budget_mode is BudgetMode.TOTAL:
            until_s = ends_s if ends_s < math.inf else begins_s + NO_END_S
            group.plan = Plan(begins_s, max(until_s, begins_s + 1.0), float(group.counted), left)
            return
        from_s, until_s = group.day_from / SECOND, min(group.day_until / SECOND, ends_s)
        is_first = group.began_at >= group.day_from and group.spent_ever == 0
        if is_first:
            whole = amount_between(curve, from_s, group.day_until / SECOND)
            left *= amount_between(curve, begins_s, group.day_until / SECOND) / max(whole, 1e-9)
        group.plan = Plan(begins_s, max(until_s, begins_s + 1.0), float(group.counted), max(left, 1.0))

    def state(self) -> Any:
        return [
            [
                [
                    msgspec.to_builtins(group.line), group.number, group.day_from, group.day_until,
                    group.spent_day, group.spent_ever, group.promised,
                    [group.plan.from_s, group.plan.until_s, group.plan.spent, group.plan.amount],
                    group.views, group.clicks, group.conversations, group.spam, group.leads, group.predicted,
                    group.began_at, group.wanted, group.spent_then, group.correction,
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
        self.groups = [_restored(*each) for each in groups]


GROUP_ARRAYS: Final = (
    "table", "allowed", "prices", "counts", "best_of", "ads", "ad_hashes", "ad_features", "ad_values",
    "feature_hashes", "crosses", "stamps", "sums", "able", "offers", "raws",
)  # fmt: skip
"""The tables of `Groups` that are kept with its state."""


def _restored(line: Any, number: int, *figures: Any) -> Group:
    made: list[Any] = [msgspec.convert(line, AdGroupLine), number, *figures]
    made[7] = Plan(*figures[5])
    return Group(*made)


def _serves(line: AdGroupLine, country: str) -> bool:
    return (
        line.countries is None or not line.countries or country in {each.upper() for each in line.countries}
    )
