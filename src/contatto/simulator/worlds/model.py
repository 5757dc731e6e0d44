"""Worlds: ad groups, requests, true chances and what a request shows."""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[Any]
"""32 bits for tables of viewers and ads, else 64."""
type Columns = dict[str, NDArray[Any]]
type Ints = NDArray[np.int64]
type Flags = NDArray[np.bool_]
type Features = dict[str, Any]
type OnDay = Callable[[int], None]

SECOND: Final = 1_000_000
HOUR: Final = 3_600 * SECOND
DAY: Final = 24 * HOUR
STARTS_TS: Final = 1_772_409_600 * SECOND
"""Every world begins on Monday, 2026-03-02, at 00:00 UTC; moments are microseconds since 1970."""
TICKS: Final = 96
"""Quarter hours of a day; each time zone of a world is a whole number of them from UTC."""
TICK: Final = DAY // TICKS
NEVER: Final = 1 << 62
DRAWS: Final = 10
"""Random numbers of each request, one for each event that may happen."""


LEADS_A_TALK: Final = 0.3
"""Worth of a conversation in leads, for an advertiser."""


@dataclass(frozen=True, slots=True)
class WorldGroup:
    """An ad group as its advertiser set it up.

    ``goal`` is empty where the run decides; ``bid_micros`` is what one conversion may cost, 0 for the
    lowest cost; ``ends_ts`` is 0 where it has no end.
    """

    id: str
    advertiser: int
    budget_mode: str
    budget_micros: int
    countries: tuple[str, ...]
    starts_ts: int = STARTS_TS
    ends_ts: int = 0
    timezone: str = "UTC"
    bid_micros: int = 0
    goal: str = ""
    click_window_s: int = 7 * 86_400
    view_window_s: int = 86_400
    kind: str = ""
    """Kind for reports, such as the delay of its leads."""
    is_on: bool = True

    def runs(self, ts: int) -> bool:
        """Report whether it may show ads at a moment, budgets aside."""
        return self.is_on and self.starts_ts <= ts and (not self.ends_ts or ts < self.ends_ts)

    def bid_for(self, goal: str) -> int:
        """Return the cost limit of one conversion for a goal; a conversation is worth less."""
        return self.bid_micros if (self.goal or goal) == "lead" else round(self.bid_micros * LEADS_A_TALK)


@dataclass(frozen=True, slots=True)
class WorldAd:
    id: str
    group: int
    features: Features


@dataclass(frozen=True, slots=True)
class Edit:
    """A change by an advertiser, such as a pause or another budget."""

    ts: int
    group: int
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests of one day by time, with all random numbers drawn ahead.

    ``floor`` is the least price of a thousand views in micros; ``shift`` moves the logit of a click by place,
    hour and day; ``draws`` are uniform numbers, so that all players meet the same luck.
    """

    ts: Ints
    viewer: Ints
    place: Ints
    floor: Ints
    shift: Floats
    draws: Floats


@dataclass(frozen=True, slots=True)
class Tables:
    """True chances for every viewer (rows) and ad (columns) on one day.

    ``click`` is a logit, before place, hour and weariness; ``talk`` is the chance of a conversation after a
    click, ``spam`` of spam in a conversation, ``lead`` of a lead in one that is no spam.
    """

    click: Floats
    talk: Floats
    spam: Floats
    lead: Floats


@dataclass(frozen=True, slots=True)
class ObservableChances:
    """Best possible predictions from a request: means over hidden parts.

    For one view, ``click`` is the chance of a click and ``talks`` of a conversation. ``spams`` is of one
    that is spam, and ``leads`` of a genuine lead.
    """

    click: Floats
    talks: Floats
    leads: Floats
    spams: Floats


@dataclass(frozen=True, slots=True)
class Nature:
    """Rules of a whole world: noise of signals, weariness, repeated leads."""

    spam_recall: float = 0.85
    spam_false_alarm: float = 0.01
    fake_contact: float = 0.04
    """Chance of a spam chat to yield a contact that counts as a lead."""
    farm_contact: float | None = None
    farm_recall: float | None = None
    """Chances of a contact and of a spam mark in a chat with a click farm; None: as in any spam chat."""
    weariness: float = 0.0
    """Loss of the logit of a click by each earlier view of the ad."""
    weariness_of_advertiser: float = 0.0
    """Loss by each earlier view of any ad of the advertiser."""
    night: float = 0.6
    """Share of earlier views that still count after each night."""
    most_weary: float = 6.0
    """Earlier views of an ad that count at most; twice as many of an advertiser."""
    once: bool = False
    """True if a viewer becomes a lead of an advertiser only once."""
    view_lost: float = 0.0
    view_after_s: float = 0.0
    """Views come at once if this is 0, else within this many seconds; a share ``view_lost`` never comes."""
    spam_after_s: tuple[float, float] = (300.0, 1_800.0)
    announced_late: bool = False
    """True if ad groups are announced at their start; else all at the beginning."""
    qualities: bool = False
    """True if the player receives qualities of leads."""

    @property
    def recall_of_farms(self) -> float:
        """Return the chance of a spam mark in a chat with a click farm."""
        return self.spam_recall if self.farm_recall is None else self.farm_recall

    @property
    def tires(self) -> bool:
        """Report whether earlier views make a click less likely."""
        return bool(self.weariness or self.weariness_of_advertiser)


@dataclass(slots=True)
class Past:
    """Events so far between viewers (rows), ads and advertisers (columns)."""

    views: Floats
    """Views of an ad that are remembered: each night some are forgotten."""
    is_lead: Flags
    chats: Floats
    spams: Floats
    """Conversations of each viewer, and those that got a mark of spam."""

    @classmethod
    def empty(cls, world: "World") -> "Past":
        viewers = len(world.viewer_ids)
        chats, spams = np.zeros((2, viewers), np.float32)
        views = np.zeros((viewers, len(world.ads)), np.float32)
        return cls(views, np.zeros((viewers, len(world.advertisers)), np.bool_), chats, spams)


_CPM_MICROS: Final = 1e9
"""Micros for a thousand views, per unit of currency for one view."""


@dataclass(frozen=True, slots=True)
class OutsideBids:
    """Log-normal bids of outside bidders for a view, higher for valuable viewers.

    Of several bidders the highest counts. ``by_tick`` moves the logarithm of prices in each tick of a day.
    """

    price: float = 0.004
    sigma: float = 0.55
    for_value: float = 0.12
    bidders: int = 1
    by_tick: Floats | None = None


@dataclass(frozen=True, slots=True)
class PlacementMix:
    """Placements: their shares of requests, and their shifts of the logit of a click."""

    shares: Floats
    shifts: Floats


def chance(seed: int, *purpose: int) -> np.random.Generator:
    """Return a random generator for one purpose; other purposes do not move it."""
    return np.random.default_rng([seed, *purpose])


def day_curve(peak_hour: float, depth: float, second: float = 0.0) -> Floats:
    """Return the shares of a day's requests in its ticks by local time: a wave, and one at noon."""
    hours = (np.arange(TICKS) + 0.5) * 24 / TICKS
    wave = 1 + depth * np.cos((hours - peak_hour) * 2 * np.pi / 24)
    wave += second * np.exp(-(((hours - 12.5) / 1.5) ** 2))
    return np.asarray(wave / wave.sum())


@dataclass(frozen=True, slots=True)
class WorldSetting:
    """Settings that every world has. Money is in micros; ``delay`` stretches all delays of leads."""

    viewers: int
    days: int = 14
    requests: int = 0
    delay: float = 1.0
    competition: float = 1.0
    """Factor of outside bids."""
    budget_micros: int = 0
    repeats: float = 0.0
    """With 1, viewers have three fields that tell each other and nothing else (see `World.repeat_fields`)."""
    idle: float = 0.0
    """With 1, viewers have thirty fields that tell nothing (see `World.add_idle_fields`)."""


class World(ABC):
    """A world made from its settings and a seed; the same seed makes the same world.

    This class draws requests. A subclass draws viewers, ads and chances in ``__init__``.
    """

    name: ClassVar[str]
    zones: ClassVar[Mapping[str, str]]
    """Time zone of each country."""
    day_shape: ClassVar[tuple[float, float, float]]
    """Arguments of ``day_curve`` for the requests of a day."""
    day_shapes: ClassVar[Mapping[str, tuple[float, float, float]]] = {}
    """The same for countries that differ."""
    week: ClassVar[tuple[float, ...]] = (1.0,) * 7
    """Requests by day of the week over those of a usual day, from Monday on."""
    weekend_click: ClassVar[float] = 0.0
    """Shift of the logit of a click on weekends."""
    delay_hours: ClassVar[Mapping[str, float]]
    """Mean delays of leads by the kind of an ad group."""
    stream: ClassVar[int]
    """Number of the random stream that requests are drawn from."""
    setting: WorldSetting
    nature: Nature
    places: Sequence[Features]
    viewer_ids: Sequence[str]
    viewer_country: Ints
    viewer_features: Sequence[Features]
    farm_of: Ints
    """The number of the click farm of each viewer; -1 for people."""
    farm_starts: tuple[int, ...] = ()
    """The moment at which each farm starts."""
    advertisers: tuple[str, ...]
    groups: tuple[WorldGroup, ...]
    ads: tuple[WorldAd, ...]
    edits: tuple[Edit, ...] = ()
    _activity: Floats
    """Weight of each viewer among the requests of a usual day."""
    _busy_farm: tuple[int, float, range] = (-1, 0.0, range(0))
    """The only farm in ``weights``: its number, the weight of its viewers, and its days."""
    _value: Floats
    """Worth of each viewer to outside bidders; mean 0, standard deviation 1."""
    _places: PlacementMix
    _market: OutsideBids
    _tables: Tables

    def __init__(self, setting: WorldSetting, seed: int) -> None:
        self.setting, self.seed, self.days = setting, seed, setting.days
        self.countries = tuple(self.zones)

    @property
    def is_farm(self) -> Flags:
        return self.farm_of >= 0

    def repeat_fields(self) -> None:
        """Add fields of viewers that tell each other: a town, its station and its time zone."""
        shown = []
        for viewer, features in enumerate(self.viewer_features):
            country = self.countries[int(self.viewer_country[viewer])]
            town = f"{country}-{viewer % 5}"
            shown.append({**features, "town": town, "station": f"{town} north", "zone": self.zones[country]})
        self.viewer_features = tuple(shown)

    def add_idle_fields(self) -> None:
        """Add thirty fields of viewers that tell nothing, of 2 to 50 values each."""
        rng = chance(self.seed, 9)
        drawn = rng.integers(0, rng.choice((2, 5, 20, 50), 30), (len(self.viewer_features), 30))
        self.viewer_features = tuple(
            {**features, **{f"idle {field}": f"value {value}" for field, value in enumerate(values)}}
            for features, values in zip(self.viewer_features, drawn.tolist(), strict=True)
        )

    def tables(self, day: int) -> Tables:
        """Return the true chances of a day."""
        return self._tables

    @abstractmethod
    def observable(self, day: int, past: "Past") -> ObservableChances:
        """Return the best possible predictions at the beginning of a day."""

    def delays_s(self, group: int, draws: Floats) -> Floats:
        """Return how long after the conversation leads come, from pairs of uniform numbers, in seconds."""
        mean_s = 3_600 * self.delay_hours[self.groups[group].kind]
        return np.asarray(-np.log1p(-draws[:, 1]) * mean_s) * self.setting.delay

    def weights(self, day: int) -> Floats:
        """Return the weight of each viewer among the requests of a day."""
        farm, weight, days = self._busy_farm
        is_busy = (self.farm_of == farm) & (day in days)
        return np.where(self.is_farm, np.where(is_busy, weight, 0.0), self._activity)

    def flow(self, day: int) -> Floats:
        """Return the expected requests in each tick of a UTC day (rows) from each country (columns)."""
        usual = (self._activity * ~self.is_farm).sum()
        shares = np.bincount(self.viewer_country, self.weights(day), len(self.zones)) / usual
        curves = []
        for name, zone in self.zones.items():  # by UTC
            curve = day_curve(*self.day_shapes.get(name, self.day_shape))
            curves.append(np.roll(curve, -round(offset_s(zone, day) / 86_400 * TICKS)))
        return np.asarray(self.setting.requests * self.week[day % 7] * np.stack(curves, 1) * shares)

    def requests(self, day: int) -> Requests:
        """Return the requests of a day; the same at every call."""
        return self.draw_requests(day, self.weights(day), self.flow(day), self.stream)

    def draw_requests(
        self, day: int, weights: Floats, flow: Floats, stream: int, strata: Ints | None = None
    ) -> Requests:
        """Draw the requests of a day.

        ``flow`` has the expected number of requests by tick and stratum; its viewers share it by weight.
        ``strata`` has the stratum of each viewer: without it the country.
        """
        strata = self.viewer_country if strata is None else strata
        rng, places, market = chance(self.seed, stream, day), self._places, self._market
        expected = flow.ravel()
        count = round(float(expected.sum()))
        cells = np.searchsorted(np.cumsum(expected / expected.sum()), rng.random(count), side="right")
        tick, stratum = np.divmod(np.minimum(cells, len(expected) - 1), flow.shape[1])
        ts = STARTS_TS + day * DAY + tick * TICK + (rng.random(count) * TICK).astype(np.int64)
        order = np.argsort(ts, kind="stable")
        ts, tick, stratum = ts[order], tick[order], stratum[order]
        # A viewer of each stratum by weight.
        draws, viewers = rng.random(count), np.argsort(strata, kind="stable")
        sums = np.cumsum(weights[viewers])
        ends = np.searchsorted(strata[viewers], np.arange(flow.shape[1]), side="right")
        upper = np.concatenate([[0.0], sums])[ends]
        low, high = np.concatenate([[0.0], upper[:-1]])[stratum], upper[stratum]
        viewer_indexes = np.searchsorted(sums, low + draws * (high - low), side="right")
        viewer = viewers[np.minimum(viewer_indexes, len(viewers) - 1)]
        shares = np.cumsum(places.shares)
        place = np.searchsorted(shares, rng.random(count) * places.shares.sum(), side="right")
        place = np.minimum(place, len(shares) - 1)
        log_bids = rng.normal(np.log(market.price), market.sigma, (market.bidders, count))
        log_price = log_bids.max(0) + market.for_value * self._value[viewer]
        if market.by_tick is not None:
            log_price += market.by_tick[tick]
        floor = np.maximum(1, np.exp(log_price) * _CPM_MICROS).astype(np.int64)
        shift = places.shifts[place] + (self.weekend_click if day % 7 >= 5 else 0.0)
        return Requests(ts, viewer, place, floor, shift, rng.random((count, DRAWS)))


def standardize(values: Floats) -> Floats:
    """Scale values to mean 0 and standard deviation 1."""
    return np.asarray((values - values.mean()) / values.std(), np.float32)


_nodes, _node_weights = np.polynomial.hermite_e.hermegauss(5)
NORMAL_NODES: Final = tuple(zip(_nodes, _node_weights / _node_weights.sum(), strict=True))
"""Five values of a standard normal variable with their weights, for means over it."""


def logistic_shrinkage(sd: float) -> float:
    """Return the factor of a logit that gives the mean over normal noise of this deviation."""
    return float(1 / np.sqrt(1 + np.pi * sd**2 / 8))


type FarmChances = tuple[float, float, float, float]
"""Click farm: the logit of a click, then the chances of conversation, spam and lead."""


def set_farm(tables: Tables, rows: Flags, chances: FarmChances) -> None:
    """Give the viewers of a farm its chances."""
    for table, value in zip((tables.click, tables.talk, tables.spam, tables.lead), chances, strict=True):
        table[rows] = value


_USUAL_SPAM: Final = 0.25
"""Share of spam in conversations of people."""


def farm_evidence(spam: float, nature: Nature, past: Past) -> Floats:
    """Return the log-likelihood ratio for a farm of each viewer, given the marks of earlier conversations.

    ``spam`` is the share of spam in conversations of the farm.
    """
    of_farm = spam * nature.recall_of_farms
    usual = _USUAL_SPAM * nature.spam_recall
    unmarked = past.chats - past.spams
    return np.asarray(past.spams * np.log(of_farm / usual) + unmarked * np.log((1 - of_farm) / (1 - usual)))


def farm_chance(prior: float | Floats, spam: float, nature: Nature, past: Past) -> Floats:
    """Return the chance that each viewer belongs to a farm; ``prior`` has the odds before any conversation.

    The others are as in `farm_evidence`.
    """
    odds = prior * np.exp(farm_evidence(spam, nature, past))
    return np.asarray(odds / (1 + odds))


def mix_farms(chances: Floats, people: Sequence[Floats], farms: Sequence[FarmChances]) -> ObservableChances:
    """Mix the chances of people with those of farms.

    ``people`` has clicks, conversations, leads and spam. ``chances`` has for each viewer (rows) the chance to
    belong to each farm (columns).
    """
    mixed = []
    for column, table in enumerate(people):
        total = (1 - chances.sum(1))[:, None] * table
        for farm, (logit, talk, spam, lead) in enumerate(farms):
            click = 1 / (1 + np.exp(-logit))
            talks = click * talk
            value = (click, talks, talks * (1 - spam) * lead, talks * spam)[column]
            total = total + chances[:, farm, None] * value
        mixed.append(total.astype(np.float32))
    return ObservableChances(*mixed)


def sigmoid(logit: Floats) -> Floats:
    return (1 / (1 + np.exp(-logit))).astype(np.float32)


def weary(nature: Nature, of_ad: Floats, of_advertiser: Floats) -> Floats:
    """Return the loss in the logit of a click by earlier views of the ad and of its advertiser."""
    most = np.float32(nature.most_weary)
    by_ad = np.float32(nature.weariness) * np.minimum(of_ad, most)
    return np.asarray(
        by_ad + np.float32(nature.weariness_of_advertiser) * np.minimum(of_advertiser, 2 * most)
    )


@dataclass(slots=True)
class GroupStates:
    """Ad groups of a world after the edits up to a moment; moments never go back."""

    groups: list[WorldGroup]
    edits: deque[Edit]
    """Edits to come."""

    def move_to(self, ts: int) -> list[int]:
        """Apply the edits up to a moment, and return the ad groups that changed."""
        changed = []
        while self.edits and self.edits[0].ts <= ts:
            edit = self.edits.popleft()
            self.groups[edit.group] = replace(self.groups[edit.group], **edit.changes)
            changed.append(edit.group)
        return changed

    def running(self, ts: int) -> Flags:
        return np.array([group.runs(ts) for group in self.groups])


class Spans:
    """Budget periods of ad groups: local days, or whole schedules."""

    def __init__(self, world: World) -> None:
        self._last = STARTS_TS + world.days * DAY
        first = datetime.fromtimestamp(STARTS_TS // SECOND, UTC).date() - timedelta(days=2)
        self._midnights: dict[str, list[int]] = {}
        for timezone in {group.timezone for group in world.groups}:
            days = [first + timedelta(days=number) for number in range(world.days + 5)]
            midnights = [datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(timezone)) for day in days]
            self._midnights[timezone] = [round(moment.timestamp()) * SECOND for moment in midnights]

    def at(self, group: WorldGroup, ts: int) -> tuple[int, int]:
        """Return beginning and end of the budget period at a moment."""
        if group.budget_mode != "day":
            return group.starts_ts, group.ends_ts or self._last
        midnights_of_zone = self._midnights[group.timezone]
        index = bisect_right(midnights_of_zone, ts)
        return midnights_of_zone[index - 1], midnights_of_zone[index]


def offset_s(timezone: str, day: int) -> int:
    """Return how far a time zone is ahead of UTC at noon of a day, in seconds."""
    moment = datetime.fromtimestamp((STARTS_TS + day * DAY + DAY // 2) // SECOND, ZoneInfo(timezone))
    offset = moment.utcoffset()
    return round(offset.total_seconds()) if offset else 0


def expected_flow(world: World) -> Floats:
    """Return the requests that each ad group may expect in each tick (rows), by its countries."""
    aimed = np.array([[country in group.countries for country in world.countries] for group in world.groups])
    days = [world.flow(day) @ aimed.T for day in range(world.days)]
    return np.asarray(np.concatenate(days))


WHOLE_DAYS: Final = 14
"""Days of the usual world; a shorter one compresses its schedule."""


@dataclass(frozen=True, slots=True)
class GroupKind:
    """Setup of an ad group; ``budget`` is in usual daily budgets.

    ``target`` is the most that a lead may cost, in usual costs of a lead; 0 has no limit. ``joins`` and
    ``leaves`` are its first and last day in a world of 14 days; 0 has no last day.
    """

    mode: str
    budget: float
    joins: float = 0.0
    leaves: float = 0.0
    target: float = 0.0
    window_days: float = 7.0
    delay: str = ""
    """Delay of leads, by a name of the world; empty alternates fast, mixed and slow."""


@dataclass(frozen=True, slots=True)
class WorldBudget:
    """Usual budget of a day, usual cost of a lead, and shares of the countries."""

    budget_micros: int
    lead_micros: int
    shares: tuple[float, ...]
    days: int


def make_groups(
    rng: np.random.Generator,
    kinds: Sequence[GroupKind],
    money: WorldBudget,
    zones: Mapping[str, str],
    advertisers: int,
    *,
    one_country: bool = False,
) -> tuple[WorldGroup, ...]:
    """Make an ad group of each kind, for some of the countries of ``zones``; advertisers take turns.

    With ``one_country`` each ad group has one country, by turns, so that few meet in one auction.
    """
    countries, scale = list(zones), money.days / WHOLE_DAYS
    groups = []
    for number, kind in enumerate(kinds):
        own_countries = rng.choice(
            countries, size=int(rng.integers(2, max(3, len(countries)))), replace=False
        )
        if one_country:
            own_countries = np.array([countries[number % len(countries)]])
        reach = sum(money.shares[countries.index(str(name))] for name in own_countries)
        budget_scale = scale if kind.mode == "total" else 1.0
        joins, leaves = (
            STARTS_TS + int(days * scale * DAY) // TICK * TICK for days in (kind.joins, kind.leaves)
        )
        group = WorldGroup(
            f"line-{number}",
            number % advertisers,
            kind.mode,
            round(kind.budget * money.budget_micros * reach * budget_scale),
            tuple(sorted(str(name) for name in own_countries)),
            joins,
            leaves if kind.leaves else 0,
            zones[str(own_countries[0])],
            round(kind.target * money.lead_micros),
            click_window_s=int(kind.window_days * 86_400),
            kind=kind.delay or ("fast", "mixed", "slow")[number % 3],
        )
        groups.append(group)
    return tuple(groups)
