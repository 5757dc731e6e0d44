"""What is written while requests are on their way: claims, steps and outcomes, of many at once."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Update, bindparam, case, literal, select, update

from contatto.kit.db.hot import update_rows
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Instant
from contatto.kit.db.within import within
from contatto.kit.outbound.model import Ask, OutboundRequest, RequestState, Result
from contatto.kit.outbound.store import DUE, change_of, outbound_requests, seal_progress


def mark_claimed(tx: Tx, claimed: Sequence[tuple[OutboundRequest, Ask]], until: datetime) -> None:
    """Note that somebody is at requests, and what is sent first; until that time nobody else takes them."""
    rows = []
    for request, ask in claimed:
        values = _key(request) | {"claim": request.claim, "due_at": until, "attempts": request.attempts}
        sealed_progress = seal_progress(tx, request, request.created_at, ask.progress)
        rows.append(values | {"progress": sealed_progress, "is_unsure": not ask.is_repeatable})
    update_rows(tx, _CLAIM, rows)


def put_off(tx: Tx, request: OutboundRequest, until: datetime) -> None:
    """Leave a request alone until a time; that is no try."""
    tx.execute(change_of(request).values(due_at=until))


def record_asked(tx: Tx, asked: Sequence[tuple[OutboundRequest, Ask]]) -> None:
    """Note what is sent next, before it is: whoever finds the requests later goes on from here."""
    rows = []
    for request, ask in asked:
        sealed_progress = seal_progress(tx, request, request.created_at, ask.progress)
        rows.append(_key(request) | {"progress": sealed_progress, "is_unsure": not ask.is_repeatable})
    update_rows(tx, _ASK, rows)


def renew_claims(tx: Tx, claims: Collection[str], until: datetime) -> None:
    """Keep the requests that are worked on from being taken by others."""
    statement = update(outbound_requests).where(DUE, outbound_requests.c.claim.in_(list(claims)))
    tx.execute(statement.values(due_at=until))


def list_claimed(tx: Tx, requests: Collection[OutboundRequest]) -> set[str]:
    """Those of some claims that still hold their request; no other process changes them meanwhile."""
    given = {"of": [each.business_id for each in requests], "numbers": [each.id for each in requests]}
    kept = set(tx.execute(_LOCKED_CLAIMS if tx.locks_rows else _CLAIMS, given).scalars())
    return {request.claim for request in requests if request.claim and request.claim in kept}


def record_outcomes(tx: Tx, results: Sequence[tuple[OutboundRequest, Result]]) -> None:
    """Note what came of tries."""
    rows = []
    for request, result in results:
        values = {
            "state": result.state,
            "reason": result.reason[:64],
            "claim": None,
            "is_unsure": False,
            "attempts": request.attempts,
            "failed_at": request.failed_at or tx.now if result.reason else None,
            "due_at": result.due_at or tx.now,
            "settled_at": None if result.due_at else tx.now,
        }
        rows.append(_key(request) | values)
    update_rows(tx, _OUTCOME, rows)


def record_poll(
    tx: Tx, request: OutboundRequest, progress: str, due_at: datetime, expires_at: datetime | None
) -> None:
    """Note up to where a poll has come, when it goes on, and until when that is worth a try."""
    fresh = {"attempts": 0, "claim": None, "is_unsure": False, "reason": "", "failed_at": None}
    sealed_progress = seal_progress(tx, request, request.created_at, progress)
    wanted = outbound_requests.c.is_wanted_again
    at = case((wanted, literal(tx.now, Instant)), else_=literal(due_at, Instant))
    mine = change_of(request).values(**fresh, progress=sealed_progress, due_at=at, expires_at=expires_at)
    tx.execute(mine.values(is_wanted_again=False))


def _changing(*names: str) -> Update:
    """A change of one row; it is made once and kept, for these are asked for each request."""
    mine = outbound_requests.c.business_id == bindparam("of"), outbound_requests.c.id == bindparam("number")
    return update(outbound_requests).where(*mine).values({name: bindparam(name) for name in names})


_ASK: Final = _changing("progress", "is_unsure")
_CLAIM: Final = _changing("claim", "due_at", "attempts", "progress", "is_unsure")
_OUTCOME: Final = _changing(
    "state", "reason", "claim", "is_unsure", "failed_at", "due_at", "settled_at", "attempts"
)
_CLAIMS: Final = select(outbound_requests.c.claim).where(
    within(outbound_requests.c.business_id, "of"),
    within(outbound_requests.c.id, "numbers"),
    outbound_requests.c.state == RequestState.DUE,
)
_LOCKED_CLAIMS: Final = _CLAIMS.order_by(outbound_requests.c.id).with_for_update()


def _key(request: OutboundRequest) -> dict[str, Any]:
    return {"of": request.business_id, "number": request.id}
