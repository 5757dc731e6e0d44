"""What is done for many views or conversions at once.

Views wait for their transaction: what comes while one is on its way goes into the next together. Of new
conversions one statement says which may have a winner: most persons who write have tapped no ad of ours.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Select, bindparam, select, union_all

from contatto.kit.db.database import Database
from contatto.kit.db.hot import Seek
from contatto.kit.db.tx import Tx
from contatto.kit.db.within import within
from contatto.kit.ids import new_id
from contatto.measurement import store
from contatto.measurement.engines.changed_days import append_changed_day
from contatto.measurement.engines.viewers import viewer_links
from contatto.measurement.model import ChangedDay, Conversion, CountedEvent, Impression
from contatto.measurement.ports import ChargePort
from contatto.measurement.rules import is_late
from contatto.measurement.store import IS_CLICK, IS_VIEW, WEEK, WEEK_US, touches

AT_ONCE: Final = 512
"""Most views of one transaction; more only make the first of them wait."""


@dataclass(frozen=True, slots=True)
class _Person:
    person_id: str


def _touched(*which: ColumnElement[bool]) -> Select[tuple[str]]:
    whose = touches.c.business_id == bindparam("of"), within(touches.c.person_id, "persons")
    return select(touches.c.person_id).where(*whose, *which)


_LINKED: Final = select(viewer_links.c.person_id).where(
    viewer_links.c.business_id == bindparam("of"), within(viewer_links.c.person_id, "persons")
)
_TOUCHED: Final = Seek(
    _Person,
    select(
        union_all(_touched(IS_CLICK), _touched(IS_VIEW, within(WEEK, "weeks")), _LINKED).subquery()
    ).distinct(),
)


def list_winnable(tx: Tx, new: Sequence[Conversion], kept_since: int) -> list[Conversion]:
    """Those of new conversions that a touch may have won, in their order; their persons are held.

    ``kept_since`` is the microsecond since when all views that may win are in the database: what happened
    earlier may be won by one that only the files hold.
    """
    lines: dict[str, list[Conversion]] = defaultdict(list)
    for each in new:
        lines[each.business_id].append(each)
    known = {
        (business_id, person.person_id)
        for business_id, line in lines.items()
        for person in _TOUCHED.list(tx, _asked(business_id, line))
    }
    return [each for each in new if each.ts <= kept_since or (each.business_id, each.person_id) in known]


def _asked(business_id: str, line: Sequence[Conversion]) -> dict[str, object]:
    weeks = {each.ts // WEEK_US for each in line}
    persons = sorted({each.person_id for each in line})
    return {"of": business_id, "persons": persons, "weeks": sorted(weeks | {week - 1 for week in weeks})}


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
    late = [touch for touch in charged if is_late(touch.ts, tx.now)]
    for whose in {(touch.business_id, touch.ad_account_id, touch.day) for touch in late}:
        append_changed_day(tx, ChangedDay(new_id(), *whose, CountedEvent.TOUCH))
