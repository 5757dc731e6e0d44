"""What a CRM sends back about leads, in the API v1.3: event sets, and events."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, UnsetType
from pydantic import BeforeValidator, Field
from starlette.requests import Request

from contatto.accounts.actions import load_advertiser
from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.crm.actions.events import (
    Told,
    create_event_set,
    find_event_lead,
    load_event_set,
    take_lead_event,
)
from contatto.crm.rules import events as rules
from contatto.crm.rules.events import EventSet
from contatto.crm.store import events as store
from contatto.kit import errors
from contatto.kit.api_types import (
    Answer,
    ApiId,
    ApiModel,
    IdText,
    JsonText,
    PartialAnswer,
    TimeText,
    api_time,
    describe_query,
    read_query,
    request_id_of,
)
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.http import Answered, api_answer, api_partial
from contatto.kit.numbers import LARGEST
from contatto.kit.openapi import ApiRouter
from contatto.ui.context import context_of

router: Final = ApiRouter(prefix="/open_api/v1.3", tags=["CRM events"])


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


type Digests = Annotated[
    list[Annotated[str, Field(max_length=256)]], BeforeValidator(_listed), Field(max_length=20)
]
type EventName = Annotated[str, Field(min_length=1, max_length=rules.EVENT_LIMIT)]


class User(ApiModel):
    """SHA-256 digests; what is in clear is refused."""

    email: Digests = Field(default_factory=list)
    phone: Digests = Field(default_factory=list)
    external_id: Digests = Field(default_factory=list)


class OfLead(ApiModel):
    lead_id: ApiId
    lead_event_source: Annotated[str, Field(max_length=128)] = ""


class Event(ApiModel):
    """``event`` is any name. Names such as qualified_lead or closed_won also move the lead."""

    event: EventName
    event_time: int = Field(le=LARGEST, description="Seconds since 1970, UTC.")
    event_id: Annotated[str, Field(max_length=128)] = ""
    user: User = Field(default_factory=User)
    properties: dict[str, Any] = Field(default_factory=dict)
    lead: OfLead | None = None


class TrackBody(ApiModel):
    """With ``test_event_code`` the events are checked and not kept."""

    event_source: Literal["web", "app", "offline", "crm"]
    event_source_id: ApiId
    test_event_code: Annotated[str, Field(max_length=128)] = ""
    data: Annotated[list[Event], Field(min_length=1)]


class SetBody(ApiModel):
    advertiser_id: ApiId
    name: str


class SetQuery(ApiModel):
    advertiser_id: ApiId
    name: str | None = None
    event_set_ids: JsonText[Annotated[list[ApiId], Field(max_length=rules.MOST_SETS)] | None] = None


class FailedEvent(Answer, frozen=True):
    """An event that was not taken; ``order_in_request`` counts from 0."""

    order_in_request: int
    event: str
    error_message: str


class TrackedEvents(PartialAnswer, frozen=True):
    """Empty when all events were taken."""

    failed_events: list[FailedEvent] | UnsetType = UNSET


class EventSetInfo(Answer, frozen=True):
    event_set_id: IdText
    name: str
    create_time: TimeText


class EventSets(Answer, frozen=True):
    crm_event_sets: list[EventSetInfo]


@router.post("/event/track/")
async def track_events(request: Request, caller: ApiCaller, body: TrackBody) -> Answered[TrackedEvents]:
    """Take up to 1,000 events of leads from a CRM.

    ``event_source`` is ``crm``, and each event names its lead by ``lead.lead_id``. An event that stands for a
    status moves the lead on, never back; every event is kept with the lead. The same event again changes
    nothing. A request with a wrong event is refused whole; events of leads that are not here are named in
    ``failed_events``, and the others taken (code 20001).
    """
    require(caller, Permission.WRITE_LEADS)
    _check_request(body)
    db = context_of(request).db
    event_set = await db.read(lambda tx: load_event_set(tx, caller, body.event_source_id))
    received_at = context_of(request).clock.now()
    events = [_told(index, event, received_at) for index, event in enumerate(body.data)]
    failed: list[int] = []
    if not body.test_event_code:

        def has_lead(tx: Tx) -> bool:
            return any(find_event_lead(tx, event_set, event) for event in events)

        def take(tx: Tx, event: Told) -> bool:
            return take_lead_event(tx, event_set, event, caller.display_name)

        if not await db.read_long(has_lead):
            raise Refused(errors.NOT_FOUND, "data[0].lead.lead_id: there is no such lead.")
        outcomes = await db.write_each(events, take)
        failed = [index for index, is_taken in enumerate(outcomes) if not is_taken]
    if not failed:
        return api_answer(TrackedEvents(), request_id_of(request))
    says = "Lead not found."
    rows = [FailedEvent(index, body.data[index].event, says) for index in failed]
    message = "Some events are of leads that are not here."
    return api_partial(TrackedEvents(rows), message, request_id_of(request))


@router.post("/crm/create/")
async def create_crm_event_set(request: Request, caller: ApiCaller, body: SetBody) -> Answered[EventSetInfo]:
    """Make a CRM event set, 50 at most for an ad account; its id is the ``event_source_id`` of events."""
    require(caller, Permission.WRITE_LEADS)

    def work(tx: Tx) -> EventSet:
        return create_event_set(tx, load_advertiser(tx, caller, body.advertiser_id), body.name)

    return api_answer(_show(await context_of(request).db.write(work)), request_id_of(request))


@router.get("/crm/list/", openapi_extra=describe_query(SetQuery))
async def list_crm_event_sets(request: Request, caller: ApiCaller) -> Answered[EventSets]:
    """List the CRM event sets of an ad account, by their exact name or their ids if given."""
    require(caller, Permission.READ_LEADS)
    query = read_query(request, SetQuery)

    def work(tx: Tx) -> list[EventSet]:
        account = load_advertiser(tx, caller, query.advertiser_id)
        return store.list_event_sets(tx, caller.business_id, account.id)

    found = await context_of(request).db.read(work)
    rows = [
        _show(each)
        for each in found
        if query.name in (None, each.name)
        and (query.event_set_ids is None or each.number in query.event_set_ids)
    ]
    return api_answer(EventSets(rows), request_id_of(request))


def _check_request(body: TrackBody) -> None:
    if body.event_source != "crm":
        raise Refused(errors.INVALID, "event_source: only crm is taken here; there is no web, app or shop.")
    if len(body.data) > rules.MOST_EVENTS:
        raise Refused(errors.BATCH_SIZE, f"data: send {rules.MOST_EVENTS} events at most.")


def _told(index: int, event: Event, now: datetime) -> Told:
    """An event, checked.

    Raises:
        Refused: INVALID or NOT_HASHED, naming the event and the field.
    """
    where = f"data[{index}]"
    if event.lead is None:
        raise Refused(errors.INVALID, f"{where}.lead.lead_id: it is needed with event_source crm.")
    if not event.event.isprintable():
        raise Refused(errors.INVALID, f"{where}.event: write one line of visible characters.")
    for name in ("email", "phone", "external_id"):
        rules.check_hashes(f"{where}.user.{name}", getattr(event.user, name))
    at = rules.check_event_time(f"{where}.event_time", event.event_time, now)
    return Told(event.lead.lead_id, event.event, event.event_id, at)


def _show(found: EventSet) -> EventSetInfo:
    return EventSetInfo(str(found.number), found.name, api_time(found.created_at))
