"""What becomes of views: clicks, conversations, spam and leads, by true chances and luck drawn ahead."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from contatto.simulator.worlds.model import (
    DRAWS,
    Floats,
    Ints,
    Past,
    Tables,
    World,
)
from contatto.simulator.worlds.policies import weary
from contatto.simulator.worlds.stream import sigmoid

VIEW, CLICK, TALK, SPAM, LEAD, MIX, DELAY, MARK, FAKE, WAIT = range(DRAWS)
"""Which of a request's random numbers decides what."""
_SAMPLES: Final = 20_000


@dataclass(frozen=True, slots=True)
class Truth:
    """True chances of some views, one after the other as a viewer goes."""

    click: Floats
    talk: Floats
    spam: Floats
    lead: Floats


class Fates:
    """The fates of views in one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.owner = np.array([world.groups[ad.group].advertiser for ad in world.ads])
        self.group = np.array([ad.group for ad in world.ads])
        self.in_time = self._in_time()
        nature = world.nature
        contact, recall = nature.farm_contact, nature.farm_recall
        self.fake_contact = np.where(world.is_farm & (contact is not None), contact or 0, nature.fake_contact)
        self.spam_recall = np.where(world.is_farm & (recall is not None), recall or 0, nature.spam_recall)

    def _in_time(self) -> Floats:
        """Return which share of the leads of each ad group comes within the window of its clicks."""
        rng = np.random.default_rng(0)
        draws = rng.random((_SAMPLES, 2))
        groups = self.world.groups
        return np.array(
            [
                np.mean(self.world.delays_s(number, draws) < group.click_window_s)
                for number, group in enumerate(groups)
            ]
        )

    def truth(self, tables: Tables, viewer: Ints, ad: Ints, shift: Floats, past: Past) -> Truth:
        """What is true of these views, at this moment."""
        nature = self.world.nature
        logit = tables.click[viewer, ad] + shift
        if nature.tires:
            of_advertiser = (past.seen[viewer] * (self.owner == self.owner[ad][:, None])).sum(1)
            logit = logit - weary(nature, past.seen[viewer, ad], of_advertiser)
        lead = tables.lead[viewer, ad]
        if nature.once:
            lead = lead * ~past.is_lead[viewer, self.owner[ad]]
        return Truth(sigmoid(logit), tables.talk[viewer, ad], tables.spam[viewer, ad], lead)

    def caught(self, truth: Truth, viewer: Ints, ad: Ints) -> Floats:
        """The chance, for one view, of a lead that is noticed in time, be it genuine or a fake."""
        genuine = (1 - truth.spam) * truth.lead * self.in_time[self.group[ad]]
        return np.asarray(truth.click * truth.talk * (genuine + truth.spam * self.fake_contact[viewer]))
