"""A world of interests: each fits ads one to one, personal taste is heavy-tailed, regulars tire fast."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np

from contatto.simulator.worlds.bazaar import Kind, Money, make_groups
from contatto.simulator.worlds.model import (
    DAY,
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
from contatto.simulator.worlds.stream import (
    Crowd,
    Market,
    Places,
    chance,
    day_curve,
    draw_requests,
    local,
    merge_requests,
    sigmoid,
)

ZONES: Final = {
    "DE": "Europe/Berlin",
    "PL": "Europe/Warsaw",
    "ES": "Europe/Madrid",
    "JP": "Asia/Tokyo",
    "CL": "America/Santiago",
}
_SHARES: Final = (0.25, 0.2, 0.2, 0.2, 0.15)
_INTERESTS: Final = 30
_TOPICS: Final = 12
_TONES: Final = 4
_BANDS: Final = 6
_CITIES: Final = 25
_TASTE: Final = 0.35
"""Scale of the personal taste for a topic, drawn from Student's t with three degrees of freedom."""
_CHAT: Final = 0.4
_DRAWN: Final = 400_000
KINDS: Final = (
    Kind("day", 1.0),
    Kind("day", 1.3),
    Kind("day", 0.7, delay="late"),
    Kind("day", 1.0, joins=7.0),
    Kind("day", 3.0, target=1.2),
    Kind("day", 1.0),
)
_ADVERTISERS: Final = 5
_ADS: Final = 4
_BURST: Final = (-0.4, 0.02, 0.95, 0.01)
_TALKERS: Final = (-0.8, 0.8, 0.97, 0.02)
"""Of click farms: the logit of a click, then the chances of conversation, spam and lead."""
_BURST_HOURS: Final = 2


@dataclass(frozen=True, slots=True)
class InterestsSetting:
    """Settings of the world of interests; strengths are 1 as usual and 0 for none.

    From ``farm_day`` on, new ids come in a burst every day; two days later talkers join.
    """

    viewers: int = 18_000
    days: int = 14
    requests: int = 70_000
    taste: float = 1.0
    weariness: float = 1.0
    farms: float = 1.0
    farm_day: int = 3
    delay: float = 1.0
    competition: float = 1.0
    budget_micros: int = 50_000_000
    lead_micros: int = 500_000


class InterestsWorld:
    """Regulars with lists of interests, and six ad groups with four ads each.

    Theory. An interest and a topic have a weight of their own for clicks and another for leads; most weights
    are small and some are large. Only crosses of interests with topics tell them. Personal taste for a topic
    is heavy-tailed and hidden; it shows in earlier clicks. Each view makes the next click much less likely.
    """

    name = "interests"
    countries = tuple(ZONES)
    places: tuple[Features, ...] = ({"slot": "feed"}, {"slot": "story"}, {"slot": "search"})

    def __init__(self, setting: InterestsSetting, seed: int) -> None:
        self.setting, self.seed, self.days = setting, seed, setting.days
        self.nature = Nature(
            weariness=0.7 * setting.weariness,
            night=0.5,
            once=True,
            told_late=True,
            view_lost=0.02,
            view_after_s=2.0,
            spam_recall=0.8,
            farm_contact=0.25,
            farm_recall=0.7,
        )
        self._places = Places(np.array([0.6, 0.25, 0.15]), np.array([0.0, 0.15, -0.2]))
        by_hour = 0.35 * np.cos((np.arange(TICKS) * 24 / TICKS - 11) * 2 * np.pi / 24)
        self._market = Market(0.0022 * setting.competition, 0.6, 0.2, bidders=4, by_tick=by_hour)
        rng = chance(seed, 41)
        self._draw_viewers(rng)
        self._draw_ads(rng)
        self._draw_weights(rng)
        self._tables = self._true()
        genuine = self._tables.talk * (1 - self._tables.spam) * self._tables.lead
        worth = np.log(sigmoid(self._tables.click) * genuine).mean(1)
        self._value = ((worth - worth.mean()) / worth.std()).astype(np.float32)

    def _draw_viewers(self, rng: np.random.Generator) -> None:
        people, days = self.setting.viewers, self.days
        talkers = round(0.004 * people * self.setting.farms)
        bursts = round(0.02 * people * self.setting.farms)
        count = people + talkers + bursts * days
        self.farm_of: Ints = np.repeat([-1, 1, 0], [people, talkers, bursts * days])
        self.is_farm = self.farm_of >= 0
        self._burst_day = np.where(
            self.farm_of == 0, (np.arange(count) - people - talkers) // max(bursts, 1), -1
        )
        first = self.setting.farm_day
        self.farm_starts = (STARTS_TS + first * DAY, STARTS_TS + (first + 2) * DAY)
        self.viewer_country: Ints = rng.choice(len(ZONES), count, p=_SHARES)
        popular = rng.dirichlet(np.full(_INTERESTS, 1.5))
        many = rng.integers(1, 6, count)
        drawn = [rng.choice(_INTERESTS, 5, replace=False, p=popular) for _ in range(count)]
        self._has = np.zeros((count, _INTERESTS), np.float32)
        for viewer, (interests, some) in enumerate(zip(drawn, many, strict=True)):
            self._has[viewer, interests[:some]] = 1.0
        self._band, self._city = rng.integers(0, _BANDS, count), rng.integers(0, _CITIES, count)
        self._age_days = np.round(rng.lognormal(5.0, 1.2, count))
        self._age_days[self.farm_of == 0] = np.round(rng.uniform(0, 3, bursts * days))
        self.viewer_ids = tuple(f"p{number}" for number in rng.permutation(count))
        self.viewer_features = tuple(self._features(number) for number in range(count))
        self._taste = rng.standard_t(3, (count, _TOPICS)).astype(np.float32)
        self._chat = _CHAT * rng.normal(0, 1, (count, 1)).astype(np.float32)
        self._activity = np.where(self.is_farm, 0.0, rng.lognormal(0, 0.9, count))

    def _features(self, number: int) -> Features:
        return {
            "interests": [f"i{interest}" for interest in np.flatnonzero(self._has[number])],
            "band": f"b{self._band[number]}",
            "city": f"city-{self._city[number]}",
            "account_days": int(self._age_days[number]),
        }

    def _draw_ads(self, rng: np.random.Generator) -> None:
        setting = self.setting
        money = Money(setting.budget_micros, setting.lead_micros, _SHARES, setting.days)
        self.groups = make_groups(rng, KINDS, money, ZONES, _ADVERTISERS, one_country=True)
        self.advertisers = tuple(f"brand-{number}" for number in range(_ADVERTISERS))
        self.edits: tuple[Edit, ...] = ()
        owner = np.repeat([group.advertiser for group in self.groups], _ADS)
        topics = rng.permutation(_TOPICS)
        own = rng.random(len(owner)) < 0.5  # half the ads are about the main topic of their advertiser
        self._topic = np.where(own, topics[owner], rng.integers(0, _TOPICS, len(owner)))
        self._tone = rng.integers(0, _TONES, len(owner))
        self.ads = tuple(
            Ad(f"ad{number}", number // _ADS, self._ad_features(number, rng)) for number in range(len(owner))
        )

    def _ad_features(self, number: int, rng: np.random.Generator) -> Features:
        features: Features = {"tone": f"tone-{self._tone[number]}", "about": f"topic-{self._topic[number]}"}
        if rng.random() < 0.3:
            features["form"] = "yes"
        return features

    def _draw_weights(self, rng: np.random.Generator) -> None:
        """Draw weights of interests with topics, of bands and cities with tones, and of ads."""
        shape = (2, _INTERESTS, _TOPICS)
        strong = rng.random(shape) < 0.15
        fit = np.where(strong, rng.normal(0.8, 0.9, shape), rng.normal(0, 0.1, shape))
        self._fit = fit.astype(np.float32)
        self._by_band = rng.normal(0, 0.3, (2, _BANDS, _TONES)).astype(np.float32)
        self._by_city = rng.normal(0, 0.3, (2, _CITIES)).astype(np.float32)
        self._by_interest = rng.normal(0, 0.35, (2, _INTERESTS)).astype(np.float32)
        self._by_ad = rng.normal(0, 0.25, (3, len(self.ads))).astype(np.float32)

    def _seen(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the logits of viewers (rows) and ads (columns) as far as features tell them."""
        tones = self._by_band[:, self._band[:, None], self._tone]
        fits = [(self._has @ fit)[:, self._topic] for fit in self._fit]
        chatty, dubious = (self._has @ weights for weights in self._by_interest)
        click = -3.7 + fits[0] + tones[0] + self._by_ad[0]
        talk = -0.6 + 0.3 * fits[0] + (chatty + self._by_city[0, self._city])[:, None]
        spam = -1.2 + (0.6 * chatty + dubious)[:, None] + self._by_ad[1]
        lead = -1.3 + fits[1] + tones[1] + self._by_ad[2] + self._by_city[1, self._city][:, None]
        return click, talk, spam, lead

    def _true(self) -> Tables:
        click, talk, spam, lead = self._seen()
        taste = np.float32(_TASTE * self.setting.taste) * self._taste[:, self._topic]
        tables = Tables(
            (click + taste).astype(np.float32),
            sigmoid(talk + self._chat),
            sigmoid(spam + self._chat),
            sigmoid(lead + taste),
        )
        for farm, chances in enumerate((_BURST, _TALKERS)):
            rows = self.farm_of == farm
            for table, value in zip(
                (tables.click, tables.talk, tables.spam, tables.lead), chances, strict=True
            ):
                table[rows] = value
        return tables

    def tables(self, day: int) -> Tables:  # every day is alike here
        return self._tables

    def known(self, day: int, past: Past) -> Known:
        """Return means over taste and chattiness; marks of spam and new ids raise the chance of a farm."""
        chances = self._farm_chances(day, past)
        mixed = []
        for column, table in enumerate(self._of_people):
            total = (1 - chances.sum(1))[:, None] * table
            for farm, (logit, talk, spam, lead) in enumerate((_BURST, _TALKERS)):
                click = 1 / (1 + np.exp(-logit))
                talks = click * talk
                value = (click, talks, talks * (1 - spam) * lead, talks * spam)[column]
                total = total + chances[:, farm, None] * value
            mixed.append(total.astype(np.float32))
        return Known(*mixed)

    @cached_property
    def _of_people(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Clicks, conversations, leads and spam of people, as means over the hidden parts."""
        click, talk, spam, lead = self._seen()
        soft = np.float32(1 / np.sqrt(1 + np.pi * _CHAT**2 / 8))
        clicks, fits = np.zeros_like(click), np.zeros_like(click)
        draws = np.sort(np.random.default_rng(0).standard_t(3, _DRAWN))
        tail = 2.0 ** -np.arange(2, 14)  # finer towards both ends, where chances grow fast
        edges = np.unique(np.concatenate([tail, 1 - tail, np.linspace(0, 1, 11)]) * _DRAWN).astype(int)
        for low, high in pairwise(edges.tolist()):
            node = np.float32(_TASTE * self.setting.taste * draws[low:high].mean())
            part = sigmoid(click + node) * np.float32((high - low) / _DRAWN)
            clicks += part
            fits += part * sigmoid(lead + node)
        talks, spams = sigmoid(soft * talk), sigmoid(soft * spam)
        return clicks, clicks * talks, talks * (1 - spams) * fits, clicks * talks * spams

    @cached_property
    def _new_on(self) -> Ints:
        """The first day of each viewer, as requests show it; a viewer who never comes has the last."""
        first = np.full(len(self.viewer_ids), self.days)
        for day in reversed(range(self.days)):
            first[self.requests(day).viewer] = day
        return first

    def _farm_chances(self, day: int, past: Past) -> Floats:
        """Return the chances of each viewer (rows) to be of a farm (columns), at best knowledge."""
        chances = np.zeros((len(self.viewer_ids), 2))
        if day >= self.setting.farm_day and self.setting.farms:
            is_new = (self._new_on == day) & (self._age_days <= 3)
            chances[is_new, 0] = self.is_farm[is_new].mean() if is_new.any() else 0.0
        if day >= self.setting.farm_day + 2:
            odds = 0.004 * self.setting.farms * (_TALKERS[2] / 0.25) ** past.spams
            odds *= ((1 - _TALKERS[2]) / 0.75) ** (past.chats - past.spams)
            chances[:, 1] = (odds / (1 + odds)) * (1 - chances[:, 0])
        return chances

    def _burst(self, day: int) -> tuple[Floats, Floats]:
        """Return the weights and the flow of the burst of a day: many requests within two hours."""
        weight = (self._burst_day == day).astype(float) * (day >= self.setting.farm_day)
        flow = np.zeros((TICKS, len(ZONES)))
        starts = int(chance(self.seed, 43, day).integers(0, TICKS - _BURST_HOURS * 4))
        flow[starts : starts + _BURST_HOURS * 4] = np.bincount(self.viewer_country, weight, len(ZONES))
        return weight, flow * 3 / (_BURST_HOURS * 4)

    def _usual(self, day: int) -> tuple[Floats, Floats]:
        talks = (self.farm_of == 1) & (day >= self.setting.farm_day + 2)
        weight = np.where(talks, 5.0 * self._activity.mean(), self._activity)
        shares = np.bincount(self.viewer_country, weight, len(ZONES)) / self._activity.sum()
        curves = [local(day_curve(20.0, 0.8, 0.2), offset_s(zone, day)) for zone in ZONES.values()]
        return weight, self.setting.requests * np.stack(curves, 1) * shares

    def requests(self, day: int) -> Requests:
        drawn = [
            draw_requests(
                chance(self.seed, 44 + part, day),
                day,
                flow,
                Crowd(self.viewer_country, weight, self._value, len(ZONES)),
                self._places,
                self._market,
            )
            for part, (weight, flow) in enumerate((self._usual(day), self._burst(day)))
            if flow.sum() >= 1
        ]
        return drawn[0] if len(drawn) == 1 else merge_requests(*drawn)

    def flow(self, day: int) -> Floats:
        """Return the expected requests; nobody expects a burst."""
        return self._usual(day)[1]

    def delays_s(self, group: int, draws: Floats) -> Floats:
        """Return delays: minutes, half a day, or for late ad groups three days."""
        hours = {"fast": 0.3, "mixed": 12.0, "slow": 24.0, "late": 72.0}
        mean = 3_600 * hours[self.groups[group].kind]
        return np.asarray(-np.log1p(-draws[:, 1]) * mean * self.setting.delay)
