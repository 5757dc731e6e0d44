"""Checks of a CRM's fields, trials, comparisons, erasures, and changes that come back."""

import base64
import secrets
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import msgspec
import sqlalchemy as sa

from contatto.crm import model as crm
from contatto.crm.actions import deliveries as sync
from contatto.crm.connectors.webhook import PREFIX
from contatto.crm.model import Operation, Reply, Target
from contatto.crm.rules import deliveries as rules
from contatto.crm.rules import erasures as erasure_rules
from contatto.crm.rules.deliveries import DeliveryCourse
from contatto.crm.rules.erasures import EraseCourse, EraseStage, ErasureSettled
from contatto.crm.store import deliveries as store
from contatto.crm.store import events
from contatto.integrations.model import DeliveryState, ErasureState, TrialState
from contatto.kit import errors
from contatto.kit.db.tx import Tx, rows_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.ids import new_id
from contatto.kit.outbound.model import Done, Failed, Later, NotNow, OutboundRequest, Outcome, RequestState
from contatto.kit.outbound.queue import send_again
from contatto.leads.actions.records import change_lead_status, note_edit
from contatto.leads.model import Actor, HistoryKind, Lead
from contatto.leads.store.listing import is_earned_elsewhere, list_leads_by_id
from contatto.leads.store.records import find_lead_by_number, list_leads_to_change

ARRIVES_WITHIN: Final = timedelta(seconds=90)
"""After this time no delivery of an erased person can still arrive: its lease is over."""


class CheckWork(sync.CrmWork[None, crm.DescribeFields]):
    """Reads the fields of a CRM daily."""

    trait = "describes"
    kind = rules.CHECK
    plan = rules.CHECK_PLAN
    shape = crm.DescribeFields
    only_reads = True

    def begin(self, step: sync.WorkStep[None]) -> crm.DescribeFields | Outcome:
        return crm.DescribeFields()

    def turn(self, step: sync.WorkStep[None], course: crm.DescribeFields, reply: Reply) -> Outcome:
        """Save the fields, and what the mapping names that the CRM does not have."""
        if not isinstance(reply, crm.FieldsDescribed):
            return reply if isinstance(reply, Failed) else Failed("undescribed")
        tx, target = step.tx, step.target
        takes_anything = step.connector.traits.takes_anything
        faults = rules.check_mapping(target.mapping, reply.fields, takes_anything=takes_anything)
        store.record_target(tx, target, described=reply.fields, described_at=tx.now, faults=faults)
        sync.publish_connection(tx, target)
        return Later("", rules.CHECK_EVERY_S)


def try_lead(tx: Tx, target: Target, lead_id: str) -> None:
    """Start a trial of a lead; and read the CRM's fields again, as the mapping may be outdated.

    Raises NOT_FOUND; CONFLICT when the CRM refuses access.
    """
    lead = check_found(list_leads_by_id(tx, target.business_id, {lead_id}).get(lead_id), "Lead not found.")
    if target.state is crm.TargetState.DISCONNECTED:
        raise Refused(errors.CONFLICT, "This CRM no longer accepts our access. Reconnect it first.")
    tx.delete(events.crm_trials, target.business_id, target_id=target.id)
    trial = crm.Trial(target.business_id, target.id, lead.id, TrialState.PENDING, "", "", tx.now, None)
    tx.insert(events.crm_trials, tx.sealed_row(trial))
    sync.queue_work(tx, target, CheckWork)
    sync.queue_work(tx, target, TrialWork)


class TrialWork(sync.CrmWork[crm.Trial, DeliveryCourse]):
    """Compares what a delivery would write with the CRM's record."""

    kind = rules.TRIAL
    plan = rules.TRIAL_PLAN
    shape = DeliveryCourse
    only_reads = True
    operation = staticmethod(rules.operation_of)

    def load(self, tx: Tx, request: OutboundRequest) -> tuple[Target, crm.Trial] | None:
        trial, loaded = events.find_trial(tx, request.business_id, request.subject), super().load(tx, request)
        return (loaded[0], trial) if trial and loaded else None

    def begin(self, step: sync.WorkStep[crm.Trial]) -> DeliveryCourse | Outcome:
        tx, target, trial = step.tx, step.target, step.subject
        lead = list_leads_by_id(tx, target.business_id, {trial.lead_id}).get(trial.lead_id)
        if lead is None:
            return Failed(sync.LEAD_GONE)
        records = store.find_records(tx, target.business_id, target.id, lead.id)
        revision = records.own.revision if records.own else 1
        payload = sync.payload_of(tx, target, lead, revision, self.base_url, records)
        course = rules.begin_course(step.connector.traits, payload, records.ids)
        return self._next(step, rules.stop_before_write(replace(course, trial_at=trial.created_at)))

    def turn(
        self, step: sync.WorkStep[crm.Trial], course: DeliveryCourse, reply: Reply
    ) -> DeliveryCourse | Outcome:
        if step.subject.created_at != course.trial_at:
            return Later("", 0)  # a member started another trial meanwhile: this reply is not of its lead
        return self._next(step, rules.next_trial_turn(step.connector, course, reply))

    @staticmethod
    def _next(step: sync.WorkStep[crm.Trial], turn: rules.TrialTurn) -> DeliveryCourse | Outcome:
        if not isinstance(turn, crm.TrialResult):
            return turn
        result = msgspec.json.encode(turn).decode()
        events.record_trial(step.tx, step.subject, TrialState.DONE, result=result)
        return Done()

    def hold(self, step: sync.WorkStep[crm.Trial]) -> None:
        events.record_trial(step.tx, step.subject, TrialState.FAILED, "not_let_in")

    def settle(self, tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
        trial = events.find_trial(tx, request.business_id, request.subject)
        if trial is not None and isinstance(outcome, NotNow | Failed):
            trial_state = TrialState.PENDING if state is RequestState.DUE else TrialState.FAILED
            events.record_trial(tx, trial, trial_state, outcome.reason)


@dataclass(frozen=True, slots=True)
class CompareCourse:
    """State of a comparison: counts so far, and the cursor of its next page."""

    counts: crm.Comparison
    after: str = ""


class CompareWork(sync.CrmWork[None, CompareCourse]):
    """Lists the records of a CRM that carry our ids, and sends again those that are missing."""

    trait = "enumerates"
    kind = rules.COMPARISON
    plan = rules.COMPARISON_PLAN
    shape = CompareCourse
    only_reads = True

    def begin(self, step: sync.WorkStep[None]) -> CompareCourse | Outcome:
        fresh = CompareCourse(crm.Comparison(step.tx.now, step.tx.now))
        return step.stored_course(CompareCourse) or fresh

    def operation(self, course: CompareCourse) -> Operation:
        return crm.ListRecords(course.after)

    def turn(self, step: sync.WorkStep[None], course: CompareCourse, reply: Reply) -> CompareCourse | Outcome:
        if not isinstance(reply, crm.RecordsListed):
            return Failed("unreadable")
        tx, target, counts = step.tx, step.target, course.counts
        # Mark the records of the page as seen, count the surplus ones, and erase erased people again.
        times = Counter(lead_id for _, lead_id in reply.records)
        records = store.crm_records
        is_listed = rows_of(records, target.business_id, target_id=target.id, lead_id=list(times))
        listed = tx.execute(sa.select(records.c.lead_id, records.c.seen_at).where(*is_listed)).mappings()
        seen_at = {row["lead_id"]: row["seen_at"] for row in listed}
        repeated = [lead_id for lead_id, at in seen_at.items() if at == counts.started_at]
        tx.execute(sa.update(records).where(*is_listed).values(seen_at=counts.started_at))
        record_ids = {lead_id: record_id for record_id, lead_id in reply.records if lead_id not in seen_at}
        erasures = events.list_erasures(tx, target.business_id, target.id, lead_ids=record_ids)
        for erasure in erasures:
            if erasure.state is ErasureState.DUE:
                continue  # its request is under way
            record_id = record_ids[erasure.lead_id][: store.RECORD_LIMIT]
            events.record_erasure(tx, erasure, ErasureState.DUE, record_id=record_id, created_at=tx.now)
            if target.is_active:
                send_again(
                    tx,
                    sync.lead_request(target, rules.ERASURE, erasure.id, erasure.lead_id),
                    rules.ERASURE_PLAN,
                )
        counts = replace(
            counts,
            held=counts.held + len(reply.records),
            doubled=counts.doubled + len(reply.records) - len(times) + len(repeated),
            unknown=counts.unknown + len(record_ids) - len(erasures),
            erased_again=counts.erased_again + len(erasures),
        )
        if reply.after and reply.after != course.after:  # the same cursor again would never end
            return CompareCourse(counts, reply.after)
        # Send each verified lead without a record again, once. Leads that share another lead's record are
        # sent each time, as that record may be gone.
        of_target = target.business_id, target.id
        is_missing = (
            records.c.state == DeliveryState.VERIFIED,
            records.c.verified_at < counts.started_at - rules.SETTLED_FOR,
            sa.or_(records.c.seen_at.is_(None), records.c.seen_at < counts.started_at),
        )
        missing = store.list_listed(tx, *of_target, *is_missing)
        fresh = [record for record in missing if record.gone_at is None]
        sent = fresh[: rules.SENT_AGAIN_AT_MOST]
        for record in sent:
            store.record_link(tx, record, gone_at=tx.now)  # it is sent again once
        shared = store.list_listed(tx, *of_target, store.IS_SENT, most=rules.SENT_AGAIN_AT_MOST)
        for record in (*sent, *shared):
            sync.schedule_deliveries(tx, target, [record.lead_id])
        comparison = replace(
            counts, ended_at=tx.now, sent_again=len(sent), left_gone=len(missing) - len(fresh)
        )
        store.record_target(tx, target, comparison=comparison)
        sync.publish_connection(tx, target)
        return Later("", rules.COMPARE_AGAIN_S if comparison.differs else rules.COMPARE_EVERY_S)


class ErasureWork(sync.CrmWork[crm.Erasure, EraseCourse]):
    """Erases a person in a CRM, until a read finds nothing."""

    kind = rules.ERASURE
    plan = rules.ERASURE_PLAN
    shape = EraseCourse

    def load(self, tx: Tx, request: OutboundRequest) -> tuple[Target, crm.Erasure] | None:
        erasure = events.find_erasure(tx, request.business_id, int(request.subject))
        if erasure is None or erasure.state is not ErasureState.DUE:
            return None
        target = store.find_target(tx, request.business_id, erasure.target_id)
        return None if target is None else (target, erasure)

    def begin(self, step: sync.WorkStep[crm.Erasure]) -> EraseCourse | Outcome:
        erasure = step.subject
        wait_s = (erasure.created_at + ARRIVES_WITHIN - step.tx.now).total_seconds()
        if wait_s > 0:
            return Later("", wait_s)
        traits = step.connector.traits
        course = EraseCourse(erasure.lead_id, EraseStage.FIND, erasure.record_id)
        if not traits.erases:
            return self._next(step, ErasureSettled(ErasureState.UNSUPPORTED))
        if crm.FindBy.EXTERNAL_ID in traits.finds_by:
            return course
        if not traits.reads_back:
            return replace(course, stage=EraseStage.ERASE, record_id=erasure.record_id, stored_id="")
        if course.stored_id:
            return replace(course, stage=EraseStage.LOOK)
        return self._next(step, ErasureSettled(ErasureState.FINISHED))

    def operation(self, course: EraseCourse) -> Operation:
        match course.stage:
            case EraseStage.FIND:
                return crm.FindRecord(crm.FindBy.EXTERNAL_ID, course.external_id)
            case EraseStage.LOOK:
                return crm.ReadRecord(course.stored_id)
            case EraseStage.ERASE:
                return crm.EraseRecord(course.record_id, course.external_id)
            case EraseStage.PROVE:
                return crm.ReadRecord(course.record_id)

    def turn(
        self, step: sync.WorkStep[crm.Erasure], course: EraseCourse, reply: Reply
    ) -> EraseCourse | Outcome:
        return self._next(step, erasure_rules.next_erasure(step.connector.traits, course, reply))

    @staticmethod
    def _next(step: sync.WorkStep[crm.Erasure], turn: erasure_rules.EraseTurn) -> EraseCourse | Outcome:
        if isinstance(turn, ErasureSettled):
            events.record_erasure(step.tx, step.subject, turn.state, turn.reason)
            return Done()
        return turn

    def settle(self, tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
        erasure = events.find_erasure(tx, request.business_id, int(request.subject))
        is_due = erasure is not None and erasure.state is ErasureState.DUE
        if erasure is not None and is_due and isinstance(outcome, NotNow | Failed):
            next_state = ErasureState.DUE if state is RequestState.DUE else ErasureState.FAILED
            events.record_erasure(tx, erasure, next_state, outcome.reason)

    def replay(self, tx: Tx, request: OutboundRequest) -> None:
        erasure = events.find_erasure(tx, request.business_id, int(request.subject))
        if erasure is not None and erasure.state is ErasureState.FAILED:
            events.record_erasure(tx, erasure, ErasureState.DUE)


INCOMING: Final = "incoming_secret"
"""The name of the secret that signs incoming changes; it is stored with the secrets of the CRM."""
_SECRET_BYTES: Final = 32


class PollWork(sync.CrmWork[None, crm.ListChanges]):
    """Reads the change feed of a CRM, page after page."""

    trait = "tells_changes"
    kind = rules.POLL
    plan = rules.POLL_PLAN
    shape = crm.ListChanges
    keeps_progress = True

    def begin(self, step: sync.WorkStep[None]) -> crm.ListChanges | Outcome:
        return step.stored_course(crm.ListChanges) or crm.ListChanges(crm.Cursor())

    def turn(
        self, step: sync.WorkStep[None], course: crm.ListChanges, reply: Reply
    ) -> crm.ListChanges | Outcome:
        if not isinstance(reply, crm.ChangesListed):
            return Failed("unreadable")
        for change in reply.changes:
            take_crm_change(step.tx, step.target, change)
        following = crm.ListChanges(reply.cursor)
        if reply.is_more and following != course:  # the same cursor again would never end
            return following
        progress = sync.Progress(msgspec.json.encode(following).decode())
        return Later(msgspec.json.encode(progress).decode(), step.connector.traits.poll_s)


def take_crm_change(tx: Tx, target: Target, change: crm.RecordChange) -> None:
    """Apply a person's change of a record to its lead; an echo of our own write changes nothing.

    The change moves the lead's status on, and the lead's page shows owner and value with their author.
    """
    of_target = {"business_id": target.business_id, "target_id": target.id}
    records: list[crm.RecordLink] = []
    if change.record_id:  # an empty id would match any record
        records = store.list_records(tx, **of_target, record_id=change.record_id[: store.RECORD_LIMIT])
    if not records:
        records = store.list_records(tx, **of_target, lead_id=change.external_id)
    if not records:
        return
    record = records[0]
    if change.is_gone or change.moved_to:
        store.record_link(tx, record, record_id=change.moved_to[: store.RECORD_LIMIT], told_at=tx.now)
        return
    current = list_leads_by_id(tx, target.business_id, {record.lead_id}).get(record.lead_id)
    ids = [current.id] if current else []
    lead = next(iter(list_leads_to_change(tx, target.business_id, ids).values()), None)
    if lead is None or lead.hidden_at is not None:
        return
    news = {
        name: text
        for name, text, stored_text in (
            ("status", change.status, record.status),
            ("owner", change.owner, record.owner),
            ("value", change.value, record.value),
        )
        if text is not None and text != stored_text
    }
    record_id = change.record_id or record.record_id
    if "status" in news and store.is_echo(tx, target, record_id, "status", news["status"]):
        del news["status"]
    if not news:
        return
    store.record_link(tx, record, **news, told_by=change.by, told_at=tx.now)
    actor = f"{change.by} ({target.name})" if change.by else target.name
    author = Actor(lead.business_id, "", actor)
    for name, text in news.items():
        note_edit(tx, author, lead.id, HistoryKind.CRM_EVENT, f"{name}: {text}")
    status = rules.status_of_word(target.statuses, news.get("status", ""))
    if status is not None and status is not lead.status and rules.follows(lead.status, status):
        change_lead_status(tx, lead.business_id, lead.id, lead.status, status, actor)


INCOMING_PATH: Final = "/integrations/webhooks/{target_id}"
"""Path to which a CRM posts its changes."""


def make_signing_secret(prefix: str) -> str:
    """Return a new signing secret: the prefix, and a key in base64."""
    return prefix + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def open_incoming(tx: Tx, target: Target) -> str:
    """Let a CRM post changes, signed with the returned secret; it replaces an earlier one."""
    secret = make_signing_secret(PREFIX)
    store.record_secrets(tx, target, {**target.secrets, INCOMING: secret})
    return secret


def close_incoming(tx: Tx, target: Target) -> None:
    """Refuse posted changes from now on."""
    store.record_secrets(
        tx, target, {name: text for name, text in target.secrets.items() if name != INCOMING}
    )


@dataclass(frozen=True, slots=True)
class IncomingEvent:
    """An event as it was sent; ``event_id`` is the sender's own id, if any."""

    lead_number: int
    name: str
    event_id: str
    occurred_at: datetime


def find_event_lead(tx: Tx, event_set: crm.EventSet, event: IncomingEvent) -> Lead | None:
    """Return the lead of an event; None for a lead that is not here, or of another ad account."""
    lead = find_lead_by_number(tx, event_set.business_id, event.lead_number)
    if lead is None or lead.hidden_at is not None:
        return None
    if is_earned_elsewhere(tx, event_set.business_id, lead.id, event_set.ad_account_id):
        return None
    return lead


def take_lead_event(tx: Tx, event_set: crm.EventSet, incoming: IncomingEvent, actor: str) -> bool:
    """Save an event once, and move its lead to the event's status; return False for an unknown lead."""
    business_id = event_set.business_id
    lead = find_event_lead(tx, event_set, incoming)
    if lead is None:
        return False
    status = rules.status_of_word({}, incoming.name)
    own_id = incoming.event_id or str(incoming.occurred_at.timestamp())
    parts = (str(event_set.number), str(incoming.lead_number), incoming.name, own_id)
    # An event's name may be personal.
    natural = tx.vault.blind("\0".join(("event", *parts)), business_id).hex()
    event = crm.LeadEvent(
        new_id(),
        business_id,
        lead.id,
        event_set.number,
        incoming.name,
        natural,
        status,
        incoming.occurred_at,
        tx.now,
    )
    if not tx.insert_ignore(events.lead_events, tx.sealed_row(event)):
        return True  # a duplicate
    note_edit(tx, Actor(business_id, "", actor), lead.id, HistoryKind.CRM_EVENT, incoming.name)
    if status is not None and rules.follows(lead.status, status):
        change_lead_status(tx, business_id, lead.id, lead.status, status, actor)
    return True
