"""Contact data that a request read, for the audit log."""

from collections.abc import Iterable
from dataclasses import dataclass, field

type Ids = dict[str, list[str]]
"""Ids by the name of their kind, such as ``lead_id``."""


@dataclass(slots=True)
class ContactReads:
    """Reads of a request so far; of a file only the count, so that memory stays flat."""

    _ids: dict[str, dict[str, None]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, ids: Iterable[str]) -> None:
        """Record that the request opened values of these ids."""
        if not self.counts:
            self._ids.setdefault(kind, {}).update(dict.fromkeys(ids))

    def count(self, kind: str, number: int) -> None:
        """Record the number of values that a file will contain; later reads are not recorded."""
        self.counts[kind] = number

    @property
    def ids(self) -> Ids:
        return {kind: list(ids) for kind, ids in self._ids.items() if ids}

    def __bool__(self) -> bool:
        return bool(self.counts or self.ids)
