"""World of a random structure: its seed draws fields, effects, ad groups, prices and a click farm."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final

import numpy as np

from contatto.simulator.worlds.model import (
    DAY,
    HOUR,
    NORMAL_NODES,
    STARTS_TS,
    WHOLE_DAYS,
    Edit,
    FarmChances,
    Features,
    Floats,
    GroupKind,
    Ints,
    Nature,
    ObservableChances,
    OutsideBids,
    Past,
    PlacementMix,
    Tables,
    World,
    WorldAd,
    WorldBudget,
    WorldSetting,
    chance,
    farm_chance,
    make_groups,
    mix_farms,
    set_farm,
    sigmoid,
    standardize,
)

_ZONES: Final = {
    "ID": "Asia/Jakarta",
    "PH": "Asia/Manila",
    "EG": "Africa/Cairo",
    "ZA": "Africa/Johannesburg",
    "CO": "America/Bogota",
    "US": "America/Chicago",
}
_STAGES: Final = 4
"""Click, conversation, spam, lead; each has a logit."""
_USUAL_LOGITS: Final = ((-4.2, -3.2), (-1.2, 0.0), (-2.0, -0.8), (-1.8, -0.8))
"""Least and highest mean logit of each stage."""
_FARM_TRAIT: Final = 0.7
"""Share of the click farm with one value of a field."""


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of viewers: the values shown, their effects, and the segments that they make likely.

    ``parts`` are columns that effects are sums of: one of each value or item, or functions of a number.
    ``likelihood`` is the logarithm of the chance of what a viewer shows (rows) in each segment (columns).
    ``codes`` are values of a text, -1 for a gap; empty for numbers and lists.
    """

    shown: list[Features]
    parts: Floats
    likelihood: Floats
    codes: Ints

    def effect(self, rng: np.random.Generator, columns: int) -> Floats:
        """Draw the effect of the field for viewers (rows) on some logits (columns), each of variance 1."""
        sums = self.parts @ rng.normal(0, 1, (self.parts.shape[1], columns))
        return np.asarray((sums - sums.mean(0)) / np.maximum(sums.std(0), 1e-9), np.float32)


def draw_field(
    rng: np.random.Generator,
    name: str,
    earlier: Sequence[_Field],
    country: Ints,
    segment: Ints,
    segments: int,
) -> _Field:
    """Draw a field that tells of the segment, the country, an earlier field, or nothing.

    ``country`` and ``segment`` are those of each viewer, of so many ``segments``.
    """
    count = len(segment)
    texts = [field.codes for field in earlier if len(field.codes)]
    kind = rng.choice(("text", "text", "number", "list"))
    source = rng.choice(("segment", "segment", "country", "field", "nothing"))
    cause, causes = np.zeros(count, np.int64), 1
    if source == "segment":
        cause, causes = segment, segments
    elif source == "country":
        cause, causes = country, len(_ZONES)
    elif source == "field" and texts:
        cause = texts[int(rng.integers(0, len(texts)))] + 1
        causes = int(cause.max()) + 1
    is_gap = rng.random(count) < rng.choice((0.0, 0.1, 0.4))
    likelihood, codes = np.zeros((count, segments)), np.zeros(0, np.int64)
    if kind == "number":
        means = rng.normal(0, rng.uniform(0.3, 1.2), causes)
        number = means[cause] + rng.normal(0, 1, count)
        parts = np.stack([number, number > rng.normal(), np.sin(2 * number)], 1) * ~is_gap[:, None]
        told = -0.5 * (number[:, None] - means) ** 2
        values = np.round(np.exp(3 + number), 2)
        shown: list[Features] = [
            {} if gap else {name: value} for gap, value in zip(is_gap, values.tolist(), strict=True)
        ]
    elif kind == "list":
        items = int(rng.integers(8, 80))
        own = rng.dirichlet(np.full(items, 0.3), causes)
        common = rng.uniform(0.2, 0.8)
        mean = common * rng.dirichlet(np.full(items, 0.8)) + (1 - common) * own
        chances = np.clip(mean * rng.uniform(2, 8), 1e-4, 0.9)
        has = (rng.random((count, items)) < chances[cause]) & ~is_gap[:, None]
        parts = has.astype(np.float32)
        told = has @ np.log(chances.T) + ~has @ np.log1p(-chances.T)
        shown = [{name: [f"item {item}" for item in np.flatnonzero(row)]} if row.any() else {} for row in has]
    else:
        values_of = int(rng.choice((2, 4, 10, 40)))
        common = rng.uniform(0.1, 0.8)
        own = rng.dirichlet(np.full(values_of, 0.25), causes)
        chances = common * rng.dirichlet(np.full(values_of, 1.0)) + (1 - common) * own
        sums = np.cumsum(chances, 1)
        drawn = (rng.random(count)[:, None] * sums[:, -1:][cause] > sums[cause]).sum(1)
        codes = np.where(is_gap, -1, drawn)
        parts = (codes[:, None] == np.arange(values_of)).astype(np.float32)
        told = np.log(chances.T + 1e-12)[drawn]
        shown = [{} if code < 0 else {name: f"value {code}"} for code in codes]
    if source == "segment":
        likelihood = np.where(is_gap[:, None], 0.0, told)
    return _Field(shown, np.asarray(parts, np.float32), likelihood, codes)


@dataclass(frozen=True, slots=True)
class VarietySetting(WorldSetting):
    """Settings of the world of variety.

    The seed decides how far the number of viewers and the budget, that of all ad groups of a day together,
    are from these. ``taste``, ``weariness`` and ``farms`` are strengths: 1 is usual, 0 is none.
    """

    viewers: int = 30_000
    requests: int = 70_000
    budget_micros: int = 80_000_000
    taste: float = 1.0
    weariness: float = 1.0
    farms: float = 1.0
    farm_day: int = 4


class VarietyWorld(World):
    """Viewers, ads and a click farm of random structure.

    Theory. Viewers have one to twelve fields: texts, numbers, lists. A field tells of the hidden segment, of
    the country, of another field, or of nothing. Fields, segments and ads move each chance, and so do pairs
    of a field or a segment with the topic of an ad. The seed draws the strength of each, and ad groups,
    budgets, weariness, outside bids and the farm. So no player can be built for the structure of this world.
    """

    name = "variety"
    zones: ClassVar = _ZONES
    day_shape = (19.0, 0.7, 0.2)
    week = (1.0, 1.0, 0.95, 1.0, 1.05, 1.15, 1.1)
    stream = 72
    delay_hours: ClassVar = {"fast": 0.5, "mixed": 8.0, "slow": 30.0}
    places: tuple[Features, ...] = ({"slot": "feed"}, {"slot": "story"}, {})
    setting: VarietySetting

    def __init__(self, setting: VarietySetting, seed: int) -> None:
        super().__init__(setting, seed)
        rng = chance(seed, 71)
        self.nature = Nature(
            weariness=float(rng.uniform(0.03, 0.5)) * setting.weariness,
            weariness_of_advertiser=float(rng.choice((0.0, 0.15))) * setting.weariness,
            night=float(rng.uniform(0.4, 0.8)),
            once=bool(rng.random() < 0.8),
            announced_late=bool(rng.random() < 0.5),
            view_lost=0.02,
            view_after_s=2.0,
            spam_recall=float(rng.uniform(0.6, 0.9)),
            farm_contact=float(rng.uniform(0.0, 0.2)),
        )
        self._places = PlacementMix(rng.dirichlet((4.0, 3.0, 2.0)), rng.normal(0, 0.25, len(self.places)))
        price = float(rng.uniform(0.0025, 0.0045)) * setting.competition
        sigma, for_value = rng.uniform((0.3, 0.0), (0.7, 0.3))
        self._market = OutsideBids(price, sigma, for_value, bidders=int(rng.integers(1, 4)))
        segments = int(rng.choice((1, 1, 3, 6, 12)))
        self._share = rng.dirichlet(np.full(segments, 4.0))
        self._draw_viewers(rng, segments)
        self._draw_ads(rng)
        self._draw_logits(rng, segments)
        taste = self._taste[:, self._topic]
        click, talk, spam, lead = (
            logit + by_segment[self._segment]
            for logit, by_segment in zip(self._visible, self._by_segment, strict=True)
        )
        genuine = sigmoid(talk) * (1 - sigmoid(spam)) * sigmoid(lead + taste)
        self._tables = Tables(
            (click + taste).astype(np.float32), sigmoid(talk), sigmoid(spam), sigmoid(lead + taste)
        )
        leads = sigmoid(self._tables.click) * genuine
        self._value = standardize(np.log(leads).mean(1))
        set_farm(self._tables, self.is_farm, self._farm)
        self._draw_groups(rng, lead_micros=round(1e6 * price / float(np.quantile(leads, 0.9))))

    def _draw_viewers(self, rng: np.random.Generator, segments: int) -> None:
        setting = self.setting
        count = max(300, round(setting.viewers * float(np.exp(rng.uniform(-1.2, 1.2)))))
        self._country_shares = rng.dirichlet(np.full(len(_ZONES), 1.5))
        self.viewer_country = rng.choice(len(_ZONES), count, p=self._country_shares)
        self._segment = rng.choice(segments, count, p=self._share)
        fields: list[_Field] = []
        for number in range(int(rng.integers(1, 13))):
            name = f"field {number}"
            fields.append(draw_field(rng, name, fields, self.viewer_country, self._segment, segments))
        one_of_each = (self.viewer_country[:, None] == np.arange(len(_ZONES))).astype(np.float32)
        nothing: list[Features] = [{} for _ in range(count)]  # requests show the country anyway
        country = _Field(nothing, one_of_each, np.zeros((count, segments)), np.zeros(0, np.int64))
        self._fields = [*fields, country]
        self.viewer_features = tuple(
            {name: value for features in shown for name, value in features.items()}
            for shown in zip(*(field.shown for field in fields), strict=True)
        )
        self.viewer_ids = tuple(f"p{number}" for number in rng.permutation(count))
        self._activity = rng.lognormal(0, float(rng.uniform(0.5, 1.2)), count)
        # Most of the click farm shares one value of a text, if there is one.
        logit, talk, spam = rng.uniform((-1.2, 0.4, 0.9), (-0.4, 0.8, 0.98))
        self._farm: FarmChances = (float(logit), float(talk), float(spam), 0.02)
        is_farm = rng.random(count) < rng.uniform(0.005, 0.02) * setting.farms
        self.farm_of = np.where(is_farm, 0, -1)
        self.farm_starts = (STARTS_TS + setting.farm_day * DAY,)
        self._busy_farm = (0, 5.0 * float(self._activity.mean()), range(setting.farm_day, self.days))
        self._trait = np.zeros(count, np.int64)
        """Value of each viewer of the field that exposes the farm."""
        texts = [number for number, field in enumerate(self._fields) if len(field.codes)]
        if not texts:
            return
        number = int(rng.choice(texts))
        field = self._fields[number]
        value = int(rng.choice(field.codes[field.codes >= 0]))
        has_trait = is_farm & (rng.random(count) < _FARM_TRAIT)
        self._trait = np.where(has_trait, value, field.codes) + 1
        for viewer in np.flatnonzero(has_trait).tolist():
            self.viewer_features[viewer][f"field {number}"] = f"value {value}"

    def _draw_ads(self, rng: np.random.Generator) -> None:
        """Draw three to fourteen ad groups of one to five ads."""
        groups = int(rng.integers(3, 15))
        topics = int(rng.integers(2, 10))
        main = rng.integers(0, topics, groups)
        shows_topic = rng.random() < 0.75
        ads: list[WorldAd] = []
        topic_of: list[int] = []
        for group in range(groups):
            for _ in range(int(rng.integers(1, 6))):
                topic = int(main[group] if rng.random() < 0.6 else rng.integers(0, topics))
                features: Features = {"format": f"format {rng.integers(0, 3)}"}
                if shows_topic:
                    features["about"] = f"topic {topic}"
                if rng.random() < 0.4:
                    features["price"] = float(rng.integers(5, 200))
                if rng.random() < 0.3:
                    features["form"] = "yes"
                ads.append(WorldAd(f"ad {len(ads)}", group, features))
                topic_of.append(topic)
        self.ads, self._topic = tuple(ads), np.array(topic_of)

    def _draw_logits(self, rng: np.random.Generator, segments: int) -> None:
        """Draw the logits of all stages: their visible parts, those of segments, and personal taste."""
        viewers, ads, topics = len(self.viewer_country), len(self.ads), int(self._topic.max()) + 1
        visible = np.zeros((_STAGES, viewers, ads), np.float32)
        for field in self._fields:
            main, cross = rng.exponential(0.5, 2) * (rng.random(2) < (0.6, 0.5))
            visible += np.float32(main) * field.effect(rng, _STAGES).T[:, :, None]
            for stage in (0, 3):  # topics decide about clicks and leads
                visible[stage] += np.float32(cross) * field.effect(rng, topics)[:, self._topic]
        by_segment = np.zeros((_STAGES, segments, ads))
        for stage, usual in enumerate(_USUAL_LOGITS):
            spread = float(visible[stage].std())
            visible[stage] *= np.float32(rng.uniform(0.4, 1.2) / max(spread, 1e-9))
            visible[stage] += (rng.uniform(*usual) + rng.normal(0, rng.uniform(0.1, 0.4), ads)).astype(
                np.float32
            )
            if segments > 1:
                of_topics = rng.normal(0, 1, (segments, topics))[:, self._topic] * (stage in {0, 3})
                both = (
                    rng.uniform(0.0, 0.6) * rng.normal(0, 1, (segments, 1)) + rng.uniform(0, 0.8) * of_topics
                )
                by_segment[stage] = both
        self._visible, self._by_segment = visible, by_segment.astype(np.float32)
        self._taste_sd = float(rng.uniform(0.3, 0.7)) * self.setting.taste
        self._taste = (self._taste_sd * rng.normal(0, 1, (viewers, topics))).astype(np.float32)

    def _draw_groups(self, rng: np.random.Generator, lead_micros: int) -> None:
        """Draw schedules, budgets and cost targets of ad groups, and changes of some of them."""
        setting, count = self.setting, self.ads[-1].group + 1
        kinds = []
        for number in range(count):
            is_late = number > 0 and rng.random() < 0.25
            has_target, budget = rng.random() < 0.2, float(rng.lognormal(0, 0.5))
            is_total = not is_late and rng.random() < 0.15
            kinds.append(
                GroupKind(
                    "total" if is_total else "day",
                    budget * (WHOLE_DAYS if is_total else 2.0 if has_target else 1.0),
                    joins=float(rng.uniform(2, 9)) if is_late else 0.0,
                    leaves=float(WHOLE_DAYS) if is_total else 0.0,
                    target=float(rng.uniform(0.9, 1.6)) if has_target else 0.0,
                )
            )
        usual = round(setting.budget_micros * float(rng.lognormal(0, 0.4)) / count)
        money = WorldBudget(usual, lead_micros, tuple(self._country_shares.tolist()), setting.days)
        owners = int(rng.integers(2, count + 1))
        self.groups = make_groups(rng, kinds, money, _ZONES, owners)
        self.advertisers = tuple(f"shop {number}" for number in range(owners))
        midday = STARTS_TS + int(self.days * 0.55) * DAY + 13 * HOUR
        self.edits = (
            Edit(midday, 0, {"budget_micros": round(1.6 * self.groups[0].budget_micros)}),
            Edit(midday + 3 * HOUR, 1, {"is_on": False}),
            Edit(midday + 15 * HOUR, 1, {"is_on": True}),
        )

    def observable(self, day: int, past: Past) -> ObservableChances:
        """Return means over segments and taste; fields and marks of spam tell of the farm."""
        chances = np.zeros(len(self.viewer_ids))
        if day >= self.setting.farm_day and self.is_farm.any():
            weights, values = self.weights(day), int(self._trait.max()) + 1
            farms = np.bincount(self._trait, self.is_farm * weights, values)
            people = np.maximum(np.bincount(self._trait, ~self.is_farm * weights, values), 1e-9)
            chances = farm_chance((farms / people)[self._trait], self._farm[2], self.nature, past)
        return mix_farms(chances[:, None], self._people_chances, (self._farm,))

    @cached_property
    def _people_chances(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the chances of click, conversation, lead and spam for people: means over hidden parts."""
        score = np.log(self._share) + np.sum([field.likelihood for field in self._fields], 0)
        score = np.exp(score - score.max(1, keepdims=True))
        posterior = (score / score.sum(1, keepdims=True)).astype(np.float32)
        sums = [np.zeros_like(self._visible[0]) for _ in range(_STAGES)]
        for segment in range(posterior.shape[1]):
            click, talk, spam, lead = self._visible + self._by_segment[:, None, segment]
            talks, spams = sigmoid(talk), sigmoid(spam)
            for node, weight in NORMAL_NODES:
                taste, share = np.float32(self._taste_sd * node), np.float32(weight) * posterior[:, [segment]]
                clicks = share * sigmoid(click + taste)
                reached = clicks * talks
                leads = reached * (1 - spams) * sigmoid(lead + taste)
                for total, part in zip(sums, (clicks, reached, leads, reached * spams), strict=True):
                    total += part
        return sums[0], sums[1], sums[2], sums[3]
