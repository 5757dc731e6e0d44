"""Facts of a span, from the counts made ahead and from the events that these do not hold yet."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Select, and_, func, or_, select

from contatto.kit.db.tx import Tx
from contatto.measurement.engines.sealing import BrokenFile
from contatto.measurement.model import ChangedDay, CountedEvent
from contatto.measurement.store import list_changed_days
from contatto.reports.engines.cold import Part, list_unreadable
from contatto.reports.engines.counts import CountingProgress, find_progress, report_counts
from contatto.reports.engines.database import ALL, list_raw_facts
from contatto.reports.model import STORED, Counts, Fact, Grain, Span, TimeStep

_TRIES: Final = 3
_NAMED: Final = 10
"""So many days that are not counted yet are named, and not told by the first and the last."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is read of a span at once.

    Attributes:
        grain: of which places there are facts: ads, ads by country, or ad groups by country.
        step: whether there are facts of each day, or of all days together.
        hours: whether hours are wanted too: of the account, or of some ads.
        groups: the ad groups of the ads that count, by the ads; None for all ads, where no ad group is asked.
    """

    grain: Grain = Grain.AD_COUNTRY_DAY
    step: TimeStep = TimeStep.WHOLE
    hours: Grain | None = None
    groups: Mapping[str, str] | None = None

    @property
    def by_country(self) -> bool:
        return self.grain is not Grain.AD_DAY


@dataclass(frozen=True, slots=True)
class Found:
    """Facts, one place may have several, and counts by hours: ``YYYY-MM-DD HH``.

    Of ad groups the facts carry the id of the ad group where they else carry that of the ad.
    """

    facts: list[Fact]
    hours: dict[str, Counts]


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


def load_counted(tx: Tx, business_id: str, ad_account_id: str, span: Span, wanted: Wanted) -> Found:
    """Counts by place, for the whole span or by day, and by hours if wanted; events are read only once."""
    part = Part(business_id, ad_account_id, span)

    def read(splits: Splits) -> Found:
        found = Found(list(_counted_facts(tx, part, wanted, splits)), {})
        if wanted.hours is not None:
            found.hours.update(_counted_hours(tx, part, wanted, splits))
        for fact in _live_facts(tx, wanted, splits):
            _add(found, fact, wanted)
        return found

    return _steady(tx, part, read)


def list_counted_facts(
    tx: Tx, business_id: str, ad_account_id: str, span: Span, step: TimeStep, *, by_country: bool = True
) -> list[Fact]:
    """Counts by ad, for the whole span or by day, and by country if wanted."""
    grain = Grain.AD_COUNTRY_DAY if by_country else Grain.AD_DAY
    return load_counted(tx, business_id, ad_account_id, span, Wanted(grain, step)).facts


def find_unreadable(tx: Tx, business_id: str, ad_account_id: str, span: Span) -> BrokenFile | None:
    """What keeps a day from being counted anew: a file of its views that is gone or damaged."""
    part = Part(business_id, ad_account_id, span)
    return next(iter(list_unreadable(tx, part, list_changed_days(tx, business_id, ad_account_id))), None)


def _counted_facts(tx: Tx, part: Part, wanted: Wanted, splits: Splits) -> Iterator[Fact]:
    by_day, by_country = wanted.step is TimeStep.DAY, wanted.by_country
    keys: list[Column[Any]] = [report_counts.c.place_id]
    keys += [report_counts.c.day] if by_day else []
    keys += [report_counts.c.country] if by_country else []
    for places, counts in _read(tx, _of(part, wanted.grain, keys), splits, len(keys)):
        day, country = places[1] if by_day else "", places[-1] if by_country else ""
        yield Fact(places[0], day, counts, country)


def _counted_hours(tx: Tx, part: Part, wanted: Wanted, splits: Splits) -> Iterator[tuple[str, Counts]]:
    hours = _of(part, wanted.hours, [report_counts.c.day, report_counts.c.hour])
    if wanted.hours is Grain.GROUP_HOUR:
        hours = hours.where(report_counts.c.place_id.in_(set((wanted.groups or {}).values())))
    for (day, hour), counts in _read(tx, hours, splits, 2):
        yield f"{day} {hour}", counts


def _live_facts(tx: Tx, wanted: Wanted, splits: Splits) -> Iterator[Fact]:
    """Facts of what is not counted; by hours if these are wanted too, so that they are read once."""
    step = wanted.step if wanted.hours is None else TimeStep.HOUR
    places = ALL if wanted.by_country else ("ad_id",)
    for source, split in splits.items():
        for part in split.live:
            yield from list_raw_facts(tx, part, source, step, places)


def _add(found: Found, fact: Fact, wanted: Wanted) -> None:
    groups = wanted.groups
    if wanted.hours is Grain.ACCOUNT_HOUR or (wanted.hours and groups is not None and fact.ad_id in groups):
        found.hours[fact.day] = found.hours.get(fact.day, Counts()) + fact.counts
    place = fact.ad_id
    if wanted.grain is Grain.GROUP_COUNTRY_DAY:
        place = (groups or {}).get(place, "")
    day = fact.day[:10] if wanted.step is TimeStep.DAY else ""
    found.facts.append(replace(fact, ad_id=place, day=day))


def _steady[T](tx: Tx, part: Part, read: Callable[[Splits], T]) -> T:
    """Read again if the worker counted meanwhile: PostgreSQL shows each statement what was just committed."""
    for _ in range(_TRIES):
        state = _load_state(tx, part)
        found = read(_splits(state, part))
        if not tx.locks_rows or state.is_part_of(_load_state(tx, part)):
            break
    return found


def _load_state(tx: Tx, part: Part) -> _State:
    whose = (part.business_id, part.ad_account_id)
    progress, marks = find_progress(tx, *whose), list_changed_days(tx, *whose)
    missing = {error.file.day for error in list_unreadable(tx, part, marks)}
    if missing:  # what was counted before stands, until the file is back
        marks = [mark for mark in marks if mark.source is not CountedEvent.TOUCH or mark.day not in missing]
    return _State(progress, tuple(marks))


def _read(tx: Tx, found: Select[Any], splits: Splits, keys: int) -> Iterator[tuple[tuple[str, ...], Counts]]:
    """Keys and counts of the rows that hold; ``keys`` says how many columns come before the counts."""
    holds = [split.holds for split in splits.values() if split.holds is not None]
    if holds:
        for row in map(tuple, tx.execute(found.where(or_(*holds))).all()):
            yield row[:keys], Counts(*map(int, row[keys:]))


def _splits(state: _State, part: Part) -> Splits:
    progress = state.progress
    if progress is None:
        return {source: _Split(None, (part,)) for source in CountedEvent}
    splits: dict[CountedEvent, _Split] = {}
    for source in CountedEvent:
        marked = {mark.day for mark in state.marks if mark.source is source and part.span.holds(mark.day)}
        holds = and_(report_counts.c.source == source, report_counts.c.day.not_in(sorted(marked)))
        live = [replace(part, days=frozenset(marked))] if marked else []
        fresh = replace(part, since_ts=progress.counted_until, but_days=frozenset(marked))
        if source is CountedEvent.TOUCH:  # what touches earn counts for their day, whenever that was
            fresh = _from(fresh, progress.day)
        live += [fresh] if fresh.days is None or fresh.days else []
        splits[source] = _Split(holds, tuple(live))
    return splits


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


def _of(part: Part, grain: Grain | None, keys: list[Column[Any]]) -> Select[Any]:
    query = select(*keys, *(func.sum(report_counts.c[name]).label(name) for name in STORED)).group_by(*keys)
    query = query.where(
        report_counts.c.business_id == part.business_id,
        report_counts.c.ad_account_id == part.ad_account_id,
        report_counts.c.grain == grain,
    )
    if part.span.first is not None:
        query = query.where(report_counts.c.day >= part.span.first)
    return query if part.span.last is None else query.where(report_counts.c.day <= part.span.last)
