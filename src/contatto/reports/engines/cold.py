"""Which sealed files a part of an account needs, and figures that no drop of views can upset."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from contatto.kit.db.tx import Tx
from contatto.measurement.actions import NEVER_DROPPED, keep_views, list_cold_files
from contatto.measurement.engines.sealing import BrokenFile, Viewed, list_broken
from contatto.measurement.model import ChangedDay, CountedEvent, SealedFile
from contatto.reports.model import Span, TimeStep

QUARTER_US: Final = 900 * 1_000_000
"""Hours are told by quarters: that is how far the zones of the world differ."""

AT: Final[Mapping[TimeStep, str]] = {
    TimeStep.WHOLE: "''",
    TimeStep.DAY: "day::VARCHAR",
    TimeStep.HOUR: f"ts // {QUARTER_US}",
}
"""The time by which facts are told apart, in the SQL of the files."""


@dataclass(frozen=True, slots=True)
class Part:
    """Which events of an ad account are counted: those of a span, or only of some days within it.

    ``since_ts`` and ``until_ts`` leave out what happened before a moment, and from one on; they are
    microseconds. What is of ``but_days`` is left out too.
    """

    business_id: str
    ad_account_id: str
    span: Span
    days: frozenset[str] | None = None
    since_ts: int | None = None
    until_ts: int | None = None
    but_days: frozenset[str] = frozenset()

    @property
    def edges(self) -> tuple[str | None, str | None]:
        """The first and the last of its days."""
        if self.days is None:
            return self.span.first, self.span.last
        return min(self.days, default=None), max(self.days, default=None)


def load_with_cold[T](tx: Tx, part: Part, read: Callable[[Sequence[SealedFile]], T]) -> T:
    """Read a part from the database and from these files. A part of late needs none, and asks for none."""
    if not _may_be_cold(tx, part):
        return read([])
    keep_views(tx)
    return read(list_files(tx, part))


def list_files(tx: Tx, part: Part) -> list[SealedFile]:
    """The files that alone hold views of a part."""
    if not _may_be_cold(tx, part):
        return []
    files = list_cold_files(tx, part.business_id, part.edges, part.ad_account_id)
    return [
        file
        for file in files
        if file.day not in part.but_days and (part.days is None or file.day in part.days)
    ]


def _may_be_cold(tx: Tx, part: Part) -> bool:
    first, _ = part.edges
    return first is None or first <= (tx.now - NEVER_DROPPED).date().isoformat()


def viewed(part: Part) -> Viewed:
    return Viewed(part.business_id, part.ad_account_id, part.since_ts, part.until_ts)


def list_unreadable(tx: Tx, part: Part, marks: Iterable[ChangedDay]) -> list[BrokenFile]:
    """The damaged files without which marked days of a part cannot be counted."""
    days = frozenset(
        mark.day for mark in marks if mark.source is CountedEvent.TOUCH and part.span.holds(mark.day)
    )
    return list_broken(list_files(tx, replace(part, days=days))) if days else []
