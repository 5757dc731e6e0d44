"""Prometheus endpoint, protected by the operator's token and disabled without one."""

from collections import Counter
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
    """Load all gauges in one transaction, so that sums of the ledger agree."""
    counts, age_s = count_receipts(tx, None), _age_s(tx, find_oldest_waiting(tx))
    states = ("received", "waiting", "stored", "merged", "refused")
    intake = [Sample(getattr(counts, state), (("state", state),)) for state in states]
    targets = list_all_targets(tx)
    leads, lead_ages, signals, signal_ages = list[Sample](), list[Sample](), list[Sample](), list[Sample]()
    for business_id in sorted({target.business_id for target in targets}):
        business_targets = [target for target in targets if target.business_id == business_id]
        for row in load_standings(tx, business_id, business_targets):
            labels = (("target", str(row.target.number)), ("connector", row.target.connector))
            leads += [Sample(getattr(row.counts, name), (*labels, ("state", name))) for name in _STATES]
            lead_ages.append(Sample(_age_s(tx, row.counts.due_since), labels))
    for business_id in list_signal_businesses(tx):
        for standing in load_signal_ledger(tx, business_id):
            account, values = standing.account, standing.counts
            labels = (("account", account.id), ("platform", account.platform.value))
            signals += [Sample(getattr(values, name), (*labels, ("state", name))) for name in _SIGNAL_STATES]
            signal_ages.append(Sample(_age_s(tx, values.due_since), labels))
    rows = count_requests(tx)
    requests = [
        Sample(count, (("kind", kind), ("state", state)))
        for (kind, state), count in sorted(
            Counter({(row.kind, row.state.value): row.count for row in rows}).items()
        )
    ]
    late = [
        Sample(_age_s(tx, row.due_since), (("kind", row.kind),)) for row in rows if row.due_since is not None
    ]
    return [
        Gauge("intake", "What came in from platforms and chats; received is the sum of the others.", intake),
        Gauge("crm_leads", "Leads by how far they are in each linked CRM.", leads),
        Gauge("crm_oldest_due_seconds", "How long the oldest delivery to each CRM waits.", lead_ages),
        Gauge("signals", "Signals to ad platforms by what became of them.", signals),
        Gauge("signals_oldest_due_seconds", "How long the oldest signal to each account waits.", signal_ages),
        Gauge("outbox_waiting", "Events and jobs that wait for the worker.", [Sample(count_waiting(tx))]),
        Gauge("outbox_oldest_seconds", "How long the oldest of them waits.", [Sample(age_s)]),
        Gauge("outbox_dead", "Jobs that wait for a person.", [Sample(count_dead_jobs(tx))]),
        Gauge("outbound_requests", "Requests to outside systems that are due or dead.", requests),
        Gauge("outbound_late_seconds", "How long after its time the oldest due request is.", late),
    ]


def _age_s(tx: Tx, since: datetime | None) -> float:
    return max(0.0, (tx.now - since).total_seconds()) if since else 0.0


routes: Final = [HotRoute("GET", "/metrics", show_metrics, Access(Credential.ANYBODY))]
