"""Audit records of the contact data that a request read."""

from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field

type Ids = dict[str, list[str]]
"""Ids by the name of what they are ids of, such as ``lead_id``."""


@dataclass(slots=True)
class ContactReads:
    """What a request has seen so far; of a file that is written while it is sent, the number alone."""

    _ids: dict[str, dict[str, None]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, ids: Iterable[str]) -> None:
        self._ids.setdefault(kind, {}).update(dict.fromkeys(ids))

    @property
    def ids(self) -> Ids:
        return {kind: list(ids) for kind, ids in self._ids.items() if ids}

    def __bool__(self) -> bool:
        return bool(self.counts or self.ids)


CONTACT_READS: ContextVar[ContactReads | None] = ContextVar("seen", default=None)


def record_contact_reads(kind: str, ids: Iterable[str]) -> None:
    """Say that values of these were opened for whoever asks."""
    seen = CONTACT_READS.get()
    if seen is not None:
        seen.add(kind, ids)


def record_contact_count(kind: str, number: int) -> None:
    """Say of how many values will be opened for a file; those that are opened from here on are not named."""
    seen = CONTACT_READS.get()
    if seen is not None:
        seen.counts[kind] = number
    CONTACT_READS.set(None)
