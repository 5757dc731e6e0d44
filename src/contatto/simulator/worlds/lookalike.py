"""How much better than the average those are whom a player finds most like the first leads of an ad group."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from contatto.delivery.rules.lookalikes import SHARES, choose_alike
from contatto.simulator.worlds.lines import Play
from contatto.simulator.worlds.model import DAY, STARTS_TS, Floats, Ints, Known, Past, World
from contatto.simulator.worlds.stream import sigmoid

type Rank = Callable[[int, Ints, Ints], Floats]
"""Scores of candidates for an ad group that has these seeds."""

SEEDS: Final = 20
_SHARES: Final = (0.01, 0.05, 0.10)
_LEAST_CANDIDATES: Final = 100


@dataclass(frozen=True, slots=True)
class Lifts:
    """True lead value of the best 1, 5 and 10 in a hundred over the mean of all who could be reached.

    ``spam`` is the mean chance of spam of the best 5 in a hundred over that of all.
    """

    groups: int
    top_1: float
    top_5: float
    top_10: float
    spam: float


@dataclass(frozen=True, slots=True)
class Worth:
    """True chances of a lead and of spam of viewers (rows) for ad groups (columns): means of their ads."""

    lead: Floats
    spam: Floats


def true_worth(world: World, day: int) -> Worth:
    tables = world.tables(day)
    talks = sigmoid(tables.click) * tables.talk
    return Worth(_by_group(world, talks * (1 - tables.spam) * tables.lead), _by_group(world, tables.spam))


def known_worth(world: World, day: int, past: Past) -> Worth:
    """The same as far as it follows from what a request shows."""
    known: Known = world.known(day, past)
    return Worth(
        _by_group(world, known.leads), _by_group(world, known.spams / np.maximum(known.talks, 1e-12))
    )


def _by_group(world: World, values: Floats) -> Floats:
    owner = np.array([ad.group for ad in world.ads])
    return np.stack([values[:, owner == number].mean(1) for number in range(len(world.groups))], 1)


def measure_lifts(world: World, seeds: dict[int, list[int]], rank: Rank) -> Lifts:
    """Let somebody rank all whom an ad group could reach but its seeds, and see what they are worth."""
    worth = true_worth(world, world.days - 1)
    rows = []
    for group, known in seeds.items():
        aimed = np.isin(
            world.viewer_country, [world.countries.index(name) for name in world.groups[group].countries]
        )
        aimed[known] = False
        candidates = np.flatnonzero(aimed)
        if len(candidates) < _LEAST_CANDIDATES:
            continue
        order = candidates[np.argsort(-rank(group, np.array(known), candidates), kind="stable")]
        lead, spam = worth.lead[:, group], worth.spam[:, group]
        best = [
            lead[order[: max(1, round(share * len(order)))]].mean() / lead[candidates].mean()
            for share in _SHARES
        ]
        fifth = order[: max(1, round(_SHARES[1] * len(order)))]
        rows.append([*best, spam[fifth].mean() / spam[candidates].mean()])
    if not rows:
        return Lifts(0, *([float("nan")] * 4))
    return Lifts(len(rows), *(float(mean) for mean in np.mean(rows, 0)))


def first_leads(play: Play, most: int = SEEDS) -> dict[int, list[int]]:
    """The first viewers who became leads of each ad group that has enough of them."""
    found = {group: list(dict.fromkeys(who))[:most] for group, who in play.leads_of.items()}
    return {group: who for group, who in sorted(found.items()) if len(who) >= most}


def rank_by_lines(play: Play, ask: str = "rank") -> Rank:
    """What the player of a run answers when it is asked; ``ask`` tells questions on one ad group apart."""
    world = play.world

    def rank(group: int, seeds: Ints, candidates: Ints) -> Floats:
        line: dict[str, Any] = {
            "type": "rank",
            "ask_id": f"{ask}{group}",
            "ts": STARTS_TS + world.days * DAY,
            "advertiser_id": world.advertisers[world.groups[group].advertiser],
            "adgroup_id": world.groups[group].id,
            "seeds": [world.viewer_ids[who] for who in seeds],
            "candidates": [
                {
                    "viewer_id": world.viewer_ids[who],
                    "country": world.countries[world.viewer_country[who]],
                    "features": world.viewer_features[who],
                }
                for who in candidates
            ],
        }
        answer = play.answer(line)
        return np.array(answer["scores"] if answer else np.zeros(len(candidates)), float)

    return rank


def rank_by_worth(worth: Worth) -> Rank:
    """Whoever knows what viewers are worth ranks by that."""
    return lambda group, seeds, candidates: np.asarray(worth.lead[candidates, group], float)


@dataclass(frozen=True, slots=True)
class ShownLifts:
    """How far the lifts that delivery shows are from the true ones, over all ad groups that run.

    ``off_1`` and so on are the shown over the true one of the best 1, 5 and 10 in a hundred, as geometric
    means; ``held`` is the share of the ranges that hold the true one, of which eight of ten should.
    """

    off_1: float
    off_5: float
    off_10: float
    held: float


def measure_shown(play: Play) -> ShownLifts:
    """Let delivery make lookalikes of each ad group, as it does in service."""
    world, rank = play.world, rank_by_lines(play, "shown")
    worth, off, held = true_worth(world, world.days - 1), [], []
    for group in range(len(world.groups)):
        leads = len(play.leads_of.get(group, ()))
        countries = [world.countries.index(name) for name in world.groups[group].countries]
        candidates = np.flatnonzero(np.isin(world.viewer_country, countries))
        names = {f"{who:09}": who for who in candidates.tolist()}
        scores = dict(zip(names, rank(group, np.zeros(0, np.int64), candidates).tolist(), strict=True))
        lead, row = worth.lead[:, group], []
        for size in SHARES:
            alike = choose_alike(scores, size, (), leads)
            if alike.lift is None or alike.low is None or alike.high is None:
                break
            true = float(lead[[names[name] for name in alike.viewers]].mean() / lead[candidates].mean())
            row.append(math.log(alike.lift / true))
            held.append(alike.low <= true <= alike.high)
        if len(row) == len(SHARES):
            off.append(row)
    if not off:
        return ShownLifts(*([float("nan")] * 4))
    first, fifth, tenth = np.exp(np.mean(off, 0)).tolist()
    return ShownLifts(first, fifth, tenth, float(np.mean(held)))
