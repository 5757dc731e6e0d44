"""API of CRM events, of the ledger, and of changes that CRMs post."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType
from pydantic import BeforeValidator, Field
from starlette.requests import Request
from starlette.responses import Response

from contatto.accounts.auth import ApiCaller, HotRoute, api_routes, load_advertiser, may_use
from contatto.accounts.model import Access, Caller, Credential, Permission
from contatto.crm.actions import checks
from contatto.crm.actions.targets import load_ledger
from contatto.crm.connectors.webhook import read_signed_changes
from contatto.crm.model import EventSet
from contatto.crm.store.deliveries import find_target, is_echo, list_all_targets, save_echoes
from contatto.crm.store.events import crm_event_sets, list_event_sets
from contatto.kit import errors
from contatto.kit.api_types import (
    PARTIAL_CODE,
    Answer,
    Answered,
    ApiId,
    ApiModel,
    IdText,
    JsonText,
    PartialAnswer,
    TimeText,
    api_answer,
    api_time,
    json_answer,
    number_of,
    read_body,
    request_id_of,
)
from contatto.kit.db.database import act_for
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id, new_number
from contatto.kit.values import LARGEST
from contatto.ui.requests import context_of

event_router: Final = api_routes("CRM events")
MOST_SETS: Final = 50
"""Maximum number of CRM event sets of an ad account."""
MOST_EVENTS: Final = 1_000
"""Maximum number of events in one request."""
NAME_LIMIT: Final = 40
EVENT_LIMIT: Final = 64
AHEAD: Final = timedelta(days=1)
"""Most that a sender's clock may be ahead."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


type Digests = Annotated[
    list[Annotated[str, Field(max_length=256)]],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    Field(max_length=20),
]
type EventName = Annotated[str, Field(min_length=1, max_length=EVENT_LIMIT)]


class HashedUser(ApiModel):
    """SHA-256 digests; a value in clear is refused."""

    email: Digests = Field(default_factory=list)
    phone: Digests = Field(default_factory=list)
    external_id: Digests = Field(default_factory=list)


class LeadReference(ApiModel):
    lead_id: ApiId
    lead_event_source: Annotated[str, Field(max_length=128)] = ""


class TrackedEvent(ApiModel):
    """``event`` is any name. Names such as qualified_lead or closed_won also move the lead."""

    event: EventName
    event_time: int = Field(le=LARGEST, description="Seconds since 1970, UTC.")
    event_id: Annotated[str, Field(max_length=128)] = ""
    user: HashedUser = Field(default_factory=HashedUser)
    properties: dict[str, Any] = Field(default_factory=dict)
    lead: LeadReference | None = None

    def check(self, index: int, received_at: datetime) -> checks.IncomingEvent:
        """Check the event at a place of the request.

        Raises INVALID or NOT_HASHED, naming the event and the field.
        """
        where = f"data[{index}]"
        if self.lead is None:
            raise Refused(errors.INVALID, f"{where}.lead.lead_id: it is needed with event_source crm.")
        if not self.event.isprintable():
            raise Refused(errors.INVALID, f"{where}.event: write one line of visible characters.")
        for name in ("email", "phone", "external_id"):
            if not all(_SHA256.fullmatch(value) for value in getattr(self.user, name)):
                says = f"{where}.user.{name}: a value is no SHA-256 in lower-case hexadecimal."
                raise Refused(errors.NOT_HASHED, says)  # without the value, which may be one in clear
        if not 0 < self.event_time <= (received_at + AHEAD).timestamp():
            raise Refused(errors.INVALID, f"{where}.event_time: give seconds since 1970, not later than now.")
        at = datetime.fromtimestamp(self.event_time, received_at.tzinfo)
        return checks.IncomingEvent(self.lead.lead_id, self.event, self.event_id, at)


class TrackBody(ApiModel):
    """With ``test_event_code`` the events are checked and not stored."""

    event_source: Literal["web", "app", "offline", "crm"]
    event_source_id: ApiId
    test_event_code: Annotated[str, Field(max_length=128)] = ""
    data: Annotated[list[TrackedEvent], Field(min_length=1)]


class SetBody(ApiModel):
    advertiser_id: ApiId
    name: str


class SetQuery(ApiModel):
    advertiser_id: ApiId
    name: str | None = None
    event_set_ids: JsonText[Annotated[list[ApiId], Field(max_length=MOST_SETS)] | None] = None


class FailedEvent(Answer, frozen=True):
    """An event that was not accepted; ``order_in_request`` counts from 0."""

    order_in_request: int
    event: str
    error_message: str


class TrackedEvents(PartialAnswer, frozen=True):
    """Empty when all events were accepted."""

    failed_events: list[FailedEvent] | UnsetType = UNSET


class EventSetInfo(Answer, frozen=True):
    event_set_id: IdText
    name: str
    create_time: TimeText


class EventSets(Answer, frozen=True):
    crm_event_sets: list[EventSetInfo]


@event_router.post("/event/track/", Permission.WRITE_LEADS)
async def track_events(request: Request, caller: ApiCaller, body: TrackBody) -> Answered[TrackedEvents]:
    """Accept up to 1,000 events of leads from a CRM.

    ``event_source`` is ``crm``, and each event names its lead by ``lead.lead_id``. An event with the
    name of a status moves the lead on, never back; every event is stored with the lead. A duplicate changes
    nothing. A request with a wrong event is refused whole. ``failed_events`` names events of unknown leads;
    the others are accepted (code 20001).
    """
    if body.event_source != "crm":
        raise Refused(errors.INVALID, "event_source: only crm is taken here; there is no web, app or shop.")
    if len(body.data) > MOST_EVENTS:
        raise Refused(errors.BATCH_SIZE, f"data: send {MOST_EVENTS} events at most.")
    db = context_of(request).db
    sets = await db.read(lambda tx: list_event_sets(tx, caller.business_id))
    chosen = [
        event_set
        for event_set in sets
        if event_set.number == body.event_source_id and may_use(caller, event_set.ad_account_id)
    ]
    if not chosen:
        raise Refused(errors.NOT_FOUND, "event_source_id: CRM event set not found. /crm/list/ lists them.")
    event_set = chosen[0]
    received_at = context_of(request).clock.now()
    events = [event.check(index, received_at) for index, event in enumerate(body.data)]
    failed: list[int] = []
    if not body.test_event_code:
        if not await db.read_long(
            lambda tx: any(checks.find_event_lead(tx, event_set, event) for event in events)
        ):
            raise Refused(errors.NOT_FOUND, "data[0].lead.lead_id: there is no such lead.")
        outcomes = await db.write_each(
            events, lambda tx, event: checks.take_lead_event(tx, event_set, event, caller.display_name)
        )
        failed = [index for index, is_taken in enumerate(outcomes) if not is_taken]
    if not failed:
        return api_answer(TrackedEvents(), request_id_of(request))
    says = "Lead not found."
    rows = [FailedEvent(index, body.data[index].event, says) for index in failed]
    message = "Some events are of leads that are not here."
    return api_answer(TrackedEvents(rows), request_id_of(request), PARTIAL_CODE, message)


@event_router.transact("/crm/create/", Permission.WRITE_LEADS)
def create_crm_event_set(tx: Tx, caller: Caller, body: SetBody) -> EventSetInfo:
    """Make a CRM event set, 50 at most for an ad account; its id is the ``event_source_id`` of events."""
    account = load_advertiser(tx, caller, body.advertiser_id)
    name = " ".join(body.name.split())
    if not 0 < len(name) <= NAME_LIMIT or not name.isprintable():
        raise Refused(errors.INVALID, f"name: write 1 to {NAME_LIMIT} characters.")
    tx.hold_key("event sets", account.id)
    if len(list_event_sets(tx, account.business_id, account.id)) >= MOST_SETS:
        raise Refused(errors.AD_LIMIT, f"An ad account has {MOST_SETS} CRM event sets at most.")
    event_set = EventSet(new_id(), account.business_id, new_number(), account.id, name, tx.now)
    if not tx.insert_ignore(crm_event_sets, row_of(event_set)):
        raise Refused(
            errors.INVALID,
            "name: This ad account already has an event set with this name. Choose a different name.",
        )
    return EventSetInfo(str(event_set.number), event_set.name, api_time(event_set.created_at))


@event_router.transact("/crm/list/", Permission.READ_LEADS)
def list_crm_event_sets(tx: Tx, caller: Caller, query: SetQuery) -> EventSets:
    """List the CRM event sets of an ad account, by their exact name or their ids if given."""
    account = load_advertiser(tx, caller, query.advertiser_id)
    rows = [
        EventSetInfo(str(event_set.number), event_set.name, api_time(event_set.created_at))
        for event_set in list_event_sets(tx, caller.business_id, account.id)
        if query.name in (None, event_set.name)
        and (query.event_set_ids is None or event_set.number in query.event_set_ids)
    ]
    return EventSets(rows)


ledger_router: Final = api_routes("CRM")


class IntakeInfo(Answer, frozen=True):
    """Counts of incoming messages; ``received`` is the sum of the others."""

    received: int
    stored: int
    merged: int
    refused: int
    waiting: int


class ComparisonInfo(Answer, frozen=True):
    """The last comparison of the CRM's records with the ledger; ``held`` carry our ids."""

    ended_time: TimeText
    held: int
    sent_again: int
    left_gone: int
    doubled: int
    unknown: int
    erased_again: int


class TargetInfo(Answer, frozen=True):
    """A linked CRM; ``leads`` is counted apart, and equals the sum of ``to_come`` to ``dead``."""

    target_id: IdText
    name: str
    connector: str
    state: str
    reason: str
    leads: int
    to_come: int
    due: int
    sent: int
    verified: int
    dead: int
    adds_up: bool
    alarms: list[str]
    last_arrived_time: TimeText | None
    due_since_time: TimeText | None
    comparison: ComparisonInfo | None


class SignalCountsInfo(Answer, frozen=True):
    """The signals to an ad account; ``signals`` is the sum of the four after it."""

    name: str
    signals: int
    due: int
    sent: int
    withheld: int
    dead: int
    adds_up: bool


class LedgerInfo(Answer, frozen=True):
    """The ledger of a business at one moment; ``ad_platforms`` get signals."""

    intake: IntakeInfo
    targets: list[TargetInfo]
    ad_platforms: list[SignalCountsInfo]


@ledger_router.transact("/contatto/crm/ledger/get/", Permission.ADMINISTER)
def get_crm_ledger(tx: Tx, caller: Caller) -> LedgerInfo:
    """Extension: counts of incoming messages and of the leads in each linked CRM; the sums always hold.

    ``alarms`` come the worst first: ``shut_out`` (the CRM refuses access), ``none_arrives`` (leads are due
    for five minutes and none has arrived), ``dead``, ``miscounted``, ``differs`` and ``mapping``. With
    ``differs`` its records are not those of the ledger. ``due_since_time`` is the time of the oldest due
    lead.
    """
    ledger = load_ledger(tx, caller.business_id)
    intake = msgspec.convert(ledger.intake, IntakeInfo, from_attributes=True)
    platforms = []
    for signals in ledger.signals:
        count = signals.counts
        counts = count.total, count.due, count.sent, count.withheld, count.dead
        platforms.append(SignalCountsInfo(signals.name, *counts, adds_up=count.adds_up))
    targets = []
    for row in ledger.targets:
        target, states, last = row.target, row.counts, row.target.comparison
        comparison = None
        if last is not None:
            sent_counts = last.held, last.sent_again, last.left_gone
            doubts = last.doubled, last.unknown, last.erased_again
            comparison = ComparisonInfo(api_time(last.ended_at), *sent_counts, *doubts)
        info = TargetInfo(
            target_id=str(target.number),
            name=target.name,
            connector=target.connector,
            state=target.state.value,
            reason=target.reason,
            leads=states.total,
            to_come=states.to_come,
            due=states.due,
            sent=states.sent,
            verified=states.verified,
            dead=states.dead,
            adds_up=states.adds_up,
            alarms=[alarm.value for alarm in row.alarms],
            last_arrived_time=api_time(target.verified_at) if target.verified_at else None,
            due_since_time=api_time(states.due_since) if states.due_since else None,
            comparison=comparison,
        )
        targets.append(info)
    return LedgerInfo(intake, targets, platforms)


BODY_LIMIT: Final = 64 * 1024
_MESSAGE: Final = "event"
"""Name of the echo that a message leaves."""


async def receive_crm_changes(request: Request) -> Response:
    """Check the signature over the raw body, apply each new change, and answer with the number of changes.

    An unknown target gets the same answer as a wrong signature.
    """
    context = context_of(request)
    number = number_of(request.path_params["target_id"])
    body = await read_body(request, BODY_LIMIT)
    target = next(iter(await context.db.read(lambda tx: list_all_targets(tx, number=number))), None)
    secret = target.secrets.get(checks.INCOMING, "") if target else ""
    tolerance_s = context.settings.webhook_tolerance_s
    now = context.clock.now()
    message_id, changes = read_signed_changes(request.headers, body, secret, now, tolerance_s)
    if target is not None:
        business_id, target_id = target.business_id, target.id
        act_for(business_id)

        def work(tx: Tx) -> None:
            fresh = find_target(tx, business_id, target_id)
            tx.hold_key("crm webhook", target_id)
            if fresh is None or is_echo(tx, fresh, message_id, _MESSAGE, message_id):
                return  # a duplicate
            save_echoes(tx, fresh, message_id, {_MESSAGE: message_id})
            for change in changes:
                checks.take_crm_change(tx, fresh, change)

        await context.db.write(work)
    return json_answer({"received": len(changes)})


routes: Final = [HotRoute("POST", checks.INCOMING_PATH, receive_crm_changes, Access(Credential.PLATFORM))]
