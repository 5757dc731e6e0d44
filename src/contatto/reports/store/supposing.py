"""The winners that other windows would have given, found by the database: two steps in an index each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, FromClause, and_, case, cast, func, null, or_, select

from contatto.kit.db.tx import Tx
from contatto.measurement.model import Policy
from contatto.measurement.rules import MICROSECONDS
from contatto.measurement.store import IS_CLICK, WEEK_US, conversions, latest_view, touches, viewer_links
from contatto.reports.rules.what_if import Rivals, Supposed, Weighed

DAY_US: Final = 86_400 * MICROSECONDS


@dataclass(frozen=True, slots=True)
class _Met:
    """Conversions, each beside the latest tap and the latest view that may have earned it."""

    conversions: FromClause
    click: FromClause
    view_ts: ColumnElement[Any]
    view_id: ColumnElement[Any]
    view_group: ColumnElement[Any]
    joined: FromClause


def list_weighed(
    tx: Tx, business_id: str, ad_account_id: str, between: tuple[int, int], supposed: Supposed
) -> Iterator[Weighed]:
    """Conversions of an account, and those that nobody earned, within a span of microseconds, latest first.

    The rule is that of ``measurement.rules.last_touch``: of each kind the latest touch within its window is
    sought, and the policy chooses between the two.
    """
    met = _meet(business_id, ad_account_id, between, supposed)
    winner: ColumnElement[Any] = func.coalesce(met.click.c.ad_group_id, met.view_group)
    if supposed.policy is Policy.LAST_TOUCH:
        winner = case((met.view_ts > met.click.c.ts, met.view_group), else_=winner)
    of = met.conversions.c
    query = select(of.conversion_id, of.kind, of.ts, of.stored, winner.label("supposed"))
    return tx.stream(Weighed, query.select_from(met.joined).order_by(of.ts.desc(), of.conversion_id))


def list_rivals(
    tx: Tx, business_id: str, ad_account_id: str, between: tuple[int, int], supposed: Supposed
) -> list[Rivals]:
    """The same conversions, each with the two that compete: for what the database alone cannot decide."""
    met = _meet(business_id, ad_account_id, between, supposed)
    of = met.conversions.c
    query = select(
        *(of[name] for name in ("conversion_id", "person_id", "kind", "ts", "stored")),
        met.click.c.ts.label("click_ts"),
        met.click.c.ad_group_id.label("click_group"),
        met.view_ts.label("view_ts"),
        met.view_id.label("view_id"),
        met.view_group.label("view_group"),
    )
    return tx.list(Rivals, query.select_from(met.joined).order_by(of.ts.desc(), of.conversion_id))


def _meet(business_id: str, ad_account_id: str, between: tuple[int, int], supposed: Supposed) -> _Met:
    """Views are sought twice: those of the person, and those of the viewers who are this person."""
    whose = conversions.c.ad_account_id.is_(None) | (conversions.c.ad_account_id == ad_account_id)
    week = conversions.c.ts // WEEK_US

    def latest(persons: ColumnElement[Any], *of: ColumnElement[bool]) -> Any:
        return latest_view(lambda which: _latest(supposed.view_days, persons, which, *of), week)

    met = (
        select(
            conversions.c.conversion_id,
            conversions.c.person_id,
            conversions.c.kind,
            conversions.c.ts,
            conversions.c.ad_group_id.label("stored"),
            _latest(supposed.click_days, conversions.c.person_id, IS_CLICK).label("click_id"),
            latest(conversions.c.person_id).label("view_id"),
            latest(viewer_links.c.viewer_id, *_IS_VIEWER).label("seen_id"),
        )
        .where(conversions.c.business_id == business_id, whose)
        .where(conversions.c.ts.between(*between), conversions.c.withdrawn_at.is_(None))
        .subquery("met")
    )
    click, view, seen = (touches.alias(name) for name in ("click", "view", "seen"))
    joined: FromClause = met
    for table, touch_id in ((click, met.c.click_id), (view, met.c.view_id), (seen, met.c.seen_id)):
        joined = joined.outerjoin(table, _is_touch(table, touch_id, business_id))
    older = or_(view.c.ts < seen.c.ts, and_(view.c.ts == seen.c.ts, view.c.touch_id < seen.c.touch_id))
    is_seen = and_(seen.c.ts.is_not(None), or_(view.c.ts.is_(None), older))
    ts, view_id, group = (case((is_seen, seen.c[of]), else_=view.c[of]) for of in _OF_VIEW)
    return _Met(met, click, ts, view_id, group, joined)


_OF_VIEW: Final = ("ts", "touch_id", "ad_group_id")
_IS_VIEWER: Final = (
    viewer_links.c.business_id == conversions.c.business_id,
    viewer_links.c.person_id == conversions.c.person_id,
)


def _latest(days: int, persons: ColumnElement[Any], *which: ColumnElement[bool]) -> ColumnElement[Any]:
    """The latest of some touches before a conversion, no older than a window."""
    if not days:
        return cast(null(), BigInteger)
    query = select(touches.c.touch_id).where(
        touches.c.business_id == conversions.c.business_id,
        touches.c.person_id == persons,
        touches.c.ts <= conversions.c.ts,
        touches.c.ts >= conversions.c.ts - days * DAY_US,
        *which,
    )
    query = query.order_by(touches.c.ts.desc(), touches.c.touch_id.desc()).limit(1)
    return query.correlate(conversions).scalar_subquery()


def _is_touch(table: FromClause, touch_id: ColumnElement[Any], business_id: str) -> ColumnElement[bool]:
    return and_(table.c.touch_id == touch_id, table.c.business_id == business_id)
