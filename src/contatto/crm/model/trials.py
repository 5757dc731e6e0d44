"""A trial: what would be written of one lead to a CRM, held against what is there; nothing is written."""

from dataclasses import dataclass
from dataclasses import field as of
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from contatto.kit.i18n import SealedIn


class TrialState(StrEnum):
    """How far a trial is; one that failed says why, one that is asked may do so too: it is tried again."""

    ASKED = "asked"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Trial:
    """The latest trial of a target; ``found`` is a ``TrialResult`` as JSON."""

    business_id: str
    target_id: str
    lead_id: str
    state: TrialState
    reason: str
    found: Annotated[str, SealedIn("crm_trials.found", ("target_id",))]
    created_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One field of the CRM: what is there, and what would be.

    Attributes:
        field: the CRM's own name.
        source: what it is made of.
        before: what is there; empty in a new record.
        after: what would be written.
        agrees: whether both say the same, so nothing would change.
    """

    field: str
    source: str
    before: str = of(repr=False)
    after: str = of(repr=False)
    agrees: bool


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What would happen: to which record (empty for a new one), in which fields, and to the note."""

    record_id: str
    rows: tuple[TrialRow, ...]
    note: str = of(repr=False)
