"""Checks of a CRM's fields, trials of leads, comparisons of records, and erasures."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import msgspec

from contatto.crm import model as crm
from contatto.crm.actions.deliveries import (
    LEAD_GONE,
    CrmWork,
    WorkContext,
    connector_of,
    erasure_request,
    payload_of,
    publish_connection,
    queue_kind,
    schedule_deliveries,
    work_kind,
)
from contatto.crm.model import Operation, Reply, Target
from contatto.crm.rules import deliveries as rules
from contatto.crm.rules.deliveries import EraseCourse, Halt, TrialCourse
from contatto.crm.rules.mapping import check_mapping
from contatto.crm.store import deliveries as store
from contatto.crm.store import events
from contatto.crm.store.deliveries import find_target, record_target
from contatto.crm.store.events import find_trial, record_trial, save_trial
from contatto.integrations.model import ErasureState, TrialState
from contatto.integrations.store import after_failure
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.outbound.model import Done, Failed, Later, NotNow, OutboundRequest, Outcome, RequestState
from contatto.kit.outbound.steps import OutboundKind
from contatto.kit.outbound.store import queue_request, send_again
from contatto.leads.store.records import list_leads_by_id

ARRIVES_WITHIN: Final = timedelta(seconds=90)
"""After this time no delivery of an erased person can still arrive: its lease is over."""


@dataclass(frozen=True, slots=True)
class CheckCourse:
    """State of a field check, which has one step only."""


class CheckWork(CrmWork[CheckCourse]):
    """Reads the fields of a CRM daily."""

    shape = CheckCourse
    only_reads = True

    def begin(self, context: WorkContext) -> CheckCourse | Outcome:
        return CheckCourse()

    def operation(self, course: CheckCourse) -> Operation:
        return crm.DescribeFields()

    def turn(self, context: WorkContext, course: CheckCourse, reply: Reply) -> CheckCourse | Outcome:
        """Save the fields, and what the mapping names that the CRM does not have."""
        if not isinstance(reply, crm.FieldsDescribed):
            return Failed(reply.reason if isinstance(reply, crm.Rejected) else "undescribed")
        tx, target = context.tx, context.target
        takes_anything = context.connector.traits.takes_anything
        faults = check_mapping(target.mapping, reply.fields, takes_anything=takes_anything)
        record_target(tx, target, described=reply.fields, described_at=tx.now, faults=faults)
        publish_connection(tx, target)
        return Later("", rules.CHECK_EVERY_S)


def queue_check(tx: Tx, target: Target) -> None:
    """Read the fields of a CRM now, and then daily."""
    connector = connector_of(tx, target)
    if connector is not None and connector.traits.describes and target.has_access:
        queue_kind(tx, target, rules.CHECK, rules.CHECK_PLAN)


def check_kind() -> OutboundKind:
    """Return the kind of requests that read the fields of a CRM."""
    return work_kind(rules.CHECK, CheckWork, rules.CHECK_PLAN)


def try_lead(tx: Tx, target: Target, lead_id: str) -> None:
    """Start a trial of a lead; and read the CRM's fields again, as the mapping may be outdated.

    Raises:
        Refused: NOT_FOUND; CONFLICT when the CRM refuses access.
    """
    lead = list_leads_by_id(tx, target.business_id, {lead_id}).get(lead_id)
    if lead is None:
        raise Refused(errors.NOT_FOUND, "Lead not found.")
    if target.state is crm.TargetState.DISCONNECTED:
        raise Refused(errors.CONFLICT, "This CRM no longer accepts our access. Reconnect it first.")
    save_trial(tx, target, lead.id)
    queue_check(tx, target)
    queue_kind(tx, target, rules.TRIAL, rules.TRIAL_PLAN)


class TrialWork(CrmWork[TrialCourse]):
    """Compares what a delivery would write with the CRM's record; ``base_url`` is our public address."""

    shape = TrialCourse
    only_reads = True

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url

    def target_of(self, tx: Tx, request: OutboundRequest) -> Target | None:
        trial = find_trial(tx, request.business_id, request.subject)
        return super().target_of(tx, request) if trial else None

    def begin(self, context: WorkContext) -> TrialCourse | Outcome:
        tx, target = context.tx, context.target
        trial = find_trial(tx, target.business_id, target.id)
        if trial is None:
            return Done()
        lead = list_leads_by_id(tx, target.business_id, {trial.lead_id}).get(trial.lead_id)
        if lead is None:
            return Failed(LEAD_GONE)
        records = store.find_records(tx, target.business_id, target.id, lead.id)
        revision = records.own.revision if records.own else 1
        payload = payload_of(tx, target, lead, revision, self._base_url, records)
        course = rules.begin_trial(context.connector.traits, payload, records.ids)
        if isinstance(course, crm.TrialResult):
            return _finish_trial(context, course)
        return replace(course, asked_at=trial.created_at)

    def operation(self, course: TrialCourse) -> Operation:
        return rules.trial_operation(course)

    def turn(self, context: WorkContext, course: TrialCourse, reply: Reply) -> TrialCourse | Outcome:
        connector = context.connector
        trial = find_trial(context.tx, context.target.business_id, context.target.id)
        if trial is None:
            return Done()
        if trial.created_at != course.asked_at:
            return Later("", 0)  # a member started another trial meanwhile: this reply is not of its lead
        turn = rules.next_trial_turn(connector.traits, course, reply, connector.is_same_value)
        if isinstance(turn, crm.TrialResult):
            return _finish_trial(context, turn)
        if isinstance(turn, Halt):
            return Failed(turn.reason) if turn.is_final else NotNow(turn.reason)
        return replace(turn, asked_at=course.asked_at)

    def hold(self, tx: Tx, request: OutboundRequest) -> None:
        trial = find_trial(tx, request.business_id, request.subject)
        if trial is not None:
            record_trial(tx, trial, TrialState.FAILED, "not_let_in")


def _finish_trial(context: WorkContext, result: crm.TrialResult) -> Outcome:
    trial = find_trial(context.tx, context.target.business_id, context.target.id)
    if trial is not None:
        record_trial(context.tx, trial, TrialState.DONE, result=msgspec.json.encode(result).decode())
    return Done()


def trial_kind(base_url: str) -> OutboundKind:
    """Return the kind of requests that try a lead at a CRM."""
    settle = after_failure(record_failed_trial)
    return work_kind(rules.TRIAL, partial(TrialWork, base_url), rules.TRIAL_PLAN, settle)


def record_failed_trial(tx: Tx, request: OutboundRequest, reason: str, state: RequestState) -> None:
    """Record why a try failed, and whether another follows."""
    trial = find_trial(tx, request.business_id, request.subject)
    if trial is not None:
        record_trial(
            tx, trial, TrialState.PENDING if state is RequestState.DUE else TrialState.FAILED, reason
        )


@dataclass(frozen=True, slots=True)
class CompareCourse:
    """State of a comparison: the cursor of its next page, and counts so far."""

    started_at: datetime
    after: str = ""
    held: int = 0
    doubled: int = 0
    unknown: int = 0
    erased_again: int = 0


@dataclass(frozen=True, slots=True)
class _CourseState:
    """Progress of a request in the middle of a comparison."""

    course: str = ""


class CompareWork(CrmWork[CompareCourse]):
    """Lists the records of a CRM that carry our ids, and sends again those that are missing."""

    shape = CompareCourse
    only_reads = True

    def begin(self, context: WorkContext) -> CompareCourse | Outcome:
        if context.request.progress:
            progress = msgspec.json.decode(context.request.progress, type=_CourseState)
            return msgspec.json.decode(progress.course, type=CompareCourse)
        return CompareCourse(context.tx.now)

    def operation(self, course: CompareCourse) -> Operation:
        return crm.ListRecords(course.after)

    def turn(self, context: WorkContext, course: CompareCourse, reply: Reply) -> CompareCourse | Outcome:
        if not isinstance(reply, crm.RecordsListed):
            return Failed("unreadable")
        tx, target = context.tx, context.target
        counted = _count_page(tx, target, course, reply)
        if reply.after and reply.after != course.after:  # the same cursor again would never end
            return replace(counted, after=reply.after)
        comparison = _send_missing(tx, target, counted)
        record_target(tx, target, comparison=comparison)
        publish_connection(tx, target)
        return Later("", rules.COMPARE_AGAIN_S if comparison.differs else rules.COMPARE_EVERY_S)


def _count_page(tx: Tx, target: Target, course: CompareCourse, page: crm.RecordsListed) -> CompareCourse:
    """Mark the records of a page as seen, count the surplus ones, and erase erased people again."""
    times = Counter(lead_id for _, lead_id in page.records)
    seen_at = store.list_seen_at(tx, target.business_id, target.id, times)
    repeated = [lead_id for lead_id, at in seen_at.items() if at == course.started_at]
    store.mark_seen(tx, target, seen_at, course.started_at)
    record_ids = {lead_id: record_id for record_id, lead_id in page.records if lead_id not in seen_at}
    erasures = events.list_erasures(tx, target.business_id, target.id, lead_ids=record_ids)
    for erasure in erasures:
        if erasure.state is ErasureState.DUE:
            continue  # its request is under way
        record_id = record_ids[erasure.lead_id][: store.RECORD_LIMIT]
        events.record_erasure(tx, erasure, ErasureState.DUE, record_id=record_id, created_at=tx.now)
        if target.is_active:
            send_again(tx, erasure_request(target, erasure.id, erasure.lead_id), rules.ERASURE_PLAN)
    return replace(
        course,
        held=course.held + len(page.records),
        doubled=course.doubled + len(page.records) - len(times) + len(repeated),
        unknown=course.unknown + len(record_ids) - len(erasures),
        erased_again=course.erased_again + len(erasures),
    )


def _send_missing(tx: Tx, target: Target, course: CompareCourse) -> crm.Comparison:
    """Send each verified lead without a record again, once.

    Leads that share another lead's record are sent each time, as that record may be gone.
    """
    verified_before = course.started_at - rules.SETTLED_FOR
    missing = store.list_missing(tx, target.business_id, target.id, course.started_at, verified_before)
    fresh = [record for record in missing if record.gone_at is None]
    sent = fresh[: rules.SENT_AGAIN_AT_MOST]
    for record in sent:
        store.mark_gone(tx, record)
    shared = store.list_sent(tx, target.business_id, target.id, rules.SENT_AGAIN_AT_MOST)
    for record in (*sent, *shared):
        schedule_deliveries(tx, target, [record.lead_id])
    return crm.Comparison(
        started_at=course.started_at,
        ended_at=tx.now,
        held=course.held,
        sent_again=len(sent),
        left_gone=len(missing) - len(fresh),
        doubled=course.doubled,
        unknown=course.unknown,
        erased_again=course.erased_again,
    )


def queue_comparison(tx: Tx, target: Target) -> None:
    """Compare a CRM's records with ours now, and then daily."""
    connector = connector_of(tx, target)
    if connector is not None and connector.traits.enumerates and target.has_access:
        queue_kind(tx, target, rules.COMPARISON, rules.COMPARISON_PLAN)


def comparison_kind() -> OutboundKind:
    """Return the kind of requests that compare a CRM's records with ours."""
    return work_kind(rules.COMPARISON, CompareWork, rules.COMPARISON_PLAN)


class ErasureWork(CrmWork[EraseCourse]):
    """Erases a person in a CRM, until a read finds nothing."""

    shape = EraseCourse

    def target_of(self, tx: Tx, request: OutboundRequest) -> Target | None:
        erasure = _find_due_erasure(tx, request)
        target = find_target(tx, request.business_id, erasure.target_id) if erasure else None
        return None if target is None or target.state is crm.TargetState.REMOVED else target

    def begin(self, context: WorkContext) -> EraseCourse | Outcome:
        erasure = _find_due_erasure(context.tx, context.request)
        if erasure is None:
            return Done()
        wait_s = (erasure.created_at + ARRIVES_WITHIN - context.tx.now).total_seconds()
        if wait_s > 0:
            return Later("", wait_s)
        turn = rules.begin_erasure(context.connector.traits, erasure.lead_id, erasure.record_id)
        return _record_turn(context.tx, erasure, turn)

    def operation(self, course: EraseCourse) -> Operation:
        return rules.erasing_operation(course)

    def turn(self, context: WorkContext, course: EraseCourse, reply: Reply) -> EraseCourse | Outcome:
        erasure = _find_due_erasure(context.tx, context.request)
        if erasure is None:
            return Done()
        turn = rules.next_erasure(context.connector.traits, course, reply)
        return _record_turn(context.tx, erasure, turn)


def _find_due_erasure(tx: Tx, request: OutboundRequest) -> crm.Erasure | None:
    erasure = events.find_erasure(tx, request.business_id, int(request.subject))
    return erasure if erasure is not None and erasure.state is ErasureState.DUE else None


def _record_turn(tx: Tx, erasure: crm.Erasure, turn: rules.EraseTurn) -> EraseCourse | Outcome:
    if isinstance(turn, rules.ErasureSettled):
        events.record_erasure(tx, erasure, turn.state, turn.reason)
        return Done()
    return NotNow(turn.reason) if isinstance(turn, rules.ErasurePending) else turn


def release_erasures(tx: Tx, target: Target) -> None:
    """Queue the erasures of a target that waited for it to be active."""
    for erasure in events.list_erasures(tx, target.business_id, target.id, (ErasureState.DUE,)):
        queue_request(tx, erasure_request(target, erasure.id, erasure.lead_id), rules.ERASURE_PLAN)


def erasure_kind() -> OutboundKind:
    """Return the kind of requests that erase people in CRMs."""
    settle = after_failure(record_failed_erasure)
    return work_kind(rules.ERASURE, ErasureWork, rules.ERASURE_PLAN, settle, replay=ready_erasure)


def record_failed_erasure(tx: Tx, request: OutboundRequest, reason: str, state: RequestState) -> None:
    """Record why a try failed, and whether it was the last."""
    erasure = _find_due_erasure(tx, request)
    if erasure is not None:
        next_state = ErasureState.DUE if state is RequestState.DUE else ErasureState.FAILED
        events.record_erasure(tx, erasure, next_state, reason)


def ready_erasure(tx: Tx, request: OutboundRequest) -> None:
    """Make a failed erasure due again."""
    erasure = events.find_erasure(tx, request.business_id, int(request.subject))
    if erasure is not None and erasure.state is ErasureState.FAILED:
        events.record_erasure(tx, erasure, ErasureState.DUE)
