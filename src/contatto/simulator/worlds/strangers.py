"""A world of strangers: hardly a feature, few visits, chances that multiply, a farm that imitates people."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from contatto.simulator.worlds.bazaar import Kind, Money, make_groups
from contatto.simulator.worlds.model import (
    DAY,
    HOUR,
    STARTS_TS,
    TICKS,
    Ad,
    Edit,
    Features,
    Floats,
    Ints,
    Known,
    Nature,
    Past,
    Requests,
    Tables,
)
from contatto.simulator.worlds.setup import offset_s
from contatto.simulator.worlds.stream import Crowd, Market, Places, chance, day_curve, draw_requests, local

ZONES: Final = {"FR": "Europe/Paris", "CA": "America/Toronto", "NG": "Africa/Lagos"}
_SHARES: Final = (0.45, 0.3, 0.25)
_APPS: Final = 60
_DEVICES: Final = 4
_GOODS: Final = 9
_TASTE: Final = 0.5
"""Standard deviation of the logarithm of personal taste, which multiplies clicks."""
_MOST: Final = (0.5, 0.9, 0.9, 0.9)
"""No chance of a click, conversation, spam or lead is higher."""
KINDS: Final = (
    Kind("day", 1.0),
    Kind("day", 1.0, delay="late"),
    Kind("day", 1.2),
    Kind("day", 3.0, target=1.1),
    Kind("day", 0.8, joins=5.0),
    Kind("day", 1.0),
    Kind("total", 14.0, leaves=14.0),
)
_ADVERTISERS: Final = 5
_ADS: Final = 3
_IMITATORS: Final = 0.012
"""The share of viewers who belong to the farm."""


@dataclass(frozen=True, slots=True)
class StrangersSetting:
    """Settings of the world of strangers; strengths are 1 as usual and 0 for none."""

    viewers: int = 250_000
    days: int = 14
    requests: int = 70_000
    taste: float = 1.0
    weariness: float = 1.0
    farms: float = 1.0
    farm_day: int = 4
    delay: float = 1.0
    competition: float = 1.0
    budget_micros: int = 20_000_000
    lead_micros: int = 350_000


class StrangersWorld:
    """Passers-by in sixty apps, and seven ad groups with three ads each.

    Theory. A request shows the app and sometimes the device. Chances are products of factors: of the app,
    of the ad, and of the app with the goods on sale, with heavy tails. A lead has either of two motives, so
    its chance is one less the product of both misses. Imitators come from the best apps and behave as people
    do, but their chats lead nowhere and are seldom marked. People tire of an advertiser, not of an ad.
    """

    name = "strangers"
    countries = tuple(ZONES)
    places: tuple[Features, ...] = ({}, {"spot": "full"}, {"spot": "bar"})

    def __init__(self, setting: StrangersSetting, seed: int) -> None:
        self.setting, self.seed, self.days = setting, seed, setting.days
        self.nature = Nature(
            weariness=0.05 * setting.weariness,
            weariness_of_advertiser=0.3 * setting.weariness,
            night=0.5,
            once=True,
            view_lost=0.05,
            view_after_s=5.0,
            spam_recall=0.75,
            farm_recall=0.3,
            spam_after_s=(60.0, 12 * 3_600.0),
        )
        self._places = Places(np.array([0.5, 0.2, 0.3]), np.array([0.0, 0.4, -0.4]))
        by_hour = 0.6 * np.sin((np.arange(TICKS) * 24 / TICKS - 14) * 2 * np.pi / 24)
        self._market = Market(0.0024 * setting.competition, 0.45, 0.35, bidders=3, by_tick=by_hour)
        rng = chance(seed, 51)
        self._draw_factors(rng)
        self._draw_viewers(rng)
        self._tables = self._true()

    def _draw_factors(self, rng: np.random.Generator) -> None:
        """Draw ad groups and ads, and the factors of apps, goods and ads."""
        setting = self.setting
        money = Money(setting.budget_micros, setting.lead_micros, _SHARES, setting.days)
        self.groups = make_groups(rng, KINDS, money, ZONES, _ADVERTISERS)
        self.advertisers = tuple(f"house-{number}" for number in range(_ADVERTISERS))
        count = len(self.groups) * _ADS
        self._goods = rng.integers(0, _GOODS, count)
        self.ads = tuple(
            Ad(f"c{number}", number // _ADS, self._ad_features(number, rng)) for number in range(count)
        )
        midday = STARTS_TS + int(self.days * 0.55) * DAY + 13 * HOUR
        self.edits: tuple[Edit, ...] = (
            Edit(midday, 2, {"budget_micros": round(1.8 * self.groups[2].budget_micros)}),
            Edit(midday + 5 * HOUR, 5, {"status": "off"}),
            Edit(midday + 20 * HOUR, 5, {"status": "on"}),
        )
        self._by_app = np.exp(rng.normal(0, 0.5, (3, _APPS)))
        self._fit = np.exp(rng.standard_t(4, (2, _APPS, _GOODS)) * 0.4)
        self._by_device = np.exp(rng.normal(0, 0.35, (2, _DEVICES + 1, count)))
        self._by_ad = np.exp(rng.normal(0, 0.3, (2, count)))

    def _ad_features(self, number: int, rng: np.random.Generator) -> Features:
        features: Features = {"goods": f"goods {self._goods[number]}"}
        if rng.random() < 0.5:
            features["price"] = float(rng.integers(5, 200))
        return features

    def _draw_viewers(self, rng: np.random.Generator) -> None:
        count = self.setting.viewers
        self.viewer_country: Ints = rng.choice(len(ZONES), count, p=_SHARES)
        crowded = rng.dirichlet(np.full(_APPS, 0.8))
        self._app = rng.choice(_APPS, count, p=crowded)
        self._device = rng.integers(0, _DEVICES + 1, count)
        self.is_farm = rng.random(count) < _IMITATORS * self.setting.farms
        self.farm_of: Ints = np.where(self.is_farm, 0, -1)
        self.farm_starts = (STARTS_TS + self.setting.farm_day * DAY,)
        worth = np.prod([chance.mean(1) for chance in self._by_cell(0)[:2]], 0) * self._by_cell(0)[3].mean(1)
        self._best = np.argsort(-worth)[: _APPS // 6]
        self._app[self.is_farm] = rng.choice(self._best, int(self.is_farm.sum()))
        log_worth = np.log(worth)[self._app]
        self._value = ((log_worth - log_worth.mean()) / log_worth.std()).astype(np.float32)
        self.viewer_ids = tuple(f"{number:08x}" for number in rng.permutation(count))
        shown = [{"app": f"app-{app}"} for app in range(_APPS)]
        devices = [{}, *({"device": f"d{device}"} for device in range(1, _DEVICES + 1))]
        self.viewer_features: tuple[Features, ...] = tuple(
            {**shown[app], **devices[device]} for app, device in zip(self._app, self._device, strict=True)
        )
        self._taste = np.exp(_TASTE * self.setting.taste * rng.normal(0, 1, (count, 1))).astype(np.float32)
        self._activity = np.where(self.is_farm, 0.0, rng.pareto(2.5, count) + 0.1)

    def _by_cell(self, device: int) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the chances of apps (rows) and ads (columns) on a device, for a person of usual taste."""
        fit = self._fit[:, :, self._goods]
        click = 0.02 * self._by_app[0][:, None] * fit[0] * self._by_ad[0] * self._by_device[0, device]
        talk = np.repeat(0.4 * self._by_app[1][:, None], len(self.ads), 1)
        spam = np.repeat(0.22 * self._by_app[2][:, None] ** 0.7, len(self.ads), 1) * self._by_ad[1]
        need, price = 0.15 * fit[1], np.broadcast_to(0.2 * self._by_device[1, device], fit[1].shape)
        lead = 1 - (1 - np.minimum(need, 0.9)) * (1 - np.minimum(price, 0.9))
        stages = (click, talk, spam, lead)
        click, talk, spam, lead = (np.minimum(*pair) for pair in zip(stages, _MOST, strict=True))
        return click, talk, spam, lead

    @cached_property
    def _cells(self) -> list[Floats]:
        """Chances by device, app and ad: click, conversation, spam, lead."""
        by_device = [self._by_cell(device) for device in range(_DEVICES + 1)]
        return [np.stack([cell[stage] for cell in by_device]).astype(np.float32) for stage in range(4)]

    def _true(self) -> Tables:
        click, talk, spam, lead = (cell[self._device, self._app] for cell in self._cells)
        click = np.minimum(click * self._taste, np.float32(_MOST[0]))
        spam[self.is_farm] = 0.97
        lead[self.is_farm] = 0.01
        return Tables(np.log(click / (1 - click)), talk, spam, lead)

    def tables(self, day: int) -> Tables:  # every day is alike here
        return self._tables

    def known(self, day: int, past: Past) -> Known:
        """Return means over taste; each mark of spam raises the chance of an imitator."""
        talk, spam, lead = (cell[self._device, self._app] for cell in self._cells[1:])
        talks = self._mean_click * talk
        farm = self._farm_chance(day, past)[:, None].astype(np.float32)
        spams = talks * ((1 - farm) * spam + farm * np.float32(0.97))
        leads = talks * ((1 - farm) * (1 - spam) * lead + farm * np.float32(0.03 * 0.01))
        return Known(self._mean_click, talks, leads, spams)

    @cached_property
    def _mean_click(self) -> Floats:
        nodes, weights = np.polynomial.hermite_e.hermegauss(5)
        click = self._cells[0]
        total = np.zeros_like(click)
        for node, weight in zip(nodes, weights / weights.sum(), strict=True):
            factor = np.float32(np.exp(_TASTE * self.setting.taste * node))
            total += np.float32(weight) * np.minimum(click * factor, np.float32(_MOST[0]))
        return np.asarray(total[self._device, self._app])

    def _farm_chance(self, day: int, past: Past) -> Floats:
        """Return the chance of each viewer to be an imitator: by the app, and by chats and their marks."""
        if day < self.setting.farm_day or not self.setting.farms:
            return np.zeros(self.setting.viewers)
        weight = self._weights(day)
        farms = np.bincount(self._app, self.is_farm * weight, _APPS)
        odds = (farms / np.maximum(np.bincount(self._app, ~self.is_farm * weight, _APPS), 1e-9))[self._app]
        odds = odds * (0.97 / 0.25) ** past.spams * (0.03 / 0.75) ** (past.chats - past.spams)
        return np.asarray(odds / (1 + odds))

    def _weights(self, day: int) -> Floats:
        busy = 5.0 * self._activity.mean() if day >= self.setting.farm_day else 0.0
        return np.asarray(np.where(self.is_farm, busy, self._activity))

    def requests(self, day: int) -> Requests:
        crowd = Crowd(self.viewer_country, self._weights(day), self._value, len(ZONES))
        return draw_requests(
            chance(self.seed, 52, day), day, self.flow(day), crowd, self._places, self._market
        )

    def flow(self, day: int) -> Floats:
        weight = np.bincount(self.viewer_country, self._weights(day), len(ZONES)) / self._activity.sum()
        curves = [local(day_curve(18.0, 0.6, 0.4), offset_s(zone, day)) for zone in ZONES.values()]
        return np.asarray(self.setting.requests * np.stack(curves, 1) * weight)

    def delays_s(self, group: int, draws: Floats) -> Floats:
        """Return delays: an hour at most, a day on the mean, or two and a half for late ad groups."""
        hours = {"fast": 0.5, "mixed": 8.0, "slow": 24.0, "late": 60.0}
        mean = 3_600 * hours[self.groups[group].kind]
        return np.asarray(-np.log1p(-draws[:, 1]) * mean * self.setting.delay)
