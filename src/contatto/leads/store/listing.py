"""The lists of the Leads Center: pages of what a filter finds, and exact counts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import CTE, ColumnElement, Select, func, literal, not_, select, tuple_, union_all

from contatto.kit.db.remembered import Recall
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Instant
from contatto.leads.model.leads import Lead, LeadStatus
from contatto.leads.rules.filters import USUAL_SORT, LeadFilter
from contatto.leads.store.credits import earned_elsewhere
from contatto.leads.store.matching import (
    Condition,
    Conditions,
    collected,
    find_conditions,
    probed,
    select_by_texts,
    texts_of_facets,
)
from contatto.leads.store.records import contact_points, leads

MANY: Final = 2_000
"""Matches up to which all are read and sorted for a page; of more, leads are looked at in their order."""
MOST_TEXTS: Final = 1_000
"""Different texts of facets up to which leads are counted by them; of more, by looking at each lead."""

_KEYS: Final = {
    "created": ("created_at", "id"),
    "last_activity": ("updated_at", "id"),
    "status": ("status", "created_at", "id"),
    "name": ("name_key", "id"),
    "score": ("score", "id"),
}
"""The columns of each order, as an index has them, so that no page needs a sort."""


@dataclass(frozen=True, slots=True)
class Matches:
    """The leads that match a filter: how many there are, and what selects them if they are few."""

    total: int
    few: Select[Any] | None


def find_matches(
    tx: Tx, business_id: str, wanted: LeadFilter, counts: Mapping[LeadStatus, int] | None = None
) -> Matches:
    """Count the matches, and say how to read them where they are a few thousand or less.

    ``counts`` by status are taken at their word where they are known and enough.
    """
    if counts is not None and wanted == LeadFilter(statuses=wanted.statuses):
        return Matches(sum(counts.get(each, 0) for each in wanted.statuses or LeadStatus), None)
    if wanted.text:
        return _find_of_search(tx, business_id, find_conditions(tx, business_id, wanted))
    texts = _few_texts(tx, business_id, wanted)
    found = find_conditions(tx, business_id, wanted, texts=texts)
    total = _count(tx, found)
    if total > MANY or wanted.is_empty:
        return Matches(total, None)
    if texts is not None and not tx.locks_rows and not (wanted.any_of and (wanted.statuses or wanted.owners)):
        return Matches(total, select_by_texts(business_id, wanted, texts))
    return Matches(total, found.select(leads))


def _find_of_search(tx: Tx, business_id: str, found: Conditions) -> Matches:
    """Of each part the first few thousand matches; if there are no more, that was the count too."""
    by_name, *quick = found.parts
    many: list[tuple[Condition, int]] = []
    ids: set[str] = set()
    for part in quick:
        total = _count(tx, replace(found, parts=[part]))
        if total > MANY:
            many.append((part, total))
        else:
            ids.update(_ids(tx, found, part))
    of_name = _ids(tx, found, by_name)
    ids.update(of_name)
    if len(of_name) > MANY or len(many) > 1:
        return Matches(_count(tx, found), None)
    if many:
        ((part, total),) = many
        others = leads.c.id.in_(ids) & not_(part)
        return Matches(total + (_count(tx, replace(found, parts=[others])) if ids else 0), None)
    # As an expression the tenant is no way in: SQLite would rather read all its leads than find some hundred.
    few = select(leads).where(leads.c.business_id.concat("") == business_id, leads.c.id.in_(ids))
    return Matches(len(ids), few if len(ids) <= MANY else None)


def _ids(tx: Tx, found: Conditions, part: Condition) -> list[str]:
    """The ids of a part's matches, up to one more than are few."""
    return list(tx.execute(select(leads.c.id).where(*found.base, part).limit(MANY + 1)).scalars())


def list_matches(
    tx: Tx, business_id: str, wanted: LeadFilter, found: Matches, place: tuple[str, int, int]
) -> list[Lead]:
    """A page of what was found; ``place`` is its order, its length and how many come before it.

    The pages of the second half are read from the end.
    """
    sort, limit, offset = place
    if found.few is not None:
        # With a limit the engine finds them before it sorts.
        few = found.few.limit(MANY + MOST_TEXTS).subquery()
        page = select(few).where(few.c.id.is_not(None)).order_by(*_order(sort, few.c))
        return tx.list(Lead, page.limit(limit).offset(offset))
    if offset * 2 <= found.total:
        return list_leads(tx, business_id, wanted, sort, limit, offset)
    length = max(min(limit, found.total - offset), 0)
    after = max(found.total - offset - limit, 0)
    return list_leads(tx, business_id, wanted, _turned(sort), length, after)[::-1]


def list_leads(
    tx: Tx, business_id: str, wanted: LeadFilter, sort: str = USUAL_SORT, limit: int = 50, offset: int = 0
) -> list[Lead]:
    """A page of the matching leads; a sort word that is not known counts as the usual one.

    Near the beginning leads are looked at one by one in their order; further on all are collected first.
    """
    among = probed if offset < MANY else collected
    statement = find_conditions(tx, business_id, wanted, among).select(leads)
    return tx.list(Lead, statement.order_by(*_order(sort, leads.c)).limit(limit).offset(offset))


def find_newest_lead(tx: Tx, business_id: str, wanted: LeadFilter, ad_account_id: str) -> Lead | None:
    """The newest of the matching leads that no ad of another ad account earned."""
    statement = find_conditions(tx, business_id, wanted, probed).select(leads)
    ours = statement.where(not_(earned_elsewhere(leads.c.id, business_id, ad_account_id)))
    return tx.find(Lead, ours.order_by(*_order(USUAL_SORT, leads.c)).limit(1))


def count_leads(tx: Tx, business_id: str, wanted: LeadFilter) -> int:
    texts = _few_texts(tx, business_id, wanted)
    return _count(tx, find_conditions(tx, business_id, wanted, texts=texts))


def _few_texts(tx: Tx, business_id: str, wanted: LeadFilter) -> CTE | None:
    """The texts of facets, where they answer a filter alone and are few.

    Many leads have the same text. Where only facets are asked for, with what stands beside them in their
    index, the texts that hold the words are found first, and then the leads of those texts.
    """
    if not wanted.is_faceted_alone:
        return None
    known = texts_of_facets(business_id, MOST_TEXTS + 1)
    few = tx.scalar(select(func.count(known.c.text))) <= MOST_TEXTS
    return texts_of_facets(business_id, MOST_TEXTS) if few else None


def _count(tx: Tx, found: Conditions) -> int:
    """Count each part by its own best way, without what the parts before it had."""
    total = 0
    for position, part in enumerate(found.parts):
        fresh = [not_(each) for each in found.parts[:position]]
        total += int(tx.scalar(select(func.count()).select_from(leads).where(*found.base, part, *fresh)))
    return total


def count_leads_by_status(tx: Tx, business_id: str) -> dict[LeadStatus, int]:
    """How many leads have each status that any has. Each is counted by itself: in groups it takes longer."""
    shown = (leads.c.business_id == business_id, leads.c.hidden_at.is_(None))
    parts = [
        select(literal(status.value), func.count()).where(*shown, leads.c.status == status)
        for status in LeadStatus
    ]
    counted = map(tuple, tx.execute(union_all(*parts)))
    return {LeadStatus(status): count for status, count in counted if count}


def count_leads_since(tx: Tx, business_id: str, moment: datetime) -> int:
    """Count the leads that came in at a moment or later, those of tests apart."""
    listed = leads.c.business_id == business_id, leads.c.hidden_at.is_(None), leads.c.is_test.is_(False)
    count = select(func.count()).select_from(leads).where(*listed, leads.c.created_at >= moment)
    return int(tx.scalar(count))


def load_lead_counts(tx: Tx, business_id: str, recall: Recall) -> Mapping[LeadStatus, int]:
    """The same, of what is remembered where it can be: for pages, which are made anew all the time."""
    return recall.find(("leads", business_id), lambda: count_leads_by_status(tx, business_id))


def list_lead_ids_after(tx: Tx, business_id: str, wanted: LeadFilter, last: str, limit: int) -> list[str]:
    """Ids of matching leads that come after one, by id: for work through all of them, page by page."""
    statement = find_conditions(tx, business_id, wanted).select(leads.c.id).where(leads.c.id > last)
    return [row[0] for row in tx.execute(statement.order_by(leads.c.id).limit(limit))]


def list_leads_after(
    tx: Tx, business_id: str, wanted: LeadFilter, last: Lead | None, limit: int = 500
) -> list[Lead]:
    """The next matching leads after one, newest first: for downloads of any size, page by page."""
    statement = find_conditions(tx, business_id, wanted).select(leads)
    if last is not None:
        place = tuple_(leads.c.created_at, leads.c.id)
        statement = statement.where(place < tuple_(literal(last.created_at, Instant), literal(last.id)))
    return tx.list(Lead, statement.order_by(leads.c.created_at.desc(), leads.c.id.desc()).limit(limit))


def _turned(sort: str) -> str:
    """The same order from its end."""
    known = sort if sort.removeprefix("-") in _KEYS else USUAL_SORT
    return known.removeprefix("-") if known.startswith("-") else f"-{known}"


def _order(sort: str, columns: Any) -> list[ColumnElement[Any]]:
    names = _KEYS.get(sort.removeprefix("-"))
    if names is None:
        return _order(USUAL_SORT, columns)
    return [columns[name].desc() if sort.startswith("-") else columns[name].asc() for name in names]


def list_twins(tx: Tx, business_id: str, lead_ids: Iterable[str]) -> list[Lead]:
    """Other leads that share a contact value with one of these: possible duplicates."""
    ids = list(lead_ids)
    mine = contact_points.c.business_id == business_id
    own = select(contact_points.c.value_index).where(mine, contact_points.c.lead_id.in_(ids)).distinct()
    indexes = [row[0] for row in tx.execute(own)]
    sharing = (
        select(contact_points.c.lead_id).where(mine, contact_points.c.value_index.in_(indexes)).distinct()
    )
    others = {row[0] for row in tx.execute(sharing)} - set(ids)
    found = tx.list(Lead, select(leads).where(leads.c.business_id == business_id, leads.c.id.in_(others)))
    return sorted((lead for lead in found if lead.hidden_at is None), key=lambda lead: lead.created_at)
