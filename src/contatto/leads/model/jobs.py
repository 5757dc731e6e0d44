"""Long work on many leads: what it is to do, how far it is, and what it did to each."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class JobKind(StrEnum):
    """What a piece of long work does to each of its leads."""

    STATUS = "status"
    OWNER = "owner"
    LABEL = "label"
    UNLABEL = "unlabel"
    DELETE = "delete"
    ERASE = "erase"
    MERGE = "merge"
    IMPORT = "import"
    UNDO = "undo"


class JobState(StrEnum):
    """How far a job is; one that waits begins as soon as fewer others of its business run.

    A draft is an import that its member still looks at; nothing is done with it.
    """

    DRAFT = "draft"
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"


class ItemState(StrEnum):
    """What became of one lead, or of one row of a file.

    ``reason`` says why one was skipped, and of a row that was taken what of it was not.
    """

    CREATED = "created"
    CHANGED = "changed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a job is to do: to the named leads, or to all that match a query, or with the rows of a file.

    Of a file ``head`` is its first line, ``columns`` says what each column is taken for, and ``numbers`` are
    the rows' own numbers once only those are left that could not be taken, or not wholly. ``encoding`` is
    that of a text file, and empty for a workbook or a pasted text.
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
class Job:
    """Long work on leads. ``cursor`` stands behind what was worked on last, at ``moved_at``."""

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
    moved_at: datetime
    ended_at: datetime | None

    @property
    def has_ended(self) -> bool:
        return self.state is JobState.DONE


@dataclass(frozen=True, slots=True)
class JobItem:
    """What a job did to one lead: the value before and after, as ids and words, never contact values."""

    position: int
    lead_id: str
    state: ItemState
    before: str
    after: str
    reason: str
