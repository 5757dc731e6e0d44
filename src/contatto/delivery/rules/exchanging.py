"""Who is asked for an offer for a place that several businesses want, and who wins it: pure functions."""

from collections.abc import Mapping, Sequence
from heapq import nlargest
from typing import Final

from contatto.delivery.model.log import Record

MOST_ASKED: Final = 50
"""So many businesses are asked for an offer for one place; each costs time before the answer."""
BY_OFFER: Final = 32
"""So many of these are those who offered most lately; the others take turns."""
TURN_S: Final = 30
"""So long a turn takes: time to read the ads of those whose turn it is, and to see what they offer."""


def choose_asked(able: Sequence[str], lately: Mapping[str, float], at_s: float) -> list[str]:
    """The businesses that are asked for an offer, in their order; all of them where these are not too many.

    Whoever offers little is asked in turn, and stays when that was a mistake: a business whose budget waits
    for places offers more and more for them.

    Args:
        able: who may compete.
        lately: what each offered lately in this place; who is missing offered nothing yet.
        at_s: the time, in seconds.
    """
    if len(able) <= MOST_ASKED:
        return list(able)
    best = set(nlargest(BY_OFFER, able, key=lambda business_id: lately.get(business_id, 0.0)))
    others = [business_id for business_id in able if business_id not in best]
    seats = MOST_ASKED - BY_OFFER
    first = int(at_s // TURN_S) * seats
    best.update(others[(first + seat) % len(others)] for seat in range(seats))
    return [business_id for business_id in able if business_id in best]


def rank_offers(offers: Sequence[int], number: int) -> tuple[int | None, list[int]]:
    """The place of the best offer, and for each the least offer that wins from the others.

    Args:
        offers: of each business, in micros; 0 for none.
        number: of the impression; whose turn it is among equal offers depends on it.

    Returns:
        None for the winner when nobody offers anything. To the winner the second best offer is the least
        that wins; the others would have had to offer more than the winner, so they do not win when the
        decision is made again from their own record.
    """
    count = len(offers)
    order = sorted(range(count), key=lambda place: (-offers[place], (place + number) % count))
    if not order or not offers[order[0]]:
        return None, [0] * count
    winner = order[0]
    second = offers[order[1]] if count > 1 else 0
    return winner, [second if place == winner else offers[winner] + 1 for place in range(count)]


def settle_record(record: Record) -> None:
    """Hold the ad of a record against the offers of other businesses for the same place."""
    if record.ad and record.offer_micros >= record.to_beat_micros:
        record.price_micros = max(record.floor_micros, record.to_beat_micros)
        return
    record.ad = record.ad_group = record.offer_micros = record.price_micros = 0
    record.propensity, record.p, record.raw, record.shown = 1.0, (), (), None
