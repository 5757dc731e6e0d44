"""The transactional outbox: events committed with the rows they speak of, one job for each who must hear.

An event is a row of the same transaction as the change (so it can be neither lost nor invented). Draining
first gives every new event one job for each of its handlers, then runs the jobs that are due, each in a
transaction of its own together with its "done". A job that fails waits longer each time and ends as a dead
letter, which stays until a person replays or dismisses it; other handlers of the event are not held up.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    select,
    update,
)

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, Serial, instant, metadata, tenant
from contatto.kit.listeners import Listener, hearing
from contatto.kit.log import logger, where

type After = Mapping[type[Any], tuple[Listener, ...]]
type Kinds = Mapping[str, tuple[type[Any], tuple[Listener, ...]]]

RETRY_AFTER: Final = (5, 60, 300, 1800, 7200, 21600)
"""Seconds to wait before each further try; when they are used up the job is dead."""
LEASE: Final = timedelta(seconds=60)
KEEP: Final = timedelta(days=7)
"""How long done jobs and heard events stay; a page that was away longer reloads."""


class JobState(StrEnum):
    DUE = "due"
    DONE = "done"
    DEAD = "dead"


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
    Index("ix_events_waiting", "fanned_out", "seq"),
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
    UniqueConstraint("event_seq", "handler"),
    Index("ix_outbox_jobs_due", "state", "due_at"),
)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as its row; ``payload`` is the JSON of its fields (ids and times, no contact values)."""

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


def event_name(kind: type[Any]) -> str:
    """``LeadCaptured`` → ``lead_captured``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def emit(tx: Tx, business_id: str, event: Any) -> None:
    """Append an event (a frozen dataclass of ids, texts and numbers) to this transaction."""
    tx.insert(
        events,
        {
            "business_id": business_id,
            "name": event_name(type(event)),
            "payload": msgspec.json.encode(event).decode(),
            "at": tx.now,
            "fanned_out": False,
        },
    )


def list_events(tx: Tx, after_seq: int, limit: int = 500) -> list[StoredEvent]:
    """Events of all businesses after a sequence number, oldest first; for the live feed."""
    statement = select(events).where(events.c.seq > after_seq).order_by(events.c.seq).limit(limit)
    return tx.list(StoredEvent, statement)


def list_events_of(tx: Tx, business_id: str, after_seq: int, limit: int = 500) -> list[StoredEvent]:
    """Events of one business after a sequence number, oldest first; for a stream that resumes."""
    mine = select(events).where(events.c.business_id == business_id, events.c.seq > after_seq)
    return tx.list(StoredEvent, mine.order_by(events.c.seq).limit(limit))


def count_waiting(tx: Tx) -> int:
    """Events that were not handed out yet, and jobs that are due by now."""
    fresh = select(func.count()).select_from(events).where(events.c.fanned_out.is_(False))
    due = select(func.count()).where(jobs.c.state == JobState.DUE, jobs.c.due_at <= tx.now)
    return int(tx.scalar(fresh)) + int(tx.scalar(due))


_LAST: Final = select(func.max(events.c.seq))


def last_seq(tx: Tx) -> int:
    return tx.scalar(_LAST) or 0


async def drain(db: Database, after: After, limit: int = 200) -> int:
    """Give new events their jobs and run the jobs that are due.

    Returns:
        How many jobs ran; call again until it is 0.
    """
    kinds = {event_name(kind): (kind, handlers) for kind, handlers in after.items()}
    handlers = {handler_name(handler): handler for chain in after.values() for handler in chain}
    claimed = await db.write(lambda tx: _claim(tx, kinds, limit))
    for job, event in claimed:
        kind = kinds.get(event.name)
        handler = handlers.get(job.handler)
        try:
            if kind is None or handler is None:
                raise LookupError(f"nobody answers to {job.handler}")
            await db.write(_run(job, handler, msgspec.json.decode(event.payload, type=kind[0])))
        except Exception as error:  # whatever a handler raises becomes a retry
            logger().warning("outbox.failed", job_id=str(job.id), handler=job.handler, error_at=where(error))
            await db.write(_failed(job, error))
    return len(claimed)


def handler_name(handler: Listener) -> str:
    """A handler's name in the table: its capability and function."""
    return f"{handler.__module__.removeprefix('contatto.')}.{handler.__qualname__}"


def _claim(tx: Tx, kinds: Kinds, limit: int) -> list[tuple[Job, StoredEvent]]:
    _fan_out(tx, kinds, limit)
    due = (
        select(jobs)
        .where(jobs.c.state == JobState.DUE, jobs.c.due_at <= tx.now)
        .order_by(jobs.c.due_at, jobs.c.id)
        .limit(limit)
    )
    claimed = tx.list(Job, due.with_for_update(skip_locked=True) if tx.locks_rows else due)
    if not claimed:
        return []
    ids = [job.id for job in claimed]
    lease = update(jobs).where(jobs.c.id.in_(ids))
    tx.execute(lease.values(due_at=tx.now + LEASE, attempts=jobs.c.attempts + 1))
    seqs = {job.event_seq for job in claimed}
    found = {event.seq: event for event in tx.list(StoredEvent, select(events).where(events.c.seq.in_(seqs)))}
    return [(job, found[job.event_seq]) for job in claimed]


def _fan_out(tx: Tx, kinds: Kinds, limit: int) -> None:
    waiting = select(events).where(events.c.fanned_out.is_(False)).order_by(events.c.seq).limit(limit)
    fresh = tx.list(StoredEvent, waiting.with_for_update(skip_locked=True) if tx.locks_rows else waiting)
    if not fresh:
        return
    hears = hearing(tx)
    new = {"state": JobState.DUE, "attempts": 0, "due_at": tx.now}
    rows = [
        {"business_id": event.business_id, "event_seq": event.seq, "handler": handler_name(handler)} | new
        for event in fresh
        for handler in kinds.get(event.name, (None, ()))[1]
        if hears(handler, event.business_id)
    ]
    if rows:
        tx.execute(tx.upsert(jobs).on_conflict_do_nothing(), rows)
    tx.execute(update(events).where(events.c.seq.in_([event.seq for event in fresh])).values(fanned_out=True))


def _run(job: Job, handler: Listener, event: Any) -> Callable[[Tx], None]:
    def work(tx: Tx) -> None:
        still_due = update(jobs).where(jobs.c.id == job.id, jobs.c.state == JobState.DUE)
        if tx.execute(still_due.values(state=JobState.DONE, last_error=None)).rowcount:
            handler(tx, event)

    return work


def _failed(job: Job, error: Exception) -> Callable[[Tx], None]:
    def work(tx: Tx) -> None:
        tries = job.attempts + 1
        dead = tries > len(RETRY_AFTER)
        wait = timedelta(seconds=RETRY_AFTER[min(tries, len(RETRY_AFTER)) - 1])
        state = JobState.DEAD if dead else JobState.DUE
        values = {"state": state, "due_at": tx.now + wait, "last_error": where(error)}
        tx.execute(update(jobs).where(jobs.c.id == job.id, jobs.c.state == JobState.DUE).values(**values))

    return work


def replay_dead(tx: Tx, business_id: str) -> int:
    """Make all dead letters of a business due again; say how many."""
    dead = update(jobs).where(jobs.c.business_id == business_id, jobs.c.state == JobState.DEAD)
    return tx.execute(dead.values(state=JobState.DUE, attempts=0, due_at=tx.now)).rowcount


def forget_old(tx: Tx) -> int:
    """Delete jobs that were done and events that were heard long ago; say how many.

    The newest event stays, as SQLite would give its number again, and a number must not come twice.
    """
    done = jobs.delete().where(jobs.c.state == JobState.DONE, jobs.c.due_at < tx.now - KEEP)
    heard = events.delete().where(
        events.c.fanned_out.is_(True),
        events.c.at < tx.now - KEEP,
        events.c.seq < select(func.max(events.c.seq)).scalar_subquery(),
        events.c.seq.not_in(select(jobs.c.event_seq).where(jobs.c.state != JobState.DONE)),
    )
    return tx.execute(done).rowcount + tx.execute(heard).rowcount
