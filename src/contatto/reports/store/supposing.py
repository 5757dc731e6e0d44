"""The winners that other windows would have given, found by the database: two steps in an index each."""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, FromClause, and_, case, cast, func, null, select

from contatto.kit.db.tx import Tx
from contatto.measurement.model import Policy
from contatto.measurement.rules import MICROSECONDS
from contatto.measurement.store import IS_CLICK, WEEK_US, conversions, latest_view, touches
from contatto.reports.rules.what_if import Rivals, Supposed, Weighed

DAY_US: Final = 86_400 * MICROSECONDS


def list_weighed(
    tx: Tx, business_id: str, ad_account_id: str, between: tuple[int, int], supposed: Supposed
) -> Iterator[Weighed]:
    """Conversions of an account, and those that nobody earned, within a span of microseconds, latest first.

    The rule is that of ``measurement.rules.last_touch``: of each kind the latest touch within its window is
    sought, and the policy chooses between the two.
    """
    met, click, view, both = _met(business_id, ad_account_id, between, supposed)
    winner: ColumnElement[Any] = func.coalesce(click.c.ad_group_id, view.c.ad_group_id)
    if supposed.policy is Policy.LAST_TOUCH:
        winner = case((view.c.ts > click.c.ts, view.c.ad_group_id), else_=winner)
    found = select(met.c.conversion_id, met.c.kind, met.c.ts, met.c.stored, winner.label("supposed"))
    return tx.stream(Weighed, found.select_from(both).order_by(met.c.ts.desc(), met.c.conversion_id))


def list_rivals(
    tx: Tx, business_id: str, ad_account_id: str, between: tuple[int, int], supposed: Supposed
) -> list[Rivals]:
    """The same conversions, each with the two that compete: for what the database alone cannot decide."""
    met, click, view, both = _met(business_id, ad_account_id, between, supposed)
    found = select(
        *(met.c[name] for name in ("conversion_id", "person_id", "kind", "ts", "stored")),
        click.c.ts.label("click_ts"),
        click.c.ad_group_id.label("click_group"),
        view.c.ts.label("view_ts"),
        view.c.touch_id.label("view_id"),
        view.c.ad_group_id.label("view_group"),
    )
    return tx.list(Rivals, found.select_from(both).order_by(met.c.ts.desc(), met.c.conversion_id))


def _met(
    business_id: str, ad_account_id: str, between: tuple[int, int], supposed: Supposed
) -> tuple[FromClause, FromClause, FromClause, FromClause]:
    """The conversions, the taps and the views beside them, and all three joined."""
    whose = conversions.c.ad_account_id.is_(None) | (conversions.c.ad_account_id == ad_account_id)
    met = (
        select(
            conversions.c.conversion_id,
            conversions.c.person_id,
            conversions.c.kind,
            conversions.c.ts,
            conversions.c.ad_group_id.label("stored"),
            _latest(IS_CLICK, supposed.click_days).label("click_id"),
            latest_view(lambda which: _latest(which, supposed.view_days), conversions.c.ts // WEEK_US).label(
                "view_id"
            ),
        )
        .where(conversions.c.business_id == business_id, whose)
        .where(conversions.c.ts.between(*between), conversions.c.withdrawn_at.is_(None))
        .subquery("met")
    )
    click, view = touches.alias("click"), touches.alias("view")
    joined = met.outerjoin(click, _is_touch(click, met.c.click_id, business_id))
    return met, click, view, joined.outerjoin(view, _is_touch(view, met.c.view_id, business_id))


def _latest(which: ColumnElement[bool], days: int) -> ColumnElement[Any]:
    """The latest of some touches by the person of a conversion, no older than a window."""
    if not days:
        return cast(null(), BigInteger)
    found = select(touches.c.touch_id).where(
        touches.c.business_id == conversions.c.business_id,
        touches.c.person_id == conversions.c.person_id,
        touches.c.ts <= conversions.c.ts,
        touches.c.ts >= conversions.c.ts - days * DAY_US,
        which,
    )
    found = found.order_by(touches.c.ts.desc(), touches.c.touch_id.desc()).limit(1)
    return found.correlate(conversions).scalar_subquery()


def _is_touch(table: FromClause, touch_id: ColumnElement[Any], business_id: str) -> ColumnElement[bool]:
    return and_(table.c.touch_id == touch_id, table.c.business_id == business_id)
