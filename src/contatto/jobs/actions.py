"""List, replay and dismiss failed background work."""

from collections.abc import Mapping
from typing import Final

import msgspec
import sqlalchemy as sa

from contatto.jobs.rules import FailedCounts, FailedWork, Replayed, ids_in, read_id
from contatto.kit.db.tx import Tx, in_time
from contatto.kit.errors import Refused, check_found
from contatto.kit.outbound.model import OutboundRequest, RequestState
from contatto.kit.outbound.queue import (
    FAILED,
    OutboundKind,
    jobs,
    list_failed_jobs,
    replay_request,
)
from contatto.kit.outbox import events

type Kinds = Mapping[str, OutboundKind]

REPLAY_BATCH: Final = 100
"""Dead letters that one batch reads."""


def list_failed_work(tx: Tx, business_id: str, limit: int) -> list[FailedWork]:
    """Return failed work, dead letters first, both parts latest first."""
    return _describe(tx, list_failed_jobs(tx, business_id, limit))


def count_failed_work(tx: Tx, business_id: str) -> FailedCounts:
    states = sa.select(jobs.c.state, sa.func.count().label("number")).group_by(jobs.c.state)
    rows = tx.execute(states.where(FAILED, jobs.c.business_id == business_id)).mappings()
    counts = {row["state"]: row["number"] for row in rows}
    return FailedCounts(dead=counts.get(RequestState.DEAD, 0), waiting=counts.get(RequestState.DUE, 0))


def load_failed_work(tx: Tx, business_id: str, failed_id: str) -> FailedWork:
    """Load one piece of failed work, with its job locked; raises NOT_FOUND."""
    one = FAILED, jobs.c.business_id == business_id, jobs.c.id == read_id(failed_id)
    job = tx.find(OutboundRequest, sa.select(jobs).where(*one).with_for_update())
    return _describe(tx, [check_found(job, "Failed job not found.")])[0]


def replay_dead_work(tx: Tx, kinds: Kinds, business_id: str, after: int) -> Replayed:
    """Replay a batch of dead letters after an id; call again with ``last`` until it is None.

    A request that may not be sent, such as a late reply, stays as it is.
    """
    replayed = refused = 0
    last = None
    dead = FAILED, jobs.c.state == RequestState.DEAD, jobs.c.business_id == business_id, jobs.c.id > after
    oldest = sa.select(jobs).where(*dead).order_by(jobs.c.id).limit(REPLAY_BATCH).with_for_update()
    for job in in_time(tx.list(OutboundRequest, oldest)):
        last = job.id
        try:
            with tx.connection.begin_nested():
                replay_request(tx, kinds, job)
            replayed += 1
        except Refused:
            refused += 1
    return Replayed(replayed, refused, last)


def _describe(tx: Tx, failed_jobs: list[OutboundRequest]) -> list[FailedWork]:
    seqs = [job.event_seq for job in failed_jobs if job.event_seq is not None]
    query = sa.select(events.c.seq, events.c.payload).where(events.c.seq.in_(seqs))
    payloads = {row.seq: row.payload for row in tx.execute(query)}
    return [
        FailedWork(
            job,
            (("subject", job.subject),)
            if job.event_seq is None
            else ids_in(msgspec.json.decode(payloads[job.event_seq], type=dict)),
        )
        for job in failed_jobs
    ]
