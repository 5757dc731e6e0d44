"""The table of requests to outside systems, and which of them come next."""

from collections.abc import Collection
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
    false,
    literal_column,
    select,
    update,
)

from contatto.kit.db.hot import insert_all
from contatto.kit.db.tx import Row, Tx
from contatto.kit.db.types import ROW, Choice, Serial, instant, metadata, sealed, tenant
from contatto.kit.outbound.model import NewRequest, OutboundRequest, RequestState, RetryPlan
from contatto.kit.vault import row_key

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
    Column("is_wanted_again", Boolean, nullable=False, server_default=false()),
    Index("ix_outbound_requests_due", "destination", "business_id", "due_at", "id",
          sqlite_where=DUE, postgresql_where=DUE),
    Index("ix_outbound_requests_waiting", "destination", "due_at", "id",
          sqlite_where=DUE, postgresql_where=DUE),
    Index("ix_outbound_requests_lines", "kind", "line", "id", sqlite_where=_LINED, postgresql_where=_LINED),
    Index("ix_outbound_requests_failed", "business_id", "id", sqlite_where=FAILED, postgresql_where=FAILED),
    Index("ix_outbound_requests_expires", "expires_at", sqlite_where=DUE, postgresql_where=DUE),
    Index("ix_outbound_requests_subject", "business_id", "kind", "subject"),
    Index("ix_outbound_requests_settled", "settled_at"),
    info={ROW: ("kind", "subject", "created_at")},
)  # fmt: skip


def queue_request(tx: Tx, new: NewRequest, plan: RetryPlan) -> None:
    """Keep a request; it is due at once."""
    queue_requests(tx, [new], plan)


def queue_requests(tx: Tx, news: Collection[NewRequest], plan: RetryPlan) -> None:
    """Keep requests, in their order; they are due at once."""
    fresh = {
        "state": RequestState.DUE,
        "attempts": 0,
        "due_at": tx.now,
        "is_unsure": False,
        "reason": "",
        "created_at": tx.now,
        "expires_at": plan.lifetime and tx.now + plan.lifetime,
    }
    rows = []
    for new in news:
        own = {name: getattr(new, name) for name in _GIVEN}
        progress = seal_progress(tx, new, tx.now, new.progress)
        rows.append(fresh | own | {"progress": progress})
    insert_all(tx, outbound_requests, rows)


_GIVEN: Final = ("business_id", "kind", "subject", "destination", "line")


def find_request(tx: Tx, business_id: str, request_id: int) -> OutboundRequest | None:
    requests = read_requests(tx, _ONE, {"of": business_id, "number": request_id})
    return requests[0] if requests else None


def list_requests_of(tx: Tx, business_id: str, kind: str, subjects: Collection[str]) -> list[OutboundRequest]:
    """Requests by what their owner calls them."""
    query = select(outbound_requests).where(
        outbound_requests.c.business_id == business_id,
        outbound_requests.c.kind == kind,
        outbound_requests.c.subject.in_(list(subjects)),
    )
    return read_requests(tx, query)


def is_unsure(business_id: Column[Any], kind: str, subject: Column[Any]) -> ColumnElement[bool]:
    """Whether the other side may have acted on a request of which no answer came yet; a part of a query."""
    return exists().where(
        outbound_requests.c.business_id == business_id,
        outbound_requests.c.kind == kind,
        outbound_requests.c.subject == subject,
        outbound_requests.c.is_unsure.is_(True),
    )


def mark_requests_done(tx: Tx, business_id: str, kind: str, subject: str) -> None:
    """Settle what the other side's own news have settled."""
    statement = update(outbound_requests).where(
        outbound_requests.c.business_id == business_id,
        outbound_requests.c.kind == kind,
        outbound_requests.c.subject == subject,
    )
    values = {"state": RequestState.DONE, "claim": None, "is_unsure": False, "settled_at": tx.now}
    tx.execute(statement.values(**values, reason="", failed_at=None))


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


_ONE: Final = select(outbound_requests).where(
    outbound_requests.c.business_id == bindparam("of"), outbound_requests.c.id == bindparam("number")
)


def change_of(request: OutboundRequest) -> Update:
    """A change of the row of a request."""
    mine = outbound_requests.c.business_id == request.business_id, outbound_requests.c.id == request.id
    return update(outbound_requests).where(*mine)


def seal_progress(
    tx: Tx, request: NewRequest | OutboundRequest, created_at: datetime, progress: str
) -> bytes | None:
    """Seal the progress of a request; an empty one is none."""
    row = row_key(request.kind, request.subject, created_at)
    return tx.seal(progress, request.business_id, "outbound_requests.progress", row)


def read_requests(tx: Tx, statement: Select[Any], given: Row | None = None) -> list[OutboundRequest]:
    """What a query of whole rows finds."""
    requests = []
    for row in tx.execute(statement, given).mappings().all():
        values = {name: row[name] for name in OutboundRequest.__dataclass_fields__}
        named = row_key(row["kind"], row["subject"], row["created_at"])
        place = row["business_id"], "outbound_requests.progress", named
        values["progress"] = tx.vault.open(row["progress"], *place) if row["progress"] else ""
        requests.append(OutboundRequest(**values))
    return requests
