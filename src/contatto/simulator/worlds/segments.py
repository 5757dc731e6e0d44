"""World of hidden viewer segments, with drifting tastes and click farms."""

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from contatto.simulator.worlds.model import (
    DAY,
    HOUR,
    NORMAL_NODES,
    STARTS_TS,
    WHOLE_DAYS,
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
    Tables,
    World,
    WorldAd,
    WorldBudget,
    WorldSetting,
    chance,
    farm_evidence,
    logistic_shrinkage,
    make_groups,
    set_farm,
    sigmoid,
    standardize,
)

SEGMENT_ZONES: Final = {
    "BR": "America/Sao_Paulo",
    "US": "America/New_York",
    "IT": "Europe/Rome",
    "IN": "Asia/Kolkata",
    "SG": "Asia/Singapore",
    "MX": "America/Mexico_City",
}
THEMES: Final = ("home", "money", "beauty", "courses", "cars")
STYLES: Final = 6
_WORDS: Final = 60
_ADVERTISERS: Final = 9
_GROUP_KINDS: Final = (
    GroupKind("day", 1.0),
    GroupKind("day", 1.4),
    GroupKind("day", 0.7),
    GroupKind("day", 1.0, joins=3.4),
    GroupKind("day", 1.2, window_days=1.0),
    GroupKind("day", 1.0, target=1.3),
    GroupKind("total", 9.0, leaves=10.5),
    GroupKind("total", 6.0, joins=7.2, leaves=13.0),
    GroupKind("infinite", 0.0, target=0.8),
    GroupKind("day", 2.0, target=0.9),
    GroupKind("day", 0.8, joins=7.2),
    GroupKind("day", 1.0),
    GroupKind("infinite", 0.0, target=0.6, joins=2.6),
    GroupKind("day", 1.3),
    GroupKind("day", 0.9, joins=9.6),
)
TAGS: Final = 240
CATEGORIES: Final = {"os": 3, "city": 40, "referrer": 12, "plan": 4}
"""Number of possible values of each field that has one value per viewer."""
NUMBERS: Final = ("app_minutes", "joined_year", "battery")
"""Fields with numbers; the last one is independent of the segment."""
_SCALES: Final = {"app_minutes": (2.5, 0.9), "joined_year": (2019.0, 2.2), "battery": (50.0, 20.0)}
"""Mean and standard deviation of each number; those of minutes are of their logarithm."""
MISSING: Final = {
    "os": 0.02,
    "city": 0.1,
    "referrer": 0.4,
    "plan": 0.25,
    "app_minutes": 0.15,
    "joined_year": 0.3,
    "battery": 0.5,
}
"""Mean share of missing values of each field; some segments have more."""
_MOST_TAGS: Final = 14


class Emissions:
    """Distributions of features by segment (rows), of segments that share much and differ in part.

    No single field tells segments apart. ``share`` are the segments' shares of viewers, ``missing`` the
    shares of gaps, and ``numbers`` means of numbers.
    """

    def __init__(self, rng: np.random.Generator, segments: int, countries: int) -> None:
        def values(count: int, common: float, even: float = 1.0) -> Floats:
            base = rng.dirichlet(np.full(count, even))
            own = rng.dirichlet(np.full(count, 0.25), segments)
            return np.asarray(common * base + (1 - common) * own)

        self.share = rng.dirichlet(np.full(segments, 4.0))
        self.country, self.tags = values(countries, 0.8, 8.0), values(TAGS, 0.35)
        self.categories = {name: values(count, 0.7) for name, count in CATEGORIES.items()}
        self.numbers = {name: rng.normal(0, 0.0 if name == "battery" else 0.8, segments) for name in NUMBERS}
        self.missing = {
            name: np.clip(share * rng.lognormal(0, 0.5, segments), 0, 0.9) for name, share in MISSING.items()
        }


def _pick(rng: np.random.Generator, chances: Floats, segment: Ints) -> Ints:
    sums = np.cumsum(chances, 1)
    draws = rng.random(len(segment))[:, None] * sums[segment, -1:]
    return np.asarray((draws > sums[segment]).sum(1), np.int64)


_PLACES: Final[tuple[Features, ...]] = (
    {"screen": "home"},
    {"screen": "watch"},
    {},
    {"screen": "reader", "depth": 3.0},
)
_WEEKEND_LEAD: Final = -0.5
_RESIDUAL: Final = 0.4
"""Standard deviation of a viewer from the segment, in the logits of chats and of leads."""
_MOOD_SHARE: Final = 0.15
_MOOD_ENDS: Final = 0.25
"""Share of viewers in a mood for a theme, and the chance that a mood ends overnight."""
_MOOD: Final = (0.6, 1.1)
"""Effect of a mood for a theme on the logits of a click and of a lead."""
_FARM: Final = (-0.9, 0.75, 0.97, 0.02)
"""Behaviour of farm viewers; see `FarmChances`."""


@dataclass(frozen=True, slots=True)
class SegmentsSetting(WorldSetting):
    """Settings of the world of segments; a share or strength is 0 for none and 1 as usual."""

    viewers: int = 16_000
    requests: int = 90_000
    budget_micros: int = 8_000_000
    segments: int = 14
    drift: float = 1.0
    weariness: float = 1.0
    farms: float = 1.0
    farm_day: int = 4
    lead_micros: int = 500_000


class SegmentsWorld(World):
    """Viewers of fourteen segments, and fifteen ad groups in six time zones.

    Theory. The hidden segment and the theme and style of the ad decide the behaviour of a viewer. The segment
    also draws the visible features. The best prediction is the mean over the segments, weighted by their
    posterior chances. Tastes turn from one set to another within a month. A mood for a theme comes and goes,
    for the ads of all its advertisers.
    """

    name = "segments"
    zones: ClassVar = SEGMENT_ZONES
    day_shape = (19.0, 0.75, 0.3)
    day_shapes: ClassVar = dict.fromkeys(("BR", "MX"), (20.5, 0.75, 0.3))
    week = (1.0, 0.95, 0.95, 1.0, 1.1, 1.35, 1.25)
    weekend_click = 0.15
    stream = 13
    places = _PLACES
    setting: SegmentsSetting

    def __init__(self, setting: SegmentsSetting, seed: int) -> None:
        super().__init__(setting, seed)
        self.nature = Nature(
            weariness=0.2 * setting.weariness,
            once=True,
            announced_late=True,
            view_lost=0.03,
            view_after_s=3.0,
            spam_after_s=(1_200.0, 6 * 3_600.0),
        )
        rng = chance(seed, 11)
        self._emissions = Emissions(rng, setting.segments, len(SEGMENT_ZONES))
        self._draw_ads(rng)
        self._places = PlacementMix(np.array([0.5, 0.3, 0.1, 0.1]), rng.normal(0, 0.3, len(_PLACES)))
        self._market = OutsideBids(0.0035 * setting.competition, 0.6, 0.15)
        # Responses of segments to themes, at the beginning and a quarter turn later, and to styles.
        self._by_theme = rng.normal(0, 1, (2, 2, setting.segments, len(THEMES)))
        self._by_style = rng.normal(0, 1, (2, setting.segments, STYLES))
        self._by_segment = rng.normal(0, 1, (4, setting.segments))
        self._by_ad = rng.normal(0, 0.25, (3, len(self.ads)))
        segment = rng.choice(setting.segments, setting.viewers, p=self._emissions.share)
        self.farm_of = np.where(rng.random(setting.viewers) < 0.015 * setting.farms, 0, -1)
        self.farm_starts = (STARTS_TS + setting.farm_day * DAY,)
        # Genuine leads per view at the beginning, by segment (rows) and ad (columns), without moods.
        click, talk, spam, lead = (1 / (1 + np.exp(-logit)) for logit in self._logits(0))
        worth = (click * talk * (1 - spam) * lead).mean(1)
        best = self._best = np.argsort(-worth)[:2]
        segment = np.where(self.is_farm, best[rng.integers(0, 2, setting.viewers)], segment)
        self._draw_fields(rng, segment)
        self._segment = segment
        self.viewer_ids = tuple(f"u-{number:05x}" for number in range(setting.viewers))
        self._residual = _RESIDUAL * rng.normal(0, 1, (2, setting.viewers, 1))
        self._activity = rng.lognormal(0, 1.0, setting.viewers)
        self._busy_farm = (0, 6.0, range(setting.farm_day, setting.days))
        self._value = standardize(np.log(worth)[segment])
        self._moods: list[Floats] = []
        """For each day, the viewers (rows) in the mood for themes (columns)."""
        rng, shape = chance(seed, 12), (setting.viewers, len(THEMES))
        mood = rng.random(shape) < _MOOD_SHARE
        begins = _MOOD_ENDS * _MOOD_SHARE / (1 - _MOOD_SHARE)
        for _ in range(self.days):
            self._moods.append(mood.astype(np.float32))
            luck = rng.random(shape)
            mood = np.where(mood, luck >= _MOOD_ENDS, luck < begins)

    def _draw_ads(self, rng: np.random.Generator) -> None:
        """Draw fifteen ad groups of nine advertisers, with two or three ads each."""
        setting = self.setting
        shares = self._emissions.share @ self._emissions.country
        money = WorldBudget(setting.budget_micros, setting.lead_micros, tuple(shares.tolist()), setting.days)
        groups = make_groups(rng, _GROUP_KINDS, money, SEGMENT_ZONES, _ADVERTISERS)
        theme_of = rng.integers(0, len(THEMES), _ADVERTISERS)
        ads: list[WorldAd] = []
        themes, styles = [], []
        for number, group in enumerate(groups):
            for _ in range(int(rng.integers(2, 4))):
                theme = int(theme_of[group.advertiser])
                style = int(rng.integers(0, STYLES))
                # Words that hint at the theme and the style, and some numbers.
                hints = [f"w{(theme * 8 + int(rng.integers(0, 8))) % _WORDS}" for _ in range(2)]
                hints += [f"w{40 + style * 3 + int(rng.integers(0, 3))}" for _ in range(2)]
                features: Features = {"words": sorted({*hints, f"w{int(rng.integers(0, _WORDS))}"})}
                if rng.random() < 0.7:
                    features["theme"] = THEMES[theme]
                if style % 2:
                    features["video_seconds"] = float(rng.integers(6, 60))
                features["price_level"] = int(rng.integers(1, 6))
                ads.append(WorldAd(f"ad-{len(ads)}", number, features))
                themes.append(theme)
                styles.append(style)
        self.advertisers = tuple(f"shop-{number}" for number in range(_ADVERTISERS))
        self.groups, self.ads = groups, tuple(ads)
        self._theme, self._style = np.array(themes), np.array(styles)
        budgets = [group.budget_micros for group in groups]
        edits = [
            Edit(STARTS_TS + int(day * money.days / WHOLE_DAYS * DAY) + HOUR // 3, number, changes)
            for day, number, changes in (
                (5.6, 1, {"budget_micros": round(1.6 * budgets[1])}),
                (6.4, 2, {"is_on": False}),
                (7.7, 2, {"is_on": True}),
                (8.5, 4, {"budget_micros": round(0.4 * budgets[4])}),
                (8.3, 9, {"bid_micros": round(1.3 * groups[9].bid_micros)}),
                (9.1, 6, {"budget_micros": round(0.8 * budgets[6])}),
                (4.2, 13, {"budget_micros": round(0.5 * budgets[13])}),
                (4.9, 13, {"budget_micros": budgets[13]}),
            )
        ]
        self.edits = tuple(sorted(edits, key=lambda edit: edit.ts))

    def _draw_fields(self, rng: np.random.Generator, segment: Ints) -> None:
        """Draw the visible fields of viewers of these segments, and compute what these tell of a segment."""
        emissions, count = self._emissions, len(segment)
        categories, numbers = dict[str, Ints](), dict[str, Floats]()  # -1 and NaN are gaps
        for name, chances in emissions.categories.items():
            hidden = rng.random(count) < emissions.missing[name][segment]
            categories[name] = np.where(hidden, -1, _pick(rng, chances, segment))
        for name, means in emissions.numbers.items():
            hidden = rng.random(count) < emissions.missing[name][segment]
            middle, spread = _SCALES[name]
            values = middle + spread * (means[segment] + rng.normal(0, 1, count))
            if name == "app_minutes":
                values = np.exp(values)
            elif name == "battery":
                values = np.clip(values, 0.0, 100.0)
            numbers[name] = np.where(hidden, np.nan, values)
        tag_counts = rng.integers(0, _MOST_TAGS + 1, count)
        drawn = np.stack([_pick(rng, emissions.tags, segment) for _ in range(_MOST_TAGS)], 1)
        tags = [np.unique(row[:tag_count]) for row, tag_count in zip(drawn, tag_counts, strict=True)]
        self.viewer_country = _pick(rng, emissions.country, segment)
        features: list[Features] = [
            {"follows": [f"t{tag}" for tag in row]} if len(row) else {} for row in tags
        ]
        # The log likelihood of each viewer's fields (rows) in each segment (columns).
        likelihood = np.log(emissions.country.T[self.viewer_country])
        owner = np.repeat(np.arange(count), [len(row) for row in tags])
        np.add.at(likelihood, owner, np.log(emissions.tags.T)[np.concatenate(tags).astype(np.int64)])
        for name, places in categories.items():
            missing = emissions.missing[name]
            log_present = np.log(1 - missing) + np.log(emissions.categories[name].T[places])
            likelihood += np.where((places >= 0)[:, None], log_present, np.log(missing))
            for number in np.flatnonzero(places >= 0):
                features[number][name] = f"{name}-{places[number]}"
        for name, values in numbers.items():
            missing, (middle, spread) = emissions.missing[name], _SCALES[name]
            standard = ((np.log(values) if name == "app_minutes" else values) - middle) / spread
            deviation = standard[:, None] - emissions.numbers[name]
            log_present = np.log(1 - missing) - 0.5 * deviation**2 - 0.5 * np.log(2 * np.pi)
            likelihood += np.where(np.isnan(values)[:, None], np.log(missing), log_present)
            for number in np.flatnonzero(~np.isnan(values)):
                features[number][name] = round(float(values[number]), 2)
        self._likelihood, self.viewer_features = np.asarray(likelihood), tuple(features)

    def _logits(self, day: int) -> tuple[Floats, Floats, Floats, Floats]:
        """Return logits of segments (rows) and ads (columns) for click, conversation, spam and lead."""
        angle = self.setting.drift * day / 28 * np.pi / 2
        turned = np.cos(angle) * self._by_theme[0] + np.sin(angle) * self._by_theme[1]
        by_segment = self._by_segment[:, :, None]
        styles = self._by_style[:, :, self._style]
        click = (
            -3.7 + 0.6 * turned[0][:, self._theme] + 0.4 * styles[0] + 0.4 * by_segment[0] + self._by_ad[0]
        )
        talk = -0.7 + 0.5 * by_segment[0] + 0.5 * by_segment[1] + 0.3 * styles[1]
        spam = -1.4 + 0.5 * by_segment[0] + 0.7 * by_segment[2] + self._by_ad[1]
        lead = -1.5 + 1.1 * turned[1][:, self._theme] + 0.5 * by_segment[3] + self._by_ad[2]
        if day % 7 >= 5:
            lead = lead + _WEEKEND_LEAD
        return click, talk, spam, lead

    def tables(self, day: int) -> Tables:
        click, talk, spam, lead = (logit[self._segment].astype(np.float32) for logit in self._logits(day))
        mood = self._moods[day][:, self._theme]
        chat, will = self._residual.astype(np.float32)
        click = np.asarray(click + np.float32(_MOOD[0]) * mood, np.float32)
        leads = sigmoid(lead + will + np.float32(_MOOD[1]) * mood)
        tables = Tables(click, sigmoid(talk + chat), sigmoid(spam + chat), leads)
        set_farm(tables, self.is_farm, _FARM)
        return tables

    def observable(self, day: int, past: Past) -> ObservableChances:
        """Return means over segments, moods and residuals; spam so far raises the chance of a farm."""
        click, talks, leads, spams = (np.zeros((self.setting.segments + 1, len(self.ads))) for _ in range(4))
        logits = self._logits(day)
        soft = logistic_shrinkage(_RESIDUAL)
        for node, node_weight in NORMAL_NODES:
            for mood, share in ((0.0, 1 - _MOOD_SHARE), (1.0, _MOOD_SHARE)):
                clicks, talking, spamming, leading = (
                    1 / (1 + np.exp(-logit))
                    for logit in (
                        logits[0] + _MOOD[0] * mood,
                        logits[1] + node * _RESIDUAL,
                        logits[2] + node * _RESIDUAL,
                        soft * (logits[3] + _MOOD[1] * mood),
                    )
                )
                weight = float(node_weight * share)
                part = clicks * talking * weight
                click[:-1] += weight * clicks
                talks[:-1] += part
                spams[:-1] += part * spamming
                leads[:-1] += part * (1 - spamming) * leading
        farm = 1 / (1 + np.exp(-_FARM[0]))
        click[-1], talks[-1] = farm, farm * _FARM[1]
        spams[-1], leads[-1] = talks[-1] * _FARM[2], talks[-1] * (1 - _FARM[2]) * _FARM[3]
        # Posterior chances of the segments of each viewer (rows), and of a farm in the last column.
        farm_prior = 0.015 * self.setting.farms if day >= self.setting.farm_day else 0.0
        best_segments = (self._likelihood[:, number] for number in self._best)
        likelihood = np.logaddexp(*best_segments) - np.log(2)
        evidence = farm_evidence(_FARM[2], self.nature, past)
        columns = np.concatenate([self._likelihood, (likelihood + evidence)[:, None]], 1)
        prior = np.append(self._emissions.share * (1 - farm_prior), max(farm_prior, 1e-12))
        score = columns + np.log(prior)
        score = np.exp(score - score.max(1, keepdims=True))
        chances = score / score.sum(1, keepdims=True)
        return ObservableChances(
            *((chances @ table).astype(np.float32) for table in (click, talks, leads, spams))
        )

    def delays_s(self, group: int, draws: Floats) -> Floats:
        """Draw log-normal delays with a long tail: medians of half an hour, five hours, a day."""
        median, spread = {"fast": (1_800, 1.2), "mixed": (18_000, 1.6), "slow": (86_400, 1.7)}[
            self.groups[group].kind
        ]
        normal = np.sqrt(-2 * np.log1p(-draws[:, 0])) * np.cos(2 * np.pi * draws[:, 1])
        return np.asarray(self.setting.delay * median * np.exp(spread * normal))
