"""Brings deliveries to their targets: what is written, and what came of it."""

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Final

import msgspec

from contatto.crm.actions.checking import hasten_check
from contatto.crm.actions.running import connector_of, work_kind
from contatto.crm.actions.scheduling import narrow_target, schedule_delivery
from contatto.crm.actions.snapshots import read_snapshot
from contatto.crm.model.deliveries import CrmProgressed, Delivery, DeliveryState, LeadRecords, Payload
from contatto.crm.model.operations import FieldGone, Operation, Refused, Reply, ValueGone
from contatto.crm.model.sources import STATUS
from contatto.crm.model.targets import MappingFault, Target, TargetState, Weakness
from contatto.crm.rules import delivering as rules
from contatto.crm.rules.delivering import Arrived, Course, Halt, Stage
from contatto.crm.rules.mapping import map_lead, with_edits
from contatto.crm.rules.plans import DELIVERY, DELIVERY_PLAN, DIFFERS_AT_MOST, SEARCH_LAG
from contatto.crm.rules.returning import status_of_word
from contatto.crm.store import deliveries as store
from contatto.crm.store import progress, targets
from contatto.crm.store.echoes import save_echoes
from contatto.kit.db.tx import Tx
from contatto.kit.outbound.model import (
    Done,
    Failed,
    NotNow,
    OutboundRequest,
    Outcome,
    RequestState,
)
from contatto.kit.outbound.steps import OutboundKind
from contatto.kit.outbound.store import delete_requests_of, hasten_requests, mark_requests_done
from contatto.kit.outbox import emit
from contatto.leads.model import Lead
from contatto.leads.store.records import list_leads_by_id

LEAD_GONE: Final = "lead_gone"
VERIFIED_WITHIN: Final = timedelta(seconds=10)
"""How exactly a target says when it was verified last: its row is shared by all that goes there at once."""


def payload_of(tx: Tx, target: Target, lead: Lead, revision: int, base_url: str) -> Payload:
    """What would be written of a lead now."""
    records = store.find_records(tx, target.business_id, target.id, lead.id)
    return _payload(tx, target, lead, revision, base_url, records)


def _payload(
    tx: Tx, target: Target, lead: Lead, revision: int, base_url: str, records: LeadRecords
) -> Payload:
    connector = connector_of(tx, target)
    assert connector is not None  # noqa: S101  # who asks has looked
    snapshot = read_snapshot(tx, lead, base_url)
    record = records.own
    told = status_of_word(target.statuses, record.status) if record else None
    # A CRM may have finer words for a status: its own stays where it says the same.
    kept = {row.target for row in target.mapping if row.source == STATUS and told is lead.status}
    payload = map_lead(target, connector.traits, snapshot, revision, kept)
    return replace(payload, former_ids=tuple(each.lead_id for each in records.merged))


@dataclass(slots=True)
class DeliveryWork:
    """The sequence of a delivery, for one step of it; ``base_url`` is where people reach us."""

    base_url: str
    shape: type[Course] = Course
    only_reads: bool = False
    delivery: Delivery | None = None
    """It is read once in a step, by ``target_of``."""

    def target_of(self, tx: Tx, request: OutboundRequest) -> Target | None:
        self.delivery = store.find_open_delivery(tx, request.business_id, int(request.subject))
        if self.delivery is None:
            return None
        return targets.find_target(tx, request.business_id, self.delivery.target_id)

    def begin(self, tx: Tx, request: OutboundRequest, target: Target) -> Course | Outcome:
        delivery = self.delivery
        if delivery is None:
            return Done()
        found = list_leads_by_id(tx, delivery.business_id, {delivery.lead_id}).get(delivery.lead_id)
        if found is None:
            return Failed(LEAD_GONE)
        if found.id != delivery.lead_id:  # it was merged away: the one that is kept brings all
            return _begin_merged(tx, request, delivery)
        records = store.find_records(tx, target.business_id, target.id, found.id)
        payload = _payload(tx, target, found, delivery.revision, self.base_url, records)
        if delivery.edited:
            payload = with_edits(payload, msgspec.json.decode(delivery.edited, type=dict[str, str]))
        return self._begun(tx, target, records, payload)

    @staticmethod
    def _begun(tx: Tx, target: Target, records: LeadRecords, payload: Payload) -> Course | Outcome:
        connector = connector_of(tx, target)
        if connector is None:
            return NotNow("unknown_connector")
        return rules.begin_course(connector.traits, payload, records.ids)

    def operation(self, course: Course) -> Operation:
        return rules.operation_of(course)

    def turn(
        self, tx: Tx, request: OutboundRequest, target: Target, course: Course, reply: Reply
    ) -> Course | Outcome:
        delivery, connector = self.delivery, connector_of(tx, target)
        if delivery is None or connector is None:
            return Done()
        if isinstance(reply, FieldGone | ValueGone | Refused):
            _note_fault(tx, target, course, reply)
        turn = rules.next_turn(connector.traits, course, reply, connector.agrees)
        if course.is_look and not isinstance(turn, Halt):
            return _find_merged(tx, target, delivery, turn)
        if isinstance(turn, Arrived):
            save_echoes(tx, target, turn.record_id, _statuses(target, course.payload))
            if request.failed_at is not None:  # it is there again: the others need not wait for hours
                soon = tx.now + SEARCH_LAG
                hasten_requests(tx, request.business_id, DELIVERY, request.destination, soon)
            return _arrive(tx, target, delivery, turn)
        if isinstance(turn, Halt):
            return _halt(turn, request.attempts)
        if turn.stage is Stage.CHECK and course.stage is Stage.WRITE:
            progress.record_sent(tx, delivery, turn.record_id)
        return turn

    def hold(self, tx: Tx, request: OutboundRequest) -> None:
        delivery = self.delivery
        if delivery is not None:
            progress.record_due(tx, delivery, delivery.edited, is_queued=False)


def _statuses(target: Target, payload: Payload) -> dict[str, str]:
    """What was written as the status, if any."""
    fields = {row.target for row in target.mapping if row.source == STATUS}
    written = [text for name, text in payload.values.items() if name in fields]
    return {STATUS: written[0]} if written else {}


def _halt(turn: Halt, attempts: int) -> Outcome:
    """What else was read back than was written is tried some times only: a rule of the CRM may be at it."""
    is_over = turn.is_final or (turn.reason.startswith(rules.DIFFERS) and attempts >= DIFFERS_AT_MOST)
    return Failed(turn.reason) if is_over else NotNow(turn.reason)


def _begin_merged(tx: Tx, request: OutboundRequest, delivery: Delivery) -> Course | Outcome:
    """Of a lead that was merged away nothing is written; but what an earlier try has made is looked for."""
    if request.attempts <= 1:
        _forget_delivery(tx, delivery)
        return Done()
    at = delivery.created_at.isoformat()
    return rules.look_course(Payload(delivery.lead_id, delivery.revision, {}, "", "", "", at))


def _find_merged(tx: Tx, target: Target, delivery: Delivery, turn: Course | Arrived) -> Outcome:
    _forget_delivery(tx, delivery)  # first: the other lead's delivery is the one that arrives
    if turn.record_id:
        _, merged_into = progress.record_arrived(tx, delivery, turn.record_id, is_verified=False)
        _merge_there(tx, target, merged_into)
    return Done()


def _forget_delivery(tx: Tx, delivery: Delivery) -> None:
    gone = progress.delete_unsettled(tx, delivery)
    delete_requests_of(tx, delivery.business_id, DELIVERY, [str(each) for each in gone])


def _merge_there(tx: Tx, target: Target, merged_into: str | None) -> None:
    """A record was made of a lead that went into another meanwhile: the two are to be one there too."""
    if merged_into:
        schedule_delivery(tx, narrow_target(target), merged_into)


def _arrive(tx: Tx, target: Target, delivery: Delivery, turn: Arrived) -> Outcome:
    ids, merged_into = progress.record_arrived(
        tx, delivery, turn.record_id, is_verified=turn.is_verified, reason=turn.reason
    )
    for other in ids:
        if other != delivery.id:
            mark_requests_done(tx, delivery.business_id, DELIVERY, str(other))
    if target.verified_at is None or tx.now - target.verified_at > VERIFIED_WITHIN:
        targets.record_verified_at(tx, target)
    emit(tx, delivery.business_id, CrmProgressed(delivery.business_id, target.id, delivery.lead_id))
    _merge_there(tx, target, merged_into)
    return Done()


def _note_fault(tx: Tx, target: Target, course: Course, reply: FieldGone | ValueGone | Refused) -> None:
    """Remember what the CRM does not take, so that the next leads leave it out, and ask what it has."""
    hasten_check(tx, target)
    name = "" if isinstance(reply, Refused) else reply.field
    if not name:
        return
    if isinstance(reply, FieldGone):
        fault = MappingFault(name, Weakness.NO_FIELD)
    else:
        sent = course.payload.values.get(name, "")
        words = {value: word for row in target.mapping if row.target == name for word, value in row.words}
        fault = MappingFault(name, Weakness.NO_CHOICE, words.get(sent, sent))
        if not _is_choice(target, name):
            return  # a value of this person alone, which is nobody's business but the note's
    if fault not in target.faults:
        targets.record_target(tx, target, faults=(*target.faults, fault))


def _is_choice(target: Target, name: str) -> bool:
    return any(each.name == name and each.choices for each in target.described)


def delivery_kind(base_url: str) -> OutboundKind:
    """Return how deliveries are brought to their targets."""
    work = partial(DeliveryWork, base_url)
    return work_kind(DELIVERY, work, DELIVERY_PLAN, settle_delivery, replay=ready_delivery)


def settle_delivery(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
    """Show what came of a try that brought nothing."""
    if not isinstance(outcome, NotNow | Failed):
        return
    delivery = store.find_delivery(tx, request.business_id, int(request.subject))
    if delivery is None or delivery.settled_at is not None:
        return
    if state is RequestState.DUE:
        progress.record_reason(tx, delivery, outcome.reason)
    else:
        progress.record_dead(tx, delivery, outcome.reason)
    if state is not RequestState.DUE or delivery.reason != outcome.reason[:64]:
        event = CrmProgressed(delivery.business_id, delivery.target_id, delivery.lead_id)
        emit(tx, delivery.business_id, event)


def ready_delivery(tx: Tx, request: OutboundRequest) -> None:
    """Make a dead letter ready to be sent again, as it stands."""
    delivery = store.find_delivery(tx, request.business_id, int(request.subject))
    if delivery is not None and delivery.state is DeliveryState.DEAD:
        progress.record_due(tx, delivery, delivery.edited, is_queued=True)


def resend_delivery(tx: Tx, delivery: Delivery, edited: str = "") -> None:
    """Send a dead letter again, with values that a member put into it: as a new revision of its lead."""
    target = targets.find_target(tx, delivery.business_id, delivery.target_id)
    if target is None or target.state is TargetState.REMOVED:
        return
    progress.record_due(tx, delivery, delivery.edited, is_queued=True)
    mark_requests_done(tx, delivery.business_id, DELIVERY, str(delivery.id))
    schedule_delivery(tx, narrow_target(target), delivery.lead_id, edited or delivery.edited)
