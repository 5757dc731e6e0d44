"""What members are alerted of, how each chose it, and an alert that waits to be told."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from contatto.accounts.model import Permission


class Kind(StrEnum):
    LEAD = "lead"
    MESSAGE = "message"
    ASSIGNMENT = "assignment"
    TASK = "task"
    WAITING = "waiting"
    """A customer waits for an answer for longer than the business wants."""
    CHANNEL = "channel"
    """A platform refused an account's access token."""
    CRM = "crm"
    """Leads do not arrive in a linked CRM, or it lets us in no more, or it holds something else."""
    SIGNALS = "signals"
    """An ad platform is not told of leads: it lets us in no more, or what is due does not arrive."""


class Way(StrEnum):
    """How an alert that waits is told."""

    MAIL = "mail"
    PUSH = "push"


NEEDS: Final = {
    Kind.LEAD: Permission.READ_LEADS,
    Kind.MESSAGE: Permission.READ_INBOX,
    Kind.ASSIGNMENT: Permission.READ_INBOX,
    Kind.TASK: Permission.READ_LEADS,
    Kind.WAITING: Permission.READ_INBOX,
    Kind.CHANNEL: Permission.ADMINISTER,
    Kind.CRM: Permission.ADMINISTER,
    Kind.SIGNALS: Permission.ADMINISTER,
}
"""What somebody must be allowed to do to be alerted of a kind."""
ALERT_PUSH: Final = "alert_push"
"""The name of the kind of outbound requests; it is kept in rows and never changes."""
RAISED: Final = frozenset({Kind.TASK, Kind.WAITING, Kind.CHANNEL, Kind.CRM, Kind.SIGNALS})
"""Kinds that open pages hear of as `AlertRaised`; of the others they hear the event itself."""


@dataclass(frozen=True, slots=True)
class Choices:
    """How a member wants to be alerted.

    Kinds that stand in ``mailed`` come by mail at once, those in ``digested`` once a day, those in ``pushed``
    to the member's browsers; ``shown`` count in the title of open pages, with a sound if ``has_sound``.
    Times are minutes of the member's own day; quiet hours are none where both ends are the same.
    """

    business_id: str
    member_id: str
    mailed: tuple[str, ...] = ()
    digested: tuple[str, ...] = ()
    pushed: tuple[str, ...] = ()
    shown: tuple[str, ...] = tuple(Kind)
    has_sound: bool = False
    quiet_from: int = 0
    quiet_until: int = 0
    digest_at: int = 8 * 60


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that waits; ``stamp`` tells it from others of the same thing, such as by a day."""

    business_id: str
    member_id: str
    kind: Kind
    subject_id: str
    stamp: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PushBrowser:
    """A browser of a member that is told while no page is open; ``name`` is what it said of itself."""

    id: str
    business_id: str
    member_id: str
    user_id: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AlertRaised:
    """A member is to look at something; open pages of others let it pass."""

    business_id: str
    member_id: str
    kind: str
    path: str
