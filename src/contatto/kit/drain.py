"""Draining the outbox: new events are handed to their handlers, and the jobs that are due are run.

Handlers of many events are told of all new ones at once, and what they do is kept together with the mark that
these were handed out. For each other handler an event gets a job, which runs in a savepoint or a transaction
of its own together with its "done". Businesses are served in turn, so that one with thousands of events holds
up no other; a batch holds the database for some 50 ms at most, if no handler takes longer.

A job carries the name that its handler has in the table, so code may move while jobs wait. What has a name
that is not in the table, since another release made it, waits for a release that knows it.
"""

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, and_, false, func, literal, literal_column, select, update

from contatto.kit.clock import in_time
from contatto.kit.db.database import Database
from contatto.kit.db.hot import insert_new, update_rows
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Instant
from contatto.kit.db.within import within
from contatto.kit.db.writer import savepoint
from contatto.kit.handlers import After, Handler, Together, interest
from contatto.kit.log import logger, where
from contatto.kit.outbox import DUE, FRESH, UNKNOWN, Job, JobState, StoredEvent, event_name, events, jobs
from contatto.kit.turns import Queue, Turns

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
    alone, together = list[_Told](), dict[Together, list[_Told]]()
    for each in told:
        if isinstance(each.handler, Together):
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
