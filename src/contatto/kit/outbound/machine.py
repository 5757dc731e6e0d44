"""Sender of due requests, with limits per destination and per tenant.

A free place is filled at once. A request belongs to this process by a lease, which is renewed while it is in
flight; after a crash another process continues from the last stored step. One transaction stores all
responses and claims due requests; the next batch gathers meanwhile, so load makes each request cheaper.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Final

from sqlalchemy.exc import OperationalError

from contatto.kit.db.database import Database
from contatto.kit.db.statements import keep_to_ourselves
from contatto.kit.db.tx import Tx, in_time, savepoint
from contatto.kit.fair_queue import Turns, in_turn
from contatto.kit.log import logger, where
from contatto.kit.outbound import queue
from contatto.kit.outbound.client import Client
from contatto.kit.outbound.model import (
    Ask,
    Destination,
    HttpAnswer,
    HttpOutcome,
    NotNow,
    OutboundRequest,
    SendFailure,
)

MOST_DESTINATIONS: Final = 50
"""Destinations per pass; the next pass continues after them."""
AWAY: Final = frozenset({502, 503, 504})
"""Status codes of gateways without a backend."""
REMEMBERED: Final = 10_000
"""Destinations with remembered turns."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Greatest numbers of requests in flight: in all, per tenant, per destination."""

    places: int = 256
    each_business: int = 64
    each_destination: int = 16


USUAL: Final = Limits()


@dataclass(slots=True)
class FreePlaces:
    """Free places at one moment; a transaction counts on in its own copy.

    Attributes:
        places: in all.
        of_business: requests in flight per tenant.
        of_destination: free places per active destination.
        open: destinations with an open breaker.
    """

    places: int
    of_business: Counter[str]
    of_destination: dict[str, int]
    open: frozenset[str]

    @property
    def full(self) -> list[str]:
        """Return the destinations without a free place."""
        return [name for name, room in self.of_destination.items() if room <= 0]

    def free(self, request: OutboundRequest) -> None:
        """Release the place of a settled request."""
        self.places += 1
        self.of_business[request.business_id] -= 1
        if request.destination not in self.open:
            self.of_destination[request.destination] += 1


@dataclass(eq=False)
class ClaimPolicy:
    """Counts requests in flight, and chooses the next ones; for one machine."""

    _limits: Limits
    _chance: Callable[[], float]
    _destinations: dict[str, Destination] = field(default_factory=dict)
    _of_business: Counter[str] = field(default_factory=Counter)
    _begun: set[str] = field(default_factory=set)
    _turns: dict[str, Turns] = field(default_factory=dict)
    _last: str = ""

    def rooms(self) -> FreePlaces:
        at_s = time.monotonic()
        return FreePlaces(
            self._limits.places - len(self._begun),
            Counter(self._of_business),
            {name: destination.room(at_s) for name, destination in self._destinations.items()},
            frozenset(name for name, destination in self._destinations.items() if destination.is_open),
        )

    def _destination(self, name: str) -> Destination:
        destination = self._destinations.get(name)
        if destination is None:
            destination = self._destinations[name] = Destination(self._limits.each_destination, self._chance)
        return destination

    def begin(self, request: OutboundRequest) -> None:
        """Count a request in flight."""
        self._begun.add(request.claim or "")
        self._destination(request.destination).in_flight += 1
        self._of_business[request.business_id] += 1

    def end(self, request: OutboundRequest) -> bool:
        """Uncount it; return False when that was done before."""
        claim = request.claim or ""
        if claim not in self._begun:
            return False
        self._begun.remove(claim)
        self._of_business -= Counter([request.business_id])
        destination = self._destination(request.destination)
        destination.in_flight -= 1
        if destination.is_idle:
            del self._destinations[request.destination]
        return True

    def choose(self, tx: Tx, rooms: FreePlaces) -> tuple[list[OutboundRequest], bool, bool]:
        """Choose due requests with free places: of each destination and of each tenant in turn.

        The caller reports the begun ones to ``note_served``.

        Returns:
            The requests, whether further destinations may be due, and whether no other request is due.
        """
        full, limit = rooms.full, self._limits.each_destination + 1
        waiting = queue.list_due(tx, self._last, full, MOST_DESTINATIONS, limit)
        if self._last and len(waiting) < MOST_DESTINATIONS:
            due = queue.list_due(tx, "", full, MOST_DESTINATIONS - len(waiting), limit)
            waiting |= {name: rows for name, rows in due.items() if name not in waiting}
        lists = []
        for name, rows in waiting.items():
            room = rooms.of_destination.get(name, self._limits.each_destination)
            if len(rows) > room:  # as many as there are places, in turn by tenant
                turns = self._turns.pop(name, None) or Turns(queue.WAITING.given(destination=name))
                self._turns[name] = turns  # at the end: the least recently used ones are forgotten
                if len(self._turns) > REMEMBERED:
                    del self._turns[next(iter(self._turns))]
                rows = turns.list_rows(tx, room, partial(turns.queue.list, tx, OutboundRequest))[:room]
            lists.append(rows)
        of_business = Counter(rooms.of_business)
        chosen: list[OutboundRequest] = []
        for request in in_turn(lists):
            if len(chosen) >= rooms.places:
                break
            if of_business[request.business_id] < self._limits.each_business:
                of_business[request.business_id] += 1
                chosen.append(request)
        is_cut = len(waiting) >= MOST_DESTINATIONS
        return chosen, is_cut, not is_cut and len(chosen) == sum(map(len, waiting.values()))

    def note_served(self, requests: list[OutboundRequest], *, is_all: bool = False) -> None:
        """Remember the last begun requests, so that the next pass continues after them."""
        for request in requests:
            self._last = request.destination
            if (turns := self._turns.get(request.destination)) is not None:
                turns.last = request.business_id
        if is_all:
            self._last = ""

    def note_exchange(self, name: str, exchange: HttpOutcome) -> None:
        """Record whether a destination responded."""
        if exchange in (SendFailure.FORBIDDEN, SendFailure.BROKEN):
            return  # nothing was sent
        is_answered = isinstance(exchange, HttpAnswer) and exchange.status not in AWAY
        destination = self._destination(name)
        was_open = destination.is_open
        destination.note(time.monotonic(), is_answered=is_answered)
        if destination.is_open is not was_open:
            logger().warning("outbound.breaker", destination=name, is_open=destination.is_open)


LEASE: Final = timedelta(seconds=60)
RENEW_S: Final = 20.0
END_S: Final = 3.0
"""Time for requests in flight at the end; responses of cut ones are lost."""
AGAIN_S: Final = 1.0
"""Pause before another try to store a response."""


type _PendingAnswer = tuple[queue.AnsweredRequest, asyncio.Future[Ask | None]]
"""Response to store, and the future of the next step."""


class OutboundMachine:
    """Sends requests of all kinds, by their names; several processes may run one each.

    ``chance`` returns random numbers from 0 to 1, for jitter.
    """

    def __init__(
        self,
        db: Database,
        client: Client,
        kinds: Mapping[str, queue.OutboundKind],
        limits: Limits = USUAL,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._db = db
        self._client = client
        self._kinds = kinds
        self._chance = chance
        self._claiming = ClaimPolicy(limits, chance)
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._answers: list[_PendingAnswer] = []
        self._looking: asyncio.Task[int] | None = None
        self._look_again = False
        self._is_ending = False

    async def run(self) -> None:
        """Renew leases until cancelled; then give requests in flight a moment to finish."""
        try:
            while True:
                await asyncio.sleep(RENEW_S)
                claims = list(self._tasks.values())
                if not claims:
                    continue
                with suppress(OperationalError):  # the database is away; the leases last longer
                    await self._db.write(lambda tx: queue.renew_claims(tx, claims, tx.now + LEASE))  # noqa: B023
        finally:
            self._is_ending = True
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=END_S)
            for task in self._tasks:
                task.cancel()

    async def send_due(self) -> int:
        """Begin to send all due requests with a free place, and return how many."""
        self._look_again = True
        return await asyncio.shield(self._look_soon())

    def _look_soon(self) -> asyncio.Task[int]:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return self._looking

    async def _look(self) -> int:
        begun = 0
        while self._answers or (self._look_again and not self._is_ending):
            answers, self._answers = self._answers, []
            self._look_again = False
            find_due = partial(queue.list_due_destinations, after="", but=self._claiming.rooms().full, most=1)
            # on PostgreSQL a pass is always worth a write
            if answers or self._db.parallel_batches > 1 or bool(await self._db.read(find_due)):
                run_pass = partial(self._pass, [answered for answered, _ in answers], self._claiming.rooms())
                try:
                    steps, claimed, is_more = await self._db.write(run_pass)
                except Exception as error:  # one request, or the database, is at fault
                    logger().warning("outbound.one_by_one", error_at=where(error))
                    begun += await self._go_one_by_one(answers)
                    continue
                for waiting, ask in zip(answers, steps, strict=False):
                    self._go_on(waiting, ask)
                self._answers[:0] = answers[len(steps) :]
                self._look_again |= is_more
                for request, first_step in claimed:
                    self._begin(request, first_step)
                begun += len(claimed)
        return begun

    def _pass(
        self, answers: list[queue.AnsweredRequest], rooms: FreePlaces, tx: Tx
    ) -> tuple[list[Ask | None], list[queue.Claimed], bool]:
        """Store responses and claim requests; return next steps, first steps, and whether more is due."""
        steps = queue.take_answers(tx, self._kinds, answers, self._chance)
        if self._is_ending or len(steps) < len(answers):
            return steps, [], True
        for answered, ask in zip(answers, steps, strict=True):
            if ask is None:
                rooms.free(answered.request)
        chosen, is_cut, is_all = self._claiming.choose(tx, rooms)
        claimed, handled = queue.begin_requests(tx, self._kinds, chosen, tx.now + LEASE, self._chance)
        is_in_time = handled == len(chosen)
        self._claiming.note_served(chosen[:handled], is_all=is_all and is_in_time)
        keep_to_ourselves(tx.connection, queue.jobs.name)  # this pass took all that is due
        # A request that was settled at once, such as the first of a line, may free another.
        is_more = is_cut or not is_in_time or handled > len(claimed)
        return steps, claimed, is_more and handled > 0

    async def _go_one_by_one(self, answers: list[_PendingAnswer]) -> int:
        """Store responses and claim requests one by one, so that a faulty one affects no other."""
        for waiting in answers:
            try:
                self._go_on(waiting, await self._record(waiting[0]))
            except Exception as error:  # its lease ends, and it is claimed again
                if not waiting[1].done():
                    waiting[1].set_exception(error)
        if self._is_ending:
            return 0
        handled, claimed = await self._db.write(partial(self._claim_one_by_one, self._claiming.rooms()))
        self._look_again |= handled > 0
        for request, ask in claimed:
            self._begin(request, ask)
        return len(claimed)

    def _claim_one_by_one(self, rooms: FreePlaces, tx: Tx) -> tuple[int, list[queue.Claimed]]:
        """Claim requests; one that the database rejects counts as a failed attempt."""
        claimed: list[queue.Claimed] = []
        handled = 0
        chosen, _, _ = self._claiming.choose(tx, rooms)
        for request in in_time(chosen):
            self._claiming.note_served([request])
            handled += 1
            until, chance = tx.now + LEASE, self._chance
            try:
                with savepoint(tx):
                    begun, _ = queue.begin_requests(tx, self._kinds, [request], until, chance, is_alone=True)
                    claimed += begun
            except OperationalError:  # the database is away
                raise
            except Exception as error:  # only this request is affected
                logger().error("outbound.broken", kind=request.kind, error_at=where(error))
                tried = replace(request, attempts=request.attempts + 1)
                broken = [(tried, NotNow(SendFailure.BROKEN.value))]
                queue.settle_requests(tx, self._kinds, broken, chance, is_alone=True)
        return handled, claimed

    async def _record(self, answered: queue.AnsweredRequest) -> Ask | None:
        kinds, chance = self._kinds, self._chance
        while True:
            take = partial(queue.take_answers, kinds=kinds, answered=[answered], chance=chance, is_alone=True)
            try:
                return (await self._db.write(take))[0]
            except OperationalError as error:  # a response must not get lost
                logger().error("outbound.not_recorded", kind=answered.request.kind, error_at=where(error))
                await asyncio.sleep(AGAIN_S)
            except Exception as error:  # the database rejects the step: a failed attempt
                logger().error("outbound.broken", kind=answered.request.kind, error_at=where(error))
                answered = replace(answered, exchange=SendFailure.BROKEN)

    def _go_on(self, waiting: _PendingAnswer, ask: Ask | None) -> None:
        """Resume a request with its next step, or free its place after an outcome."""
        answered, following = waiting
        if ask is None:
            self._claiming.end(answered.request)
        if not following.done():
            following.set_result(ask)

    def _begin(self, request: OutboundRequest, ask: Ask) -> None:
        self._claiming.begin(request)
        task = asyncio.create_task(self._carry_out(request, ask))
        self._tasks[task] = request.claim or ""
        task.add_done_callback(lambda ended: self._end(ended, request))

    def _end(self, task: asyncio.Task[None], request: OutboundRequest) -> None:
        del self._tasks[task]
        if self._claiming.end(request) and not self._is_ending:  # no transaction freed its place
            self._look_again = True
            self._look_soon()

    async def _carry_out(self, request: OutboundRequest, ask: Ask | None) -> None:
        """Send one step after the other until there is an outcome."""
        try:
            while ask is not None:
                exchange: HttpOutcome
                try:
                    exchange = await self._client.send(ask.request)
                except Exception as error:  # a failed attempt
                    logger().error("outbound.broken", kind=request.kind, error_at=where(error))
                    exchange = SendFailure.BROKEN
                self._claiming.note_exchange(request.destination, exchange)
                following = asyncio.get_running_loop().create_future()
                self._answers.append((queue.AnsweredRequest(request, ask, exchange), following))
                self._look_soon()
                ask = await following
        except Exception as error:  # its lease ends, and it is claimed again
            logger().error("outbound.failed", kind=request.kind, error_at=where(error))
