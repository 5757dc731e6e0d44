"""Audit records of the contact data that a request read.

Stores that open contact values record the owners. Outside of requests, as in background work, records are
dropped.
"""

from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field

type Ids = dict[str, list[str]]
"""Ids by the name of their kind, such as ``lead_id``."""


@dataclass(slots=True)
class ContactReads:
    """Reads of a request so far; of a streamed file only the count."""

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
    """Record that the request opened values of these ids."""
    reads = CONTACT_READS.get()
    if reads is not None:
        reads.add(kind, ids)


def record_contact_count(kind: str, number: int) -> None:
    """Record the number of values that a file will contain; later reads are not recorded."""
    reads = CONTACT_READS.get()
    if reads is not None:
        reads.counts[kind] = number
    CONTACT_READS.set(None)
