"""The lead of a person, its contact points with their evidence, its history, and what makes it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, NewType

from contatto.capture.model import ContactMatch, Field
from contatto.kit.i18n import N_
from contatto.kit.sealed import SealedIn

LeadId = NewType("LeadId", str)


class LeadStatus(StrEnum):
    """The five statuses of the Leads Center."""

    RAW = "raw"
    CONTACTED = "contacted"
    QUALIFIED = "qualified"
    UNQUALIFIED = "unqualified"
    CONVERTED = "converted"


STATUS_TEXTS: Final = {
    LeadStatus.RAW: N_("Raw"),
    LeadStatus.CONTACTED: N_("Contacted"),
    LeadStatus.QUALIFIED: N_("Qualified"),
    LeadStatus.UNQUALIFIED: N_("Unqualified"),
    LeadStatus.CONVERTED: N_("Converted"),
}


class Origin(StrEnum):
    """How a contact detail, or a lead, came to be."""

    CHAT = "chat"
    FORM = "form"
    MANUAL = "manual"
    IMPORT = "import"


class LeadSource(StrEnum):
    """Where a lead comes from, in the words of the API."""

    INSTANT_FORM = "INSTANT_FORM"
    DIRECT_MESSAGE = "DIRECT_MESSAGE"


@dataclass(frozen=True, slots=True)
class Lead:
    """Exactly one for each person of a business; ``number`` is the id that the API shows.

    ``owner_id`` is a member. A lead with ``hidden_at`` is in no list: it was deleted, or merged into another.
    A lead with ``is_test`` was made by a program to try its way; it counts in no report.
    """

    id: LeadId
    number: int
    business_id: str
    person_id: str
    channel_account_id: str
    conversation_id: str
    name: Annotated[str, SealedIn("leads.name")]
    status: LeadStatus
    origin: Origin
    created_at: datetime
    updated_at: datetime
    owner_id: str | None = None
    hidden_at: datetime | None = None
    merged_into: str | None = None
    is_test: bool = False


@dataclass(frozen=True, slots=True)
class ContactPoint:
    """A contact detail of a lead, opened for reading.

    A member may say that it is the main one, or that it is wrong: nobody is reached by it any more.
    """

    id: str
    lead_id: LeadId
    field: Field
    value: str
    origin: Origin
    created_at: datetime
    main_at: datetime | None = None
    wrong_at: datetime | None = None


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


class HistoryKind(StrEnum):
    """What can happen to a lead, as its history keeps it."""

    CAPTURED = "captured"
    MARKED = "marked"
    UPDATED = "updated"
    STATUS = "status"
    STATUS_UNDONE = "status_undone"
    REJECTED = "rejected"
    REJECT_UNDONE = "reject_undone"
    CONTACT_ADDED = "contact_added"
    CONTACT_CHANGED = "contact_changed"
    CONTACT_MAIN = "contact_main"
    CONTACT_WRONG = "contact_wrong"
    CONTACT_RIGHT = "contact_right"
    DELETED = "deleted"
    RESTORED = "restored"
    EXPORTED = "exported"
    OWNER = "owner"
    LABELLED = "labelled"
    UNLABELLED = "unlabelled"
    NOTE = "note"
    TASK = "task"
    TASK_DONE = "task_done"
    IMPORT_UNDONE = "import_undone"
    CRM_EVENT = "crm_event"


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A line of a lead's history; ``detail`` names fields, statuses, labels, or a CRM's event."""

    id: str
    lead_id: LeadId
    what: HistoryKind
    detail: Annotated[str, SealedIn("lead_history.detail")]
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True)
class RejectedContact:
    """A contact detail that somebody called none, with all that is needed to put it back.

    ``lead`` and its history are there when the lead went with it.
    """

    id: str
    point: ContactPoint
    evidence: tuple[Evidence, ...]
    lead: Lead | None
    history: tuple[HistoryEntry, ...]
    person_id: str
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Signal:
    """Something that makes a lead or adds to one: contact details found, or a person's word ("mark as lead").

    ``source_id`` is the message or form answer; ``form`` its form's id, name, version, and any consent.
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
    is_test: bool = False
    form: tuple[str, str, int, bool] | None = None
