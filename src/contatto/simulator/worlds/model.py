"""What a world is made of: ad groups, ads, requests of a day, and the true chances of everything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[Any]
"""Of 32 bits where there is one for each viewer and ad, else of 64."""
type Columns = dict[str, NDArray[Any]]
type Ints = NDArray[np.int64]
type Flags = NDArray[np.bool_]
type Features = dict[str, Any]

SECOND: Final = 1_000_000
HOUR: Final = 3_600 * SECOND
DAY: Final = 24 * HOUR
STARTS_TS: Final = 1_772_409_600 * SECOND
"""Every world begins on Monday, 2026-03-02, at 00:00 UTC; moments are microseconds since 1970."""
TICKS: Final = 96
"""A day has ticks of a quarter of an hour; no time zone of a world is set by less."""
TICK: Final = DAY // TICKS
DRAWS: Final = 10
"""How many random numbers each request brings along, one for each thing that may happen."""


LEADS_A_TALK: Final = 0.3
"""How many leads an advertiser thinks that a conversation is worth."""


@dataclass(frozen=True, slots=True)
class Group:
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
    """What its results are told apart by, such as how late its leads come."""

    def bid_for(self, goal: str) -> int:
        """What one conversion may cost when the ad group runs for a goal; a conversation is worth less."""
        return self.bid_micros if (self.goal or goal) == "lead" else round(self.bid_micros * LEADS_A_TALK)


@dataclass(frozen=True, slots=True)
class Ad:
    id: str
    group: int
    features: Features


@dataclass(frozen=True, slots=True)
class Edit:
    """What an advertiser changes in the middle of things: a pause, another budget."""

    ts: int
    group: int
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests of one day in order of time, with all their chance drawn ahead.

    ``floor`` is the least price of a thousand views in micros; ``shift`` moves the logit of a click by place,
    hour and day; ``draws`` are uniform numbers, so that all players meet the same luck.
    """

    ts: Ints
    viewer: Ints
    place: Ints
    floor: Ints
    shift: Floats
    draws: Floats

    def __len__(self) -> int:
        return len(self.ts)


@dataclass(frozen=True, slots=True)
class Tables:
    """The true chances for every viewer (rows) and ad (columns) on one day.

    ``click`` is a logit, before place, hour and weariness; ``talk`` is the chance of a conversation after a
    click, ``spam`` of spam in a conversation, ``lead`` of a lead in one that is no spam.
    """

    click: Floats
    talk: Floats
    spam: Floats
    lead: Floats


@dataclass(frozen=True, slots=True)
class Known:
    """The same as far as it follows from what a request shows: means over what it does not show.

    ``click`` is the chance of a click, ``talks`` of a conversation, ``spams`` of one that is spam, and
    ``leads`` of a genuine lead, each for one view.
    """

    click: Floats
    talks: Floats
    leads: Floats
    spams: Floats


@dataclass(frozen=True, slots=True)
class Nature:
    """What holds for a whole world: noise of its signals, weariness, whether a lead is one only once."""

    spam_recall: float = 0.85
    spam_false_alarm: float = 0.01
    fake_contact: float = 0.04
    """How likely a spam chat yields a contact that counts as a lead."""
    farm_contact: float | None = None
    farm_recall: float | None = None
    """The chances of a contact and of a mark in a spam chat of a click farm; None for those of all."""
    weariness: float = 0.0
    """What each view of the same ad takes off the logit of a click, and what a night leaves of it."""
    weariness_of_advertiser: float = 0.0
    """The same for each view of any ad of the advertiser."""
    night: float = 0.6
    most_weary: float = 6.0
    once: bool = False
    """Whether a viewer who is an advertiser's lead can become it again."""
    view_lost: float = 0.0
    view_after_s: float = 0.0
    """Views come at once, or after up to so many seconds; some never."""
    spam_after_s: tuple[float, float] = (300.0, 1_800.0)
    told_late: bool = False
    """Whether ad groups are told of when they start; else all at the beginning."""
    qualities: bool = False
    """Whether it is told what became of leads."""

    @property
    def tires(self) -> bool:
        """Report whether earlier views make a click less likely."""
        return bool(self.weariness or self.weariness_of_advertiser)


class World(Protocol):
    """One world, made from its settings and a seed; the same seed makes the same world."""

    name: str
    seed: int
    days: int
    nature: Nature
    countries: tuple[str, ...]
    places: Sequence[Features]
    viewer_ids: Sequence[str]
    viewer_country: Ints
    viewer_features: Sequence[Features]
    is_farm: Flags
    farm_of: Ints
    """The number of the click farm of each viewer; -1 for people."""
    farm_starts: tuple[int, ...]
    """The moment at which each farm starts."""
    advertisers: tuple[str, ...]
    groups: tuple[Group, ...]
    ads: tuple[Ad, ...]
    edits: tuple[Edit, ...]

    def requests(self, day: int) -> Requests:
        """The requests of a day; the same at every call."""
        ...

    def tables(self, day: int) -> Tables:
        """The truth of a day."""
        ...

    def known(self, day: int, past: "Past") -> Known:
        """What a player could know at best at the beginning of a day."""
        ...

    def flow(self, day: int) -> Floats:
        """How many requests are expected in each tick of a UTC day (rows) from each country (columns)."""
        ...

    def delays_s(self, group: int, draws: Floats) -> Floats:
        """Return how long after the conversation leads come, from pairs of uniform numbers, in seconds."""
        ...


@dataclass(slots=True)
class Past:
    """What happened so far between viewers (rows), ads and advertisers (columns)."""

    seen: Floats
    """Views of an ad that are remembered: each night some are forgotten."""
    is_lead: Flags
    chats: Floats
    spams: Floats
    leads: Floats = field(default_factory=lambda: np.zeros(0, np.float32))

    @classmethod
    def of(cls, world: World) -> "Past":
        viewers = len(world.viewer_ids)
        nothing = [np.zeros(viewers, np.float32) for _ in range(3)]
        seen = np.zeros((viewers, len(world.ads)), np.float32)
        return cls(seen, np.zeros((viewers, len(world.advertisers)), np.bool_), *nothing)

    def sleep(self, nature: Nature) -> None:
        """A night passes."""
        self.seen *= nature.night
