"""Facts straight from the hot log: aggregates over the tables of touches and conversions."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Column, Select, Table, and_, case, func, literal, select

from contatto.accounts import store as accounts
from contatto.accounts.model import BusinessId
from contatto.kit.db.tx import Tx
from contatto.measurement.model import ConversionKind, TouchKind
from contatto.measurement.store import conversions, measured_ads, touches
from contatto.reports.model import Counts, Fact, Level, Span, Step

_QUARTER_US: Final = 900 * 1_000_000
"""Hours are told by quarters: that is how far the zones of the world differ."""


class DatabaseEngine:
    """Reads a report's facts from the database of the installation, within the caller's transaction."""

    def list_facts(self, tx: Tx, business_id: str, ad_account_id: str, span: Span, step: Step) -> list[Fact]:
        """Counts by ad, and by day or hour if wanted."""
        found: defaultdict[tuple[str, str], Counts] = defaultdict(Counts)
        mine = (business_id, ad_account_id)
        name = _namer(tx, mine, step)
        for ad_id, when, spend, views, clicks in _rows(tx, _touches(mine, span, step)):
            found[ad_id, name(when)] += Counts(int(spend), int(views), int(clicks))
        for ad_id, when, chats, leads in _rows(tx, _conversions(mine, span, ("day", "touch_ts"), step)):
            found[ad_id, name(when)] += Counts(conversations=int(chats), leads=int(leads))
        for ad_id, when, chats, leads in _rows(tx, _conversions(mine, span, ("rt_day", "ts"), step)):
            found[ad_id, name(when)] += Counts(rt_conversations=int(chats), rt_leads=int(leads))
        return [Fact(ad_id, day, counts) for (ad_id, day), counts in found.items()]

    def list_reach(
        self, tx: Tx, business_id: str, ad_account_id: str, span: Span, by: tuple[Level, Step]
    ) -> dict[tuple[str, str], int]:
        """How many persons saw the ads of each subject of a level, by its id and its day or hour."""
        level, step = by
        subject = {
            Level.AD_ACCOUNT: touches.c.ad_account_id,
            Level.CAMPAIGN: measured_ads.c.campaign_id,
            Level.AD_GROUP: touches.c.ad_group_id,
            Level.AD: touches.c.ad_id,
        }[level]
        when = _when(touches.c.day, touches.c.ts, step)
        seen: Select[Any] = select(subject, when, touches.c.person_id).distinct()
        if level is Level.CAMPAIGN:
            seen = seen.join(measured_ads, measured_ads.c.ad_id == touches.c.ad_id)
        seen = _limited(seen, touches, touches.c.day, ((business_id, ad_account_id), span))
        name = _namer(tx, (business_id, ad_account_id), step)
        persons: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for key, moment, person_id in _rows(tx, seen.where(touches.c.kind == TouchKind.VIEW)):
            persons[key, name(moment)].add(person_id)
        return {place: len(who) for place, who in persons.items()}


def _namer(tx: Tx, mine: tuple[str, str], step: Step) -> Any:
    """How a day or a quarter of an hour is called in the report."""
    if step is not Step.HOUR:
        return str
    account = accounts.find_ad_account(tx, BusinessId(mine[0]), mine[1])
    zone = ZoneInfo(account.timezone if account else "UTC")

    def hour(quarter: int) -> str:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=15 * int(quarter))
        return moment.astimezone(zone).strftime("%Y-%m-%d %H")

    return hour


def _rows(tx: Tx, statement: Select[Any]) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in tx.execute(statement)]


def _touches(mine: tuple[str, str], span: Span, step: Step) -> Select[Any]:
    seen = func.sum(case((touches.c.kind == TouchKind.VIEW, 1), else_=0))
    tapped = func.sum(case((touches.c.kind == TouchKind.CLICK, 1), else_=0))
    spent = func.sum(touches.c.cost_micros)
    days = (touches.c.day, touches.c.ts)
    return _grouped(touches, days, (spent, seen, tapped), (mine, span), step)


def _conversions(mine: tuple[str, str], span: Span, days: tuple[str, str], step: Step) -> Select[Any]:
    stands = conversions.c.withdrawn_at.is_(None)
    chats, leads = (
        func.sum(case((and_(conversions.c.kind == kind, stands), 1), else_=0))
        for kind in (ConversionKind.CONVERSATION, ConversionKind.LEAD)
    )
    columns = (conversions.c[days[0]], conversions.c[days[1]])
    return _grouped(conversions, columns, (chats, leads), (mine, span), step)


def _when(day: Column[Any], ts: Column[Any], step: Step) -> Any:
    if step is Step.WHOLE:
        return literal("").label("day")
    return day if step is Step.DAY else (ts // _QUARTER_US).label("quarter")


def _grouped(
    table: Table,
    days: tuple[Column[Any], Column[Any]],
    sums: tuple[Any, ...],
    limits: tuple[tuple[str, str], Span],
    step: Step,
) -> Select[Any]:
    when = _when(*days, step)
    found = _limited(select(table.c.ad_id, when, *sums), table, days[0], limits)
    return found.group_by(table.c.ad_id) if step is Step.WHOLE else found.group_by(table.c.ad_id, when)


def _limited(
    found: Select[Any], table: Table, day: Column[Any], limits: tuple[tuple[str, str], Span]
) -> Select[Any]:
    (business_id, ad_account_id), span = limits
    found = found.where(table.c.business_id == business_id, table.c.ad_account_id == ad_account_id)
    if span.first is not None:
        found = found.where(day >= span.first)
    if span.last is not None:
        found = found.where(day <= span.last)
    return found
