"""Late looks at contact values, in memory: repeats are folded, and those at one time are written together."""

import asyncio
from collections import OrderedDict
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from contatto.audit.model import AuditRecord
from contatto.audit.store import append_records
from contatto.kit.db.database import Database
from contatto.kit.looks import Ids

FOLDED: Final = timedelta(minutes=5)
"""What somebody sees again through the same route before so long has passed is still the same look."""
LONGEST: Final = timedelta(hours=1)
"""A look that goes on for longer than this is in the log once more: a page may be open for days."""
_MOST: Final = 200_000

type _Thing = tuple[str, str, str, str]
"""Who sees it, through which route, of which kind it is, and its id."""


@dataclass(slots=True)
class _Going:
    """A look that goes on: when it was written down, and when it was last repeated."""

    began: datetime
    last: datetime


class LateLooks:
    """The looks that go on in this process; other processes know nothing of them."""

    def __init__(self) -> None:
        self._going: OrderedDict[_Thing, _Going] = OrderedDict()

    def fresh(self, actor_id: str, act: str, seen: Ids, now: datetime) -> Ids:
        """What of a look is not in the log yet; what is, goes on."""
        kept = {
            kind: [each for each in ids if not self._goes_on((actor_id, act, kind, each), now)]
            for kind, ids in seen.items()
        }
        return {kind: ids for kind, ids in kept.items() if ids}

    def _goes_on(self, thing: _Thing, now: datetime) -> bool:
        going = self._going.get(thing)
        if going is None or now - going.last >= FOLDED or now - going.began >= LONGEST:
            return False
        going.last = now
        self._going.move_to_end(thing)
        return True

    def keep(self, actor_id: str, act: str, written: Ids, now: datetime) -> None:
        """Remember what was written down; what has ended, or is too much, is forgotten."""
        for kind, ids in written.items():
            for each in ids:
                thing = (actor_id, act, kind, each)
                self._going[thing] = _Going(now, now)
                self._going.move_to_end(thing)
        while self._going:
            thing, going = next(iter(self._going.items()))
            if len(self._going) <= _MOST and now - going.last < FOLDED:
                break
            del self._going[thing]


class DeedWriter:
    """Appends to the audit log. What comes while a write is on its way goes with the next one, together."""

    def __init__(self) -> None:
        self._waiting: list[tuple[AuditRecord, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    def begin(self, db: Database, record: AuditRecord) -> asyncio.Future[None]:
        """Begin to write a record down, at once; it is durable when what is returned is done."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        self._waiting.append((record, written))
        if self._writing is None or self._writing.done():
            # In a context of its own: it writes for several businesses, and nothing follows its writes. It is
            # started here, not when the event loop is next free: the page is made meanwhile.
            writing = self._write(db)
            self._writing = asyncio.Task(writing, loop=loop, context=Context(), eager_start=True)
        return written

    async def _write(self, db: Database) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            records = [record for record, _ in batch]
            error: Exception | None = None
            try:
                await db.write(partial(append_records, records=records))
            except Exception as raised:  # each of those who wait is told
                error = raised
            for _, written in batch:
                if not written.done():
                    written.set_exception(error) if error else written.set_result(None)
