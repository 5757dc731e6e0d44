"""Transactional outbox: events, and their dispatch to handlers with retries.

An event is committed with the rows that it describes. A batch of background work dispatches its own events to
batch handlers, in its transaction. Other events are left to `Drain`: batch handlers run at once for all new
events, and each other handler gets a job per event. A job runs in a savepoint or a transaction of its own,
together with its "done". Tenants take turns, so that one with thousands of events delays no other; a batch
lasts some 50 ms at most.

A job stores the name of its handler, so code may move while jobs wait. A job with a name that this release
does not have waits for a release that has it.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from contatto.kit.db.database import Database
from contatto.kit.db.statements import insert_all, insert_new, write_rows
from contatto.kit.db.tx import Instant, Serial, Tx, in_time, instant, metadata, savepoint, tenant, within
from contatto.kit.fair_queue import Queue, Turns
from contatto.kit.log import logger, where
from contatto.kit.outbound.model import RequestState
from contatto.kit.outbound.queue import DUE, OVER, jobs

_SPLIT_NAME: Final = cache(partial(re.compile(r"(?<!^)(?=[A-Z])").sub, "_"))
"""Cached, as each new event needs it."""
FRESH: Final[sa.ColumnElement[bool]] = sa.literal_column("NOT fanned_out")
"""Condition of undispatched events, verbatim as in the index."""

events = sa.Table(
    "events",
    metadata,
    sa.Column("seq", Serial, primary_key=True, autoincrement=True),
    tenant(),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    instant("at"),
    sa.Column("fanned_out", sa.Boolean, nullable=False),
    sa.Index("ix_events_business_id_seq", "business_id", "seq"),
    sa.Index("ix_events_waiting", "business_id", "at", "seq", sqlite_where=FRESH, postgresql_where=FRESH),
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
    return _SPLIT_NAME(kind.__name__).lower()


def emit(tx: Tx, business_id: str, event: Any) -> None:
    """Append an event (a frozen dataclass of ids, texts and numbers) to this transaction."""
    emit_all(tx, [(business_id, event)])


def emit_all(tx: Tx, happened: Iterable[tuple[str, Any]]) -> None:
    """Append events, each with its tenant, in their order."""
    rows = [
        (
            event,
            {
                "business_id": business_id,
                "name": event_name(type(event)),
                "payload": msgspec.json.encode(event).decode(),
                "at": tx.now,
                "fanned_out": False,
            },
        )
        for business_id, event in happened
    ]
    if tx.deferred_events is None:
        insert_all(tx, events, [row for _, row in rows])
    else:
        tx.deferred_events.extend(rows)


def list_events(
    tx: Tx, after_seq: int, limit: int = 500, business_id: str | None = None
) -> list[StoredEvent]:
    """Return events of one or all tenants after a sequence number, oldest first."""
    query = sa.select(events).where(events.c.seq > after_seq).order_by(events.c.seq).limit(limit)
    if business_id is not None:
        query = query.where(events.c.business_id == business_id)
    return tx.list(StoredEvent, query)


_LAST: Final = sa.select(sa.func.max(events.c.seq))


def last_seq(tx: Tx) -> int:
    return tx.scalar(_LAST) or 0


KEEP: Final = timedelta(days=7)
"""Time for which finished jobs and events stay, so that a page can resume its stream."""


def purge_events(tx: Tx) -> int:
    """Delete some old dispatched events without an open job, and return how many.

    The newest event stays, because SQLite would assign its sequence number again.
    """
    has_open_job = sa.exists().where(jobs.c.event_seq == events.c.seq, ~OVER)
    return tx.delete_some(
        events,
        events.c.fanned_out.is_(True),
        events.c.at < tx.now - KEEP,
        events.c.seq < sa.select(sa.func.max(events.c.seq)).correlate(None).scalar_subquery(),
        ~has_open_job,
    )


_HANDLER_DUE: Final = sa.and_(DUE, jobs.c.event_seq.is_not(None))


def count_waiting(tx: Tx) -> int:
    """Count undispatched events and due jobs of handlers."""
    fresh = sa.select(sa.func.count()).select_from(events).where(FRESH)
    due = sa.select(sa.func.count()).where(_HANDLER_DUE, jobs.c.due_at <= tx.now)
    return int(tx.scalar(fresh)) + int(tx.scalar(due))


def count_dead_jobs(tx: Tx) -> int:
    """Count the dead jobs of handlers, of all tenants."""
    dead = jobs.c.event_seq.is_not(None), jobs.c.state == RequestState.DEAD
    return int(tx.scalar(sa.select(sa.func.count()).select_from(jobs).where(*dead)))


def find_oldest_waiting(tx: Tx) -> datetime | None:
    """Return the time of the oldest undispatched event or due job of a handler."""
    fresh: datetime | None = tx.scalar(sa.select(sa.func.min(events.c.at)).where(FRESH))
    is_due = jobs.c.due_at <= tx.now
    due: datetime | None = tx.scalar(sa.select(sa.func.min(jobs.c.due_at)).where(_HANDLER_DUE, is_due))
    return min((at for at in (fresh, due) if at is not None), default=None)


type Handler = Callable[[Tx, Any], None]
type After = Mapping[type[Any], Mapping[str, Handler]]
"""Handlers of each event by their durable names, which jobs store."""
type HandlerOfMany = Callable[[Tx, Sequence[Any]], None]
type IsInterested = Callable[[Handler, str], bool]
type Businesses = Callable[[Tx], Collection[str]] | Callable[[Tx], Mapping[Any, Collection[str]]]


@dataclass(frozen=True, slots=True)
class TenantHandler:
    """Handler for the events of some tenants, which are queried anew for each batch.

    With a kind the query returns the tenants by kind, so that handlers of several kinds share it.
    """

    businesses: Businesses
    kind: Any
    handler: Handler

    def __call__(self, tx: Tx, event: Any) -> None:
        self.handler(tx, event)


@dataclass(frozen=True, slots=True)
class BatchHandler:
    """Handler of many events, in their order.

    It runs in the transaction of the dispatch, without jobs, so that many events need one statement per
    table. If it fails, each of these events gets a job.
    """

    run: HandlerOfMany

    def __call__(self, tx: Tx, event: Any) -> None:
        self.run(tx, [event])


def interest(tx: Tx) -> IsInterested:
    """Return a function that tells if a handler takes a tenant's events; each query runs once."""
    answers: dict[Businesses, Any] = {}

    def is_interested(handler: Handler, business_id: str) -> bool:
        if not isinstance(handler, TenantHandler):
            return True
        if handler.businesses not in answers:
            answers[handler.businesses] = handler.businesses(tx)
        tenants = answers[handler.businesses]
        return business_id in (tenants if handler.kind is None else tenants.get(handler.kind, ()))

    return is_interested


type _EventRow = tuple[Any, dict[str, Any]]
"""Event and its row."""

_WAIT_LITTLE: Final = "SET LOCAL lock_timeout = '20ms'"
_WAIT_AS_BEFORE: Final = "SET LOCAL lock_timeout = DEFAULT"
"""Source: https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-LOCK-TIMEOUT"""
_LOCK_NOT_AVAILABLE: Final = "55P03"
"""Source: https://www.postgresql.org/docs/current/errcodes-appendix.html"""
_ROUNDS: Final = 3
"""Rounds in which events of handlers are dispatched; the drain takes the rest."""


def dispatch_events[T](after: After, work: Callable[[Tx], T], tx: Tx) -> T:
    """Work, and dispatch its own events to batch handlers, where all handlers allow it."""
    deferred: list[_EventRow] = []
    tx = replace(tx, deferred_events=deferred)
    result = work(tx)
    is_interested = interest(tx)
    for _ in range(_ROUNDS):
        if deferred:
            emitted = list(deferred)
            deferred.clear()
            _dispatch(tx, after, emitted, is_interested)
    insert_all(tx, events, [row for _, row in deferred])
    return result


def _dispatch(tx: Tx, after: After, emitted: list[_EventRow], is_interested: IsInterested) -> None:
    """Run batch handlers, then write the events; events of these handlers are deferred."""
    batches = dict[BatchHandler, list[Any]]()
    handlers_of: dict[tuple[type[Any], str], list[Handler]] = {}
    for event, row in emitted:
        kind, business_id = type(event), row["business_id"]
        if (kind, business_id) not in handlers_of:
            own = (handler for handler in after.get(kind, {}).values() if is_interested(handler, business_id))
            handlers_of[kind, business_id] = list(own)
        handlers = handlers_of[kind, business_id]
        batch_handlers = [handler for handler in handlers if isinstance(handler, BatchHandler)]
        # The drain makes the jobs of an event with other handlers, one for each.
        row["fanned_out"] = kind in after and len(batch_handlers) == len(handlers)
        for handler in batch_handlers if row["fanned_out"] else ():
            batches.setdefault(handler, []).append(event)
    # A short wait for rows that other transactions lock, so that no two wait for each other.
    is_brief = bool(batches) and tx.locks_rows
    if is_brief:
        tx.connection.exec_driver_sql(_WAIT_LITTLE)
    try:
        with savepoint(tx):
            for handler, batch in batches.items():
                handler.run(tx, batch)
    except Exception as error:  # the drain runs the events again, and finds the faulty one
        is_locked = isinstance(error, OperationalError) and (
            getattr(error.orig, "sqlstate", "") == _LOCK_NOT_AVAILABLE
        )
        if not is_locked:
            logger().warning("outbox.failed_at_once", error_at=where(error))
        for _, row in emitted:
            row["fanned_out"] = False
    if is_brief:
        tx.connection.exec_driver_sql(_WAIT_AS_BEFORE)
    insert_all(tx, events, [row for _, row in emitted])


RETRY_AFTER: Final = (5, 60, 300, 1800, 7200, 21600)
"""Seconds before each retry; after the last one the job is dead."""
LEASE: Final = timedelta(seconds=60)
LATER: Final = timedelta(minutes=10)
"""Delay of a job with a handler that this release does not have."""
UNKNOWN: Final = "unknown handler"
"""Its error."""
FANNED_OUT: Final = 500
"""Greatest number of events per dispatch."""
CLAIMED: Final = 50
"""Jobs per claim; few, so that other tenants do not wait long."""


JOBS: Final = Queue(jobs, sa.and_(DUE, jobs.c.destination == ""), jobs.c.due_at)
"""Jobs of handlers, which alone have no destination."""
_HANDED_OUT: Final = sa.update(events).where(within(events.c.seq, "seqs")).values(fanned_out=True)


@dataclass(frozen=True, slots=True)
class HandlerJob:
    """Job of an event's handler; ``kind`` is the name of the handler."""

    id: int
    business_id: str
    event_seq: int
    kind: str
    attempts: int


@dataclass(frozen=True, slots=True)
class _Delivery:
    """Event for one of its handlers."""

    event: StoredEvent
    kind: type[Any]
    name: str
    handler: Handler


class Drain:
    """Dispatches new events and runs due jobs of handlers, ``claimed`` at a time, in turn by tenant."""

    def __init__(self, after: After, claimed: int = CLAIMED) -> None:
        self._kinds = {event_name(kind): (kind, handlers) for kind, handlers in after.items()}
        self._claimed = claimed
        names = ", ".join(f"'{name}'" for name in self._kinds)
        is_known: sa.ColumnElement[bool] = sa.literal_column(f"name IN ({names})") if names else sa.false()
        self._events = Turns(Queue(events, sa.and_(FRESH, is_known), events.c.at))
        self._jobs = Turns(JOBS)
        self.tables: Final = self._events.queue.tables | self._jobs.queue.tables

    def is_due(self, tx: Tx) -> bool:
        return self._events.queue.is_due(tx) or self._jobs.queue.is_due(tx)

    async def run_batch(self, db: Database) -> int:
        """Dispatch new events, and run some due jobs.

        Returns:
            The number of jobs and of deliveries to batch handlers; call again until it is 0.
        """
        if not await db.read(self.is_due):
            return 0
        delivered, claimed = await db.write(self._claim, in_background=True)
        waiting = claimed
        while waiting:
            done = await db.write(partial(self._run_some, waiting=waiting), in_background=True)
            waiting = waiting[done:]
        return delivered + len(claimed)

    async def run_all(self, db: Database) -> int:
        """Run all that is due, and return how many jobs."""
        done = 0
        while count := await self.run_batch(db):
            done += count
        return done

    def _claim(self, tx: Tx) -> tuple[int, list[tuple[HandlerJob, StoredEvent]]]:
        delivered = self._fan_out(tx)
        claimed = self._jobs.list_rows(tx, self._claimed, partial(self._jobs.queue.list, tx, HandlerJob))
        if not claimed:
            return delivered, []
        self._jobs.last = claimed[-1].business_id
        lease = sa.update(jobs).where(jobs.c.id.in_([job.id for job in claimed]))
        tx.execute(lease.values(due_at=tx.now + LEASE, attempts=jobs.c.attempts + 1))
        query = sa.select(events).where(events.c.seq.in_({job.event_seq for job in claimed}))
        event_of = {event.seq: event for event in tx.list(StoredEvent, query)}
        return delivered, [(job, event_of[job.event_seq]) for job in claimed]

    def _fan_out(self, tx: Tx) -> int:
        """Dispatch new events, and return the number of deliveries to batch handlers."""
        fresh = self._events.list_rows(tx, FANNED_OUT, partial(self._events.queue.list, tx, StoredEvent))
        if not fresh:
            return 0
        self._events.last = fresh[-1].business_id
        is_interested = interest(tx)
        deliveries = [
            _Delivery(event, kind, name, handler)
            for event in sorted(fresh, key=lambda event: event.seq)
            for kind, handlers in (self._kinds[event.name],)
            for name, handler in handlers.items()
            if is_interested(handler, event.business_id)
        ]
        # Run the batch handlers, each in a savepoint; the other deliveries need a job.
        with_job, batches = list[_Delivery](), dict[BatchHandler, list[_Delivery]]()
        for delivery in deliveries:
            if isinstance(delivery.handler, BatchHandler):
                batches.setdefault(delivery.handler, []).append(delivery)
            else:
                with_job.append(delivery)
        for handler, batch in batches.items():
            payloads = [(delivery.event.payload, delivery.kind) for delivery in batch]
            try:
                with savepoint(tx):
                    handler.run(tx, [msgspec.json.decode(payload, type=kind) for payload, kind in payloads])
            except Exception as error:  # each event gets a job, which finds the faulty one
                logger().warning("outbox.failed_together", handler=batch[0].name, error_at=where(error))
                with_job += batch
        new = {"subject": "", "destination": "", "line": "", "state": RequestState.DUE, "attempts": 0}
        new |= {"due_at": tx.now, "is_unsure": False, "reason": "", "created_at": tx.now}
        rows = [
            new
            | {
                "business_id": delivery.event.business_id,
                "event_seq": delivery.event.seq,
                "kind": delivery.name,
            }
            for delivery in with_job
        ]
        insert_new(tx, jobs, rows)
        write_rows(tx, _HANDED_OUT, [{"seqs": [event.seq for event in fresh]}])
        return len(deliveries) - len(with_job)

    def _run_some(self, tx: Tx, waiting: list[tuple[HandlerJob, StoredEvent]]) -> int:
        """Run jobs in their order until the time is up, and return how many.

        On PostgreSQL each job has its own transaction, so that it locks rows only while it runs.
        """
        done = 0
        for job, event in in_time(waiting[:1] if tx.locks_rows else waiting):
            done += 1
            kind, handlers = self._kinds.get(event.name, (None, {}))
            if kind is None or job.kind not in handlers:
                logger().warning("outbox.unknown_handler", job_id=str(job.id), handler=job.kind)
                # A release that knows the handler runs it; this was no try.
                values = {"due_at": tx.now + LATER, "attempts": job.attempts, "reason": UNKNOWN}
                tx.execute(sa.update(jobs).where(DUE, jobs.c.id == job.id).values(**values))
                continue
            try:
                with savepoint(tx):
                    still_due = sa.update(jobs).where(jobs.c.id == job.id, jobs.c.state == RequestState.DUE)
                    done_row = {"state": RequestState.DONE, "reason": "", "failed_at": None}
                    if tx.execute(still_due.values(**done_row, settled_at=tx.now)).rowcount:
                        handlers[job.kind](tx, msgspec.json.decode(event.payload, type=kind))
            except Exception as error:  # whatever a handler raises becomes a retry
                logger().warning("outbox.failed", job_id=str(job.id), handler=job.kind, error_at=where(error))
                tries = job.attempts + 1
                wait = timedelta(seconds=RETRY_AFTER[min(tries, len(RETRY_AFTER)) - 1])
                state = RequestState.DEAD if tries > len(RETRY_AFTER) else RequestState.DUE
                since = sa.func.coalesce(jobs.c.failed_at, sa.literal(tx.now, Instant))
                failure = {"state": state, "due_at": tx.now + wait, "reason": where(error)}
                tx.execute(sa.update(jobs).where(DUE, jobs.c.id == job.id).values(**failure, failed_at=since))
        return done
