"""Views that wait for their transaction: what comes while one is on its way goes into the next together."""

import asyncio
from collections.abc import Sequence
from typing import Final

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.measurement import store
from contatto.measurement.model import Impression
from contatto.measurement.ports import ChargePort

AT_ONCE: Final = 512
"""Most views of one transaction; more only make the first of them wait."""


class GatheredViews:
    """Appends views, with what is charged for them, many in one transaction."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._waiting: list[tuple[Impression, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def put(self, view: Impression) -> None:
        """Append a view; it is durable when this returns."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((view, written))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        await written

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            if not await self._write(batch) and len(batch) > 1:
                for each in batch:  # one of them is at fault, and the others are not
                    await self._write([each], is_last_try=True)

    async def _write(
        self, batch: list[tuple[Impression, asyncio.Future[None]]], *, is_last_try: bool = False
    ) -> bool:
        views = [view for view, _ in batch]
        try:
            await self._db.write(lambda tx: record_views(tx, views))
        except BaseException as error:
            if is_last_try or len(batch) == 1 or not isinstance(error, Exception):
                for _, written in batch:
                    if not written.done():
                        written.set_exception(error)
            return False
        for _, written in batch:
            if not written.done():
                written.set_result(None)
        return True


def record_views(tx: Tx, views: Sequence[Impression]) -> None:
    """Append views, each once, with what is charged for them."""
    charged = tx.ports[ChargePort].charge(tx, views)
    store.append_touches(tx, [store.touch_row(touch) for touch in charged])
