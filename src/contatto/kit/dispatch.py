"""Dispatch of outbox events to handlers, and retries of their jobs."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, and_, false, func, literal, literal_column, select, update
from sqlalchemy.exc import OperationalError

from contatto.kit.clock import in_time
from contatto.kit.db.database import Database
from contatto.kit.db.prepared import insert_all, insert_new, update_rows
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Instant, within
from contatto.kit.db.write_queue import holding, savepoint
from contatto.kit.fair_queue import Queue, Turns
from contatto.kit.log import logger, where
from contatto.kit.outbox import DUE, FRESH, UNKNOWN, Job, JobState, StoredEvent, event_name, events, jobs

type Handler = Callable[[Tx, Any], None]
type After = Mapping[type[Any], Mapping[str, Handler]]
"""For each event its handlers by their names, which are kept in jobs and must never change."""
type HandlerOfMany = Callable[[Tx, Sequence[Any]], None]
type IsInterested = Callable[[Handler, str], bool]
type Businesses = Callable[[Tx], Collection[str]]


@dataclass(frozen=True, slots=True)
class TenantsOfKind[K]:
    """The businesses of one kind, where one question tells those of all kinds."""

    ask: Callable[[Tx], Mapping[K, Collection[str]]]
    kind: K

    def __call__(self, tx: Tx) -> Collection[str]:
        return self.ask(tx).get(self.kind, ())


@dataclass(frozen=True, slots=True)
class TenantHandler:
    """A handler for the events of some businesses, which are named anew for each batch of events."""

    businesses: Businesses
    handler: Handler

    def __call__(self, tx: Tx, event: Any) -> None:
        self.handler(tx, event)


@dataclass(frozen=True, slots=True)
class BatchHandler:
    """A handler of many events, in their order; to do one is a batch of one.

    It runs as soon as events are handed out, in that transaction, and without a job: many events need a
    statement for each table then. Where it fails, each of these events gets a job, which is tried by itself.
    """

    run: HandlerOfMany

    def __call__(self, tx: Tx, event: Any) -> None:
        self.run(tx, [event])


def interest(tx: Tx) -> IsInterested:
    """Return whether a handler is interested in events of a business, with each question asked once."""
    answers: dict[Callable[[Tx], Any], Any] = {}

    def ask[A](question: Callable[[Tx], A]) -> A:
        if question not in answers:
            answers[question] = question(tx)
        answer: A = answers[question]
        return answer

    def is_interested(handler: Handler, business_id: str) -> bool:
        if not isinstance(handler, TenantHandler):
            return True
        of = handler.businesses
        return business_id in (ask(of.ask).get(of.kind, ()) if isinstance(of, TenantsOfKind) else ask(of))

    return is_interested


type _Happened = tuple[Any, dict[str, Any]]
"""An event, and its row."""

_WAIT_LITTLE: Final = "SET LOCAL lock_timeout = '20ms'"
_WAIT_AS_BEFORE: Final = "SET LOCAL lock_timeout = DEFAULT"
_LOCK_NOT_AVAILABLE: Final = "55P03"
"""Source: https://www.postgresql.org/docs/current/errcodes-appendix.html"""
_ROUNDS: Final = 3
"""How often events are handed out that handlers led to; what these lead to is left to the drain."""


def handing_out[T](after: After, work: Callable[[Tx], T]) -> Callable[[Tx], T]:
    """The same work; where it may, it hands out its events itself."""

    def both(tx: Tx) -> T:
        with holding(tx.connection) as held:
            done = work(tx)
            is_interested = interest(tx)
            for _ in range(_ROUNDS):
                if held:
                    _hand_out(tx, after, held, is_interested)
            _write(tx, held)
        return done

    return both


def _hand_out(tx: Tx, after: After, held: list[_Happened], is_interested: IsInterested) -> None:
    """Tell the handlers of many, and write the events; what these led to is held instead."""
    happened, together = list(held), dict[BatchHandler, list[Any]]()
    held.clear()
    kinds = dict.fromkeys((type(event), row["business_id"]) for event, row in happened)
    of_many = {kind: _list_of_many(after, kind, is_interested) for kind in kinds}
    for event, row in happened:
        handlers = of_many[type(event), row["business_id"]]
        row["fanned_out"] = handlers is not None
        for handler in handlers or ():
            together.setdefault(handler, []).append(event)
    try:
        with _hardly_waiting(tx, together), savepoint(tx):
            for handler, some in together.items():
                handler.run(tx, some)
    except Exception as error:  # found again, and put down to the event at fault, by the drain
        if not _is_held_elsewhere(error):
            logger().warning("outbox.failed_at_once", error_at=where(error))
        for _, row in happened:
            row["fanned_out"] = False
    _write(tx, happened)


def _list_of_many(
    after: After, of: tuple[type[Any], str], is_interested: IsInterested
) -> list[BatchHandler] | None:
    """The handlers of a kind of events of a business; None if one of them takes each event alone."""
    kind, business_id = of
    wanted = [each for each in after.get(kind, {}).values() if is_interested(each, business_id)]
    of_many = [each for each in wanted if isinstance(each, BatchHandler)]
    return of_many if kind in after and len(of_many) == len(wanted) else None


@contextmanager
def _hardly_waiting(tx: Tx, handlers: Collection[BatchHandler]) -> Iterator[None]:
    """What somebody else holds ends a statement soon, if there is anything to run.

    Source: https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-LOCK-TIMEOUT
    """
    if not (handlers and tx.locks_rows):
        yield
        return
    tx.connection.exec_driver_sql(_WAIT_LITTLE)
    try:
        yield
    finally:
        tx.connection.exec_driver_sql(_WAIT_AS_BEFORE)


def _is_held_elsewhere(error: Exception) -> bool:
    return isinstance(error, OperationalError) and getattr(error.orig, "sqlstate", "") == _LOCK_NOT_AVAILABLE


def _write(tx: Tx, happened: Sequence[_Happened]) -> None:
    insert_all(tx, events, [row for _, row in happened])


RETRY_AFTER: Final = (5, 60, 300, 1800, 7200, 21600)
"""Seconds to wait before each further try; when they are used up the job is dead."""
LEASE: Final = timedelta(seconds=60)
LATER: Final = timedelta(minutes=10)
"""How long a job waits whose handler is not known here, before it is looked at again."""
FANNED_OUT: Final = 500
"""New events that are handed out together."""
CLAIMED: Final = 50
"""Jobs that are claimed together: few, so that who comes next does not wait for long."""


_HANDED_OUT: Final = update(events).where(within(events.c.seq, "seqs")).values(fanned_out=True)


class UnknownHandler(Exception):
    """A job names a handler that is not in the table of this release."""


@dataclass(frozen=True, slots=True)
class _Told:
    """An event that one of its handlers is told of."""

    event: StoredEvent
    kind: type[Any]
    name: str
    handler: Handler


class Drain:
    """Hands new events to their handlers and runs the jobs that are due, in turn by business.

    Args:
        after: the handlers of each event.
        claimed: jobs that are claimed together.
    """

    def __init__(self, after: After, claimed: int = CLAIMED) -> None:
        self._kinds = {event_name(kind): (kind, handlers) for kind, handlers in after.items()}
        self._claimed = claimed
        known: ColumnElement[bool] = literal_column(
            f"name IN ({', '.join(f"'{name}'" for name in self._kinds)})"
        )
        is_known = known if self._kinds else false()
        self._events = Turns(Queue(events, and_(FRESH, is_known), events.c.at))
        self._jobs = Turns(Queue(jobs, DUE, jobs.c.due_at))

    @property
    def tables(self) -> frozenset[str]:
        """Whose changes may bring work."""
        return self._events.queue.tables | self._jobs.queue.tables

    def is_due(self, tx: Tx) -> bool:
        """Return whether there is anything to do."""
        return self._events.queue.is_due(tx) or self._jobs.queue.is_due(tx)

    async def run_batch(self, db: Database) -> int:
        """Give new events their jobs and run some jobs that are due.

        Returns:
            How many jobs ran, and how often handlers of many events were told; call again until it is 0.
        """
        if not await db.read(self.is_due):
            return 0
        together, claimed = await db.write(self._claim, in_background=True)
        waiting = claimed
        while waiting:
            done = await db.write(partial(self._run_some, waiting=waiting), in_background=True)
            waiting = waiting[done:]
        return together + len(claimed)

    async def run_all(self, db: Database) -> int:
        """Run all that is due; say how many jobs that were."""
        done = 0
        while count := await self.run_batch(db):
            done += count
        return done

    def _claim(self, tx: Tx) -> tuple[int, list[tuple[Job, StoredEvent]]]:
        together = self._fan_out(tx)

        def list_jobs(business_id: str, limit: int) -> list[Job]:
            return self._jobs.queue.list(tx, Job, business_id, limit)

        claimed = self._jobs.list_rows(tx, self._claimed, list_jobs)
        if not claimed:
            return together, []
        self._jobs.served(claimed[-1].business_id)
        lease = update(jobs).where(jobs.c.id.in_([job.id for job in claimed]))
        tx.execute(lease.values(due_at=tx.now + LEASE, attempts=jobs.c.attempts + 1))
        of = select(events).where(events.c.seq.in_({job.event_seq for job in claimed}))
        found = {event.seq: event for event in tx.list(StoredEvent, of)}
        return together, [(job, found[job.event_seq]) for job in claimed]

    def _fan_out(self, tx: Tx) -> int:
        """Hand new events out; say how often handlers of many were told of one."""

        def list_fresh(business_id: str, limit: int) -> list[StoredEvent]:
            return self._events.queue.list(tx, StoredEvent, business_id, limit)

        fresh = self._events.list_rows(tx, FANNED_OUT, list_fresh)
        if not fresh:
            return 0
        self._events.served(fresh[-1].business_id)
        is_interested = interest(tx)
        told = [
            _Told(event, kind, name, handler)
            for event in sorted(fresh, key=lambda event: event.seq)
            for kind, handlers in (self._kinds[event.name],)
            for name, handler in handlers.items()
            if is_interested(handler, event.business_id)
        ]
        alone = _tell_together(tx, told)
        new = {"state": JobState.DUE, "attempts": 0, "due_at": tx.now}
        rows = [
            {"business_id": each.event.business_id, "event_seq": each.event.seq, "handler": each.name} | new
            for each in alone
        ]
        insert_new(tx, jobs, rows)
        update_rows(tx, _HANDED_OUT, [{"seqs": [event.seq for event in fresh]}])
        return len(told) - len(alone)

    def _run_some(self, tx: Tx, waiting: list[tuple[Job, StoredEvent]]) -> int:
        """Run jobs in their order until the time is up; say how many.

        On PostgreSQL each has a transaction of its own: it keeps its rows locked for no other.
        """
        done = 0
        for job, event in in_time(waiting[:1] if tx.locks_rows else waiting):
            try:
                with savepoint(tx):
                    self._run(tx, job, event)
            except UnknownHandler:
                logger().warning("outbox.unknown_handler", job_id=str(job.id), handler=job.handler)
                _put_off(tx, job)
            except Exception as error:  # whatever a handler raises becomes a retry
                logger().warning(
                    "outbox.failed", job_id=str(job.id), handler=job.handler, error_at=where(error)
                )
                _note_failure(tx, job, error)
            done += 1
        return done

    def _run(self, tx: Tx, job: Job, event: StoredEvent) -> None:
        kind, handlers = self._kinds.get(event.name, (None, {}))
        if kind is None or job.handler not in handlers:
            raise UnknownHandler
        still_due = update(jobs).where(jobs.c.id == job.id, jobs.c.state == JobState.DUE)
        if tx.execute(still_due.values(state=JobState.DONE, last_error=None, failed_at=None)).rowcount:
            handlers[job.handler](tx, msgspec.json.decode(event.payload, type=kind))


def _tell_together(tx: Tx, told: list[_Told]) -> list[_Told]:
    """Run the handlers of many events, each in a savepoint; give what is left or has failed."""
    alone, together = list[_Told](), dict[BatchHandler, list[_Told]]()
    for each in told:
        if isinstance(each.handler, BatchHandler):
            together.setdefault(each.handler, []).append(each)
        else:
            alone.append(each)
    for handler, some in together.items():
        try:
            with savepoint(tx):
                handler.run(tx, [msgspec.json.decode(each.event.payload, type=each.kind) for each in some])
        except Exception as error:  # found again, and put down to the event at fault, when each has its job
            logger().warning("outbox.failed_together", handler=some[0].name, error_at=where(error))
            alone += some
    return alone


async def drain(db: Database, after: After, limit: int = 200) -> int:
    """Run jobs that are due, once; say how many, so call again until it is 0."""
    return await Drain(after, limit).run_batch(db)


def _put_off(tx: Tx, job: Job) -> None:
    """Leave a job to a release that knows its handler; that was no try."""
    values = {"due_at": tx.now + LATER, "attempts": job.attempts, "last_error": UNKNOWN}
    tx.execute(update(jobs).where(DUE, jobs.c.id == job.id).values(**values))


def _note_failure(tx: Tx, job: Job, error: Exception) -> None:
    tries = job.attempts + 1
    dead = tries > len(RETRY_AFTER)
    wait = timedelta(seconds=RETRY_AFTER[min(tries, len(RETRY_AFTER)) - 1])
    state = JobState.DEAD if dead else JobState.DUE
    values = {"state": state, "due_at": tx.now + wait, "last_error": where(error)}
    since = func.coalesce(jobs.c.failed_at, literal(tx.now, Instant))
    tx.execute(update(jobs).where(DUE, jobs.c.id == job.id).values(**values, failed_at=since))
