"""Append to the audit log, and fold repeated reads of contact data."""

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
from contatto.kit.db.tx import Ids, Tx


def append_audit_record(tx: Tx, record: AuditRecord) -> None:
    """Append to the audit log of a business, chained to the entry before."""
    append_records(tx, [record])


FOLDED: Final = timedelta(minutes=5)
"""A repeat through the same route within this time belongs to the same read."""
LONGEST: Final = timedelta(hours=1)
"""A read that goes on for longer than this is logged once more: a page may be open for days."""
_MOST: Final = 200_000

type _ReadKey = tuple[str, str, str, str]
"""Actor, route, kind of object, and its id."""


@dataclass(slots=True)
class _ContinuedRead:
    """Times at which a read was logged, and last repeated."""

    logged_at: datetime
    repeated_at: datetime


class FoldedReads:
    """Logged reads that go on in this process; other processes log them again."""

    def __init__(self) -> None:
        self._reads: OrderedDict[_ReadKey, _ContinuedRead] = OrderedDict()

    def fresh(self, actor_id: str, act: str, seen: Ids, now: datetime) -> Ids:
        """Return the ids that are not in the log yet, and extend the reads of the others."""
        new_ids: Ids = {}
        for kind, ids in seen.items():
            for id_ in ids:
                key = (actor_id, act, kind, id_)
                earlier = self._reads.get(key)
                if (
                    earlier is None
                    or now - earlier.repeated_at >= FOLDED
                    or now - earlier.logged_at >= LONGEST
                ):
                    new_ids.setdefault(kind, []).append(id_)
                else:
                    earlier.repeated_at = now
                    self._reads.move_to_end(key)
        return new_ids

    def keep(self, actor_id: str, act: str, written: Ids, now: datetime) -> None:
        """Remember logged ids; drop reads that have ended or exceed the limit."""
        for kind, ids in written.items():
            for id_ in ids:
                key = (actor_id, act, kind, id_)
                self._reads[key] = _ContinuedRead(now, now)
                self._reads.move_to_end(key)
        while self._reads:
            key, oldest = next(iter(self._reads.items()))
            if len(self._reads) <= _MOST and now - oldest.repeated_at < FOLDED:
                break
            del self._reads[key]


class AuditWriter:
    """Batching writer of logged reads: those that arrive during a write go into the next one together."""

    def __init__(self) -> None:
        self._waiting: list[tuple[AuditRecord, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    def begin(self, db: Database, record: AuditRecord) -> asyncio.Future[None]:
        """Start to write a record; it is durable when the returned future is done."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        self._waiting.append((record, written))
        if self._writing is None or self._writing.done():
            # An empty context, since it writes for several businesses and no audit entry follows its writes.
            # An eager start, so that the write runs while the page is rendered.
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
            except Exception as raised:  # every waiting request gets it
                error = raised
            for _, written in batch:
                if not written.done():
                    written.set_exception(error) if error else written.set_result(None)
