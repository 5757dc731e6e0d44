"""What people of the world want, what a publisher can see of them, and how ads speak to them.

Whether somebody taps and whether they share a contact depends on the person and the ad that they see. The
goal of an ad group is nowhere here: what differs between goals is what delivery made of what it learned.
"""

import math
import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Wish(StrEnum):
    """What brings a person to an ad; no publisher sees it."""

    PLAN = "plan"
    """They are about to buy a kitchen."""
    LOOK = "look"
    """They like to look at kitchens, and to talk about them."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What a publisher knows of a person who agreed to be known."""

    age: int
    device: str
    follows: tuple[str, ...]

    @property
    def is_keen(self) -> bool:
        return "renovation" in self.follows or "new home" in self.follows


@dataclass(frozen=True, slots=True)
class Appeal:
    """How an ad speaks to people: by what it multiplies how likely they tap, and how likely they share."""

    taps: dict[Wish, float]
    shares: float


OFFER: Final = Appeal({Wish.PLAN: 1.3, Wish.LOOK: 0.7}, 1.15)
"""It promises a price, a visit, an answer in a day."""
STORY: Final = Appeal({Wish.PLAN: 0.8, Wish.LOOK: 1.3}, 0.9)
"""It shows how a kitchen became another."""
P_SHARE: Final = {Wish.PLAN: 0.66, Wish.LOOK: 0.18}
"""How many of those who chat share a contact detail, whatever the ad."""
P_CONSENT: Final = 0.9
_USUAL_FLOOR: Final = 40_000_000
_DEARER: Final = 1.25
_FLOOR_SPREAD: Final = 0.5
_TOPICS: Final = ("renovation", "new home", "cooking", "football", "travel")
_DEVICES: Final = (("phone", 78), ("tablet", 8), ("desktop", 14))


def draw_traits(rng: random.Random) -> Traits:
    device = rng.choices([name for name, _ in _DEVICES], [share for _, share in _DEVICES])[0]
    return Traits(rng.randint(19, 68), device, (rng.choice(_TOPICS),))


def draw_wish(rng: random.Random, traits: Traits) -> Wish:
    """Those who follow renovation or have a new home plan one much more often, and more so past thirty."""
    chance = 0.08
    if traits.is_keen:
        chance = 0.8 if traits.age >= 30 else 0.45
    return Wish.PLAN if rng.random() < chance else Wish.LOOK


def draw_floor(rng: random.Random, traits: Traits) -> int:
    """Draw what other bidders pay for a thousand views, in micros: more where a new kitchen is likely."""
    usual = _USUAL_FLOOR * (_DEARER if traits.is_keen else 1.0)
    return round(usual * math.exp(rng.gauss(0.0, _FLOOR_SPREAD)))
