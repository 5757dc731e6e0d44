"""What is told of leads: events of ids and words, never of contact values."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class LeadCaptured:
    """A person became a lead, by the named fields (none when it was marked by hand)."""

    business_id: str
    lead_id: str
    conversation_id: str
    origin: str
    fields: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class LeadUpdated:
    """A lead got further contact details, of the named fields."""

    business_id: str
    lead_id: str
    conversation_id: str
    origin: str
    fields: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class LeadStatusChanged:
    """A lead moved from one status to another."""

    business_id: str
    lead_id: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class ContactRejected:
    """A person said that something found is no contact; the lead keeps what else it has."""

    business_id: str
    lead_id: str
    conversation_id: str
    field: str


@dataclass(frozen=True, slots=True)
class LeadRemoved:
    """A lead is gone, because nothing that made it was a contact."""

    business_id: str
    lead_id: str
    conversation_id: str


@dataclass(frozen=True, slots=True)
class LeadEventReceived:
    """A CRM told what happened to a lead."""

    business_id: str
    lead_id: str


@dataclass(frozen=True, slots=True)
class LeadEdited:
    """A member changed a lead's owner, labels, notes or tasks; ``what`` says which."""

    business_id: str
    lead_id: str
    what: str


@dataclass(frozen=True, slots=True)
class WorkAssigned:
    """A lead, or else a conversation, was given to a member by somebody else; the other id is empty."""

    business_id: str
    lead_id: str
    conversation_id: str
    member_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class LeadJobMoved:
    """A job on leads began or came a step further; its handler does the next step."""

    business_id: str
    job_id: str


@dataclass(frozen=True, slots=True)
class LeadJobEnded:
    """A job on leads is through."""

    business_id: str
    job_id: str


@dataclass(frozen=True, slots=True)
class LeadsMerged:
    """Two leads became one, or with ``is_undone`` two again; ``lead_id`` is the one that is kept."""

    business_id: str
    lead_id: str
    merged_id: str
    is_undone: bool
