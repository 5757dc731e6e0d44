"""What a person should look at: a CRM that lets us in no more, leads that do not arrive, what differs."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from contatto.crm.model.targets import Target, TargetState
from contatto.crm.rules.plans import ALARM_AFTER


class Alarm(StrEnum):
    """Why a linked CRM wants somebody's attention, the worst first."""

    SHUT_OUT = "shut_out"
    NONE_ARRIVES = "none_arrives"
    DEAD = "dead"
    MISCOUNTED = "miscounted"
    DIFFERS = "differs"
    MAPPING = "mapping"


TOLD: Final = frozenset({Alarm.SHUT_OUT, Alarm.NONE_ARRIVES, Alarm.DEAD, Alarm.DIFFERS})
"""Alarms that members are alerted of wherever they are; the others wait on the pages."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a linked CRM stands: counts of leads by what became of them, and since when the oldest is due.

    ``leads`` is counted by itself, and is the sum of the others at any moment; ``to_come`` were there before
    the CRM was linked, and are not due yet.
    """

    leads: int = 0
    to_come: int = 0
    due: int = 0
    sent: int = 0
    verified: int = 0
    dead: int = 0
    due_since: datetime | None = None

    @property
    def adds_up(self) -> bool:
        return self.leads == self.to_come + self.due + self.sent + self.verified + self.dead


def none_arrives(target: Target, due_since: datetime | None, now: datetime) -> bool:
    """Return whether leads have been due for five minutes and none has arrived since."""
    if not target.is_active or due_since is None or due_since > now - ALARM_AFTER:
        return False
    return target.verified_at is None or target.verified_at < now - ALARM_AFTER


def find_alarms(target: Target, standing: Standing, now: datetime) -> tuple[Alarm, ...]:
    """What is wrong with a linked CRM, the worst first."""
    found = {
        Alarm.SHUT_OUT: target.state is TargetState.DISCONNECTED,
        Alarm.NONE_ARRIVES: none_arrives(target, standing.due_since, now),
        Alarm.DEAD: standing.dead > 0,
        Alarm.MISCOUNTED: not standing.adds_up,
        Alarm.DIFFERS: target.comparison is not None and target.comparison.differs,
        Alarm.MAPPING: bool(target.faults),
    }
    return tuple(alarm for alarm, is_so in found.items() if is_so)
