"""Leads, their contact points with evidence, and the events that speak of them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

from contatto.capture.model import ContactMatch, Field

LeadId = NewType("LeadId", str)


class Status(StrEnum):
    """The five statuses of the Leads Center."""

    RAW = "raw"
    CONTACTED = "contacted"
    QUALIFIED = "qualified"
    UNQUALIFIED = "unqualified"
    CONVERTED = "converted"


class Origin(StrEnum):
    """How a contact detail, or a lead, came to be."""

    CHAT = "chat"
    FORM = "form"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Lead:
    """Exactly one for each person of a business; ``number`` is the id that the API shows."""

    id: LeadId
    number: int
    business_id: str
    person_id: str
    channel_account_id: str
    conversation_id: str
    name: str
    status: Status
    origin: Origin
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ContactPoint:
    """A contact detail of a lead, opened for reading."""

    id: str
    lead_id: LeadId
    field: Field
    value: str
    origin: Origin
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where a contact point was read: which message, which characters of it (``raw``), by which rule."""

    id: str
    business_id: str
    lead_id: LeadId
    contact_point_id: str
    origin: Origin
    source_id: str
    start: int
    end: int
    raw: str
    rule: str
    confidence: float
    at: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """A line of a lead's history; ``detail`` names fields and statuses, never contact values."""

    id: str
    lead_id: LeadId
    what: str
    detail: str
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Signal:
    """Something that makes a lead or adds to one: contact details found, or a person's word ("mark as lead").

    ``source_id`` is the message or form answer that it came from.
    """

    business_id: str
    person_id: str
    channel_account_id: str
    conversation_id: str
    origin: Origin
    source_id: str
    at: datetime
    contacts: tuple[ContactMatch, ...]
    stated_name: str | None
    profile_name: str
    actor: str = ""


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
