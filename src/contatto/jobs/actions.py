"""List failed background work, and replay or dismiss it, one by one or all."""

from collections.abc import Mapping
from typing import Final

import msgspec

from contatto.jobs.rules import FailedCounts, FailedWork, Replayed, Source, ids_in, read_id
from contatto.kit import errors, outbox
from contatto.kit.clock import in_time
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.outbound import store
from contatto.kit.outbound.model import OutboundRequest, RequestState
from contatto.kit.outbound.steps import OutboundKind, dismiss_request, replay_request
from contatto.kit.outbox import FailedJob, JobState

type Kinds = Mapping[str, OutboundKind]

REPLAY_BATCH: Final = 100
"""Dead requests that one batch reads."""


def list_failed_work(tx: Tx, business_id: str, limit: int) -> list[FailedWork]:
    """Return failed work, dead letters first, both parts latest first."""
    failed_work = [_from_job(job) for job in outbox.list_failed_jobs(tx, business_id, limit)]
    failed_work += [_from_request(request) for request in store.list_failed_requests(tx, business_id, limit)]
    failed_work.sort(
        key=lambda failed: failed.failed_at.timestamp() if failed.failed_at else 0.0, reverse=True
    )
    return sorted(failed_work, key=lambda failed: not failed.is_dead)[:limit]


def count_failed_work(tx: Tx, business_id: str) -> FailedCounts:
    job_counts = outbox.count_failed_jobs(tx, business_id)
    request_counts = store.count_failed_requests(tx, business_id)
    return FailedCounts(
        dead=job_counts.get(JobState.DEAD, 0) + request_counts.get(RequestState.DEAD, 0),
        waiting=job_counts.get(JobState.DUE, 0) + request_counts.get(RequestState.DUE, 0),
    )


def load_failed_work(tx: Tx, business_id: str, failed_id: str) -> FailedWork:
    """Load one piece of failed work.

    Raises:
        Refused: NOT_FOUND.
    """
    source, number = read_id(failed_id)
    if source is Source.REQUEST:
        return _from_request(_load_request(tx, business_id, number))
    job = outbox.find_failed_job(tx, business_id, number)
    if job is None:
        raise Refused(errors.NOT_FOUND, "Failed job not found.")
    return _from_job(job)


def replay_failed_work(tx: Tx, kinds: Kinds, business_id: str, failed_id: str) -> None:
    """Replay failed work with fresh attempts.

    Raises:
        Refused: NOT_FOUND; CONFLICT while it is being sent; a reason of the request, such as a closed window.
    """
    source, number = read_id(failed_id)
    if source is Source.REQUEST:
        replay_request(tx, kinds, _load_request(tx, business_id, number))
    elif not outbox.replay_job(tx, business_id, number):
        raise Refused(errors.NOT_FOUND, "Failed job not found.")


def dismiss_failed_work(tx: Tx, kinds: Kinds, business_id: str, failed_id: str) -> None:
    """Dismiss failed work.

    Raises:
        Refused: NOT_FOUND; CONFLICT while it is being sent.
    """
    source, number = read_id(failed_id)
    if source is Source.REQUEST:
        dismiss_request(tx, kinds, _load_request(tx, business_id, number))
    elif not outbox.dismiss_job(tx, business_id, number):
        raise Refused(errors.NOT_FOUND, "Failed job not found.")


def replay_dead_jobs(tx: Tx, business_id: str) -> Replayed:
    """Replay all dead letters of the outbox."""
    return Replayed(outbox.replay_dead(tx, business_id), 0)


def replay_dead_requests(tx: Tx, kinds: Kinds, business_id: str, after: int) -> Replayed:
    """Replay a batch of dead requests after an id; call again with ``last`` until it is None.

    A request that may not be sent, such as a late reply, stays as it is.
    """
    replayed = refused = 0
    last = None
    for request in in_time(store.list_dead_requests(tx, business_id, after, REPLAY_BATCH)):
        last = request.id
        try:
            with tx.connection.begin_nested():
                replay_request(tx, kinds, request)
            replayed += 1
        except Refused:
            refused += 1
    return Replayed(replayed, refused, last)


def dismiss_dead_work(tx: Tx, business_id: str) -> int:
    """Dismiss all dead letters, not work with further attempts; return their number."""
    return outbox.dismiss_dead(tx, business_id) + store.dismiss_dead_requests(tx, business_id)


def _load_request(tx: Tx, business_id: str, number: int) -> OutboundRequest:
    request = store.find_failed_request(tx, business_id, number)
    if request is None:
        raise Refused(errors.NOT_FOUND, "Failed job not found.")
    return request


def _from_job(job: FailedJob) -> FailedWork:
    is_dead = job.state is JobState.DEAD
    return FailedWork(
        id=f"{Source.JOB}-{job.id}",
        name=job.handler,
        about=ids_in(msgspec.json.decode(job.payload, type=dict)),
        destination="",
        reason=job.last_error,
        is_dead=is_dead,
        attempts=job.attempts,
        failed_at=job.failed_at,
        next_at=None if is_dead else job.due_at,
    )


def _from_request(request: OutboundRequest) -> FailedWork:
    is_dead = request.state is RequestState.DEAD
    return FailedWork(
        id=f"{Source.REQUEST}-{request.id}",
        name=request.kind,
        about=(("subject", request.subject),),
        destination=request.destination,
        reason=request.reason,
        is_dead=is_dead,
        attempts=request.attempts,
        failed_at=request.failed_at,
        next_at=None if is_dead else request.due_at,
    )
