"""Comparing a CRM's records with our ledger, daily and on demand; what is missing heals by itself."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from contatto.crm.actions.checking import queue_kind
from contatto.crm.actions.running import connector_of, publish_connection, work_kind
from contatto.crm.actions.scheduling import erasure_request, narrow_target, schedule_delivery
from contatto.crm.model.comparisons import Comparison
from contatto.crm.model.deliveries import Erasure, ErasureState
from contatto.crm.model.operations import Enumerate, Enumerated, Operation, Reply
from contatto.crm.model.targets import Target, TargetState
from contatto.crm.rules.plans import (
    COMPARE_AGAIN_S,
    COMPARE_EVERY_S,
    COMPARISON,
    COMPARISON_PLAN,
    ERASURE_PLAN,
    SENT_AGAIN_AT_MOST,
    SETTLED_FOR,
)
from contatto.crm.store import comparisons as store
from contatto.crm.store.erasures import record_erasure_again
from contatto.crm.store.targets import find_target, record_target
from contatto.kit.db.tx import Tx
from contatto.kit.outbound.model import (
    Failed,
    Later,
    OutboundRequest,
    Outcome,
)
from contatto.kit.outbound.steps import OutboundKind
from contatto.kit.outbound.store import list_requests_of, send_again


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
class _Kept:
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
            kept = msgspec.json.decode(request.progress, type=_Kept)
            return msgspec.json.decode(kept.course, type=CompareCourse)
        return CompareCourse(tx.now)

    def operation(self, course: CompareCourse) -> Operation:
        return Enumerate(course.after)

    def turn(
        self, tx: Tx, request: OutboundRequest, target: Target, course: CompareCourse, reply: Reply
    ) -> CompareCourse | Outcome:
        if not isinstance(reply, Enumerated):
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


def _see(tx: Tx, target: Target, course: CompareCourse, page: Enumerated) -> CompareCourse:
    """Mark the records of one page as seen, and count what should not be there."""
    times = Counter(lead_id for _, lead_id in page.records)
    known = store.list_seen_at(tx, target.business_id, target.id, times)
    again = [lead_id for lead_id, at in known.items() if at == course.started_at]
    store.mark_seen(tx, target, known, course.started_at)
    record_ids = {lead_id: record_id for record_id, lead_id in page.records if lead_id not in known}
    erasures = store.list_erasures_of(tx, target.business_id, target.id, record_ids)
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
    missing = store.list_missing(tx, target.business_id, target.id, course.started_at, settled)
    fresh = [record for record in missing if record.gone_at is None]
    sent = fresh[:SENT_AGAIN_AT_MOST]
    for record in sent:
        store.mark_gone(tx, record)
        schedule_delivery(tx, narrow_target(target), record.lead_id)
    for record in store.list_sent(tx, target.business_id, target.id, SENT_AGAIN_AT_MOST):
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
