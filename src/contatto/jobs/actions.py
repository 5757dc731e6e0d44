"""Finding what failed in the background, and replaying or dismissing it, one by one or all."""

from collections.abc import Mapping
from typing import Final

import msgspec

from contatto.jobs.model import FailedCounts, FailedWork, Replayed, Source
from contatto.jobs.rules import ids_in, read_id
from contatto.kit import errors, outbox
from contatto.kit.batches import in_time
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.outbound import dead_letters
from contatto.kit.outbound.kinds import OutboundKind
from contatto.kit.outbound.model import OutboundRequest, RequestState
from contatto.kit.outbound.steps import dismiss_request, replay_request
from contatto.kit.outbox import FailedJob, JobState

type Kinds = Mapping[str, OutboundKind]

AT_ONCE: Final = 100
"""Dead requests that are looked at together."""


def list_failed_work(tx: Tx, business_id: str, limit: int) -> list[FailedWork]:
    """What failed in the background, dead letters first, of each the latest first."""
    found = [_of_job(job) for job in outbox.list_failed_jobs(tx, business_id, limit)]
    found += [_of_request(each) for each in dead_letters.list_failed_requests(tx, business_id, limit)]
    found.sort(key=lambda failed: failed.failed_at.timestamp() if failed.failed_at else 0.0, reverse=True)
    return sorted(found, key=lambda failed: not failed.is_dead)[:limit]


def count_failed_work(tx: Tx, business_id: str) -> FailedCounts:
    of_jobs = outbox.count_failed_jobs(tx, business_id)
    of_requests = dead_letters.count_failed_requests(tx, business_id)
    return FailedCounts(
        dead=of_jobs.get(JobState.DEAD, 0) + of_requests.get(RequestState.DEAD, 0),
        waiting=of_jobs.get(JobState.DUE, 0) + of_requests.get(RequestState.DUE, 0),
    )


def load_failed_work(tx: Tx, business_id: str, failed_id: str) -> FailedWork:
    """One piece of failed work.

    Raises:
        Refused: NOT_FOUND.
    """
    source, number = read_id(failed_id)
    if source is Source.REQUEST:
        return _of_request(_load_request(tx, business_id, number))
    job = outbox.find_failed_job(tx, business_id, number)
    if job is None:
        raise Refused(errors.NOT_FOUND, "Failed job not found.")
    return _of_job(job)


def replay_failed_work(tx: Tx, kinds: Kinds, business_id: str, failed_id: str) -> None:
    """Do failed work again, as if it had never been tried.

    Raises:
        Refused: NOT_FOUND; CONFLICT when it is on its way; what forbids it, such as a closed reply window.
    """
    source, number = read_id(failed_id)
    if source is Source.REQUEST:
        replay_request(tx, kinds, _load_request(tx, business_id, number))
    elif not outbox.replay_job(tx, business_id, number):
        raise Refused(errors.NOT_FOUND, "Failed job not found.")


def dismiss_failed_work(tx: Tx, kinds: Kinds, business_id: str, failed_id: str) -> None:
    """Give failed work up.

    Raises:
        Refused: NOT_FOUND; CONFLICT when it is on its way.
    """
    source, number = read_id(failed_id)
    if source is Source.REQUEST:
        dismiss_request(tx, kinds, _load_request(tx, business_id, number))
    elif not outbox.dismiss_job(tx, business_id, number):
        raise Refused(errors.NOT_FOUND, "Failed job not found.")


def replay_dead_jobs(tx: Tx, business_id: str) -> Replayed:
    """Do all dead letters of the outbox again."""
    return Replayed(outbox.replay_dead(tx, business_id), 0)


def replay_dead_requests(tx: Tx, kinds: Kinds, business_id: str, after: int) -> Replayed:
    """Send some dead letters again, those after one of them; call again with ``last`` until it is None.

    One that may not be sent, such as a reply that came too late, stays as it is.
    """
    done = refused = 0
    last = None
    for request in in_time(dead_letters.list_dead_requests(tx, business_id, after, AT_ONCE)):
        last = request.id
        try:
            with tx.connection.begin_nested():
                replay_request(tx, kinds, request)
            done += 1
        except Refused:
            refused += 1
    return Replayed(done, refused, last)


def dismiss_dead_work(tx: Tx, business_id: str) -> int:
    """Give all dead letters up; say how many. What is still tried again goes on."""
    return outbox.dismiss_dead(tx, business_id) + dead_letters.dismiss_dead_requests(tx, business_id)


def _load_request(tx: Tx, business_id: str, number: int) -> OutboundRequest:
    request = dead_letters.find_failed_request(tx, business_id, number)
    if request is None:
        raise Refused(errors.NOT_FOUND, "Failed job not found.")
    return request


def _of_job(job: FailedJob) -> FailedWork:
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


def _of_request(request: OutboundRequest) -> FailedWork:
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
