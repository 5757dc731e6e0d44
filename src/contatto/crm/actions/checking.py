"""Holding a mapping against the CRM's own description: when it is linked, daily, and after a refusal."""

from dataclasses import dataclass
from typing import Final

from contatto.crm.actions.running import connector_of, publish_connection, work_kind
from contatto.crm.actions.scheduling import destination_of, narrow_target
from contatto.crm.model.operations import Describe, Described, Operation, Refused, Reply
from contatto.crm.model.targets import Target, TargetState
from contatto.crm.rules.mapping import check_mapping
from contatto.crm.rules.plans import CHECK, CHECK_EVERY_S, CHECK_PLAN
from contatto.crm.store import targets as store
from contatto.kit.db.tx import Tx
from contatto.kit.outbound.model import (
    Failed,
    Later,
    NewRequest,
    OutboundRequest,
    Outcome,
    RetryPlan,
)
from contatto.kit.outbound.steps import OutboundKind
from contatto.kit.outbound.store import hasten_requests, list_requests_of, poll_again, queue_request

UNDESCRIBED: Final = "undescribed"
_ASKED: Final = (TargetState.ACTIVE, TargetState.PAUSED)


@dataclass(frozen=True, slots=True)
class Asking:
    """There is one step only."""


@dataclass(frozen=True, slots=True)
class CheckWork:
    """Ask a CRM which fields it has, again and again."""

    shape: type[Asking] = Asking
    only_reads: bool = True

    def target_of(self, tx: Tx, request: OutboundRequest) -> Target | None:
        target = store.find_target(tx, request.business_id, request.subject)
        return None if target is None or target.state is TargetState.REMOVED else target

    def begin(self, tx: Tx, request: OutboundRequest, target: Target) -> Asking | Outcome:
        return Asking()

    def operation(self, course: Asking) -> Operation:
        return Describe()

    def turn(
        self, tx: Tx, request: OutboundRequest, target: Target, course: Asking, reply: Reply
    ) -> Asking | Outcome:
        if isinstance(reply, Described):
            record_description(tx, target, reply)
            return Later("", CHECK_EVERY_S)
        return Failed(reply.reason if isinstance(reply, Refused) else UNDESCRIBED)

    def hold(self, tx: Tx, request: OutboundRequest) -> None:
        """It is asked again when the target is active."""


def record_description(tx: Tx, target: Target, described: Described) -> None:
    """Keep a CRM's description of its fields, and what the mapping has that it has not."""
    connector = connector_of(tx, target)
    takes_anything = connector is not None and connector.traits.takes_anything
    faults = check_mapping(target.mapping, described.fields, takes_anything=takes_anything)
    store.record_target(tx, target, described=described.fields, described_at=tx.now, faults=faults)
    publish_connection(tx, target)


def find_check(tx: Tx, target: Target) -> OutboundRequest | None:
    """The request that asks a CRM for its fields: when it is due, and why it failed last."""
    requests = list_requests_of(tx, target.business_id, CHECK, [target.id])
    return requests[0] if requests else None


def queue_check(tx: Tx, target: Target) -> None:
    """Ask a CRM for its fields now, and then daily."""
    connector = connector_of(tx, target)
    if connector is not None and connector.traits.describes and target.state in _ASKED:
        queue_kind(tx, target, CHECK, CHECK_PLAN)


def queue_kind(tx: Tx, target: Target, kind: str, plan: RetryPlan) -> None:
    """Make the one request of a kind that concerns a target due now, or once more after what is under way."""
    new = NewRequest(target.business_id, kind, target.id, destination_of(narrow_target(target)))
    requests = list_requests_of(tx, new.business_id, kind, [new.subject])
    for request in requests:
        poll_again(tx, request, plan)
    if not requests:
        queue_request(tx, new, plan)


def hasten_check(tx: Tx, target: Target) -> None:
    """Ask sooner than tomorrow: the CRM did not take what the mapping made."""
    hasten_requests(tx, target.business_id, CHECK, destination_of(narrow_target(target)), tx.now)


def check_kind() -> OutboundKind:
    """Return how a CRM is asked for its fields."""
    return work_kind(CHECK, CheckWork, CHECK_PLAN)
