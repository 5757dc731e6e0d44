"""Work that failed for good: what no request alone brings about, made by the machines that give it up."""

import asyncio
from typing import Any

from sqlalchemy import select, update

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id
from contatto.kit.outbound.machine import LEASE
from contatto.kit.outbound.model import OutboundRequest, RequestState, SendFailure
from contatto.kit.outbound.queue import jobs, list_failed_jobs
from contatto.kit.outbox import Drain, emit
from contatto.leads.model import LeadRemoved
from contatto.subscriptions import actions as notices
from contatto.subscriptions.model import Entity, NewSubscription
from contatto.subscriptions.rules import destination_of
from tests.outbound import answer, start_request

MESSAGE_PUSH = notices.PUSH_KINDS[Entity.DIRECT_MESSAGE]


def broken(_tx: Tx, _event: Any) -> None:
    raise LookupError("+65 8123 4567 was not found")  # an error may quote what people wrote


def fail_job(db: Database, business_id: str) -> str:
    """A handler of an event fails until it is given up; give the id of the job."""
    removed = LeadRemoved(business_id, new_id(), new_id())
    db.write_now(lambda tx: emit(tx, business_id, removed))
    while True:
        drain = Drain({LeadRemoved: {"forget_lead_pushes": broken}})
        asyncio.run(drain.run_batch(db))
        last = db.read_now(lambda tx: max(list_failed_jobs(tx, business_id, 99), key=lambda job: job.id))
        if last.state is RequestState.DEAD:
            return f"job-{last.id}"
        soon = update(jobs).where(jobs.c.id == last.id)
        db.write_now(lambda tx, soon=soon: tx.execute(soon.values(due_at=tx.now)))  # type: ignore[misc]


def fail_push(
    db: Database,
    business_id: str,
    url: str = "https://push.example.com/x",
    trouble: SendFailure = SendFailure.FORBIDDEN,
) -> str:
    """A push of a message has an address that is not allowed; give the id of the request."""

    def work(tx: Tx) -> str:
        new = NewSubscription(Entity.DIRECT_MESSAGE, "app-f", "secret", url)
        webhook = notices.set_webhook(tx, business_id, new)
        notices.queue_push(tx, webhook, new_id(), b'{"entry": []}')
        there = jobs.c.destination == destination_of(url)
        mine = select(jobs).where(there, jobs.c.business_id == business_id)
        (request,) = tx.list(OutboundRequest, mine.order_by(jobs.c.id.desc()).limit(1))
        claimed = start_request(tx, MESSAGE_PUSH, request, tx.now + LEASE, float)
        assert claimed is not None
        answer(tx, MESSAGE_PUSH, claimed, trouble)
        return f"job-{request.id}"

    return db.write_now(work)
