"""Drawing the ad of a viewer by lot, as delivery would that has learned nothing about people or ads."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from contatto.delivery.model.log import Record
from contatto.delivery.predict.groups import Group
from contatto.delivery.predict.market import Market
from contatto.delivery.rules.columns import A_GROUP, G_AVAILABLE, G_MULTIPLIER, HEADS
from contatto.delivery.rules.hashing import chance

_PRIOR_VIEWS: Final = 500.0
"""What is expected of a viewer of whom nothing is known says as much as so many views of the ad group."""


@dataclass(frozen=True, slots=True)
class Lot:
    """The ad that was drawn, by the API's number; offer and price are micros of a thousand views."""

    ad: int
    offer: int
    price: int
    propensity: float


def draw_ad(market: Market, record: Record) -> Lot | None:
    """Draw among the ads of a record whose offers reach the floor, each alike; None when none does.

    The auction for a viewer of whom nothing is known was just held: its scratch arrays hold the ads that may
    serve, with what a view of each is expected to bring.
    """
    groups = market.groups
    offers: list[tuple[int, int, int]] = []
    for place, ad in enumerate(groups.able.tolist()):
        if ad < 0:
            break
        group = int(groups.ads[ad, A_GROUP])
        rate = _rate_of(groups.groups[group], float(groups.raws[place, 2 * HEADS]))
        worth = float(groups.table[group, G_MULTIPLIER]) * rate * 1_000.0
        offers.append((ad, group, int(min(worth, float(groups.table[group, G_AVAILABLE])))))
    able = [each for each in offers if each[2] >= max(record.floor_micros, 1)]
    if not able:
        return None
    lot = chance(np.uint64(record.seed), np.uint64(record.number))
    ad, group, offer = able[min(int(lot * len(able)), len(able) - 1)]
    other = max((each[2] for each in offers if each[1] != group), default=0)
    price = min(offer, max(record.floor_micros, other))
    return Lot(int(groups.ad_ids[ad]), offer, price, 1.0 / len(able))


def _rate_of(group: Group, expected: float) -> float:
    """Conversions for each view of an ad group so far, shrunk to what is expected of anybody."""
    return (group.earned() + _PRIOR_VIEWS * expected) / (group.views + _PRIOR_VIEWS)
