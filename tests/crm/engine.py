"""CRM sync without a worker or a network: a test lets requests go, and decides what comes of each."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from contatto.crm.actions.deliveries import CrmPorts, release_deliveries, sweep_leads
from contatto.crm.actions.targets import NewTarget, link_crm, map_target
from contatto.crm.model import MappedField, RecordLink, Target
from contatto.crm.registry import CONNECTORS
from contatto.crm.store.deliveries import count_states, find_target, list_records
from contatto.integrations.model import DeliveryState
from contatto.kit.db.tx import Parts, Tx
from contatto.kit.outbound.machine import LEASE
from contatto.kit.outbound.model import Ask, HttpOutcome, HttpRequest, OutboundRequest
from contatto.kit.outbound.queue import list_due
from contatto.kit.settings import Settings
from contatto.leads.ports import LeadPorts
from contatto.wiring import PORTS, outbound_kinds
from tests.crm.memory import MemoryConnector
from tests.outbound import next_step, start_request

STATUSES: Final = (("raw", "New"), ("contacted", "Working"), ("converted", "Won"), ("unqualified", "Lost"))
MAPPING: Final = (
    MappedField("name", "Name"),
    MappedField("email", "Email"),
    MappedField("phone", "Phone"),
    MappedField("status", "State", (*STATUSES, ("qualified", "Working"))),
)
WORDS: Final = {theirs: ours for ours, theirs in STATUSES}
KINDS: Final = outbound_kinds(Settings(base_url="https://contatto.example.com"))
PORTS_WITH_MEMORY: Final = Parts(
    PORTS[LeadPorts],
    replace(PORTS[CrmPorts], connectors={**CONNECTORS, "memory": MemoryConnector()}),
)

type Fate = Callable[[HttpRequest], HttpOutcome]
"""What comes of a request."""


def with_memory(tx: Tx) -> Tx:
    """The transaction with the connector of the CRM in memory."""
    return replace(tx, ports=PORTS_WITH_MEMORY)


def later(tx: Tx, **by: float) -> Tx:
    return replace(tx, now=tx.now + timedelta(**by))


def link(tx: Tx, business_id: str) -> Target:
    """Link the CRM in memory, mapped."""
    new = NewTarget("memory", "", "https://crm.example.com", {"password": "secret"})
    target = link_crm(tx, business_id, new, ())
    map_target(tx, target, MAPPING, WORDS)
    return fresh(tx, target)


def fresh(tx: Tx, target: Target) -> Target:
    found = find_target(tx, target.business_id, target.id)
    assert found is not None
    return found


def claim(tx: Tx) -> list[tuple[OutboundRequest, Ask]]:
    """Claim what is due, as the machine does."""
    begun = [
        start_request(tx, KINDS[request.kind], request, tx.now + LEASE, float)
        for requests in list_due(tx, "", (), 99, 99).values()
        for request in requests
    ]
    return [each for each in begun if each is not None]


def settle(tx: Tx, claimed: tuple[OutboundRequest, Ask], fate: Fate) -> None:
    """Send one step after the other until there is an outcome."""
    request, ask = claimed
    following: Ask | None = ask
    while following is not None:
        exchange = fate(following.request)
        following = next_step(tx, KINDS[request.kind], request, (following, exchange), float)


def run_all(tx: Tx, fate: Fate, rounds: int = 50) -> None:
    """Let all go that is due, and what follows from it."""
    for _ in range(rounds):
        if not run_round(tx, fate):
            return
    raise AssertionError("it never ends")


def run_round(tx: Tx, fate: Fate) -> int:
    """Let some go that are due; say how many requests that were."""
    sweep_leads(tx)
    release_deliveries(tx)
    claimed = claim(tx)
    for each in claimed:
        settle(tx, each, fate)
    return len(claimed)


def record(tx: Tx, target: Target, lead_id: str) -> RecordLink:
    (found,) = list_records(tx, target.business_id, target_id=target.id, lead_id=lead_id)
    return found


def counts(tx: Tx, target: Target) -> dict[DeliveryState, int]:
    return count_states(tx, target.business_id).get(target.id, {})
