"""Outbound requests without a worker or a network: a test claims them, and says what is answered."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import select

from contatto.kit.db.tx import Tx
from contatto.kit.outbound.machine import LEASE, OutboundMachine
from contatto.kit.outbound.model import Ask, HttpOutcome, OutboundRequest
from contatto.kit.outbound.queue import (
    AnsweredRequest,
    Claimed,
    OutboundKind,
    begin_requests,
    jobs,
    list_due,
    take_answers,
)


def start_request(
    tx: Tx, kind: OutboundKind, request: OutboundRequest, until: datetime, chance: Callable[[], float]
) -> Claimed | None:
    """Claim one request until a time, and return its first step; None where it was settled at once."""
    claimed, _ = begin_requests(tx, {request.kind: kind}, [request], until, chance, is_alone=True)
    return next(iter(claimed), None)


def next_step(
    tx: Tx,
    kind: OutboundKind,
    request: OutboundRequest,
    exchanged: tuple[Ask, HttpOutcome],
    chance: Callable[[], float],
) -> Ask | None:
    """Store the result of one step, and return the next one; None when there is an outcome."""
    answered = [AnsweredRequest(request, *exchanged)]
    return take_answers(tx, {request.kind: kind}, answered, chance, is_alone=True)[0]


async def finish(machine: OutboundMachine) -> None:
    """Wait for requests in flight, and for those that follow them."""
    while machine._tasks or (machine._looking is not None and not machine._looking.done()):
        await asyncio.wait([*machine._tasks, *([machine._looking] if machine._looking else [])])


def find_request(tx: Tx, business_id: str, request_id: int) -> OutboundRequest | None:
    own = select(jobs).where(jobs.c.business_id == business_id, jobs.c.id == request_id)
    return tx.find(OutboundRequest, own)


def claim_all(tx: Tx, kind: OutboundKind) -> list[Claimed]:
    """Claim all requests of a kind that are due, as the machine does; what is settled at once is left out."""
    found = []
    for requests in list_due(tx, "", (), 99, 99).values():
        for request in requests:
            if request.kind == kind.name:
                found.append(start_request(tx, kind, request, tx.now + LEASE, float))
    return [each for each in found if each is not None]


def answer(tx: Tx, kind: OutboundKind, claimed: Claimed, exchange: HttpOutcome) -> Ask | None:
    """Write down what came of a claimed request; give the next step, if there is one."""
    request, ask = claimed
    return next_step(tx, kind, request, (ask, exchange), float)
