"""Saved reports and report files, and conversions, taps and replies behind figures."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import batched
from typing import Annotated, Any, Final

import sqlalchemy as sa

from contatto.channels.model import Platform
from contatto.channels.store import channel_accounts
from contatto.inbox.store.conversations import conversations, messages
from contatto.inbox.store.messages import ad_referrals, is_answer_of_person
from contatto.kit.db.tx import Tx, instant, key, metadata, tenant, text
from contatto.kit.values import SealedIn, micros
from contatto.leads.store.tables import leads
from contatto.measurement.model import Attribution
from contatto.measurement.rules import MICROSECONDS, natural_number
from contatto.measurement.store import IS_CLICK, WEEK_US, conversions, latest_view, touches, viewer_links
from contatto.reports.model import DayRange, SavedReport
from contatto.reports.rules.figures import FirstReply, RivalTouches, WhatIfWindows
from contatto.reports.rules.queries import DrillDown


@dataclass(frozen=True, slots=True)
class ConversionFilter:
    """Filter of the conversions of an ad account; ``country`` None means any."""

    ad_account_id: str
    span: DayRange
    ad_ids: frozenset[str]
    drill_down: DrillDown
    country: str | None = None


def list_conversions(
    tx: Tx, business_id: str, conversion_filter: ConversionFilter, limit: int, skip: int = 0
) -> tuple[list[Attribution], int]:
    """Return a page of conversions, the latest first, and the number of all."""
    drill_down = conversion_filter.drill_down
    day = conversions.c.rt_day if drill_down.own_day else conversions.c.day
    query = sa.select(conversions).where(
        conversions.c.business_id == business_id,
        conversions.c.ad_account_id == conversion_filter.ad_account_id,
        conversions.c.withdrawn_at.is_(None),
        day >= conversion_filter.span.first,
        day <= conversion_filter.span.last,
        conversions.c.ad_id.in_(conversion_filter.ad_ids),
    )
    equal_values = {
        conversions.c.kind: drill_down.kind,
        conversions.c.via: drill_down.via,
        conversions.c.country: conversion_filter.country,
    }
    query = query.where(*(column == value for column, value in equal_values.items() if value is not None))
    lead_values = {leads.c.origin: drill_down.origins, leads.c.status: drill_down.statuses}
    if any(lead_values.values()):
        is_lead = (leads.c.id == conversions.c.subject_id) & (leads.c.business_id == business_id)
        query = query.join(leads, is_lead)
    query = query.where(*(column.in_(values) for column, values in lead_values.items() if values))
    count = tx.scalar(query.with_only_columns(sa.func.count(), maintain_column_froms=True))
    query = query.order_by(conversions.c.ts.desc(), conversions.c.conversion_id)
    return tx.list(Attribution, query.limit(limit).offset(skip)), int(count)


DAY_US: Final = 86_400 * MICROSECONDS


def list_rival_touches(
    tx: Tx, business_id: str, ad_account_id: str, between: tuple[int, int], windows: WhatIfWindows
) -> Iterator[RivalTouches]:
    """Yield conversions of an account, and those without an ad, in a span of microseconds, latest first.

    Each has its latest click and its latest view within the windows, by two lookups in an index for each
    kind. Views are looked up twice: those of the person, and those of the viewers linked to the person.
    """
    is_of_account = conversions.c.ad_account_id.is_(None) | (conversions.c.ad_account_id == ad_account_id)
    week = conversions.c.ts // WEEK_US

    days = windows.view_days
    view_id = latest_view(lambda is_view: _latest_touch(days, conversions.c.person_id, is_view), week)
    linked_view_id = latest_view(
        lambda is_view: _latest_touch(days, viewer_links.c.viewer_id, is_view, *_IS_VIEWER), week
    )
    touched = (
        sa.select(
            conversions.c.conversion_id,
            conversions.c.person_id,
            conversions.c.kind,
            conversions.c.ts,
            conversions.c.ad_group_id.label("stored"),
            _latest_touch(windows.click_days, conversions.c.person_id, IS_CLICK).label("click_id"),
            view_id.label("view_id"),
            linked_view_id.label("linked_view_id"),
        )
        .where(conversions.c.business_id == business_id, is_of_account)
        .where(conversions.c.ts.between(*between), conversions.c.withdrawn_at.is_(None))
        .subquery("touched")
    )
    click, view, linked = (touches.alias(name) for name in ("click", "view", "linked"))
    joined: sa.FromClause = touched
    touch_ids = touched.c.click_id, touched.c.view_id, touched.c.linked_view_id
    for table, touch_id in zip((click, view, linked), touch_ids, strict=True):
        joined = joined.outerjoin(
            table, sa.and_(table.c.touch_id == touch_id, table.c.business_id == business_id)
        )
    is_older = sa.or_(
        view.c.ts < linked.c.ts, sa.and_(view.c.ts == linked.c.ts, view.c.touch_id < linked.c.touch_id)
    )
    is_linked = sa.and_(linked.c.ts.is_not(None), sa.or_(view.c.ts.is_(None), is_older))
    columns = touched.c
    query = sa.select(
        *(columns[name] for name in ("conversion_id", "person_id", "kind", "ts", "stored")),
        click.c.ts.label("click_ts"),
        click.c.ad_group_id.label("click_group"),
        *(
            sa.case((is_linked, linked.c[name]), else_=view.c[name]).label(label)
            for name, label in (("ts", "view_ts"), ("touch_id", "view_id"), ("ad_group_id", "view_group"))
        ),
    )
    query = query.select_from(joined).order_by(columns.ts.desc(), columns.conversion_id)
    return tx.stream(RivalTouches, query)


_IS_VIEWER: Final = (
    viewer_links.c.business_id == conversions.c.business_id,
    viewer_links.c.person_id == conversions.c.person_id,
)


def _latest_touch(
    days: int, persons: sa.ColumnElement[Any], *conditions: sa.ColumnElement[bool]
) -> sa.ColumnElement[Any]:
    """Select the latest touch before a conversion within a window."""
    if not days:
        return sa.cast(sa.null(), sa.BigInteger)
    query = sa.select(touches.c.touch_id).where(
        touches.c.business_id == conversions.c.business_id,
        touches.c.person_id == persons,
        touches.c.ts <= conversions.c.ts,
        touches.c.ts >= conversions.c.ts - days * DAY_US,
        *conditions,
    )
    query = query.order_by(touches.c.ts.desc(), touches.c.touch_id.desc()).limit(1)
    return query.correlate(conversions).scalar_subquery()


MOST_TAPS: Final = 20_000
"""The number of latest taps to read."""
_IDS_PER_QUERY: Final = 500


@dataclass(frozen=True, slots=True)
class UnmatchedTap:
    """Tap on an ad, as its platform reported it."""

    business_id: str
    conversation_id: str
    person_id: str
    platform: Platform
    ad_number: int
    advertiser: str
    headline: Annotated[str, SealedIn("ad_referrals.headline")]
    at: datetime


def list_unmatched_taps(tx: Tx, business_id: str, days: tuple[date, date]) -> list[UnmatchedTap]:
    """Return the taps of some days (UTC, both included) that no ad was credited for."""
    since = datetime(days[0].year, days[0].month, days[0].day, tzinfo=UTC)
    until = datetime(days[1].year, days[1].month, days[1].day, tzinfo=UTC) + timedelta(days=1)
    query = (
        sa.select(
            *(ad_referrals.c[name] for name in ("id", "business_id", "conversation_id", "ad_number")),
            *(ad_referrals.c[name] for name in ("advertiser", "headline", "at")),
            conversations.c.person_id,
            channel_accounts.c.platform,
        )
        .join(conversations, conversations.c.id == ad_referrals.c.conversation_id)
        .join(channel_accounts, channel_accounts.c.id == conversations.c.channel_account_id)
        .where(
            ad_referrals.c.business_id == business_id,
            conversations.c.business_id == business_id,
            channel_accounts.c.business_id == business_id,
            ad_referrals.c.at >= since,
            ad_referrals.c.at < until,
        )
        .order_by(ad_referrals.c.at.desc())
        .limit(MOST_TAPS)
    )
    taps = {
        # the id that the inbox gives to the touch once the ad is known
        natural_number("referral", tap.conversation_id, tap.ad_number, micros(tap.at)): tap
        for tap in tx.list(UnmatchedTap, query)
    }
    for touch_ids in batched(list(taps), _IDS_PER_QUERY, strict=False):
        matched = sa.select(touches.c.touch_id).where(
            touches.c.business_id == business_id, touches.c.touch_id.in_(touch_ids)
        )
        for touch_id in tx.execute(matched).scalars().all():
            taps.pop(touch_id, None)
    return list(taps.values())


def count_leads_by_person(tx: Tx, business_id: str, person_ids: Collection[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for batch in batched(sorted(person_ids), _IDS_PER_QUERY, strict=False):
        query = sa.select(leads.c.person_id, sa.func.count()).where(
            leads.c.business_id == business_id, leads.c.person_id.in_(batch), leads.c.hidden_at.is_(None)
        )
        rows = map(tuple, tx.execute(query.group_by(leads.c.person_id)))
        counts |= {person_id: int(count) for person_id, count in rows}
    return counts


def list_first_replies(
    tx: Tx, business_id: str, between: tuple[datetime, datetime], members: set[str], limit: int
) -> list[FirstReply]:
    """Return the latest conversations of a span with the first reply; one from another tool has no author."""
    started = conversations.c.started_at
    replies = messages.alias("replies")
    first = (
        sa.select(replies.c.seq)
        .where(
            replies.c.business_id == business_id,
            replies.c.conversation_id == conversations.c.id,
            is_answer_of_person(replies),
            replies.c.author.in_({*members, ""}),
            replies.c.at >= started,
        )
        .order_by(replies.c.at, replies.c.seq)
        .limit(1)
        .scalar_subquery()
    )
    query = sa.select(started, messages.c.at.label("answered_at"), messages.c.author)
    query = query.select_from(conversations).outerjoin(messages, messages.c.seq == first)
    query = query.where(
        conversations.c.business_id == business_id, started >= between[0], started < between[1]
    )
    return [
        FirstReply(row.started_at, row.answered_at, row.author or "")
        for row in tx.execute(query.order_by(started.desc()).limit(limit))
    ]


saved_reports = sa.Table(
    "saved_reports",
    metadata,
    key(),
    tenant(),
    sa.Column("member_id", sa.String(36), nullable=False),
    sa.Column("name", sa.String(60), nullable=False),
    text("query"),
    sa.Column("is_shared", sa.Boolean, nullable=False),
    instant("created_at"),
    sa.Index("ix_saved_reports_business_id", "business_id", "created_at"),
)


def list_saved_reports(tx: Tx, business_id: str, member_id: str) -> list[SavedReport]:
    """Return the reports of a member, and those that other members share."""
    is_visible = sa.or_(saved_reports.c.member_id == member_id, saved_reports.c.is_shared.is_(True))
    query = sa.select(saved_reports).where(saved_reports.c.business_id == business_id, is_visible)
    return tx.list(SavedReport, query.order_by(saved_reports.c.created_at, saved_reports.c.id))
