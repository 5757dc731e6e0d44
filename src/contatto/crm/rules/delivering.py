"""The steps of a delivery, as a pure state machine: find, write, read back, and heal on the way.

After a lost answer it begins anew: what was made meanwhile is found by our id. A record is taken as the
lead's only if it carries our id, or none and a contact detail of the person: ids are given anew when a CRM is
restored from a backup, and a phone may be shared by two people.

Where people made one record of two leads' in the CRM, it stays the record of the lead whose id it carries. Of
the other lead it gets what it has no value of; the rest was theirs to choose.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from contatto.crm.model.deliveries import Payload
from contatto.crm.model.operations import (
    CrmRecord,
    Exists,
    FieldGone,
    Find,
    FindBy,
    Found,
    Later,
    Merge,
    Moved,
    Nothing,
    Operation,
    Read,
    Refused,
    Reply,
    Unsupported,
    ValueGone,
    Write,
    Written,
)
from contatto.crm.model.traits import Traits
from contatto.crm.rules.mapping import leave_out

MOST_HOPS: Final = 16
"""Steps of one try; a CRM that sends us in circles is left alone until the next."""
DIFFERS: Final = "differs"
TAKEN: Final = "taken_by_another_lead"
WRONG_STAYS: Final = "wrong_value_stays"
CIRCLES: Final = "circles"
NOT_THERE: Final = "not_there_yet"

type Agrees = Callable[[str, str, str], bool]
"""Whether a field that was read says what was written: field, written, found."""


class Stage(StrEnum):
    FIND = "find"
    LOOK = "look"
    CLEAR = "clear"
    WRITE = "write"
    CHECK = "check"
    OTHER = "other"
    MERGE = "merge"


@dataclass(frozen=True, slots=True)
class Course:
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
    stage: Stage = Stage.FIND
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


type Turn = Course | Arrived | Halt


def begin_course(traits: Traits, payload: Payload, ids: tuple[str, ...] = ()) -> Course:
    """The first step of a delivery: our id is looked for first, whatever we remember.

    ``ids`` are the CRM's that may lead to the lead's record, first what was known as its own.
    """
    contacts = {FindBy.EMAIL: payload.email, FindBy.PHONE: payload.phone, FindBy.EXTERNAL_ID: "ours"}
    finds = tuple(each for each in traits.finds_by if contacts[each])
    if not traits.reads_back:  # nothing says what is there, so a field without a right value is cleared
        payload = replace(payload, values=dict.fromkeys(payload.wrong, "") | payload.values)
    course = Course(payload, finds=finds, stored_id=ids[0] if ids else "", merge_ids=ids[1:])
    return _look_on(course)


def look_course(payload: Payload) -> Course:
    """Look whether there is a record with our id, and no more."""
    return Course(payload, Stage.FIND, (FindBy.EXTERNAL_ID,), is_look=True)


def _look_on(course: Course) -> Course:
    """Look for the record in the next way; the stored one is looked at before contact details are."""
    if course.finds and course.finds[0] is FindBy.EXTERNAL_ID:
        return replace(course, stage=Stage.FIND)
    if course.stored_id:
        return replace(course, stage=Stage.LOOK)
    if course.finds:
        return replace(course, stage=Stage.FIND)
    return replace(course, stage=Stage.WRITE)


def operation_of(course: Course) -> Operation:
    """What is asked at this step."""
    payload = course.payload
    if course.stage is Stage.FIND:
        by = course.finds[0]
        values = {FindBy.EMAIL: payload.email, FindBy.PHONE: payload.phone}
        return Find(by, values.get(by, payload.external_id))
    if course.stage is Stage.CLEAR:
        return Read(course.record_id, tuple(payload.wrong))
    if course.stage in (Stage.LOOK, Stage.CHECK, Stage.OTHER):
        looked_at = {Stage.LOOK: course.stored_id, Stage.CHECK: course.record_id}
        return Read(looked_at.get(course.stage) or course.merge_ids[0], tuple(payload.values))
    if course.stage is Stage.MERGE:
        return Merge(course.merge_ids[0], course.record_id)
    at = datetime.fromisoformat(payload.occurred_at)
    written = values_for(payload, course.record_id)
    note = "" if course.shared_with else payload.note
    external_id = course.shared_with or payload.external_id
    return Write(course.record_id or None, external_id, payload.revision, written, note, at, payload.wrong)


def values_for(payload: Payload, record_id: str) -> dict[str, str]:
    """What is written to a record; a new one ("") has its stand-ins too."""
    return payload.values if record_id else payload.stand_ins | payload.values


def next_turn(traits: Traits, course: Course, reply: Reply, agrees: Agrees) -> Turn:
    """The next step after a reply that concerns the record; tokens are the engine's own business."""
    if course.hops >= MOST_HOPS:
        return Halt(CIRCLES, is_final=False)
    course = replace(course, hops=course.hops + 1)
    if isinstance(reply, Later | Refused):
        return Halt(reply.reason, is_final=isinstance(reply, Refused))
    if isinstance(reply, Moved):
        return _follow(course, reply.record_id)
    if isinstance(reply, FieldGone | ValueGone):
        return _without(course, reply.field)
    stages = {
        Stage.FIND: _after_find,
        Stage.LOOK: _after_look,
        Stage.CLEAR: _after_clear,
        Stage.WRITE: _after_write,
        Stage.CHECK: _after_check,
        Stage.OTHER: _after_other,
        Stage.MERGE: _after_merge,
    }
    turn = stages[course.stage](traits, course, reply, agrees)
    return _look_for_wrong(turn) if isinstance(turn, Course) and traits.reads_back else turn


def _look_for_wrong(course: Course) -> Course:
    """Before a record is changed, look whether it holds values that members marked wrong."""
    is_change = course.stage is Stage.WRITE and course.record_id != "" and not course.shared_with
    if is_change and course.payload.wrong and not course.is_cleared:
        return replace(course, stage=Stage.CLEAR)
    return course


def _follow(course: Course, record_id: str) -> Turn:
    """Look at the record that another one became."""
    if course.stage is Stage.MERGE:
        return replace(course, stage=Stage.CHECK, merge_ids=course.merge_ids[1:], hops=0)
    if course.stage is Stage.OTHER:
        return _merge_on(replace(course, merge_ids=(record_id, *course.merge_ids[1:])))
    moved_from = course.moved_from or course.stored_id or course.record_id
    return replace(_go_to(course, record_id), moved_from=moved_from, shared_with="")


def _go_to(course: Course, record_id: str) -> Course:
    """Look at the record that the CRM names."""
    return replace(course, stage=Stage.LOOK, stored_id=record_id, record_id="", is_named=True)


def _without(course: Course, name: str) -> Turn:
    if name not in course.payload.values:
        return Halt("mapping", is_final=True)
    payload = leave_out(course.payload, name)
    return replace(course, payload=payload, stage=Stage.WRITE, left_out=(*course.left_out, name))


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


def _after_find(traits: Traits, course: Course, reply: Reply, agrees: Agrees) -> Turn:
    finds = course.finds[1:]
    records: Iterable[CrmRecord] = reply.records if isinstance(reply, Found) else ()
    first = next((record for record in records if is_takable(course.payload, record)), None)
    if first is None:
        return _look_on(replace(course, finds=finds))
    return replace(course, stage=Stage.WRITE, record_id=first.id)


def _after_look(traits: Traits, course: Course, reply: Reply, agrees: Agrees) -> Turn:
    looked_at, is_named = course.stored_id, course.is_named
    course = replace(course, stored_id="", is_named=False)
    if isinstance(reply, Found) and reply.records:
        record = reply.records[0]
        if is_takable(course.payload, record) if is_named else is_ours(course.payload, record, agrees):
            return replace(_settled_on(course), stage=Stage.WRITE, record_id=record.id or looked_at)
        if is_named and course.moved_from and not course.merge_ids:
            return _share(course, record)
        if is_named and not course.moved_from:
            return Halt(TAKEN, is_final=True)
    if course.merge_ids and (course.moved_from or course.is_elsewhere):
        return _look_elsewhere(course)
    return _look_on(course)


def _settled_on(course: Course) -> Course:
    """What leads to another lead's record is not looked at any more, nor merged."""
    if not course.is_elsewhere:
        return course
    return replace(course, merge_ids=course.merge_ids[:-1], is_elsewhere=False)


def _look_elsewhere(course: Course) -> Course:
    """One that was merged into it may have a record: one of its own is better than a part in another's."""
    following, *others = course.merge_ids
    known = () if course.is_elsewhere else (course.moved_from,)
    return replace(
        course,
        stage=Stage.LOOK,
        stored_id=following,
        merge_ids=(*others, *known),
        moved_from="",
        is_elsewhere=True,
        hops=0,
    )


def _share(course: Course, record: CrmRecord) -> Turn:
    """Give another lead's record what it has no value of; nothing of that lead is written over."""
    blank = {name: text for name, text in course.payload.values.items() if not record.values.get(name)}
    shared = replace(
        course,
        payload=replace(course.payload, values=blank),
        stage=Stage.WRITE,
        record_id=record.id,
        shared_with=record.external_id,
    )
    return shared if blank else _arrived(shared, is_verified=False)


def _arrived(course: Course, *, is_verified: bool) -> Arrived:
    """A shared record is none of this lead's own: it is remembered as what leads there, and as sent."""
    if course.shared_with:
        return Arrived(course.moved_from, is_verified=False)
    stays = any(name in course.payload.wrong for name in course.left_out)
    return Arrived(course.record_id, is_verified, WRONG_STAYS if stays else "")


def _after_clear(traits: Traits, course: Course, reply: Reply, agrees: Agrees) -> Turn:
    """Clear the fields that hold nothing but wrong values; what people wrote there stays."""
    there = reply.records[0].values if isinstance(reply, Found) and reply.records else {}
    empty = {
        name: ""
        for name, values in course.payload.wrong.items()
        if there.get(name)
        and name not in course.payload.values
        and all(any(agrees(name, value, part) for value in values) for part in there[name].split(", "))
    }
    payload = replace(course.payload, values=course.payload.values | empty)
    return replace(course, payload=payload, stage=Stage.WRITE, is_cleared=True)


def _after_write(traits: Traits, course: Course, reply: Reply, agrees: Agrees) -> Turn:
    if isinstance(reply, Written):
        found = replace(course, record_id=reply.record_id or course.record_id)
        if not traits.reads_back:
            return _arrived(found, is_verified=False)
        return replace(found, stage=Stage.CHECK)
    if isinstance(reply, Exists) and reply.record_id not in ("", course.record_id):
        return replace(_go_to(course, reply.record_id), moved_from="", shared_with="")
    if isinstance(reply, Exists):
        return Halt("exists", is_final=True)
    if isinstance(reply, Nothing) and course.record_id:
        is_shared = course.shared_with != ""  # what it was is for the next try to find out
        return Halt(NOT_THERE, is_final=False) if is_shared else _look_on(replace(course, record_id=""))
    return Halt("unsupported" if isinstance(reply, Unsupported) else "unreadable", is_final=True)


def _after_check(traits: Traits, course: Course, reply: Reply, agrees: Agrees) -> Turn:
    if not isinstance(reply, Found) or not reply.records:
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


def _merge_on(course: Course) -> Turn:
    """Look at the next record that is to become a part of this one, which one of them may be by now."""
    others = tuple(each for each in course.merge_ids if each != course.record_id)
    if others:
        return replace(course, stage=Stage.OTHER, merge_ids=others)
    return _arrived(course, is_verified=True)


def _after_other(traits: Traits, course: Course, reply: Reply, agrees: Agrees) -> Turn:
    """What people made part of another lead's record, or a restored CRM gave to a stranger, is not merged."""
    records = reply.records if isinstance(reply, Found) else ()
    if any(is_ours(course.payload, record, agrees) for record in records):
        return replace(course, stage=Stage.MERGE)
    return _merge_on(replace(course, merge_ids=course.merge_ids[1:], hops=0))


def _after_merge(traits: Traits, course: Course, reply: Reply, agrees: Agrees) -> Turn:
    """A record that was gone needs no merge; what is merged is read back once more."""
    into = reply.record_id if isinstance(reply, Written) and reply.record_id else course.record_id
    merge_ids = course.merge_ids[1:]
    return replace(course, stage=Stage.CHECK, merge_ids=merge_ids, record_id=into, hops=0)
