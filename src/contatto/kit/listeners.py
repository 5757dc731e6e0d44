"""Handlers that only some businesses need: an event of any other business gives them no job."""

from collections.abc import Callable, Collection
from typing import Any, Final

from contatto.kit.db.tx import Tx

type Listener = Callable[[Tx, Any], None]
type Businesses = Callable[[Tx], Collection[str]]

_ONLY_FOR: Final[dict[Listener, Businesses]] = {}


def only_for(businesses: Businesses) -> Callable[[Listener], Listener]:
    """Mark a handler: it hears only of the businesses that this says at the time of each batch of events."""

    def mark(handler: Listener) -> Listener:
        _ONLY_FOR[handler] = businesses
        return handler

    return mark


def hearing(tx: Tx) -> Callable[[Listener, str], bool]:
    """Whether a handler hears of a business, with each question asked once."""
    known: dict[Listener, Collection[str]] = {}

    def hears(handler: Listener, business_id: str) -> bool:
        find = _ONLY_FOR.get(handler)
        if find is None:
            return True
        if handler not in known:
            known[handler] = find(tx)
        return business_id in known[handler]

    return hears
