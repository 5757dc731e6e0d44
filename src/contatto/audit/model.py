"""Entries of the audit log, what is to become one, and how looks are written down."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to which object, and when. It holds ids and routes, never a contact value.

    ``seen`` says of a look whose contact values it showed: how many, and the ids of those that were not in
    the log already. ``digest`` covers the entry and the digest before it, so a change of the past shows.
    """

    seq: int
    business_id: str
    at: datetime
    actor_id: str
    actor: str
    act: str
    object: str
    request_id: str
    before: str
    digest: str
    seen: str = ""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """What somebody did, before it is written down."""

    business_id: str
    actor_id: str
    actor: str
    act: str
    object: str
    request_id: str
    seen: str = ""


class Look(StrEnum):
    """How looks through a route are written down."""

    EACH = "each"
    """Every one."""
    FOLDED = "folded"
    """Of what somebody sees again and again, the first: open pages fetch their lists anew."""
