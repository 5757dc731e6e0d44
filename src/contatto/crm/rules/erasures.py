"""State machine of erasures."""

from dataclasses import dataclass, replace
from enum import StrEnum

from contatto.crm import model as crm
from contatto.crm.model import ConnectorTraits, FindBy, FoundRecords, Reply
from contatto.crm.rules.deliveries import CIRCLES, MOST_HOPS
from contatto.integrations.model import ErasureState
from contatto.kit.outbound.model import Failed, NotNow


class EraseStage(StrEnum):
    """Stages of an erasure."""

    FIND = "find"
    """Find a record by our id."""
    LOOK = "look"
    """Read the record that we know."""
    ERASE = "erase"
    PROVE = "prove"
    """Check that the record is gone."""


@dataclass(frozen=True, slots=True)
class EraseCourse:
    """State of an erasure, which repeats its stages until no record is left.

    A record is erased only if it carries our id, or is the successor of ours and no other lead has it. Where
    a CRM stores no id of ours, it is the record that we wrote. ``stored_id`` is the record that we know,
    until it is read; ``is_moved`` means that people merged it into another one.
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
    """End of an erasure."""

    state: ErasureState
    reason: str = ""


type EraseTurn = EraseCourse | ErasureSettled | NotNow


def _finished(course: EraseCourse) -> ErasureSettled:
    return ErasureSettled(ErasureState.PARTIAL if course.is_partial else ErasureState.FINISHED)


def next_erasure(traits: ConnectorTraits, course: EraseCourse, reply: Reply) -> EraseTurn:
    """Return the next step after a reply, the end, or a delay."""
    if course.hops >= MOST_HOPS:
        return NotNow(CIRCLES)
    course = replace(course, hops=course.hops + 1)
    if isinstance(reply, Failed):
        return ErasureSettled(ErasureState.FAILED, reply.reason)
    if isinstance(reply, crm.Unsupported):
        return ErasureSettled(ErasureState.UNSUPPORTED)
    if course.stage is EraseStage.FIND:
        for record in reply.records if isinstance(reply, FoundRecords) else ():
            if record.external_id in ("", course.external_id):
                return replace(course, stage=EraseStage.ERASE, record_id=record.id)
        # Read the record that we know; the erasure ends without one.
        return replace(course, stage=EraseStage.LOOK) if course.stored_id else _finished(course)
    follow = _after_erasure_look if course.stage is EraseStage.LOOK else _after_erase
    return follow(traits, course, reply)


def _after_erasure_look(traits: ConnectorTraits, course: EraseCourse, reply: Reply) -> EraseTurn:
    stored_id, course = course.stored_id, replace(course, stored_id="")
    if isinstance(reply, crm.Moved):
        return replace(course, stage=EraseStage.LOOK, stored_id=reply.record_id, is_moved=True)
    if not isinstance(reply, FoundRecords) or not reply.records:
        return _finished(course)
    record = reply.records[0]
    is_unnamed = course.is_moved and not record.external_id
    has_no_ids = FindBy.EXTERNAL_ID not in traits.finds_by
    if has_no_ids or is_unnamed or record.external_id == course.external_id:
        return replace(course, stage=EraseStage.ERASE, record_id=record.id or stored_id)
    if not record.external_id:
        return ErasureSettled(ErasureState.FAILED, "not_ours")
    if course.is_moved:  # the record holds two leads: it goes with the other, or a person decides
        return NotNow("shared_record")
    return _finished(course)  # the record belongs to another lead now


def _after_erase(traits: ConnectorTraits, course: EraseCourse, reply: Reply) -> EraseTurn:
    if course.stage is EraseStage.PROVE:
        # No record may have the CRM's id any more, and then none may carry ours.
        if isinstance(reply, FoundRecords):
            return NotNow("still_there")  # some CRMs take a while
        if FindBy.EXTERNAL_ID not in traits.finds_by:
            return _finished(course)
        return replace(course, stage=EraseStage.FIND, record_id="", stored_id="")
    is_partial = course.is_partial or (isinstance(reply, crm.Erased) and reply.is_partial)
    course = replace(course, is_partial=is_partial)
    if not isinstance(reply, crm.Erased | crm.NoRecord | crm.Moved):
        return ErasureSettled(ErasureState.FAILED, "unreadable")
    if not traits.reads_back or not course.record_id:
        return _finished(course)
    return replace(course, stage=EraseStage.PROVE)
