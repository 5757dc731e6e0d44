"""State machines of deliveries, trials and erasures, and their retry plans."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from contatto.crm.model import (
    ConnectorTraits,
    CrmRecord,
    Erased,
    EraseRecord,
    ErasureLevel,
    ErasureState,
    Exists,
    FieldGone,
    FindBy,
    FindRecord,
    FoundRecords,
    MergeRecords,
    Moved,
    NoRecord,
    Operation,
    Payload,
    ReadRecord,
    Rejected,
    Reply,
    RetryLater,
    TrialResult,
    TrialRow,
    Unsupported,
    ValueGone,
    Values,
    WriteRecord,
    Written,
)
from contatto.crm.rules.mapping import leave_out
from contatto.kit.outbound.model import RetryPlan

DELIVERY: Final = "crm_delivery"
ERASURE: Final = "crm_erasure"
POLL: Final = "crm_poll"
CHECK: Final = "crm_check"
CONSENT: Final = "crm_consent"
TRIAL: Final = "crm_trial"
COMPARISON: Final = "crm_comparison"
"""Names of kinds; they are kept in rows and never change."""

_WAITS_S: Final = (60, 300, 1_800, 7_200, *(21_600,) * 120)
"""A minute, then slower; from half a day on every six hours for a month.

The first wait is longer than any search lag, so that what was made before an answer was lost is found.
"""
DELIVERY_PLAN: Final = RetryPlan(_WAITS_S, timedelta(days=30))
ERASURE_PLAN: Final = DELIVERY_PLAN
POLL_PLAN: Final = RetryPlan(_WAITS_S)
CHECK_PLAN: Final = POLL_PLAN
CONSENT_PLAN: Final = RetryPlan((1, 2, 4, 8, 15, 30, 60, 60, 60), timedelta(minutes=10))
"""A code lives for ten minutes at the most. Source: RFC 6749, 4.1.2."""
TRIAL_PLAN: Final = RetryPlan((60, 300))
CHECK_EVERY_S: Final = 86_400.0
COMPARISON_PLAN: Final = POLL_PLAN
COMPARE_EVERY_S: Final = 86_400.0
COMPARE_AGAIN_S: Final = 3_600.0
"""After a comparison that found something: what was sent again is there by then."""
SETTLED_FOR: Final = timedelta(minutes=15)
"""What was verified more lately need not stand in a CRM's lists yet."""
SENT_AGAIN_AT_MOST: Final = 500
"""Leads that one comparison sends again; the next goes on."""
SEARCH_LAG: Final = timedelta(seconds=60)
"""No CRM may take longer to find what was made: no try comes sooner after one whose answer was lost."""
DIFFERS_AT_MOST: Final = 4
"""Tries of which each read back something else than was written, before a person has to look."""
SOON_S: Final = 1.0
"""Until somebody else has renewed a token."""
RENEWING: Final = timedelta(seconds=60)
MOST_RENEWALS: Final = 2
KEEP: Final = timedelta(days=90)
"""How long deliveries are kept that have arrived."""
ECHO: Final = timedelta(hours=24)
"""How long what we wrote is known as ours when it comes back."""
ALARM_AFTER: Final = timedelta(minutes=5)
"""How long leads may be due at an active target, with none verified, before that is an alarm."""


MOST_HOPS: Final = 16
"""Steps of one try; a CRM that sends us in circles is left alone until the next."""
DIFFERS: Final = "differs"
TAKEN: Final = "taken_by_another_lead"
WRONG_STAYS: Final = "wrong_value_stays"
CIRCLES: Final = "circles"
NOT_THERE: Final = "not_there_yet"

type Agrees = Callable[[str, str, str], bool]
"""Whether a field that was read says what was written: field, written, found."""


class DeliveryStage(StrEnum):
    FIND = "find"
    LOOK = "look"
    CLEAR = "clear"
    WRITE = "write"
    CHECK = "check"
    OTHER = "other"
    MERGE = "merge"


@dataclass(frozen=True, slots=True)
class DeliveryCourse:
    """Where a delivery stands.

    Attributes:
        payload: what is written.
        stage: what was asked last.
        finds: ways to look for the record that were not tried yet; the first is the one that is asked.
        stored_id: the record as we knew it, while it is still to be looked at.
        record_id: the record that is written to.
        merge_ids: records of leads that were merged into this one, still to be merged.
        left_out: fields that the CRM did not take.
        is_named: the CRM itself named ``stored_id`` as the person's record, so there is no other.
        moved_from: the record as we knew it, which the CRM made part of ``stored_id``.
        shared_with: our id of the lead whose record ``record_id`` is, where that is another one.
        is_elsewhere: the record as we knew it is another lead's by now, so ``merge_ids`` are looked at: any
            may be the lead's own. The last of them is the record that we knew.
        is_cleared: the record was read for values that members marked wrong.
        is_look: nothing is written: a record that carries our id is looked for.
        hops: steps so far.
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
    hops: int = 0


@dataclass(frozen=True, slots=True)
class Arrived:
    """The delivery is through: verified if it was read back, else sent.

    ``reason`` says what the CRM did not take of it; mostly nothing.
    """

    record_id: str
    is_verified: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Halt:
    """It does not go on now; ``is_final`` when no repeat will change that."""

    reason: str
    is_final: bool


type DeliveryTurn = DeliveryCourse | Arrived | Halt


def begin_course(traits: ConnectorTraits, payload: Payload, ids: tuple[str, ...] = ()) -> DeliveryCourse:
    """The first step of a delivery: our id is looked for first, whatever we remember.

    ``ids`` are the CRM's that may lead to the lead's record, first what was known as its own.
    """
    contacts = {FindBy.EMAIL: payload.email, FindBy.PHONE: payload.phone, FindBy.EXTERNAL_ID: "ours"}
    finds = tuple(each for each in traits.finds_by if contacts[each])
    if not traits.reads_back:  # nothing says what is there, so a field without a right value is cleared
        payload = replace(payload, values=dict.fromkeys(payload.wrong, "") | payload.values)
    course = DeliveryCourse(payload, finds=finds, stored_id=ids[0] if ids else "", merge_ids=ids[1:])
    return _look_on(course)


def look_course(payload: Payload) -> DeliveryCourse:
    """Look whether there is a record with our id, and no more."""
    return DeliveryCourse(payload, DeliveryStage.FIND, (FindBy.EXTERNAL_ID,), is_look=True)


def _look_on(course: DeliveryCourse) -> DeliveryCourse:
    """Look for the record in the next way; the stored one is looked at before contact details are."""
    if course.finds and course.finds[0] is FindBy.EXTERNAL_ID:
        return replace(course, stage=DeliveryStage.FIND)
    if course.stored_id:
        return replace(course, stage=DeliveryStage.LOOK)
    if course.finds:
        return replace(course, stage=DeliveryStage.FIND)
    return replace(course, stage=DeliveryStage.WRITE)


def operation_of(course: DeliveryCourse) -> Operation:
    """What is asked at this step."""
    payload = course.payload
    if course.stage is DeliveryStage.FIND:
        by = course.finds[0]
        values = {FindBy.EMAIL: payload.email, FindBy.PHONE: payload.phone}
        return FindRecord(by, values.get(by, payload.external_id))
    if course.stage is DeliveryStage.CLEAR:
        return ReadRecord(course.record_id, tuple(payload.wrong))
    if course.stage in (DeliveryStage.LOOK, DeliveryStage.CHECK, DeliveryStage.OTHER):
        looked_at = {DeliveryStage.LOOK: course.stored_id, DeliveryStage.CHECK: course.record_id}
        return ReadRecord(looked_at.get(course.stage) or course.merge_ids[0], tuple(payload.values))
    if course.stage is DeliveryStage.MERGE:
        return MergeRecords(course.merge_ids[0], course.record_id)
    at = datetime.fromisoformat(payload.occurred_at)
    written = values_for(payload, course.record_id)
    note = "" if course.shared_with else payload.note
    external_id = course.shared_with or payload.external_id
    return WriteRecord(
        course.record_id or None, external_id, payload.revision, written, note, at, payload.wrong
    )


def values_for(payload: Payload, record_id: str) -> dict[str, str]:
    """What is written to a record; a new one ("") has its stand-ins too."""
    return payload.values if record_id else payload.stand_ins | payload.values


def next_turn(traits: ConnectorTraits, course: DeliveryCourse, reply: Reply, agrees: Agrees) -> DeliveryTurn:
    """The next step after a reply that concerns the record; tokens are the engine's own business."""
    if course.hops >= MOST_HOPS:
        return Halt(CIRCLES, is_final=False)
    course = replace(course, hops=course.hops + 1)
    if isinstance(reply, RetryLater | Rejected):
        return Halt(reply.reason, is_final=isinstance(reply, Rejected))
    if isinstance(reply, Moved):
        return _follow(course, reply.record_id)
    if isinstance(reply, FieldGone | ValueGone):
        return _without(course, reply.field)
    stages = {
        DeliveryStage.FIND: _after_find,
        DeliveryStage.LOOK: _after_look,
        DeliveryStage.CLEAR: _after_clear,
        DeliveryStage.WRITE: _after_write,
        DeliveryStage.CHECK: _after_check,
        DeliveryStage.OTHER: _after_other,
        DeliveryStage.MERGE: _after_merge,
    }
    turn = stages[course.stage](traits, course, reply, agrees)
    return _look_for_wrong(turn) if isinstance(turn, DeliveryCourse) and traits.reads_back else turn


def _look_for_wrong(course: DeliveryCourse) -> DeliveryCourse:
    """Before a record is changed, look whether it holds values that members marked wrong."""
    is_change = course.stage is DeliveryStage.WRITE and course.record_id != "" and not course.shared_with
    if is_change and course.payload.wrong and not course.is_cleared:
        return replace(course, stage=DeliveryStage.CLEAR)
    return course


def _follow(course: DeliveryCourse, record_id: str) -> DeliveryTurn:
    """Look at the record that another one became."""
    if course.stage is DeliveryStage.MERGE:
        return replace(course, stage=DeliveryStage.CHECK, merge_ids=course.merge_ids[1:], hops=0)
    if course.stage is DeliveryStage.OTHER:
        return _merge_on(replace(course, merge_ids=(record_id, *course.merge_ids[1:])))
    moved_from = course.moved_from or course.stored_id or course.record_id
    return replace(_go_to(course, record_id), moved_from=moved_from, shared_with="")


def _go_to(course: DeliveryCourse, record_id: str) -> DeliveryCourse:
    """Look at the record that the CRM names."""
    return replace(course, stage=DeliveryStage.LOOK, stored_id=record_id, record_id="", is_named=True)


def _without(course: DeliveryCourse, name: str) -> DeliveryTurn:
    if name not in course.payload.values:
        return Halt("mapping", is_final=True)
    payload = leave_out(course.payload, name)
    return replace(course, payload=payload, stage=DeliveryStage.WRITE, left_out=(*course.left_out, name))


def is_ours(payload: Payload, record: CrmRecord, agrees: Agrees) -> bool:
    """Return whether a record is the lead's: by our id, or without any by a contact detail of the person."""
    if record.external_id:
        return record.external_id in (payload.external_id, *payload.former_ids)
    return any(
        text and agrees(name, text, record.values.get(name, ""))
        for name, text in payload.values.items()
        if text in (payload.email, payload.phone)
    )


def is_takable(payload: Payload, record: CrmRecord) -> bool:
    """Whether a record that was found by a contact detail may become the lead's: no other lead has it."""
    return not record.external_id or record.external_id in (payload.external_id, *payload.former_ids)


def _after_find(
    traits: ConnectorTraits, course: DeliveryCourse, reply: Reply, agrees: Agrees
) -> DeliveryTurn:
    finds = course.finds[1:]
    records: Iterable[CrmRecord] = reply.records if isinstance(reply, FoundRecords) else ()
    first = next((record for record in records if is_takable(course.payload, record)), None)
    if first is None:
        return _look_on(replace(course, finds=finds))
    return replace(course, stage=DeliveryStage.WRITE, record_id=first.id)


def _after_look(
    traits: ConnectorTraits, course: DeliveryCourse, reply: Reply, agrees: Agrees
) -> DeliveryTurn:
    looked_at, is_named = course.stored_id, course.is_named
    course = replace(course, stored_id="", is_named=False)
    if isinstance(reply, FoundRecords) and reply.records:
        record = reply.records[0]
        if is_takable(course.payload, record) if is_named else is_ours(course.payload, record, agrees):
            return replace(_settled_on(course), stage=DeliveryStage.WRITE, record_id=record.id or looked_at)
        if is_named and course.moved_from and not course.merge_ids:
            return _share(course, record)
        if is_named and not course.moved_from:
            return Halt(TAKEN, is_final=True)
    if course.merge_ids and (course.moved_from or course.is_elsewhere):
        return _look_elsewhere(course)
    return _look_on(course)


def _settled_on(course: DeliveryCourse) -> DeliveryCourse:
    """What leads to another lead's record is not looked at any more, nor merged."""
    if not course.is_elsewhere:
        return course
    return replace(course, merge_ids=course.merge_ids[:-1], is_elsewhere=False)


def _look_elsewhere(course: DeliveryCourse) -> DeliveryCourse:
    """One that was merged into it may have a record: one of its own is better than a part in another's."""
    following, *others = course.merge_ids
    known = () if course.is_elsewhere else (course.moved_from,)
    return replace(
        course,
        stage=DeliveryStage.LOOK,
        stored_id=following,
        merge_ids=(*others, *known),
        moved_from="",
        is_elsewhere=True,
        hops=0,
    )


def _share(course: DeliveryCourse, record: CrmRecord) -> DeliveryTurn:
    """Give another lead's record what it has no value of; nothing of that lead is written over."""
    blank = {name: text for name, text in course.payload.values.items() if not record.values.get(name)}
    shared = replace(
        course,
        payload=replace(course.payload, values=blank),
        stage=DeliveryStage.WRITE,
        record_id=record.id,
        shared_with=record.external_id,
    )
    return shared if blank else _arrived(shared, is_verified=False)


def _arrived(course: DeliveryCourse, *, is_verified: bool) -> Arrived:
    """A shared record is none of this lead's own: it is remembered as what leads there, and as sent."""
    if course.shared_with:
        return Arrived(course.moved_from, is_verified=False)
    stays = any(name in course.payload.wrong for name in course.left_out)
    return Arrived(course.record_id, is_verified, WRONG_STAYS if stays else "")


def _after_clear(
    traits: ConnectorTraits, course: DeliveryCourse, reply: Reply, agrees: Agrees
) -> DeliveryTurn:
    """Clear the fields that hold nothing but wrong values; what people wrote there stays."""
    there = reply.records[0].values if isinstance(reply, FoundRecords) and reply.records else {}
    empty = {
        name: ""
        for name, values in course.payload.wrong.items()
        if there.get(name)
        and name not in course.payload.values
        and all(any(agrees(name, value, part) for value in values) for part in there[name].split(", "))
    }
    payload = replace(course.payload, values=course.payload.values | empty)
    return replace(course, payload=payload, stage=DeliveryStage.WRITE, is_cleared=True)


def _after_write(
    traits: ConnectorTraits, course: DeliveryCourse, reply: Reply, agrees: Agrees
) -> DeliveryTurn:
    if isinstance(reply, Written):
        found = replace(course, record_id=reply.record_id or course.record_id)
        if not traits.reads_back:
            return _arrived(found, is_verified=False)
        return replace(found, stage=DeliveryStage.CHECK)
    if isinstance(reply, Exists) and reply.record_id not in ("", course.record_id):
        return replace(_go_to(course, reply.record_id), moved_from="", shared_with="")
    if isinstance(reply, Exists):
        return Halt("exists", is_final=True)
    if isinstance(reply, NoRecord) and course.record_id:
        is_shared = course.shared_with != ""  # what it was is for the next try to find out
        return Halt(NOT_THERE, is_final=False) if is_shared else _look_on(replace(course, record_id=""))
    return Halt("unsupported" if isinstance(reply, Unsupported) else "unreadable", is_final=True)


def _after_check(
    traits: ConnectorTraits, course: DeliveryCourse, reply: Reply, agrees: Agrees
) -> DeliveryTurn:
    if not isinstance(reply, FoundRecords) or not reply.records:
        return Halt(NOT_THERE, is_final=False)
    record = reply.records[0]
    wrong = [
        name
        for name, text in course.payload.values.items()
        if not agrees(name, text, record.values.get(name, ""))
    ]
    if wrong:
        return Halt(f"{DIFFERS}_{wrong[0]}"[:64], is_final=False)
    return _merge_on(course) if traits.merges else _arrived(course, is_verified=True)


def _merge_on(course: DeliveryCourse) -> DeliveryTurn:
    """Look at the next record that is to become a part of this one, which one of them may be by now."""
    others = tuple(each for each in course.merge_ids if each != course.record_id)
    if others:
        return replace(course, stage=DeliveryStage.OTHER, merge_ids=others)
    return _arrived(course, is_verified=True)


def _after_other(
    traits: ConnectorTraits, course: DeliveryCourse, reply: Reply, agrees: Agrees
) -> DeliveryTurn:
    """What people made part of another lead's record, or a restored CRM gave to a stranger, is not merged."""
    records = reply.records if isinstance(reply, FoundRecords) else ()
    if any(is_ours(course.payload, record, agrees) for record in records):
        return replace(course, stage=DeliveryStage.MERGE)
    return _merge_on(replace(course, merge_ids=course.merge_ids[1:], hops=0))


def _after_merge(
    traits: ConnectorTraits, course: DeliveryCourse, reply: Reply, agrees: Agrees
) -> DeliveryTurn:
    """A record that was gone needs no merge; what is merged is read back once more."""
    into = reply.record_id if isinstance(reply, Written) and reply.record_id else course.record_id
    merge_ids = course.merge_ids[1:]
    return replace(course, stage=DeliveryStage.CHECK, merge_ids=merge_ids, record_id=into, hops=0)


@dataclass(frozen=True, slots=True)
class TrialCourse:
    """Where a trial stands: looking for the record, or reading the one that would be written to.

    ``asked_at`` is when a member asked for it, so that one that was asked for meanwhile is told apart.
    """

    course: DeliveryCourse
    is_reading: bool = False
    asked_at: datetime | None = None


type TrialTurn = TrialCourse | TrialResult | Halt


def begin_trial(traits: ConnectorTraits, payload: Payload, ids: tuple[str, ...]) -> TrialCourse | TrialResult:
    """The first step; at once the result for a CRM that is not looked into."""
    return _before_write(begin_course(traits, payload, ids))


def trial_operation(trial: TrialCourse) -> Operation:
    """What is asked at this step."""
    if trial.is_reading:
        return ReadRecord(trial.course.record_id, tuple(trial.course.payload.values))
    return operation_of(trial.course)


def next_trial_turn(traits: ConnectorTraits, trial: TrialCourse, reply: Reply, agrees: Agrees) -> TrialTurn:
    """The next step after a reply, or what would be written."""
    if trial.is_reading:
        if isinstance(reply, RetryLater):
            return Halt(reply.reason, is_final=False)
        if isinstance(reply, Rejected):
            return Halt(reply.reason, is_final=True)
        known = reply.records[0].values if isinstance(reply, FoundRecords) and reply.records else {}
        return compare(trial.course.payload, trial.course.record_id, known, agrees)
    turn = next_turn(traits, trial.course, reply, agrees)
    if isinstance(turn, Halt):
        return turn
    if isinstance(turn, Arrived):  # another lead's record, which has a value of everything
        return TrialResult(turn.record_id, (), "")
    return _before_write(turn)


def _before_write(course: DeliveryCourse) -> TrialCourse | TrialResult:
    if course.stage is not DeliveryStage.WRITE:
        return TrialCourse(course)
    if course.record_id:
        return TrialCourse(replace(course, hops=0), is_reading=True)
    return compare(course.payload, "", {}, lambda field, written, found: False)


def compare(payload: Payload, record_id: str, known: Values, agrees: Agrees) -> TrialResult:
    """What is there and what would be, field by field."""
    rows = tuple(
        TrialRow(
            name,
            payload.sources.get(name, ""),
            known.get(name, ""),
            text,
            agrees=agrees(name, text, known.get(name, "")),
        )
        for name, text in values_for(payload, record_id).items()
    )
    return TrialResult(record_id, rows, payload.note)


MOST_ERASURE_HOPS: Final = 16
STILL_THERE: Final = "still_there"
NOT_OURS: Final = "not_ours"
SHARED: Final = "shared_record"


class EraseStage(StrEnum):
    FIND = "find"
    LOOK = "look"
    ERASE = "erase"
    PROVE = "prove"


@dataclass(frozen=True, slots=True)
class EraseCourse:
    """Where an erasure stands.

    ``stored_id`` is the record as we knew it, until it was looked at; ``is_moved`` says that the CRM made it
    part of another one.
    """

    external_id: str
    stage: EraseStage
    stored_id: str = ""
    record_id: str = ""
    is_partial: bool = False
    is_moved: bool = False
    hops: int = 0


@dataclass(frozen=True, slots=True)
class ErasureSettled:
    """How far it came in the end."""

    state: ErasureState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ErasurePending:
    """A read still finds the person: some CRMs take a while, or another lead's erasure is on its way."""

    reason: str


type EraseTurn = EraseCourse | ErasureSettled | ErasurePending


def begin_erasure(traits: ConnectorTraits, external_id: str, stored_id: str) -> EraseTurn:
    """The first step."""
    if traits.erases is ErasureLevel.NONE:
        return ErasureSettled(ErasureState.UNSUPPORTED)
    if FindBy.EXTERNAL_ID in traits.finds_by:
        return EraseCourse(external_id, EraseStage.FIND, stored_id)
    if not traits.reads_back:
        return EraseCourse(external_id, EraseStage.ERASE, record_id=stored_id)
    return _look(EraseCourse(external_id, EraseStage.LOOK, stored_id))


def _look(course: EraseCourse) -> EraseTurn:
    if course.stored_id:
        return replace(course, stage=EraseStage.LOOK)
    return _finished(course)


def _finished(course: EraseCourse) -> ErasureSettled:
    return ErasureSettled(ErasureState.PARTIAL if course.is_partial else ErasureState.FINISHED)


def erasing_operation(course: EraseCourse) -> Operation:
    """What is asked at this step."""
    if course.stage is EraseStage.FIND:
        return FindRecord(FindBy.EXTERNAL_ID, course.external_id)
    if course.stage is EraseStage.LOOK:
        return ReadRecord(course.stored_id)
    if course.stage is EraseStage.PROVE:
        return ReadRecord(course.record_id)
    return EraseRecord(course.record_id, course.external_id)


def next_erasure(traits: ConnectorTraits, course: EraseCourse, reply: Reply) -> EraseTurn:
    """The next step after a reply."""
    if course.hops >= MOST_ERASURE_HOPS:
        return ErasurePending("circles")
    course = replace(course, hops=course.hops + 1)
    if isinstance(reply, Rejected):
        return ErasureSettled(ErasureState.FAILED, reply.reason)
    if isinstance(reply, Unsupported):
        return ErasureSettled(ErasureState.UNSUPPORTED)
    stages = {
        EraseStage.FIND: _after_erasure_find,
        EraseStage.LOOK: _after_erasure_look,
        EraseStage.ERASE: _after_erase,
        EraseStage.PROVE: _after_proof,
    }
    return stages[course.stage](traits, course, reply)


def _after_erasure_find(traits: ConnectorTraits, course: EraseCourse, reply: Reply) -> EraseTurn:
    records = reply.records if isinstance(reply, FoundRecords) else ()
    ours = (record.id for record in records if record.external_id in ("", course.external_id))
    first = next(ours, None)
    return _look(course) if first is None else replace(course, stage=EraseStage.ERASE, record_id=first)


def _after_erasure_look(traits: ConnectorTraits, course: EraseCourse, reply: Reply) -> EraseTurn:
    looked_at, course = course.stored_id, replace(course, stored_id="")
    if isinstance(reply, Moved):
        return replace(course, stage=EraseStage.LOOK, stored_id=reply.record_id, is_moved=True)
    if not isinstance(reply, FoundRecords) or not reply.records:
        return _finished(course)
    keeps_ids = FindBy.EXTERNAL_ID in traits.finds_by
    is_ours = reply.records[0].external_id in (course.external_id, *([""] if course.is_moved else []))
    if not keeps_ids or is_ours:
        return replace(course, stage=EraseStage.ERASE, record_id=reply.records[0].id or looked_at)
    if reply.records[0].external_id and course.is_moved:
        return ErasurePending(SHARED)  # it holds two leads: it goes with the other one, or a person decides
    if reply.records[0].external_id:
        return _finished(course)  # it belongs to somebody else by now
    return ErasureSettled(ErasureState.FAILED, NOT_OURS)


def _after_erase(traits: ConnectorTraits, course: EraseCourse, reply: Reply) -> EraseTurn:
    is_partial = course.is_partial or (isinstance(reply, Erased) and reply.is_partial)
    course = replace(course, is_partial=is_partial)
    if not isinstance(reply, Erased | NoRecord | Moved):
        return ErasureSettled(ErasureState.FAILED, "unreadable")
    if not traits.reads_back or not course.record_id:
        return _finished(course)
    return replace(course, stage=EraseStage.PROVE)


def _after_proof(traits: ConnectorTraits, course: EraseCourse, reply: Reply) -> EraseTurn:
    """Nothing may be there under the id, and then nothing may be found by our id either."""
    if isinstance(reply, FoundRecords):
        return ErasurePending(STILL_THERE)
    if FindBy.EXTERNAL_ID not in traits.finds_by:
        return _finished(course)
    return replace(course, stage=EraseStage.FIND, record_id="", stored_id="")
