"""Drawing the ad of a viewer by lot, at the price that the place has for those who are served as learned."""

from dataclasses import dataclass

import numpy as np

from contatto.delivery.model.log import Record
from contatto.delivery.predict.market import Market
from contatto.delivery.rules.columns import A_GROUP
from contatto.delivery.rules.hashing import chance


@dataclass(frozen=True, slots=True)
class Lot:
    """The ad that was drawn, by the API's number, and the chance that it had."""

    ad: int
    propensity: float


def draw_ad(market: Market, record: Record, offer: int) -> Lot | None:
    """Draw among the ads of a record that may serve; None when none of them can pay for the place.

    The auction as learned was just held: the scratch arrays hold the ads that may serve. An ad group is drawn
    with the chance of its views so far, so that each has the share of these places that it has of all others,
    and its budget pays for as many. Of its ads each is drawn alike.

    Args:
        market: the marketplace.
        record: the decision; it is drawn with its seed.
        offer: what the winner as learned offers for the place: whoever is drawn has this much left.
    """
    groups = market.groups
    can_pay = {
        groups.by_number[each.number]
        for each in record.groups
        if each.available >= offer and each.multiplier > 0.0
    }
    by_group: dict[int, list[int]] = {}
    for ad in groups.able.tolist():
        if ad < 0:
            break
        group = int(groups.ads[ad, A_GROUP])
        if group in can_pay:
            by_group.setdefault(group, []).append(ad)
    weights = {group: groups.groups[group].views + 1 for group in by_group}
    total = sum(weights.values())
    left = chance(np.uint64(record.seed), np.uint64(record.number)) * total
    for group, ads in by_group.items():
        if left < weights[group]:
            ad = ads[min(int(left / weights[group] * len(ads)), len(ads) - 1)]
            return Lot(int(groups.ad_ids[ad]), weights[group] / total / len(ads))
        left -= weights[group]
    return None
