"""Views of a run: viewer, ad, price, predictions and true chances."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from contatto.simulator.worlds.model import Columns, Floats, Ints, World


@dataclass(frozen=True, slots=True)
class Shown:
    """Every view of a run in order of time. Prices are micros of a thousand views.

    ``click``, ``talk``, ``spam`` and ``lead`` are true chances, one after the other as a viewer goes;
    ``lead`` is of a genuine one and 0 for who is the advertiser's lead already, ``caught`` of any that is
    noticed within the window of a click, fake ones too, for one view; ``predicted`` is what the player
    thought of that.
    """

    ts: Ints
    viewer: Ints
    ad: Ints
    price: Ints
    click: Floats
    talk: Floats
    spam: Floats
    lead: Floats
    caught: Floats
    predicted: Floats
    predicted_talk: Floats

    @property
    def talks(self) -> Floats:
        """Expected conversations of each view."""
        return np.asarray(self.click * self.talk)

    @property
    def spams(self) -> Floats:
        return np.asarray(self.talks * self.spam)

    @property
    def leads(self) -> Floats:
        """Expected genuine leads of each view."""
        return np.asarray(self.talks * (1 - self.spam) * self.lead)

    @property
    def spend(self) -> Floats:
        """What each view cost, in units of currency."""
        return np.asarray(self.price / 1e9)


@dataclass(frozen=True, slots=True)
class Run:
    """One player in one world: its views, what it did against the rules, and what it answered when asked."""

    world: World
    player: str
    goal: str
    shown: Shown
    faults: dict[str, int]
    seconds: float = 0.0
    reports: tuple[dict[str, Any], ...] = ()
    """What it reported at the end of each day."""


def joined(parts: list[Columns]) -> Shown:
    """The views of all days as one."""
    names = Shown.__slots__
    return Shown(**{name: np.concatenate([part[name] for part in parts]) for name in names})
