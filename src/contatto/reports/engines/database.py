"""Facts straight from the hot log: aggregates over the tables of touches and conversions."""

from collections import defaultdict
from typing import Any

from sqlalchemy import Column, Select, Table, and_, case, func, literal, select

from contatto.kit.db.tx import Tx
from contatto.measurement.model import ConversionKind, TouchKind
from contatto.measurement.store import conversions, touches
from contatto.reports.model import Counts, Fact, Span


class DatabaseEngine:
    """Reads a report's facts from the database of the installation, within the caller's transaction."""

    def list_facts(
        self, tx: Tx, business_id: str, ad_account_id: str, span: Span, *, by_day: bool
    ) -> list[Fact]:
        """Counts by ad, and by day if wanted."""
        found: defaultdict[tuple[str, str], Counts] = defaultdict(Counts)
        mine = (business_id, ad_account_id)
        for ad_id, day, spend, views, clicks in _rows(tx, _touches(mine, span, by_day=by_day)):
            found[ad_id, day] += Counts(int(spend), int(views), int(clicks))
        for ad_id, day, chats, leads in _rows(tx, _conversions(mine, span, "day", by_day=by_day)):
            found[ad_id, day] += Counts(conversations=int(chats), leads=int(leads))
        for ad_id, day, chats, leads in _rows(tx, _conversions(mine, span, "rt_day", by_day=by_day)):
            found[ad_id, day] += Counts(rt_conversations=int(chats), rt_leads=int(leads))
        return [Fact(ad_id, day, counts) for (ad_id, day), counts in found.items()]


def _rows(tx: Tx, statement: Select[Any]) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in tx.execute(statement)]


def _touches(mine: tuple[str, str], span: Span, *, by_day: bool) -> Select[Any]:
    seen = func.sum(case((touches.c.kind == TouchKind.VIEW, 1), else_=0))
    tapped = func.sum(case((touches.c.kind == TouchKind.CLICK, 1), else_=0))
    spent = func.sum(touches.c.cost_micros)
    return _grouped(touches, touches.c.day, (spent, seen, tapped), (mine, span), by_day=by_day)


def _conversions(mine: tuple[str, str], span: Span, day: str, *, by_day: bool) -> Select[Any]:
    stands = conversions.c.withdrawn_at.is_(None)
    chats, leads = (
        func.sum(case((and_(conversions.c.kind == kind, stands), 1), else_=0))
        for kind in (ConversionKind.CONVERSATION, ConversionKind.LEAD)
    )
    return _grouped(conversions, conversions.c[day], (chats, leads), (mine, span), by_day=by_day)


def _grouped(
    table: Table,
    day: Column[Any],
    sums: tuple[Any, ...],
    limits: tuple[tuple[str, str], Span],
    *,
    by_day: bool,
) -> Select[Any]:
    (business_id, ad_account_id), span = limits
    shown = day if by_day else literal("").label("day")
    found = select(table.c.ad_id, shown, *sums).where(
        table.c.business_id == business_id, table.c.ad_account_id == ad_account_id
    )
    if span.first is not None:
        found = found.where(day >= span.first)
    if span.last is not None:
        found = found.where(day <= span.last)
    return found.group_by(table.c.ad_id, day) if by_day else found.group_by(table.c.ad_id)
