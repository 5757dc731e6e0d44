"""A small world of steps and thresholds: few viewers who come often, numbers that matter in jumps."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from contatto.simulator.worlds.model import (
    DAY,
    HOUR,
    STARTS_TS,
    Ad,
    Edit,
    Features,
    Flags,
    Floats,
    Group,
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
    sigmoid,
)

COUNTRIES: Final = ("US", "GB", "AU")
_ZONES: Final = {"US": "America/New_York", "GB": "Europe/London", "AU": "Australia/Sydney"}
_NUMBERS: Final = ("visits", "basket", "distance", "age_days", "hour_pref", "score_x")
_TOPICS: Final = 30
_RULES: Final = 5
"""How many yes-or-no questions are asked of a viewer; ads answer to combinations of the answers."""
_NOISE: Final = 0.6
_FARM_DAYS: Final = (5, 8)
_FARM: Final = (-0.5, 0.7, 0.95, 0.01)
_OFFERS: Final = 6


@dataclass(frozen=True, slots=True)
class ThresholdsSetting:
    """How the small world is set up."""

    viewers: int = 8_000
    days: int = 14
    requests: int = 50_000
    groups: int = 10
    weariness: float = 1.0
    farms: float = 1.0
    delay: float = 1.0
    competition: float = 1.0
    budget_micros: int = 5_000_000


class ThresholdsWorld:
    """Eight thousand viewers, ten ad groups, two of which always look for conversations.

    Theory. Five questions with yes or no are answered by thresholds in what one sees, some by two fields of
    which exactly one must hold. The chances of an ad hang on pairs of answers, so no sum of single fields
    tells them. A field that is missing is missing for a reason. What sets a viewer apart is never seen.
    """

    name = "thresholds"
    countries = COUNTRIES
    places: tuple[Features, ...] = ({"slot": "top"}, {"slot": "side", "size": 250.0})

    def __init__(self, setting: ThresholdsSetting, seed: int) -> None:
        self.setting, self.seed, self.days = setting, seed, setting.days
        self.nature = Nature(
            weariness=0.08 * setting.weariness,
            night=0.7,
            once=True,
            view_lost=0.01,
            view_after_s=1.0,
            spam_recall=0.7,
            spam_after_s=(600.0, 86_400.0),
            qualities=True,
        )
        rng = chance(seed, 21)
        self._draw_viewers(rng)
        self._draw_ads(rng)
        self._draw_answers(rng)
        self._places = Places(np.array([0.6, 0.4]), np.array([0.2, -0.3]))
        self._market = Market(0.004 * setting.competition, 0.5, 0.2)
        self._tables = self._chances()
        worth = np.log(self._worth()).mean(1)
        self._value = ((worth - worth.mean()) / worth.std()).astype(np.float32)

    def _draw_viewers(self, rng: np.random.Generator) -> None:
        count = self.setting.viewers
        self.viewer_country: Ints = rng.choice(3, count, p=[0.5, 0.3, 0.2])
        self.viewer_ids = tuple(f"{rng.integers(0, 1 << 62):016x}" for _ in range(count))
        numbers = rng.normal(0, 1, (len(_NUMBERS), count))
        topics = rng.random((count, _TOPICS)) < rng.beta(0.5, 5, _TOPICS)
        sure = rng.random(count)
        hidden = np.stack([sure < 0.5 / (1 + np.exp(-1.5 * row)) for row in numbers])
        hidden[0] = hidden[5] = False
        self._answers = self._ask(numbers, topics, hidden)
        self.is_farm = rng.random(count) < 0.02 * self.setting.farms
        self.farm_of: Ints = np.where(self.is_farm, 0, -1)
        self.farm_starts = (STARTS_TS + _FARM_DAYS[0] * DAY,)
        self._answers[self.is_farm] = self._answers[rng.integers(0, count, int(self.is_farm.sum()))]
        self._noise = _NOISE * rng.normal(0, 1, (3, count, 1)).astype(np.float32)
        self._activity = rng.lognormal(0, 0.8, count)
        self.viewer_features = tuple(_shown(numbers[:, n], topics[n], hidden[:, n]) for n in range(count))

    def _ask(self, numbers: Floats, topics: Flags, hidden: Flags) -> Flags:
        """The five answers of each viewer (rows)."""
        there = np.where(hidden, -np.inf, numbers)
        few = topics[:, :10].sum(1)
        return np.stack(
            [
                numbers[0] > 0.4,
                (there[1] > 0.3) ^ (few > 1),
                hidden[2] | (numbers[2] < -0.5),
                np.abs(numbers[5]) < 0.6,
                topics[:, 10:16].any(1) ^ (there[3] > 0.0),
            ],
            1,
        )

    def _draw_ads(self, rng: np.random.Generator) -> None:
        self.advertisers = tuple(f"client {number}" for number in range(6))
        groups: list[Group] = []
        ads: list[Ad] = []
        self._offer = []
        for number in range(self.setting.groups):
            group = self._group(rng, number)
            groups.append(group)
            for _ in range(1 + number % 2):
                offer = int(rng.integers(0, _OFFERS))
                self._offer.append(offer)
                features: dict[str, Any] = {
                    "offer": f"offer {offer}",
                    "discount": float(rng.choice([0, 5, 10, 30])),
                }
                if rng.random() < 0.5:
                    features["tags"] = [f"topic {each}" for each in rng.integers(0, _TOPICS, 3)]
                if rng.random() < 0.3:
                    features["form"] = "yes"
                ads.append(Ad(f"creative {len(ads)}", number, features))
        self.groups, self.ads = tuple(groups), tuple(ads)
        midday = STARTS_TS + int(self.days * 0.6) * DAY + 15 * HOUR
        self.edits: tuple[Edit, ...] = (
            Edit(midday, 0, {"budget_micros": 2 * groups[0].budget_micros}),
            Edit(midday + HOUR, 3, {"budget_micros": groups[3].budget_micros // 2}),
            Edit(midday + 2 * HOUR, 4, {"status": "off"}),
            Edit(midday + 30 * HOUR, 4, {"status": "on"}),
        )

    def _group(self, rng: np.random.Generator, number: int) -> Group:
        aimed = [name for name in COUNTRIES if rng.random() < 0.6] or ["US"]
        shares = {"US": 0.5, "GB": 0.3, "AU": 0.2}
        reach = sum(shares[name] for name in aimed)
        total = number == 5
        budget = (
            self.setting.budget_micros * reach * (self.days if total else 1) * float(rng.uniform(0.5, 1.5))
        )
        joins = (number - 5) * self.days // 7 if number > 5 else 0
        return Group(
            f"set {number}",
            number % 6,
            "total" if total else "day",
            round(budget),
            tuple(aimed),
            STARTS_TS + joins * DAY + (9 * HOUR if joins else 0),
            STARTS_TS + self.days * DAY if total else 0,
            _ZONES[aimed[0]],
            goal="conversation" if number in {1, 7} else "",
            kind=("office", "evening")[number % 2],
        )

    def _draw_answers(self, rng: np.random.Generator) -> None:
        """What each pair of answers does to the logits of each offer."""
        offers = np.array(self._offer)
        pairs = [(a, b) for a in range(_RULES) for b in range(a)]
        both = np.stack([self._answers[:, a] & self._answers[:, b] for a, b in pairs], 1).astype(np.float32)
        weights = rng.normal(0, 1, (3, len(pairs), _OFFERS))
        self._parts = [
            (both @ weights[stage].astype(np.float32) * scale)[:, offers]
            for stage, scale in enumerate((0.5, 0.5, 0.9))
        ]
        self._parts = [part - part.mean() for part in self._parts]
        self._by_ad = rng.normal(0, 0.3, (3, len(offers))).astype(np.float32)

    def _logits(self) -> tuple[Floats, Floats, Floats, Floats]:
        """What one can see of the logits of viewers (rows) and ads (columns)."""
        bait = np.array([float(ad.features["discount"]) for ad in self.ads], np.float32) / 30
        click = -3.5 + self._parts[0] + self._by_ad[0] + 0.4 * bait
        talk = -0.9 + self._parts[1]
        spam = -1.5 + 0.8 * self._parts[1] + 0.8 * bait + self._by_ad[1]
        lead = -1.3 + self._parts[2] + self._by_ad[2]
        return click, talk, spam, lead

    def _chances(self) -> Tables:
        click, talk, spam, lead = self._logits()
        chat, trust, will = self._noise
        tables = Tables(click + 0.3 * chat, sigmoid(talk + chat), sigmoid(spam + trust), sigmoid(lead + will))
        tables.click[self.is_farm] = _FARM[0]
        for table, value in zip((tables.talk, tables.spam, tables.lead), _FARM[1:], strict=True):
            table[self.is_farm] = value
        return tables

    def _worth(self) -> Floats:
        tables = self._tables
        return np.asarray(sigmoid(tables.click) * tables.talk * (1 - tables.spam) * tables.lead)

    def tables(self, day: int) -> Tables:
        return self._tables

    def known(self, day: int, past: Past) -> Known:
        """Means over what sets viewers apart; who wrote much spam is likely a farm."""
        click, talk, spam, lead = self._logits()
        soft = np.float32(1 / np.sqrt(1 + np.pi * _NOISE**2 / 8))
        nodes, weights = np.polynomial.hermite_e.hermegauss(5)
        sums = [np.zeros(click.shape, np.float32) for _ in range(3)]
        for node, weight in zip(_NOISE * nodes, weights / weights.sum(), strict=True):
            clicks = sigmoid(click + np.float32(0.3 * node))
            for total, value in zip(sums, (clicks, clicks * sigmoid(talk + np.float32(node))), strict=False):
                total += np.float32(weight) * value
        spams, leads = sigmoid(soft * spam), sigmoid(soft * lead)
        farm = self._farm_chance(day, past)[:, None]
        there = 1 / (1 + np.exp(-_FARM[0]))
        tables = (sums[0], sums[1], sums[1] * (1 - spams) * leads, sums[1] * spams)
        at_farms = (there, there * _FARM[1], there * _FARM[1] * 0.05 * _FARM[3], there * _FARM[1] * _FARM[2])
        mixed = [(1 - farm) * table + farm * value for table, value in zip(tables, at_farms, strict=True)]
        return Known(*(table.astype(np.float32) for table in mixed))

    def _farm_chance(self, day: int, past: Past) -> Floats:
        if not _FARM_DAYS[0] <= day < _FARM_DAYS[1]:
            return np.zeros(self.setting.viewers)
        odds = 0.02 * self.setting.farms * (_FARM[2] / 0.25) ** past.spams
        odds *= ((1 - _FARM[2]) / 0.75) ** (past.chats - past.spams)
        return np.asarray(odds / (1 + odds))

    def _weights(self, day: int) -> Floats:
        busy = _FARM_DAYS[0] <= day < _FARM_DAYS[1]
        return np.asarray(np.where(self.is_farm, 8.0 if busy else 0.0, self._activity))

    def requests(self, day: int) -> Requests:
        crowd = Crowd(self.viewer_country, self._weights(day), self._value, len(COUNTRIES))
        return draw_requests(
            chance(self.seed, 23, day), day, self.flow(day), crowd, self._places, self._market
        )

    def flow(self, day: int) -> Floats:
        usual = (self._activity * ~self.is_farm).sum()
        weight = np.bincount(self.viewer_country, self._weights(day), len(COUNTRIES)) / usual
        curves = [local(day_curve(13.0, 0.8, 0.2), offset_s(_ZONES[name], day)) for name in COUNTRIES]
        week = 0.6 if day % 7 >= 5 else 1.1
        return np.asarray(self.setting.requests * week * np.stack(curves, 1) * weight)

    def delays_s(self, group: int, draws: Floats) -> Floats:
        """In the office leads take hours, in the evening days; a tenth comes later than any window."""
        mean = 6 * 3_600 if self.groups[group].kind == "office" else 1.5 * 86_400
        late = draws[:, 0] < 0.1
        return np.asarray(self.setting.delay * np.where(late, 10 * 86_400, -np.log1p(-draws[:, 1]) * mean))


def _shown(numbers: Floats, topics: Flags, hidden: Flags) -> Features:
    """What one sees of a viewer: numbers on many scales, a list of topics, and gaps."""
    scales = {
        "visits": round(float(np.exp(2 + numbers[0])), 0),
        "basket": round(float(np.exp(4 + 0.7 * numbers[1])), 2),
        "distance": round(float(np.exp(1 + numbers[2])), 3),
        "age_days": int(400 + 120 * numbers[3]),
        "hour_pref": round(float(12 + 3 * numbers[4]), 1),
        "score_x": round(float(np.clip(50 + 12 * numbers[5], 0, 100)), 3),
    }
    found: Features = {
        name: value for (name, value), gap in zip(scales.items(), hidden, strict=True) if not gap
    }
    if topics.any():
        found["topics"] = [f"topic {number}" for number in np.flatnonzero(topics)]
    return found
