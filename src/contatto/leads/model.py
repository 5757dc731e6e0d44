"""Leads, their contact points with evidence, and the events that speak of them."""

from dataclasses import dataclass
from datetime import date, datetime
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
    name: str
    status: Status
    origin: Origin
    created_at: datetime
    updated_at: datetime
    owner_id: str | None = None
    hidden_at: datetime | None = None
    merged_into: str | None = None
    is_test: bool = False


@dataclass(frozen=True, slots=True)
class Actor:
    """The member who changes something, and the business whose rows it concerns."""

    business_id: str
    member_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Label:
    """A word that a business sorts its leads by; ``tone`` picks the colour of its dot."""

    id: str
    name: str
    tone: int


@dataclass(frozen=True, slots=True)
class Note:
    """What a member wrote down about a lead; ``revision`` counts its changes."""

    id: str
    lead_id: str
    text: str
    author: str
    revision: int
    created_at: datetime
    edited_at: datetime | None


@dataclass(frozen=True, slots=True)
class Task:
    """Something to do about a lead, with the day it is due; ``revision`` counts its changes."""

    id: str
    lead_id: str
    text: str
    due_on: date | None
    revision: int
    created_by: str
    created_at: datetime
    done_by: str
    done_at: datetime | None


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
    """A CRM told what happened to a lead; ``name`` is its own word for it."""

    business_id: str
    lead_id: str
    name: str


@dataclass(frozen=True, slots=True)
class LeadEdited:
    """A member changed a lead's owner, labels, notes or tasks; ``what`` says which."""

    business_id: str
    lead_id: str
    what: str


@dataclass(frozen=True, slots=True)
class SavedView:
    """A filter with its look that a member keeps under a name; a shared one is there for all members."""

    id: str
    member_id: str
    name: str
    query: str
    is_shared: bool
    is_pinned: bool
    created_at: datetime


class JobKind(StrEnum):
    """What a piece of long work does to each of its leads."""

    STATUS = "status"
    OWNER = "owner"
    LABEL = "label"
    UNLABEL = "unlabel"
    DELETE = "delete"
    IMPORT = "import"
    UNDO = "undo"


class JobState(StrEnum):
    RUNNING = "running"
    DONE = "done"


class ItemState(StrEnum):
    """What became of one lead, or of one row of a file; ``reason`` says why one was skipped."""

    CREATED = "created"
    CHANGED = "changed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a job is to do: to the named leads, or to all that match a query, or with the rows of a file."""

    value: str = ""
    query: str = ""
    lead_ids: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """Long work on leads. ``cursor`` stands behind the last lead or row that was worked on."""

    id: str
    business_id: str
    kind: JobKind
    state: JobState
    member_id: str
    actor: str
    plan: Plan
    cursor: str
    total: int
    done: int
    skipped: int
    undo_of: str | None
    undone_by: str | None
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class JobItem:
    """What a job did to one lead: the value before and after, as ids and words, never contact values."""

    position: int
    lead_id: str
    state: ItemState
    before: str
    after: str
    reason: str


@dataclass(frozen=True, slots=True)
class LeadJobMoved:
    """A job on leads began or came a step further; hearing of it does the next step."""

    business_id: str
    job_id: str


@dataclass(frozen=True, slots=True)
class LeadJobEnded:
    """A job on leads is through."""

    business_id: str
    job_id: str


@dataclass(frozen=True, slots=True)
class Picks:
    """For each field of a merged lead: whether the value of the lead that goes is taken."""

    name: bool = False
    status: bool = False
    owner: bool = False


@dataclass(frozen=True, slots=True)
class Face:
    """The fields of a lead that a merge may change; times are microseconds since 1970."""

    name: str
    status: Status
    owner_id: str | None
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Journal:
    """All that a merge changed, by ids, so that each row can be put back as it was.

    ``moved`` holds ids by table; ``rehung`` pairs of an evidence and the contact point that it came from;
    ``followers`` leads that had been merged into the one that went.
    """

    before: Face
    after: Face
    moved: dict[str, list[str]]
    rehung: list[tuple[str, str, str]]
    labels: list[str]
    followers: list[str]


@dataclass(frozen=True, slots=True)
class Merge:
    """Two leads that a member made one: ``kept_id`` has all, ``merged_id`` is hidden."""

    id: str
    kept_id: str
    merged_id: str
    actor: str
    reason: str
    journal: Journal
    at: datetime
    undone_by: str
    undone_at: datetime | None


@dataclass(frozen=True, slots=True)
class LeadsMerged:
    """Two leads became one, or with ``is_undone`` two again; ``lead_id`` is the one that is kept."""

    business_id: str
    lead_id: str
    merged_id: str
    is_undone: bool
