"""Writes of captured leads in batches, with their facets and duplicates."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Set
from typing import Any, Final

import sqlalchemy as sa

from contatto.capture.model import Field
from contatto.kit.db.statements import PreparedQuery, Query, write_rows
from contatto.kit.db.tx import Instant, Tx, row_of, rows_of, within
from contatto.kit.vault import Vault
from contatto.leads.model import ContactPoint, Evidence, HistoryEntry, Lead
from contatto.leads.rules import records as rules
from contatto.leads.store.tables import contact_points, evidence, lead_entries, lead_labels, leads


def lead_row(vault: Vault, lead: Lead) -> dict[str, Any]:
    """Return the row of a lead: its name sealed, and a plain key to sort by, without contact details."""
    name = vault.seal(lead.name, lead.business_id, "leads.name", lead.id) if lead.name else None
    return row_of(lead) | {"name": name, "name_key": rules.name_key(lead.name)}


def point_row(vault: Vault, business_id: str, point: ContactPoint) -> dict[str, Any]:
    return row_of(point) | {
        "business_id": business_id,
        "value": vault.seal(point.value, business_id, "contact_points.value", point.id),
        "value_index": vault.blind(point.value, business_id),
        "country": rules.phone_country(point.value),
    }


def evidence_row(vault: Vault, item: Evidence) -> dict[str, Any]:
    return row_of(item) | {"raw": vault.seal(item.raw, item.business_id, "evidence.raw", item.id)}


def history_row(vault: Vault, business_id: str, step: HistoryEntry) -> dict[str, Any]:
    detail = vault.seal(step.detail, business_id, "lead_history.detail", step.id) if step.detail else None
    return row_of(step) | {"business_id": business_id, "detail": detail}


_MOMENT: Final = sa.bindparam("moment", type_=Instant())
_CHANGE_ONE: Final = {
    table: sa.update(table).where(*rows_of(table, sa.bindparam("of_business"), id=sa.bindparam("of_id")))
    for table in (leads, contact_points)
}
SET_ACTIVITY: Final = _CHANGE_ONE[leads].values(
    name=sa.bindparam("now_name", type_=sa.LargeBinary()),
    name_key=sa.bindparam("now_key", type_=sa.String()),
    updated_at=_MOMENT,
)
"""Update of a lead's name and of the time of its last activity."""
SET_START: Final = {table: change.values(created_at=_MOMENT) for table, change in _CHANGE_ONE.items()}
"""Update of the creation time of a lead or a contact point, after an older message arrived late."""


LEADS_OF_PERSONS: Final = PreparedQuery(
    Lead,
    sa.select(leads)
    .where(leads.c.business_id == sa.bindparam("of"), within(leads.c.person_id, "persons"))
    .order_by(leads.c.id)
    .with_for_update(),
)


_AT_ONCE: Final = 500
_VALUES_AT_ONCE: Final = 5_000
_BUSINESS: Final = sa.bindparam("of", type_=sa.String())


def _pairs(facet: rules.Facet, lead_id: sa.ColumnElement[Any], value: sa.ColumnElement[Any]) -> Any:
    table = lead_id.table
    conditions = (table.c.business_id == _BUSINESS, within(lead_id, "ids"))
    return sa.select(
        lead_id.label("lead_id"), sa.literal(facet.value).label("facet"), value.label("value")
    ).where(*conditions)


_POINT: Final = contact_points.c
_IS_PHONE: Final = sa.or_(*(_POINT.field == field for field in rules.PHONES))
"""Equal comparisons, since SQLAlchemy would expand an IN at each execution."""
_PAIRS: Final = Query(
    sa.union_all(
        _pairs(rules.Facet.ORIGIN, leads.c.id, sa.cast(leads.c.origin, sa.String)),
        _pairs(rules.Facet.ORIGIN, _POINT.lead_id, sa.cast(_POINT.origin, sa.String)),
        _pairs(rules.Facet.ORIGIN, evidence.c.lead_id, sa.cast(evidence.c.origin, sa.String)),
        _pairs(rules.Facet.REACH, _POINT.lead_id, sa.case((_IS_PHONE, rules.PHONE), else_=rules.EMAIL)).where(
            sa.or_(_IS_PHONE, _POINT.field == Field.EMAIL), _POINT.wrong_at.is_(None)
        ),
        _pairs(rules.Facet.COUNTRY, _POINT.lead_id, _POINT.country).where(_POINT.country.is_not(None)),
        _pairs(rules.Facet.LABEL, lead_labels.c.lead_id, lead_labels.c.label_id),
        _pairs(rules.Facet.SIGN, lead_labels.c.lead_id, sa.literal(rules.LABELLED)),
        _pairs(rules.Facet.FORM, lead_entries.c.lead_id, lead_entries.c.form_id),
        _pairs(rules.Facet.SIGN, lead_entries.c.lead_id, sa.literal(rules.CONSENT)).where(
            lead_entries.c.consented
        ),
    )
)
_POINTS: Final = Query(
    sa.select(contact_points.c.lead_id, contact_points.c.value_index).where(
        contact_points.c.business_id == _BUSINESS, within(contact_points.c.lead_id, "ids")
    )
)
_ALL_HAVING: Final = sa.select(contact_points.c.lead_id, contact_points.c.value_index).where(
    contact_points.c.business_id == _BUSINESS, within(contact_points.c.value_index, "values")
)
_HAVING: Final = Query(_ALL_HAVING)
"""Leads with some contact values, for a query in two steps.

Without statistics of the table, PostgreSQL may scan all of it for each value of a self-join.
"""
_LISTED: Final = Query(
    _ALL_HAVING.join(leads, leads.c.id == contact_points.c.lead_id).where(leads.c.hidden_at.is_(None))
)
_OTHER_LEADS: Final = ~within(contact_points.c.lead_id, "but")
_ENDS: Final = Query(
    _ALL_HAVING.where(_OTHER_LEADS)
    .with_only_columns(
        contact_points.c.value_index,
        sa.func.min(contact_points.c.lead_id),
        sa.func.max(contact_points.c.lead_id),
    )
    .group_by(contact_points.c.value_index)
)


_OWN_POINTS, _OTHER_POINTS = contact_points.alias("own"), contact_points.alias("other")
_ANOTHER: Final = sa.select(_OTHER_POINTS.c.lead_id).where(
    _OTHER_POINTS.c.business_id == _BUSINESS,
    _OTHER_POINTS.c.value_index == _OWN_POINTS.c.value_index,
    ~within(_OTHER_POINTS.c.lead_id, "but"),
)
_FIRST, _LAST = (
    _ANOTHER.order_by(order).limit(sa.literal_column("1")).scalar_subquery()
    for order in (_OTHER_POINTS.c.lead_id, _OTHER_POINTS.c.lead_id.desc())
)
_SOUGHT_ENDS: Final = Query(
    sa.select(_OWN_POINTS.c.value_index, _FIRST, _LAST).where(
        _OWN_POINTS.c.business_id == _BUSINESS, within(_OWN_POINTS.c.lead_id, "but")
    )
)
"""The first and last lead of each value, with a seek at either end of the index; for SQLite only."""
_IS_MARKED: Final = leads.c.facets.contains(sa.literal_column(f"' {rules.TWIN_WORD} '"))
_SHOWN: Final = Query(
    sa.select(leads.c.id, leads.c.facets).where(
        leads.c.business_id == _BUSINESS, within(leads.c.id, "ids"), leads.c.hidden_at.is_(None)
    )
)
_UNMARKED: Final = Query(
    _ALL_HAVING.where(_OTHER_LEADS, ~_IS_MARKED)
    .join(leads, leads.c.id == contact_points.c.lead_id)
    .with_only_columns(contact_points.c.lead_id)
    .distinct()
)
_OWN: Final = Query(
    sa.select(leads.c.id, leads.c.facets).where(leads.c.business_id == _BUSINESS, within(leads.c.id, "ids"))
)
_SET_FACETS: Final = (
    sa.update(leads)
    .where(*rows_of(leads, sa.bindparam("of"), id=sa.bindparam("of_lead")))
    .values(facets=sa.bindparam("now"))
)


def record_facets(tx: Tx, business_id: str, lead_ids: Collection[str], twins: Set[str] | None = None) -> None:
    """Recompute the facets of leads, and save those that changed.

    With ``twins``, only these leads get the mark of a duplicate, besides those that have it. Without, leads
    that share a contact value with another listed lead get it.
    """
    ids = sorted(lead_ids)
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        values = {"of": business_id, "ids": some}
        saved_words = dict(map(tuple, _OWN.rows(tx, values)))
        words: dict[str, set[str]] = {lead_id: set() for lead_id in some}
        for lead_id, facet, value in _PAIRS.rows(tx, values):
            words[lead_id].add(rules.facet_word(rules.Facet(facet), value))
        if twins is not None:
            marked = {lead_id for lead_id, text in saved_words.items() if f" {rules.TWIN_WORD} " in text}
            marked |= twins & words.keys()
        else:  # those that share a contact value with another lead of the lists
            points = _list_points(tx, values)
            having: dict[bytes, set[str]] = defaultdict(set)
            for lead_id, value in _list_having(tx, _LISTED, business_id, points):
                having[value].add(lead_id)
            marked = {lead_id for lead_id, value in points if having[value] - {lead_id}}
        for lead_id in marked:
            words[lead_id].add(rules.TWIN_WORD)
        texts = {lead_id: rules.join_words(lead_words) for lead_id, lead_words in words.items()}
        rows = [
            {"of": business_id, "of_lead": lead_id, "now": text}
            for lead_id, text in texts.items()
            if lead_id in saved_words and text != saved_words[lead_id]
        ]
        write_rows(tx, _SET_FACETS, rows)


def list_sharing_leads(tx: Tx, business_id: str, lead_ids: Collection[str]) -> set[str]:
    """Return other leads, listed or hidden, with a contact value of these leads."""
    points = _list_points(tx, {"of": business_id, "ids": list(lead_ids)})
    return {lead_id for lead_id, _ in _list_having(tx, _HAVING, business_id, points)} - set(lead_ids)


MARK_TWIN: Final = (  # of leads that share a contact value; their other facets are current
    sa.update(leads)
    .where(*rows_of(leads, sa.bindparam("of"), id=sa.bindparam("of_lead")), ~_IS_MARKED)
    .where(sa.func.length(leads.c.facets) < sa.literal_column(str(rules.LONGEST - len(rules.TWIN_WORD))))
    .values(facets=leads.c.facets + sa.literal_column(f"'{rules.TWIN_WORD} '"))
)


def list_shared(tx: Tx, business_id: str, lead_ids: Collection[str]) -> tuple[set[str], set[str], set[str]]:
    """Find the duplicates of listed leads with new contact values.

    If two listed leads share a value, all leads with it are marked. So only the first and the last of the
    others are read; all are read if one of these is hidden or unmarked.

    Returns:
        Those of the leads that share a value with a listed lead; those that share values only with hidden
        leads, as far as was read; and other leads with such a value and without the mark of a duplicate.
    """
    points = _list_points(tx, {"of": business_id, "ids": list(lead_ids)})
    having: dict[bytes, set[str]] = defaultdict(set)
    for lead_id, value in points:
        having[value].add(lead_id)
    # Read the first and the last of the other leads with a contact value; unshared values are left out.
    end_values = {"of": business_id, "but": list(lead_ids)}
    if tx.locks_rows:
        rows = _ENDS.rows(tx, end_values | {"values": sorted(having)})
    else:
        rows = _SOUGHT_ENDS.rows(tx, end_values)
    ends = {bytes(value): {first, last} for value, first, last in rows if first is not None}
    looked_at = {"of": business_id, "ids": sorted(set().union(*ends.values()))}
    shown = dict(map(tuple, _SHOWN.rows(tx, looked_at))) if ends else dict[str, str]()
    marked = {lead_id for lead_id, text in shown.items() if f" {rules.TWIN_WORD} " in text}
    values = [value for value, both in ends.items() if not both <= marked]
    values_to_bind = {"of": business_id, "values": values, "but": list(lead_ids)}
    unmarked = {lead_id for (lead_id,) in _UNMARKED.rows(tx, values_to_bind)} if values else set[str]()
    sure = {value for value, some in having.items() if len(some) > 1 or ends.get(value, set()) & shown.keys()}
    twins = {lead_id for lead_id, value in points if value in sure}
    return twins, {lead_id for lead_id, value in points if value in ends} - twins, unmarked


def _list_points(tx: Tx, values: dict[str, Any]) -> list[tuple[str, bytes]]:
    return [(lead_id, bytes(value)) for lead_id, value in _POINTS.rows(tx, values)]


def _list_having(
    tx: Tx, which: Query, business_id: str, points: Collection[tuple[str, bytes]]
) -> Iterator[tuple[str, bytes]]:
    """Yield the leads that have one of the contact values of these points."""
    distinct = sorted({value for _, value in points})
    for start in range(0, len(distinct), _VALUES_AT_ONCE):
        some = {"of": business_id, "values": distinct[start : start + _VALUES_AT_ONCE]}
        yield from ((lead_id, bytes(value)) for lead_id, value in which.rows(tx, some))
