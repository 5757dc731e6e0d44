"""Operators in memory: who may compete in their placements, and how often each person saw an ad there."""

import asyncio
from collections import Counter, deque
from datetime import datetime, timedelta
from typing import Final

from contatto.kit.db.database import Database, acting
from contatto.kit.db.tx import Tx
from contatto.kit.log import logger, where
from contatto.kit.timestamps import micros
from contatto.measurement.rules import local_day
from contatto.operators import store
from contatto.operators.model import AdmissionState, AskedDay, Field, Operator, Placement

FRESH: Final = timedelta(seconds=2)
"""What is known of an operator is read again behind the answers when it is older than this."""
TOO_OLD: Final = timedelta(seconds=20)
"""What is older than this is not used: the answer waits for a new one."""
PROMISED_FOR: Final = timedelta(seconds=10)
"""For so long an ad that was shown counts against its balance before its charge is read."""
FLUSH_S: Final = 0.1
"""What was shown and asked is written down so long behind the answers."""

type Sighting = tuple[str, str, str, str]


def load_field(tx: Tx, operator_id: str) -> Field | None:
    """Return who may compete in the placements of an operator; None for a tenant that is none."""
    operator = store.find_operator(tx, operator_id)
    if operator is None:
        return None
    placements = store.list_placements(tx, operator_id)
    admitted = store.list_admissions(tx, operator_id, AdmissionState.ADMITTED)
    return Field(
        operator,
        tx.now,
        {placement.id: placement for placement in placements},
        {each.business_id: each for each in admitted},
        store.list_approved(tx, operator_id),
        {balance.ad_account_id: balance.room_micros for balance in store.list_balances(tx, operator_id)},
    )


def placement_of(field: Field, named: str) -> Placement | None:
    """A placement by its id or its name."""
    known = field.placements.get(named)
    return known or next(
        (placement for placement in field.placements.values() if placement.name == named), None
    )


class _Promised:
    """What was promised of one balance lately, in micros, and its sum."""

    def __init__(self) -> None:
        self._amounts: deque[tuple[datetime, int]] = deque()
        self._sum = 0

    def add(self, at: datetime, amount_micros: int) -> None:
        self._amounts.append((at, amount_micros))
        self._sum += amount_micros

    def since(self, limit: datetime) -> int:
        """The sum from a time on; what is older is forgotten."""
        while self._amounts and self._amounts[0][0] < limit:
            self._sum -= self._amounts.popleft()[1]
        return self._sum


class OperatorIndex:
    """The fields of this process, what it promised in them, and what it counts until that is written down."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[str, tuple[datetime, Field | None]] = {}
        self._reading: dict[str, asyncio.Task[Field | None]] = {}
        self._promised: dict[str, _Promised] = {}
        self._seen: Counter[Sighting] = Counter()
        self._asked: Counter[tuple[str, str, str]] = Counter()
        self._filled: Counter[tuple[str, str, str]] = Counter()
        self._flushing: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()

    async def field(self, operator_id: str) -> Field | None:
        """Return who may compete in an operator's placements; None for a tenant that is no operator.

        A read that fails leaves what was known in force, until that is too old.
        """
        known = self._known.get(operator_id)
        if known is None:
            return await self._read(operator_id)
        age = self._db.clock.now() - known[0]
        if age <= FRESH:
            return known[1]
        reading = self._read(operator_id)
        return await reading if age > TOO_OLD else known[1]

    async def refresh(self, operator_id: str) -> Field | None:
        """Read it now."""
        return await self._read(operator_id)

    def _read(self, operator_id: str) -> asyncio.Task[Field | None]:
        reading = self._reading.get(operator_id)
        if reading is None or reading.done():
            with acting(operator_id):
                reading = self._reading[operator_id] = asyncio.create_task(self._read_now(operator_id))
            reading.add_done_callback(_note_failure)
        return reading

    async def _read_now(self, operator_id: str) -> Field | None:
        read_at, fresh = await self._db.read(lambda tx: (tx.now, load_field(tx, operator_id)))
        self._known[operator_id] = read_at, fresh
        return fresh

    def room_of(self, field: Field, ad_account_id: str) -> int:
        """What may still be promised of a balance, in micros: what was shown just now is taken off."""
        room = field.rooms.get(ad_account_id, 0)
        promised = self._promised.get(ad_account_id)
        if promised is None:
            return room
        return max(room - promised.since(self._db.clock.now() - PROMISED_FOR), 0)

    async def count_seen(self, placement: Placement, viewer: str, day: str) -> int:
        """Return how often somebody was shown an ad in a placement today."""
        key = (placement.business_id, placement.id, viewer, day)
        with acting(placement.business_id):
            written = await self._db.read(lambda tx: store.count_sightings(tx, *key))
        return written + self._seen[key]

    def day_of(self, operator: Operator) -> str:
        """The day of an operator."""
        return local_day(micros(self._db.clock.now()), operator.timezone)

    def note(self, operator: Operator, placement: Placement, viewer: str, *, is_filled: bool) -> None:
        """Count a request of a placement, and for a viewer who is known that an ad was shown."""
        day = self.day_of(operator)
        key = (operator.business_id, placement.id, day)
        self._asked[key] += 1
        if is_filled:
            self._filled[key] += 1
            if viewer and placement.most_views:
                self._seen[operator.business_id, placement.id, viewer, day] += 1
        if self._flushing is None or self._flushing.done():
            with acting(""):
                self._flushing = asyncio.create_task(self._flush_later())

    def note_promise(self, ad_account_id: str, amount_micros: int) -> None:
        """An ad of an account was shown, which will be charged soon."""
        self._promised.setdefault(ad_account_id, _Promised()).add(self._db.clock.now(), amount_micros)

    async def _flush_later(self) -> None:
        await asyncio.sleep(FLUSH_S)
        try:
            await self.flush()
        except Exception as error:  # the next flush tries again
            logger().error("operators.counts_not_written", error_at=where(error))

    async def flush(self) -> None:
        """Write down what was counted."""
        async with self._writing:
            seen, asked, filled = self._seen.copy(), self._asked.copy(), self._filled.copy()
            if not asked:
                return
            days = [AskedDay(*key, count, filled[key]) for key, count in sorted(asked.items())]

            def write(tx: Tx) -> None:
                store.save_asked(tx, days)
                store.save_sightings(tx, seen)

            with acting(""):
                await self._db.write(write)
            self._seen, self._asked = self._seen - seen, self._asked - asked
            self._filled -= filled


def _note_failure(reading: asyncio.Task[Field | None]) -> None:
    error = None if reading.cancelled() else reading.exception()
    if error is not None:
        logger().warning("operators.field_not_read", error_at=where(error))
