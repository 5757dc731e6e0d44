"""How the requests of a day are drawn: when, by whom, for which place, against which price from outside."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from contatto.simulator.worlds.model import (
    DAY,
    DRAWS,
    STARTS_TS,
    TICK,
    TICKS,
    Floats,
    Ints,
    Requests,
)

_PER_MILLE: Final = 1e9
"""Micros of a thousand views for one unit of currency a view."""


@dataclass(frozen=True, slots=True)
class Market:
    """Offers of outside bidders for a view: log-normal, higher for valuable viewers.

    Of several bidders the highest counts. ``by_tick`` moves the logarithm of prices in each tick of a day.
    """

    price: float = 0.004
    sigma: float = 0.55
    for_value: float = 0.12
    bidders: int = 1
    by_tick: Floats | None = None


@dataclass(frozen=True, slots=True)
class Places:
    """Where ads are shown: how often each place asks, and what it adds to the logit of a click."""

    shares: Floats
    shifts: Floats


def chance(seed: int, *purpose: int) -> np.random.Generator:
    """A source of chance for one purpose; other purposes do not move it."""
    return np.random.default_rng([seed, *purpose])


def day_curve(peak_hour: float, depth: float, second: float = 0.0) -> Floats:
    """The shares of a day's requests in its ticks by local time: a wave, and another at noon."""
    hours = (np.arange(TICKS) + 0.5) * 24 / TICKS
    wave = 1 + depth * np.cos((hours - peak_hour) * 2 * np.pi / 24)
    wave += second * np.exp(-(((hours - 12.5) / 1.5) ** 2))
    return np.asarray(wave / wave.sum())


def local(curve: Floats, offset_s: int) -> Floats:
    """The same curve by UTC, for a place that is so many seconds ahead of it."""
    return np.roll(curve, -round(offset_s / 86_400 * TICKS))


def draw_requests(
    rng: np.random.Generator,
    day: int,
    flow: Floats,
    viewers: "Crowd",
    places: Places,
    market: Market,
) -> Requests:
    """Draw the requests of a day.

    ``flow`` has the expected number of requests by tick and country; its viewers share it by weight.
    """
    expected = flow.ravel()
    count = round(float(expected.sum()))
    cells = np.searchsorted(np.cumsum(expected / expected.sum()), rng.random(count), side="right")
    tick, country = np.divmod(np.minimum(cells, len(expected) - 1), flow.shape[1])
    ts = STARTS_TS + day * DAY + tick * TICK + (rng.random(count) * TICK).astype(np.int64)
    order = np.argsort(ts, kind="stable")
    ts, tick, country = ts[order], tick[order], country[order]
    viewer = viewers.pick(country, rng.random(count))
    place = np.searchsorted(np.cumsum(places.shares), rng.random(count) * places.shares.sum(), side="right")
    place = np.minimum(place, len(places.shares) - 1)
    offers = rng.normal(np.log(market.price), market.sigma, (market.bidders, count))
    price = offers.max(0) + market.for_value * viewers.value[viewer]
    if market.by_tick is not None:
        price += market.by_tick[tick]
    floor = np.maximum(1, np.exp(price) * _PER_MILLE).astype(np.int64)
    return Requests(ts, viewer, place, floor, places.shifts[place], rng.random((count, DRAWS)))


def merge_requests(one: Requests, two: Requests) -> Requests:
    """Return the requests of both in order of time."""
    order = np.argsort(np.concatenate([one.ts, two.ts]), kind="stable")
    columns = (np.concatenate([getattr(one, name), getattr(two, name)]) for name in Requests.__slots__)
    return Requests(*(column[order] for column in columns))


class Crowd:
    """The viewers of a world by country, to be picked by how often they look."""

    def __init__(self, country: Ints, weight: Floats, value: Floats, countries: int) -> None:
        self.value = value
        self._order = np.argsort(country, kind="stable")
        sums = np.cumsum(weight[self._order])
        ends = np.searchsorted(country[self._order], np.arange(countries), side="right")
        before = np.concatenate([[0.0], sums])
        self._sums = sums
        self._upper = before[ends]
        self._lower = np.concatenate([[0.0], self._upper[:-1]])

    def pick(self, country: Ints, draws: Floats) -> Ints:
        """A viewer of each country, by uniform draws."""
        low, high = self._lower[country], self._upper[country]
        found = np.searchsorted(self._sums, low + draws * (high - low), side="right")
        return np.asarray(self._order[np.minimum(found, len(self._order) - 1)])


def sigmoid(logit: Floats) -> Floats:
    return (1 / (1 + np.exp(-logit))).astype(np.float32)
