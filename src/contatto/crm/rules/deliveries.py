"""Mapping of leads, the state machine of deliveries and trials, retry plans, reasons and alarms."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from contatto.capture.model import Field
from contatto.crm import model as crm
from contatto.crm.model import ConnectorTraits, CrmConnector, FindBy, FoundRecords, Payload, Reply
from contatto.integrations.model import SENDING_REASONS, Alarm, LedgerCounts, list_ledger_alarms
from contatto.kit.i18n import N_, LazyText
from contatto.kit.outbound.model import Failed, NotNow, RetryPlan
from contatto.leads.model import LeadStatus
from contatto.leads.rules.records import MOVES

DELIVERY: Final = "crm_delivery"
ERASURE: Final = "crm_erasure"
POLL: Final = "crm_poll"
CHECK: Final = "crm_check"
CONSENT: Final = "crm_consent"
TRIAL: Final = "crm_trial"
COMPARISON: Final = "crm_comparison"
"""Names of kinds; they are kept in rows and never change."""

_WAITS_S: Final = (60, 300, 1_800, 7_200, *(21_600,) * 120)
"""A minute, then slower; after half a day every six hours, for a month.

The first wait is longer than any search lag, so that a record of a lost answer is found.
"""
DELIVERY_PLAN: Final = RetryPlan(_WAITS_S, timedelta(days=30))
ERASURE_PLAN: Final = DELIVERY_PLAN
POLL_PLAN: Final = RetryPlan(_WAITS_S)
CHECK_PLAN: Final = POLL_PLAN
COMPARISON_PLAN: Final = POLL_PLAN
CONSENT_PLAN: Final = RetryPlan((1, 2, 4, 8, 15, 30, 60, 60, 60), timedelta(minutes=10))
"""A code is valid for ten minutes at most. Source: RFC 6749, 4.1.2."""
TRIAL_PLAN: Final = RetryPlan((60, 300))
CHECK_EVERY_S: Final = 86_400.0
COMPARE_EVERY_S: Final = 86_400.0
COMPARE_AGAIN_S: Final = 3_600.0
"""After a comparison with differences: the leads that it sent again have arrived by then."""
SETTLED_FOR: Final = timedelta(minutes=15)
"""Records that were verified later than this may still be absent from a CRM's lists."""
SENT_AGAIN_AT_MOST: Final = 500
"""Leads that one comparison sends again; the next comparison continues."""
SEARCH_LAG: Final = timedelta(seconds=60)
"""Longest time until a CRM finds a new record: no retry after a lost answer comes sooner."""
DIFFERS_AT_MOST: Final = 4
"""Tries that read back another value, before a person has to look."""
SOON_S: Final = 1.0
"""Wait for another request that renews the token."""
RENEWING: Final = timedelta(seconds=60)
"""Time for which one request alone may renew a token."""
MOST_RENEWALS: Final = 2
KEEP: Final = timedelta(days=90)
"""Retention of deliveries that arrived."""
ECHO: Final = timedelta(hours=24)
"""Time in which a change that equals our own write is an echo of it."""
MOST_HOPS: Final = 16
"""Steps of one try; a CRM that redirects in a circle rests until the next try."""
DIFFERS: Final = "differs"
TAKEN_RECORD: Final = "taken_by_another_lead"
WRONG_STAYS: Final = "wrong_value_stays"
CIRCLES: Final = "circles"
NOT_THERE: Final = "not_there_yet"
NAME: Final = "name"
FIRST_NAME: Final = "first_name"
LAST_NAME: Final = "last_name"
STATUS: Final = "status"
OWNER: Final = "owner"
ANSWER: Final = "answer:"
"""Prefix of the name of an answer to a form; the question follows."""
PLAIN_SOURCES: Final = (
    NAME,
    FIRST_NAME,
    LAST_NAME,
    *(contact.value for contact in Field),
    STATUS,
    OWNER,
    "labels",
    "lead_id",
    "lead_url",
    "lead_source",
    "created_at",
    "campaign_id",
    "campaign_name",
    "adgroup_id",
    "adgroup_name",
    "ad_id",
    "ad_name",
    "form_name",
)
"""All sources but answers. A name of one word is the last name; ``owner`` is an e-mail address."""


@dataclass(frozen=True, slots=True)
class LeadTexts:
    """Texts of a lead at a moment, by the names of ``PLAIN_SOURCES`` and answers.

    ``wrong`` has the contact values that members marked wrong, by their sources.
    """

    lead_id: str
    values: dict[str, str] = field(repr=False)
    occurred_at: datetime
    wrong: dict[str, list[str]] = field(default_factory=dict, repr=False)


NOTE_LIMIT: Final = 10_000
"""Most characters of a note, as no CRM accepts a longer text."""
_NOTE_SOURCES: Final = (NAME, *(contact.value for contact in Field))
"""Sources that go into the note if they have no field, as answers do: no word of the person is lost."""
_PHONES: Final = (Field.PHONE.value, Field.WHATSAPP.value)


def map_lead(
    target: crm.Target,
    traits: crm.ConnectorTraits,
    snapshot: LeadTexts,
    revision: int,
    without: Collection[str] = (),
) -> Payload:
    """Return what a delivery of a lead writes; values without a valid field go into the note.

    ``without`` are fields of the CRM that keep their value.
    """
    no_fields = {fault.field for fault in target.faults if fault.weakness is crm.Weakness.NO_FIELD}
    wrong = {
        (fault.field, fault.value) for fault in target.faults if fault.weakness is crm.Weakness.NO_CHOICE
    }
    limits = {field.name: field.limit for field in target.described if field.limit}
    values: dict[str, str] = {}
    sources: dict[str, str] = {}
    covered_sources = {row.source for row in target.mapping if row.target in without}
    for row in target.mapping:
        text = snapshot.values.get(row.source, "")
        if not text or row.target in without or row.target in no_fields or row.target in values:
            continue
        value = dict(row.words).get(text, text)
        if (row.target, text) in wrong or 0 < limits.get(row.target, 0) < len(value):
            continue  # the note has a long value whole
        values[row.target] = value
        sources[row.target] = row.source
        covered_sources.add(row.source)
    if FIRST_NAME in covered_sources or LAST_NAME in covered_sources:
        covered_sources.add(NAME)
    lines = [
        f"{source.removeprefix(ANSWER)}: {text}"
        for source, text in snapshot.values.items()
        if text and source not in covered_sources and (source.startswith(ANSWER) or source in _NOTE_SOURCES)
    ]
    phone = next((snapshot.values[name] for name in _PHONES if snapshot.values.get(name)), "")
    # A contact detail stands in each required field of the name, as many persons never write theirs.
    # Any of them may be required until the first description, and the first leads do not wait for it.
    filled = {*values, *without}
    required = {field.name for field in target.described if field.is_required}
    if traits.describes and target.described_at is None:
        required = {row.target for row in target.mapping}
    contacts = (snapshot.values.get(contact.value, "").partition(", ")[0] for contact in Field)
    stand_in = next(filter(None, contacts), snapshot.values.get("lead_id", ""))
    names = (NAME, FIRST_NAME, LAST_NAME)
    stand_ins = {
        row.target: stand_in
        for row in target.mapping
        if row.source in names and row.target in required and row.target not in filled
    }
    return Payload(
        snapshot.lead_id,
        revision,
        values,
        note="\n".join(lines)[:NOTE_LIMIT],
        email=snapshot.values.get(Field.EMAIL, "").partition(", ")[0],
        phone=phone.partition(", ")[0],
        occurred_at=snapshot.occurred_at.isoformat(),
        sources=sources,
        stand_ins=stand_ins,
        wrong={
            row.target: snapshot.wrong[row.source]
            for row in target.mapping
            if row.source in snapshot.wrong and row.target not in no_fields and row.target not in without
        },
    )


def leave_out(payload: Payload, field: str) -> Payload:
    """Move the value of a field that the CRM refuses into the note."""
    values = {name: text for name, text in payload.values.items() if name != field}
    source = payload.sources.get(field, field).removeprefix(ANSWER)
    text = payload.values.get(field, "")
    line = f"{source}: {text}" if text else ""
    note = "\n".join(part for part in (payload.note, line) if part)[:NOTE_LIMIT]
    stand_ins = {name: text for name, text in payload.stand_ins.items() if name != field}
    return replace(payload, values=values, note=note, stand_ins=stand_ins)


def with_edits(payload: Payload, edited: Mapping[str, str]) -> Payload:
    """Replace mapped values by those that a member edited; an empty one is omitted."""
    values = {name: text for name, text in {**payload.values, **edited}.items() if text}
    return replace(payload, values=values)


def check_mapping(
    mapping: Iterable[crm.MappedField], fields: Iterable[crm.CrmField], *, takes_anything: bool = False
) -> tuple[crm.MappingFault, ...]:
    """Compare a mapping with the CRM's description of its fields."""
    if takes_anything:
        return ()
    described = {field.name: field for field in fields}
    rows = list(mapping)
    faults: list[crm.MappingFault] = []
    for row in rows:
        field = described.get(row.target)
        if field is None:
            faults.append(crm.MappingFault(row.target, crm.Weakness.NO_FIELD))
        elif field.choices:
            words, choices = dict(row.words), {value for value, _ in field.choices}
            our_words = [status.value for status in LeadStatus] if row.source == STATUS else list(words)
            wrong_words = [word for word in our_words if words.get(word, word) not in choices]
            faults += [crm.MappingFault(row.target, crm.Weakness.NO_CHOICE, word) for word in wrong_words]
    filled = {row.target for row in rows}
    missing = [field for field in described.values() if field.is_required and field.name not in filled]
    faults += [crm.MappingFault(field.name, crm.Weakness.NOT_MAPPED) for field in missing]
    return tuple(dict.fromkeys(faults))


_WORD: Final = re.compile(r"[^a-z0-9]+")

STATUS_WORDS: Final = {
    LeadStatus.CONTACTED: frozenset({
        "contacted", "contact", "lead_contacted", "contacted_lead", "in_progress",
    }),
    LeadStatus.QUALIFIED: frozenset({
        "qualified", "qualified_lead", "lead_qualified", "sales_qualified", "sales_qualified_lead", "sql",
        "marketing_qualified_lead", "mql", "opportunity",
    }),
    LeadStatus.CONVERTED: frozenset({
        "converted", "converted_lead", "lead_converted", "conversion", "purchase", "complete_payment",
        "place_an_order", "closed_won", "deal_won", "won", "customer",
    }),
    LeadStatus.UNQUALIFIED: frozenset({
        "unqualified", "unqualified_lead", "lead_unqualified", "disqualified", "disqualified_lead",
        "closed_lost", "deal_lost", "lost", "junk", "junk_lead", "spam",
    }),
}  # fmt: skip
"""Names of events by status, in small letters with underscores; another name moves no lead."""
_RANK: Final = {
    LeadStatus.RAW: 0,
    LeadStatus.UNQUALIFIED: 0,
    LeadStatus.CONTACTED: 1,
    LeadStatus.QUALIFIED: 2,
    LeadStatus.CONVERTED: 3,
}


def follows(current: LeadStatus, status: LeadStatus | None) -> bool:
    """Return whether an event moves a lead on; a late event of an earlier stage does not."""
    if status is None or status not in MOVES[current]:
        return False
    return status is LeadStatus.UNQUALIFIED or _RANK[status] > _RANK[current]


def status_of_word(words: Mapping[str, str], word: str) -> LeadStatus | None:
    """Return our status of a CRM's word: by the business's mapping, else by its usual meaning.

    The usual meaning is that of a word or the name of an event, in any spelling.
    """
    named = words.get(word)
    if named in set(LeadStatus):
        return LeadStatus(named)
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word.strip())
    plain = _WORD.sub("_", spaced.lower()).strip("_")
    return next((status for status, usual in STATUS_WORDS.items() if plain in usual), None)


class DeliveryStage(StrEnum):
    """Operation that a delivery sends next, or has sent; `operation_of` builds it."""

    FIND = "find"
    LOOK = "look"
    CLEAR = "clear"
    WRITE = "write"
    CHECK = "check"
    OTHER = "other"
    MERGE = "merge"


@dataclass(frozen=True, slots=True)
class DeliveryCourse:
    """State of a delivery.

    Attributes:
        finds: ways to find the record that were not tried yet; the first is the current one.
        stored_id: the record that we know, until it is read.
        record_id: the record to write.
        merge_ids: records of leads that were merged into this one, still to be merged.
        left_out: fields that the CRM refused.
        is_named: the CRM itself named ``stored_id`` as the person's record, so there is only this one.
        moved_from: the record that we knew, which people merged into ``stored_id``.
        shared_with: our id of the lead that owns ``record_id``, where that is another lead.
        is_elsewhere: the record that we knew belongs to another lead now, so ``merge_ids`` are read: one may
            be the lead's own. The last of them is the record that we knew.
        is_cleared: the record was read for values that members marked wrong.
        is_look: nothing is written, only a record with our id is searched.
        trial_at: when a member started the trial that this is; another value means a newer trial.
    """

    payload: Payload
    stage: DeliveryStage = DeliveryStage.FIND
    finds: tuple[FindBy, ...] = ()
    stored_id: str = ""
    record_id: str = ""
    merge_ids: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    is_named: bool = False
    moved_from: str = ""
    shared_with: str = ""
    is_elsewhere: bool = False
    is_cleared: bool = False
    is_look: bool = False
    trial_at: datetime | None = None
    hops: int = 0


@dataclass(frozen=True, slots=True)
class Arrived:
    """A finished delivery, verified if it was read back; ``reason`` is what the CRM did not accept of it."""

    record_id: str
    is_verified: bool
    reason: str = ""


type DeliveryTurn = DeliveryCourse | Arrived | NotNow | Failed


def begin_course(traits: ConnectorTraits, payload: Payload, ids: tuple[str, ...] = ()) -> DeliveryCourse:
    """Return the first step of a delivery, which searches the record of the lead.

    ``ids`` are records that may be the lead's, its own first.
    """
    contacts = {FindBy.EMAIL: payload.email, FindBy.PHONE: payload.phone}
    finds = tuple(way for way in traits.finds_by if contacts.get(way, payload.external_id))
    if not traits.reads_back:  # the current values are unknown, so a field without a right value is cleared
        payload = replace(payload, values=dict.fromkeys(payload.wrong, "") | payload.values)
    return _next_search(
        DeliveryCourse(payload, finds=finds, stored_id=ids[0] if ids else "", merge_ids=ids[1:])
    )


def _next_search(course: DeliveryCourse) -> DeliveryCourse:
    """Return the step of the next search: by our id, by the stored record, or by contact details."""
    is_by_id = bool(course.finds) and course.finds[0] is FindBy.EXTERNAL_ID
    if course.stored_id and not is_by_id:
        return replace(course, stage=DeliveryStage.LOOK)
    return replace(course, stage=DeliveryStage.FIND if course.finds else DeliveryStage.WRITE)


def operation_of(course: DeliveryCourse) -> crm.Operation:
    payload = course.payload
    if course.stage is DeliveryStage.FIND:
        contacts = {FindBy.EMAIL: payload.email, FindBy.PHONE: payload.phone}
        return crm.FindRecord(course.finds[0], contacts.get(course.finds[0], payload.external_id))
    if course.stage is DeliveryStage.CLEAR:
        return crm.ReadRecord(course.record_id, tuple(payload.wrong))
    if course.stage in (DeliveryStage.LOOK, DeliveryStage.CHECK, DeliveryStage.OTHER):
        record_ids = {DeliveryStage.LOOK: course.stored_id, DeliveryStage.CHECK: course.record_id}
        return crm.ReadRecord(record_ids.get(course.stage) or course.merge_ids[0], tuple(payload.values))
    if course.stage is DeliveryStage.MERGE:
        return crm.MergeRecords(course.merge_ids[0], course.record_id)
    return crm.WriteRecord(
        course.record_id or None,
        course.shared_with or payload.external_id,
        payload.revision,
        payload.values if course.record_id else payload.stand_ins | payload.values,
        "" if course.shared_with else payload.note,
        datetime.fromisoformat(payload.occurred_at),
        payload.wrong,
    )


def next_turn(connector: CrmConnector, course: DeliveryCourse, reply: Reply) -> DeliveryTurn:
    """Return the next step after a reply about the record; `WorkStep` renews tokens."""
    if course.hops >= MOST_HOPS:
        return NotNow(CIRCLES)
    course = replace(course, hops=course.hops + 1)
    if isinstance(reply, NotNow | Failed):
        return reply
    if isinstance(reply, crm.FieldGone | crm.ValueGone):
        payload, left_out = leave_out(course.payload, reply.field), (*course.left_out, reply.field)
        reduced = replace(course, payload=payload, stage=DeliveryStage.WRITE, left_out=left_out)
        return reduced if reply.field in course.payload.values else Failed("mapping")
    if course.stage is DeliveryStage.MERGE:  # the record is read back once more; a deleted one needs no merge
        into_id = reply.record_id if isinstance(reply, crm.Written) else ""
        course = replace(course, stage=DeliveryStage.CHECK, record_id=into_id or course.record_id, hops=0)
        return replace(course, merge_ids=course.merge_ids[1:])
    records = reply.records if isinstance(reply, FoundRecords) else ()
    if isinstance(reply, crm.Moved) and course.stage is DeliveryStage.OTHER:
        turn = _merge_next(replace(course, merge_ids=(reply.record_id, *course.merge_ids[1:])))
    elif isinstance(reply, crm.Moved):  # continue with the record that another one became
        moved_from = course.moved_from or course.stored_id or course.record_id
        course = replace(course, stage=DeliveryStage.LOOK, stored_id=reply.record_id, record_id="")
        turn = replace(course, is_named=True, moved_from=moved_from, shared_with="")
    elif course.stage is DeliveryStage.FIND:
        turn = _next_search(replace(course, finds=course.finds[1:]))
        takable = [record for record in records if is_takable(course.payload, record)]
        if takable:
            turn = replace(course, stage=DeliveryStage.WRITE, record_id=takable[0].id)
    elif course.stage is DeliveryStage.OTHER:
        # A record that is ours is merged; one that is another lead's or a stranger's now is skipped.
        is_own = any(is_ours(connector, course.payload, record) for record in records)
        skipped = replace(course, merge_ids=course.merge_ids[1:], hops=0)
        turn = replace(course, stage=DeliveryStage.MERGE) if is_own else _merge_next(skipped)
    else:
        stages = {
            DeliveryStage.LOOK: _after_look,
            DeliveryStage.CLEAR: _after_clear,
            DeliveryStage.WRITE: _after_write,
            DeliveryStage.CHECK: _after_check,
        }
        turn = stages[course.stage](connector, course, reply)
    if isinstance(turn, DeliveryCourse) and turn.stage is DeliveryStage.WRITE and connector.traits.reads_back:
        # Before a change the record is read for values that members marked wrong.
        may_be_wrong = turn.record_id != "" and not turn.shared_with and bool(turn.payload.wrong)
        if may_be_wrong and not turn.is_cleared:
            turn = replace(turn, stage=DeliveryStage.CLEAR)
    return turn


def is_ours(connector: CrmConnector, payload: Payload, record: crm.CrmRecord) -> bool:
    """Return whether a record is the lead's: by our id, or without one by a contact detail."""
    if record.external_id:
        return is_takable(payload, record)
    return any(
        text and connector.is_same_value(name, text, record.values.get(name, ""))
        for name, text in payload.values.items()
        if text in (payload.email, payload.phone)
    )


def is_takable(payload: Payload, record: crm.CrmRecord) -> bool:
    """Return whether a record may become the lead's, as no other lead has it."""
    return not record.external_id or record.external_id in (payload.external_id, *payload.former_ids)


def _after_look(connector: CrmConnector, course: DeliveryCourse, reply: Reply) -> DeliveryTurn:
    stored_id, is_named = course.stored_id, course.is_named
    course = replace(course, stored_id="", is_named=False)
    if isinstance(reply, FoundRecords) and reply.records:
        record = reply.records[0]
        if is_takable(course.payload, record) if is_named else is_ours(connector, course.payload, record):
            if course.is_elsewhere:  # the record that we knew is another lead's: it is not merged
                course = replace(course, merge_ids=course.merge_ids[:-1], is_elsewhere=False)
            return replace(course, stage=DeliveryStage.WRITE, record_id=record.id or stored_id)
        if is_named and course.moved_from and not course.merge_ids:
            # The empty fields of another lead's record are filled; none of its values is overwritten.
            payload, values = course.payload, record.values
            missing = {name: text for name, text in payload.values.items() if not values.get(name)}
            payload = replace(payload, values=missing)
            course = replace(course, payload=payload, record_id=record.id, shared_with=record.external_id)
            if not missing:
                return _arrived(course, is_verified=False)
            return replace(course, stage=DeliveryStage.WRITE)
        if is_named and not course.moved_from:
            return Failed(TAKEN_RECORD)
    if not course.merge_ids or not (course.moved_from or course.is_elsewhere):
        return _next_search(course)
    # A lead that was merged into this one may have a record: an own record is better than a shared one.
    following, *remaining = course.merge_ids
    merge_ids = (*remaining,) if course.is_elsewhere else (*remaining, course.moved_from)
    course = replace(course, stage=DeliveryStage.LOOK, stored_id=following, merge_ids=merge_ids)
    return replace(course, moved_from="", is_elsewhere=True, hops=0)


def _arrived(course: DeliveryCourse, *, is_verified: bool) -> Arrived:
    """Return the end of a delivery; a shared record counts as sent, under the id that leads to it."""
    if course.shared_with:
        return Arrived(course.moved_from, is_verified=False)
    stays = any(name in course.payload.wrong for name in course.left_out)
    return Arrived(course.record_id, is_verified, WRONG_STAYS if stays else "")


def _after_clear(connector: CrmConnector, course: DeliveryCourse, reply: Reply) -> DeliveryTurn:
    """Clear the fields that hold only wrong values; other values that people wrote there stay."""
    current = reply.records[0].values if isinstance(reply, FoundRecords) and reply.records else {}
    cleared = {
        name: ""
        for name, wrong_values in course.payload.wrong.items()
        if current.get(name)
        and name not in course.payload.values
        and all(
            any(connector.is_same_value(name, wrong, part) for wrong in wrong_values)
            for part in current[name].split(", ")
        )
    }
    payload = replace(course.payload, values=course.payload.values | cleared)
    return replace(course, payload=payload, stage=DeliveryStage.WRITE, is_cleared=True)


def _after_write(connector: CrmConnector, course: DeliveryCourse, reply: Reply) -> DeliveryTurn:
    if isinstance(reply, crm.Written):
        course = replace(course, record_id=reply.record_id or course.record_id)
        if not connector.traits.reads_back:
            return _arrived(course, is_verified=False)
        return replace(course, stage=DeliveryStage.CHECK)
    if isinstance(reply, crm.Exists):
        if reply.record_id in ("", course.record_id):
            return Failed("exists")
        # The CRM names the record of the person.
        named = replace(course, stage=DeliveryStage.LOOK, stored_id=reply.record_id, is_named=True)
        return replace(named, record_id="", moved_from="", shared_with="")
    if isinstance(reply, crm.NoRecord) and course.record_id:
        # The next try finds out what became of a shared record.
        is_shared = course.shared_with != ""
        return NotNow(NOT_THERE) if is_shared else _next_search(replace(course, record_id=""))
    return Failed("unsupported" if isinstance(reply, crm.Unsupported) else "unreadable")


def _after_check(connector: CrmConnector, course: DeliveryCourse, reply: Reply) -> DeliveryTurn:
    if not isinstance(reply, FoundRecords) or not reply.records:
        return NotNow(NOT_THERE)
    current = reply.records[0].values
    for name, text in course.payload.values.items():
        if not connector.is_same_value(name, text, current.get(name, "")):
            return NotNow(f"{DIFFERS}_{name}"[:64])
    return _merge_next(course) if connector.traits.merges else _arrived(course, is_verified=True)


def _merge_next(course: DeliveryCourse) -> DeliveryTurn:
    """Read the next record to merge; people may have merged it into this one already."""
    merge_ids = tuple(record_id for record_id in course.merge_ids if record_id != course.record_id)
    if not merge_ids:
        return _arrived(course, is_verified=True)
    return replace(course, stage=DeliveryStage.OTHER, merge_ids=merge_ids)


type TrialTurn = DeliveryCourse | crm.TrialResult | NotNow | Failed


def next_trial_turn(connector: CrmConnector, course: DeliveryCourse, reply: Reply) -> TrialTurn:
    """Return the next step of a trial, which reads the record in the place of a write, or its result."""
    if course.stage is DeliveryStage.CHECK:
        if isinstance(reply, NotNow | Failed):
            return reply
        current = reply.records[0].values if isinstance(reply, FoundRecords) and reply.records else {}
        return compare(course.payload, course.record_id, current, connector.is_same_value)
    turn = next_turn(connector, course, reply)
    if isinstance(turn, NotNow | Failed):
        return turn
    if isinstance(turn, Arrived):  # another lead's record, which has a value in each field
        return crm.TrialResult(turn.record_id, (), "")
    return stop_before_write(turn)


def stop_before_write(course: DeliveryCourse) -> DeliveryCourse | crm.TrialResult:
    """Return the next step of a trial, or its result for a new record."""
    if course.stage is not DeliveryStage.WRITE:
        return course
    if course.record_id:
        return replace(course, stage=DeliveryStage.CHECK, hops=0)
    return compare(course.payload, "", {}, lambda field, written, found: False)


def compare(
    payload: Payload, record_id: str, current: crm.Values, is_same: Callable[[str, str, str], bool]
) -> crm.TrialResult:
    """Compare a record's current values with those that a delivery would write, by field."""
    rows = []
    values = payload.values if record_id else payload.stand_ins | payload.values
    for name, text in values.items():
        before = current.get(name, "")
        source = payload.sources.get(name, "")
        rows.append(crm.TrialRow(name, source, before, text, agrees=is_same(name, text, before)))
    return crm.TrialResult(record_id, tuple(rows), payload.note)


def find_alarms(target: crm.Target, counts: LedgerCounts, at: datetime) -> tuple[Alarm, ...]:
    is_shut_out = target.state is crm.TargetState.DISCONNECTED
    alarms = list_ledger_alarms(
        counts, at, target.verified_at, is_active=target.is_active, is_shut_out=is_shut_out
    )
    if target.comparison is not None and target.comparison.differs:
        alarms = *alarms, Alarm.DIFFERS
    return (*alarms, Alarm.MAPPING) if target.faults else alarms


_KEY: Final = N_("The CRM rejects the token or password")
_RULE: Final = N_("A rule in the CRM rejects this lead")
REASONS: Final[Mapping[str, str]] = {
    **SENDING_REASONS,
    "401": _KEY,
    "402": N_("The CRM requires a payment"),
    "403": N_("The CRM does not permit this action"),
    "410": N_("The receiving program accepts no more leads"),
    "429": N_("The CRM's rate limit is reached"),
    "access_denied": _KEY,
    "access_error": N_("The CRM user lacks the permission"),
    "bad_secret": N_("The secret is not valid: it must start with whsec_"),
    "circles": N_("The CRM repeats the same pages"),
    "exists": N_("The CRM already has this person, but does not return the record"),
    "fault": N_("The CRM has a technical problem"),
    "invalid_client": _KEY,
    "invalid_grant": _KEY,
    "lead_gone": N_("This lead was deleted"),
    "login": _KEY,
    "mapping": N_("A CRM field rejects its value"),
    "not_let_in": N_("The CRM no longer accepts our access"),
    "not_ours": N_("The CRM record now belongs to another lead"),
    "not_taken": N_("The CRM accepts none of the values"),
    "not_there_yet": N_("Sent, but not visible in the CRM yet"),
    "required_field_missing": N_("A required CRM field is empty"),
    "server_error": N_("The CRM has a technical problem"),
    "shared_record": N_("The lead shares a CRM record with another lead"),
    "still_there": N_("The person is still in the CRM"),
    "taken_by_another_lead": N_("Another lead has this CRM record: merge the two leads"),
    "undescribed": N_("The CRM does not list its fields"),
    "unknown_connector": N_("This version of Contatto does not support this CRM"),
    "unreadable": N_("The response could not be read"),
    "unsupported": N_("The CRM does not support this action"),
    "user_error": _RULE,
    "user_warning": _RULE,
    "validation_error": _RULE,
    WRONG_STAYS: N_("Delivered, but the CRM keeps a value that is marked wrong: remove it there"),
}
"""Sentences by the reason codes of connectors and of the outbound machine."""
IDLE: Final[Mapping[str, str]] = {"expired": _KEY, "not_renewed": N_("The CRM did not issue a new token")}
"""Reasons why a linked CRM gets no leads, where ``REASONS`` is less exact."""
_DIFFERS: Final = f"{DIFFERS}_"


def reason_text(reason: str) -> LazyText | str:
    """Return a reason code as a sentence; a CRM's own code unchanged."""
    if reason in REASONS:
        return LazyText(REASONS[reason])
    if reason.startswith(_DIFFERS):
        return LazyText(
            N_("The CRM stores a different value in %(field)s"), field=reason.removeprefix(_DIFFERS)
        )
    if reason.isdigit():
        return LazyText(N_("The server returned error %(code)s"), code=reason)
    return reason


DENIED: Final = "access_denied"
"""The person refused. Source: RFC 6749, 4.1.2.1."""
_EXPIRED_PERMISSION: Final = N_("The permission has expired or was already used. Grant access again.")
_APP: Final = N_("The client ID and client secret do not match. Correct them below.")
_RETURN: Final = N_("The app at the CRM vendor has a different return address. Register the address below.")
_TEXTS: Final[Mapping[str, str]] = {
    DENIED: N_("Access was not granted. Nothing was changed."),
    "answer_lost": N_("No response received. Grant access again."),
    "expired": _EXPIRED_PERMISSION,
    "unreached": N_("The CRM vendor could not be reached. Grant access again."),
}
_PARTS: Final = (
    ("redirect", _RETURN),
    ("client", _APP),
    ("code", _EXPIRED_PERMISSION),
    ("grant", _EXPIRED_PERMISSION),
)
"""Parts of a vendor's code, in the order of the search."""
_UNKNOWN_REFUSAL: Final = N_("The CRM vendor refused: %(code)s")


def consent_text(reason: str) -> LazyText:
    """Return the code of a vendor or of the outbound machine as a sentence."""
    if reason in _TEXTS:
        return LazyText(_TEXTS[reason])
    text = next((text for part, text in _PARTS if part in reason), "")
    return LazyText(text) if text else LazyText(_UNKNOWN_REFUSAL, code=reason[:60])
