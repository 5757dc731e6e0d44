"""Spend by ad group, read from the touches."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, func, select

from contatto.kit.db.tx import Tx
from contatto.measurement.store import touches


def list_spend_of_days(tx: Tx, business_id: str, days: Mapping[str, str]) -> dict[str, int]:
    """Spend by ad group, of one day (``YYYY-MM-DD``) for each ad account."""
    spent: dict[str, int] = {}
    for ad_account_id, day in days.items():
        spent |= _spend(tx, business_id, touches.c.ad_account_id == ad_account_id, touches.c.day == day)
    return spent


def list_spend_ever(tx: Tx, business_id: str, ad_group_ids: Iterable[str]) -> dict[str, int]:
    """Spend of some ad groups since the beginning."""
    wanted = sorted(ad_group_ids)
    return _spend(tx, business_id, touches.c.ad_group_id.in_(wanted)) if wanted else {}


def _spend(tx: Tx, business_id: str, *which: ColumnElement[Any]) -> dict[str, int]:
    grouped = (
        select(touches.c.ad_group_id, func.sum(touches.c.cost_micros))
        .where(touches.c.business_id == business_id, *which)
        .group_by(touches.c.ad_group_id)
    )
    return {ad_group_id: int(micros) for ad_group_id, micros in map(tuple, tx.execute(grouped))}
