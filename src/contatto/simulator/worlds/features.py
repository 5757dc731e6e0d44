"""Worlds in which visible features decide: linearly, or by thresholds."""

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np

from contatto.simulator.worlds.model import (
    DAY,
    HOUR,
    NORMAL_NODES,
    STARTS_TS,
    Edit,
    Features,
    Floats,
    Nature,
    ObservableChances,
    OutsideBids,
    Past,
    PlacementMix,
    Tables,
    World,
    WorldAd,
    WorldGroup,
    WorldSetting,
    chance,
    day_curve,
    farm_chance,
    logistic_shrinkage,
    mix_farms,
    set_farm,
    sigmoid,
    standardize,
)

FIELDS: Final = {
    "country": 8,
    "age": 6,
    "gender": 3,
    "device": 4,
    "language": 5,
    "interest_1": 16,
    "interest_2": 16,
    "account_age": 5,
    "verified": 2,
    "activity": 5,
}
"""Visible fields of a viewer, with their numbers of values, distributed by Zipf's law with 0.7."""
COUNTRIES: Final = ("SG", "MY", "ID", "TH", "VN", "PH", "BR", "MX")
_ZIPF: Final = 0.7
_TASTES: Final = 6
_VERTICALS: Final = 8
_FORMATS: Final = ("video", "carousel", "image")
_SLOTS: Final = ("feed", "story", "search", "profile")
_NOISE: Final = 0.6
"""Standard deviation of the hidden part of a trait; with the visible part, its variance is 1."""
_AD_SPREAD: Final = 0.35
"""Distance of an ad's direction of taste from that of its vertical, which has length 1."""


@dataclass(frozen=True, slots=True)
class LinearSetting(WorldSetting):
    """Settings of the linear world.

    ``tension`` is how much more spam chatty viewers write; ``late_ads`` start on day ``late_day``.
    """

    viewers: int = 30_000
    requests: int = 120_000
    budget_micros: int = 8_000_000
    ads: int = 20
    tension: float = 1.0
    late_ads: int = 5
    late_day: int = 7
    bid_micros: int = 0


class LinearWorld(World):
    """Thirty thousand viewers, twenty ads of as many advertisers, one competitor.

    Theory. A viewer has tastes (six numbers), likes to chat or not, is prone to spam or not, and willing
    to share or not: each a sum of weights of visible fields, plus noise. An ad has a direction in the space
    of tastes. Chances are logistic in their products, so crosses of viewer and ad can learn the visible part.
    """

    name = "linear"
    zones: ClassVar = dict.fromkeys(COUNTRIES, "UTC")
    stream = 2
    places: tuple[Features, ...] = tuple({"slot": slot} for slot in _SLOTS)
    setting: LinearSetting
    nature = Nature()
    _observable: ObservableChances | None = None
    """The predictions, the same on all days."""

    def __init__(self, setting: LinearSetting, seed: int) -> None:
        super().__init__(setting, seed)
        rng = chance(seed, 1)
        self._draw_viewers(rng)
        # Ads, of as many advertisers.
        count = setting.ads
        vertical = np.arange(count) % _VERTICALS
        base = rng.normal(0, 1, (_VERTICALS, _TASTES))
        base /= np.linalg.norm(base, axis=1, keepdims=True)
        own = rng.normal(0, _AD_SPREAD / np.sqrt(_TASTES), (count, _TASTES))
        self._vectors = (base[vertical] + own).astype(np.float32)
        self._format = rng.integers(0, len(_FORMATS), count)
        self._form = rng.random(count) < 0.5
        self._by_ad = rng.normal(0, 0.3, (3, count)).astype(np.float32)
        self._format_shift = rng.normal(0, 0.15, len(_FORMATS))
        shape = (2, _VERTICALS, FIELDS["age"], FIELDS["gender"])
        self._by_age_gender = rng.normal(0, 1, shape).astype(np.float32)
        self._vertical = vertical
        kinds = rng.permutation(np.arange(count) % 3)
        targets = rng.random((count, len(COUNTRIES))) < 0.7
        targets[~targets.any(1), 0] = True
        late = STARTS_TS + setting.late_day * DAY
        self.advertisers = tuple(f"adv{number}" for number in range(count))
        self.groups = tuple(
            WorldGroup(
                f"g{number}",
                number,
                "day",
                setting.budget_micros,
                tuple(country for country, is_set in zip(COUNTRIES, targets[number], strict=True) if is_set),
                late if number >= count - setting.late_ads else STARTS_TS,
                bid_micros=setting.bid_micros,
                kind=("fast", "mixed", "slow")[kinds[number]],
            )
            for number in range(count)
        )
        self.ads = tuple(
            WorldAd(
                f"a{number}",
                number,
                {
                    "vertical": f"c{vertical[number]}",
                    "format": _FORMATS[self._format[number]],
                    "form": "yes" if self._form[number] else "no",
                },
            )
            for number in range(count)
        )
        # Chances.
        self._places = PlacementMix(np.array([0.5, 0.25, 0.15, 0.1]), rng.normal(0, 0.25, len(_SLOTS)))
        self._market = OutsideBids(0.004 * setting.competition)
        self._flow = setting.requests * np.outer(day_curve(20.0, 0.7), self._country_shares)
        tastes, click, spam, lead = self._visible_logits()
        noise = _NOISE * self._noise
        taste = tastes + noise[:, :_TASTES] @ self._vectors.T
        chat = (self._chatty + noise[:, _TASTES])[:, None]
        willing = (self._willing + noise[:, _TASTES + 1])[:, None]
        spammy, tension = noise[:, _TASTES + 2][:, None], self.setting.tension
        tables = self._tables = Tables(
            (click + 0.45 * chat + 0.45 * taste).astype(np.float32),
            sigmoid(-0.8 + 0.9 * chat + 0.25 * taste),
            sigmoid(spam + spammy + 1.1 * tension * chat),
            sigmoid(lead + 0.7 * willing + 1.1 * taste - 0.35 * tension * chat),
        )
        value = np.log(sigmoid(tables.click) * tables.talk * (1 - tables.spam) * tables.lead).mean(1)
        self._value = standardize(value)

    def _draw_viewers(self, rng: np.random.Generator) -> None:
        count = self.setting.viewers
        values_by_field = {}
        for name, size in FIELDS.items():
            weights = np.arange(1, size + 1, dtype=float) ** -_ZIPF
            draws = np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(count))
            values_by_field[name] = draws.clip(0, size - 1)
        shuffled = {
            name: rng.permutation(size)[values]
            for name, values in values_by_field.items()
            if (size := FIELDS[name])
        }
        values_by_field = {**shuffled, "verified": (rng.random(count) < 0.12).astype(int)}
        self._values = values_by_field
        self.viewer_country = values_by_field["country"].astype(np.int64)
        self.viewer_ids = tuple(f"v{number}" for number in range(count))
        self.farm_of = np.full(count, -1)
        shown_fields = {name: values for name, values in values_by_field.items() if name != "country"}
        self.viewer_features = tuple(
            {name: f"{name[0]}{values[number]}" for name, values in shown_fields.items()}
            for number in range(count)
        )
        # Weighted sums of fields, scaled so that with their noise the variance is 1.
        sums: list[Floats] = []
        for _ in range(_TASTES + 3):
            parts = [rng.normal(0, 1, FIELDS[name])[values] for name, values in values_by_field.items()]
            scaled = standardize(np.sum(parts, 0)) * np.sqrt(1 - _NOISE**2)
            sums.append(np.asarray(scaled, np.float32))
        self._tastes = np.stack(sums[:_TASTES], 1)
        self._chatty, self._willing, self._spammy = sums[_TASTES:]
        self._noise = rng.normal(0, 1, (count, _TASTES + 3)).astype(np.float32)
        weight = np.array([0.3, 0.6, 1.0, 1.6, 2.5])[values_by_field["activity"]]
        shares = np.bincount(self.viewer_country, weight, len(COUNTRIES))
        self._country_shares = shares / shares.sum()
        self._activity = weight

    def _visible_logits(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the visible taste of viewers (rows) for ads (columns), and that part of three logits.

        These are the logits of click, spam and lead.
        """
        values_by_field = self._values
        tastes = (self._tastes @ self._vectors.T).astype(np.float32)
        by_age_gender = self._by_age_gender[
            :, self._vertical[None, :], values_by_field["age"][:, None], values_by_field["gender"][:, None]
        ]
        click = -3.3 + self._format_shift[self._format] + self._by_ad[0] + 0.4 * by_age_gender[0]
        spam = (
            -1.1
            - 1.3 * (values_by_field["verified"] == 1)
            - 0.5 * values_by_field["account_age"] / 4
            + self._spammy
        )
        lead = -1.5 + 0.5 * self._form + self._by_ad[2] + 0.6 * by_age_gender[1]
        return tastes, click.astype(np.float32), (spam[:, None] + self._by_ad[1]).astype(np.float32), lead

    def flow(self, day: int) -> Floats:
        return self._flow

    def observable(self, day: int, past: Past) -> ObservableChances:
        """Return means over the noise: Gauss-Hermite in chattiness and taste, a shrunk logit else."""
        if self._observable is not None:
            return self._observable
        tastes, click, spam, lead = self._visible_logits()
        tension = self.setting.tension
        soft_spam, soft_lead = logistic_shrinkage(_NOISE), logistic_shrinkage(0.7 * _NOISE)
        spread = _NOISE * np.linalg.norm(self._vectors, axis=1)
        sums = [np.zeros_like(tastes) for _ in range(4)]
        for chat_node, chat_weight in NORMAL_NODES:
            chat = (self._chatty + _NOISE * chat_node)[:, None].astype(np.float32)
            for node, weight in NORMAL_NODES:
                taste = (tastes + node * spread).astype(np.float32)
                clicks = sigmoid(click + 0.45 * chat + 0.45 * taste)
                talks = clicks * sigmoid(-0.8 + 0.9 * chat + 0.25 * taste)
                spams = sigmoid((spam + 1.1 * tension * chat) * np.float32(soft_spam))
                lead_logit = lead + 0.7 * self._willing[:, None] + 1.1 * taste - 0.35 * tension * chat
                leads = sigmoid(lead_logit * np.float32(soft_lead))
                part = np.float32(chat_weight * weight)
                for total, value in zip(
                    sums, (clicks, talks, talks * (1 - spams) * leads, talks * spams), strict=True
                ):
                    total += part * value
        self._observable = ObservableChances(*sums)
        return self._observable

    def delays_s(self, group: int, draws: Floats) -> Floats:
        """Draw delays: hours, but days for half of the mixed and four fifths of the slow leads."""
        share, fast, slow = {"fast": (0.0, 0.03, 1.0), "mixed": (0.5, 0.04, 1.5), "slow": (0.8, 0.1, 3.0)}[
            self.groups[group].kind
        ]
        mean = np.where(draws[:, 0] < share, slow, fast) * self.setting.delay * 86_400
        return np.asarray(-np.log1p(-draws[:, 1]) * mean)


_THRESHOLD_ZONES: Final = {"US": "America/New_York", "GB": "Europe/London", "AU": "Australia/Sydney"}
_NUMBERS: Final = ("visits", "basket", "distance", "age_days", "hour_pref", "score_x")
_TOPICS: Final = 30
_RULES: Final = 5
"""Number of yes-or-no properties of a viewer; ads respond to pairs of them."""
_VIEWER_NOISE: Final = 0.6
_FARM_DAYS: Final = (5, 8)
_FARM: Final = (-0.5, 0.7, 0.95, 0.01)
_OFFERS: Final = 6


@dataclass(frozen=True, slots=True)
class ThresholdsSetting(WorldSetting):
    """Settings of the world of thresholds."""

    viewers: int = 8_000
    requests: int = 50_000
    budget_micros: int = 5_000_000
    groups: int = 10
    weariness: float = 1.0
    farms: float = 1.0


class ThresholdsWorld(World):
    """Eight thousand viewers, ten ad groups, two of which always look for conversations.

    Theory. A viewer has five yes-or-no properties: thresholds of visible fields, some of two fields of which
    exactly one must hold. The chances of an ad depend on pairs of properties, so no sum of single fields
    predicts them. Fields are not missing at random. The personal part of a viewer is hidden.
    """

    name = "thresholds"
    zones: ClassVar = _THRESHOLD_ZONES
    day_shape = (13.0, 0.8, 0.2)
    week = (1.1,) * 5 + (0.6,) * 2
    stream = 23
    places: tuple[Features, ...] = ({"slot": "top"}, {"slot": "side", "size": 250.0})
    setting: ThresholdsSetting

    def __init__(self, setting: ThresholdsSetting, seed: int) -> None:
        super().__init__(setting, seed)
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
        self.advertisers = tuple(f"client {number}" for number in range(6))
        groups: list[WorldGroup] = []
        ads: list[WorldAd] = []
        offers: list[int] = []
        for number in range(setting.groups):
            countries = [name for name in self.zones if rng.random() < 0.6] or ["US"]
            reach = sum({"US": 0.5, "GB": 0.3, "AU": 0.2}[name] for name in countries)
            total = number == 5
            lasts = self.days if total else 1
            budget = setting.budget_micros * reach * lasts * float(rng.uniform(0.5, 1.5))
            joins = (number - 5) * self.days // 7 if number > 5 else 0
            group = WorldGroup(
                f"set {number}",
                number % 6,
                "total" if total else "day",
                round(budget),
                tuple(countries),
                STARTS_TS + joins * DAY + (9 * HOUR if joins else 0),
                STARTS_TS + self.days * DAY if total else 0,
                _THRESHOLD_ZONES[countries[0]],
                goal="conversation" if number in {1, 7} else "",
                kind=("office", "evening")[number % 2],
            )
            groups.append(group)
            for _ in range(1 + number % 2):
                offer = int(rng.integers(0, _OFFERS))
                offers.append(offer)
                features: dict[str, Any] = {
                    "offer": f"offer {offer}",
                    "discount": float(rng.choice([0, 5, 10, 30])),
                }
                if rng.random() < 0.5:
                    features["tags"] = [f"topic {topic}" for topic in rng.integers(0, _TOPICS, 3)]
                if rng.random() < 0.3:
                    features["form"] = "yes"
                ads.append(WorldAd(f"creative {len(ads)}", number, features))
        self.groups, self.ads = tuple(groups), tuple(ads)
        midday = STARTS_TS + int(self.days * 0.6) * DAY + 15 * HOUR
        self.edits = (
            Edit(midday, 0, {"budget_micros": 2 * groups[0].budget_micros}),
            Edit(midday + HOUR, 3, {"budget_micros": groups[3].budget_micros // 2}),
            Edit(midday + 2 * HOUR, 4, {"is_on": False}),
            Edit(midday + 30 * HOUR, 4, {"is_on": True}),
        )
        # The effect of each pair of answers on the logits of each offer.
        pairs = [(a, b) for a in range(_RULES) for b in range(a)]
        joint = np.stack([self._answers[:, a] & self._answers[:, b] for a, b in pairs], 1).astype(np.float32)
        weights = rng.normal(0, 1, (3, len(pairs), _OFFERS))
        self._pair_effects = [
            (joint @ weights[stage].astype(np.float32) * scale)[:, offers]
            for stage, scale in enumerate((0.5, 0.5, 0.9))
        ]
        self._pair_effects = [part - part.mean() for part in self._pair_effects]
        self._by_ad = rng.normal(0, 0.3, (3, len(offers))).astype(np.float32)
        self._places = PlacementMix(np.array([0.6, 0.4]), np.array([0.2, -0.3]))
        self._market = OutsideBids(0.004 * setting.competition, 0.5, 0.2)
        chat, trust, will = self._noise
        click, talk, spam, lead = self._visible_logits()
        tables = Tables(click + 0.3 * chat, sigmoid(talk + chat), sigmoid(spam + trust), sigmoid(lead + will))
        set_farm(tables, self.is_farm, _FARM)
        self._tables = tables
        worth = sigmoid(tables.click) * tables.talk * (1 - tables.spam) * tables.lead
        self._value = standardize(np.log(worth).mean(1))

    def _draw_viewers(self, rng: np.random.Generator) -> None:
        count = self.setting.viewers
        self.viewer_country = rng.choice(3, count, p=[0.5, 0.3, 0.2])
        self.viewer_ids = tuple(f"{rng.integers(0, 1 << 62):016x}" for _ in range(count))
        numbers = rng.normal(0, 1, (len(_NUMBERS), count))
        topics = rng.random((count, _TOPICS)) < rng.beta(0.5, 5, _TOPICS)
        gap_draws = rng.random(count)
        hidden = np.stack([gap_draws < 0.5 / (1 + np.exp(-1.5 * row)) for row in numbers])
        hidden[0] = hidden[5] = False
        # The five answers of each viewer (rows).
        present = np.where(hidden, -np.inf, numbers)
        topic_count = topics[:, :10].sum(1)
        answers = (
            numbers[0] > 0.4,
            (present[1] > 0.3) ^ (topic_count > 1),
            hidden[2] | (numbers[2] < -0.5),
            np.abs(numbers[5]) < 0.6,
            topics[:, 10:16].any(1) ^ (present[3] > 0.0),
        )
        self._answers = np.stack(answers, 1)
        self.farm_of = np.where(rng.random(count) < 0.02 * self.setting.farms, 0, -1)
        self.farm_starts = (STARTS_TS + _FARM_DAYS[0] * DAY,)
        self._answers[self.is_farm] = self._answers[rng.integers(0, count, int(self.is_farm.sum()))]
        self._noise = _VIEWER_NOISE * rng.normal(0, 1, (3, count, 1)).astype(np.float32)
        self._activity = rng.lognormal(0, 0.8, count)
        self._busy_farm = (0, 8.0, range(*_FARM_DAYS))
        # Numbers on many scales, a list of topics, and gaps.
        shown: list[Features] = []
        for number, values in enumerate(numbers.T):
            scales = {
                "visits": round(float(np.exp(2 + values[0])), 0),
                "basket": round(float(np.exp(4 + 0.7 * values[1])), 2),
                "distance": round(float(np.exp(1 + values[2])), 3),
                "age_days": int(400 + 120 * values[3]),
                "hour_pref": round(float(12 + 3 * values[4]), 1),
                "score_x": round(float(np.clip(50 + 12 * values[5], 0, 100)), 3),
            }
            gaps = zip(scales.items(), hidden[:, number], strict=True)
            features: Features = {name: value for (name, value), is_hidden in gaps if not is_hidden}
            if topics[number].any():
                features["topics"] = [f"topic {topic}" for topic in np.flatnonzero(topics[number])]
            shown.append(features)
        self.viewer_features = shown

    def _visible_logits(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the visible logits of viewers (rows) and ads (columns)."""
        bait = np.array([float(ad.features["discount"]) for ad in self.ads], np.float32) / 30
        click = -3.5 + self._pair_effects[0] + self._by_ad[0] + 0.4 * bait
        talk = -0.9 + self._pair_effects[1]
        spam = -1.5 + 0.8 * self._pair_effects[1] + 0.8 * bait + self._by_ad[1]
        lead = -1.3 + self._pair_effects[2] + self._by_ad[2]
        return click, talk, spam, lead

    def observable(self, day: int, past: Past) -> ObservableChances:
        """Return means over hidden noise; viewers with much spam are likely a farm."""
        click, talk, spam, lead = self._visible_logits()
        soft = np.float32(logistic_shrinkage(_VIEWER_NOISE))
        mean_clicks, talks = np.zeros(click.shape, np.float32), np.zeros(click.shape, np.float32)
        for node, weight in NORMAL_NODES:
            clicks = sigmoid(click + np.float32(0.3 * (_VIEWER_NOISE * node)))
            mean_clicks += np.float32(weight) * clicks
            talks += np.float32(weight) * (clicks * sigmoid(talk + np.float32(_VIEWER_NOISE * node)))
        spams, leads = sigmoid(soft * spam), sigmoid(soft * lead)
        farm = np.zeros(self.setting.viewers)
        if _FARM_DAYS[0] <= day < _FARM_DAYS[1]:
            farm = farm_chance(0.02 * self.setting.farms, _FARM[2], self.nature, past)
        people = (mean_clicks, talks, talks * (1 - spams) * leads, talks * spams)
        return mix_farms(farm[:, None], people, (_FARM,))

    def delays_s(self, group: int, draws: Floats) -> Floats:
        """Draw delays: office leads take hours, evening leads days; a tenth is later than any window."""
        mean = 6 * 3_600 if self.groups[group].kind == "office" else 1.5 * 86_400
        late = draws[:, 0] < 0.1
        return np.asarray(self.setting.delay * np.where(late, 10 * 86_400, -np.log1p(-draws[:, 1]) * mean))
