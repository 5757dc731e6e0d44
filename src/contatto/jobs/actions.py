"""List, replay and dismiss failed background work, and load metrics for monitoring."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

import msgspec

from contatto.crm.actions.targets import load_standings
from contatto.crm.store.deliveries import list_all_targets
from contatto.inbox.store.conversations import count_receipts
from contatto.jobs.rules import FailedCounts, FailedWork, Gauge, Replayed, Sample, ids_in, read_id
from contatto.kit import errors
from contatto.kit.db.tx import Tx, in_time
from contatto.kit.errors import Refused
from contatto.kit.outbound.model import OutboundRequest, RequestState
from contatto.kit.outbound.queue import (
    OutboundKind,
    count_failed_jobs,
    count_requests,
    dismiss_request,
    find_failed_job,
    list_dead_jobs,
    list_failed_jobs,
    replay_request,
)
from contatto.kit.outbox import count_dead_jobs, count_waiting, find_oldest_waiting, list_payloads
from contatto.signals.actions import load_signal_ledger
from contatto.signals.store import list_signal_businesses

type Kinds = Mapping[str, OutboundKind]

REPLAY_BATCH: Final = 100
"""Dead letters that one batch reads."""


def list_failed_work(tx: Tx, business_id: str, limit: int) -> list[FailedWork]:
    """Return failed work, dead letters first, both parts latest first."""
    return _describe(tx, list_failed_jobs(tx, business_id, limit))


def count_failed_work(tx: Tx, business_id: str) -> FailedCounts:
    counts = count_failed_jobs(tx, business_id)
    return FailedCounts(dead=counts.get(RequestState.DEAD, 0), waiting=counts.get(RequestState.DUE, 0))


def load_failed_work(tx: Tx, business_id: str, failed_id: str) -> FailedWork:
    """Load one piece of failed work.

    Raises:
        Refused: NOT_FOUND.
    """
    return _describe(tx, [_load_job(tx, business_id, failed_id)])[0]


def replay_failed_work(tx: Tx, kinds: Kinds, business_id: str, failed_id: str) -> None:
    """Replay failed work with fresh attempts.

    Raises:
        Refused: NOT_FOUND; CONFLICT while it is being sent; a reason of the request, such as a closed window.
    """
    replay_request(tx, kinds, _load_job(tx, business_id, failed_id))


def dismiss_failed_work(tx: Tx, kinds: Kinds, business_id: str, failed_id: str) -> None:
    """Dismiss failed work.

    Raises:
        Refused: NOT_FOUND; CONFLICT while it is being sent.
    """
    dismiss_request(tx, kinds, _load_job(tx, business_id, failed_id))


def replay_dead_work(tx: Tx, kinds: Kinds, business_id: str, after: int) -> Replayed:
    """Replay a batch of dead letters after an id; call again with ``last`` until it is None.

    A request that may not be sent, such as a late reply, stays as it is.
    """
    replayed = refused = 0
    last = None
    for job in in_time(list_dead_jobs(tx, business_id, after, REPLAY_BATCH)):
        last = job.id
        try:
            with tx.connection.begin_nested():
                replay_request(tx, kinds, job)
            replayed += 1
        except Refused:
            refused += 1
    return Replayed(replayed, refused, last)


def _load_job(tx: Tx, business_id: str, failed_id: str) -> OutboundRequest:
    job = find_failed_job(tx, business_id, read_id(failed_id))
    if job is None:
        raise Refused(errors.NOT_FOUND, "Failed job not found.")
    return job


def _describe(tx: Tx, jobs: list[OutboundRequest]) -> list[FailedWork]:
    payloads = list_payloads(tx, [job.event_seq for job in jobs if job.event_seq is not None])
    return [
        FailedWork(
            id=f"job-{job.id}",
            name=job.kind,
            about=(("subject", job.subject),)
            if job.event_seq is None
            else ids_in(msgspec.json.decode(payloads[job.event_seq], type=dict)),
            destination=job.destination,
            reason=job.reason,
            is_dead=job.state is RequestState.DEAD,
            attempts=job.attempts,
            failed_at=job.failed_at,
            next_at=None if job.state is RequestState.DEAD else job.due_at,
        )
        for job in jobs
    ]


_STATES = ("to_come", "due", "sent", "verified", "dead")
_SIGNAL_STATES = ("due", "sent", "withheld", "dead")


def load_gauges(tx: Tx) -> list[Gauge]:
    """Load all gauges in one transaction: so what adds up in the ledger adds up here."""
    counts, age_s = count_receipts(tx, None), _age_s(tx, find_oldest_waiting(tx))
    states = ("received", "waiting", "stored", "merged", "refused")
    intake = tuple(Sample(getattr(counts, state), (("state", state),)) for state in states)
    return [
        Gauge("intake", "What came in from platforms and chats; received is the sum of the others.", intake),
        *_load_crm(tx),
        *_load_signals(tx),
        Gauge("outbox_waiting", "Events and jobs that wait for the worker.", (Sample(count_waiting(tx)),)),
        Gauge("outbox_oldest_seconds", "How long the oldest of them waits.", (Sample(age_s),)),
        Gauge("outbox_dead", "Jobs that wait for a person.", (Sample(count_dead_jobs(tx)),)),
        *_load_outbound(tx),
    ]


def _load_crm(tx: Tx) -> Iterator[Gauge]:
    targets = list_all_targets(tx)
    leads: list[Sample] = []
    ages: list[Sample] = []
    for business_id in sorted({target.business_id for target in targets}):
        business_targets = [target for target in targets if target.business_id == business_id]
        for row in load_standings(tx, business_id, business_targets):
            labels = (("target", str(row.target.number)), ("connector", row.target.connector))
            leads += [Sample(getattr(row.counts, name), (*labels, ("state", name))) for name in _STATES]
            ages.append(Sample(_age_s(tx, row.counts.due_since), labels))
    yield Gauge("crm_leads", "Leads by how far they are in each linked CRM.", tuple(leads))
    yield Gauge("crm_oldest_due_seconds", "How long the oldest delivery to each CRM waits.", tuple(ages))


def _age_s(tx: Tx, since: datetime | None) -> float:
    return max(0.0, (tx.now - since).total_seconds()) if since else 0.0


def _load_signals(tx: Tx) -> Iterator[Gauge]:
    signals: list[Sample] = []
    ages: list[Sample] = []
    for business_id in list_signal_businesses(tx):
        for row in load_signal_ledger(tx, business_id):
            labels = (("account", row.account.id), ("platform", row.account.platform.value))
            signals += [
                Sample(getattr(row.counts, name), (*labels, ("state", name))) for name in _SIGNAL_STATES
            ]
            ages.append(Sample(_age_s(tx, row.counts.due_since), labels))
    yield Gauge("signals", "Signals to ad platforms by what became of them.", tuple(signals))
    yield Gauge(
        "signals_oldest_due_seconds", "How long the oldest signal to each account waits.", tuple(ages)
    )


def _load_outbound(tx: Tx) -> Iterator[Gauge]:
    rows = count_requests(tx)
    counts = Counter({(row.kind, row.state.value): row.count for row in rows})
    samples = [
        Sample(count, (("kind", kind), ("state", state))) for (kind, state), count in sorted(counts.items())
    ]
    yield Gauge("outbound_requests", "Requests to outside systems that are due or dead.", tuple(samples))
    late = [
        Sample(_age_s(tx, row.due_since), (("kind", row.kind),)) for row in rows if row.due_since is not None
    ]
    yield Gauge("outbound_late_seconds", "How long after its time the oldest due request is.", tuple(late))
