"""The steps of a trial: the record is looked for as a delivery does it, and read, but never written."""

from dataclasses import dataclass, replace
from datetime import datetime

from contatto.crm.model.deliveries import Payload
from contatto.crm.model.operations import Found, Later, Operation, Read, Refused, Reply, Values
from contatto.crm.model.traits import Traits
from contatto.crm.model.trials import TrialResult, TrialRow
from contatto.crm.rules.delivering import (
    Agrees,
    Arrived,
    Course,
    Halt,
    Stage,
    begin_course,
    next_turn,
    operation_of,
    values_for,
)


@dataclass(frozen=True, slots=True)
class TrialCourse:
    """Where a trial stands: looking for the record, or reading the one that would be written to.

    ``asked_at`` is when a member asked for it, so that one that was asked for meanwhile is told apart.
    """

    course: Course
    is_reading: bool = False
    asked_at: datetime | None = None


type TrialTurn = TrialCourse | TrialResult | Halt


def begin_trial(traits: Traits, payload: Payload, ids: tuple[str, ...]) -> TrialCourse | TrialResult:
    """The first step; at once the result for a CRM that is not looked into."""
    return _before_write(begin_course(traits, payload, ids))


def trial_operation(trial: TrialCourse) -> Operation:
    """What is asked at this step."""
    if trial.is_reading:
        return Read(trial.course.record_id, tuple(trial.course.payload.values))
    return operation_of(trial.course)


def next_trial_turn(traits: Traits, trial: TrialCourse, reply: Reply, agrees: Agrees) -> TrialTurn:
    """The next step after a reply, or what would be written."""
    if trial.is_reading:
        if isinstance(reply, Later):
            return Halt(reply.reason, is_final=False)
        if isinstance(reply, Refused):
            return Halt(reply.reason, is_final=True)
        known = reply.records[0].values if isinstance(reply, Found) and reply.records else {}
        return compare(trial.course.payload, trial.course.record_id, known, agrees)
    turn = next_turn(traits, trial.course, reply, agrees)
    if isinstance(turn, Halt):
        return turn
    if isinstance(turn, Arrived):  # another lead's record, which has a value of everything
        return TrialResult(turn.record_id, (), "")
    return _before_write(turn)


def _before_write(course: Course) -> TrialCourse | TrialResult:
    if course.stage is not Stage.WRITE:
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
