"""Entries and records of the audit log."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Entry of the log: actor, action, object and time; ids and routes, never a contact value.

    ``seen`` of a read has the number of leads or chats shown, and the ids that the log did not have yet.
    ``digest`` covers the entry and ``before``, the digest of the previous entry, so a later change shows.
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
    """Action of an actor, before it becomes an entry."""

    business_id: str
    actor_id: str
    actor: str
    act: str
    object: str
    request_id: str
    seen: str = ""
