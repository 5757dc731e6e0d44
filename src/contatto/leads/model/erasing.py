"""People who are to be forgotten, and what is left of their leads afterwards."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Gone:
    """People who are to be forgotten: their leads, their ids on channels, and what is known of them.

    ``contacts`` are contact values, normalised and as they were written; ``names`` are whole names.
    """

    business_id: str
    lead_ids: frozenset[str]
    person_ids: frozenset[str]
    contacts: frozenset[str]
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is left of an erased lead: its id, when it was erased, and by whom."""

    id: str
    erased_at: datetime
    erased_by: str
