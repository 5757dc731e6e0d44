"""Who wins a place that several businesses want, as pure functions."""

from collections.abc import Sequence

from contatto.delivery.model.log import Record


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
