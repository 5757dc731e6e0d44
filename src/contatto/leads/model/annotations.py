"""What members add to leads: labels, notes, tasks and saved views, and the member who does."""

from dataclasses import dataclass
from datetime import date, datetime


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
class SavedView:
    """A filter with its look that a member keeps under a name; a shared one is there for all members."""

    id: str
    member_id: str
    name: str
    query: str
    is_shared: bool
    is_pinned: bool
    created_at: datetime
