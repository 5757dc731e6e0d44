"""Which requests are taken next: places of destinations, of businesses and in all, and whose turn it is."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from contatto.kit.db.tx import Tx
from contatto.kit.exchange import HttpAnswer, HttpOutcome, NoAnswer, SendFailure
from contatto.kit.log import logger
from contatto.kit.outbound import due
from contatto.kit.outbound.breaker import Destination
from contatto.kit.outbound.model import OutboundRequest
from contatto.kit.turns import Turns, in_turn

MOST_DESTINATIONS: Final = 50
"""Destinations that one look serves; the next goes on with those after them."""
AWAY: Final = frozenset({502, 503, 504})
"""Answers that say that nobody was there to answer."""
REMEMBERED: Final = 10_000
"""Destinations of which it is known whose turn it is."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests that may be on their way at once: in all, of one business, and to one destination."""

    places: int = 256
    each_business: int = 64
    each_destination: int = 16


USUAL: Final = Limits()


@dataclass(slots=True)
class Rooms:
    """How many more requests may be taken, as it is at one moment; a transaction counts on in its own copy.

    Attributes:
        places: in all.
        of_business: on their way, of each business.
        of_destination: how many more may go to each that something is known of.
        open: destinations whose breaker keeps requests back.
    """

    places: int
    of_business: Counter[str]
    of_destination: dict[str, int]
    open: frozenset[str]

    @property
    def full(self) -> list[str]:
        """Destinations that take no more."""
        return [name for name, room in self.of_destination.items() if room <= 0]

    def free(self, request: OutboundRequest) -> None:
        """Count the place of a request that was settled."""
        self.places += 1
        self.of_business[request.business_id] -= 1
        if request.destination not in self.open:
            self.of_destination[request.destination] += 1


@dataclass(frozen=True, slots=True)
class Chosen:
    """Requests that come next.

    Attributes:
        is_cut: there may be destinations that were not looked at.
        is_all: nothing else is due, with room or without.
    """

    requests: list[OutboundRequest]
    is_cut: bool
    is_all: bool


class Claiming:
    """Counts what is on its way, and chooses what comes next; to be used by one machine.

    Args:
        limits: see ``Limits``.
        chance: gives numbers from 0 to 1, for the waits of breakers.
    """

    def __init__(self, limits: Limits, chance: Callable[[], float]) -> None:
        self._limits = limits
        self._chance = chance
        self._destinations: dict[str, Destination] = {}
        self._of_business: Counter[str] = Counter()
        self._begun: set[str] = set()
        self._turns: dict[str, Turns] = {}
        self._last = ""

    def rooms(self) -> Rooms:
        """Return how much may be taken now."""
        now = time.monotonic()
        return Rooms(
            self._limits.places - len(self._begun),
            Counter(self._of_business),
            {name: each.room(now) for name, each in self._destinations.items()},
            frozenset(name for name, each in self._destinations.items() if each.is_open),
        )

    def _destination(self, name: str) -> Destination:
        """What is known of a destination."""
        made = self._destinations.get(name)
        if made is None:
            made = self._destinations[name] = Destination(self._limits.each_destination, self._chance)
        return made

    def begin(self, request: OutboundRequest) -> None:
        """Count a request that is on its way."""
        self._begun.add(request.claim or "")
        self._destination(request.destination).begin()
        self._of_business[request.business_id] += 1

    def end(self, request: OutboundRequest) -> bool:
        """Count it no more; False when that was done already."""
        claim = request.claim or ""
        if claim not in self._begun:
            return False
        self._begun.remove(claim)
        self._of_business -= Counter([request.business_id])
        destination = self._destination(request.destination)
        destination.end()
        if destination.is_idle:
            del self._destinations[request.destination]
        return True

    def is_due(self, tx: Tx, full: list[str]) -> bool:
        """Return whether there is anything to take."""
        return bool(due.list_due_destinations(tx, "", full, 1))

    def choose(self, tx: Tx, rooms: Rooms) -> Chosen:
        """Requests that have room: of each destination in turn, and within it of each business in turn.

        Whatever of it is begun has to be told by ``note_served``.
        """
        full, each = rooms.full, self._limits.each_destination + 1
        waiting = due.list_due(tx, self._last, full, MOST_DESTINATIONS, each)
        if self._last and len(waiting) < MOST_DESTINATIONS:
            others = due.list_due(tx, "", full, MOST_DESTINATIONS - len(waiting), each)
            waiting |= {name: rows for name, rows in others.items() if name not in waiting}
        lists = [self._within(tx, rooms, name, rows) for name, rows in waiting.items()]
        of_business = Counter(rooms.of_business)
        chosen: list[OutboundRequest] = []
        for request in in_turn(lists):
            if len(chosen) >= rooms.places:
                break
            if of_business[request.business_id] < self._limits.each_business:
                of_business[request.business_id] += 1
                chosen.append(request)
        is_cut = len(waiting) >= MOST_DESTINATIONS
        return Chosen(chosen, is_cut, not is_cut and len(chosen) == sum(map(len, waiting.values())))

    def _within(
        self, tx: Tx, rooms: Rooms, destination: str, rows: list[OutboundRequest]
    ) -> list[OutboundRequest]:
        """Requests to a destination, no more than have room; where more are due, businesses have turns."""
        room = rooms.of_destination.get(destination, self._limits.each_destination)
        if len(rows) <= room:
            return rows
        turns = self._turns_of(destination)
        return turns.list_rows(tx, room, partial(due.list_due_requests_of, tx, turns.queue))[:room]

    def _turns_of(self, destination: str) -> Turns:
        turns = self._turns.pop(destination, None) or Turns(due.WAITING.given(destination=destination))
        self._turns[destination] = turns  # at the end again: those not used for longest are forgotten
        if len(self._turns) > REMEMBERED:
            del self._turns[next(iter(self._turns))]
        return turns

    def note_served(self, requests: list[OutboundRequest], *, is_all: bool = False) -> None:
        """Note whose requests were begun: the next look goes on after them, unless they were all."""
        for request in requests:
            self._last = request.destination
            if (turns := self._turns.get(request.destination)) is not None:
                turns.served(request.business_id)
        if is_all:
            self._last = ""

    def note_exchange(self, name: str, exchange: HttpOutcome) -> None:
        """Note whether a destination answered."""
        if isinstance(exchange, NoAnswer) and exchange.trouble in (SendFailure.FORBIDDEN, SendFailure.BROKEN):
            return  # it says nothing of who is there
        is_answered = isinstance(exchange, HttpAnswer) and exchange.status not in AWAY
        destination = self._destination(name)
        was_open = destination.is_open
        destination.note(time.monotonic(), is_answered=is_answered)
        if destination.is_open is not was_open:
            logger().warning("outbound.breaker", destination=name, is_open=destination.is_open)
