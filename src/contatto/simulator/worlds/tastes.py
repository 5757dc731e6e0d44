"""Worlds of hidden personal taste: interests of regulars, strangers, and hours of the day."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import ClassVar, Final

import numpy as np

from contatto.simulator.worlds.model import (
    DAY,
    HOUR,
    NORMAL_NODES,
    STARTS_TS,
    TICKS,
    Edit,
    Features,
    Floats,
    GroupKind,
    Ints,
    Nature,
    ObservableChances,
    OutsideBids,
    Past,
    PlacementMix,
    Requests,
    Tables,
    World,
    WorldAd,
    WorldBudget,
    WorldSetting,
    chance,
    farm_chance,
    logistic_shrinkage,
    make_groups,
    mix_farms,
    offset_s,
    set_farm,
    sigmoid,
    standardize,
)

INTEREST_ZONES: Final = {
    "DE": "Europe/Berlin",
    "PL": "Europe/Warsaw",
    "ES": "Europe/Madrid",
    "JP": "Asia/Tokyo",
    "CL": "America/Santiago",
}
_INTEREST_SHARES: Final = (0.25, 0.2, 0.2, 0.2, 0.15)
_INTERESTS: Final = 30
_TOPICS: Final = 12
_TONES: Final = 4
_BANDS: Final = 6
_CITIES: Final = 25
_LEAST_CHANCE: Final = np.float32(1e-20)
_INTEREST_TASTE: Final = 0.35
"""Scale of the personal taste for a topic, drawn from Student's t with three degrees of freedom."""
_CHAT: Final = 0.4
"""Standard deviation of personal chattiness, in logits."""
_TASTE_DRAWS: Final = 400_000
"""Number of drawn personal tastes for means over them."""
_INTEREST_GROUPS: Final = (
    GroupKind("day", 1.0),
    GroupKind("day", 1.3),
    GroupKind("day", 0.7, delay="late"),
    GroupKind("day", 1.0, joins=7.0),
    GroupKind("day", 3.0, target=1.2),
    GroupKind("day", 1.0),
)
_INTEREST_ADVERTISERS: Final = 5
_INTEREST_ADS: Final = 4
_BURST: Final = (-0.4, 0.02, 0.95, 0.01)
_TALKERS: Final = (-0.8, 0.8, 0.97, 0.02)
"""Behaviour of the two farms, new ids and talkers; see `FarmChances`."""
_BURST_HOURS: Final = 2


@dataclass(frozen=True, slots=True)
class InterestsSetting(WorldSetting):
    """Settings of the world of interests.

    ``taste``, ``weariness`` and ``farms`` are strengths: 1 is usual, 0 is none. From ``farm_day`` on, new ids
    come in a burst every day; two days later talkers join.
    """

    viewers: int = 18_000
    requests: int = 70_000
    budget_micros: int = 50_000_000
    taste: float = 1.0
    weariness: float = 1.0
    farms: float = 1.0
    farm_day: int = 3
    lead_micros: int = 500_000


class InterestsWorld(World):
    """Regulars with lists of interests, and six ad groups with four ads each.

    Theory. An interest and a topic have a weight of their own for clicks and another for leads; most weights
    are small and some are large. Only a feature of both interest and topic shows them. Personal taste for a
    topic is heavy-tailed and hidden; it shows in earlier clicks. Each view makes the next click much less
    likely.
    """

    name = "interests"
    zones: ClassVar = INTEREST_ZONES
    day_shape = (20.0, 0.8, 0.2)
    stream = 44
    delay_hours: ClassVar = {"fast": 0.3, "mixed": 12.0, "slow": 24.0, "late": 72.0}
    places: tuple[Features, ...] = ({"slot": "feed"}, {"slot": "story"}, {"slot": "search"})
    setting: InterestsSetting

    def __init__(self, setting: InterestsSetting, seed: int) -> None:
        super().__init__(setting, seed)
        self.nature = Nature(
            weariness=0.7 * setting.weariness,
            night=0.5,
            once=True,
            announced_late=True,
            view_lost=0.02,
            view_after_s=2.0,
            spam_recall=0.8,
            farm_contact=0.25,
            farm_recall=0.7,
        )
        self._places = PlacementMix(np.array([0.6, 0.25, 0.15]), np.array([0.0, 0.15, -0.2]))
        by_hour = 0.35 * np.cos((np.arange(TICKS) * 24 / TICKS - 11) * 2 * np.pi / 24)
        self._market = OutsideBids(0.0022 * setting.competition, 0.6, 0.2, bidders=4, by_tick=by_hour)
        rng = chance(seed, 41)
        self._draw_viewers(rng)
        money = WorldBudget(setting.budget_micros, setting.lead_micros, _INTEREST_SHARES, setting.days)
        self.groups = make_groups(
            rng, _INTEREST_GROUPS, money, INTEREST_ZONES, _INTEREST_ADVERTISERS, one_country=True
        )
        self.advertisers = tuple(f"brand-{number}" for number in range(_INTEREST_ADVERTISERS))
        owner = np.repeat([group.advertiser for group in self.groups], _INTEREST_ADS)
        topics = rng.permutation(_TOPICS)
        is_main = rng.random(len(owner)) < 0.5  # half the ads are about the main topic of their advertiser
        self._topic = np.where(is_main, topics[owner], rng.integers(0, _TOPICS, len(owner)))
        self._tone = rng.integers(0, _TONES, len(owner))
        ads: list[WorldAd] = []
        for number, (tone, topic) in enumerate(zip(self._tone, self._topic, strict=True)):
            features: Features = {"tone": f"tone-{tone}", "about": f"topic-{topic}"}
            if rng.random() < 0.3:
                features["form"] = "yes"
            ads.append(WorldAd(f"ad{number}", number // _INTEREST_ADS, features))
        self.ads = tuple(ads)
        shape = (2, _INTERESTS, _TOPICS)
        strong = rng.random(shape) < 0.15
        fit = np.where(strong, rng.normal(0.8, 0.9, shape), rng.normal(0, 0.1, shape))
        self._fit = fit.astype(np.float32)
        self._by_band = rng.normal(0, 0.3, (2, _BANDS, _TONES)).astype(np.float32)
        self._by_city = rng.normal(0, 0.3, (2, _CITIES)).astype(np.float32)
        self._by_interest = rng.normal(0, 0.35, (2, _INTERESTS)).astype(np.float32)
        self._by_ad = rng.normal(0, 0.25, (3, len(self.ads))).astype(np.float32)
        click, talk, spam, lead = self._visible_logits()
        taste = np.float32(_INTEREST_TASTE * setting.taste) * self._taste[:, self._topic]
        tables = self._tables = Tables(
            (click + taste).astype(np.float32),
            sigmoid(talk + self._chat),
            sigmoid(spam + self._chat),
            sigmoid(lead + taste),
        )
        for farm, chances in enumerate((_BURST, _TALKERS)):
            set_farm(tables, self.farm_of == farm, chances)
        genuine = tables.talk * (1 - tables.spam) * tables.lead
        # A chance may round to zero. Its logarithm would leave all outside bids undefined.
        leads = np.maximum(sigmoid(tables.click) * genuine, _LEAST_CHANCE)
        self._value = standardize(np.log(leads).mean(1))

    def _draw_viewers(self, rng: np.random.Generator) -> None:
        people, days = self.setting.viewers, self.days
        talkers = round(0.004 * people * self.setting.farms)
        bursts = round(0.02 * people * self.setting.farms)
        count = people + talkers + bursts * days
        self.farm_of = np.repeat([-1, 1, 0], [people, talkers, bursts * days])
        self._burst_day = np.where(
            self.farm_of == 0, (np.arange(count) - people - talkers) // max(bursts, 1), -1
        )
        first = self.setting.farm_day
        self.farm_starts = (STARTS_TS + first * DAY, STARTS_TS + (first + 2) * DAY)
        self.viewer_country = rng.choice(len(INTEREST_ZONES), count, p=_INTEREST_SHARES)
        popular = rng.dirichlet(np.full(_INTERESTS, 1.5))
        interest_counts = rng.integers(1, 6, count)
        drawn = [rng.choice(_INTERESTS, 5, replace=False, p=popular) for _ in range(count)]
        self._has = np.zeros((count, _INTERESTS), np.float32)
        for viewer, (interests, size) in enumerate(zip(drawn, interest_counts, strict=True)):
            self._has[viewer, interests[:size]] = 1.0
        self._band, self._city = rng.integers(0, _BANDS, count), rng.integers(0, _CITIES, count)
        self._age_days = np.round(rng.lognormal(5.0, 1.2, count))
        self._age_days[self.farm_of == 0] = np.round(rng.uniform(0, 3, bursts * days))
        self.viewer_ids = tuple(f"p{number}" for number in rng.permutation(count))
        self.viewer_features = tuple(
            {
                "interests": [f"i{interest}" for interest in np.flatnonzero(self._has[number])],
                "band": f"b{self._band[number]}",
                "city": f"city-{self._city[number]}",
                "account_days": int(self._age_days[number]),
            }
            for number in range(count)
        )
        self._taste = rng.standard_t(3, (count, _TOPICS)).astype(np.float32)
        self._chat = _CHAT * rng.normal(0, 1, (count, 1)).astype(np.float32)
        self._activity = np.where(self.is_farm, 0.0, rng.lognormal(0, 0.9, count))
        self._busy_farm = (1, 5.0 * self._activity.mean(), range(first + 2, days))

    def _visible_logits(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the logits of viewers (rows) and ads (columns) as far as features determine them."""
        tones = self._by_band[:, self._band[:, None], self._tone]
        fits = [(self._has @ fit)[:, self._topic] for fit in self._fit]
        chatty, dubious = (self._has @ weights for weights in self._by_interest)
        click = -3.7 + fits[0] + tones[0] + self._by_ad[0]
        talk = -0.6 + 0.3 * fits[0] + (chatty + self._by_city[0, self._city])[:, None]
        spam = -1.2 + (0.6 * chatty + dubious)[:, None] + self._by_ad[1]
        lead = -1.3 + fits[1] + tones[1] + self._by_ad[2] + self._by_city[1, self._city][:, None]
        return click, talk, spam, lead

    def observable(self, day: int, past: Past) -> ObservableChances:
        """Return means over taste and chattiness; marks of spam and new ids raise the chance of a farm."""
        chances = np.zeros((len(self.viewer_ids), 2))
        if day >= self.setting.farm_day and self.setting.farms:
            is_new = (self.first_days == day) & (self._age_days <= 3)
            chances[is_new, 0] = self.is_farm[is_new].mean() if is_new.any() else 0.0
        if day >= self.setting.farm_day + 2:
            talkers = farm_chance(0.004 * self.setting.farms, _TALKERS[2], self.nature, past)
            chances[:, 1] = talkers * (1 - chances[:, 0])
        return mix_farms(chances, self._people_chances, (_BURST, _TALKERS))

    @cached_property
    def _people_chances(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the chances of click, conversation, lead and spam for people: means over hidden parts."""
        click, talk, spam, lead = self._visible_logits()
        soft = np.float32(logistic_shrinkage(_CHAT))
        clicks, fits = np.zeros_like(click), np.zeros_like(click)
        draws = np.sort(np.random.default_rng(0).standard_t(3, _TASTE_DRAWS))
        tail = 2.0 ** -np.arange(2, 14)  # finer towards both ends, where chances grow fast
        edges = np.unique(np.concatenate([tail, 1 - tail, np.linspace(0, 1, 11)]) * _TASTE_DRAWS).astype(int)
        for low, high in pairwise(edges.tolist()):
            node = np.float32(_INTEREST_TASTE * self.setting.taste * draws[low:high].mean())
            part = sigmoid(click + node) * np.float32((high - low) / _TASTE_DRAWS)
            clicks += part
            fits += part * sigmoid(lead + node)
        talks, spams = sigmoid(soft * talk), sigmoid(soft * spam)
        return clicks, clicks * talks, talks * (1 - spams) * fits, clicks * talks * spams

    @cached_property
    def first_days(self) -> Ints:
        """Return the day of each viewer's first request; the number of days for a viewer without one."""
        first = np.full(len(self.viewer_ids), self.days)
        for day in reversed(range(self.days)):
            first[self.requests(day).viewer] = day
        return first

    def requests(self, day: int) -> Requests:
        """Return the usual requests, and the burst of the day: many within two hours."""
        usual = super().requests(day)
        weights = (self._burst_day == day).astype(float) * (day >= self.setting.farm_day)
        flow = np.zeros((TICKS, len(self.zones)))
        ticks = _BURST_HOURS * 4
        starts = int(chance(self.seed, 43, day).integers(0, TICKS - ticks))
        flow[starts : starts + ticks] = np.bincount(self.viewer_country, weights, len(self.zones))
        flow = flow * 3 / ticks
        if flow.sum() < 1:
            return usual
        burst = self.draw_requests(day, weights, flow, self.stream + 1)
        order = np.argsort(np.concatenate([usual.ts, burst.ts]), kind="stable")
        columns = (
            np.concatenate([getattr(usual, name), getattr(burst, name)]) for name in Requests.__slots__
        )
        return Requests(*(column[order] for column in columns))


STRANGER_ZONES: Final = {"FR": "Europe/Paris", "CA": "America/Toronto", "NG": "Africa/Lagos"}
_STRANGER_SHARES: Final = (0.45, 0.3, 0.25)
_APPS: Final = 60
_DEVICES: Final = 4
_GOODS: Final = 9
_STRANGER_TASTE: Final = 0.5
"""Standard deviation of the logarithm of personal taste, which multiplies clicks."""
_MOST_CHANCES: Final = (0.5, 0.9, 0.9, 0.9)
"""No chance of a click, conversation, spam or lead is higher."""
_STRANGER_GROUPS: Final = (
    GroupKind("day", 1.0),
    GroupKind("day", 1.0, delay="late"),
    GroupKind("day", 1.2),
    GroupKind("day", 3.0, target=1.1),
    GroupKind("day", 0.8, joins=5.0),
    GroupKind("day", 1.0),
    GroupKind("total", 14.0, leaves=14.0),
)
_STRANGER_ADVERTISERS: Final = 5
_STRANGER_ADS: Final = 3
_IMITATORS: Final = 0.012
"""The share of viewers who belong to the farm."""


@dataclass(frozen=True, slots=True)
class StrangersSetting(WorldSetting):
    """Settings of the world of strangers.

    ``taste``, ``weariness`` and ``farms`` are strengths: 1 is usual, 0 is none.
    """

    viewers: int = 250_000
    requests: int = 70_000
    budget_micros: int = 20_000_000
    taste: float = 1.0
    weariness: float = 1.0
    farms: float = 1.0
    farm_day: int = 4
    lead_micros: int = 350_000


class StrangersWorld(World):
    """Passers-by in sixty apps, and seven ad groups with three ads each.

    Theory. A request shows the app and sometimes the device. Chances are products of factors: of the app,
    of the ad, and of the app with the goods on sale, with heavy tails. A lead has either of two motives, so
    its chance is one less the product of both misses. Imitators come from the best apps and behave as people
    do, but their chats lead nowhere and are seldom marked. People tire of an advertiser, not of an ad.
    """

    name = "strangers"
    zones: ClassVar = STRANGER_ZONES
    day_shape = (18.0, 0.6, 0.4)
    stream = 52
    delay_hours: ClassVar = {"fast": 0.5, "mixed": 8.0, "slow": 24.0, "late": 60.0}
    places: tuple[Features, ...] = ({}, {"spot": "full"}, {"spot": "bar"})
    setting: StrangersSetting

    def __init__(self, setting: StrangersSetting, seed: int) -> None:
        super().__init__(setting, seed)
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
        self._places = PlacementMix(np.array([0.5, 0.2, 0.3]), np.array([0.0, 0.4, -0.4]))
        by_hour = 0.6 * np.sin((np.arange(TICKS) * 24 / TICKS - 14) * 2 * np.pi / 24)
        self._market = OutsideBids(0.0024 * setting.competition, 0.45, 0.35, bidders=3, by_tick=by_hour)
        rng = chance(seed, 51)
        money = WorldBudget(setting.budget_micros, setting.lead_micros, _STRANGER_SHARES, setting.days)
        self.groups = make_groups(rng, _STRANGER_GROUPS, money, STRANGER_ZONES, _STRANGER_ADVERTISERS)
        self.advertisers = tuple(f"house-{number}" for number in range(_STRANGER_ADVERTISERS))
        ads = len(self.groups) * _STRANGER_ADS
        self._goods = rng.integers(0, _GOODS, ads)
        listed: list[WorldAd] = []
        for number, goods in enumerate(self._goods):
            features: Features = {"goods": f"goods {goods}"}
            if rng.random() < 0.5:
                features["price"] = float(rng.integers(5, 200))
            listed.append(WorldAd(f"c{number}", number // _STRANGER_ADS, features))
        self.ads = tuple(listed)
        midday = STARTS_TS + int(self.days * 0.55) * DAY + 13 * HOUR
        self.edits = (
            Edit(midday, 2, {"budget_micros": round(1.8 * self.groups[2].budget_micros)}),
            Edit(midday + 5 * HOUR, 5, {"is_on": False}),
            Edit(midday + 20 * HOUR, 5, {"is_on": True}),
        )
        by_app = np.exp(rng.normal(0, 0.5, (3, _APPS)))
        fit = np.exp(rng.standard_t(4, (2, _APPS, _GOODS)) * 0.4)[:, :, self._goods]
        by_device = np.exp(rng.normal(0, 0.35, (2, _DEVICES + 1, ads)))
        by_ad = np.exp(rng.normal(0, 0.3, (2, ads)))
        # For a person of usual taste, the chances of apps (rows) and ads (columns) on each device.
        cells: list[list[Floats]] = []
        for device in range(_DEVICES + 1):
            click = 0.02 * by_app[0][:, None] * fit[0] * by_ad[0] * by_device[0, device]
            talk = np.repeat(0.4 * by_app[1][:, None], ads, 1)
            spam = np.repeat(0.22 * by_app[2][:, None] ** 0.7, ads, 1) * by_ad[1]
            need, price = 0.15 * fit[1], np.broadcast_to(0.2 * by_device[1, device], fit[1].shape)
            lead = 1 - (1 - np.minimum(need, 0.9)) * (1 - np.minimum(price, 0.9))
            stages = (click, talk, spam, lead)
            cells.append([np.minimum(*pair) for pair in zip(stages, _MOST_CHANCES, strict=True)])
        self._cells = [np.stack([cell[stage] for cell in cells]).astype(np.float32) for stage in range(4)]
        """Chances by device, app and ad: click, conversation, spam, lead."""
        self._draw_viewers(rng, cells[0])
        clicks = np.zeros_like(self._cells[0])
        for node, weight in NORMAL_NODES:
            factor = np.float32(np.exp(_STRANGER_TASTE * setting.taste * node))
            clicks += np.float32(weight) * np.minimum(self._cells[0] * factor, np.float32(_MOST_CHANCES[0]))
        self._mean_click = np.asarray(clicks[self._device, self._app])
        click, talk, spam, lead = (cell[self._device, self._app] for cell in self._cells)
        click = np.minimum(click * self._taste, np.float32(_MOST_CHANCES[0]))
        spam[self.is_farm] = 0.97
        lead[self.is_farm] = 0.01
        self._tables = Tables(np.log(click / (1 - click)), talk, spam, lead)

    def _draw_viewers(self, rng: np.random.Generator, chances: Sequence[Floats]) -> None:
        """Draw viewers; ``chances`` of apps and ads on an unknown device tell which apps are best."""
        count = self.setting.viewers
        self.viewer_country = rng.choice(len(STRANGER_ZONES), count, p=_STRANGER_SHARES)
        crowded = rng.dirichlet(np.full(_APPS, 0.8))
        self._app = rng.choice(_APPS, count, p=crowded)
        self._device = rng.integers(0, _DEVICES + 1, count)
        self.farm_of = np.where(rng.random(count) < _IMITATORS * self.setting.farms, 0, -1)
        self.farm_starts = (STARTS_TS + self.setting.farm_day * DAY,)
        worth = np.prod([chance.mean(1) for chance in chances[:2]], 0) * chances[3].mean(1)
        self._best = np.argsort(-worth)[: _APPS // 6]
        self._app[self.is_farm] = rng.choice(self._best, int(self.is_farm.sum()))
        self._value = standardize(np.log(worth)[self._app])
        self.viewer_ids = tuple(f"{number:08x}" for number in rng.permutation(count))
        shown = [{"app": f"app-{app}"} for app in range(_APPS)]
        devices = [{}, *({"device": f"d{device}"} for device in range(1, _DEVICES + 1))]
        self.viewer_features = tuple(
            {**shown[app], **devices[device]} for app, device in zip(self._app, self._device, strict=True)
        )
        self._taste = np.exp(_STRANGER_TASTE * self.setting.taste * rng.normal(0, 1, (count, 1))).astype(
            np.float32
        )
        self._activity = np.where(self.is_farm, 0.0, rng.pareto(2.5, count) + 0.1)
        self._busy_farm = (0, 5.0 * self._activity.mean(), range(self.setting.farm_day, self.days))

    def observable(self, day: int, past: Past) -> ObservableChances:
        """Return means over taste; each mark of spam raises the chance of an imitator."""
        talk, spam, lead = (cell[self._device, self._app] for cell in self._cells[1:])
        talks = self._mean_click * talk
        chances = np.zeros(self.setting.viewers)
        if day >= self.setting.farm_day and self.setting.farms:
            weights = self.weights(day)
            farms = np.bincount(self._app, self.is_farm * weights, _APPS)
            people = np.maximum(np.bincount(self._app, ~self.is_farm * weights, _APPS), 1e-9)
            chances = farm_chance((farms / people)[self._app], 0.97, self.nature, past)
        farm = chances[:, None].astype(np.float32)
        spams = talks * ((1 - farm) * spam + farm * np.float32(0.97))
        leads = talks * ((1 - farm) * (1 - spam) * lead + farm * np.float32(0.03 * 0.01))
        return ObservableChances(self._mean_click, talks, leads, spams)


HOUR_ZONES: Final = {
    "FR": "Europe/Paris",
    "JP": "Asia/Tokyo",
    "BR": "America/Sao_Paulo",
    "AE": "Asia/Dubai",
}
_HOUR_SHARES: Final = (0.35, 0.25, 0.25, 0.15)
_DAYPARTS: Final = (0.07, 0.28, 0.3, 0.35)
"""Shares of the people who come at night, in the morning, in the afternoon and in the evening."""
_SCENES: Final = 6
_TRADES: Final = 8
_HOUR_ADS: Final = 3
_SHOPS: Final = 6
_HOUR_CHAT: Final = 0.6
"""Standard deviation of personal chattiness, in logits."""
_WILL: Final = 0.8
"""Standard deviation of personal willingness to share a contact, in logits."""
_NIGHT_FARM: Final = (-0.8, 0.6, 0.93, 0.02)
"""Behaviour of the farm, which works at night; see `FarmChances`."""
_NIGHT_SHIFT: Final = 0.01
"""Share of the viewers who belong to the farm."""
_HOUR_GROUPS: Final = (
    GroupKind("day", 1.0),
    GroupKind("day", 1.2),
    GroupKind("day", 0.8),
    GroupKind("day", 1.0, joins=5.0),
    GroupKind("day", 3.0, target=1.2),
    GroupKind("total", 14.0, leaves=14.0),
    GroupKind("day", 1.0),
    GroupKind("day", 0.9, joins=8.0),
)


@dataclass(frozen=True, slots=True)
class HoursSetting(WorldSetting):
    """Settings of the world of hours.

    ``dayparts``, ``weariness`` and ``farms`` are strengths: 1 is usual, 0 is none.
    """

    viewers: int = 20_000
    requests: int = 70_000
    budget_micros: int = 12_000_000
    dayparts: float = 1.0
    weariness: float = 1.0
    farms: float = 1.0
    farm_day: int = 4
    lead_micros: int = 350_000


class HoursWorld(World):
    """People in four time zones who come at their part of the day, and eight ad groups with three ads each.

    Theory. Everybody has a part of the day. No field tells it, but the hour of a request in its country does.
    It decides which scenes of ads please, and how willing people are. Trades matter less. Some people chat
    more and share more, which is hidden. A click farm with the usual fields works at night.
    """

    name = "hours"
    zones: ClassVar = HOUR_ZONES
    day_shape = (18.0, 0.0, 0.0)
    stream = 62
    delay_hours: ClassVar = {"fast": 0.4, "mixed": 6.0, "slow": 20.0}
    places: tuple[Features, ...] = ({"slot": "list"}, {"slot": "banner"})
    setting: HoursSetting

    def __init__(self, setting: HoursSetting, seed: int) -> None:
        super().__init__(setting, seed)
        self.nature = Nature(
            weariness=0.25 * setting.weariness,
            night=0.6,
            once=True,
            view_lost=0.02,
            view_after_s=2.0,
            spam_recall=0.8,
            spam_after_s=(300.0, 6 * 3_600.0),
        )
        self._places = PlacementMix(np.array([0.7, 0.3]), np.array([0.1, -0.3]))
        by_hour = 0.3 * np.sin((np.arange(TICKS) * 24 / TICKS - 12) * 2 * np.pi / 24)
        self._market = OutsideBids(0.003 * setting.competition, 0.5, 0.15, bidders=2, by_tick=by_hour)
        rng = chance(seed, 61)
        money = WorldBudget(setting.budget_micros, setting.lead_micros, _HOUR_SHARES, setting.days)
        self.groups = make_groups(rng, _HOUR_GROUPS, money, HOUR_ZONES, _SHOPS)
        self.advertisers = tuple(f"shop-{number}" for number in range(_SHOPS))
        scenes = rng.integers(0, _SCENES, len(_HOUR_GROUPS) * _HOUR_ADS)
        self.ads = tuple(
            WorldAd(f"h{number}", number // _HOUR_ADS, {"scene": f"scene {scene}"})
            for number, scene in enumerate(scenes)
        )
        midday = STARTS_TS + int(self.days * 0.5) * DAY + 12 * HOUR
        self.edits = (
            Edit(midday, 0, {"budget_micros": round(1.5 * self.groups[0].budget_micros)}),
            Edit(midday + 2 * HOUR, 6, {"is_on": False}),
            Edit(midday + 26 * HOUR, 6, {"is_on": True}),
        )
        self._draw_viewers(rng)
        strength = 0.9 * setting.dayparts
        by_daypart = rng.normal(0, strength, (2, len(_DAYPARTS), _SCENES))
        by_trade = rng.normal(0, 0.3, (2, _TRADES, _SCENES))
        by_ad = rng.normal(0, 0.3, (2, len(self.ads)))
        willing = rng.normal(0, 0.5 * setting.dayparts, (2, len(_DAYPARTS), 1))
        fits = [
            (by_daypart[stage] + willing[stage])[self._daypart][:, scenes]
            + by_trade[stage][self._trade][:, scenes]
            for stage in (0, 1)
        ]
        self._logits = [
            np.asarray(logit, np.float32)
            for logit in (
                -3.4 + fits[0] + by_ad[0],
                -0.5 + 0.3 * fits[0],
                -1.4 + 0.3 * (self._trade % 3)[:, None] + np.zeros(len(self.ads)),
                -1.4 + fits[1] + by_ad[1],
            )
        ]
        chat, will = rng.normal(0, 1, (2, setting.viewers, 1)).astype(np.float32)
        chat, will = _HOUR_CHAT * chat, _WILL * will
        click, talk, spam, lead = self._logits
        tables = Tables(click + chat, sigmoid(talk + chat), sigmoid(spam + chat), sigmoid(lead + will))
        set_farm(tables, self.is_farm, _NIGHT_FARM)
        self._tables = tables
        worth = sigmoid(click) * sigmoid(talk) * (1 - sigmoid(spam)) * sigmoid(lead)
        self._value = standardize(np.log(worth).mean(1))

    def _draw_viewers(self, rng: np.random.Generator) -> None:
        count = self.setting.viewers
        self.viewer_country = rng.choice(len(HOUR_ZONES), count, p=_HOUR_SHARES)
        self._daypart = rng.choice(len(_DAYPARTS), count, p=_DAYPARTS)
        self._trade = rng.integers(0, _TRADES, count)
        since = np.round(rng.lognormal(6.0, 1.0, count))
        self.farm_of = np.where(rng.random(count) < _NIGHT_SHIFT * self.setting.farms, 0, -1)
        self.farm_starts = (STARTS_TS + self.setting.farm_day * DAY,)
        self._daypart[self.is_farm] = 0
        self._strata = self.viewer_country * len(_DAYPARTS) + self._daypart
        self.viewer_ids = tuple(f"u{number:06d}" for number in rng.permutation(count))
        self.viewer_features = tuple(
            {"trade": f"trade {trade}", "since_days": int(days)}
            for trade, days in zip(self._trade, since, strict=True)
        )
        self._activity = np.where(self.is_farm, 0.0, rng.lognormal(0, 0.7, count))
        self._busy_farm = (0, 4.0 * self._activity.mean(), range(self.setting.farm_day, self.days))

    def _flow_by_daypart(self, day: int) -> Floats:
        """Return the expected requests by tick, country and part of the day; a part has six local hours."""
        weights, parts, size = self.weights(day), len(_DAYPARTS), TICKS // len(_DAYPARTS)
        usual = (self._activity * ~self.is_farm).sum()
        shares = np.bincount(self._strata, weights, len(self.zones) * parts).reshape(-1, parts) / usual
        flow = np.zeros((TICKS, len(self.zones), parts))
        for country, zone in enumerate(self.zones.values()):
            ahead = round(offset_s(zone, day) / 86_400 * TICKS)
            for part in range(parts):
                curve = np.zeros(TICKS)
                curve[part * size : (part + 1) * size] = 1 / size
                flow[:, country, part] = np.roll(curve, -ahead) * shares[country, part]
        return self.setting.requests * self.week[day % 7] * flow

    def flow(self, day: int) -> Floats:
        return np.asarray(self._flow_by_daypart(day).sum(2))

    def requests(self, day: int) -> Requests:
        """Return the requests of a day, each by a viewer of that part of the day in its country."""
        flow = self._flow_by_daypart(day).reshape(TICKS, -1)
        return self.draw_requests(day, self.weights(day), flow, self.stream, self._strata)

    def observable(self, day: int, past: Past) -> ObservableChances:
        """Return means over personal taste; at night, marks of spam raise the chance of the farm."""
        click, talk, spam, lead = self._logits
        clicks, talks, spams = (np.zeros_like(click) for _ in range(3))
        for node, weight in NORMAL_NODES:
            chat = np.float32(_HOUR_CHAT * node)
            part = np.float32(weight) * sigmoid(click + chat)
            clicks += part
            part *= sigmoid(talk + chat)
            talks += part
            spams += part * sigmoid(spam + chat)
        leads = sigmoid(np.float32(logistic_shrinkage(_WILL)) * lead)
        farm = np.zeros(self.setting.viewers)
        if day >= self.setting.farm_day and self.setting.farms:
            at_night, weights = self._daypart == 0, self.weights(day)
            odds = (weights * self.is_farm).sum() / (weights * (at_night & ~self.is_farm)).sum()
            farm = np.where(at_night, farm_chance(float(odds), _NIGHT_FARM[2], self.nature, past), 0.0)
        people = (clicks, talks, (talks - spams) * leads, spams)
        return mix_farms(farm[:, None], people, (_NIGHT_FARM,))
