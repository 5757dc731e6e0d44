"""Checks of CRMs: fields, trials, comparisons and erasures."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import msgspec

from contatto.crm.actions.deliveries import (
    LEAD_GONE,
    connector_of,
    erasure_request,
    narrow_target,
    payload_of,
    publish_connection,
    queue_erasure,
    queue_kind,
    schedule_delivery,
    work_kind,
)
from contatto.crm.model import (
    Comparison,
    DescribeFields,
    Erasure,
    ErasureState,
    FieldsDescribed,
    ListRecords,
    Operation,
    RecordsListed,
    Rejected,
    Reply,
    Target,
    TargetState,
    TrialResult,
    TrialState,
)
from contatto.crm.rules.deliveries import (
    CHECK,
    CHECK_EVERY_S,
    CHECK_PLAN,
    COMPARE_AGAIN_S,
    COMPARE_EVERY_S,
    COMPARISON,
    COMPARISON_PLAN,
    ERASURE,
    ERASURE_PLAN,
    SENT_AGAIN_AT_MOST,
    SETTLED_FOR,
    TRIAL,
    TRIAL_PLAN,
    EraseCourse,
    EraseTurn,
    ErasurePending,
    ErasureSettled,
    Halt,
    TrialCourse,
    begin_erasure,
    begin_trial,
    erasing_operation,
    next_erasure,
    next_trial_turn,
    trial_operation,
)
from contatto.crm.rules.mapping import check_mapping
from contatto.crm.store.deliveries import (
    find_erasure,
    find_records,
    list_due_erasures,
    list_erasures_of,
    list_missing,
    list_seen_at,
    list_sent,
    mark_gone,
    mark_seen,
    record_erasure,
    record_erasure_again,
)
from contatto.crm.store.targets import (
    find_target,
    find_trial,
    record_target,
    record_trial,
    save_trial,
)
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
from contatto.kit.outbound.store import list_requests_of, send_again
from contatto.leads.store.records import list_leads_by_id

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
        return _taken(tx, erasure, begin_erasure(connector.traits, erasure.lead_id, erasure.record_id))

    def operation(self, course: EraseCourse) -> Operation:
        return erasing_operation(course)

    def turn(
        self, tx: Tx, request: OutboundRequest, target: Target, course: EraseCourse, reply: Reply
    ) -> EraseCourse | Outcome:
        erasure, connector = _due(tx, request), connector_of(tx, target)
        if erasure is None or connector is None:
            return Done()
        return _taken(tx, erasure, next_erasure(connector.traits, course, reply))

    def hold(self, tx: Tx, request: OutboundRequest) -> None:
        """It stays due, and is queued again when the target is active."""


def _due(tx: Tx, request: OutboundRequest) -> Erasure | None:
    erasure = find_erasure(tx, request.business_id, int(request.subject))
    return erasure if erasure is not None and erasure.state is ErasureState.DUE else None


def _taken(tx: Tx, erasure: Erasure, turn: EraseTurn) -> EraseCourse | Outcome:
    if isinstance(turn, ErasureSettled):
        record_erasure(tx, erasure, turn.state, turn.reason)
        return Done()
    return NotNow(turn.reason) if isinstance(turn, ErasurePending) else turn


def release_erasures(tx: Tx, target: Target) -> None:
    """Queue the erasures of a target that waited for it to be active."""
    for erasure in list_due_erasures(tx, target.business_id, target.id):
        queue_erasure(tx, narrow_target(target), erasure.id, erasure.lead_id)


def erasure_kind() -> OutboundKind:
    """Return how people are erased in targets."""
    return work_kind(ERASURE, ErasureWork, ERASURE_PLAN, settle_erasure, replay=ready_erasure)


def settle_erasure(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
    """Show that it was given up."""
    erasure = _due(tx, request)
    if erasure is not None and isinstance(outcome, NotNow | Failed):
        shown = ErasureState.DUE if state is RequestState.DUE else ErasureState.FAILED
        record_erasure(tx, erasure, shown, outcome.reason)


def ready_erasure(tx: Tx, request: OutboundRequest) -> None:
    """Let an erasure that failed be tried again."""
    erasure = find_erasure(tx, request.business_id, int(request.subject))
    if erasure is not None and erasure.state is ErasureState.FAILED:
        record_erasure(tx, erasure, ErasureState.DUE)


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
    save_trial(tx, target, lead.id)
    queue_check(tx, target)
    queue_kind(tx, target, TRIAL, TRIAL_PLAN)


@dataclass(frozen=True, slots=True)
class TrialWork:
    """The sequence of a trial; ``base_url`` is where people reach us."""

    base_url: str
    shape: type[TrialCourse] = TrialCourse
    only_reads: bool = True

    def target_of(self, tx: Tx, request: OutboundRequest) -> Target | None:
        trial = find_trial(tx, request.business_id, request.subject)
        found = find_target(tx, request.business_id, request.subject) if trial else None
        return None if found is None or found.state is TargetState.REMOVED else found

    def begin(self, tx: Tx, request: OutboundRequest, target: Target) -> TrialCourse | Outcome:
        trial = find_trial(tx, target.business_id, target.id)
        connector = connector_of(tx, target)
        if trial is None or connector is None:
            return Done()
        lead = list_leads_by_id(tx, target.business_id, {trial.lead_id}).get(trial.lead_id)
        if lead is None:
            return Failed(LEAD_GONE)
        records = find_records(tx, target.business_id, target.id, lead.id)
        revision = records.own.revision if records.own else 1
        payload = payload_of(tx, target, lead, revision, self.base_url)
        begun = begin_trial(connector.traits, payload, records.ids)
        if isinstance(begun, TrialResult):
            return _settle(tx, target, begun)
        return replace(begun, asked_at=trial.created_at)

    def operation(self, course: TrialCourse) -> Operation:
        return trial_operation(course)

    def turn(
        self, tx: Tx, request: OutboundRequest, target: Target, course: TrialCourse, reply: Reply
    ) -> TrialCourse | Outcome:
        connector = connector_of(tx, target)
        trial = find_trial(tx, target.business_id, target.id)
        if connector is None or trial is None:
            return Done()
        if trial.created_at != course.asked_at:
            return Later("", 0)  # another was asked for meanwhile, and what was found is not of that lead
        turn = next_trial_turn(connector.traits, course, reply, connector.agrees)
        if isinstance(turn, TrialResult):
            return _settle(tx, target, turn)
        if isinstance(turn, Halt):
            return Failed(turn.reason) if turn.is_final else NotNow(turn.reason)
        return replace(turn, asked_at=course.asked_at)

    def hold(self, tx: Tx, request: OutboundRequest) -> None:
        trial = find_trial(tx, request.business_id, request.subject)
        if trial is not None:
            record_trial(tx, trial, TrialState.FAILED, NOT_LET_IN)


def _settle(tx: Tx, target: Target, result: TrialResult) -> Outcome:
    trial = find_trial(tx, target.business_id, target.id)
    if trial is not None:
        record_trial(tx, trial, TrialState.DONE, found=msgspec.json.encode(result).decode())
    return Done()


def trial_kind(base_url: str) -> OutboundKind:
    """Return how a lead is tried at a CRM."""
    return work_kind(TRIAL, partial(TrialWork, base_url), TRIAL_PLAN, settle_trial)


def settle_trial(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
    """Say why a try brought nothing; whether it is tried again."""
    trial = find_trial(tx, request.business_id, request.subject)
    if trial is None or not isinstance(outcome, NotNow | Failed):
        return
    is_over = state is not RequestState.DUE
    record_trial(tx, trial, TrialState.FAILED if is_over else TrialState.ASKED, outcome.reason)


@dataclass(frozen=True, slots=True)
class CompareCourse:
    """Where a comparison stands: from which place on records are asked for, and what was counted so far."""

    started_at: datetime
    after: str = ""
    held: int = 0
    doubled: int = 0
    unknown: int = 0
    erased_again: int = 0


@dataclass(frozen=True, slots=True)
class _CourseState:
    """What a request holds in the middle of a comparison."""

    course: str = ""


@dataclass(frozen=True, slots=True)
class CompareWork:
    """Ask a CRM which records it has of us, page after page, and then look which are missing."""

    shape: type[CompareCourse] = CompareCourse
    only_reads: bool = True

    def target_of(self, tx: Tx, request: OutboundRequest) -> Target | None:
        target = find_target(tx, request.business_id, request.subject)
        return None if target is None or target.state is TargetState.REMOVED else target

    def begin(self, tx: Tx, request: OutboundRequest, target: Target) -> CompareCourse | Outcome:
        if request.progress:
            kept = msgspec.json.decode(request.progress, type=_CourseState)
            return msgspec.json.decode(kept.course, type=CompareCourse)
        return CompareCourse(tx.now)

    def operation(self, course: CompareCourse) -> Operation:
        return ListRecords(course.after)

    def turn(
        self, tx: Tx, request: OutboundRequest, target: Target, course: CompareCourse, reply: Reply
    ) -> CompareCourse | Outcome:
        if not isinstance(reply, RecordsListed):
            return Failed("unreadable")
        compare_course = _see(tx, target, course, reply)
        if reply.after and reply.after != course.after:  # a place that stands still would ask for ever
            return replace(compare_course, after=reply.after)
        ended = _end(tx, target, compare_course)
        record_target(tx, target, comparison=ended)
        publish_connection(tx, target)
        return Later("", COMPARE_AGAIN_S if ended.differs else COMPARE_EVERY_S)

    def hold(self, tx: Tx, request: OutboundRequest) -> None:
        """It is compared again when the target is active."""


def _see(tx: Tx, target: Target, course: CompareCourse, page: RecordsListed) -> CompareCourse:
    """Mark the records of one page as seen, and count what should not be there."""
    times = Counter(lead_id for _, lead_id in page.records)
    known = list_seen_at(tx, target.business_id, target.id, times)
    again = [lead_id for lead_id, at in known.items() if at == course.started_at]
    mark_seen(tx, target, known, course.started_at)
    record_ids = {lead_id: record_id for record_id, lead_id in page.records if lead_id not in known}
    erasures = list_erasures_of(tx, target.business_id, target.id, record_ids)
    for erasure in erasures:
        _erase_again(tx, target, erasure, record_ids[erasure.lead_id])
    return replace(
        course,
        held=course.held + len(page.records),
        doubled=course.doubled + len(page.records) - len(times) + len(again),
        unknown=course.unknown + len(record_ids) - len(erasures),
        erased_again=course.erased_again + len(erasures),
    )


def _erase_again(tx: Tx, target: Target, erasure: Erasure, record_id: str) -> None:
    """The record of a person who was erased is there, as after a restore; one on its way is left alone."""
    if erasure.state is ErasureState.DUE:
        return
    record_erasure_again(tx, erasure, record_id)
    if target.is_active:
        send_again(tx, erasure_request(narrow_target(target), erasure.id, erasure.lead_id), ERASURE_PLAN)


def _end(tx: Tx, target: Target, course: CompareCourse) -> Comparison:
    """Look which verified leads were not seen: each is sent again, once.

    Those that share another lead's record are sent again each time: that record may be gone.
    """
    settled = course.started_at - SETTLED_FOR
    missing = list_missing(tx, target.business_id, target.id, course.started_at, settled)
    fresh = [record for record in missing if record.gone_at is None]
    sent = fresh[:SENT_AGAIN_AT_MOST]
    for record in sent:
        mark_gone(tx, record)
        schedule_delivery(tx, narrow_target(target), record.lead_id)
    for record in list_sent(tx, target.business_id, target.id, SENT_AGAIN_AT_MOST):
        schedule_delivery(tx, narrow_target(target), record.lead_id)
    return Comparison(
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
    is_let_in = target.state in (TargetState.ACTIVE, TargetState.PAUSED)
    if connector is not None and connector.traits.enumerates and is_let_in:
        queue_kind(tx, target, COMPARISON, COMPARISON_PLAN)


def find_comparison(tx: Tx, target: Target) -> OutboundRequest | None:
    """The request that compares: when it is due, and why it failed last."""
    requests = list_requests_of(tx, target.business_id, COMPARISON, [target.id])
    return requests[0] if requests else None


def comparison_kind() -> OutboundKind:
    """Return how a CRM's records are compared with ours."""
    return work_kind(COMPARISON, CompareWork, COMPARISON_PLAN)


UNDESCRIBED: Final = "undescribed"


_ASKED: Final = (TargetState.ACTIVE, TargetState.PAUSED)


@dataclass(frozen=True, slots=True)
class CheckCourse:
    """There is one step only."""


@dataclass(frozen=True, slots=True)
class CheckWork:
    """Ask a CRM which fields it has, again and again."""

    shape: type[CheckCourse] = CheckCourse
    only_reads: bool = True

    def target_of(self, tx: Tx, request: OutboundRequest) -> Target | None:
        target = find_target(tx, request.business_id, request.subject)
        return None if target is None or target.state is TargetState.REMOVED else target

    def begin(self, tx: Tx, request: OutboundRequest, target: Target) -> CheckCourse | Outcome:
        return CheckCourse()

    def operation(self, course: CheckCourse) -> Operation:
        return DescribeFields()

    def turn(
        self, tx: Tx, request: OutboundRequest, target: Target, course: CheckCourse, reply: Reply
    ) -> CheckCourse | Outcome:
        if isinstance(reply, FieldsDescribed):
            record_description(tx, target, reply)
            return Later("", CHECK_EVERY_S)
        return Failed(reply.reason if isinstance(reply, Rejected) else UNDESCRIBED)

    def hold(self, tx: Tx, request: OutboundRequest) -> None:
        """It is asked again when the target is active."""


def record_description(tx: Tx, target: Target, described: FieldsDescribed) -> None:
    """Keep a CRM's description of its fields, and what the mapping has that it has not."""
    connector = connector_of(tx, target)
    takes_anything = connector is not None and connector.traits.takes_anything
    faults = check_mapping(target.mapping, described.fields, takes_anything=takes_anything)
    record_target(tx, target, described=described.fields, described_at=tx.now, faults=faults)
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


def check_kind() -> OutboundKind:
    """Return how a CRM is asked for its fields."""
    return work_kind(CHECK, CheckWork, CHECK_PLAN)
