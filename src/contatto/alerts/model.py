"""Kinds of alerts, the choices of members, and their alerts."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from contatto.accounts.model import Permission


class AlertKind(StrEnum):
    """Event that alerts members."""

    LEAD = "lead"
    MESSAGE = "message"
    ASSIGNMENT = "assignment"
    TASK = "task"
    WAITING = "waiting"
    """A customer waits for an answer for longer than the business wants."""
    CHANNEL = "channel"
    """A platform refused an account's access token."""
    CRM = "crm"
    """Leads do not arrive in a linked CRM, it refuses our access, or its records differ."""
    SIGNALS = "signals"
    """Signals do not arrive at an ad platform, or it refuses our access."""


class AlertMedium(StrEnum):
    """Medium of an alert outside our own pages."""

    MAIL = "mail"
    PUSH = "push"


NEEDS: Final = {
    AlertKind.LEAD: Permission.READ_LEADS,
    AlertKind.MESSAGE: Permission.READ_INBOX,
    AlertKind.ASSIGNMENT: Permission.READ_INBOX,
    AlertKind.TASK: Permission.READ_LEADS,
    AlertKind.WAITING: Permission.READ_INBOX,
    AlertKind.CHANNEL: Permission.ADMINISTER,
    AlertKind.CRM: Permission.ADMINISTER,
    AlertKind.SIGNALS: Permission.ADMINISTER,
}
"""Permission that a member needs to be alerted of a kind."""
ALERT_PUSH: Final = "alert_push"
"""Name of the kind of outbound requests; rows contain it, so it never changes."""
RAISED: Final = frozenset(
    {AlertKind.TASK, AlertKind.WAITING, AlertKind.CHANNEL, AlertKind.CRM, AlertKind.SIGNALS}
)
"""Kinds that open pages receive as `AlertRaised`; for the others they receive the event itself."""


@dataclass(frozen=True, slots=True)
class AlertChoices:
    """A member's choice of alerts.

    Kinds in ``mailed`` come by mail at once, those in ``digested`` once a day, those in ``pushed``
    to the member's browsers; ``shown`` count in the title of open pages, with a sound if ``has_sound``.
    Times are minutes of the member's own day; quiet hours are none where both ends are the same.
    """

    business_id: str
    member_id: str
    mailed: tuple[str, ...] = ()
    digested: tuple[str, ...] = ()
    pushed: tuple[str, ...] = ()
    shown: tuple[str, ...] = tuple(AlertKind)
    has_sound: bool = False
    quiet_from: int = 0
    quiet_until: int = 0
    digest_at: int = 8 * 60


@dataclass(frozen=True, slots=True)
class Alert:
    """Alert of one member; ``stamp`` separates alerts of the same subject, such as by day.

    It stays stored after it was sent, so that no alert is sent twice.
    """

    business_id: str
    member_id: str
    kind: AlertKind
    subject_id: str
    stamp: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PushBrowser:
    """Browser that gets a member's push alerts; ``name`` comes from its user agent."""

    id: str
    business_id: str
    member_id: str
    user_id: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AlertRaised:
    """Event: a member has a new alert; open pages of other members ignore it."""

    business_id: str
    member_id: str
    kind: str
    path: str
