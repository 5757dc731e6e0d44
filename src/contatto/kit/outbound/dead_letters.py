"""Requests that failed: counting, listing, replaying and dismissing them, and whose time is over."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import func, select, update

from contatto.kit.db.tx import Tx
from contatto.kit.outbound.model import NewRequest, OutboundRequest, RequestState, RetryPlan
from contatto.kit.outbound.store import (
    DUE,
    FAILED,
    change_of,
    list_requests_of,
    outbound_requests,
    queue_request,
    read_requests,
)


def record_replay(tx: Tx, request: OutboundRequest, plan: RetryPlan, *, keeps_progress: bool = False) -> None:
    """Make a request due again that nobody is at, as if it had never been tried."""
    fresh = {"state": RequestState.DUE, "attempts": 0, "due_at": tx.now, "reason": "", "failed_at": None}
    fresh |= {"settled_at": None, "expires_at": plan.lifetime and tx.now + plan.lifetime}
    fresh["is_wanted_again"] = False
    if not keeps_progress:
        fresh["progress"] = None
    tx.execute(change_of(request).where(outbound_requests.c.claim.is_(None)).values(**fresh))


def poll_again(tx: Tx, poll: OutboundRequest, plan: RetryPlan) -> None:
    """Make a poll due now; one that is under way is due again when it has ended, as it saw less than now."""
    under_way = change_of(poll).where(outbound_requests.c.claim.is_not(None))
    tx.execute(under_way.values(is_wanted_again=True))
    record_replay(tx, poll, plan, keeps_progress=True)


def send_again(tx: Tx, new: NewRequest, plan: RetryPlan) -> None:
    """Make the request of a subject due again; one that was deleted meanwhile is queued anew."""
    requests = list_requests_of(tx, new.business_id, new.kind, [new.subject])
    for request in requests:
        record_replay(tx, request, plan)
    if not requests:
        queue_request(tx, new, plan)


def record_dismissed(tx: Tx, request: OutboundRequest) -> bool:
    """Give a request up that failed; False when it did not, or somebody is at it."""
    mine = change_of(request).where(FAILED, outbound_requests.c.claim.is_(None))
    return tx.execute(mine.values(state=RequestState.DISMISSED, settled_at=tx.now)).rowcount == 1


def list_failed_requests(tx: Tx, business_id: str, limit: int) -> list[OutboundRequest]:
    """Requests of a business that are dead, then those that failed and are tried again, the latest first."""
    query = select(outbound_requests).where(FAILED, outbound_requests.c.business_id == business_id)
    query = query.order_by(outbound_requests.c.state, outbound_requests.c.id.desc())
    return read_requests(tx, query.limit(limit))


def find_failed_request(tx: Tx, business_id: str, request_id: int) -> OutboundRequest | None:
    """One of them, locked."""
    mine = FAILED, outbound_requests.c.business_id == business_id, outbound_requests.c.id == request_id
    one = select(outbound_requests).where(*mine)
    return next(iter(read_requests(tx, one.with_for_update() if tx.locks_rows else one)), None)


def list_dead_requests(tx: Tx, business_id: str, after: int, limit: int) -> list[OutboundRequest]:
    """Dead letters of a business after one of them, the oldest first, locked."""
    dead = FAILED, outbound_requests.c.state == RequestState.DEAD
    query = select(outbound_requests).where(
        *dead, outbound_requests.c.business_id == business_id, outbound_requests.c.id > after
    )
    query = query.order_by(outbound_requests.c.id).limit(limit)
    return read_requests(tx, query.with_for_update() if tx.locks_rows else query)


def count_failed_requests(tx: Tx, business_id: str) -> dict[RequestState, int]:
    """Return how many are dead, and how many are tried again."""
    state = outbound_requests.c.state
    query = select(state, func.count().label("count")).where(
        FAILED, outbound_requests.c.business_id == business_id
    )
    rows = tx.execute(query.group_by(state)).mappings()
    return {RequestState(row["state"]): row["count"] for row in rows}


def dismiss_dead_requests(tx: Tx, business_id: str) -> int:
    """Give up all dead letters of a business; say how many."""
    mine = FAILED, outbound_requests.c.business_id == business_id
    dead = update(outbound_requests).where(*mine, outbound_requests.c.state == RequestState.DEAD)
    return tx.execute(dead.values(state=RequestState.DISMISSED, settled_at=tx.now)).rowcount


def list_expired_requests(tx: Tx, kinds: Collection[str], limit: int) -> list[OutboundRequest]:
    """Requests of all businesses whose lifetime is over and that nobody is at; for the timer."""
    over = select(outbound_requests).where(
        DUE,
        outbound_requests.c.expires_at <= tx.now,
        outbound_requests.c.due_at <= tx.now,
        outbound_requests.c.kind.in_(list(kinds)),
    )
    over = over.order_by(outbound_requests.c.expires_at).limit(limit)
    return read_requests(tx, over.with_for_update(skip_locked=True) if tx.locks_rows else over)


def purge_requests(tx: Tx, before: datetime) -> int:
    """Delete some requests that were done or dismissed before a time; say how many. Dead letters stay."""
    over = outbound_requests.c.state.in_((RequestState.DONE, RequestState.DISMISSED))
    return tx.delete_some(outbound_requests, over, outbound_requests.c.settled_at < before)
