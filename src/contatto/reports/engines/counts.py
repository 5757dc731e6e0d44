"""Tables of days and hours counted ahead, and how far each ad account is counted.

Theory. To count a page's figures from all touches would take seconds, so the worker counts ahead: days of
each ad and country, hours of each ad group and account. Touches and conversions are counted up to a moment
of their own time, since nearly all of them come in order; what came since then is few, however long the log.
Whatever changes something older marks its day, in the same transaction. ``engines/counted`` takes the counts
of days without a mark, and reads the rest from the events themselves: it finds the same figures whether the
worker has been there or not.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Column, String, Table, exists, func, literal, select

from contatto.accounts.store import ad_accounts
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, metadata, row_of, tenant
from contatto.measurement.model import CountedEvent
from contatto.measurement.store import list_dropped_days, touches
from contatto.reports.model import STORED, Grain

report_counts = Table(
    "report_counts",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("ad_account_id", String(36), primary_key=True),
    Column("grain", Choice(Grain), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("source", Choice(CountedEvent), primary_key=True),
    Column("hour", String(2), primary_key=True),
    Column("place_id", String(36), primary_key=True),
    Column("country", String(2), primary_key=True),
    *(Column(name, BigInteger, nullable=False) for name in STORED),
    sqlite_with_rowid=False,
)
"""``place_id`` is the ad, the ad group or the account that the grain names."""

report_progress = Table(
    "report_progress",
    metadata,
    Column("ad_account_id", String(36), primary_key=True),
    tenant(),
    Column("counted_until", BigInteger, nullable=False),
    Column("day", String(10), nullable=False),
)


@dataclass(frozen=True, slots=True)
class CountingProgress:
    """How far an ad account is counted: what happened before a moment (microseconds), which is on ``day``."""

    business_id: str
    ad_account_id: str
    counted_until: int
    day: str


def find_progress(tx: Tx, business_id: str, ad_account_id: str) -> CountingProgress | None:
    query = select(report_progress).where(report_progress.c.business_id == business_id)
    return tx.find(CountingProgress, query.where(report_progress.c.ad_account_id == ad_account_id))


def find_first_day(tx: Tx, business_id: str, ad_account_id: str) -> str | None:
    """The day of an account's first touch, wherever it is kept."""
    query = select(func.min(touches.c.day)).where(touches.c.business_id == business_id)
    day: str | None = tx.scalar(query.where(touches.c.ad_account_id == ad_account_id))
    dropped = list_dropped_days(tx, business_id, ad_account_id)
    return min([one for one in (day, *dropped[:1]) if one], default=None)


def list_accounts_behind(tx: Tx, before: int) -> list[tuple[str, str, str]]:
    """Business, id and zone of ad accounts not counted up to a moment, the longest behind first."""
    behind = select(ad_accounts.c.business_id, ad_accounts.c.id, ad_accounts.c.timezone)
    behind = behind.outerjoin(report_progress, report_progress.c.ad_account_id == ad_accounts.c.id)
    until = func.coalesce(report_progress.c.counted_until, 0)
    return [
        (row.business_id, row.id, row.timezone)
        for row in tx.execute(behind.where(until < before).order_by(until, ad_accounts.c.id))
    ]


def list_busy_accounts(tx: Tx, until: int, worth: int) -> list[tuple[str, str, str]]:
    """Business, id and zone of ad accounts with so many touches before a moment that are not counted."""
    progress = report_progress.c
    waiting = (
        select(literal(1))
        .where(
            touches.c.business_id == progress.business_id,
            touches.c.ad_account_id == progress.ad_account_id,
            touches.c.day == progress.day,
            touches.c.ts >= progress.counted_until,
            touches.c.ts < until,
        )
        .limit(1)
        .offset(worth - 1)
    )
    busy = select(ad_accounts.c.business_id, ad_accounts.c.id, ad_accounts.c.timezone)
    busy = busy.join(report_progress, progress.ad_account_id == ad_accounts.c.id).where(exists(waiting))
    return [(row.business_id, row.id, row.timezone) for row in tx.execute(busy)]


def save_progress(tx: Tx, progress: CountingProgress) -> None:
    row = row_of(progress)
    new = {"counted_until": progress.counted_until, "day": progress.day}
    insert = tx.upsert(report_progress).values(**row)
    tx.execute(insert.on_conflict_do_update(index_elements=["ad_account_id"], set_=new))


@dataclass(frozen=True, slots=True)
class Counted:
    """The counts of a source of an ad account, as rows of their grain, day, hour, place and country."""

    business_id: str
    ad_account_id: str
    source: CountedEvent
    rows: list[dict[str, Any]]

    @property
    def whole_rows(self) -> list[dict[str, Any]]:
        whose = {"business_id": self.business_id, "ad_account_id": self.ad_account_id, "source": self.source}
        return [whose | row for row in self.rows]


def save_day(tx: Tx, counted: Counted, day: str) -> None:
    """Replace the counts of a source on a day of an account."""
    tx.execute(
        report_counts.delete().where(
            report_counts.c.business_id == counted.business_id,
            report_counts.c.ad_account_id == counted.ad_account_id,
            report_counts.c.grain.in_(Grain),
            report_counts.c.day == day,
            report_counts.c.source == counted.source,
        )
    )
    if counted.rows:
        tx.execute(report_counts.insert(), counted.whole_rows)


def save_more(tx: Tx, counted: Counted) -> None:
    """Add to the counts that are there."""
    if counted.rows:
        insert = tx.upsert(report_counts)
        more = {name: report_counts.c[name] + insert.excluded[name] for name in STORED}
        keys = list(report_counts.primary_key)
        tx.execute(insert.on_conflict_do_update(index_elements=keys, set_=more), counted.whole_rows)
