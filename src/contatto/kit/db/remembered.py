"""Counts of many rows, remembered as long as nothing changes, and for a moment where something always does.

Theory. A count costs as much as there is to count. While no commit changes the tables, the last one is right.
Where commits never end, nobody can tell a count of now from one of a moment ago, so it is used again for a
time in proportion to what it counted: to count takes the same small share of a process, however much there
is. A few rows are counted each time, so whoever has few sees each change at once.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast

from contatto.kit.db.database import Database

LEAST: Final = 2_000
"""Rows; fewer are never remembered."""
PER_ROW: Final = timedelta(microseconds=5)
"""How old a count may be for each row in it although something changed: 50 times as long as it takes."""
MOST_CHANGED: Final = timedelta(seconds=1)
"""However much it is: somebody may have changed it on this very page."""
MOST_AGE: Final = timedelta(seconds=10)
"""How old a count may be where nothing changed: what is late becomes so by itself."""
_MOST_KEPT: Final = 2_000

type Counts[K] = Mapping[K, int]


@dataclass(frozen=True, slots=True)
class _Kept:
    counts: Counts[Any]
    rows: int
    state: object
    at: datetime


class RememberedCounts:
    """The counts of an app, by what was counted.

    Args:
        db: where they come from.
        tables: they are counted from these.
        least: rows; fewer are never remembered.
        per_row: how old a count may be for each of its rows although something changed.
    """

    def __init__(
        self, db: Database, tables: Collection[str], least: int = LEAST, per_row: timedelta = PER_ROW
    ) -> None:
        self._clock = db.clock
        self._least, self._per_row = least, per_row
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._state = object()
        db.on_commit(self._note_change, tables)

    def _note_change(self) -> None:
        self._state = object()

    def begin(self) -> "Recall":
        """To be called before the transaction begins that may count."""
        return Recall(self, self._state)

    def find[K](self, key: Hashable, state: object, count: Callable[[], Counts[K]]) -> Counts[K]:
        """What is remembered by this key, which names all that is counted; else what `count` tells.

        ``state`` is that of before the transaction that counts.
        """
        now, kept = self._clock.now(), self._kept.get(key)
        if kept is not None and self._is_good(kept, now):
            return cast("Counts[K]", kept.counts)
        counts = count()
        rows = sum(counts.values())
        if rows >= self._least:
            self._kept[key] = _Kept(counts, rows, state, now)
            self._kept.move_to_end(key)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.pop(key, None)
        return counts

    def _is_good(self, kept: _Kept, now: datetime) -> bool:
        age = now - kept.at
        most = MOST_AGE if kept.state is self._state else min(MOST_CHANGED, kept.rows * self._per_row)
        return timedelta() <= age < most


@dataclass(frozen=True, slots=True)
class Recall:
    """What one transaction may take from memory."""

    remembered: RememberedCounts
    state: object

    def find[K](self, key: Hashable, count: Callable[[], Counts[K]]) -> Counts[K]:
        """What is remembered by this key, which names all that is counted; else it is counted now."""
        return self.remembered.find(key, self.state, count)
