"""Players who know the world: how they score every ad for every request, given the truth or what is seen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from contatto.simulator.worlds.model import Flags, Floats, Ints, Nature, Past, World
from contatto.simulator.worlds.stream import chance, sigmoid

type Score = Callable[[Ints, Floats, Flags, Past], Floats]
"""Scores of all ads (columns) for some requests (rows): viewers, shifts of clicks, which ads may be shown."""


class Policy(Protocol):
    """One that decides by knowledge of the world."""

    @property
    def name(self) -> str: ...
    @property
    def goal(self) -> str: ...
    def scoring(self, world: World, day: int, past: Past) -> Score: ...


@dataclass(frozen=True, slots=True)
class Oracle:
    """Knows every chance as it is."""

    name: str = "oracle"
    goal: str = "lead"

    def scoring(self, world: World, day: int, past: Past) -> Score:  # knows more than the past
        tables = world.tables(day)
        genuine = tables.talk * (1 - tables.spam)
        after = genuine * tables.lead if self.goal == "lead" else genuine
        return _score(world, self.goal, tables.click, after)


@dataclass(frozen=True, slots=True)
class Observer:
    """Knows at best what follows from the features of a request, and from what was seen of the viewer."""

    name: str = "oracle_obs"
    goal: str = "lead"

    def scoring(self, world: World, day: int, past: Past) -> Score:
        known = world.known(day, past)
        logit = np.log(known.click / (1 - known.click))
        reached = known.leads if self.goal == "lead" else known.talks - known.spams
        return _score(world, self.goal, logit, reached / known.click)


def _score(world: World, goal: str, click: Floats, after: Floats) -> Score:
    """The chance of a conversion, from the logit of a click and the chance of what comes after it."""
    nature = world.nature
    owners = np.array([world.groups[ad.group].advertiser for ad in world.ads])
    same_owner = (owners[:, None] == owners).astype(np.float32)

    def score(viewer: Ints, shift: Floats, may: Flags, past: Past) -> Floats:
        logit = click[viewer] + shift[:, None].astype(np.float32)
        if nature.tires:
            views = past.seen[viewer]
            logit = logit - weary(nature, views, views @ same_owner)
        worth = sigmoid(logit) * after[viewer]
        if nature.once and goal == "lead":
            worth = worth * ~past.is_lead[viewer][:, owners]
        return np.asarray(worth)

    return score


@dataclass(frozen=True, slots=True)
class Blind:
    """Takes any ad, and offers the same for every view."""

    name: str = "random"
    goal: str = "lead"

    def scoring(self, world: World, day: int, past: Past) -> Score:
        rng = chance(world.seed, 7, day)

        def score(viewer: Ints, shift: Floats, may: Flags, past: Past) -> Floats:
            keys = rng.random(may.shape) * may
            return np.asarray((keys == keys.max(1, keepdims=True)) * may, float)

        return score


def weary(nature: Nature, of_ad: Floats, of_advertiser: Floats) -> Floats:
    """Return the loss in the logit of a click by earlier views of the ad and of its advertiser."""
    most = np.float32(nature.most_weary)
    by_ad = np.float32(nature.weariness) * np.minimum(of_ad, most)
    return np.asarray(
        by_ad + np.float32(nature.weariness_of_advertiser) * np.minimum(of_advertiser, 2 * most)
    )


POLICIES: Final = (Blind(), Observer("oracle_conv", "conversation"), Observer(), Oracle())
