"""Delivery of leads to CRMs, from a change to the verified record.

``schedule_lead`` makes a lead due in the transaction that changed it, and queues an outbound request. The
outbound machine runs each request as a ``CrmWork``: it sends an operation, reads the answer, and asks
``rules.deliveries`` which operation follows.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import msgspec
import sqlalchemy as sa

from contatto.accounts.model import BusinessId
from contatto.accounts.store import find_member
from contatto.channels.model import ReceiptCounts
from contatto.crm import model as crm
from contatto.crm.model import CrmProgressed, Delivery, LiveTarget, Operation, Reply, Target, TargetState
from contatto.crm.rules import deliveries as rules
from contatto.crm.rules.deliveries import Arrived, DeliveryCourse, DeliveryStage, LeadTexts
from contatto.crm.store import deliveries as store
from contatto.crm.store import events
from contatto.forms.model import CONTACTS
from contatto.forms.store import list_answers_of_leads
from contatto.integrations.model import DeliveryState, Denied, ErasureState, LedgerCounts
from contatto.integrations.store import REASON_LIMIT
from contatto.kit.db.tx import Tx, rows_of
from contatto.kit.log import logger
from contatto.kit.outbound import model as outbound
from contatto.kit.outbound import queue
from contatto.kit.outbound.model import Done, Failed, NotNow, OutboundRequest, Outcome, RequestState, Step
from contatto.kit.outbox import emit
from contatto.kit.values import is_unreadable
from contatto.leads.model import Lead
from contatto.leads.rules.records import ad_data, source_of
from contatto.leads.store import listing
from contatto.leads.store.tables import leads


@dataclass(frozen=True, slots=True)
class SignalCounts:
    """Counts of the signals to an ad account, and the page of their log."""

    name: str
    href: str
    counts: LedgerCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class CrmPorts:
    """Ports of CRM sync.

    Attributes:
        intake: counts of incoming messages.
        signals: counts of signals to ad platforms.
        connectors: by name; tests hand in others.
    """

    intake: Callable[[Tx, str], ReceiptCounts]
    signals: Callable[[Tx, str], Sequence[SignalCounts]]
    connectors: Mapping[str, crm.CrmConnector]


AT_ONCE: Final = 200
"""Most leads or deliveries of one batch."""
LEAD_GONE: Final = "lead_gone"
VERIFIED_WITHIN: Final = timedelta(seconds=10)
"""Shortest time between two updates of a target's ``verified_at``: all its deliveries write that row."""
MOST_TURNS: Final = 40
"""Most replies in a row without a request; a connector that gives more is in a loop."""


def schedule_lead(tx: Tx, business_id: str, /, *lead_ids: str) -> None:
    """Make changed leads due at each target of their business; a port of leads.

    A target that is not active keeps its deliveries, and gets them when it is active again.
    """
    for target in store.list_live_targets(tx, business_id) if lead_ids else []:
        schedule_deliveries(tx, target, lead_ids)


def schedule_deliveries(
    tx: Tx, target: LiveTarget, lead_ids: Iterable[str], edited: str = ""
) -> dict[str, int]:
    """Make leads due at one target; return the ids of the deliveries by lead."""
    due_ids = sorted(set(lead_ids))
    if not due_ids:
        return {}
    is_queued = target.state is TargetState.ACTIVE
    delivery_ids = store.append_deliveries(tx, target, due_ids, is_queued=is_queued, edited=edited)
    if is_queued:
        requests = [
            lead_request(target, rules.DELIVERY, delivery_ids[lead_id], lead_id) for lead_id in due_ids
        ]
        queue.queue_requests(tx, requests, rules.DELIVERY_PLAN)
    return delivery_ids


def lead_request(target: LiveTarget, kind: str, subject: int, lead_id: str) -> outbound.NewRequest:
    """Return a request about a lead; those of one lead are sent one after the other."""
    line = f"{target.number}:{lead_id}"
    return outbound.NewRequest(target.business_id, kind, str(subject), destination_of(target), line)


def destination_of(target: LiveTarget) -> str:
    """Return the unit of rate limits and circuit breakers: one target, so that no other waits for it."""
    host = urlsplit(target.address).netloc.rpartition("@")[2].lower()
    return f"crm-{target.number}-{host}"[:300]


def release_deliveries(tx: Tx) -> int:
    """Queue deliveries that waited for their target to be active again; return their number."""
    targets: dict[str, LiveTarget] = {}
    count = 0
    for delivery in store.ledger.release(tx, AT_ONCE):
        count += 1
        if delivery.target_id not in targets:
            targets |= {target.id: target for target in store.list_live_targets(tx, delivery.business_id)}
        request = lead_request(targets[delivery.target_id], rules.DELIVERY, delivery.id, delivery.lead_id)
        queue.queue_request(tx, request, rules.DELIVERY_PLAN)
    return count


def sweep_leads(tx: Tx) -> int:
    """Schedule a page of leads for a newly linked or resynchronised target.

    Return the size of the page, at least 1; 0 without such a target.
    """
    target = store.find_swept_target(tx)
    if target is None:
        return 0
    # Test leads are not in the lists, and no CRM gets them.
    listed = sa.select(leads.c.id).where(
        leads.c.business_id == target.business_id,
        leads.c.id > target.sweep_after,
        leads.c.hidden_at.is_(None),
        leads.c.is_test.is_(False),
    )
    page = list(tx.execute(listed.order_by(leads.c.id).limit(AT_ONCE)).scalars())
    due_ids = set(page)
    if target.sweep is not crm.Sweep.ALL:
        records = rows_of(store.crm_records, target.business_id, target_id=target.id, lead_id=page)
        due_ids -= set(tx.execute(sa.select(store.crm_records.c.lead_id).where(*records)).scalars())
    schedule_deliveries(tx, target, due_ids)
    is_over = len(page) < AT_ONCE
    after = "" if is_over else page[-1]
    store.record_target(tx, target, sweep=crm.Sweep.NONE if is_over else target.sweep, sweep_after=after)
    return max(len(page), 1)


def connector_of(tx: Tx, target: Target) -> crm.CrmConnector | None:
    """Return the connector of a target; None when this installation has none of that name."""
    return tx.ports[CrmPorts].connectors.get(target.connector)


def link_of(target: Target, tx: Tx) -> crm.CrmLink:
    return crm.CrmLink(target.address, target.settings, target.secrets, tx.now)


def publish_connection(tx: Tx, target: Target) -> None:
    emit(tx, target.business_id, CrmProgressed(target.business_id, target.id, ""))


@dataclass(frozen=True, slots=True)
class Progress:
    """State of a request between two steps: ``course`` of the work as JSON, ``memory`` of the connector."""

    course: str = field(repr=False)
    secrets_revision: int = 0
    renewals: int = 0
    is_renewing: bool = False
    memory: Any = field(default="", repr=False)


@dataclass(slots=True)
class WorkStep[S]:
    """One step of a request to a CRM: from an answer to the next request, or to the outcome.

    ``subject`` is what the request is about; ``turns`` counts replies in a row without a request.
    """

    work: "CrmWork[S, Any]"
    tx: Tx
    request: OutboundRequest
    target: Target
    subject: S
    connector: crm.CrmConnector
    turns: int = 0

    def stored_course[C](self, shape: type[C]) -> C | None:
        """Return the course at which the last try ended."""
        stored = self.request.progress
        progress = msgspec.json.decode(stored, type=Progress) if stored else None
        return msgspec.json.decode(progress.course, type=shape) if progress else None

    def follow(self, progress: Progress, course: Any) -> Step:
        """End with an outcome, or send the next operation."""
        if isinstance(course, Done | NotNow | Failed | outbound.Later):
            return course
        encoded = msgspec.json.encode(course).decode()
        return self._send(replace(progress, course=encoded, memory="", is_renewing=False))

    def _send(self, progress: Progress) -> Step:
        request = self.connector.ask(link_of(self.target, self.tx), self.operation(progress))
        if isinstance(request, outbound.HttpRequest):
            return outbound.Ask(request, msgspec.json.encode(progress).decode())
        self.turns += 1
        return NotNow("circles") if self.turns > MOST_TURNS else self.take(progress, request)

    def operation(self, progress: Progress) -> Operation:
        """Return the operation that is running, or the renewal of the token."""
        if progress.is_renewing:
            return crm.RenewSecrets()
        return self.work.operation(msgspec.json.decode(progress.course, type=self.work.shape))

    def take(self, progress: Progress, reply: Reply) -> Step:
        """Go on after a reply: renew the token, stop at a refusal, or let the work choose its next turn."""
        if isinstance(reply, crm.FollowUp):
            following = replace(progress, memory=reply.memory)
            return outbound.Ask(reply.request, msgspec.json.encode(following).decode())
        if progress.is_renewing:
            return self._after_renewal(progress, reply)
        if isinstance(reply, crm.Expired):
            return self._renew(progress)
        if isinstance(reply, Denied):
            return self._disconnect(reply.reason)
        if isinstance(reply, NotNow):
            return reply
        course = msgspec.json.decode(progress.course, type=self.work.shape)
        return self.follow(progress, self.work.turn(self, course, reply))

    def _renew(self, progress: Progress) -> Step:
        """Renew the token, unless another request does or did: a refresh token can be used once only."""
        if self.target.secrets_revision != progress.secrets_revision:
            return self._send(replace(progress, secrets_revision=self.target.secrets_revision, memory=""))
        if progress.renewals >= rules.MOST_RENEWALS:
            return self._disconnect("expired")
        if not store.mark_renewing(self.tx, self.target, self.tx.now + rules.RENEWING):
            # a poll goes on from its cursor, other work begins anew
            stored = msgspec.json.encode(progress).decode() if self.work.keeps_progress else ""
            return outbound.Later(stored, rules.SOON_S)
        renewals = progress.renewals + 1
        return self._send(replace(progress, is_renewing=True, renewals=renewals, memory=""))

    def _after_renewal(self, progress: Progress, reply: Reply) -> Step:
        if self.target.secrets_revision != progress.secrets_revision:
            # Another request renewed meanwhile, or a member granted access again: those secrets are newer.
            return self._renew(replace(progress, is_renewing=False))
        if isinstance(reply, crm.SecretsRenewed):
            secrets = {**self.target.secrets, **reply.secrets}
            store.record_secrets(self.tx, self.target, secrets, reply.address)
            loaded = self.work.load(self.tx, self.request)
            if loaded is None:
                return Done()
            self.target, self.subject = loaded
            revision = self.target.secrets_revision
            return self._send(replace(progress, secrets_revision=revision, is_renewing=False, memory=""))
        store.record_target(self.tx, self.target, renewing_until=None)
        if isinstance(reply, NotNow):
            return reply
        return self._disconnect(reply.reason if isinstance(reply, Denied) else "not_renewed")

    def _disconnect(self, reason: str) -> Step:
        """Stop writing to a CRM that refuses access: leads queue until a member connects it again.

        A target that a member paused stays paused, with the reason.
        """
        target = self.target
        state = TargetState.PAUSED if target.state is TargetState.PAUSED else TargetState.DISCONNECTED
        store.record_target(self.tx, target, state=state, reason=reason[:64])
        publish_connection(self.tx, target)
        details = {"target": target.number, "connector": target.connector, "reason": reason}
        logger().warning("crm.disconnected", **details)
        self.work.hold(self)
        return Done()


@dataclass(frozen=True)
class CrmWork[S, C](ABC):
    """A kind of requests: a sequence of operations at one CRM.

    ``S`` is the subject, such as a delivery. ``C`` is the course: the state between two requests, saved as
    JSON. ``base_url`` is our public address.
    """

    kind: ClassVar[str]
    plan: ClassVar[outbound.RetryPlan]
    shape: ClassVar[type[Any]]
    """The type of the course."""
    only_reads: ClassVar[bool] = False
    """Work that changes nothing in the CRM continues while the target is paused."""
    keeps_progress: ClassVar[bool] = False
    """A replay continues from the saved progress, as a poll does."""
    trait: ClassVar[str] = ""
    """The trait that a connector needs for it; empty for none."""
    base_url: str = ""

    def load(self, tx: Tx, request: OutboundRequest) -> tuple[Target, Any] | None:
        """Return the target and the subject; None when nothing is left to do."""
        target = store.find_target(tx, request.business_id, request.subject)
        return None if target is None else (target, None)

    def advance(self, tx: Tx, request: OutboundRequest, answer: outbound.HttpAnswer | None = None) -> Step:
        """Begin a try, or read an answer and go on."""
        loaded = self.load(tx, request)
        if loaded is None:
            return Done()
        target = loaded[0]
        connector = connector_of(tx, target)
        if connector is None:
            return NotNow("unknown_connector")
        step = WorkStep(self, tx, request, *loaded, connector)
        if answer is not None:
            progress = msgspec.json.decode(request.progress, type=Progress)
            link, operation = link_of(target, tx), step.operation(progress)
            return step.take(progress, connector.read(link, operation, answer, progress.memory))
        if not (target.is_active or (self.only_reads and target.state is TargetState.PAUSED)):
            self.hold(step)
            return Done()
        return step.follow(Progress("", target.secrets_revision), self.begin(step))

    @abstractmethod
    def begin(self, step: WorkStep[S]) -> C | Outcome:
        """Return the first course of a try, or the outcome."""

    def operation(self, course: Any) -> Operation:
        """Return the next operation of a course; a course may be the operation itself."""
        operation: Operation = course
        return operation

    @abstractmethod
    def turn(self, step: WorkStep[S], course: C, reply: Reply) -> C | Outcome:
        """Return the next course after a reply, or the outcome."""

    # The three below are empty and not abstract, as some kinds of work have nothing to do there (B027).
    def hold(self, step: WorkStep[S]) -> None:  # noqa: B027 - some have none
        """Keep the subject due until the target is active again; the request ends."""

    def settle(self, tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:  # noqa: B027 - some have none
        """Record the reason of a failed try; a due request is tried again."""

    def replay(self, tx: Tx, request: OutboundRequest) -> None:  # noqa: B027 - some have none
        """Make the subject of a dead request due again."""


def queue_work(tx: Tx, target: Target, work: type[CrmWork[Any, Any]]) -> None:
    """Make a target's one request of a kind due now, or again after the running one.

    Do nothing without access to the CRM, or if its connector lacks the trait.
    """
    connector, states = connector_of(tx, target), [TargetState.ACTIVE]
    if work.only_reads:
        states.append(TargetState.PAUSED)
    if connector is None or target.state not in states:
        return
    if work.trait and not getattr(connector.traits, work.trait):
        return
    request = find_kind_request(tx, target, work.kind)
    if request is not None:
        queue.poll_again(tx, request, work.plan)
    else:
        new = outbound.NewRequest(target.business_id, work.kind, target.id, destination_of(target))
        queue.queue_request(tx, new, work.plan)


def find_kind_request(tx: Tx, target: Target, kind: str) -> OutboundRequest | None:
    """Return a target's one request of a kind: when it is due, and why it failed last."""
    requests = queue.list_requests_of(tx, target.business_id, kind, [target.id])
    return requests[0] if requests else None


def read_snapshot(tx: Tx, lead: Lead, base_url: str) -> LeadTexts:
    """Return the texts of a lead by the source names that a mapping can choose."""
    business_id = lead.business_id
    # One word is the last name, which every CRM requires.
    first, _, last = lead.name.strip().rpartition(" ")
    names = {rules.NAME: lead.name, rules.FIRST_NAME: first.strip(), rules.LAST_NAME: last}
    values = names if lead.name else {}
    wrong_values: dict[str, list[str]] = {}
    for point in listing.list_contact_points(tx, business_id, {lead.id})[lead.id]:
        name = point.field.value
        if is_unreadable(point.value):
            continue
        if point.wrong_at is not None:
            wrong_values.setdefault(name, []).append(point.value)
            continue
        values[name] = f"{values[name]}, {point.value}" if values.get(name) else point.value
    owner = find_member(tx, BusinessId(business_id), lead.owner_id) if lead.owner_id else None
    credit = listing.list_credits(tx, business_id, {lead.id}).get(lead.id)
    forms = listing.list_entries(tx, business_id, lead.id)
    source = source_of(lead)
    values |= {
        rules.STATUS: lead.status.value,
        rules.OWNER: owner.email if owner else "",
        "labels": ", ".join(
            label.name for label in listing.list_labels_of(tx, business_id, {lead.id})[lead.id]
        ),
        "lead_id": str(lead.number),
        "lead_url": f"{base_url}/leads/{lead.id}",
        "lead_source": source.value if source else "",
        "created_at": lead.created_at.isoformat(),
        "form_name": forms[-1].form_name if forms else "",
        **ad_data(credit[1] if credit else None),
    }
    submissions = list_answers_of_leads(tx, business_id, {lead.id})[lead.id]
    for sent in reversed(submissions):  # the latest answer to a question counts
        answers = (answer for answer in sent.answers if answer.kind not in CONTACTS)
        values |= {f"{rules.ANSWER}{answer.label}": answer.shown for answer in answers}
    return LeadTexts(lead.id, values, lead.updated_at, wrong_values)


def payload_of(
    tx: Tx, target: Target, lead: Lead, revision: int, base_url: str, records: crm.LeadRecords | None = None
) -> crm.Payload:
    """Return what a delivery of a lead writes now."""
    connector = connector_of(tx, target)
    assert connector is not None  # noqa: S101  # callers have checked it
    records = records or store.find_records(tx, target.business_id, target.id, lead.id)
    crm_status = rules.status_of_word(target.statuses, records.own.status) if records.own else None
    # A CRM may have finer words for a status: it keeps its own word where both mean the same.
    is_same = crm_status is lead.status
    unchanged_fields = {row.target for row in target.mapping if row.source == rules.STATUS and is_same}
    payload = rules.map_lead(
        target, connector.traits, read_snapshot(tx, lead, base_url), revision, unchanged_fields
    )
    return replace(payload, former_ids=tuple(record.lead_id for record in records.merged))


class DeliveryWork(CrmWork[Delivery, DeliveryCourse]):
    """Delivery of a lead to a CRM."""

    kind = rules.DELIVERY
    plan = rules.DELIVERY_PLAN
    shape = DeliveryCourse
    operation = staticmethod(rules.operation_of)

    def load(self, tx: Tx, request: OutboundRequest) -> tuple[Target, Delivery] | None:
        key = {"of": request.business_id, "number": int(request.subject)}
        delivery = tx.find(Delivery, store.OPEN_DELIVERY, key)
        target = store.find_target(tx, request.business_id, delivery.target_id) if delivery else None
        return (target, delivery) if target and delivery else None

    def begin(self, step: WorkStep[Delivery]) -> DeliveryCourse | Outcome:
        tx, target, delivery = step.tx, step.target, step.subject
        lead = listing.list_leads_by_id(tx, delivery.business_id, {delivery.lead_id}).get(delivery.lead_id)
        if lead is None:
            return Failed(LEAD_GONE)
        if lead.id != delivery.lead_id:
            # The lead was merged into another, and that one's delivery writes all values. An earlier try may
            # have created a record: find it, so that the CRM can merge it.
            if step.request.attempts <= 1:
                store.delete_unsettled(tx, delivery)
                return Done()
            occurred_at = delivery.created_at.isoformat()
            payload = crm.Payload(delivery.lead_id, delivery.revision, {}, "", "", "", occurred_at)
            return DeliveryCourse(payload, DeliveryStage.FIND, (crm.FindBy.EXTERNAL_ID,), is_look=True)
        records = store.find_records(tx, target.business_id, target.id, lead.id)
        payload = payload_of(tx, target, lead, delivery.revision, self.base_url, records)
        if delivery.edited:
            payload = rules.with_edits(payload, msgspec.json.decode(delivery.edited, type=dict[str, str]))
        return rules.begin_course(step.connector.traits, payload, records.ids)

    def turn(
        self, step: WorkStep[Delivery], course: DeliveryCourse, reply: Reply
    ) -> DeliveryCourse | Outcome:
        tx, target, delivery = step.tx, step.target, step.subject
        if isinstance(reply, crm.FieldGone | crm.ValueGone | Failed):
            _record_fault(tx, target, course, reply)
        turn = rules.next_turn(step.connector, course, reply)
        if isinstance(turn, NotNow | Failed):
            # A rule of the CRM may change a value each time: a difference is tried a few times only.
            is_over = step.request.attempts >= rules.DIFFERS_AT_MOST and turn.reason.startswith(rules.DIFFERS)
            return Failed(turn.reason) if is_over else turn
        if course.is_look:
            store.delete_unsettled(tx, delivery)  # first, so that only the other lead's delivery arrives
            if turn.record_id:
                _, merged_into = store.record_arrived(tx, delivery, turn.record_id, is_verified=False)
                schedule_deliveries(tx, target, [merged_into] if merged_into else [])
            return Done()
        if not isinstance(turn, Arrived):
            if turn.stage is DeliveryStage.CHECK and course.stage is DeliveryStage.WRITE:
                store.record_sent(tx, delivery, turn.record_id)
            return turn
        # The delivery arrived, which settles the earlier deliveries of its lead.
        status_fields = {row.target for row in target.mapping if row.source == rules.STATUS}
        statuses = [text for name, text in course.payload.values.items() if name in status_fields]
        store.save_echoes(tx, target, turn.record_id, {rules.STATUS: statuses[0]} if statuses else {})
        request = step.request
        if request.failed_at is not None:  # the CRM answers again: other requests need not wait for hours
            soon = tx.now + rules.SEARCH_LAG
            queue.hasten_requests(tx, request.business_id, rules.DELIVERY, request.destination, soon)
        settled_ids, merged_into = store.record_arrived(
            tx, delivery, turn.record_id, is_verified=turn.is_verified, reason=turn.reason
        )
        for settled_id in settled_ids:
            if settled_id != delivery.id:
                queue.mark_requests_done(tx, delivery.business_id, rules.DELIVERY, str(settled_id))
        if target.verified_at is None or tx.now - target.verified_at > VERIFIED_WITHIN:
            store.record_target(tx, target, verified_at=tx.now)
        emit(tx, delivery.business_id, CrmProgressed(delivery.business_id, target.id, delivery.lead_id))
        # The lead that this one was merged into meanwhile is due, so that the CRM merges the two records.
        schedule_deliveries(tx, target, [merged_into] if merged_into else [])
        return Done()

    def hold(self, step: WorkStep[Delivery]) -> None:
        delivery = step.subject
        store.record_due(step.tx, delivery, delivery.edited, is_queued=False)

    def settle(self, tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
        """Record the reason of a failed try; the last one makes a dead letter."""
        delivery = store.ledger.find_open(tx, request)
        if delivery is None or not isinstance(outcome, NotNow | Failed):
            return
        is_last = state is not RequestState.DUE
        if is_last:
            store.record_dead(tx, delivery, outcome.reason)
        else:
            tx.execute(store.ledger.change(delivery).values(reason=outcome.reason[:REASON_LIMIT]))
        if is_last or delivery.reason != outcome.reason[:REASON_LIMIT]:
            event = CrmProgressed(delivery.business_id, delivery.target_id, delivery.lead_id)
            emit(tx, delivery.business_id, event)

    def replay(self, tx: Tx, request: OutboundRequest) -> None:
        delivery = store.ledger.find(tx, request.business_id, int(request.subject))
        if delivery is not None and delivery.state is DeliveryState.DEAD:
            store.record_due(tx, delivery, delivery.edited, is_queued=True)


def _record_fault(
    tx: Tx, target: Target, course: DeliveryCourse, reply: crm.FieldGone | crm.ValueGone | Failed
) -> None:
    """Record what the CRM does not accept, so that the next leads omit it, and read its fields again."""
    queue.hasten_requests(tx, target.business_id, rules.CHECK, destination_of(target), tx.now)
    name = "" if isinstance(reply, Failed) else reply.field
    if not name:
        return
    if isinstance(reply, crm.FieldGone):
        fault = crm.MappingFault(name, crm.Weakness.NO_FIELD)
    elif any(described.name == name and described.choices for described in target.described):
        sent = course.payload.values.get(name, "")
        words = {value: word for row in target.mapping if row.target == name for word, value in row.words}
        fault = crm.MappingFault(name, crm.Weakness.NO_CHOICE, words.get(sent, sent))
    else:
        return  # a value of this person alone: it goes into the note, and not into the log of faults
    if fault not in target.faults:
        store.record_target(tx, target, faults=(*target.faults, fault))


def resend_delivery(tx: Tx, delivery: Delivery, edited: str = "") -> None:
    """Send a dead letter again as a new revision of its lead, with the values that a member edited."""
    target = store.find_target(tx, delivery.business_id, delivery.target_id)
    if target is None:
        return
    store.record_due(tx, delivery, delivery.edited, is_queued=True)
    queue.mark_requests_done(tx, delivery.business_id, rules.DELIVERY, str(delivery.id))
    schedule_deliveries(tx, target, [delivery.lead_id], edited or delivery.edited)


def schedule_merge(tx: Tx, business_id: str, kept_id: str, merged_id: str, *, is_undone: bool) -> None:
    """Deliver a merge of two leads, or its undoing, to each target; a port of leads.

    After the undoing the record of the lead is searched again, as the CRM may have merged it.
    """
    values = {"merged_into": None, "record_id": ""} if is_undone else {"merged_into": kept_id}
    records = rows_of(store.crm_records, business_id, lead_id=merged_id)
    tx.execute(sa.update(store.crm_records).where(*records).values(**values))
    schedule_lead(tx, business_id, kept_id)
    if is_undone:
        schedule_lead(tx, business_id, merged_id)


def schedule_erasure(tx: Tx, business_id: str, lead_ids: Collection[str]) -> None:
    """Make erasures of deleted leads due at each target, and delete their deliveries; a port of leads.

    A delivery that is being sent may still create a record; the erasure finds it by our id.
    """
    targets = store.list_live_targets(tx, business_id)
    record_ids = {
        (record.target_id, lead_id): record.record_id
        for lead_id in sorted(lead_ids)
        for record in store.list_records(tx, business_id, lead_id=lead_id)
    }
    tx.delete(events.crm_trials, business_id, lead_id=list(lead_ids))
    tx.delete(events.lead_events, business_id, lead_id=list(lead_ids))
    deliveries = rows_of(store.crm_deliveries, business_id, lead_id=list(lead_ids))
    deleted = store.crm_deliveries.delete().where(*deliveries).returning(store.crm_deliveries.c.id)
    delivery_ids = [str(delivery_id) for delivery_id in tx.execute(deleted).scalars()]
    tx.delete(store.crm_records, business_id, lead_id=list(lead_ids))
    queue.delete_requests_of(tx, business_id, rules.DELIVERY, delivery_ids)
    for target in targets:
        for lead_id in sorted(lead_ids):
            if (target.id, lead_id) not in record_ids:
                continue  # the lead was never due there
            erasure = {
                "business_id": business_id,
                "target_id": target.id,
                "lead_id": lead_id,
                "record_id": record_ids[target.id, lead_id],
                "state": ErasureState.DUE,
                "reason": "",
                "created_at": tx.now,
            }
            insert = tx.upsert(events.crm_erasures).values(**erasure).on_conflict_do_nothing()
            erasure_id = tx.execute(insert.returning(events.crm_erasures.c.id)).scalar()
            if erasure_id is not None and target.state is TargetState.ACTIVE:
                request = lead_request(target, rules.ERASURE, erasure_id, lead_id)
                queue.queue_request(tx, request, rules.ERASURE_PLAN)


def purge_sync(tx: Tx) -> int:
    """Delete old deliveries except dead ones, and old digests of written values; return their number."""
    is_old = store.crm_deliveries.c.settled_at < tx.now - rules.KEEP
    deleted = tx.delete_some(store.crm_deliveries, is_old, store.crm_deliveries.c.state != DeliveryState.DEAD)
    return deleted + tx.delete_some(store.crm_echoes, store.crm_echoes.c.at < tx.now - rules.ECHO)
