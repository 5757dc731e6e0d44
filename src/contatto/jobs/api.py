"""Prometheus endpoint, protected by the operator's token and disabled without one."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from contatto.accounts.auth import HotRoute
from contatto.accounts.model import Access, Credential
from contatto.crm.actions.targets import load_standings
from contatto.crm.store.deliveries import list_all_targets
from contatto.inbox.store.conversations import count_receipts
from contatto.jobs.rules import CONTENT_TYPE, Gauge, Sample, may_scrape, write_gauges
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.outbound.queue import count_requests
from contatto.kit.outbox import count_dead_jobs, count_waiting, find_oldest_waiting
from contatto.signals.actions import load_signal_ledger
from contatto.signals.store import list_signal_businesses
from contatto.ui.requests import context_of


async def show_metrics(request: Request) -> Response:
    """Return the gauges in the Prometheus text format; 404 while no token is set."""
    context = context_of(request)
    token = context.settings.metrics_token
    if not token:
        raise Refused(errors.NOT_FOUND)
    if not may_scrape(token, request.headers.get("authorization", "")):
        challenge = {"WWW-Authenticate": "Bearer"}
        return PlainTextResponse("The token of metrics_token is needed.\n", 401, challenge)
    gauges = await context.db.read_long(load_gauges)
    return Response(write_gauges(gauges), media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})


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


routes: Final = [HotRoute("GET", "/metrics", show_metrics, Access(Credential.ANYBODY))]
