"""A world of hidden segments: people alike within, tastes that drift, ads that tire, farms that click."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from contatto.simulator.worlds.bazaar import COUNTRIES, STYLES, THEMES, ZONES, Money, set_up_stalls
from contatto.simulator.worlds.model import (
    DAY,
    STARTS_TS,
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
    sigmoid,
)
from contatto.simulator.worlds.viewers import Emissions, draw_emissions, draw_seen, likelihoods, posterior

_PLACES: Final[tuple[Features, ...]] = (
    {"screen": "home"},
    {"screen": "watch"},
    {},
    {"screen": "reader", "depth": 3.0},
)
_WEEK: Final = np.array([1.0, 0.95, 0.95, 1.0, 1.1, 1.35, 1.25])
"""Requests by day of the week, from Monday on."""
_WEEKEND_CLICK: Final = 0.15
_WEEKEND_LEAD: Final = -0.5
_RESIDUAL: Final = 0.4
"""Standard deviation of what sets a viewer apart from the segment, in liking to chat and in sharing."""
_MOOD_SHARE: Final = 0.15
_MOOD_ENDS: Final = 0.25
_MOOD: Final = (0.6, 1.1)
"""What being in the mood for a theme adds to the logits of a click and of a lead."""
_FARM: Final = (-0.9, 0.75, 0.97, 0.02)
"""Of click farms: the logit of a click, then the chances of conversation, spam and lead."""


@dataclass(frozen=True, slots=True)
class SegmentsSetting:
    """How the world of segments is set up; what is a share or a strength is 0 for none of it, 1 is usual."""

    viewers: int = 16_000
    days: int = 14
    requests: int = 90_000
    segments: int = 14
    drift: float = 1.0
    weariness: float = 1.0
    farms: float = 1.0
    farm_day: int = 4
    delay: float = 1.0
    competition: float = 1.0
    budget_micros: int = 8_000_000
    lead_micros: int = 500_000


class SegmentsWorld:
    """Sixteen thousand viewers of fourteen kinds, and fifteen ad groups in six time zones.

    Theory. What a viewer does follows from the segment, which nobody sees, and the theme and style of the ad;
    what one sees of a viewer was drawn by the segment. The best prediction from it is the mean over
    the segments by their posterior chances. Tastes turn from one set to another within a month. A mood for a
    theme comes and goes, for the ads of all its advertisers.
    """

    name = "segments"
    countries = COUNTRIES

    def __init__(self, setting: SegmentsSetting, seed: int) -> None:
        self.setting, self.seed, self.days = setting, seed, setting.days
        self.nature = Nature(
            weariness=0.2 * setting.weariness,
            once=True,
            told_late=True,
            view_lost=0.03,
            view_after_s=3.0,
            spam_after_s=(1_200.0, 6 * 3_600.0),
        )
        rng = chance(seed, 11)
        self._emissions: Emissions = draw_emissions(rng, setting.segments, len(COUNTRIES))
        shares = self._emissions.share @ self._emissions.country
        money = Money(setting.budget_micros, setting.lead_micros, tuple(shares.tolist()), setting.days)
        stalls = set_up_stalls(rng, money)
        self.advertisers, self.groups, self.ads, self.edits = (
            stalls.advertisers,
            stalls.groups,
            stalls.ads,
            stalls.edits,
        )
        self._theme, self._style = stalls.theme, stalls.style
        self.places = _PLACES
        self._places = Places(np.array([0.5, 0.3, 0.1, 0.1]), rng.normal(0, 0.3, len(_PLACES)))
        self._market = Market(0.0035 * setting.competition, 0.6, 0.15)
        self._draw_tastes(rng)
        self._draw_viewers(rng)
        self._moods = self._draw_moods(chance(seed, 12))

    def _draw_tastes(self, rng: np.random.Generator) -> None:
        """Responses of segments to themes and styles, at the beginning and a quarter turn later."""
        kinds = self.setting.segments
        self._by_theme = rng.normal(0, 1, (2, 2, kinds, len(THEMES)))
        self._by_style = rng.normal(0, 1, (2, kinds, STYLES))
        self._by_segment = rng.normal(0, 1, (4, kinds))
        self._by_ad = rng.normal(0, 0.25, (3, len(self.ads)))

    def _draw_viewers(self, rng: np.random.Generator) -> None:
        setting = self.setting
        segment = rng.choice(setting.segments, setting.viewers, p=self._emissions.share)
        self.is_farm = rng.random(setting.viewers) < 0.015 * setting.farms
        self.farm_of: Ints = np.where(self.is_farm, 0, -1)
        self.farm_starts = (STARTS_TS + setting.farm_day * DAY,)
        best = np.argsort(-self._worth(0).mean(1))[:2]
        self._best = best
        segment = np.where(self.is_farm, best[rng.integers(0, 2, setting.viewers)], segment)
        seen = draw_seen(rng, self._emissions, segment)
        self._segment = segment
        self.viewer_country: Ints = seen.country
        self.viewer_ids = tuple(f"u-{number:05x}" for number in range(setting.viewers))
        self.viewer_features = tuple(seen.features(number) for number in range(setting.viewers))
        self._likelihood = likelihoods(self._emissions, seen)
        self._residual = _RESIDUAL * rng.normal(0, 1, (2, setting.viewers, 1))
        self._activity = rng.lognormal(0, 1.0, setting.viewers)
        self._farm_activity = np.where(self.is_farm, 6.0, 0.0)
        worth = np.log(self._worth(0).mean(1))[segment]
        self._value = ((worth - worth.mean()) / worth.std()).astype(np.float32)

    def _draw_moods(self, rng: np.random.Generator) -> list[Floats]:
        """For each day, which viewers (rows) are in the mood for which themes (columns)."""
        shape = (self.setting.viewers, len(THEMES))
        mood = rng.random(shape) < _MOOD_SHARE
        begins = _MOOD_ENDS * _MOOD_SHARE / (1 - _MOOD_SHARE)
        draw_moods = []
        for _ in range(self.days):
            draw_moods.append(mood.astype(np.float32))
            luck = rng.random(shape)
            mood = np.where(mood, luck >= _MOOD_ENDS, luck < begins)
        return draw_moods

    def _logits(self, day: int) -> tuple[Floats, Floats, Floats, Floats]:
        """Logits of segments (rows) and ads (columns) for click, conversation, spam and lead on a day."""
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

    def _worth(self, day: int) -> Floats:
        """Genuine leads for a view, by segment (rows) and ad (columns), out of mood."""
        click, talk, spam, lead = (1 / (1 + np.exp(-logit)) for logit in self._logits(day))
        return np.asarray(click * talk * (1 - spam) * lead)

    def tables(self, day: int) -> Tables:
        click, talk, spam, lead = (logit[self._segment].astype(np.float32) for logit in self._logits(day))
        mood = self._moods[day][:, self._theme]
        chat, will = self._residual.astype(np.float32)
        click = np.asarray(click + np.float32(_MOOD[0]) * mood, np.float32)
        chances = [
            sigmoid(talk + chat),
            sigmoid(spam + chat),
            sigmoid(lead + will + np.float32(_MOOD[1]) * mood),
        ]
        click[self.is_farm] = _FARM[0]
        for table, value in zip(chances, _FARM[1:], strict=True):
            table[self.is_farm] = value
        return Tables(click, *chances)

    def known(self, day: int, past: Past) -> Known:
        """Means over segments, moods and residuals; who wrote spam so far counts as a farm the more."""
        click, talks, leads, spams = (np.zeros((self.setting.segments + 1, len(self.ads))) for _ in range(4))
        for clicks, talking, spamming, leading, weight in self._cases(day):
            part = clicks * talking * weight
            click[:-1] += weight * clicks
            talks[:-1] += part
            spams[:-1] += part * spamming
            leads[:-1] += part * (1 - spamming) * leading
        farm = 1 / (1 + np.exp(-_FARM[0]))
        click[-1], talks[-1] = farm, farm * _FARM[1]
        spams[-1], leads[-1] = talks[-1] * _FARM[2], talks[-1] * (1 - _FARM[2]) * _FARM[3]
        chances = self._posterior(day, past)
        return Known(*((chances @ table).astype(np.float32) for table in (click, talks, leads, spams)))

    def _cases(self, day: int) -> list[tuple[Floats, Floats, Floats, Floats, float]]:
        """Chances of segments and ads for each node of the residual in chatting, in mood and out of it."""
        click, talk, spam, lead = self._logits(day)
        nodes, weights = np.polynomial.hermite_e.hermegauss(5)
        soft = 1 / np.sqrt(1 + np.pi * _RESIDUAL**2 / 8)
        cases = []
        for node, weight in zip(nodes * _RESIDUAL, weights / weights.sum(), strict=True):
            for mood, share in ((0.0, 1 - _MOOD_SHARE), (1.0, _MOOD_SHARE)):
                logits = click + _MOOD[0] * mood, talk + node, spam + node, soft * (lead + _MOOD[1] * mood)
                chances = [1 / (1 + np.exp(-logit)) for logit in logits]
                cases.append((chances[0], chances[1], chances[2], chances[3], float(weight * share)))
        return cases

    def _posterior(self, day: int, past: Past) -> Floats:
        """Chances of the segments of each viewer (rows), and of being a farm in the last column."""
        farm_prior = 0.015 * self.setting.farms if day >= self.setting.farm_day else 0.0
        best = np.logaddexp(self._likelihood[:, self._best[0]], self._likelihood[:, self._best[1]]) - np.log(
            2
        )
        usual = 1 / (1 + np.exp(1.1))
        good = past.chats - past.spams
        evidence = past.spams * np.log(_FARM[2] / usual) + good * np.log((1 - _FARM[2]) / (1 - usual))
        columns = np.concatenate([self._likelihood, (best + evidence)[:, None]], 1)
        prior = np.append(self._emissions.share * (1 - farm_prior), max(farm_prior, 1e-12))
        return posterior(columns, np.log(prior))

    def requests(self, day: int) -> Requests:
        weight = np.where(
            self.is_farm, self._farm_activity if day >= self.setting.farm_day else 0.0, self._activity
        )
        crowd = Crowd(self.viewer_country, weight, self._value, len(COUNTRIES))
        rng = chance(self.seed, 13, day)
        drawn = draw_requests(rng, day, self.flow(day), crowd, self._places, self._market)
        if day % 7 >= 5:
            drawn.shift[:] += _WEEKEND_CLICK
        return drawn

    def flow(self, day: int) -> Floats:
        farms = self._farm_activity if day >= self.setting.farm_day else 0.0
        usual = self._activity * ~self.is_farm
        weight = np.bincount(self.viewer_country, usual + farms, len(COUNTRIES)) / usual.sum()
        curves = [
            local(
                day_curve(20.5 if country in {"BR", "MX"} else 19.0, 0.75, 0.3), offset_s(ZONES[country], day)
            )
            for country in COUNTRIES
        ]
        return np.asarray(self.setting.requests * _WEEK[day % 7] * np.stack(curves, 1) * weight)

    def delays_s(self, group: int, draws: Floats) -> Floats:
        """Log-normal, with a long tail beyond every window: medians are half an hour, five hours, a day."""
        median, spread = {"fast": (1_800, 1.2), "mixed": (18_000, 1.6), "slow": (86_400, 1.7)}[
            self.groups[group].kind
        ]
        normal = np.sqrt(-2 * np.log1p(-draws[:, 0])) * np.cos(2 * np.pi * draws[:, 1])
        return np.asarray(self.setting.delay * median * np.exp(spread * normal))
