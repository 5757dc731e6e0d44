"""Late looks at contact values, in memory: repeats are folded, and those at one time are written together."""

import asyncio
from collections import OrderedDict
from contextvars import Context
from datetime import datetime, timedelta
from typing import Final

from contatto.audit.model import Deed
from contatto.audit.store import append_deeds
from contatto.kit.db.database import Database
from contatto.kit.looks import Ids

FOLDED: Final = timedelta(minutes=5)
"""For so long what somebody sees again through the same route is in the log already."""
_MOST: Final = 200_000

type _Look = tuple[str, str, str, str]


class LateLooks:
    """What this process has written down a short while ago; other processes know nothing of it."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Look, datetime] = OrderedDict()

    def fresh(self, actor_id: str, act: str, seen: Ids, now: datetime) -> Ids:
        """What of a look is not in the log yet."""
        kept = {
            kind: [each for each in ids if not self._is_known((actor_id, act, kind, each), now)]
            for kind, ids in seen.items()
        }
        return {kind: ids for kind, ids in kept.items() if ids}

    def _is_known(self, look: _Look, now: datetime) -> bool:
        at = self._known.get(look)
        return at is not None and now - at < FOLDED

    def keep(self, actor_id: str, act: str, written: Ids, now: datetime) -> None:
        """Remember what was written down; what is too old, or too much, is forgotten."""
        for kind, ids in written.items():
            for each in ids:
                look = (actor_id, act, kind, each)
                self._known[look] = now
                self._known.move_to_end(look)
        while self._known:
            oldest, at = next(iter(self._known.items()))
            if len(self._known) <= _MOST and now - at < FOLDED:
                break
            del self._known[oldest]


class DeedWriter:
    """Appends to the audit log. What comes while a write is on its way goes with the next one, together."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Deed, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    def begin(self, db: Database, deed: Deed) -> asyncio.Future[None]:
        """Begin to write a deed down, at once; it is durable when what is returned is done."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        self._waiting.append((deed, written))
        if self._writing is None or self._writing.done():
            # In a context of its own: it writes for several businesses, and nothing follows its writes. It is
            # started here, not when the event loop is next free: the page is made meanwhile.
            writing = self._write(db)
            self._writing = asyncio.Task(writing, loop=loop, context=Context(), eager_start=True)
        return written

    async def _write(self, db: Database) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            deeds = [deed for deed, _ in batch]
            error: Exception | None = None
            try:
                await db.write(lambda tx, deeds=deeds: append_deeds(tx, deeds))  # type: ignore[misc]
            except Exception as raised:  # each of those who wait is told
                error = raised
            for _, written in batch:
                if not written.done():
                    written.set_exception(error) if error else written.set_result(None)
