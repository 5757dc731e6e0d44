"""Changes that CRMs send back."""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import msgspec

from contatto.accounts.model import AdAccount, Caller
from contatto.accounts.rules import may_use
from contatto.crm.actions.deliveries import connector_of, queue_kind, work_kind
from contatto.crm.connectors.webhook import PREFIX
from contatto.crm.model import (
    ChangesListed,
    Cursor,
    ListChanges,
    Operation,
    RecordChange,
    RecordLink,
    Reply,
    Target,
    TargetState,
)
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
from contatto.crm.store.deliveries import (
    RECORD_LIMIT,
    append_lead_event,
    find_record,
    find_record_by_id,
    is_echo,
    list_event_sets,
    record_told,
    save_echoes,
    save_event_set,
)
from contatto.crm.store.targets import find_target, record_secrets
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id, new_number
from contatto.kit.outbound.model import (
    Failed,
    Later,
    OutboundRequest,
    Outcome,
)
from contatto.kit.outbound.steps import OutboundKind
from contatto.leads.actions.records import change_lead_status, note_crm_change
from contatto.leads.model import Lead
from contatto.leads.store.listing import is_earned_elsewhere
from contatto.leads.store.records import find_lead_by_number, find_lead_to_change, list_leads_by_id

STATUS: Final = "status"


@dataclass(frozen=True, slots=True)
class PollCourse:
    """From where on changes are asked for; without a cursor from the beginning."""

    after: Cursor


@dataclass(frozen=True, slots=True)
class _CourseState:
    """What a request holds between two polls, or in the middle of one."""

    after: Cursor | None = None
    course: str = ""


@dataclass(frozen=True, slots=True)
class PollWork:
    """Ask a CRM what has changed, page after page, again and again."""

    shape: type[PollCourse] = PollCourse
    only_reads: bool = False

    def target_of(self, tx: Tx, request: OutboundRequest) -> Target | None:
        target = find_target(tx, request.business_id, request.subject)
        return None if target is None or target.state is TargetState.REMOVED else target

    def begin(self, tx: Tx, request: OutboundRequest, target: Target) -> PollCourse | Outcome:
        if not request.progress:
            return PollCourse(Cursor())
        kept = msgspec.json.decode(request.progress, type=_CourseState)
        if kept.course:
            return msgspec.json.decode(kept.course, type=PollCourse)
        return PollCourse(kept.after or Cursor())

    def operation(self, course: PollCourse) -> Operation:
        return ListChanges(course.after)

    def turn(
        self, tx: Tx, request: OutboundRequest, target: Target, course: PollCourse, reply: Reply
    ) -> PollCourse | Outcome:
        connector = connector_of(tx, target)
        if not isinstance(reply, ChangesListed) or connector is None:
            return Failed("unreadable")
        for change in reply.changes:
            take_crm_change(tx, target, change)
        if reply.is_more and reply.cursor != course.after:  # a cursor that stands still would ask for ever
            return PollCourse(reply.cursor)
        kept = msgspec.json.encode({"after": {"at": reply.cursor.at, "id": reply.cursor.id}}).decode()
        return Later(kept, connector.traits.poll_s)

    def hold(self, tx: Tx, request: OutboundRequest) -> None:
        """It is asked again when the target is active."""


def take_crm_change(tx: Tx, target: Target, change: RecordChange) -> None:
    """Take what somebody did to a record; what we wrote there ourselves is no news."""
    record = None  # where no id is known yet, an empty one would find anybody
    if change.record_id:
        record = find_record_by_id(tx, target.business_id, target.id, change.record_id)
    if record is None and change.external_id:
        record = find_record(tx, target.business_id, target.id, change.external_id)
    if record is None:
        return
    if change.is_gone or change.moved_to:
        record_told(tx, record, record_id=change.moved_to[:RECORD_LIMIT])
        return
    shown = list_leads_by_id(tx, target.business_id, {record.lead_id}).get(record.lead_id)
    found = find_lead_to_change(tx, target.business_id, shown.id) if shown else None
    if found is None or found.hidden_at is not None:
        return
    news = _news(tx, target, record, replace(change, record_id=change.record_id or record.record_id))
    if news:
        _show(tx, target, record, change, found, news)


def _news(tx: Tx, target: Target, record: RecordLink, change: RecordChange) -> dict[str, str]:
    """What is told now and was not known: by the name of what it is."""
    told = {STATUS: change.status, "owner": change.owner, "value": change.value}
    known = {STATUS: record.status, "owner": record.owner, "value": record.value}
    return {
        name: text
        for name, text in told.items()
        if text is not None
        and text != known[name]
        and not (name == STATUS and is_echo(tx, target, change.record_id, name, text))
    }


def _show(
    tx: Tx, target: Target, record: RecordLink, change: RecordChange, lead: Lead, news: dict[str, str]
) -> None:
    record_told(tx, record, **news, told_by=change.by)
    actor = f"{change.by} ({target.name})" if change.by else target.name
    for name, text in news.items():
        note_crm_change(tx, lead, f"{name}: {text}", actor)
    status = status_of_word(target.statuses, news.get(STATUS, ""))
    if status is not None and status is not lead.status and follows(lead.status, status):
        change_lead_status(tx, lead.business_id, lead.id, lead.status, status, actor)


def queue_poll(tx: Tx, target: Target) -> None:
    """Ask a CRM for changes now, and then again and again."""
    connector = connector_of(tx, target)
    if connector is not None and connector.traits.tells_changes and target.is_active:
        queue_kind(tx, target, POLL, POLL_PLAN)


def poll_kind() -> OutboundKind:
    """Return how a CRM is asked for changes."""
    return work_kind(POLL, PollWork, POLL_PLAN, keeps_progress=True)


INCOMING: Final = "incoming_secret"
"""The name of the secret that signs what comes in; it stands beside those that let us into the CRM."""
_SEEN: Final = "event"
_SECRET_BYTES: Final = 32


def incoming_path(number: int) -> str:
    """Return where the CRM of this number posts its changes."""
    return f"/integrations/webhooks/{number}"


def make_signing_secret(prefix: str) -> str:
    """Return a new signing secret: the prefix, and a key in base64."""
    return prefix + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def open_incoming(tx: Tx, target: Target) -> str:
    """Let a CRM post changes, signed with the secret that is returned; one before it is good no more."""
    secret = make_signing_secret(PREFIX)
    record_secrets(tx, target, {**target.secrets, INCOMING: secret})
    return secret


def close_incoming(tx: Tx, target: Target) -> None:
    """Let nobody post changes any more."""
    record_secrets(tx, target, {name: text for name, text in target.secrets.items() if name != INCOMING})


def take_posted_changes(tx: Tx, target: Target, message_id: str, changes: Sequence[RecordChange]) -> bool:
    """Take changes; False for a message that was taken before."""
    tx.hold_key("crm webhook", target.id)
    if is_echo(tx, target, message_id, _SEEN, message_id):
        return False
    save_echoes(tx, target, message_id, {_SEEN: message_id})
    for change in changes:
        take_crm_change(tx, target, change)
    return True


@dataclass(frozen=True, slots=True)
class IncomingEvent:
    """An event as it was sent: of which lead, what happened, when, and the sender's own id of it, if any."""

    lead_number: int
    name: str
    event_id: str
    occurred_at: datetime


def create_event_set(tx: Tx, account: AdAccount, name: str) -> EventSet:
    """Make a CRM event set.

    Raises:
        Refused: INVALID when the name is no name or taken; AD_LIMIT when there are too many.
    """
    wanted = " ".join(name.split())
    if not 0 < len(wanted) <= NAME_LIMIT or not wanted.isprintable():
        raise Refused(errors.INVALID, f"name: write 1 to {NAME_LIMIT} characters.")
    tx.hold_key("event sets", account.id)
    if len(list_event_sets(tx, account.business_id, account.id)) >= MOST_SETS:
        raise Refused(errors.AD_LIMIT, f"An ad account has {MOST_SETS} CRM event sets at most.")
    event_set = EventSet(new_id(), account.business_id, new_number(), account.id, wanted, tx.now)
    if not save_event_set(tx, event_set):
        raise Refused(
            errors.INVALID,
            "name: This ad account already has an event set with this name. Choose a different name.",
        )
    return event_set


def load_event_set(tx: Tx, caller: Caller, number: int) -> EventSet:
    """A CRM event set of an ad account that the caller may work with.

    Raises:
        Refused: NOT_FOUND.
    """
    for event_set in list_event_sets(tx, caller.business_id):
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


def take_lead_event(tx: Tx, event_set: EventSet, told: IncomingEvent, actor: str) -> bool:
    """Keep an event once, and move its lead on if it stands for a status; False when the lead is not here."""
    business_id = event_set.business_id
    lead = find_event_lead(tx, event_set, told)
    if lead is None:
        return False
    status = status_of_event(told.name)
    own_id = told.event_id or str(told.occurred_at.timestamp())
    parts = (str(event_set.number), str(told.lead_number), told.name, own_id)
    # A CRM may call its events by what is personal.
    natural = tx.vault.blind("\0".join(("event", *parts)), business_id).hex()
    event = LeadEvent(
        new_id(), business_id, lead.id, event_set.number, told.name, natural, status, told.occurred_at, tx.now
    )
    if not append_lead_event(tx, event):
        return True
    note_crm_change(tx, lead, told.name, actor)
    if status is not None and follows(lead.status, status):
        change_lead_status(tx, business_id, lead.id, lead.status, status, actor)
    return True
