"""How many requests of all businesses wait or are dead, by their kind: for who watches the installation."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import case, func, select

from contatto.kit.db.tx import Tx
from contatto.kit.outbound.model import RequestState
from contatto.kit.outbound.store import outbound_requests

_WAITS: Final = (RequestState.DUE, RequestState.DEAD)


@dataclass(frozen=True, slots=True)
class RequestCount:
    """``due_since`` is when the first of those that are due, and that nobody is at, was to be sent."""

    kind: str
    state: RequestState
    count: int
    due_since: datetime | None


def count_requests(tx: Tx) -> list[RequestCount]:
    """Requests that are due or dead, of all businesses."""
    of = outbound_requests.c.kind, outbound_requests.c.state
    waits = (outbound_requests.c.state == RequestState.DUE) & outbound_requests.c.claim.is_(None)
    late = waits & (outbound_requests.c.due_at <= tx.now)
    since = func.min(case((late, outbound_requests.c.due_at))).label("due_since")
    counted = select(*of, func.count().label("count"), since).where(outbound_requests.c.state.in_(_WAITS))
    return tx.list(RequestCount, counted.group_by(*of))
