"""Deliveries to outside systems: entries of the ledger, counts and alarms."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from contatto.kit.i18n import N_


class DeliveryState(StrEnum):
    """States of a delivery.

    Verified means read back at the receiver. Withheld means that it may not be sent now, and a change of the
    lead may make it due. A dead one waits for a person.
    """

    DUE = "due"
    SENT = "sent"
    VERIFIED = "verified"
    WITHHELD = "withheld"
    DEAD = "dead"


SENDING_REASONS: Final[Mapping[str, str]] = {
    "answer_lost": N_("No response received"),
    "broken": N_("Something went wrong in Contatto and was logged. Try again."),
    "expired": N_("The time limit for sending has passed"),
    "forbidden_address": N_("Address not allowed"),
    "unreached": N_("Server not reached"),
}
"""Texts by the reasons of the outbound queue."""


@dataclass(frozen=True, slots=True)
class Denied:
    """Access that a receiver refuses: its deliveries wait until a member fixes the reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A delivery; ``reason`` is a code of the receiver, of its connector or of the outbound queue."""

    id: int
    business_id: str
    state: DeliveryState
    reason: str
    created_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class LedgerCounts:
    """Counts of a receiver by state, and the creation time of the oldest due delivery.

    ``total`` comes from a query of its own, and must equal the sum of the others. ``to_come`` are leads
    from before the receiver was linked, which are not due yet.
    """

    total: int = 0
    to_come: int = 0
    due: int = 0
    sent: int = 0
    verified: int = 0
    withheld: int = 0
    dead: int = 0
    due_since: datetime | None = None

    @property
    def adds_up(self) -> bool:
        states = self.to_come, self.due, self.sent, self.verified, self.withheld, self.dead
        return self.total == sum(states)


class Alarm(StrEnum):
    """Reasons why a receiver needs attention, the worst first.

    Shut out: it denies access. None arrives: deliveries have been due for minutes. Dead: some failed for
    good. Miscounted: the counts do not add up. Differs: a CRM has other values. Mapping: it has faults.
    """

    SHUT_OUT = "shut_out"
    NONE_ARRIVES = "none_arrives"
    DEAD = "dead"
    MISCOUNTED = "miscounted"
    DIFFERS = "differs"
    MAPPING = "mapping"


ALERTED: Final = frozenset({Alarm.SHUT_OUT, Alarm.NONE_ARRIVES, Alarm.DEAD, Alarm.DIFFERS})
"""Alarms that alert members; the others show on the pages only."""
ALARM_AFTER: Final = timedelta(minutes=5)
"""Time in which deliveries may be due at an active receiver without an arrival, before an alarm."""


def list_ledger_alarms(
    counts: LedgerCounts, at: datetime, arrived_at: datetime | None, *, is_active: bool, is_shut_out: bool
) -> tuple[Alarm, ...]:
    """Return the alarms of a receiver, the worst first; ``arrived_at`` is the last arrival."""
    before = at - ALARM_AFTER
    waits_long = counts.due_since is not None and counts.due_since <= before
    is_quiet = arrived_at is None or arrived_at < before
    alarms = {
        Alarm.SHUT_OUT: is_shut_out,
        Alarm.NONE_ARRIVES: is_active and waits_long and is_quiet,
        Alarm.DEAD: counts.dead > 0,
        Alarm.MISCOUNTED: not counts.adds_up,
    }
    return tuple(alarm for alarm, is_raised in alarms.items() if is_raised)


class ErasureState(StrEnum):
    """States of an erasure; finished means that the receiver has nothing of the person."""

    DUE = "due"
    FINISHED = "finished"
    PARTIAL = "partial"
    UNSUPPORTED = "unsupported"
    FAILED = "failed"


class TrialState(StrEnum):
    """States of a trial, which compares a delivery with the CRM and writes nothing.

    A pending one may have the reason of a failed try.
    """

    PENDING = "asked"
    DONE = "done"
    FAILED = "failed"
