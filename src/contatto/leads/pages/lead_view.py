"""What the page of one lead shows, as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from contatto.accounts.model import Caller
from contatto.leads.model.annotations import Label, Note, Task
from contatto.leads.rules.reaching import Reach


@dataclass(frozen=True, slots=True)
class LeadView:
    """The lead itself; ``owner`` is a name, and None when nobody has it.

    ``wrote_at`` is when the person first wrote, ``answer_s`` the seconds until they were first answered.
    """

    id: str
    name: str
    handle: str | None
    status: str
    source: str
    channel: str | None
    account_name: str | None
    conversation_id: str | None
    created_at: datetime
    last_activity_at: datetime
    owner_id: str | None
    owner: str | None
    is_deleted: bool
    is_test: bool
    wrote_at: datetime | None
    answer_s: int | None


@dataclass(frozen=True, slots=True)
class EvidenceView:
    """Where a contact detail was found, and how sure that is."""

    text: str
    rule: str
    confidence: float
    href: str


@dataclass(frozen=True, slots=True)
class PointView:
    """A contact detail, with each way by which it was given, the first one first."""

    id: str
    field: str
    value: str
    reach: Reach
    captured_at: datetime
    primary: bool
    is_wrong: bool
    evidence: EvidenceView | None
    origins: Sequence[str]


@dataclass(frozen=True, slots=True)
class CreditView:
    """The ad that earned a lead, and the touch that did."""

    campaign_name: str
    ad_group_name: str
    ad_name: str
    goal: str
    touch: str
    touched_at: datetime
    converted_at: datetime
    window_days: int


@dataclass(frozen=True, slots=True)
class MergeView:
    """A lead that went into this one; ``credit`` names the ad group that earned it."""

    id: str
    name: str
    actor: str
    at: datetime
    reason: str
    credit: str | None


@dataclass(frozen=True, slots=True)
class TwinView:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """Something that happened to a lead, in the reader's language."""

    kind: str
    at: datetime
    text: str
    actor: str | None = None


@dataclass(frozen=True, slots=True)
class UndoView:
    """A change of a short while ago that can be taken back: what it was, and the form that does it.

    ``path`` comes after the lead's own address.
    """

    text: str
    at: datetime
    actor: str
    path: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Detail:
    """All that is known of a lead."""

    lead: LeadView
    moves: Sequence[str]
    undos: Sequence[UndoView]
    members: Sequence[tuple[str, str]]
    labels: Sequence[Label]
    known_labels: Sequence[Label]
    notes: Sequence[Note]
    tasks: Sequence[Task]
    today: date
    fields: Sequence[str]
    contact_points: Sequence[PointView]
    attribution: CreditView | None
    conversion_id: int | None
    timeline: Sequence[TimelineEvent]
    merges: Sequence[MergeView]
    duplicates: Sequence[TwinView]
    score: int | None
    reasons: Sequence[tuple[bool, str]]


@dataclass(frozen=True, slots=True)
class MayDo:
    """Who reads the page, and what they may do on it."""

    caller: Caller
    can_edit: bool
    can_restore: bool
    can_erase: bool
    can_see_reports: bool
