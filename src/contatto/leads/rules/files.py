"""Files of leads that programs ask for: what one is, how far it is, and how long it is kept."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

LINK: Final = timedelta(minutes=10)
"""How long a file can be fetched."""
KEEP: Final = timedelta(days=1)
"""How long a task is known after that, so that a late request is told what happened."""


class FileState(StrEnum):
    """How far a file of leads is; the values are the API's."""

    CREATED = "CREATED"
    SUCCEED = "SUCCEED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class LeadFile:
    """Leads that a program wants as a file: those of a form, or those of an ad; the other number is 0."""

    id: str
    business_id: str
    number: int
    ad_account_id: str
    page_number: int
    ad_number: int
    state: FileState
    file_type: str
    created_at: datetime
    due_at: datetime
    finished_at: datetime | None = None
    attempts: int = 0
