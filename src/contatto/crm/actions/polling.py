"""What people do in the CRM comes back: statuses set ours, owners and values are shown with their writer."""

from dataclasses import dataclass, replace
from typing import Final

import msgspec

from contatto.crm.actions.checking import queue_kind
from contatto.crm.actions.running import connector_of, work_kind
from contatto.crm.model.deliveries import RecordLink
from contatto.crm.model.operations import Changed, Changes, Cursor, Operation, RecordChange, Reply
from contatto.crm.model.targets import Target, TargetState
from contatto.crm.rules.events import follows
from contatto.crm.rules.plans import POLL, POLL_PLAN
from contatto.crm.rules.returning import status_of_word
from contatto.crm.store import deliveries as store
from contatto.crm.store.echoes import is_echo
from contatto.crm.store.targets import find_target
from contatto.kit.db.tx import Tx
from contatto.kit.outbound.model import (
    Failed,
    Later,
    OutboundRequest,
    Outcome,
)
from contatto.kit.outbound.steps import OutboundKind
from contatto.leads.actions.records import change_lead_status, note_crm_change
from contatto.leads.model import Lead
from contatto.leads.store.records import find_lead_to_change, list_leads_by_id

STATUS: Final = "status"


@dataclass(frozen=True, slots=True)
class PollCourse:
    """From where on changes are asked for; without a cursor from the beginning."""

    after: Cursor


@dataclass(frozen=True, slots=True)
class _Kept:
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
        kept = msgspec.json.decode(request.progress, type=_Kept)
        if kept.course:
            return msgspec.json.decode(kept.course, type=PollCourse)
        return PollCourse(kept.after or Cursor())

    def operation(self, course: PollCourse) -> Operation:
        return Changes(course.after)

    def turn(
        self, tx: Tx, request: OutboundRequest, target: Target, course: PollCourse, reply: Reply
    ) -> PollCourse | Outcome:
        connector = connector_of(tx, target)
        if not isinstance(reply, Changed) or connector is None:
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
        record = store.find_record_by_id(tx, target.business_id, target.id, change.record_id)
    if record is None and change.external_id:
        record = store.find_record(tx, target.business_id, target.id, change.external_id)
    if record is None:
        return
    if change.is_gone or change.moved_to:
        store.record_told(tx, record, record_id=change.moved_to[: store.RECORD_LIMIT])
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
    store.record_told(tx, record, **news, told_by=change.by)
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
