"""Facts straight from the log: the tables of touches and conversions, and the views that only files hold."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Column, ColumnElement, Select, and_, case, func, literal, literal_column, select

from contatto.accounts import store as accounts
from contatto.accounts.model import BusinessId
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import within
from contatto.leads.model import LeadStatus, Origin
from contatto.leads.store.records import leads
from contatto.measurement.engines.sealing import list_view_sums, list_viewers
from contatto.measurement.model import ConversionKind, CountedEvent, SealedFile, TouchKind
from contatto.measurement.store import conversions, list_measured_ads, measured_ads, touches
from contatto.reports.engines.cold import AT, QUARTER_US, Part, load_with_cold, viewed
from contatto.reports.model import Counts, Fact, Level, Reach, ReachBy, Span, TimeStep


class DatabaseEngine:
    """Reads a report's facts from the database of the installation, within the caller's transaction."""

    def list_facts(
        self, tx: Tx, business_id: str, ad_account_id: str, span: Span, step: TimeStep
    ) -> list[Fact]:
        """Counts by ad and country, and by day or hour if wanted."""
        part = Part(business_id, ad_account_id, span)
        return [fact for source in CountedEvent for fact in list_raw_facts(tx, part, source, step)]

    def list_reach(self, tx: Tx, business_id: str, ad_account_id: str, span: Span, by: ReachBy) -> Reach:
        """Count the persons who saw the ads of each row of a report, and of all rows together."""
        part = Part(business_id, ad_account_id, span)
        return load_with_cold(tx, part, lambda files: _reach(tx, part, by, files))


ALL: Final = ("ad_id", "country")
"""The places that facts are told apart by."""


def _reach(tx: Tx, part: Part, by: ReachBy, files: Sequence[SealedFile]) -> Reach:
    subject = _SUBJECTS[by.level]
    day = _when(touches.c.day, touches.c.ts, by.step)
    country = touches.c.country if by.by_country else literal("")
    query = select(touches.c.person_id).where(
        touches.c.business_id == part.business_id,
        touches.c.kind == TouchKind.VIEW,
        touches.c.ad_account_id == part.ad_account_id,
        *_within(touches.c.day, part),
    )
    if by.ad_ids is not None:
        query = query.where(within(touches.c.ad_id, "ads"))
    values = {} if by.ad_ids is None else {"ads": sorted(by.ad_ids)}
    rows = query.with_only_columns(subject, day, country, maintain_column_froms=True)
    if subject.table is measured_ads:
        rows = rows.join(measured_ads, measured_ads.c.ad_id == touches.c.ad_id)
    if not files and by.step is not TimeStep.HOUR:
        keys = [subject, *([] if by.step is TimeStep.WHOLE else [day]), *([country] if by.by_country else [])]
        counted = tx.execute(rows.add_columns(_PERSONS).group_by(*keys), values)
        total = tx.execute(query.with_only_columns(_PERSONS), values).scalar_one()
        return Reach({(key, at, where): int(count) for key, at, where, count in map(tuple, counted)}, total)
    name = _namer(tx, (part.business_id, part.ad_account_id), by.step)
    persons: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
    kept = map(tuple, tx.execute(rows.add_columns(touches.c.person_id).distinct(), values))
    for key, at, where, person_id in [*kept, *_cold_viewers(tx, part, by, files)]:
        persons[key, name(at), where].add(person_id)
    everybody = set[str]().union(*persons.values())
    return Reach({place: len(who) for place, who in persons.items()}, len(everybody))


_PERSONS: Final = func.count(func.distinct(touches.c.person_id))
_SUBJECTS: Final[dict[Level, Column[Any]]] = {
    Level.AD_ACCOUNT: touches.c.ad_account_id,
    Level.PAGE: measured_ads.c.page_id,
    Level.GOAL: measured_ads.c.goal,
    Level.CAMPAIGN: measured_ads.c.campaign_id,
    Level.AD_GROUP: touches.c.ad_group_id,
    Level.AD: touches.c.ad_id,
}
"""What the rows of each level are told apart by."""


def _cold_viewers(
    tx: Tx, part: Part, by: ReachBy, files: Sequence[SealedFile]
) -> Iterator[tuple[str, Any, str, str]]:
    """Yield the viewers that only these files hold, with their subject, time and country."""
    if not files:
        return
    subject = _SUBJECTS[by.level].name
    ads = list_measured_ads(tx, part.business_id)
    for ad_id, at, country, person_id in list_viewers(files, viewed(part), AT[by.step]):
        ad = ads.get(ad_id)
        if ad is not None and (by.ad_ids is None or ad_id in by.ad_ids):
            yield getattr(ad, subject), at, country if by.by_country else "", person_id


def list_raw_facts(
    tx: Tx, part: Part, source: CountedEvent, step: TimeStep, places: Sequence[str] = ALL
) -> list[Fact]:
    """Facts of the touches, or of the conversions, of a part of an account; one ad may have several."""
    name = _namer(tx, (part.business_id, part.ad_account_id), step)
    if source is CountedEvent.TOUCH:
        return load_with_cold(tx, part, lambda files: _seen(tx, part, (step, places), name, files))
    earned = _conversions(part, step, places, _EARNED)
    own = _conversions(part, step, places, _OWN)
    return _facts(tx, earned, name) + _facts(tx, own, name)


type _Namer = Callable[[Any], str]


def _seen(
    tx: Tx, part: Part, by: tuple[TimeStep, Sequence[str]], name: _Namer, files: Sequence[SealedFile]
) -> list[Fact]:
    """Facts of the touches that the database has, and of the views that only these files have."""
    step, places = by
    kept = _facts(tx, _touches(part, step, places), name)
    cold = list_view_sums(files, viewed(part), AT[step], places)
    return kept + [
        Fact(one.ad_id, name(one.at), Counts(one.cost_micros, one.views), one.country) for one in cold
    ]


def _facts(tx: Tx, statement: Select[Any], name: Callable[[Any], str]) -> list[Fact]:
    """Rows of an ad, a country, a time and sums that are called as the counts are."""
    rows = tx.execute(statement)
    names = list(rows.keys())[3:]
    return [
        Fact(ad_id, name(at), Counts(**dict(zip(names, map(int, sums), strict=True))), country)
        for ad_id, country, at, *sums in map(tuple, rows.all())
    ]


def _namer(tx: Tx, mine: tuple[str, str], step: TimeStep) -> Callable[[Any], str]:
    """Return how a day or a quarter of an hour is called in the report."""
    if step is not TimeStep.HOUR:
        return str
    account = accounts.find_ad_account(tx, BusinessId(mine[0]), mine[1])
    zone = ZoneInfo(account.timezone if account else "UTC")

    @cache
    def hour(quarter: int) -> str:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=15 * int(quarter))
        return moment.astimezone(zone).strftime("%Y-%m-%d %H")

    return hour


def _sum(*conditions: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((and_(*conditions), 1), else_=0))


_STANDS: Final = conversions.c.withdrawn_at.is_(None)
_CHAT: Final = and_(conversions.c.kind == ConversionKind.CONVERSATION, _STANDS)
_LEAD: Final = and_(conversions.c.kind == ConversionKind.LEAD, _STANDS)
_BY_VIEW: Final = conversions.c.via == TouchKind.VIEW
_SEEN: Final = {
    "spend_micros": func.sum(touches.c.cost_micros),
    "impressions": _sum(touches.c.kind == TouchKind.VIEW),
    "clicks": _sum(touches.c.kind == TouchKind.CLICK),
}
_EARNED: Final = {
    "conversations": _sum(_CHAT),
    "leads": _sum(_LEAD),
    "conversations_by_view": _sum(_CHAT, _BY_VIEW),
    "leads_by_view": _sum(_LEAD, _BY_VIEW),
    "form_leads": _sum(_LEAD, leads.c.origin == Origin.FORM),
    "manual_leads": _sum(_LEAD, leads.c.origin == Origin.MANUAL),
    "qualified": _sum(_LEAD, leads.c.status.in_((LeadStatus.QUALIFIED, LeadStatus.CONVERTED))),
    "converted": _sum(_LEAD, leads.c.status == LeadStatus.CONVERTED),
}
_OWN: Final = {"rt_conversations": _sum(_CHAT), "rt_leads": _sum(_LEAD)}
_TOUCH_DAY: Final = (conversions.c.day, conversions.c.touch_ts)
_OWN_DAY: Final = (conversions.c.rt_day, conversions.c.ts)
type Days = tuple[Column[Any], Column[Any]]
type Sums = dict[str, ColumnElement[Any]]


def _touches(part: Part, step: TimeStep, places: Sequence[str]) -> Select[Any]:
    days = (touches.c.day, touches.c.ts)
    found = _grouped(places, days, _SEEN, step)
    found = found.where(touches.c.business_id == part.business_id)
    found = found.where(touches.c.ad_account_id == part.ad_account_id, *_within(touches.c.day, part))
    return found.where(*_between(touches.c.ts, part))


def _conversions(part: Part, step: TimeStep, places: Sequence[str], sums: Sums) -> Select[Any]:
    """Conversions by one of their two days, with what became of their leads."""
    days = _OWN_DAY if sums is _OWN else _TOUCH_DAY
    found = _grouped(places, days, sums, step)
    found = found.where(conversions.c.business_id == part.business_id)
    found = found.where(conversions.c.ad_account_id == part.ad_account_id)
    # Of what happened lately the index of days must not be taken: it would lead through all of the span.
    day = days[0] if part.since_ts is None else func.coalesce(days[0], literal_column("''"))
    found = found.where(*_within(day, part), *_between(conversions.c.ts, part))
    if sums is _OWN:
        return found
    of_lead = and_(leads.c.id == conversions.c.subject_id, leads.c.business_id == part.business_id)
    return found.select_from(conversions.outerjoin(leads, of_lead))


def _when(day: Column[Any], ts: Column[Any], step: TimeStep) -> Any:
    if step is TimeStep.WHOLE:
        return literal("").label("at")
    return day.label("at") if step is TimeStep.DAY else (ts // QUARTER_US).label("at")


def _grouped(places: Sequence[str], days: Days, sums: Sums, step: TimeStep) -> Select[Any]:
    table = days[0].table
    when = _when(*days, step)
    # As bare columns they would lead SQLite along an index of ads, through the conversions of all days.
    keys = {name: func.coalesce(table.c[name], literal_column("''")) for name in places}
    where = [keys.get(name, literal("")).label(name) for name in ALL]
    query = select(*where, when, *(value.label(name) for name, value in sums.items()))
    return query.group_by(*keys.values(), *([] if step is TimeStep.WHOLE else [when]))


def _within(day: ColumnElement[Any], part: Part) -> list[ColumnElement[bool]]:
    if part.days is not None:  # beside the names a span would lead SQLite through all of a day
        return [day.in_(sorted(part.days - part.but_days))]
    limits = [(part.span.first, day.__ge__), (part.span.last, day.__le__)]
    found = [compare(edge) for edge, compare in limits if edge is not None]
    return [*found, day.not_in(sorted(part.but_days))] if part.but_days else found


def _between(ts: Column[Any], part: Part) -> list[ColumnElement[bool]]:
    since = [] if part.since_ts is None else [ts >= part.since_ts]
    return since if part.until_ts is None else [*since, ts < part.until_ts]
