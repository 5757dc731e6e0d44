"""What one ad alone would offer for a place, for a viewer who is worth what all ads together made of it."""

from collections.abc import Iterator
from contextlib import contextmanager

from contatto.delivery.predict.market import Market
from contatto.delivery.rules.columns import O_VIEWER, S_VIEWER


@contextmanager
def viewer_as_held(market: Market) -> Iterator[None]:
    """Keep what the auction that was just held found the viewer to be worth, for auctions of single ads."""
    market.numbers[S_VIEWER] = market.outcome[O_VIEWER]
    try:
        yield
    finally:
        market.numbers[S_VIEWER] = 0.0
