"""Two leads made one, with the journal that makes them two again."""

from dataclasses import dataclass
from datetime import datetime

from contatto.leads.model.leads import LeadStatus


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
    status: LeadStatus
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
