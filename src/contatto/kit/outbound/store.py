"""The table of requests to outside systems, and which of them come next."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Index,
    Integer,
    Select,
    String,
    Table,
    Update,
    bindparam,
    exists,
    literal_column,
    select,
    update,
)

from contatto.kit.db.hot import update_rows
from contatto.kit.db.tx import Row, Tx
from contatto.kit.db.types import Choice, Serial, instant, metadata, sealed, tenant
from contatto.kit.db.within import within
from contatto.kit.outbound.model import Ask, NewRequest, OutboundRequest, RequestState, Result, RetryPlan

DUE: Final[ColumnElement[bool]] = literal_column("state = 'due'")
"""Whether a request is still to be carried out, in the words of its indexes."""
_LINED: Final[ColumnElement[bool]] = literal_column("(state = 'due' AND line <> '')")
FAILED: Final[ColumnElement[bool]] = literal_column(
    "(state = 'dead' OR (state = 'due' AND failed_at IS NOT NULL))"
)
"""Whether a request is a dead letter, or failed and is tried again, in the words of its index."""

outbound_requests = Table(
    "outbound_requests",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    tenant(),
    Column("kind", String(32), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("destination", String(300), nullable=False),
    Column("line", String(64), nullable=False),
    Column("state", Choice(RequestState), nullable=False),
    Column("attempts", Integer, nullable=False),
    instant("due_at"),
    Column("claim", String(36)),
    Column("is_unsure", Boolean, nullable=False),
    sealed("progress", nullable=True),
    Column("reason", String(64), nullable=False),
    instant("created_at"),
    instant("expires_at", nullable=True),
    instant("failed_at", nullable=True),
    instant("settled_at", nullable=True),
    Index("ix_outbound_requests_due", "destination", "business_id", "due_at", "id",
          sqlite_where=DUE, postgresql_where=DUE),
    Index("ix_outbound_requests_waiting", "destination", "due_at", "id",
          sqlite_where=DUE, postgresql_where=DUE),
    Index("ix_outbound_requests_lines", "kind", "line", "id", sqlite_where=_LINED, postgresql_where=_LINED),
    Index("ix_outbound_requests_failed", "business_id", "id", sqlite_where=FAILED, postgresql_where=FAILED),
    Index("ix_outbound_requests_expires", "expires_at", sqlite_where=DUE, postgresql_where=DUE),
    Index("ix_outbound_requests_subject", "business_id", "kind", "subject"),
    Index("ix_outbound_requests_settled", "settled_at"),
)  # fmt: skip


def queue_request(tx: Tx, new: NewRequest, plan: RetryPlan) -> None:
    """Keep a request; it is due at once."""
    row = {name: getattr(new, name) for name in NewRequest.__dataclass_fields__ if name != "progress"}
    fresh = {
        "state": RequestState.DUE,
        "attempts": 0,
        "due_at": tx.now,
        "is_unsure": False,
        "progress": _sealed(tx, new.business_id, new.progress),
        "reason": "",
        "created_at": tx.now,
        "expires_at": plan.lifetime and tx.now + plan.lifetime,
    }
    tx.insert(outbound_requests, row | fresh)


def mark_claimed(tx: Tx, claimed: Sequence[tuple[OutboundRequest, Ask]], until: datetime) -> None:
    """Note that somebody is at requests, and what is sent first; until that time nobody else takes them."""
    rows = []
    for request, ask in claimed:
        values = _key(request) | {"claim": request.claim, "due_at": until, "attempts": request.attempts}
        kept = _sealed(tx, request.business_id, ask.progress)
        rows.append(values | {"progress": kept, "is_unsure": not ask.is_repeatable})
    update_rows(tx, _CLAIM, rows)


def put_off(tx: Tx, request: OutboundRequest, until: datetime) -> None:
    """Leave a request alone until a time; that is no try."""
    tx.execute(change_of(request).values(due_at=until))


def record_asked(tx: Tx, asked: Sequence[tuple[OutboundRequest, Ask]]) -> None:
    """Note what is sent next, before it is: whoever finds the requests later goes on from here."""
    rows = []
    for request, ask in asked:
        kept = _sealed(tx, request.business_id, ask.progress)
        rows.append(_key(request) | {"progress": kept, "is_unsure": not ask.is_repeatable})
    update_rows(tx, _ASK, rows)


def renew_claims(tx: Tx, claims: Collection[str], until: datetime) -> None:
    """Keep the requests that are worked on from being taken by others."""
    mine = update(outbound_requests).where(DUE, outbound_requests.c.claim.in_(list(claims)))
    tx.execute(mine.values(due_at=until))


def find_request(tx: Tx, business_id: str, request_id: int) -> OutboundRequest | None:
    found = read_requests(tx, _ONE, {"of": business_id, "number": request_id})
    return found[0] if found else None


def list_requests_of(tx: Tx, business_id: str, kind: str, subjects: Collection[str]) -> list[OutboundRequest]:
    """Requests by what their owner calls them."""
    mine = select(outbound_requests).where(
        outbound_requests.c.business_id == business_id,
        outbound_requests.c.kind == kind,
        outbound_requests.c.subject.in_(list(subjects)),
    )
    return read_requests(tx, mine)


def is_unsure(business_id: Column[Any], kind: str, subject: Column[Any]) -> ColumnElement[bool]:
    """Whether the other side may have acted on a request of which no answer came yet; a part of a query."""
    return exists().where(
        outbound_requests.c.business_id == business_id,
        outbound_requests.c.kind == kind,
        outbound_requests.c.subject == subject,
        outbound_requests.c.is_unsure.is_(True),
    )


def list_claimed(tx: Tx, requests: Collection[OutboundRequest]) -> set[str]:
    """Those of some claims that still hold their request; no other process changes them meanwhile."""
    given = {"of": [each.business_id for each in requests], "numbers": [each.id for each in requests]}
    kept = set(tx.execute(_LOCKED_CLAIMS if tx.locks_rows else _CLAIMS, given).scalars())
    return {each.claim for each in requests if each.claim and each.claim in kept}


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
    kept = _sealed(tx, request.business_id, progress)
    tx.execute(change_of(request).values(**fresh, progress=kept, due_at=due_at, expires_at=expires_at))


def mark_requests_done(tx: Tx, business_id: str, kind: str, subject: str) -> None:
    """Settle what the other side's own news have settled."""
    mine = update(outbound_requests).where(
        outbound_requests.c.business_id == business_id,
        outbound_requests.c.kind == kind,
        outbound_requests.c.subject == subject,
    )
    values = {"state": RequestState.DONE, "claim": None, "is_unsure": False, "settled_at": tx.now}
    tx.execute(mine.values(**values, reason="", failed_at=None))


def hasten_requests(tx: Tx, business_id: str, kind: str, destination: str, at: datetime) -> None:
    """Try those that wait longer by that time: their destination is there again, or there is news."""
    waiting = update(outbound_requests).where(
        DUE,
        outbound_requests.c.business_id == business_id,
        outbound_requests.c.kind == kind,
        outbound_requests.c.destination == destination,
        outbound_requests.c.claim.is_(None),
        outbound_requests.c.due_at > at,
    )
    tx.execute(waiting.values(due_at=at))


def delete_requests_of(tx: Tx, business_id: str, kind: str, subjects: Collection[str]) -> None:
    mine = outbound_requests.c.business_id == business_id, outbound_requests.c.kind == kind
    tx.execute(outbound_requests.delete().where(*mine, outbound_requests.c.subject.in_(list(subjects))))


def _changing(*names: str) -> Update:
    """A change of one row; it is made once and kept, for these are asked for each request."""
    mine = outbound_requests.c.business_id == bindparam("of"), outbound_requests.c.id == bindparam("number")
    return update(outbound_requests).where(*mine).values({name: bindparam(name) for name in names})


_ASK: Final = _changing("progress", "is_unsure")
_CLAIM: Final = _changing("claim", "due_at", "attempts", "progress", "is_unsure")
_OUTCOME: Final = _changing(
    "state", "reason", "claim", "is_unsure", "failed_at", "due_at", "settled_at", "attempts"
)
_ONE: Final = select(outbound_requests).where(
    outbound_requests.c.business_id == bindparam("of"), outbound_requests.c.id == bindparam("number")
)
_CLAIMS: Final = select(outbound_requests.c.claim).where(
    within(outbound_requests.c.business_id, "of"),
    within(outbound_requests.c.id, "numbers"),
    outbound_requests.c.state == RequestState.DUE,
)
_LOCKED_CLAIMS: Final = _CLAIMS.order_by(outbound_requests.c.id).with_for_update()


def _key(request: OutboundRequest) -> dict[str, Any]:
    return {"of": request.business_id, "number": request.id}


def change_of(request: OutboundRequest) -> Update:
    """A change of the row of a request."""
    mine = outbound_requests.c.business_id == request.business_id, outbound_requests.c.id == request.id
    return update(outbound_requests).where(*mine)


def _sealed(tx: Tx, business_id: str, progress: str) -> bytes | None:
    return tx.vault.seal(progress, business_id) if progress else None


def read_requests(tx: Tx, statement: Select[Any], given: Row | None = None) -> list[OutboundRequest]:
    """What a query of whole rows finds."""
    found = []
    for row in tx.execute(statement, given).mappings().all():
        values = {name: row[name] for name in OutboundRequest.__dataclass_fields__}
        kept = row["progress"]
        progress = tx.vault.open(kept, row["business_id"]) if kept else ""
        found.append(OutboundRequest(**values | {"progress": progress}))
    return found
