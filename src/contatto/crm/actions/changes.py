"""Changes that CRMs send back."""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from contatto.accounts.model import AdAccount, Caller
from contatto.accounts.rules import may_use
from contatto.crm.actions.deliveries import CrmWork, WorkContext, connector_of, queue_kind, work_kind
from contatto.crm.connectors.webhook import PREFIX
from contatto.crm.model import ChangesListed, Cursor, ListChanges, Operation, RecordChange, Reply, Target
from contatto.crm.rules.deliveries import POLL, POLL_PLAN
from contatto.crm.rules.mapping import (
    MOST_SETS,
    NAME_LIMIT,
    EventSet,
    LeadEvent,
    follows,
    status_of_event,
    status_of_word,
)
from contatto.crm.store import deliveries as store
from contatto.crm.store import events
from contatto.crm.store.deliveries import record_secrets
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id, new_number
from contatto.kit.outbound.model import Failed, Later, Outcome
from contatto.kit.outbound.steps import OutboundKind
from contatto.leads.actions.records import change_lead_status, note_crm_change
from contatto.leads.model import Lead
from contatto.leads.store.listing import is_earned_elsewhere
from contatto.leads.store.records import find_lead_by_number, find_lead_to_change, list_leads_by_id

INCOMING: Final = "incoming_secret"
"""The name of the secret that signs incoming changes; it is stored with the secrets of the CRM."""
_MESSAGE: Final = "event"
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class PollCourse:
    """State of a poll: the cursor of its next page."""

    after: Cursor


@dataclass(frozen=True, slots=True)
class _PollProgress:
    """Progress of a request between two polls, or in the middle of one."""

    after: Cursor | None = None
    course: str = ""


class PollWork(CrmWork[PollCourse]):
    """Reads the change feed of a CRM, page after page."""

    shape = PollCourse

    def begin(self, context: WorkContext) -> PollCourse | Outcome:
        if not context.request.progress:
            return PollCourse(Cursor())
        progress = msgspec.json.decode(context.request.progress, type=_PollProgress)
        if progress.course:
            return msgspec.json.decode(progress.course, type=PollCourse)
        return PollCourse(progress.after or Cursor())

    def operation(self, course: PollCourse) -> Operation:
        return ListChanges(course.after)

    def turn(self, context: WorkContext, course: PollCourse, reply: Reply) -> PollCourse | Outcome:
        if not isinstance(reply, ChangesListed):
            return Failed("unreadable")
        for change in reply.changes:
            take_crm_change(context.tx, context.target, change)
        if reply.is_more and reply.cursor != course.after:  # the same cursor again would never end
            return PollCourse(reply.cursor)
        progress = msgspec.json.encode({"after": {"at": reply.cursor.at, "id": reply.cursor.id}}).decode()
        return Later(progress, context.connector.traits.poll_s)


def take_crm_change(tx: Tx, target: Target, change: RecordChange) -> None:
    """Apply a person's change of a record to its lead; an echo of our own write changes nothing.

    The change moves the lead's status on, and the lead's page shows owner and value with their author.
    """
    record = store.find_record_by_id(tx, target.business_id, target.id, change.record_id)
    record = record or store.find_record(tx, target.business_id, target.id, change.external_id)
    if record is None:
        return
    if change.is_gone or change.moved_to:
        store.record_told(tx, record, record_id=change.moved_to[: store.RECORD_LIMIT])
        return
    current = list_leads_by_id(tx, target.business_id, {record.lead_id}).get(record.lead_id)
    lead = find_lead_to_change(tx, target.business_id, current.id) if current else None
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
    store.record_told(tx, record, **news, told_by=change.by)
    actor = f"{change.by} ({target.name})" if change.by else target.name
    for name, text in news.items():
        note_crm_change(tx, lead, f"{name}: {text}", actor)
    status = status_of_word(target.statuses, news.get("status", ""))
    if status is not None and status is not lead.status and follows(lead.status, status):
        change_lead_status(tx, lead.business_id, lead.id, lead.status, status, actor)


def queue_poll(tx: Tx, target: Target) -> None:
    """Read the changes of a CRM now, and then at its interval."""
    connector = connector_of(tx, target)
    if connector is not None and connector.traits.tells_changes and target.is_active:
        queue_kind(tx, target, POLL, POLL_PLAN)


def poll_kind() -> OutboundKind:
    """Return the kind of requests that read the changes of a CRM."""
    return work_kind(POLL, PollWork, POLL_PLAN, keeps_progress=True)


def incoming_path(number: int) -> str:
    """Return where the CRM of this number posts its changes."""
    return f"/integrations/webhooks/{number}"


def make_signing_secret(prefix: str) -> str:
    """Return a new signing secret: the prefix, and a key in base64."""
    return prefix + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def open_incoming(tx: Tx, target: Target) -> str:
    """Let a CRM post changes, signed with the returned secret; it replaces an earlier one."""
    secret = make_signing_secret(PREFIX)
    record_secrets(tx, target, {**target.secrets, INCOMING: secret})
    return secret


def close_incoming(tx: Tx, target: Target) -> None:
    """Refuse posted changes from now on."""
    record_secrets(tx, target, {name: text for name, text in target.secrets.items() if name != INCOMING})


def take_posted_changes(tx: Tx, target: Target, message_id: str, changes: Sequence[RecordChange]) -> bool:
    """Apply posted changes; return False for a duplicate message."""
    tx.hold_key("crm webhook", target.id)
    if store.is_echo(tx, target, message_id, _MESSAGE, message_id):
        return False
    store.save_echoes(tx, target, message_id, {_MESSAGE: message_id})
    for change in changes:
        take_crm_change(tx, target, change)
    return True


@dataclass(frozen=True, slots=True)
class IncomingEvent:
    """An event as it was sent; ``event_id`` is the sender's own id, if any."""

    lead_number: int
    name: str
    event_id: str
    occurred_at: datetime


def create_event_set(tx: Tx, account: AdAccount, name: str) -> EventSet:
    """Make a CRM event set.

    Raises:
        Refused: INVALID for a wrong or duplicate name; AD_LIMIT for too many.
    """
    set_name = " ".join(name.split())
    if not 0 < len(set_name) <= NAME_LIMIT or not set_name.isprintable():
        raise Refused(errors.INVALID, f"name: write 1 to {NAME_LIMIT} characters.")
    tx.hold_key("event sets", account.id)
    if len(events.list_event_sets(tx, account.business_id, account.id)) >= MOST_SETS:
        raise Refused(errors.AD_LIMIT, f"An ad account has {MOST_SETS} CRM event sets at most.")
    event_set = EventSet(new_id(), account.business_id, new_number(), account.id, set_name, tx.now)
    if not events.save_event_set(tx, event_set):
        raise Refused(
            errors.INVALID,
            "name: This ad account already has an event set with this name. Choose a different name.",
        )
    return event_set


def load_event_set(tx: Tx, caller: Caller, number: int) -> EventSet:
    """Return a CRM event set of an ad account that the caller may use.

    Raises:
        Refused: NOT_FOUND.
    """
    for event_set in events.list_event_sets(tx, caller.business_id):
        if event_set.number == number and may_use(caller, event_set.ad_account_id):
            return event_set
    raise Refused(errors.NOT_FOUND, "event_source_id: CRM event set not found. /crm/list/ lists them.")


def find_event_lead(tx: Tx, event_set: EventSet, event: IncomingEvent) -> Lead | None:
    """Return the lead of an event; None for a lead that is not here, or of another ad account."""
    lead = find_lead_by_number(tx, event_set.business_id, event.lead_number)
    if lead is None or lead.hidden_at is not None:
        return None
    if is_earned_elsewhere(tx, event_set.business_id, lead.id, event_set.ad_account_id):
        return None
    return lead


def take_lead_event(tx: Tx, event_set: EventSet, incoming: IncomingEvent, actor: str) -> bool:
    """Save an event once, and move its lead to the event's status; return False for an unknown lead."""
    business_id = event_set.business_id
    lead = find_event_lead(tx, event_set, incoming)
    if lead is None:
        return False
    status = status_of_event(incoming.name)
    own_id = incoming.event_id or str(incoming.occurred_at.timestamp())
    parts = (str(event_set.number), str(incoming.lead_number), incoming.name, own_id)
    # An event's name may be personal.
    natural = tx.vault.blind("\0".join(("event", *parts)), business_id).hex()
    event = LeadEvent(
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
    if not events.append_lead_event(tx, event):
        return True
    note_crm_change(tx, lead, incoming.name, actor)
    if status is not None and follows(lead.status, status):
        change_lead_status(tx, business_id, lead.id, lead.status, status, actor)
    return True
