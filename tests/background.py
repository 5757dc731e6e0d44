"""The background's work without a worker: a test says when it happens, and how much of it."""

import asyncio

from contatto import wiring
from contatto.kit.background import Installation
from contatto.kit.db.database import Database
from contatto.kit.exports import OPEN_JOBS, ExportFormats, export_next
from contatto.kit.fair_queue import Turns
from contatto.kit.outbound.client import Client
from contatto.kit.outbound.machine import OutboundMachine
from contatto.kit.outbox import Drain, count_waiting
from contatto.leads.actions.jobs import start_waiting_jobs
from tests.outbound import finish

PER_BUSINESS = 2
"""Jobs on leads that run at a time."""


def work_off(db: Database, rounds: int = 1_000) -> int:
    """Start the jobs that may run and drain the outbox, again and again; say how often."""

    async def work_on() -> int:
        for done in range(rounds):
            started = await db.write(lambda tx: start_waiting_jobs(tx, PER_BUSINESS))
            drained = await Drain(wiring.AFTER, 200).run_batch(db)
            if not (started or drained or db.read_now(count_waiting)):
                return done
        return rounds

    return asyncio.run(work_on())


def make_files(db: Database) -> int:
    """Make all files that wait; say how many."""
    return asyncio.run(export_all(db, wiring.EXPORTS))


async def export_all(db: Database, formats: ExportFormats) -> int:
    done = 0
    while businesses := await db.read(Turns(OPEN_JOBS).list_businesses):
        done += sum([await export_next(db, formats, business_id) for business_id in businesses])
    return done


async def do_all_due(db: Database, installation: Installation) -> int:
    """Do all that is due here now, one kind after the other, and send nothing; say how much that was."""
    done = 0
    for work in installation.queued_work(1):
        done += await work.run(db)
    done += await Drain(installation.after).run_all(db)
    done += await export_all(db, installation.exports)
    for job in installation.periodic_jobs():
        await job.run(db)
    return done


async def send_all_due(db: Database, installation: Installation, client: Client) -> int:
    """Send what is due at outside systems, and wait for it; say how many requests that were."""
    machine = OutboundMachine(db, client, installation.outbound, chance=float)
    sent = await machine.send_due()
    await finish(machine)
    return sent
