"""Conversions behind a figure, read from the log."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select

from contatto.kit.db.tx import Tx
from contatto.leads.model import LeadStatus, Origin
from contatto.leads.store.records import leads
from contatto.measurement.model import Attribution, ConversionKind, TouchKind
from contatto.measurement.store import conversions
from contatto.reports.model import Span


@dataclass(frozen=True, slots=True)
class ConversionFilter:
    """Which conversions of an ad account: those of some ads, on some days, of a kind, in a country.

    ``own_day`` takes the day of the conversion and not that of its touch. ``origins`` and ``statuses`` are
    those of a lead; empty for any.
    """

    business_id: str
    ad_account_id: str
    span: Span
    ad_ids: frozenset[str]
    kind: ConversionKind | None = None
    own_day: bool = False
    via: TouchKind | None = None
    country: str | None = None
    origins: frozenset[Origin] = frozenset()
    statuses: frozenset[LeadStatus] = frozenset()


def list_conversions(
    tx: Tx, business_id: str, wanted: ConversionFilter, limit: int, skip: int = 0
) -> list[Attribution]:
    """Conversions, the latest first."""
    query = select(conversions).where(conversions.c.business_id == business_id, *_conditions(wanted))
    order = (conversions.c.ts.desc(), conversions.c.conversion_id)
    return tx.list(Attribution, _joined(query, wanted).order_by(*order).limit(limit).offset(skip))


def count_conversions(tx: Tx, business_id: str, wanted: ConversionFilter) -> int:
    query = select(func.count()).select_from(conversions)
    query = query.where(conversions.c.business_id == business_id, *_conditions(wanted))
    return int(tx.scalar(_joined(query, wanted)))


def _joined(found: Select[Any], wanted: ConversionFilter) -> Select[Any]:
    if not (wanted.origins or wanted.statuses):
        return found
    mine = (leads.c.id == conversions.c.subject_id) & (leads.c.business_id == wanted.business_id)
    return found.join(leads, mine)


def _conditions(wanted: ConversionFilter) -> list[ColumnElement[bool]]:
    day = conversions.c.rt_day if wanted.own_day else conversions.c.day
    found = [
        conversions.c.ad_account_id == wanted.ad_account_id,
        conversions.c.withdrawn_at.is_(None),
        day >= wanted.span.first,
        day <= wanted.span.last,
        conversions.c.ad_id.in_(wanted.ad_ids),
    ]
    equal = {
        conversions.c.kind: wanted.kind,
        conversions.c.via: wanted.via,
        conversions.c.country: wanted.country,
    }
    found += [column == value for column, value in equal.items() if value is not None]
    among = {leads.c.origin: wanted.origins, leads.c.status: wanted.statuses}
    return found + [column.in_(values) for column, values in among.items() if values]


def find_conversion(tx: Tx, business_id: str, conversion_id: int) -> Attribution | None:
    query = select(conversions).where(conversions.c.business_id == business_id)
    return tx.find(Attribution, query.where(conversions.c.conversion_id == conversion_id))
