"""Draining the outbox: new events are handed to their handlers, and the jobs that are due are run.

Each new event gets one job for each of its handlers. A job runs in a savepoint or a transaction of its own
together with its "done". Businesses are served in turn, so that one with thousands of events holds up no
other; a batch holds the database for some 50 ms at most, if no handler takes longer.

A job carries the name that its handler has in the table, so code may move while jobs wait. What has a name
that is not in the table, since another release made it, waits for a release that knows it.
"""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import and_, func, literal, select, update

from contatto.kit.batches import in_time
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Instant
from contatto.kit.handlers import Handler, interest
from contatto.kit.log import logger, where
from contatto.kit.outbox import DUE, FRESH, UNKNOWN, Job, JobState, StoredEvent, event_name, events, jobs
from contatto.kit.turns import Queue, Turns

type After = Mapping[type[Any], Mapping[str, Handler]]
"""For each event its handlers by their names, which are kept in jobs and must never change."""

RETRY_AFTER: Final = (5, 60, 300, 1800, 7200, 21600)
"""Seconds to wait before each further try; when they are used up the job is dead."""
LEASE: Final = timedelta(seconds=60)
LATER: Final = timedelta(minutes=10)
"""How long a job waits whose handler is not known here, before it is looked at again."""
FANNED_OUT: Final = 100
"""New events that get their jobs together."""
CLAIMED: Final = 50
"""Jobs that are claimed together: few, so that who comes next does not wait for long."""


class UnknownHandler(Exception):
    """A job names a handler that is not in the table of this release."""


class Drain:
    """Hands new events to their handlers and runs the jobs that are due, in turn by business.

    Args:
        after: the handlers of each event.
        claimed: jobs that are claimed together.
    """

    def __init__(self, after: After, claimed: int = CLAIMED) -> None:
        self._kinds = {event_name(kind): (kind, handlers) for kind, handlers in after.items()}
        self._claimed = claimed
        self._events = Turns(Queue(events, and_(FRESH, events.c.name.in_(self._kinds)), events.c.at))
        self._jobs = Turns(Queue(jobs, DUE, jobs.c.due_at))

    @property
    def tables(self) -> frozenset[str]:
        """Whose changes may bring work."""
        return self._events.queue.tables | self._jobs.queue.tables

    def is_due(self, tx: Tx) -> bool:
        """Whether there is anything to do."""
        return self._events.queue.is_due(tx) or self._jobs.queue.is_due(tx)

    async def run_batch(self, db: Database) -> int:
        """Give new events their jobs and run some jobs that are due.

        Returns:
            How many jobs ran; call again until it is 0.
        """
        if not await db.read(self.is_due):
            return 0
        claimed = await db.write(self._claim, in_background=True)
        waiting = claimed
        while waiting:
            done = await db.write(partial(self._run_some, waiting=waiting), in_background=True)
            waiting = waiting[done:]
        return len(claimed)

    async def run_all(self, db: Database) -> int:
        """Run all that is due; say how many jobs that were."""
        done = 0
        while count := await self.run_batch(db):
            done += count
        return done

    def _claim(self, tx: Tx) -> list[tuple[Job, StoredEvent]]:
        self._fan_out(tx)

        def list_jobs(business_id: str, limit: int) -> list[Job]:
            return self._jobs.queue.list(tx, Job, business_id, limit)

        claimed = self._jobs.list_rows(tx, self._claimed, list_jobs)
        if not claimed:
            return []
        self._jobs.served(claimed[-1].business_id)
        lease = update(jobs).where(jobs.c.id.in_([job.id for job in claimed]))
        tx.execute(lease.values(due_at=tx.now + LEASE, attempts=jobs.c.attempts + 1))
        of = select(events).where(events.c.seq.in_({job.event_seq for job in claimed}))
        found = {event.seq: event for event in tx.list(StoredEvent, of)}
        return [(job, found[job.event_seq]) for job in claimed]

    def _fan_out(self, tx: Tx) -> None:
        def list_fresh(business_id: str, limit: int) -> list[StoredEvent]:
            return self._events.queue.list(tx, StoredEvent, business_id, limit)

        fresh = self._events.list_rows(tx, FANNED_OUT, list_fresh)
        if not fresh:
            return
        self._events.served(fresh[-1].business_id)
        is_interested = interest(tx)
        new = {"state": JobState.DUE, "attempts": 0, "due_at": tx.now}
        rows = [
            {"business_id": event.business_id, "event_seq": event.seq, "handler": name} | new
            for event in sorted(fresh, key=lambda event: event.seq)
            for name, handler in self._kinds[event.name][1].items()
            if is_interested(handler, event.business_id)
        ]
        if rows:
            tx.execute(tx.upsert(jobs).on_conflict_do_nothing(), rows)
        tx.execute(
            update(events).where(events.c.seq.in_([event.seq for event in fresh])).values(fanned_out=True)
        )

    def _run_some(self, tx: Tx, waiting: list[tuple[Job, StoredEvent]]) -> int:
        """Run jobs in their order until the time is up; say how many.

        On PostgreSQL each has a transaction of its own: it keeps its rows locked for no other.
        """
        done = 0
        for job, event in in_time(waiting[:1] if tx.locks_rows else waiting):
            try:
                with tx.connection.begin_nested():
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
