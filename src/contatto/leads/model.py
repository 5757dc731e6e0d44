"""Leads, contact points with evidence, history, jobs, and their events."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Final, NewType

from contatto.capture.model import ContactMatch, Field
from contatto.kit.i18n import N_
from contatto.kit.values import SealedIn
from contatto.learning.model import Bin

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
    """Origin of a contact detail or of a lead."""

    CHAT = "chat"
    FORM = "form"
    MANUAL = "manual"
    IMPORT = "import"


class LeadSource(StrEnum):
    """Source of a lead, in the words of the API."""

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
    """A contact detail of a lead, opened for reading. A member may mark it as the main one, or as wrong."""

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
    """Evidence of a contact point: the message, its characters (``raw``), and the rule that matched."""

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
    """Kind of an entry in a lead's history."""

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
    """A contact detail that somebody called none, with its lead if that went with it."""

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


@dataclass(frozen=True, slots=True)
class Actor:
    """Member who changes something, and the business of the changed rows."""

    business_id: str
    member_id: str
    name: str


@dataclass(frozen=True, slots=True)
class LeadLabel:
    """A word that a business sorts its leads by; ``tone`` picks the colour of its dot."""

    id: str
    name: str
    tone: int


@dataclass(frozen=True, slots=True)
class Note:
    """Note of a member on a lead; ``revision`` counts its changes."""

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
class SavedView:
    """A filter with its look that a member keeps under a name; a shared one is there for all members."""

    id: str
    member_id: str
    name: str
    query: Annotated[str, SealedIn("lead_views.query")]
    is_shared: bool
    is_pinned: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class FormEntry:
    """A form that a lead sent; ``id`` is that of the answer, and ``consented`` counts any purpose."""

    id: str
    lead_id: str
    form_id: str
    form_name: str
    version: int
    consented: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Picks:
    """For each field of a merged lead: whether the value of the lead that goes is taken."""

    name: bool = False
    status: bool = False
    owner: bool = False


@dataclass(frozen=True, slots=True)
class Journal:
    """All that a merge changed, so that each row can be put back as it was.

    ``before`` and ``after`` are the target lead. ``moved`` holds ids by table; ``rehung`` evidence with the
    contact point that it came from and its new one; ``followers`` leads that were merged into the source.
    """

    before: Lead
    after: Lead
    moved: dict[str, list[str]]
    rehung: list[tuple[str, str, str]]
    labels: list[str]
    followers: list[str]


@dataclass(frozen=True, slots=True)
class Merge:
    """Two leads that a member made one: ``merged_id`` is hidden. ``journal`` is JSON of a `Journal`."""

    id: str
    kept_id: str
    merged_id: str
    actor: str
    reason: Annotated[str, SealedIn("lead_merges.reason")]
    journal: Annotated[str, SealedIn("lead_merges.journal")]
    at: datetime
    undone_by: str
    undone_at: datetime | None


class JobKind(StrEnum):
    """Change that a job makes to each of its leads."""

    STATUS = "status"
    OWNER = "owner"
    LABEL = "label"
    UNLABEL = "unlabel"
    DELETE = "delete"
    ERASE = "erase"
    MERGE = "merge"
    IMPORT = "import"
    UNDO = "undo"


class LeadJobState(StrEnum):
    """State of a job; a draft is an import that its member still looks at."""

    DRAFT = "draft"
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"


class ItemState(StrEnum):
    """Outcome for one lead or row; a skipped or partly taken one has a reason."""

    CREATED = "created"
    CHANGED = "changed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class JobPlan:
    """Plan of a job: for named leads, for the matches of a query, or for the rows of a file.

    For a file, ``head`` is its first line and ``columns`` the meaning of each column. ``numbers`` are the
    original row numbers in a plan of rejected rows. ``encoding`` is empty for a workbook or a pasted text.
    """

    value: str = ""
    query: str = ""
    lead_ids: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    head: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    encoding: str = ""


@dataclass(frozen=True, slots=True)
class LeadJob:
    """Long work on leads. ``cursor`` is the last finished lead, at ``moved_at``."""

    id: str
    business_id: str
    kind: JobKind
    state: LeadJobState
    member_id: str
    actor: str
    plan: JobPlan
    total: int
    created_at: datetime
    moved_at: datetime
    cursor: str = ""
    done: int = 0
    skipped: int = 0
    undo_of: str | None = None
    undone_by: str | None = None
    ended_at: datetime | None = None

    @property
    def member(self) -> Actor:
        """Return the member who asked for the job."""
        return Actor(self.business_id, self.member_id, self.actor)

    @property
    def has_ended(self) -> bool:
        return self.state is LeadJobState.DONE


@dataclass(frozen=True, slots=True)
class JobItem:
    """Change of one lead by a job: the value before and after, as ids and words, never contact values."""

    position: int
    lead_id: str
    state: ItemState
    before: str
    after: str
    reason: str


@dataclass(frozen=True, slots=True)
class ErasedPeople:
    """People to be forgotten: their leads, their ids on channels, and their data.

    ``contacts`` are contact values, normalised and as they were written; ``names`` are whole names.
    """

    business_id: str
    lead_ids: frozenset[str]
    person_ids: frozenset[str]
    contacts: frozenset[str]
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Tombstone of an erased lead: its id, the time, and the member who erased it."""

    id: str
    erased_at: datetime
    erased_by: str


@dataclass(frozen=True, slots=True)
class LeadScore:
    """Probability in percent that a lead is good, as its business judges leads.

    ``reasons`` are the strongest signs, at most three: "+" or "-" and a word (see `rules/scoring`).
    They are None where those that it has stay. ``log_odds`` is what the model said before it was corrected
    for drift; ``is_counted``: the correction knows what became of this lead, or the model had learned it.
    """

    lead_id: str
    score: int
    reasons: tuple[str, ...] | None
    log_odds: float | None
    is_counted: bool


@dataclass(frozen=True, slots=True)
class ScoredLead:
    """Input for the score of one lead.

    Args:
        lead_id: its id.
        words: categories, such as ``c:SG``: a letter for the kind, and a value.
        numbers: measures, by names such as ``w:hour``; a missing one is left out, or NaN.
        is_good: whether it became good; None while that is not known.
        log_odds: those that the model gave when it last judged this lead; None before it did.
        score: the score that it has.
        is_counted: whether the correction for drift knows what became of it, or the model had learned it.
    """

    lead_id: str
    words: tuple[str, ...]
    numbers: Mapping[str, float]
    is_good: bool | None
    log_odds: float | None = None
    score: int | None = None
    is_counted: bool = False


@dataclass(frozen=True, slots=True)
class ReasonGroup:
    """Reason group of a score: columns of one letter (see `rules/scoring`), with their odds ratio."""

    letter: str
    times: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Evaluation of a model on held-out leads, and its reasons, strongest first.

    ``of_rate`` is the mean log loss of who knows how many become good and nothing else, in nats.
    """

    good: int
    of_rate: float
    bins: tuple[Bin, ...]
    signs: tuple[ReasonGroup, ...]


@dataclass(frozen=True, slots=True)
class LeadModel:
    """Model of one business's leads.

    ``correction`` is JSON of how the model errs (see `rules/drift`). ``share`` is how much of the log-odds
    comes from trees; ``loss`` the mean log loss on leads that were not learned from. ``held`` is None for
    a model from before that was kept.
    """

    business_id: str
    learned_at: datetime
    outcomes: int
    share: float
    loss: float
    correction: bytes
    body: bytes
    held: HeldOut | None = None


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
class LeadEdited:
    """A member changed a lead's owner, labels, notes or tasks, or a CRM told of it; ``what`` says which."""

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
    """A job on leads began, came a step further or ended; its handler does the next step."""

    business_id: str
    job_id: str


@dataclass(frozen=True, slots=True)
class LeadsMerged:
    """Two leads became one, or with ``is_undone`` two again; ``lead_id`` is the one that is kept."""

    business_id: str
    lead_id: str
    merged_id: str
    is_undone: bool
