"""Requests that failed: listing, replaying and dismissing them, and what their time is over for."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import select

from contatto.kit.db.tx import Tx
from contatto.kit.outbound.model import OutboundRequest, RequestState, RetryPlan
from contatto.kit.outbound.store import DUE, FAILED, change_of, outbound_requests, read_requests


def record_replay(tx: Tx, request: OutboundRequest, plan: RetryPlan, *, keeps_progress: bool = False) -> None:
    """Make a request due again that nobody is at, as if it had never been tried."""
    fresh = {"state": RequestState.DUE, "attempts": 0, "due_at": tx.now, "reason": "", "failed_at": None}
    fresh |= {"settled_at": None, "expires_at": plan.lifetime and tx.now + plan.lifetime}
    if not keeps_progress:
        fresh["progress"] = None
    tx.execute(change_of(request).where(outbound_requests.c.claim.is_(None)).values(**fresh))


def record_dismissed(tx: Tx, request: OutboundRequest) -> bool:
    """Give a request up that failed; False when it did not, or somebody is at it."""
    mine = change_of(request).where(FAILED, outbound_requests.c.claim.is_(None))
    return tx.execute(mine.values(state=RequestState.DISMISSED, settled_at=tx.now)).rowcount == 1


def list_failed_requests(tx: Tx, business_id: str, limit: int) -> list[OutboundRequest]:
    """Requests of a business that are dead, or failed and are tried again, the latest first."""
    mine = select(outbound_requests).where(FAILED, outbound_requests.c.business_id == business_id)
    return read_requests(tx, mine.order_by(outbound_requests.c.id.desc()).limit(limit))


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
