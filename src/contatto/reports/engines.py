"""Facts of reports: from precomputed counts, from events, and from sealed files.

Theory. To count a page's figures from all touches would take seconds. So the worker precomputes counts: days
of each ad and country, hours of each ad group and account. It counts events up to a moment of their own
time, since nearly all arrive in order. So only a few newer events remain, however long the log. A late or
changed event marks its day in the same transaction. ``load_counted`` takes the counts of unmarked days, and
reads the rest from the events. So the figures do not depend on the worker's progress.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from contatto.accounts import store as accounts
from contatto.accounts.model import BusinessId
from contatto.accounts.store import ad_accounts
from contatto.kit.db.tx import Choice, Tx, metadata, tenant, within
from contatto.leads.model import LeadStatus, Origin
from contatto.leads.store.tables import leads
from contatto.measurement.actions import NEVER_DROPPED, keep_views, list_cold_files
from contatto.measurement.engines.sealing import BrokenFile, Viewed, list_broken, list_view_sums, list_viewers
from contatto.measurement.model import ChangedDay, ConversionKind, CountedEvent, SealedFile, TouchKind
from contatto.measurement.store import (
    conversions,
    list_changed_days,
    list_dropped_days,
    list_measured_ads,
    measured_ads,
    touches,
)
from contatto.operators.store import list_placed_days_of_account
from contatto.reports.model import STORED, Counts, DayRange, Fact, Grain, Level, ReachQuery, TimeStep


@dataclass(frozen=True, slots=True)
class EventFilter(Viewed):
    """Filter of an account's events by day and moment; ``days`` replaces the span, minus ``except_days``."""

    span: DayRange = field(kw_only=True)
    days: frozenset[str] | None = None
    except_days: frozenset[str] = frozenset()


report_counts = sa.Table(
    "report_counts",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("ad_account_id", sa.String(36), primary_key=True),
    sa.Column("grain", Choice(Grain), primary_key=True),
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("source", Choice(CountedEvent), primary_key=True),
    sa.Column("hour", sa.String(2), primary_key=True),
    sa.Column("place_id", sa.String(36), primary_key=True),
    sa.Column("country", sa.String(2), primary_key=True),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in STORED),
    sqlite_with_rowid=False,
)
"""``place_id`` is the ad, the ad group or the account that the grain names."""

report_progress = sa.Table(
    "report_progress",
    metadata,
    sa.Column("ad_account_id", sa.String(36), primary_key=True),
    tenant(),
    sa.Column("counted_until", sa.BigInteger, nullable=False),
    sa.Column("day", sa.String(10), nullable=False),
)


@dataclass(frozen=True, slots=True)
class CountingProgress:
    """Moment (microseconds) and its day up to which an ad account is counted."""

    business_id: str
    ad_account_id: str
    counted_until: int
    day: str


def find_progress(tx: Tx, business_id: str, ad_account_id: str) -> CountingProgress | None:
    query = sa.select(report_progress).where(report_progress.c.business_id == business_id)
    return tx.find(CountingProgress, query.where(report_progress.c.ad_account_id == ad_account_id))


def find_first_day(tx: Tx, business_id: str, ad_account_id: str) -> str | None:
    """Return the day of an account's first touch, in the database or in files."""
    query = sa.select(sa.func.min(touches.c.day)).where(touches.c.business_id == business_id)
    stored_day: str | None = tx.scalar(query.where(touches.c.ad_account_id == ad_account_id))
    dropped_days = list_dropped_days(tx, business_id, ad_account_id)
    return min([day for day in (stored_day, *dropped_days[:1]) if day], default=None)


def list_accounts_behind(tx: Tx, before: int) -> list[tuple[str, str, str]]:
    """Return business, id and zone of ad accounts not counted up to a moment, the oldest first."""
    query = sa.select(ad_accounts.c.business_id, ad_accounts.c.id, ad_accounts.c.timezone)
    query = query.outerjoin(report_progress, report_progress.c.ad_account_id == ad_accounts.c.id)
    until = sa.func.coalesce(report_progress.c.counted_until, 0)
    return [
        (row.business_id, row.id, row.timezone)
        for row in tx.execute(query.where(until < before).order_by(until, ad_accounts.c.id))
    ]


def list_busy_accounts(tx: Tx, until: int, min_touches: int) -> list[tuple[str, str, str]]:
    """Return business, id and zone of ad accounts with this many uncounted touches before a moment."""
    progress = report_progress.c
    uncounted = (
        sa.select(sa.literal(1))
        .where(
            touches.c.business_id == progress.business_id,
            touches.c.ad_account_id == progress.ad_account_id,
            touches.c.day == progress.day,
            touches.c.ts >= progress.counted_until,
            touches.c.ts < until,
        )
        .limit(1)
        .offset(min_touches - 1)
    )
    query = sa.select(ad_accounts.c.business_id, ad_accounts.c.id, ad_accounts.c.timezone)
    query = query.join(report_progress, progress.ad_account_id == ad_accounts.c.id).where(
        sa.exists(uncounted)
    )
    return [(row.business_id, row.id, row.timezone) for row in tx.execute(query)]


_MOST_READS: Final = 3
_MOST_DAY_NAMES: Final = 10
"""Up to this many uncounted days are listed in the query; more are given as a range."""


@dataclass(frozen=True, slots=True)
class CountQuery:
    """Query of counts, all read at once.

    Attributes:
        grain: facts by ad, by ad and country, or by ad group and country.
        step: facts of each day, or of all days together.
        hours: the grain of counts by hour: of the account, or of some ad groups; None for no hours.
        groups: the ad group of each ad to include; None for all ads, without facts by ad group.
    """

    grain: Grain = Grain.AD_COUNTRY_DAY
    step: TimeStep = TimeStep.WHOLE
    hours: Grain | None = None
    groups: Mapping[str, str] | None = None


type CountedFacts = tuple[list[Fact], dict[str, Counts]]
"""Facts, possibly several per place, and counts by hour; facts by ad group have its id as ``ad_id``."""


def load_counted(
    tx: Tx, business_id: str, ad_account_id: str, span: DayRange, query: CountQuery
) -> CountedFacts:
    """Read counts by place and by hour; each event is read only once."""
    events = EventFilter(business_id, ad_account_id, span=span)
    # PostgreSQL shows each statement the latest commit, so the worker may count in between: then read again.
    for _ in range(_MOST_READS):
        progress, marks = _load_state(tx, events)
        valid, live_events = _split_sources(progress, marks, events)
        by_day, by_country = query.step is TimeStep.DAY, query.grain is not Grain.AD_DAY
        groups = query.groups or {}
        facts: list[Fact] = []
        keys: list[sa.Column[Any]] = [report_counts.c.place_id]
        keys += [report_counts.c.day] if by_day else []
        keys += [report_counts.c.country] if by_country else []
        for places, counts in _read_counts(tx, events, query.grain, keys, valid):
            day, country = places[1] if by_day else "", places[-1] if by_country else ""
            facts.append(Fact(places[0], day, counts, country))

        hours: dict[str, Counts] = {}
        if query.hours is not None:
            hour_keys = [report_counts.c.day, report_counts.c.hour]
            hour_places = set(groups.values()) if query.hours is Grain.GROUP_HOUR else None
            counted_hours = _read_counts(tx, events, query.hours, hour_keys, valid, hour_places)
            hours = {f"{day} {hour}": counts for (day, hour), counts in counted_hours}

        # Live events are read by hour if the query has hours, so that they are read once.
        step = query.step if query.hours is None else TimeStep.HOUR
        dimensions = DIMENSIONS if by_country else ("ad_id",)
        for source, live in live_events:
            for fact in list_raw_facts(tx, live, source, step, dimensions):
                if query.hours is Grain.ACCOUNT_HOUR or (query.hours and fact.ad_id in groups):
                    hours[fact.day] = hours.get(fact.day, Counts()) + fact.counts
                is_of_group = query.grain is Grain.GROUP_COUNTRY_DAY
                place = groups.get(fact.ad_id, "") if is_of_group else fact.ad_id
                facts.append(replace(fact, ad_id=place, day=fact.day[:10] if by_day else ""))
        if not tx.locks_rows:
            break
        later_progress, later_marks = _load_state(tx, events)
        if progress == later_progress and set(marks) <= set(later_marks):  # new marks are harmless
            break
    return facts, hours


def list_counted_facts(
    tx: Tx, business_id: str, ad_account_id: str, span: DayRange, step: TimeStep, *, by_country: bool = True
) -> list[Fact]:
    """Return counts by ad, optionally by day and by country."""
    grain = Grain.AD_COUNTRY_DAY if by_country else Grain.AD_DAY
    return load_counted(tx, business_id, ad_account_id, span, CountQuery(grain, step))[0]


def _load_state(tx: Tx, events: EventFilter) -> tuple[CountingProgress | None, list[ChangedDay]]:
    """Return the progress of the worker for an account, and the days marked since."""
    progress = find_progress(tx, events.business_id, events.ad_account_id)
    marks = list_changed_days(tx, events.business_id, events.ad_account_id)
    missing = {error.file.day for error in list_unreadable(tx, events, marks)}
    if missing:  # their views cannot be read, so the earlier counts stay valid until the file is back
        marks = [mark for mark in marks if mark.source is not CountedEvent.TOUCH or mark.day not in missing]
    return progress, marks


type LiveEvents = list[tuple[CountedEvent, EventFilter]]


def _split_sources(
    progress: CountingProgress | None, marks: Iterable[ChangedDay], events: EventFilter
) -> tuple[list[sa.ColumnElement[bool]], LiveEvents]:
    """Return the conditions of the valid counts, and the events to read instead of the others."""
    if progress is None:
        return [], [(source, events) for source in CountedEvent]
    valid: list[sa.ColumnElement[bool]] = []
    live: LiveEvents = []
    for source in CountedEvent:
        marked = {mark.day for mark in marks if mark.source is source and events.span.holds(mark.day)}
        valid.append(sa.and_(report_counts.c.source == source, report_counts.c.day.not_in(sorted(marked))))
        if marked:
            live.append((source, replace(events, days=frozenset(marked))))
        fresh = replace(events, since_ts=progress.counted_until, except_days=frozenset(marked))
        if source is CountedEvent.TOUCH:  # conversions count for the day of their touch, however old it is
            first, last = max(events.span.first or progress.day, progress.day), events.span.last
            days = None
            if last is not None:
                first_day = date.fromisoformat(first)
                count = (date.fromisoformat(last) - first_day).days + 1
                # a few days are listed by name, so that the index leads to the moment in each
                if count <= _MOST_DAY_NAMES:
                    days = frozenset((first_day + timedelta(days=n)).isoformat() for n in range(count))
            fresh = replace(fresh, span=DayRange(first, last), days=days)
        if fresh.days is None or fresh.days:
            live.append((source, fresh))
    return valid, live


def _read_counts(
    tx: Tx,
    events: EventFilter,
    grain: Grain,
    keys: list[sa.Column[Any]],
    valid: list[sa.ColumnElement[bool]],
    places: set[str] | None = None,
) -> Iterator[tuple[tuple[str, ...], Counts]]:
    """Yield the valid counts of a grain by some keys; ``places`` is None for all."""
    query = sa.select(*keys, *(sa.func.sum(report_counts.c[name]).label(name) for name in STORED)).group_by(
        *keys
    )
    query = query.where(
        report_counts.c.business_id == events.business_id,
        report_counts.c.ad_account_id == events.ad_account_id,
        report_counts.c.grain == grain,
    )
    if events.span.first is not None:
        query = query.where(report_counts.c.day >= events.span.first)
    if events.span.last is not None:
        query = query.where(report_counts.c.day <= events.span.last)
    if places is not None:
        query = query.where(report_counts.c.place_id.in_(places))
    if valid:
        for row in map(tuple, tx.execute(query.where(sa.or_(*valid))).all()):
            yield row[: len(keys)], Counts(*map(int, row[len(keys) :]))


QUARTER_US: Final = 900 * 1_000_000
"""Hours are computed from quarters, because time zones differ by quarters of an hour."""
DIMENSIONS: Final = ("ad_id", "country")
_NOT_WITHDRAWN: Final = conversions.c.withdrawn_at.is_(None)
_CHAT: Final = sa.and_(conversions.c.kind == ConversionKind.CONVERSATION, _NOT_WITHDRAWN)
_LEAD: Final = sa.and_(conversions.c.kind == ConversionKind.LEAD, _NOT_WITHDRAWN)
_BY_VIEW: Final = conversions.c.via == TouchKind.VIEW


def _count_if(*conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((sa.and_(*conditions), 1), else_=0))


_TOUCH_SUMS: Final = {
    "spend_micros": sa.func.sum(touches.c.cost_micros),
    "impressions": _count_if(touches.c.kind == TouchKind.VIEW),
    "clicks": _count_if(touches.c.kind == TouchKind.CLICK),
}
_CREDITED_SUMS: Final = {
    "conversations": _count_if(_CHAT),
    "leads": _count_if(_LEAD),
    "conversations_by_view": _count_if(_CHAT, _BY_VIEW),
    "leads_by_view": _count_if(_LEAD, _BY_VIEW),
    "form_leads": _count_if(_LEAD, leads.c.origin == Origin.FORM),
    "manual_leads": _count_if(_LEAD, leads.c.origin == Origin.MANUAL),
    "qualified": _count_if(_LEAD, leads.c.status.in_((LeadStatus.QUALIFIED, LeadStatus.CONVERTED))),
    "converted": _count_if(_LEAD, leads.c.status == LeadStatus.CONVERTED),
}
_OWN_DAY_SUMS: Final = {"rt_conversations": _count_if(_CHAT), "rt_leads": _count_if(_LEAD)}
type Sums = dict[str, sa.ColumnElement[Any]]


def list_live_facts(
    tx: Tx, business_id: str, ad_account_id: str, span: DayRange, step: TimeStep
) -> list[Fact]:
    """Return counts by ad and country, optionally by day or hour, from the events."""
    events = EventFilter(business_id, ad_account_id, span=span)
    return [fact for source in CountedEvent for fact in list_raw_facts(tx, events, source, step)]


def list_raw_facts(
    tx: Tx, events: EventFilter, source: CountedEvent, step: TimeStep, dimensions: Sequence[str] = DIMENSIONS
) -> list[Fact]:
    """Return facts of touches or conversions, possibly several per ad."""
    files = load_cold_files(tx, events) if source is CountedEvent.TOUCH else []
    time_name = _time_namer(tx, events, step)
    parts: list[tuple[sa.Column[Any], sa.Column[Any], Sums]] = [(touches.c.day, touches.c.ts, _TOUCH_SUMS)]
    if source is CountedEvent.CONVERSION:
        parts = [
            (conversions.c.day, conversions.c.touch_ts, _CREDITED_SUMS),
            (conversions.c.rt_day, conversions.c.ts, _OWN_DAY_SUMS),
        ]
    facts: list[Fact] = []
    for day, ts, sums in parts:
        columns, at = day.table.c, _time_column(day, ts, step)
        # Bare columns would lead SQLite along an index of ads, through the conversions of all days.
        keys = {name: sa.func.coalesce(columns[name], sa.literal_column("''")) for name in dimensions}
        places = [keys.get(name, sa.literal("")).label(name) for name in DIMENSIONS]
        query = sa.select(*places, at, *(value.label(name) for name, value in sums.items()))
        query = query.group_by(*keys.values(), *([] if step is TimeStep.WHOLE else [at]))
        query = query.where(columns.business_id == events.business_id)
        query = query.where(columns.ad_account_id == events.ad_account_id)
        key: sa.ColumnElement[Any] = day
        if source is CountedEvent.CONVERSION and events.since_ts is not None:
            # For recent events the index of days would lead through the whole span, so hide it.
            key = sa.func.coalesce(day, sa.literal_column("''"))
        query = query.where(*_in_time(key, columns.ts, events))
        if sums is _CREDITED_SUMS:
            is_lead = sa.and_(
                leads.c.id == conversions.c.subject_id, leads.c.business_id == events.business_id
            )
            query = query.select_from(conversions.outerjoin(leads, is_lead))
        facts += [
            Fact(ad_id, time_name(at), Counts(**dict(zip(sums, map(int, values), strict=True))), country)
            for ad_id, country, at, *values in map(tuple, tx.execute(query).all())
        ]
    if files:
        facts += [
            Fact(view.ad_id, time_name(view.at), Counts(view.cost_micros, view.views), view.country)
            for view in list_view_sums(files, events, _FILE_TIMES[step], dimensions)
        ]
    return facts


def _time_namer(tx: Tx, events: EventFilter, step: TimeStep) -> Callable[[Any], str]:
    """Return a function from a day, or a quarter of an hour, to its text in the report."""
    if step is not TimeStep.HOUR:
        return str
    account = accounts.find_ad_account(tx, BusinessId(events.business_id), id=events.ad_account_id)
    zone, start = ZoneInfo(account.timezone if account else "UTC"), datetime(1970, 1, 1, tzinfo=UTC)
    return cache(
        lambda quarter: f"{(start + timedelta(minutes=15 * int(quarter))).astimezone(zone):%Y-%m-%d %H}"
    )


def _time_column(day: sa.Column[Any], ts: sa.Column[Any], step: TimeStep) -> Any:
    if step is TimeStep.WHOLE:
        return sa.literal("").label("at")
    return day.label("at") if step is TimeStep.DAY else (ts // QUARTER_US).label("at")


def _in_time(
    day: sa.ColumnElement[Any], ts: sa.Column[Any], events: EventFilter
) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if events.days is not None:  # with a range besides, SQLite would read all of a day
        conditions += [day.in_(sorted(events.days - events.except_days))]
    else:
        conditions += [] if events.span.first is None else [day >= events.span.first]
        conditions += [] if events.span.last is None else [day <= events.span.last]
        conditions += [day.not_in(sorted(events.except_days))] if events.except_days else []
    conditions += [] if events.since_ts is None else [ts >= events.since_ts]
    conditions += [] if events.until_ts is None else [ts < events.until_ts]
    return conditions


_PERSONS: Final = sa.func.count(sa.func.distinct(touches.c.person_id))
_SUBJECTS: Final[dict[Level, sa.Column[Any]]] = {
    Level.AD_ACCOUNT: touches.c.ad_account_id,
    Level.PAGE: measured_ads.c.page_id,
    Level.GOAL: measured_ads.c.goal,
    Level.CAMPAIGN: measured_ads.c.campaign_id,
    Level.AD_GROUP: touches.c.ad_group_id,
    Level.AD: touches.c.ad_id,
}
"""The key column of each level."""


def list_reach(
    tx: Tx, business_id: str, ad_account_id: str, span: DayRange, query: ReachQuery
) -> tuple[dict[tuple[str, str, str], int], int]:
    """Count the persons who saw the ads of each row (subject, day or hour, country), and of all rows."""
    events = EventFilter(business_id, ad_account_id, span=span)
    files = load_cold_files(tx, events)
    subject = _SUBJECTS[query.level]
    day = _time_column(touches.c.day, touches.c.ts, query.step)
    country = touches.c.country if query.by_country else sa.literal("")
    views = sa.select(touches.c.person_id).where(
        touches.c.business_id == events.business_id,
        touches.c.kind == TouchKind.VIEW,
        touches.c.ad_account_id == events.ad_account_id,
        *_in_time(touches.c.day, touches.c.ts, events),
    )
    if query.ad_ids is not None:
        views = views.where(within(touches.c.ad_id, "ads"))
    values = {} if query.ad_ids is None else {"ads": sorted(query.ad_ids)}
    rows = views.with_only_columns(subject, day, country, maintain_column_froms=True)
    if subject.table is measured_ads:
        rows = rows.join(measured_ads, measured_ads.c.ad_id == touches.c.ad_id)
    if not files and query.step is not TimeStep.HOUR:
        keys = [subject, *([] if query.step is TimeStep.WHOLE else [day])]
        keys += [country] if query.by_country else []
        counts = tx.execute(rows.add_columns(_PERSONS).group_by(*keys), values)
        total = tx.execute(views.with_only_columns(_PERSONS), values).scalar_one()
        return {(key, at, place): int(count) for key, at, place, count in map(tuple, counts)}, total
    time_name = _time_namer(tx, events, query.step)
    persons: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
    viewers = tx.execute(rows.add_columns(touches.c.person_id).distinct(), values)
    for key, at, place, person_id in map(tuple, viewers):
        persons[key, time_name(at), place].add(person_id)
    if files:
        ads = list_measured_ads(tx, business_id)
        for ad_id, at, place, person_id in list_viewers(files, events, _FILE_TIMES[query.step]):
            ad = ads.get(ad_id)
            if ad is not None and (query.ad_ids is None or ad_id in query.ad_ids):
                key, place = getattr(ad, subject.name), place if query.by_country else ""
                persons[key, time_name(at), place].add(person_id)
    total = len(set[str]().union(*persons.values()))
    return {row: len(person_ids) for row, person_ids in persons.items()}, total


_FILE_TIMES: Final[Mapping[TimeStep, str]] = {
    TimeStep.WHOLE: "''",
    TimeStep.DAY: "day::VARCHAR",
    TimeStep.HOUR: f"ts // {QUARTER_US}",
}
"""The SQL expression of the time in sealed files."""


def load_cold_files(tx: Tx, events: EventFilter, *, keeps_views: bool = True) -> list[SealedFile]:
    """Return the sealed files of dropped views, and keep other views; recent events need neither."""
    first, last = events.span.first, events.span.last
    if events.days is not None:
        first, last = min(events.days, default=None), max(events.days, default=None)
    if first is not None and first > (tx.now - NEVER_DROPPED).date().isoformat():
        return []
    if keeps_views:
        keep_views(tx)
    files = list_cold_files(tx, events.business_id, (first, last), events.ad_account_id)
    return [
        file
        for file in files
        if file.day not in events.except_days and (events.days is None or file.day in events.days)
    ]


def list_unreadable(tx: Tx, events: EventFilter, marks: Iterable[ChangedDay]) -> list[BrokenFile]:
    """Return the damaged files that block the counting of marked days."""
    days = frozenset(
        mark.day for mark in marks if mark.source is CountedEvent.TOUCH and events.span.holds(mark.day)
    )
    files = load_cold_files(tx, replace(events, days=days), keeps_views=False) if days else []
    return list_broken(files)


def list_placed_facts(tx: Tx, business_id: str, ad_account_id: str, span: DayRange) -> list[Fact]:
    """Return counts by ad group, day and placement of the marketplaces."""
    first, last = span.first or "", span.last or "9999-99-99"
    return [
        Fact(
            row.ad_group_id,
            row.day,
            Counts(row.charged_micros, row.views, row.clicks, row.conversations, row.leads),
            placement=row.placement_id,
        )
        for row in list_placed_days_of_account(tx, business_id, ad_account_id, first, last)
    ]
