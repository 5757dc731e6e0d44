"""The way of a lead to a CRM, from its change to its delivery."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import select

from contatto.accounts.model import BusinessId
from contatto.accounts.store import find_member
from contatto.crm.model import (
    CrmConnector,
    CrmLink,
    CrmProgressed,
    Delivery,
    DeliveryState,
    Denied,
    Expired,
    FieldGone,
    FollowUp,
    LeadRecords,
    MappingFault,
    Operation,
    Payload,
    Rejected,
    RenewSecrets,
    Reply,
    RetryLater,
    SecretsRenewed,
    Sweep,
    Target,
    TargetState,
    Unsubscribed,
    ValueGone,
    Weakness,
)
from contatto.crm.registry import CrmPorts
from contatto.crm.rules.deliveries import (
    CHECK,
    DELIVERY,
    DELIVERY_PLAN,
    DIFFERS,
    DIFFERS_AT_MOST,
    ECHO,
    ERASURE,
    ERASURE_PLAN,
    KEEP,
    MOST_RENEWALS,
    RENEWING,
    SEARCH_LAG,
    SOON_S,
    Arrived,
    DeliveryCourse,
    DeliveryStage,
    Halt,
    begin_course,
    look_course,
    next_turn,
    operation_of,
)
from contatto.crm.rules.mapping import (
    ANSWER,
    OWNER,
    STATUS,
    LeadSnapshot,
    map_lead,
    name_values,
    status_of_word,
    with_edits,
)
from contatto.crm.store.deliveries import (
    append_deliveries,
    delete_lead_events,
    delete_lead_rows,
    delete_old_deliveries,
    delete_old_echoes,
    delete_unsettled,
    find_delivery,
    find_open_delivery,
    find_records,
    list_held,
    list_records_of_lead,
    list_unknown_leads,
    mark_queued,
    record_arrived,
    record_changes,
    record_dead,
    record_due,
    record_merged,
    record_reason,
    record_sent,
    save_echoes,
    save_erasure,
)
from contatto.crm.store.targets import (
    LiveTarget,
    delete_trials_of,
    find_swept_target,
    find_target,
    list_live_targets,
    mark_renewing,
    record_secrets,
    record_target,
    record_verified_at,
)
from contatto.kit.clock import in_time
from contatto.kit.db.tx import Tx
from contatto.kit.i18n import is_unreadable
from contatto.kit.log import logger
from contatto.kit.outbound import model as outbound
from contatto.kit.outbound.model import (
    Ask,
    Done,
    Failed,
    HttpAnswer,
    HttpRequest,
    NewRequest,
    NotNow,
    OutboundRequest,
    Outcome,
    RequestState,
    RetryPlan,
    Step,
)
from contatto.kit.outbound.steps import OutboundKind
from contatto.kit.outbound.store import (
    delete_requests_of,
    hasten_requests,
    list_requests_of,
    mark_requests_done,
    poll_again,
    queue_request,
    queue_requests,
)
from contatto.kit.outbox import emit
from contatto.leads.model import Lead
from contatto.leads.rules.records import ad_data, source_of
from contatto.leads.store.annotations import list_entries, list_labels_of
from contatto.leads.store.listing import list_credits
from contatto.leads.store.records import leads, list_contact_points, list_leads_by_id

AT_ONCE: Final = 200


def schedule_lead(tx: Tx, business_id: str, /, *lead_ids: str) -> None:
    """Make changes of leads due at each target of their business; a port of leads.

    A target that is not active keeps what is due, and gets it when it is active again.
    """
    for target in list_live_targets(tx, business_id) if lead_ids else []:
        schedule_deliveries(tx, target, lead_ids)


def schedule_delivery(tx: Tx, target: LiveTarget, lead_id: str, edited: str = "") -> int:
    """Make a lead due at one target; give the id of the delivery."""
    return schedule_deliveries(tx, target, [lead_id], edited)[lead_id]


def schedule_deliveries(
    tx: Tx, target: LiveTarget, lead_ids: Iterable[str], edited: str = ""
) -> dict[str, int]:
    """Make leads due at one target, each once; give the ids of the deliveries, by their leads."""
    due = sorted(set(lead_ids))
    if not due:
        return {}
    is_queued = target.state is TargetState.ACTIVE
    revisions = record_changes(tx, target, due)
    made = append_deliveries(tx, target, revisions, is_queued=is_queued, edited=edited)
    if is_queued:
        queue_requests(tx, [delivery_request(target, made[each], each) for each in due], DELIVERY_PLAN)
    return made


def delivery_request(target: LiveTarget, delivery_id: int, lead_id: str) -> NewRequest:
    """The request that brings a delivery; those of one lead go one after the other."""
    line = f"{target.number}:{lead_id}"
    return NewRequest(target.business_id, DELIVERY, str(delivery_id), destination_of(target), line)


def destination_of(target: LiveTarget) -> str:
    """What may be slow or down as a whole: one target, so that no other waits for it."""
    host = urlsplit(target.address).netloc.rpartition("@")[2].lower()
    return f"crm-{target.number}-{host}"[:300]


def narrow_target(target: Target) -> LiveTarget:
    """As much of a target as scheduling needs."""
    return LiveTarget(target.id, target.business_id, target.number, target.state, target.address)


def schedule_merge(tx: Tx, business_id: str, kept_id: str, merged_id: str, *, is_undone: bool) -> None:
    """Bring it to each target that two leads became one, or two again; a port of leads."""
    record_merged(tx, business_id, merged_id, None if is_undone else kept_id)
    schedule_lead(tx, business_id, kept_id)
    if is_undone:
        schedule_lead(tx, business_id, merged_id)


def schedule_erasure(tx: Tx, business_id: str, lead_ids: Collection[str]) -> None:
    """Make it due at each target to erase leads that are gone, and forget what was to go there; a port.

    What may be on its way meanwhile is found by our id when it is erased.
    """
    targets = list_live_targets(tx, business_id)
    known = {
        (record.target_id, lead_id): record.record_id
        for lead_id in sorted(lead_ids)
        for record in list_records_of_lead(tx, business_id, lead_id)
    }
    delete_trials_of(tx, business_id, lead_ids)
    delete_lead_events(tx, business_id, lead_ids)
    gone = delete_lead_rows(tx, business_id, lead_ids)
    delete_requests_of(tx, business_id, DELIVERY, [str(each) for each in gone])
    for target in targets:
        for lead_id in sorted(lead_ids):
            if (target.id, lead_id) not in known:
                continue  # nothing of this lead was ever due there
            made = save_erasure(tx, target, lead_id, known[target.id, lead_id])
            if made is not None and target.state is TargetState.ACTIVE:
                queue_erasure(tx, target, made, lead_id)


def queue_erasure(tx: Tx, target: LiveTarget, erasure_id: int, lead_id: str) -> None:
    queue_request(tx, erasure_request(target, erasure_id, lead_id), ERASURE_PLAN)


def erasure_request(target: LiveTarget, erasure_id: int, lead_id: str) -> NewRequest:
    """The request that erases, in one line with what still brings the lead."""
    line = f"{target.number}:{lead_id}"
    return NewRequest(target.business_id, ERASURE, str(erasure_id), destination_of(target), line)


def release_deliveries(tx: Tx) -> int:
    """Queue some deliveries that waited for their target to be active again; say how many."""
    held = list_held(tx, AT_ONCE)
    found = {
        target.id: target
        for business_id in sorted({each.business_id for each in held})
        for target in list_live_targets(tx, business_id)
    }
    count = 0
    for delivery in in_time(held):
        target = found[delivery.target_id]
        queue_request(tx, delivery_request(target, delivery.id, delivery.lead_id), DELIVERY_PLAN)
        mark_queued(tx, delivery)
        count += 1
    return count


def sweep_leads(tx: Tx) -> int:
    """Go through some leads of a target that was linked later, or is to get all again; say how many."""
    target = find_swept_target(tx)
    if target is None:
        return 0
    page = list_lead_ids_after(tx, target.business_id, target.sweep_after, AT_ONCE)
    due = page if target.sweep is Sweep.ALL else list_unknown_leads(tx, target, page)
    schedule_deliveries(tx, narrow_target(target), due)
    is_over = len(page) < AT_ONCE
    after = "" if is_over else page[-1]
    record_target(tx, target, sweep=Sweep.NONE if is_over else target.sweep, sweep_after=after)
    return max(len(page), 1)


def list_lead_ids_after(tx: Tx, business_id: str, after: str, limit: int) -> list[str]:
    """Ids of leads that are in the lists, in their order; test leads are told to nobody."""
    listed = select(leads.c.id).where(
        leads.c.business_id == business_id,
        leads.c.id > after,
        leads.c.hidden_at.is_(None),
        leads.c.is_test.is_(False),
    )
    return list(tx.execute(listed.order_by(leads.c.id).limit(limit)).scalars())


def purge_sync(tx: Tx) -> int:
    """Delete some deliveries that arrived long ago, and what needs not be known as ours any more."""
    old = delete_old_deliveries(tx, tx.now - KEEP)
    return old + delete_old_echoes(tx, tx.now - ECHO)


MOST_TURNS: Final = 40
"""Replies without a request in between; more would be a connector that turns in circles."""


class CrmWork[C](Protocol):
    """A sequence of operations; ``C`` says where it stands, and is kept as JSON."""

    @property
    def shape(self) -> type[C]: ...

    @property
    def only_reads(self) -> bool:
        """Return whether it changes nothing in the CRM: then it goes on while the target is paused."""
        ...

    def target_of(self, tx: Tx, request: OutboundRequest) -> Target | None:
        """The target that it concerns; None when there is nothing to do any more."""
        ...

    def begin(self, tx: Tx, request: OutboundRequest, target: Target) -> C | Outcome:
        """The first step, whatever was done before."""
        ...

    def operation(self, course: C) -> Operation: ...

    def turn(self, tx: Tx, request: OutboundRequest, target: Target, course: C, reply: Reply) -> C | Outcome:
        """The next step after a reply, or the outcome."""
        ...

    def hold(self, tx: Tx, request: OutboundRequest) -> None:
        """Keep what is to be done until the target is active again; the request ends."""
        ...


type SettleWork = Callable[[Tx, OutboundRequest, Outcome, RequestState], None]


def settle_nothing(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
    """What came of it stands where the work itself has kept it."""


@dataclass(frozen=True, slots=True)
class _Progress:
    course: str = field(repr=False)
    secrets_revision: int
    renewals: int = 0
    is_renewing: bool = False
    memory: str = field(default="", repr=False)


def link_of(target: Target, tx: Tx) -> CrmLink:
    return CrmLink(target.address, target.settings, target.secrets, tx.now)


def publish_connection(tx: Tx, target: Target) -> None:
    """Notify open pages that the connection of a target changed."""
    emit(tx, target.business_id, CrmProgressed(target.business_id, target.id, ""))


def connector_of(tx: Tx, target: Target) -> CrmConnector | None:
    """The connector of a target; None when this installation has none of that name."""
    return tx.ports[CrmPorts].connectors.get(target.connector)


def begin_work(tx: Tx, work: CrmWork[Any], request: OutboundRequest) -> Step:
    """The first step of a request."""
    target = work.target_of(tx, request)
    if target is None:
        return Done()
    if connector_of(tx, target) is None:
        return NotNow("unknown_connector")
    is_let_in = target.is_active or (work.only_reads and target.state is TargetState.PAUSED)
    if not is_let_in:
        work.hold(tx, request)
        return Done()
    course = work.begin(tx, request, target)
    if isinstance(course, outbound.Done | outbound.NotNow | outbound.Failed | outbound.Later):
        return course
    run = _Run(tx, work, request, target)
    return run.ask(_kept(course, _Progress("", target.secrets_revision)))


def read_work(tx: Tx, work: CrmWork[Any], request: OutboundRequest, answer: HttpAnswer) -> Step:
    """The next step after an answer."""
    target = work.target_of(tx, request)
    if target is None or connector_of(tx, target) is None:
        return Done()
    return _Run(tx, work, request, target).read(answer)


def work_kind(
    name: str,
    make_work: Callable[[], CrmWork[Any]],
    plan: RetryPlan,
    settle: SettleWork = settle_nothing,
    *,
    replay: Callable[[Tx, OutboundRequest], None] | None = None,
    keeps_progress: bool = False,
) -> OutboundKind:
    """The kind of requests that carry out one work, which is made anew for each step."""

    def begin(tx: Tx, request: OutboundRequest) -> Step:
        return begin_work(tx, make_work(), request)

    def read(tx: Tx, request: OutboundRequest, answer: HttpAnswer) -> Step:
        return read_work(tx, make_work(), request, answer)

    return OutboundKind(name, begin, read, settle, plan, replay, keeps_progress)


def _kept(course: Any, progress: _Progress) -> _Progress:
    return replace(progress, course=msgspec.json.encode(course).decode(), memory="", is_renewing=False)


def _step(request: HttpRequest, progress: _Progress) -> Ask:
    return Ask(request, msgspec.json.encode(progress).decode())


class _Run:
    """One step of a request: from an answer to the next request, or to the outcome."""

    def __init__(self, tx: Tx, work: CrmWork[Any], request: OutboundRequest, target: Target) -> None:
        self._tx = tx
        self._work = work
        self._request = request
        self._target = target
        self._connector = tx.ports[CrmPorts].connectors[target.connector]
        self._turns = 0

    def read(self, answer: HttpAnswer) -> Step:
        progress = msgspec.json.decode(self._request.progress, type=_Progress)
        link = link_of(self._target, self._tx)
        if progress.is_renewing:
            reply = self._connector.read(link, RenewSecrets(), answer, progress.memory)
            return self._after_renewal(progress, reply)
        operation = self._work.operation(self._course(progress))
        return self._take(progress, self._connector.read(link, operation, answer, progress.memory))

    def _course(self, progress: _Progress) -> Any:
        return msgspec.json.decode(progress.course, type=self._work.shape)

    def ask(self, progress: _Progress) -> Step:
        made = self._connector.ask(
            link_of(self._target, self._tx), self._work.operation(self._course(progress))
        )
        if isinstance(made, HttpRequest):
            return _step(made, progress)
        self._turns += 1
        return NotNow("circles") if self._turns > MOST_TURNS else self._take(progress, made)

    def _take(self, progress: _Progress, reply: Reply) -> Step:
        if isinstance(reply, FollowUp):
            return _step(reply.request, replace(progress, memory=reply.memory))
        if isinstance(reply, Expired):
            return self._renew(progress)
        if isinstance(reply, Denied | Unsubscribed):
            return self._disconnect(reply.reason)
        if isinstance(reply, RetryLater):
            return NotNow(reply.reason, reply.after_s)
        course = self._work.turn(self._tx, self._request, self._target, self._course(progress), reply)
        if isinstance(course, outbound.Done | outbound.NotNow | outbound.Failed | outbound.Later):
            return course
        return self.ask(_kept(course, progress))

    def _renew(self, progress: _Progress) -> Step:
        """Renew the token, unless somebody else has or does: each refresh token may be used once only."""
        if self._target.secrets_revision != progress.secrets_revision:
            fresh = replace(progress, secrets_revision=self._target.secrets_revision, memory="")
            return self.ask(fresh)
        if progress.renewals >= MOST_RENEWALS:
            return self._disconnect("expired")
        if not mark_renewing(self._tx, self._target, self._tx.now + RENEWING):
            return outbound.Later("", SOON_S)
        made = self._connector.ask(link_of(self._target, self._tx), RenewSecrets())
        asked = replace(progress, is_renewing=True, renewals=progress.renewals + 1, memory="")
        return _step(made, asked) if isinstance(made, HttpRequest) else self._after_renewal(asked, made)

    def _after_renewal(self, progress: _Progress, reply: Reply) -> Step:
        if isinstance(reply, FollowUp):
            return _step(reply.request, replace(progress, memory=reply.memory))
        if self._target.secrets_revision != progress.secrets_revision:
            # somebody else renewed meanwhile, or a person let us in anew: theirs are the newer ones
            return self._renew(replace(progress, is_renewing=False))
        if isinstance(reply, SecretsRenewed):
            secrets = {**self._target.secrets, **reply.secrets}
            record_secrets(self._tx, self._target, secrets, reply.address)
            fresh = self._work.target_of(self._tx, self._request)
            if fresh is None:
                return Done()
            self._target = fresh
            revision = fresh.secrets_revision
            return self.ask(replace(progress, secrets_revision=revision, is_renewing=False, memory=""))
        record_target(self._tx, self._target, renewing_until=None)
        if isinstance(reply, RetryLater):
            return NotNow(reply.reason, reply.after_s)
        return self._disconnect(reply.reason if isinstance(reply, Denied | Unsubscribed) else "not_renewed")

    def _disconnect(self, reason: str) -> Step:
        """The CRM lets us in no more: leads queue until a person connects it again, who is told.

        One that a member paused stays paused, and says why it would not go on.
        """
        target = self._target
        state = TargetState.PAUSED if target.state is TargetState.PAUSED else TargetState.DISCONNECTED
        record_target(self._tx, target, state=state, reason=reason[:64])
        publish_connection(self._tx, target)
        log = {"target": target.number, "connector": target.connector, "reason": reason}
        logger().warning("crm.disconnected", **log)
        self._work.hold(self._tx, self._request)
        return Done()


def read_snapshot(tx: Tx, lead: Lead, base_url: str) -> LeadSnapshot:
    """A lead as it is now."""
    business_id = lead.business_id
    values = name_values(lead.name)
    wrong: dict[str, list[str]] = {}
    for point in list_contact_points(tx, business_id, {lead.id})[lead.id]:
        if is_unreadable(point.value):
            continue
        if point.wrong_at is not None:
            wrong.setdefault(point.field.value, []).append(point.value)
            continue
        known = values.get(point.field.value)
        values[point.field.value] = f"{known}, {point.value}" if known else point.value
    owner = find_member(tx, BusinessId(business_id), lead.owner_id) if lead.owner_id else None
    earned = list_credits(tx, business_id, {lead.id}).get(lead.id)
    forms = list_entries(tx, business_id, lead.id)
    source = source_of(lead)
    values |= {
        STATUS: lead.status.value,
        OWNER: owner.email if owner else "",
        "labels": ", ".join(label.name for label in list_labels_of(tx, business_id, {lead.id})[lead.id]),
        "lead_id": str(lead.number),
        "lead_url": f"{base_url}/leads/{lead.id}",
        "lead_source": source.value if source else "",
        "created_at": lead.created_at.isoformat(),
        "form_name": forms[-1].form_name if forms else "",
        **ad_data(earned[1] if earned else None),
    }
    answers = tx.ports[CrmPorts].answers(tx, business_id, lead.id)
    values |= {f"{ANSWER}{label}": text for label, text in answers.items()}
    return LeadSnapshot(lead.id, values, lead.updated_at, wrong)


LEAD_GONE: Final = "lead_gone"
VERIFIED_WITHIN: Final = timedelta(seconds=10)
"""How exactly a target says when it was verified last: its row is shared by all that goes there at once."""


def payload_of(tx: Tx, target: Target, lead: Lead, revision: int, base_url: str) -> Payload:
    """What would be written of a lead now."""
    records = find_records(tx, target.business_id, target.id, lead.id)
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
    shape: type[DeliveryCourse] = DeliveryCourse
    only_reads: bool = False
    delivery: Delivery | None = None
    """It is read once in a step, by ``target_of``."""

    def target_of(self, tx: Tx, request: OutboundRequest) -> Target | None:
        self.delivery = find_open_delivery(tx, request.business_id, int(request.subject))
        if self.delivery is None:
            return None
        return find_target(tx, request.business_id, self.delivery.target_id)

    def begin(self, tx: Tx, request: OutboundRequest, target: Target) -> DeliveryCourse | Outcome:
        delivery = self.delivery
        if delivery is None:
            return Done()
        found = list_leads_by_id(tx, delivery.business_id, {delivery.lead_id}).get(delivery.lead_id)
        if found is None:
            return Failed(LEAD_GONE)
        if found.id != delivery.lead_id:  # it was merged away: the one that is kept brings all
            return _begin_merged(tx, request, delivery)
        records = find_records(tx, target.business_id, target.id, found.id)
        payload = _payload(tx, target, found, delivery.revision, self.base_url, records)
        if delivery.edited:
            payload = with_edits(payload, msgspec.json.decode(delivery.edited, type=dict[str, str]))
        return self._begun(tx, target, records, payload)

    @staticmethod
    def _begun(tx: Tx, target: Target, records: LeadRecords, payload: Payload) -> DeliveryCourse | Outcome:
        connector = connector_of(tx, target)
        if connector is None:
            return NotNow("unknown_connector")
        return begin_course(connector.traits, payload, records.ids)

    def operation(self, course: DeliveryCourse) -> Operation:
        return operation_of(course)

    def turn(
        self, tx: Tx, request: OutboundRequest, target: Target, course: DeliveryCourse, reply: Reply
    ) -> DeliveryCourse | Outcome:
        delivery, connector = self.delivery, connector_of(tx, target)
        if delivery is None or connector is None:
            return Done()
        if isinstance(reply, FieldGone | ValueGone | Rejected):
            _note_fault(tx, target, course, reply)
        turn = next_turn(connector.traits, course, reply, connector.agrees)
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
        if turn.stage is DeliveryStage.CHECK and course.stage is DeliveryStage.WRITE:
            record_sent(tx, delivery, turn.record_id)
        return turn

    def hold(self, tx: Tx, request: OutboundRequest) -> None:
        delivery = self.delivery
        if delivery is not None:
            record_due(tx, delivery, delivery.edited, is_queued=False)


def _statuses(target: Target, payload: Payload) -> dict[str, str]:
    """What was written as the status, if any."""
    fields = {row.target for row in target.mapping if row.source == STATUS}
    written = [text for name, text in payload.values.items() if name in fields]
    return {STATUS: written[0]} if written else {}


def _halt(turn: Halt, attempts: int) -> Outcome:
    """What else was read back than was written is tried some times only: a rule of the CRM may be at it."""
    is_over = turn.is_final or (turn.reason.startswith(DIFFERS) and attempts >= DIFFERS_AT_MOST)
    return Failed(turn.reason) if is_over else NotNow(turn.reason)


def _begin_merged(tx: Tx, request: OutboundRequest, delivery: Delivery) -> DeliveryCourse | Outcome:
    """Of a lead that was merged away nothing is written; but what an earlier try has made is looked for."""
    if request.attempts <= 1:
        _forget_delivery(tx, delivery)
        return Done()
    at = delivery.created_at.isoformat()
    return look_course(Payload(delivery.lead_id, delivery.revision, {}, "", "", "", at))


def _find_merged(tx: Tx, target: Target, delivery: Delivery, turn: DeliveryCourse | Arrived) -> Outcome:
    _forget_delivery(tx, delivery)  # first: the other lead's delivery is the one that arrives
    if turn.record_id:
        _, merged_into = record_arrived(tx, delivery, turn.record_id, is_verified=False)
        _merge_there(tx, target, merged_into)
    return Done()


def _forget_delivery(tx: Tx, delivery: Delivery) -> None:
    gone = delete_unsettled(tx, delivery)
    delete_requests_of(tx, delivery.business_id, DELIVERY, [str(each) for each in gone])


def _merge_there(tx: Tx, target: Target, merged_into: str | None) -> None:
    """A record was made of a lead that went into another meanwhile: the two are to be one there too."""
    if merged_into:
        schedule_delivery(tx, narrow_target(target), merged_into)


def _arrive(tx: Tx, target: Target, delivery: Delivery, turn: Arrived) -> Outcome:
    ids, merged_into = record_arrived(
        tx, delivery, turn.record_id, is_verified=turn.is_verified, reason=turn.reason
    )
    for other in ids:
        if other != delivery.id:
            mark_requests_done(tx, delivery.business_id, DELIVERY, str(other))
    if target.verified_at is None or tx.now - target.verified_at > VERIFIED_WITHIN:
        record_verified_at(tx, target)
    emit(tx, delivery.business_id, CrmProgressed(delivery.business_id, target.id, delivery.lead_id))
    _merge_there(tx, target, merged_into)
    return Done()


def _note_fault(
    tx: Tx, target: Target, course: DeliveryCourse, reply: FieldGone | ValueGone | Rejected
) -> None:
    """Remember what the CRM does not take, so that the next leads leave it out, and ask what it has."""
    hasten_check(tx, target)
    name = "" if isinstance(reply, Rejected) else reply.field
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
        record_target(tx, target, faults=(*target.faults, fault))


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
    delivery = find_delivery(tx, request.business_id, int(request.subject))
    if delivery is None or delivery.settled_at is not None:
        return
    if state is RequestState.DUE:
        record_reason(tx, delivery, outcome.reason)
    else:
        record_dead(tx, delivery, outcome.reason)
    if state is not RequestState.DUE or delivery.reason != outcome.reason[:64]:
        event = CrmProgressed(delivery.business_id, delivery.target_id, delivery.lead_id)
        emit(tx, delivery.business_id, event)


def ready_delivery(tx: Tx, request: OutboundRequest) -> None:
    """Make a dead letter ready to be sent again, as it stands."""
    delivery = find_delivery(tx, request.business_id, int(request.subject))
    if delivery is not None and delivery.state is DeliveryState.DEAD:
        record_due(tx, delivery, delivery.edited, is_queued=True)


def resend_delivery(tx: Tx, delivery: Delivery, edited: str = "") -> None:
    """Send a dead letter again, with values that a member put into it: as a new revision of its lead."""
    target = find_target(tx, delivery.business_id, delivery.target_id)
    if target is None or target.state is TargetState.REMOVED:
        return
    record_due(tx, delivery, delivery.edited, is_queued=True)
    mark_requests_done(tx, delivery.business_id, DELIVERY, str(delivery.id))
    schedule_delivery(tx, narrow_target(target), delivery.lead_id, edited or delivery.edited)


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
