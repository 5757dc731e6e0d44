"""Outbound requests without a worker or a network: a test claims them, and says what is answered."""

from sqlalchemy import select

from contatto.kit.db.tx import Tx
from contatto.kit.outbound.machine import LEASE
from contatto.kit.outbound.model import Ask, HttpOutcome, OutboundRequest
from contatto.kit.outbound.queue import (
    OutboundKind,
    jobs,
    list_due_destinations,
    list_due_requests,
    next_step,
    read_requests,
    start_request,
)

type Claimed = tuple[OutboundRequest, Ask]


def find_request(tx: Tx, business_id: str, request_id: int) -> OutboundRequest | None:
    own = select(jobs).where(jobs.c.business_id == business_id, jobs.c.id == request_id)
    return next(iter(read_requests(tx, own)), None)


def claim_all(tx: Tx, kind: OutboundKind) -> list[Claimed]:
    """Claim all requests of a kind that are due, as the machine does; what is settled at once is left out."""
    found = []
    for destination in list_due_destinations(tx, "", (), 99):
        for request in list_due_requests(tx, destination, 99):
            if request.kind == kind.name:
                found.append(start_request(tx, kind, request, tx.now + LEASE, float))
    return [each for each in found if each is not None]


def answer(tx: Tx, kind: OutboundKind, claimed: Claimed, exchange: HttpOutcome) -> Ask | None:
    """Write down what came of a claimed request; give the next step, if there is one."""
    request, ask = claimed
    return next_step(tx, kind, request, (ask, exchange), float)
