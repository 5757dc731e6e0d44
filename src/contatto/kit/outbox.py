"""Transactional outbox: events committed with the rows that they describe, so none is lost or invented.

``kit/dispatch`` gives them to their handlers, by jobs of ``kit/outbound/store``.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Index,
    String,
    Table,
    Text,
    and_,
    exists,
    func,
    literal_column,
    select,
)

from contatto.kit.db.prepared import insert_all
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Serial, instant, metadata, tenant
from contatto.kit.db.write_queue import held_of
from contatto.kit.outbound.model import RequestState
from contatto.kit.outbound.store import DUE, OVER, jobs

_NAME_PARTS: Final = re.compile(r"(?<!^)(?=[A-Z])")
FRESH: Final[ColumnElement[bool]] = literal_column("NOT fanned_out")
"""Condition of undispatched events, verbatim as in the index."""

events = Table(
    "events",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    tenant(),
    Column("name", String(64), nullable=False),
    Column("payload", Text, nullable=False),
    instant("at"),
    Column("fanned_out", Boolean, nullable=False),
    Index("ix_events_business_id_seq", "business_id", "seq"),
    Index("ix_events_waiting", "business_id", "at", "seq", sqlite_where=FRESH, postgresql_where=FRESH),
)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """Event as a row; ``payload`` is the JSON of its fields, without contact values."""

    seq: int
    business_id: str
    name: str
    payload: str


def event_name(kind: type[Any]) -> str:
    """Return the durable name of an event: ``LeadCaptured`` → ``lead_captured``."""
    return _snake_case(kind.__name__)


@cache
def _snake_case(name: str) -> str:
    return _NAME_PARTS.sub("_", name).lower()


def emit(tx: Tx, business_id: str, event: Any) -> None:
    """Append an event (a frozen dataclass of ids, texts and numbers) to this transaction."""
    row = _row_of_event(tx, business_id, event)
    deferred = held_of(tx.connection)
    if deferred is None:
        tx.insert(events, row)
    else:
        deferred.append((event, row))


def emit_all(tx: Tx, happened: Iterable[tuple[str, Any]]) -> None:
    """Append events, each with its tenant, in their order."""
    rows = [(event, _row_of_event(tx, business_id, event)) for business_id, event in happened]
    deferred = held_of(tx.connection)
    if deferred is None:
        insert_all(tx, events, [row for _, row in rows])
    else:
        deferred += rows


def _row_of_event(tx: Tx, business_id: str, event: Any) -> dict[str, Any]:
    return {
        "business_id": business_id,
        "name": event_name(type(event)),
        "payload": msgspec.json.encode(event).decode(),
        "at": tx.now,
        "fanned_out": False,
    }


def list_events(tx: Tx, after_seq: int, limit: int = 500) -> list[StoredEvent]:
    """Return events of all tenants after a sequence number, oldest first, for the live feed."""
    statement = select(events).where(events.c.seq > after_seq).order_by(events.c.seq).limit(limit)
    return tx.list(StoredEvent, statement)


def list_events_of(tx: Tx, business_id: str, after_seq: int, limit: int = 500) -> list[StoredEvent]:
    """Return events of one tenant after a sequence number, oldest first, for a stream that resumes."""
    query = select(events).where(events.c.business_id == business_id, events.c.seq > after_seq)
    return tx.list(StoredEvent, query.order_by(events.c.seq).limit(limit))


_LAST: Final = select(func.max(events.c.seq))


def last_seq(tx: Tx) -> int:
    return tx.scalar(_LAST) or 0


def list_payloads(tx: Tx, seqs: Collection[int]) -> dict[int, str]:
    """Return the payloads of events by their sequence numbers."""
    query = select(events.c.seq, events.c.payload).where(events.c.seq.in_(list(seqs)))
    return {row.seq: row.payload for row in tx.execute(query)}


KEEP: Final = timedelta(days=7)
"""Time for which finished jobs and events stay, so that a page can resume its stream."""


def purge_events(tx: Tx) -> int:
    """Delete some old dispatched events without an open job, and return how many.

    The newest event stays, because SQLite would assign its sequence number again.
    """
    has_open_job = exists().where(jobs.c.event_seq == events.c.seq, ~OVER)
    return tx.delete_some(
        events,
        events.c.fanned_out.is_(True),
        events.c.at < tx.now - KEEP,
        events.c.seq < select(func.max(events.c.seq)).correlate(None).scalar_subquery(),
        ~has_open_job,
    )


_HANDLER_DUE: Final = and_(DUE, jobs.c.event_seq.is_not(None))


def count_waiting(tx: Tx) -> int:
    """Count undispatched events and due jobs of handlers."""
    fresh = select(func.count()).select_from(events).where(FRESH)
    due = select(func.count()).where(_HANDLER_DUE, jobs.c.due_at <= tx.now)
    return int(tx.scalar(fresh)) + int(tx.scalar(due))


def count_dead_jobs(tx: Tx) -> int:
    """Count the dead jobs of handlers, of all tenants."""
    dead = jobs.c.event_seq.is_not(None), jobs.c.state == RequestState.DEAD
    return int(tx.scalar(select(func.count()).select_from(jobs).where(*dead)))


def find_oldest_waiting(tx: Tx) -> datetime | None:
    """Return the time of the oldest undispatched event or due job of a handler."""
    fresh: datetime | None = tx.scalar(select(func.min(events.c.at)).where(FRESH))
    is_due = jobs.c.due_at <= tx.now
    due: datetime | None = tx.scalar(select(func.min(jobs.c.due_at)).where(_HANDLER_DUE, is_due))
    return min((at for at in (fresh, due) if at is not None), default=None)
