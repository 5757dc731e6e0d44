"""Sends what is due, many requests beside each other; a destination that is slow or down holds up no other.

Each destination has places of its own, each business too, and all together. A place that comes free is filled
at once. What is sent belongs to this process by a lease, which is renewed as long as it is on its way; after
a crash another takes it up where its last step was written down.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from sqlalchemy.exc import OperationalError

from contatto.kit.batches import in_time
from contatto.kit.client import Client
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.exchange import HttpAnswer, HttpOutcome, NoAnswer, SendFailure
from contatto.kit.log import logger, where
from contatto.kit.outbound import due, store
from contatto.kit.outbound.breaker import Destination
from contatto.kit.outbound.kinds import OutboundKind
from contatto.kit.outbound.model import Ask, OutboundRequest
from contatto.kit.outbound.steps import next_step, start_request
from contatto.kit.turns import Turns, in_turn

LEASE: Final = timedelta(seconds=60)
RENEW_S: Final = 20.0
UNKNOWN_KIND: Final = timedelta(minutes=10)
"""How long a request waits whose kind is not known here, before it is looked at again."""
END_S: Final = 3.0
"""How long what is on its way has at the end: what is cut off may have to be told of as lost."""
AGAIN_S: Final = 1.0
"""Before what was answered is written down again, when the database did not take it."""
MOST_DESTINATIONS: Final = 50
"""Destinations that one look serves; the next goes on with those after them."""
REMEMBERED: Final = 10_000
"""Destinations of which it is known whose turn it is."""
AWAY: Final = frozenset({502, 503, 504})
"""Answers that say that nobody was there to answer."""

type Claimed = tuple[OutboundRequest, Ask]


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests that may be on their way at once: in all, of one business, and to one destination."""

    places: int = 256
    each_business: int = 64
    each_destination: int = 16


class OutboundMachine:
    """Sends the requests of all kinds; several processes may do so at once.

    Args:
        db: keeps the requests.
        client: sends one.
        kinds: by their names.
        limits: see ``Limits``.
        chance: gives numbers from 0 to 1, for the jitter of waits.
    """

    def __init__(
        self,
        db: Database,
        client: Client,
        kinds: Mapping[str, OutboundKind],
        limits: Limits = Limits(),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._db = db
        self._client = client
        self._kinds = kinds
        self._limits = limits
        self._chance = chance
        self._destinations: dict[str, Destination] = {}
        self._turns: dict[str, Turns] = {}
        self._last = ""
        self._of_business: Counter[str] = Counter()
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._looking: asyncio.Task[int] | None = None
        self._look_again = False
        self._is_ending = False

    async def run(self) -> None:
        """Renew the leases of what is on its way, until cancelled; then give it a moment to arrive."""
        try:
            while True:
                await asyncio.sleep(RENEW_S)
                with suppress(OperationalError):  # the database is away for a while; the leases are longer
                    await self._renew()
        finally:
            self._is_ending = True
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=END_S)
            for task in self._tasks:
                task.cancel()

    async def _renew(self) -> None:
        claims = list(self._tasks.values())
        if claims:
            await self._db.write(lambda tx: store.renew_claims(tx, claims, tx.now + LEASE))

    async def send_due(self) -> int:
        """Begin to send all that is due and has a place; say how many requests that were."""
        self._look_again = True
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(self._looking)

    async def _look(self) -> int:
        begun = 0
        while self._look_again and not self._is_ending:
            self._look_again = False
            while len(self._tasks) < self._limits.places and await self._db.read(self._is_due):
                handled, claimed = await self._db.write(self._claim)
                for request, ask in claimed:
                    self._begin(request, ask)
                begun += len(claimed)
                if not handled:
                    break
        return begun

    async def finish(self) -> None:
        """Wait for all that is on its way, and for what takes its place."""
        while self._tasks or (self._looking is not None and not self._looking.done()):
            await asyncio.wait([*self._tasks, *([self._looking] if self._looking else [])])

    def _is_due(self, tx: Tx) -> bool:
        return bool(due.list_due_destinations(tx, "", self._full(), 1))

    def _full(self) -> list[str]:
        now = time.monotonic()
        return [name for name, each in self._destinations.items() if each.room(now) <= 0]

    def _claim(self, tx: Tx) -> tuple[int, list[Claimed]]:
        """Take requests of each destination in turn, and within it of each business in turn.

        Returns:
            How many were looked at, and those that are to be sent.
        """
        full = self._full()
        found = due.list_due_destinations(tx, self._last, full, MOST_DESTINATIONS)
        if self._last and len(found) < MOST_DESTINATIONS:
            others = due.list_due_destinations(tx, "", full, MOST_DESTINATIONS - len(found))
            found += [each for each in others if each <= self._last]
        lists = [self._list_due(tx, destination) for destination in found]
        claimed: list[Claimed] = []
        of_business = Counter(self._of_business)
        handled = 0
        for request in in_time(in_turn(lists)):
            if len(self._tasks) + len(claimed) >= self._limits.places:
                break
            if of_business[request.business_id] >= self._limits.each_business:
                continue
            self._last = request.destination
            if (turns := self._turns.get(request.destination)) is not None:
                turns.served(request.business_id)
            handled += 1
            begun = self._begin_claim(tx, request)
            if begun is not None:
                of_business[request.business_id] += 1
                claimed.append(begun)
        return handled, claimed

    def _list_due(self, tx: Tx, destination: str) -> list[OutboundRequest]:
        """Requests to a destination, no more than have room; where more are due, businesses have turns."""
        known = self._destinations.get(destination)
        room = known.room(time.monotonic()) if known else self._limits.each_destination
        found = due.list_due_requests(tx, destination, room + 1)
        if len(found) <= room:
            return found
        turns = self._turns_of(destination)
        return turns.list_rows(tx, room, partial(due.list_due_requests_of, tx, turns.queue))[:room]

    def _begin_claim(self, tx: Tx, request: OutboundRequest) -> Claimed | None:
        kind = self._kinds.get(request.kind)
        if kind is None:  # another release queued it: it waits for one that knows its kind
            store.put_off(tx, request, tx.now + UNKNOWN_KIND)
            return None
        return start_request(tx, kind, request, tx.now + LEASE, self._chance)

    def _turns_of(self, destination: str) -> Turns:
        turns = self._turns.pop(destination, None) or Turns(due.WAITING.given(destination=destination))
        self._turns[destination] = turns  # at the end again: those not used for longest are forgotten
        if len(self._turns) > REMEMBERED:
            del self._turns[next(iter(self._turns))]
        return turns

    def _destination(self, name: str) -> Destination:
        made = self._destinations.get(name)
        if made is None:
            made = self._destinations[name] = Destination(self._limits.each_destination, self._chance)
        return made

    def _begin(self, request: OutboundRequest, ask: Ask) -> None:
        self._destination(request.destination).begin()
        self._of_business[request.business_id] += 1
        task = asyncio.create_task(self._carry_out(request, ask))
        self._tasks[task] = request.claim or ""
        task.add_done_callback(lambda ended: self._end(ended, request))

    def _end(self, task: asyncio.Task[None], request: OutboundRequest) -> None:
        del self._tasks[task]
        self._of_business -= Counter([request.business_id])
        destination = self._destination(request.destination)
        destination.end()
        if destination.is_idle:
            del self._destinations[request.destination]
        self._look_again = True
        if not self._is_ending and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look())

    async def _carry_out(self, request: OutboundRequest, ask: Ask | None) -> None:
        """Send one step after the other until there is an outcome."""
        try:
            while ask is not None:
                exchange = await self._client.send(ask.request)
                self._note(request.destination, exchange)
                ask = await self._record(request, ask, exchange)
        except Exception as error:  # its lease ends, and it is taken up again
            logger().error("outbound.failed", kind=request.kind, error_at=where(error))

    def _note(self, destination: str, exchange: HttpOutcome) -> None:
        if isinstance(exchange, NoAnswer) and exchange.trouble is SendFailure.FORBIDDEN:
            return  # nothing was sent there
        is_answered = isinstance(exchange, HttpAnswer) and exchange.status not in AWAY
        known = self._destination(destination)
        was_open = known.is_open
        known.note(time.monotonic(), is_answered=is_answered)
        if known.is_open is not was_open:
            logger().warning("outbound.breaker", destination=destination, is_open=known.is_open)

    async def _record(self, request: OutboundRequest, ask: Ask, exchange: HttpOutcome) -> Ask | None:
        kind, asked = self._kinds[request.kind], (ask, exchange)
        while True:
            try:
                return await self._db.write(lambda tx: next_step(tx, kind, request, asked, self._chance))
            except OperationalError as error:  # what was answered must not be forgotten
                logger().error("outbound.not_recorded", kind=request.kind, error_at=where(error))
                await asyncio.sleep(AGAIN_S)
