"""Rate limits that all processes share: counted in the transaction that asks, so no burst slips through."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import BigInteger, Column, Index, String, Table, case, select, update

from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import metadata
from contatto.kit.errors import Refused
from contatto.kit.timestamps import micros

rate_limits = Table(
    "rate_limits",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("busy_until", BigInteger, nullable=False),
    Index("ix_rate_limits_busy_until", "busy_until"),
)
"""One row for each key that was used of late; keys are fingerprints, they may stand for e-mails."""

_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class SharedLimit:
    """So many tries at once for each key, which come back evenly over a span (a leaky bucket).

    A try is worth ``span / most`` of time. The row holds the moment until which the tries so far are worth;
    one statement compares and moves it, so two at once cannot both take the last one.
    Source: the generic cell rate algorithm, ITU-T I.371, annex A.

    Attributes:
        name: tells the keys of different limits apart.
        most: tries that come back in a span; without a burst so many may come at once.
        span: time in which they come back.
        says: what is told to who has none left, where more is to be said than that they are too many.
        burst: tries that may come at once, where these are fewer than come back in a span.
    """

    name: str
    most: int
    span: timedelta
    says: str = ""
    burst: int = 0

    @property
    def _worth(self) -> int:
        """What one try is worth, in microseconds."""
        return self.span // timedelta(microseconds=1) // self.most

    def take(self, tx: Tx, key: str, tries: int = 1) -> None:
        """Count a try, or several at once.

        Raises:
            Refused: TOO_MANY, with the seconds to wait; then none of them is counted.
        """
        now, row_key, worth = micros(tx.now), self._row_key(tx, key), self._worth * tries
        busy = case((rate_limits.c.busy_until > now, rate_limits.c.busy_until), else_=now)
        latest = now + self._worth * (self.burst or self.most)
        if now + worth > latest:
            raise Refused(errors.TOO_MANY, self.says, (now + worth - latest) // _SECOND + 1)
        insert = tx.upsert(rate_limits).values(key=row_key, busy_until=now + worth)
        taken = insert.on_conflict_do_update(
            index_elements=["key"],
            set_={"busy_until": busy + worth},
            where=busy + worth <= latest,
        ).returning(rate_limits.c.busy_until)
        if tx.execute(taken).first() is None:
            until = tx.scalar(select(rate_limits.c.busy_until).where(rate_limits.c.key == row_key))
            wait_s = max((int(until) + worth - latest) // _SECOND, 0) + 1
            raise Refused(errors.TOO_MANY, self.says, wait_s)

    def give_back(self, tx: Tx, key: str) -> None:
        """Take a try back: it turned out to be a good one. A key that has all of them again leaves no row."""
        mine = rate_limits.c.key == self._row_key(tx, key)
        until = rate_limits.c.busy_until - self._worth
        tx.execute(rate_limits.delete().where(mine, until <= micros(tx.now)))
        tx.execute(update(rate_limits).where(mine).values(busy_until=until))

    def _row_key(self, tx: Tx, key: str) -> str:
        return tx.vault.blind(f"{self.name}\0{key}", "rate limits").hex()


def purge_limits(tx: Tx) -> int:
    """Delete the rows of keys that have all their tries again; say how many."""
    return tx.execute(rate_limits.delete().where(rate_limits.c.busy_until <= micros(tx.now))).rowcount
