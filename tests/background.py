"""The background's work without a worker: a test says when it happens, and how much of it."""

import asyncio
from typing import Any

from contatto import wiring
from contatto.kit.db.database import Database
from contatto.kit.drain import drain
from contatto.kit.making import Making, make_all
from contatto.kit.outbox import count_waiting
from contatto.leads.actions import jobs

PER_BUSINESS = 2
"""Jobs on leads that run at a time."""


def work_off(db: Database, rounds: int = 1_000) -> int:
    """Start the jobs that may run and drain the outbox, again and again; say how often."""

    async def work_on() -> int:
        for done in range(rounds):
            started = await db.write(lambda tx: jobs.start_waiting_jobs(tx, PER_BUSINESS))
            drained = await drain(db, wiring.AFTER)
            if not (started or drained or db.read_now(count_waiting)):
                return done
        return rounds

    return asyncio.run(work_on())


def make_files(db: Database, kind: Making[Any]) -> int:
    """Make the files of a kind that wait; say of how many businesses they were."""
    return asyncio.run(make_all(db, kind))
