"""Transactional outbox: events committed with their rows, and one job per handler.

An event is a row of the transaction that it describes, so none is lost or invented. A failed job is retried
with back-off and ends as a dead letter, until a member replays or dismisses it. Other handlers of the event
are not delayed. ``kit/dispatch`` runs the jobs.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any, Final

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Index,
    Integer,
    Select,
    String,
    Table,
    Text,
    UniqueConstraint,
    Update,
    func,
    literal_column,
    select,
    update,
)

from contatto.kit.db.prepared import insert_all
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, Serial, instant, metadata, tenant
from contatto.kit.db.write_queue import held_of

UNKNOWN: Final = "unknown handler"
"""Error of a job with a handler that this release does not have."""


class JobState(StrEnum):
    """State of a job; a dead one waits for a member's decision."""

    DUE = "due"
    DONE = "done"
    DEAD = "dead"
    DISMISSED = "dismissed"


_NAME_PARTS: Final = re.compile(r"(?<!^)(?=[A-Z])")
FRESH: Final[ColumnElement[bool]] = literal_column("NOT fanned_out")
"""Condition of undispatched events, verbatim as in the index."""
DUE: Final[ColumnElement[bool]] = literal_column("state = 'due'")
"""Condition of due jobs, verbatim as in the index."""
OVER: Final[ColumnElement[bool]] = literal_column("state IN ('done', 'dismissed')")
"""Condition of finished jobs, verbatim as in the index."""
_FAILED: Final[ColumnElement[bool]] = literal_column(
    "(state = 'dead' OR (state = 'due' AND last_error IS NOT NULL))"
)

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

jobs = Table(
    "outbox_jobs",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    tenant(),
    Column("event_seq", Serial, nullable=False),
    Column("handler", String(128), nullable=False),
    Column("state", Choice(JobState), nullable=False),
    Column("attempts", Integer, nullable=False),
    instant("due_at"),
    Column("last_error", Text),
    instant("failed_at", nullable=True),
    UniqueConstraint("event_seq", "handler"),
    Index("ix_outbox_jobs_due", "business_id", "due_at", "id", sqlite_where=DUE, postgresql_where=DUE),
    Index("ix_outbox_jobs_over", "due_at", sqlite_where=OVER, postgresql_where=OVER),
    Index("ix_outbox_jobs_failed", "business_id", "id", sqlite_where=_FAILED, postgresql_where=_FAILED),
)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """Event as a row; ``payload`` is the JSON of its fields, without contact values."""

    seq: int
    business_id: str
    name: str
    payload: str


@dataclass(frozen=True, slots=True)
class Job:
    id: int
    business_id: str
    event_seq: int
    handler: str
    attempts: int


@dataclass(frozen=True, slots=True)
class FailedJob:
    """Failed job with its event; ``failed_at`` is the first failure of the current series."""

    id: int
    business_id: str
    handler: str
    state: JobState
    attempts: int
    due_at: datetime
    last_error: str
    failed_at: datetime | None
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


def count_waiting(tx: Tx) -> int:
    """Count undispatched events and due jobs."""
    fresh = select(func.count()).select_from(events).where(FRESH)
    due = select(func.count()).where(DUE, jobs.c.due_at <= tx.now)
    return int(tx.scalar(fresh)) + int(tx.scalar(due))


_LAST: Final = select(func.max(events.c.seq))


def last_seq(tx: Tx) -> int:
    return tx.scalar(_LAST) or 0


def replay_dead(tx: Tx, business_id: str) -> int:
    """Make all dead letters of a tenant due again, and return how many."""
    dead = _FAILED, jobs.c.business_id == business_id, jobs.c.state == JobState.DEAD
    return tx.execute(_replay(tx).where(*dead)).rowcount


def dismiss_dead(tx: Tx, business_id: str) -> int:
    """Dismiss all dead letters of a tenant, and return how many."""
    dead = _FAILED, jobs.c.business_id == business_id, jobs.c.state == JobState.DEAD
    return tx.execute(update(jobs).where(*dead).values(state=JobState.DISMISSED, due_at=tx.now)).rowcount


def count_failed_jobs(tx: Tx, business_id: str) -> dict[JobState, int]:
    """Count the dead jobs, and the failed ones with a retry."""
    query = select(jobs.c.state, func.count().label("count")).where(
        _FAILED, jobs.c.business_id == business_id
    )
    rows = tx.execute(query.group_by(jobs.c.state)).mappings()
    return {JobState(row["state"]): row["count"] for row in rows}


def replay_job(tx: Tx, business_id: str, job_id: int) -> bool:
    """Make a failed job due again with all its tries; return False when it does not exist."""
    own = jobs.c.business_id == business_id, jobs.c.id == job_id, _FAILED
    return tx.execute(_replay(tx).where(*own)).rowcount == 1


def _replay(tx: Tx) -> Update:
    fresh = {"state": JobState.DUE, "attempts": 0, "due_at": tx.now, "last_error": None, "failed_at": None}
    return update(jobs).values(**fresh)


def dismiss_job(tx: Tx, business_id: str, job_id: int) -> bool:
    """Dismiss a failed job; return False when it does not exist."""
    own = jobs.c.business_id == business_id, jobs.c.id == job_id, _FAILED
    over = update(jobs).where(*own).values(state=JobState.DISMISSED, due_at=tx.now)
    return tx.execute(over).rowcount == 1


def list_failed_jobs(tx: Tx, business_id: str, limit: int) -> list[FailedJob]:
    """Return the dead jobs of a tenant, then the failed ones with a retry, latest first."""
    query = _failed_jobs(business_id).order_by(jobs.c.state, jobs.c.id.desc())
    return tx.list(FailedJob, query.limit(limit))


def find_failed_job(tx: Tx, business_id: str, job_id: int) -> FailedJob | None:
    return tx.find(FailedJob, _failed_jobs(business_id).where(jobs.c.id == job_id))


def _failed_jobs(business_id: str) -> Select[Any]:
    query = select(*jobs.c, events.c.name, events.c.payload).join(events, events.c.seq == jobs.c.event_seq)
    return query.where(jobs.c.business_id == business_id, _FAILED)


KEEP: Final = timedelta(days=7)
"""Time for which finished jobs and events stay, so that a page can resume its stream."""


def purge_settled(tx: Tx) -> int:
    """Delete some old finished jobs and dispatched events, and return how many.

    The newest event stays, because SQLite would assign its sequence number again.
    """
    job_count = tx.delete_some(jobs, OVER, jobs.c.due_at < tx.now - KEEP)
    event_count = tx.delete_some(
        events,
        events.c.fanned_out.is_(True),
        events.c.at < tx.now - KEEP,
        events.c.seq < select(func.max(events.c.seq)).correlate(None).scalar_subquery(),
        events.c.seq.not_in(select(jobs.c.event_seq).where(~OVER)),
    )
    return job_count + event_count


def count_dead_jobs(tx: Tx) -> int:
    """Count the dead jobs of all tenants."""
    return int(tx.scalar(select(func.count()).select_from(jobs).where(jobs.c.state == JobState.DEAD)))


def find_oldest_waiting(tx: Tx) -> datetime | None:
    """Return the time of the oldest undispatched event or due job."""
    fresh: datetime | None = tx.scalar(select(func.min(events.c.at)).where(FRESH))
    due: datetime | None = tx.scalar(select(func.min(jobs.c.due_at)).where(DUE, jobs.c.due_at <= tx.now))
    return min((at for at in (fresh, due) if at is not None), default=None)
