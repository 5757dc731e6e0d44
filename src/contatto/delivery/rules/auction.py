"""Who wins an ad request and at what price, as pure functions.

Theory. Every ad's bid is brought to one scale, what it offers for a thousand views (micros). The highest
offer wins and pays the second one, plus a micro, never less than the reserve and never more than its own
offer; with one bidder the price is the reserve. So nobody gains by offering less than a view is worth to
them. A custom bid is for one conversion: it is multiplied by how often a view becomes one. Without a bid the
offer is a fixed one. Both rates are averages of the whole product, the same for every ad.

OCPM is charged with the view, a thousandth of the price; CPC with the click, the price of as many views as
it takes to get one.
"""

from collections.abc import Sequence
from typing import Final

from contatto.ads.model import AdGroup, BidType, BillingEvent
from contatto.delivery.model.decisions import Candidate, Outcome
from contatto.measurement.model import Goal

RESERVE_MICROS: Final = 1_000_000
"""Least price of a thousand views, in micros of the ad account's currency."""
OFFER_WITHOUT_BID_MICROS: Final = 5_000_000
P_CLICK: Final = 0.02
"""Clicks of a view, on average."""
P_CONVERSION: Final = {Goal.CONVERSATION: 0.008, Goal.LEAD: 0.003}
"""Conversions of a view, on average."""


def offer_micros(ad_group: AdGroup) -> int:
    """What an ad group offers for a thousand views."""
    if ad_group.bid_type is BidType.NO_BID or ad_group.bid_micros is None:
        return OFFER_WITHOUT_BID_MICROS
    per_click = ad_group.billing_event is BillingEvent.CPC
    rate = P_CLICK if per_click else P_CONVERSION[ad_group.goal]
    return round(ad_group.bid_micros * rate * 1000)


def hold_auction(candidates: Sequence[Candidate], tie_break: int = 0) -> Outcome | None:
    """The winner and its price; None when nobody offers the reserve.

    Args:
        candidates: ads that fit the request and have budget left.
        tie_break: any number of the request: equal offers take turns by it.
    """
    offers = [(offer_micros(candidate.ad_group), candidate) for candidate in candidates]
    able = [(offer, candidate) for offer, candidate in offers if offer >= RESERVE_MICROS]
    if not able:
        return None
    best = max(offer for offer, _ in able)
    tied = [candidate for offer, candidate in able if offer == best]
    winner = tied[tie_break % len(tied)]
    second = max((offer for offer, candidate in able if candidate is not winner), default=0)
    price = min(best, max(RESERVE_MICROS, second + 1))
    return charged(winner, price)


def charged(winner: Candidate, price_micros: int) -> Outcome:
    """What the view and the click cost at a price for a thousand views."""
    if winner.ad_group.billing_event is BillingEvent.CPC:
        return Outcome(winner, 0, round(price_micros / (1000 * P_CLICK)))
    return Outcome(winner, price_micros // 1000, 0)
