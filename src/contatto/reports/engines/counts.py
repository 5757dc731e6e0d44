"""Counts of days and hours made ahead, how far each ad account is counted, and facts read from both.

Theory. To count a page's figures from all touches would take seconds, so the worker counts ahead: days of
each ad and country, hours of each ad group and account. Touches are counted up to a moment, since nearly all
of them come in order; conversions for the days before it. Whatever changes afterwards marks its day, in the
same transaction. A reader takes the counts of days without a mark, and the rest from the events themselves:
it reads the same figures whether the worker has been there or not.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, Column, ColumnElement, Select, String, Table, and_, func, or_, select

from contatto.accounts.store import ad_accounts
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, metadata, tenant
from contatto.kit.rows import row_of
from contatto.measurement.engines.changed_days import list_changed_days
from contatto.measurement.engines.sealing import BrokenFile
from contatto.measurement.model import ChangedDay, CountedEvent
from contatto.measurement.store import list_dropped_days, touches
from contatto.reports.engines.cold import Part, list_unreadable
from contatto.reports.engines.database import ALL, list_raw_facts
from contatto.reports.model import STORED, Counts, Fact, Grain, Span, TimeStep

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


_TRIES: Final = 3
_NAMED: Final = 10
"""So many days that are not counted yet are named, and not told by the first and the last."""


@dataclass(frozen=True, slots=True)
class CountingProgress:
    """How far an ad account is counted: its touches before a moment (microseconds), which lies on ``day``."""

    business_id: str
    ad_account_id: str
    counted_until: int
    day: str


@dataclass(frozen=True, slots=True)
class _State:
    """What the worker has done for an account, and which days are marked since."""

    progress: CountingProgress | None
    marks: tuple[ChangedDay, ...]

    def is_part_of(self, later: "_State") -> bool:
        """Whether nothing was counted in between; more marks do no harm, since they tell of later changes."""
        return self.progress == later.progress and set(self.marks) <= set(later.marks)


@dataclass(frozen=True, slots=True)
class _Split:
    """Which counts of a source hold, and which parts of the account must be read from their events."""

    holds: ColumnElement[bool] | None
    live: tuple[Part, ...]


type Splits = Mapping[CountedEvent, _Split]


def list_counted_facts(
    tx: Tx, business_id: str, ad_account_id: str, span: Span, step: TimeStep, *, by_country: bool = True
) -> list[Fact]:
    """Counts by ad, for the whole span or by day, and by country if wanted."""
    part = Part(business_id, ad_account_id, span)
    keys: list[Column[Any]] = [report_counts.c.place_id]
    keys += [report_counts.c.day] if step is TimeStep.DAY else []
    keys += [report_counts.c.country] if by_country else []
    days = _of(part, Grain.AD_COUNTRY_DAY if by_country else Grain.AD_DAY, keys)

    def read(splits: Splits) -> list[Fact]:
        facts = [
            Fact(
                places[0], places[1] if step is TimeStep.DAY else "", counts, places[-1] if by_country else ""
            )
            for places, counts in _read(tx, days, splits, len(keys))
        ]
        for source, live in _live(splits):
            facts += list_raw_facts(tx, live, source, step, ALL if by_country else ("ad_id",))
        return facts

    return _steady(tx, part, read)


def list_counted_hours(
    tx: Tx, business_id: str, ad_account_id: str, span: Span, groups: Mapping[str, str] | None = None
) -> dict[str, Counts]:
    """Counts of an account by its hours, ``YYYY-MM-DD HH``.

    Args:
        tx: the transaction.
        business_id: whose account it is.
        ad_account_id: the account.
        span: the days.
        groups: the ads that count, with their ad groups; None for all.
    """
    part = Part(business_id, ad_account_id, span)
    grain = Grain.ACCOUNT_HOUR if groups is None else Grain.GROUP_HOUR
    hours = _of(part, grain, [report_counts.c.day, report_counts.c.hour])
    if groups is not None:
        hours = hours.where(report_counts.c.place_id.in_(set(groups.values())))

    def read(splits: Splits) -> dict[str, Counts]:
        found = {f"{day} {hour}": counts for (day, hour), counts in _read(tx, hours, splits, 2)}
        for source, live in _live(splits):
            for fact in list_raw_facts(tx, live, source, TimeStep.HOUR, () if groups is None else ("ad_id",)):
                if groups is None or fact.ad_id in groups:
                    found[fact.day] = found.get(fact.day, Counts()) + fact.counts
        return found

    return _steady(tx, part, read)


def _steady[T](tx: Tx, part: Part, read: Callable[[Splits], T]) -> T:
    """Read again if the worker counted meanwhile: PostgreSQL shows each statement what was just committed."""
    for _ in range(_TRIES):
        state = _load_state(tx, part)
        found = read(_splits(state, part))
        if state.is_part_of(_load_state(tx, part)):
            break
    return found


def _load_state(tx: Tx, part: Part) -> _State:
    mine = (part.business_id, part.ad_account_id)
    progress, marks = find_progress(tx, *mine), list_changed_days(tx, *mine)
    missing = {error.file.day for error in list_unreadable(tx, part, marks)}
    if missing:  # what was counted before stands, until the file is back
        marks = [mark for mark in marks if mark.source is not CountedEvent.TOUCH or mark.day not in missing]
    return _State(progress, tuple(marks))


def find_unreadable(tx: Tx, business_id: str, ad_account_id: str, span: Span) -> BrokenFile | None:
    """What keeps a day from being counted anew: a file of its views that is gone or damaged."""
    part = Part(business_id, ad_account_id, span)
    return next(iter(list_unreadable(tx, part, list_changed_days(tx, business_id, ad_account_id))), None)


def _read(tx: Tx, found: Select[Any], splits: Splits, keys: int) -> Iterator[tuple[tuple[str, ...], Counts]]:
    """Keys and counts of the rows that hold; ``keys`` says how many columns come before the counts."""
    holds = [split.holds for split in splits.values() if split.holds is not None]
    if holds:
        for row in map(tuple, tx.execute(found.where(or_(*holds))).all()):
            yield row[:keys], Counts(*map(int, row[keys:]))


def _live(splits: Splits) -> list[tuple[CountedEvent, Part]]:
    return [(source, part) for source, split in splits.items() for part in split.live]


def _splits(state: _State, part: Part) -> Splits:
    progress = state.progress
    if progress is None:
        return {source: _Split(None, (part,)) for source in CountedEvent}
    marked: dict[CountedEvent, set[str]] = {source: set() for source in CountedEvent}
    for mark in state.marks:
        marked[mark.source].add(mark.day)
    day = report_counts.c.day
    touches_hold = progress.day not in marked[CountedEvent.TOUCH]
    done = {
        CountedEvent.TOUCH: day <= progress.day if touches_hold else day < progress.day,
        CountedEvent.CONVERSION: day < progress.day,
    }
    since = {
        CountedEvent.TOUCH: progress.counted_until if touches_hold else None,
        CountedEvent.CONVERSION: None,
    }
    found: dict[CountedEvent, _Split] = {}
    for source in CountedEvent:
        again = frozenset(one for one in marked[source] if one < progress.day and part.span.holds(one))
        holds = and_(report_counts.c.source == source, done[source], day.not_in(sorted(again)))
        fresh = _from(replace(part, since_ts=since[source]), progress.day)
        live = [replace(part, days=again)] if again else []
        live += [fresh] if fresh.days is None or fresh.days else []
        found[source] = _Split(holds, tuple(live))
    return found


def _from(part: Part, day: str) -> Part:
    """The part of a part from a day on; a few days by name, so that the index leads to the moment in each."""
    span = Span(max(part.span.first or day, day), part.span.last)
    named = None if span.last is None else _names_of_days(str(span.first), span.last, _NAMED)
    return replace(part, span=span, days=named)


def _names_of_days(first: str, last: str, most: int) -> frozenset[str] | None:
    """All days from one to another; None if they are more than some."""
    count = (date.fromisoformat(last) - date.fromisoformat(first)).days + 1
    if count > most:
        return None
    return frozenset((date.fromisoformat(first) + timedelta(days=n)).isoformat() for n in range(count))


def _of(part: Part, grain: Grain, keys: list[Column[Any]]) -> Select[Any]:
    found = select(*keys, *(func.sum(report_counts.c[name]).label(name) for name in STORED)).group_by(*keys)
    found = found.where(
        report_counts.c.business_id == part.business_id,
        report_counts.c.ad_account_id == part.ad_account_id,
        report_counts.c.grain == grain,
    )
    if part.span.first is not None:
        found = found.where(report_counts.c.day >= part.span.first)
    return found if part.span.last is None else found.where(report_counts.c.day <= part.span.last)


def find_progress(tx: Tx, business_id: str, ad_account_id: str) -> CountingProgress | None:
    mine = select(report_progress).where(report_progress.c.business_id == business_id)
    return tx.find(CountingProgress, mine.where(report_progress.c.ad_account_id == ad_account_id))


def find_first_day(tx: Tx, business_id: str, ad_account_id: str) -> str | None:
    """The day of an account's first touch, wherever it is kept."""
    mine = select(func.min(touches.c.day)).where(touches.c.business_id == business_id)
    day: str | None = tx.scalar(mine.where(touches.c.ad_account_id == ad_account_id))
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


def save_progress(tx: Tx, progress: CountingProgress) -> None:
    row = row_of(progress)
    new = {"counted_until": progress.counted_until, "day": progress.day}
    insert = tx.upsert(report_progress).values(**row)
    tx.execute(insert.on_conflict_do_update(index_elements=["ad_account_id"], set_=new))


def save_day(tx: Tx, part: Part, day: str, source: CountedEvent, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace the counts of a source on a day of an account."""
    tx.execute(
        report_counts.delete().where(
            report_counts.c.business_id == part.business_id,
            report_counts.c.ad_account_id == part.ad_account_id,
            report_counts.c.day == day,
            report_counts.c.source == source,
        )
    )
    kept = {
        "business_id": part.business_id,
        "ad_account_id": part.ad_account_id,
        "day": day,
        "source": source,
    }
    whole = [kept | dict(row) for row in rows]
    if whole:
        tx.execute(report_counts.insert(), whole)
