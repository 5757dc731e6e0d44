"""The default world: tastes that are linear in what one sees of a viewer, and noise that one does not see."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from contatto.simulator.worlds.model import (
    DAY,
    STARTS_TS,
    Ad,
    Edit,
    Features,
    Floats,
    Group,
    Ints,
    Known,
    Nature,
    Past,
    Requests,
    Tables,
)
from contatto.simulator.worlds.stream import (
    Crowd,
    Market,
    Places,
    chance,
    day_curve,
    draw_requests,
    sigmoid,
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
"""What is seen of a viewer, and how many values each has; they are ever rarer, by Zipf's law with 0.7."""
COUNTRIES: Final = ("SG", "MY", "ID", "TH", "VN", "PH", "BR", "MX")
_ZIPF: Final = 0.7
_TASTES: Final = 6
_VERTICALS: Final = 8
_FORMATS: Final = ("video", "carousel", "image")
_SLOTS: Final = ("feed", "story", "search", "profile")
_NOISE: Final = 0.6
"""Standard deviation of what one does not see; with what one sees, the variance is 1."""
_OWN_WAY: Final = 0.35
"""How far an ad's direction in the space of tastes is from its vertical's, which has length 1."""
_NODES: Final = 5


@dataclass(frozen=True, slots=True)
class LinearSetting:
    """How the default world is set up.

    ``tension`` says how much more spam those write who like to chat, ``delay`` stretches all delays,
    ``competition`` raises what others offer, ``late_ads`` start on day ``late_day``. Money is in micros.
    """

    viewers: int = 30_000
    ads: int = 20
    days: int = 14
    requests: int = 120_000
    tension: float = 1.0
    delay: float = 1.0
    competition: float = 1.0
    late_ads: int = 5
    late_day: int = 7
    budget_micros: int = 8_000_000
    bid_micros: int = 0


class LinearWorld:
    """Thirty thousand viewers, twenty ads of as many advertisers, one competitor.

    Theory. A viewer has tastes (six numbers), likes to chat or not, is prone to spam or not, and willing
    to share or not: each a sum of weights of what one sees plus noise. An ad has a direction in the space of
    tastes. Chances are logistic in their products, so crosses of viewer and ad can learn the seen part.
    """

    name = "linear"
    countries = COUNTRIES

    def __init__(self, setting: LinearSetting, seed: int) -> None:
        self.setting, self.seed, self.days = setting, seed, setting.days
        self.nature = Nature()
        self.edits: tuple[Edit, ...] = ()
        rng = chance(seed, 1)
        self._draw_viewers(rng)
        self._draw_ads(rng)
        self._shift_slot = rng.normal(0, 0.25, len(_SLOTS))
        self.places = tuple({"slot": slot} for slot in _SLOTS)
        self._places = Places(np.array([0.5, 0.25, 0.15, 0.1]), self._shift_slot)
        self._market = Market(0.004 * setting.competition)
        self._flow = setting.requests * np.outer(day_curve(20.0, 0.7), self._country_shares)
        self._tables = self._true()
        self._known: Known | None = None

    def _draw_viewers(self, rng: np.random.Generator) -> None:
        count = self.setting.viewers
        seen = {
            name: np.searchsorted(np.cumsum(_zipf(size)), rng.random(count)).clip(0, size - 1)
            for name, size in FIELDS.items()
        }
        shuffled = {
            name: rng.permutation(size)[values] for name, values in seen.items() if (size := FIELDS[name])
        }
        seen = {
            **shuffled,
            "verified": (rng.random(count) < 0.12).astype(int),
            "activity": shuffled["activity"],
        }
        self.seen = seen
        self.viewer_country: Ints = seen["country"].astype(np.int64)
        self.viewer_ids = tuple(f"v{number}" for number in range(count))
        self.is_farm = np.zeros(count, np.bool_)
        self.farm_of: Ints = np.full(count, -1)
        self.farm_starts: tuple[int, ...] = ()
        self.viewer_features = tuple(_features(seen, number) for number in range(count))
        self._tastes = np.stack([_linear(rng, seen) for _ in range(_TASTES)], 1)
        self._chatty, self._willing, self._spammy = (_linear(rng, seen) for _ in range(3))
        self._noise = rng.normal(0, 1, (count, _TASTES + 3)).astype(np.float32)
        weight = np.array([0.3, 0.6, 1.0, 1.6, 2.5])[seen["activity"]]
        shares = np.bincount(self.viewer_country, weight, len(COUNTRIES))
        self._country_shares = shares / shares.sum()
        self._weight = weight

    def _draw_ads(self, rng: np.random.Generator) -> None:
        setting = self.setting
        count = setting.ads
        vertical = np.arange(count) % _VERTICALS
        base = rng.normal(0, 1, (_VERTICALS, _TASTES))
        base /= np.linalg.norm(base, axis=1, keepdims=True)
        noise = rng.normal(0, _OWN_WAY / np.sqrt(_TASTES), (count, _TASTES))
        self._vectors = (base[vertical] + noise).astype(np.float32)
        self._format = rng.integers(0, len(_FORMATS), count)
        self._form = rng.random(count) < 0.5
        self._pull = rng.normal(0, 0.3, (3, count)).astype(np.float32)
        self._format_shift = rng.normal(0, 0.15, len(_FORMATS))
        self._xi = rng.normal(0, 1, (2, _VERTICALS, FIELDS["age"], FIELDS["gender"])).astype(np.float32)
        self._vertical = vertical
        kinds = rng.permutation(np.arange(count) % 3)
        aimed = rng.random((count, len(COUNTRIES))) < 0.7
        aimed[~aimed.any(1), 0] = True
        late = STARTS_TS + setting.late_day * DAY
        self.advertisers = tuple(f"adv{number}" for number in range(count))
        self.groups = tuple(
            Group(
                f"g{number}",
                number,
                "day",
                setting.budget_micros,
                tuple(country for country, wanted in zip(COUNTRIES, aimed[number], strict=True) if wanted),
                late if number >= count - setting.late_ads else STARTS_TS,
                bid_micros=setting.bid_micros,
                kind=("fast", "mixed", "slow")[kinds[number]],
            )
            for number in range(count)
        )
        self.ads = tuple(
            Ad(
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

    def _parts(self) -> tuple[Floats, Floats, Floats, Floats]:
        """What one sees of the logits, of viewers (rows) and ads (columns): tastes, and what else adds up."""
        seen = self.seen
        tastes = (self._tastes @ self._vectors.T).astype(np.float32)
        xi = self._xi[:, self._vertical[None, :], seen["age"][:, None], seen["gender"][:, None]]
        click = -3.3 + self._format_shift[self._format] + self._pull[0] + 0.4 * xi[0]
        spam = -1.1 - 1.3 * (seen["verified"] == 1) - 0.5 * seen["account_age"] / 4 + self._spammy
        lead = -1.5 + 0.5 * self._form + self._pull[2] + 0.6 * xi[1]
        return tastes, click.astype(np.float32), (spam[:, None] + self._pull[1]).astype(np.float32), lead

    def _chances(
        self, chat: Floats, taste: Floats, spam: Floats, lead: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """Conversation, spam and lead: ``chat`` is the liking to chat, the rest as summed up so far."""
        tension = self.setting.tension
        talk = sigmoid(-0.8 + 0.9 * chat + 0.25 * taste)
        return talk, sigmoid(spam + 1.1 * tension * chat), sigmoid(lead + 1.1 * taste - 0.35 * tension * chat)

    def _true(self) -> Tables:
        tastes, click, spam, lead = self._parts()
        noise = _NOISE * self._noise
        taste = tastes + noise[:, :_TASTES] @ self._vectors.T
        chat = (self._chatty + noise[:, _TASTES])[:, None]
        willing = (self._willing + noise[:, _TASTES + 1])[:, None]
        spams = spam + noise[:, _TASTES + 2][:, None]
        talk, spams, leads = self._chances(chat, taste, spams, lead + 0.7 * willing)
        return Tables((click + 0.45 * chat + 0.45 * taste).astype(np.float32), talk, spams, leads)

    def requests(self, day: int) -> Requests:
        crowd = Crowd(self.viewer_country, self._weight, self._value(), len(COUNTRIES))
        return draw_requests(chance(self.seed, 2, day), day, self._flow, crowd, self._places, self._market)

    def _value(self) -> Floats:
        """Return how much others want each viewer: who clicks and shares more is dearer."""
        tables = self._tables
        value = np.log(sigmoid(tables.click) * tables.talk * (1 - tables.spam) * tables.lead).mean(1)
        return _standard(value)

    def tables(self, day: int) -> Tables:  # every day is alike here
        return self._tables

    def flow(self, day: int) -> Floats:
        return self._flow

    def known(self, day: int, past: Past) -> Known:
        if self._known is None:
            self._known = self._expected()
        return self._known

    def _expected(self) -> Known:
        """Means over the noise: Gauss-Hermite in chattiness and taste, a widened logit for the rest."""
        tastes, click, spam, lead = self._parts()
        nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
        weights = weights / weights.sum()
        spread = _NOISE * np.linalg.norm(self._vectors, axis=1)
        sums = [np.zeros_like(tastes) for _ in range(4)]
        for chat_node, chat_weight in zip(nodes, weights, strict=True):
            chat = (self._chatty + _NOISE * chat_node)[:, None].astype(np.float32)
            for node, weight in zip(nodes, weights, strict=True):
                taste = (tastes + node * spread).astype(np.float32)
                clicks = sigmoid(click + 0.45 * chat + 0.45 * taste)
                talk, spams, leads = self._softened(chat, taste, spam, lead + 0.7 * self._willing[:, None])
                talks = clicks * talk
                part = np.float32(chat_weight * weight)
                for total, value in zip(
                    sums, (clicks, talks, talks * (1 - spams) * leads, talks * spams), strict=True
                ):
                    total += part * value
        return Known(*sums)

    def _softened(
        self, chat: Floats, taste: Floats, spam: Floats, lead: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """As `_chances`, but means over the noise in spamminess and willingness."""
        tension = self.setting.tension
        soft_spam, soft_lead = (
            1 / np.sqrt(1 + np.pi * variance / 8) for variance in (_NOISE**2, (0.7 * _NOISE) ** 2)
        )
        talk = sigmoid(-0.8 + 0.9 * chat + 0.25 * taste)
        spams = sigmoid((spam + 1.1 * tension * chat) * np.float32(soft_spam))
        return talk, spams, sigmoid((lead + 1.1 * taste - 0.35 * tension * chat) * np.float32(soft_lead))

    def delays_s(self, group: int, draws: Floats) -> Floats:
        """Fast: 0.03 days; mixed: half of them 1.5 days; slow: four fifths 3 days."""
        share, fast, slow = {"fast": (0.0, 0.03, 1.0), "mixed": (0.5, 0.04, 1.5), "slow": (0.8, 0.1, 3.0)}[
            self.groups[group].kind
        ]
        mean = np.where(draws[:, 0] < share, slow, fast) * self.setting.delay * 86_400
        return np.asarray(-np.log1p(-draws[:, 1]) * mean)


def _zipf(size: int) -> Floats:
    weights = np.arange(1, size + 1, dtype=float) ** -_ZIPF
    return np.asarray(weights / weights.sum())


def _standard(values: Floats) -> Floats:
    return np.asarray((values - values.mean()) / values.std(), np.float32)


def _linear(rng: np.random.Generator, seen: dict[str, Ints]) -> Floats:
    """A sum of weights of what one sees, so scaled that with its noise the variance is 1."""
    parts = [rng.normal(0, 1, FIELDS[name])[values] for name, values in seen.items()]
    return np.asarray(_standard(np.sum(parts, 0)) * np.sqrt(1 - _NOISE**2), np.float32)


def _features(seen: dict[str, Ints], number: int) -> Features:
    return {name: f"{name[0]}{values[number]}" for name, values in seen.items() if name != "country"}
