"""Trying a lead at a CRM: what would be written is worked out and held against what is there."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import msgspec

from contatto.crm.actions.checking import queue_check, queue_kind
from contatto.crm.actions.delivering import LEAD_GONE, payload_of
from contatto.crm.actions.running import connector_of, work_kind
from contatto.crm.model.operations import Operation, Reply
from contatto.crm.model.targets import Target, TargetState
from contatto.crm.model.trials import TrialResult, TrialState
from contatto.crm.rules import trials as rules
from contatto.crm.rules.delivering import Halt
from contatto.crm.rules.plans import TRIAL, TRIAL_PLAN
from contatto.crm.rules.trials import TrialCourse
from contatto.crm.store import trials as store
from contatto.crm.store.deliveries import find_records
from contatto.crm.store.targets import find_target
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
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
from contatto.leads.store.records import list_leads_by_id

NOT_LET_IN: Final = "not_let_in"


def try_lead(tx: Tx, target: Target, lead_id: str) -> None:
    """Ask what would be written of a lead; and ask the CRM for its fields, as the mapping may lag behind.

    Raises:
        Refused: NOT_FOUND; CONFLICT when the CRM does not let us in.
    """
    lead = list_leads_by_id(tx, target.business_id, {lead_id}).get(lead_id)
    if lead is None:
        raise Refused(errors.NOT_FOUND, "Lead not found.")
    if target.state is TargetState.DISCONNECTED:
        raise Refused(errors.CONFLICT, "This CRM no longer accepts our access. Reconnect it first.")
    store.save_trial(tx, target, lead.id)
    queue_check(tx, target)
    queue_kind(tx, target, TRIAL, TRIAL_PLAN)


@dataclass(frozen=True, slots=True)
class TrialWork:
    """The sequence of a trial; ``base_url`` is where people reach us."""

    base_url: str
    shape: type[TrialCourse] = TrialCourse
    only_reads: bool = True

    def target_of(self, tx: Tx, request: OutboundRequest) -> Target | None:
        trial = store.find_trial(tx, request.business_id, request.subject)
        found = find_target(tx, request.business_id, request.subject) if trial else None
        return None if found is None or found.state is TargetState.REMOVED else found

    def begin(self, tx: Tx, request: OutboundRequest, target: Target) -> TrialCourse | Outcome:
        trial = store.find_trial(tx, target.business_id, target.id)
        connector = connector_of(tx, target)
        if trial is None or connector is None:
            return Done()
        lead = list_leads_by_id(tx, target.business_id, {trial.lead_id}).get(trial.lead_id)
        if lead is None:
            return Failed(LEAD_GONE)
        records = find_records(tx, target.business_id, target.id, lead.id)
        revision = records.own.revision if records.own else 1
        payload = payload_of(tx, target, lead, revision, self.base_url)
        begun = rules.begin_trial(connector.traits, payload, records.ids)
        if isinstance(begun, TrialResult):
            return _settle(tx, target, begun)
        return replace(begun, asked_at=trial.created_at)

    def operation(self, course: TrialCourse) -> Operation:
        return rules.trial_operation(course)

    def turn(
        self, tx: Tx, request: OutboundRequest, target: Target, course: TrialCourse, reply: Reply
    ) -> TrialCourse | Outcome:
        connector = connector_of(tx, target)
        trial = store.find_trial(tx, target.business_id, target.id)
        if connector is None or trial is None:
            return Done()
        if trial.created_at != course.asked_at:
            return Later("", 0)  # another was asked for meanwhile, and what was found is not of that lead
        turn = rules.next_trial_turn(connector.traits, course, reply, connector.agrees)
        if isinstance(turn, TrialResult):
            return _settle(tx, target, turn)
        if isinstance(turn, Halt):
            return Failed(turn.reason) if turn.is_final else NotNow(turn.reason)
        return replace(turn, asked_at=course.asked_at)

    def hold(self, tx: Tx, request: OutboundRequest) -> None:
        trial = store.find_trial(tx, request.business_id, request.subject)
        if trial is not None:
            store.record_trial(tx, trial, TrialState.FAILED, NOT_LET_IN)


def _settle(tx: Tx, target: Target, result: TrialResult) -> Outcome:
    trial = store.find_trial(tx, target.business_id, target.id)
    if trial is not None:
        store.record_trial(tx, trial, TrialState.DONE, found=msgspec.json.encode(result).decode())
    return Done()


def trial_kind(base_url: str) -> OutboundKind:
    """Return how a lead is tried at a CRM."""
    return work_kind(TRIAL, partial(TrialWork, base_url), TRIAL_PLAN, settle_trial)


def settle_trial(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
    """Say why a try brought nothing; whether it is tried again."""
    trial = store.find_trial(tx, request.business_id, request.subject)
    if trial is None or not isinstance(outcome, NotNow | Failed):
        return
    is_over = state is not RequestState.DUE
    store.record_trial(tx, trial, TrialState.FAILED if is_over else TrialState.ASKED, outcome.reason)
