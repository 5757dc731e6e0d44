"""Erasing people in the CRMs that had them, proven by a read that finds nothing."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from contatto.crm.actions.running import connector_of, work_kind
from contatto.crm.actions.scheduling import narrow_target, queue_erasure
from contatto.crm.model.deliveries import Erasure, ErasureState
from contatto.crm.model.operations import Operation, Reply
from contatto.crm.model.targets import Target, TargetState
from contatto.crm.rules import erasing as rules
from contatto.crm.rules.erasing import EraseCourse, EraseTurn, Settled, TryLater
from contatto.crm.rules.plans import ERASURE, ERASURE_PLAN
from contatto.crm.store import erasures as store
from contatto.crm.store.targets import find_target
from contatto.kit.db.tx import Tx
from contatto.kit.outbound.model import (
    Done,
    Failed,
    Later,
    NotNow,
    OutboundRequest,
    Outcome,
    RequestState,
)
from contatto.kit.outbound.steps import OutboundKind

ARRIVES_WITHIN: Final = timedelta(seconds=90)
"""What was on its way when a person was erased has arrived by then, or never will: its lease is over."""


@dataclass(frozen=True, slots=True)
class ErasureWork:
    """The sequence of an erasure."""

    shape: type[EraseCourse] = EraseCourse
    only_reads: bool = False

    def target_of(self, tx: Tx, request: OutboundRequest) -> Target | None:
        erasure = _due(tx, request)
        found = find_target(tx, request.business_id, erasure.target_id) if erasure else None
        return None if found is None or found.state is TargetState.REMOVED else found

    def begin(self, tx: Tx, request: OutboundRequest, target: Target) -> EraseCourse | Outcome:
        erasure, connector = _due(tx, request), connector_of(tx, target)
        if erasure is None or connector is None:
            return Done()
        wait_s = (erasure.created_at + ARRIVES_WITHIN - tx.now).total_seconds()
        if wait_s > 0:
            return Later("", wait_s)
        return _taken(tx, erasure, rules.begin_erasure(connector.traits, erasure.lead_id, erasure.record_id))

    def operation(self, course: EraseCourse) -> Operation:
        return rules.erasing_operation(course)

    def turn(
        self, tx: Tx, request: OutboundRequest, target: Target, course: EraseCourse, reply: Reply
    ) -> EraseCourse | Outcome:
        erasure, connector = _due(tx, request), connector_of(tx, target)
        if erasure is None or connector is None:
            return Done()
        return _taken(tx, erasure, rules.next_erasure(connector.traits, course, reply))

    def hold(self, tx: Tx, request: OutboundRequest) -> None:
        """It stays due, and is queued again when the target is active."""


def _due(tx: Tx, request: OutboundRequest) -> Erasure | None:
    erasure = store.find_erasure(tx, request.business_id, int(request.subject))
    return erasure if erasure is not None and erasure.state is ErasureState.DUE else None


def _taken(tx: Tx, erasure: Erasure, turn: EraseTurn) -> EraseCourse | Outcome:
    if isinstance(turn, Settled):
        store.record_erasure(tx, erasure, turn.state, turn.reason)
        return Done()
    return NotNow(turn.reason) if isinstance(turn, TryLater) else turn


def release_erasures(tx: Tx, target: Target) -> None:
    """Queue the erasures of a target that waited for it to be active."""
    for erasure in store.list_due_erasures(tx, target.business_id, target.id):
        queue_erasure(tx, narrow_target(target), erasure.id, erasure.lead_id)


def erasure_kind() -> OutboundKind:
    """Return how people are erased in targets."""
    return work_kind(ERASURE, ErasureWork, ERASURE_PLAN, settle_erasure, replay=ready_erasure)


def settle_erasure(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
    """Show that it was given up."""
    erasure = _due(tx, request)
    if erasure is not None and isinstance(outcome, NotNow | Failed):
        shown = ErasureState.DUE if state is RequestState.DUE else ErasureState.FAILED
        store.record_erasure(tx, erasure, shown, outcome.reason)


def ready_erasure(tx: Tx, request: OutboundRequest) -> None:
    """Let an erasure that failed be tried again."""
    erasure = store.find_erasure(tx, request.business_id, int(request.subject))
    if erasure is not None and erasure.state is ErasureState.FAILED:
        store.record_erasure(tx, erasure, ErasureState.DUE)
