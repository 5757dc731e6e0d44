"""Viewers of hidden segments: what one sees of each, and what one can conclude from it about the segment."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from contatto.simulator.worlds.model import Features, Floats, Ints

TAGS: Final = 240
CATEGORIES: Final = {"os": 3, "city": 40, "referrer": 12, "plan": 4}
"""Fields with one value each, and how many values there are."""
NUMBERS: Final = ("app_minutes", "joined_year", "battery")
"""Fields with numbers; the last of them tells nothing."""
MISSING: Final = {
    "os": 0.02,
    "city": 0.1,
    "referrer": 0.4,
    "plan": 0.25,
    "app_minutes": 0.15,
    "joined_year": 0.3,
    "battery": 0.5,
}
"""How often a field is missing, on the whole; some segments hide more."""
_MOST_TAGS: Final = 14


@dataclass(frozen=True, slots=True)
class Emissions:
    """What each segment (rows) shows: chances of values, means of numbers, chances of gaps."""

    share: Floats
    country: Floats
    tags: Floats
    categories: dict[str, Floats]
    numbers: dict[str, Floats]
    missing: dict[str, Floats]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is seen of viewers; -1 and NaN stand for nothing."""

    country: Ints
    tags: list[Ints]
    categories: dict[str, Ints]
    numbers: dict[str, Floats]

    def features(self, number: int) -> Features:
        """The features of one viewer as a request shows them."""
        found: Features = {}
        if len(self.tags[number]):
            found["follows"] = [f"t{tag}" for tag in self.tags[number]]
        for name, values in self.categories.items():
            if values[number] >= 0:
                found[name] = f"{name}-{values[number]}"
        for name, numbers in self.numbers.items():
            if not np.isnan(numbers[number]):
                found[name] = round(float(numbers[number]), 2)
        return found


def draw_emissions(rng: np.random.Generator, segments: int, countries: int) -> Emissions:
    """Segments that share much and differ in part: no single field tells them apart."""

    def values(count: int, alike: float, even: float = 1.0) -> Floats:
        base = rng.dirichlet(np.full(count, even))
        own = rng.dirichlet(np.full(count, 0.25), segments)
        return np.asarray(alike * base + (1 - alike) * own)

    return Emissions(
        rng.dirichlet(np.full(segments, 4.0)),
        values(countries, 0.8, 8.0),
        values(TAGS, 0.35),
        {name: values(count, 0.7) for name, count in CATEGORIES.items()},
        {name: rng.normal(0, 0.0 if name == "battery" else 0.8, segments) for name in NUMBERS},
        {name: np.clip(share * rng.lognormal(0, 0.5, segments), 0, 0.9) for name, share in MISSING.items()},
    )


def draw_seen(rng: np.random.Generator, emissions: Emissions, segment: Ints) -> Seen:
    """What viewers of these segments show."""
    count = len(segment)
    categories, numbers = {}, {}
    for name, chances in emissions.categories.items():
        hidden = rng.random(count) < emissions.missing[name][segment]
        categories[name] = np.where(hidden, -1, _pick(rng, chances, segment))
    for name, means in emissions.numbers.items():
        hidden = rng.random(count) < emissions.missing[name][segment]
        numbers[name] = np.where(hidden, np.nan, _shown(name, means[segment] + rng.normal(0, 1, count)))
    many = rng.integers(0, _MOST_TAGS + 1, count)
    drawn = [_pick(rng, emissions.tags, segment) for _ in range(_MOST_TAGS)]
    table = np.stack(drawn, 1)
    tags = [np.unique(row[:some]) for row, some in zip(table, many, strict=True)]
    return Seen(_pick(rng, emissions.country, segment), tags, categories, numbers)


def likelihoods(emissions: Emissions, seen: Seen) -> Floats:
    """Logarithm of how likely what is seen of each viewer (rows) is in each segment (columns)."""
    count = len(seen.country)
    found = np.log(emissions.country.T[seen.country])
    logs = np.log(emissions.tags.T)
    lengths = [len(tags) for tags in seen.tags]
    owner = np.repeat(np.arange(count), lengths)
    np.add.at(found, owner, logs[np.concatenate(seen.tags).astype(np.int64)])
    for name, values in seen.categories.items():
        missing = emissions.missing[name]
        there = np.log(1 - missing) + np.log(emissions.categories[name].T[values])
        found += np.where((values >= 0)[:, None], there, np.log(missing))
    for name, numbers in seen.numbers.items():
        missing = emissions.missing[name]
        off = _hidden(name, numbers)[:, None] - emissions.numbers[name]
        there = np.log(1 - missing) - 0.5 * off**2 - 0.5 * np.log(2 * np.pi)
        found += np.where(np.isnan(numbers)[:, None], np.log(missing), there)
    return np.asarray(found)


def posterior(log_likelihood: Floats, log_prior: Floats) -> Floats:
    """Chances of the segments (columns) of each viewer (rows)."""
    score = log_likelihood + log_prior
    score = np.exp(score - score.max(1, keepdims=True))
    return np.asarray(score / score.sum(1, keepdims=True))


def _pick(rng: np.random.Generator, chances: Floats, segment: Ints) -> Ints:
    sums = np.cumsum(chances, 1)
    draws = rng.random(len(segment))[:, None] * sums[segment, -1:]
    return np.asarray((draws > sums[segment]).sum(1), np.int64)


def _shown(name: str, standard: Floats) -> Floats:
    """A number as an app would tell it."""
    if name == "app_minutes":
        return np.asarray(np.exp(2.5 + 0.9 * standard))
    if name == "joined_year":
        return np.asarray(2019.0 + 2.2 * standard)
    return np.asarray(np.clip(50.0 + 20.0 * standard, 0.0, 100.0))


def _hidden(name: str, shown: Floats) -> Floats:
    if name == "app_minutes":
        return np.asarray((np.log(shown) - 2.5) / 0.9)
    if name == "joined_year":
        return np.asarray((shown - 2019.0) / 2.2)
    return np.asarray((shown - 50.0) / 20.0)
