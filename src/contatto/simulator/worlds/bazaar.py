"""Ad groups of worlds: budgets of every kind in many time zones, cost targets, late joiners, edits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from contatto.simulator.worlds.model import DAY, HOUR, STARTS_TS, TICK, Ad, Edit, Group, Ints

COUNTRIES: Final = ("BR", "US", "IT", "IN", "SG", "MX")
ZONES: Final = {
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
_WHOLE: Final = 14
"""Days of the usual world; in a shorter one all moves together."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How an ad group of the bazaar is set up; budgets are in days of the usual budget, 0 has none.

    ``target`` is what a lead may cost as a share of the usual cost of a lead; ``joins`` and
    ``leaves`` are days of a world of fourteen.
    """

    mode: str
    budget: float
    joins: float = 0.0
    leaves: float = 0.0
    target: float = 0.0
    window_days: float = 7.0
    delay: str = ""
    """How late leads come, by a name of the world; by turns fast, mixed and slow where it is empty."""


KINDS: Final = (
    Kind("day", 1.0),
    Kind("day", 1.4),
    Kind("day", 0.7),
    Kind("day", 1.0, joins=3.4),
    Kind("day", 1.2, window_days=1.0),
    Kind("day", 1.0, target=1.3),
    Kind("total", 9.0, leaves=10.5),
    Kind("total", 6.0, joins=7.2, leaves=13.0),
    Kind("infinite", 0.0, target=0.8),
    Kind("day", 2.0, target=0.9),
    Kind("day", 0.8, joins=7.2),
    Kind("day", 1.0),
    Kind("infinite", 0.0, target=0.6, joins=2.6),
    Kind("day", 1.3),
    Kind("day", 0.9, joins=9.6),
)


@dataclass(frozen=True, slots=True)
class Money:
    """The usual budget of a day for who reaches all, what a lead usually costs, the countries' shares."""

    budget_micros: int
    lead_micros: int
    shares: tuple[float, ...]
    days: int


@dataclass(frozen=True, slots=True)
class Stalls:
    """The ad groups and ads with what one does not see of ads: theme and style."""

    advertisers: tuple[str, ...]
    groups: tuple[Group, ...]
    ads: tuple[Ad, ...]
    edits: tuple[Edit, ...]
    theme: Ints
    style: Ints


def set_up_stalls(rng: np.random.Generator, money: Money) -> Stalls:
    """Fifteen ad groups of nine advertisers, with two or three ads each."""
    groups = make_groups(rng, KINDS, money, ZONES, _ADVERTISERS)
    theme_of = rng.integers(0, len(THEMES), _ADVERTISERS)
    ads: list[Ad] = []
    themes, styles = [], []
    for number, group in enumerate(groups):
        for _ in range(int(rng.integers(2, 4))):
            theme = int(theme_of[group.advertiser])
            style = int(rng.integers(0, STYLES))
            ads.append(Ad(f"ad-{len(ads)}", number, _shown(rng, theme, style)))
            themes.append(theme)
            styles.append(style)
    names = tuple(f"shop-{number}" for number in range(_ADVERTISERS))
    return Stalls(names, groups, tuple(ads), _edits(groups, money.days), np.array(themes), np.array(styles))


def make_groups(
    rng: np.random.Generator,
    kinds: Sequence[Kind],
    money: Money,
    zones: Mapping[str, str],
    advertisers: int,
    *,
    one_country: bool = False,
) -> tuple[Group, ...]:
    """Make an ad group of each kind, for some of the countries of ``zones``; advertisers take turns.

    With ``one_country`` each ad group has one country, by turns, so that few meet in one auction.
    """
    countries, whole = list(zones), money.days / _WHOLE
    groups = []
    for number, kind in enumerate(kinds):
        some = rng.choice(countries, size=int(rng.integers(2, max(3, len(countries)))), replace=False)
        if one_country:
            some = np.array([countries[number % len(countries)]])
        reach = sum(money.shares[countries.index(str(name))] for name in some)
        lasts = whole if kind.mode == "total" else 1.0
        group = Group(
            f"line-{number}",
            number % advertisers,
            kind.mode,
            round(kind.budget * money.budget_micros * reach * lasts),
            tuple(sorted(str(name) for name in some)),
            _moment(kind.joins * whole),
            _moment(kind.leaves * whole) if kind.leaves else 0,
            zones[str(some[0])],
            round(kind.target * money.lead_micros),
            click_window_s=int(kind.window_days * 86_400),
            kind=kind.delay or ("fast", "mixed", "slow")[number % 3],
        )
        groups.append(group)
    return tuple(groups)


def _moment(days: float) -> int:
    """Return the start of the tick that lies this many days after the start of a world."""
    return STARTS_TS + int(days * DAY) // TICK * TICK


def _shown(rng: np.random.Generator, theme: int, style: int) -> dict[str, Any]:
    """What one sees of an ad: words that hint at its theme and style, some numbers, not always all."""
    hints = [f"w{(theme * 8 + int(rng.integers(0, 8))) % _WORDS}" for _ in range(2)]
    hints += [f"w{40 + style * 3 + int(rng.integers(0, 3))}" for _ in range(2)]
    features: dict[str, Any] = {"words": sorted({*hints, f"w{int(rng.integers(0, _WORDS))}"})}
    if rng.random() < 0.7:
        features["theme"] = THEMES[theme]
    if style % 2:
        features["video_seconds"] = float(rng.integers(6, 60))
    features["price_level"] = int(rng.integers(1, 6))
    return features


def _edits(groups: tuple[Group, ...], days: int) -> tuple[Edit, ...]:
    """More budget and less in the middle of a day, a pause of a day and a half, another cost target."""

    def at(day: float, group: int, **changes: Any) -> Edit:
        return Edit(STARTS_TS + int(day * days / _WHOLE * DAY) + HOUR // 3, group, changes)

    budgets = [group.budget_micros for group in groups]
    found = (
        at(5.6, 1, budget_micros=round(1.6 * budgets[1])),
        at(6.4, 2, status="off"),
        at(7.7, 2, status="on"),
        at(8.5, 4, budget_micros=round(0.4 * budgets[4])),
        at(8.3, 9, bid_micros=round(1.3 * groups[9].bid_micros)),
        at(9.1, 6, budget_micros=round(0.8 * budgets[6])),
        at(4.2, 13, budget_micros=round(0.5 * budgets[13])),
        at(4.9, 13, budget_micros=budgets[13]),
    )
    return tuple(sorted(found, key=lambda edit: edit.ts))
