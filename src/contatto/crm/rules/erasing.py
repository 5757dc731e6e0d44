"""The steps of erasing a person in a CRM: find, erase, and read until nothing is found.

A record is erased only if it carries our id, or if the CRM says that it is what became of ours and no other
lead has it; where a CRM keeps no id of ours, the one that we wrote to.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from contatto.crm.model.deliveries import ErasureState
from contatto.crm.model.operations import (
    Erase,
    Erased,
    Find,
    FindBy,
    Found,
    Moved,
    Nothing,
    Operation,
    Read,
    Refused,
    Reply,
    Unsupported,
)
from contatto.crm.model.traits import ErasureLevel, Traits

MOST_HOPS: Final = 16
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
class Settled:
    """How far it came in the end."""

    state: ErasureState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TryLater:
    """A read still finds the person: some CRMs take a while, or another lead's erasure is on its way."""

    reason: str


type EraseTurn = EraseCourse | Settled | TryLater


def begin_erasure(traits: Traits, external_id: str, stored_id: str) -> EraseTurn:
    """The first step."""
    if traits.erases is ErasureLevel.NONE:
        return Settled(ErasureState.UNSUPPORTED)
    if FindBy.EXTERNAL_ID in traits.finds_by:
        return EraseCourse(external_id, EraseStage.FIND, stored_id)
    if not traits.reads_back:
        return EraseCourse(external_id, EraseStage.ERASE, record_id=stored_id)
    return _look(EraseCourse(external_id, EraseStage.LOOK, stored_id))


def _look(course: EraseCourse) -> EraseTurn:
    if course.stored_id:
        return replace(course, stage=EraseStage.LOOK)
    return _finished(course)


def _finished(course: EraseCourse) -> Settled:
    return Settled(ErasureState.PARTIAL if course.is_partial else ErasureState.FINISHED)


def erasing_operation(course: EraseCourse) -> Operation:
    """What is asked at this step."""
    if course.stage is EraseStage.FIND:
        return Find(FindBy.EXTERNAL_ID, course.external_id)
    if course.stage is EraseStage.LOOK:
        return Read(course.stored_id)
    if course.stage is EraseStage.PROVE:
        return Read(course.record_id)
    return Erase(course.record_id, course.external_id)


def next_erasure(traits: Traits, course: EraseCourse, reply: Reply) -> EraseTurn:
    """The next step after a reply."""
    if course.hops >= MOST_HOPS:
        return TryLater("circles")
    course = replace(course, hops=course.hops + 1)
    if isinstance(reply, Refused):
        return Settled(ErasureState.FAILED, reply.reason)
    if isinstance(reply, Unsupported):
        return Settled(ErasureState.UNSUPPORTED)
    stages = {
        EraseStage.FIND: _after_find,
        EraseStage.LOOK: _after_look,
        EraseStage.ERASE: _after_erase,
        EraseStage.PROVE: _after_proof,
    }
    return stages[course.stage](traits, course, reply)


def _after_find(traits: Traits, course: EraseCourse, reply: Reply) -> EraseTurn:
    records = reply.records if isinstance(reply, Found) else ()
    ours = (record.id for record in records if record.external_id in ("", course.external_id))
    first = next(ours, None)
    return _look(course) if first is None else replace(course, stage=EraseStage.ERASE, record_id=first)


def _after_look(traits: Traits, course: EraseCourse, reply: Reply) -> EraseTurn:
    looked_at, course = course.stored_id, replace(course, stored_id="")
    if isinstance(reply, Moved):
        return replace(course, stage=EraseStage.LOOK, stored_id=reply.record_id, is_moved=True)
    if not isinstance(reply, Found) or not reply.records:
        return _finished(course)
    keeps_ids = FindBy.EXTERNAL_ID in traits.finds_by
    is_ours = reply.records[0].external_id in (course.external_id, *([""] if course.is_moved else []))
    if not keeps_ids or is_ours:
        return replace(course, stage=EraseStage.ERASE, record_id=reply.records[0].id or looked_at)
    if reply.records[0].external_id and course.is_moved:
        return TryLater(SHARED)  # it holds two leads: it goes with the other one, or a person decides
    if reply.records[0].external_id:
        return _finished(course)  # it belongs to somebody else by now
    return Settled(ErasureState.FAILED, NOT_OURS)


def _after_erase(traits: Traits, course: EraseCourse, reply: Reply) -> EraseTurn:
    is_partial = course.is_partial or (isinstance(reply, Erased) and reply.is_partial)
    course = replace(course, is_partial=is_partial)
    if not isinstance(reply, Erased | Nothing | Moved):
        return Settled(ErasureState.FAILED, "unreadable")
    if not traits.reads_back or not course.record_id:
        return _finished(course)
    return replace(course, stage=EraseStage.PROVE)


def _after_proof(traits: Traits, course: EraseCourse, reply: Reply) -> EraseTurn:
    """Nothing may be there under the id, and then nothing may be found by our id either."""
    if isinstance(reply, Found):
        return TryLater(STILL_THERE)
    if FindBy.EXTERNAL_ID not in traits.finds_by:
        return _finished(course)
    return replace(course, stage=EraseStage.FIND, record_id="", stored_id="")
