"""The facets of leads: one statement over all that hangs on them, and keeping what it finds."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    String,
    bindparam,
    case,
    cast,
    func,
    literal,
    literal_column,
    or_,
    select,
    union_all,
    update,
)

from contatto.capture.model import Field
from contatto.kit.db.prepared import Query, update_rows
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import within
from contatto.leads.rules.records import (
    CONSENT,
    EMAIL,
    LABELLED,
    LONGEST,
    PHONE,
    PHONES,
    TWIN_WORD,
    Facet,
    facet_word,
    join_words,
)
from contatto.leads.store.annotations import lead_entries, lead_labels
from contatto.leads.store.records import contact_points, evidence, leads

_AT_ONCE: Final = 500
_VALUES_AT_ONCE: Final = 5_000
_OF: Final = bindparam("of", type_=String())


def _pairs(facet: Facet, lead_id: ColumnElement[Any], value: ColumnElement[Any]) -> Any:
    table = lead_id.table
    conditions = (table.c.business_id == _OF, within(lead_id, "ids"))
    return select(lead_id.label("lead_id"), literal(facet.value).label("facet"), value.label("value")).where(
        *conditions
    )


def _all_pairs() -> CompoundSelect[Any]:
    point = contact_points.c
    is_phone = or_(*(point.field == field for field in PHONES))  # an IN would be spelled out each time
    kind = case((is_phone, PHONE), else_=EMAIL)
    of_evidence, of_entry = evidence.c.lead_id, lead_entries.c.lead_id
    return union_all(
        _pairs(Facet.ORIGIN, leads.c.id, cast(leads.c.origin, String)),
        _pairs(Facet.ORIGIN, point.lead_id, cast(point.origin, String)),
        _pairs(Facet.ORIGIN, of_evidence, cast(evidence.c.origin, String)),
        _pairs(Facet.REACH, point.lead_id, kind).where(
            or_(is_phone, point.field == Field.EMAIL), point.wrong_at.is_(None)
        ),
        _pairs(Facet.COUNTRY, point.lead_id, point.country).where(point.country.is_not(None)),
        _pairs(Facet.LABEL, lead_labels.c.lead_id, lead_labels.c.label_id),
        _pairs(Facet.SIGN, lead_labels.c.lead_id, literal(LABELLED)),
        _pairs(Facet.FORM, of_entry, lead_entries.c.form_id),
        _pairs(Facet.SIGN, of_entry, literal(CONSENT)).where(lead_entries.c.consented),
    )


_PAIRS: Final = Query(_all_pairs())
_POINTS: Final = Query(
    select(contact_points.c.lead_id, contact_points.c.value_index).where(
        contact_points.c.business_id == _OF, within(contact_points.c.lead_id, "ids")
    )
)
_ALL_HAVING: Final = select(contact_points.c.lead_id, contact_points.c.value_index).where(
    contact_points.c.business_id == _OF, within(contact_points.c.value_index, "values")
)
_HAVING: Final = Query(_ALL_HAVING)
"""Who has some contact values. Asked in two steps, not as a join of a table with itself: while PostgreSQL
knows little of a table, it may go through all of it for each value then, half a second for each batch.
"""
_LISTED: Final = Query(
    _ALL_HAVING.join(leads, leads.c.id == contact_points.c.lead_id).where(leads.c.hidden_at.is_(None))
)
_OTHERS: Final = ~within(contact_points.c.lead_id, "but")
_ENDS: Final = Query(
    _ALL_HAVING.where(_OTHERS)
    .with_only_columns(
        contact_points.c.value_index, func.min(contact_points.c.lead_id), func.max(contact_points.c.lead_id)
    )
    .group_by(contact_points.c.value_index)
)


def _list_ends_by_seeks() -> Query:
    """Find the first and last lead of each value, with a seek at either end of the index."""
    own, other_points = contact_points.alias("own"), contact_points.alias("other")
    query = select(other_points.c.lead_id).where(
        other_points.c.business_id == _OF,
        other_points.c.value_index == own.c.value_index,
        ~within(other_points.c.lead_id, "but"),
    )
    first, last = (
        query.order_by(order).limit(literal_column("1")).scalar_subquery()
        for order in (other_points.c.lead_id, other_points.c.lead_id.desc())
    )
    conditions = own.c.business_id == _OF, within(own.c.lead_id, "but")
    return Query(select(own.c.value_index, first, last).where(*conditions))


_SOUGHT_ENDS: Final = _list_ends_by_seeks()
"""On PostgreSQL such a statement may go through all of a table for each value, as above."""
_IS_MARKED: Final = leads.c.facets.contains(literal_column(f"' {TWIN_WORD} '"))
_SHOWN: Final = Query(
    select(leads.c.id, leads.c.facets).where(
        leads.c.business_id == _OF, within(leads.c.id, "ids"), leads.c.hidden_at.is_(None)
    )
)
_UNMARKED: Final = Query(
    _ALL_HAVING.where(_OTHERS, ~_IS_MARKED)
    .join(leads, leads.c.id == contact_points.c.lead_id)
    .with_only_columns(contact_points.c.lead_id)
    .distinct()
)
_OWN: Final = Query(
    select(leads.c.id, leads.c.facets).where(leads.c.business_id == _OF, within(leads.c.id, "ids"))
)
_KEEP: Final = (
    update(leads)
    .where(leads.c.business_id == bindparam("of"), leads.c.id == bindparam("of_lead"))
    .values(facets=bindparam("now"))
)


def record_facets(tx: Tx, business_id: str, lead_ids: Collection[str], twins: Set[str] | None = None) -> None:
    """Find out the facets of leads anew and keep those that are not as kept.

    With ``twins`` these are the ones that share a value, beside those that are marked so: it need not be
    found out from all who have one of their values.
    """
    ids = sorted(lead_ids)
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        values = {"of": business_id, "ids": some}
        saved_words = dict(map(tuple, _OWN.rows(tx, values)))
        words: dict[str, set[str]] = {lead_id: set() for lead_id in some}
        for lead_id, facet, value in _PAIRS.rows(tx, values):
            words[lead_id].add(facet_word(Facet(facet), value))
        for lead_id in (
            _list_twins(tx, values) if twins is None else _marked(saved_words) | twins & words.keys()
        ):
            words[lead_id].add(TWIN_WORD)
        texts = {lead_id: join_words(lead_words) for lead_id, lead_words in words.items()}
        rows = [
            {"of": business_id, "of_lead": lead_id, "now": text}
            for lead_id, text in texts.items()
            if lead_id in saved_words and text != saved_words[lead_id]
        ]
        update_rows(tx, _KEEP, rows)


def _marked(facets: Mapping[str, str]) -> set[str]:
    """The leads whose facets have the mark of who shares a value."""
    return {lead_id for lead_id, text in facets.items() if f" {TWIN_WORD} " in text}


def _list_twins(tx: Tx, values: dict[str, Any]) -> set[str]:
    """Those of some leads that share a contact value with another lead of the lists."""
    points = _list_points(tx, values)
    having: dict[bytes, set[str]] = defaultdict(set)
    for lead_id, value in _list_having(tx, _LISTED, values["of"], points):
        having[value].add(lead_id)
    return {lead_id for lead_id, value in points if having[value] - {lead_id}}


def list_sharing_leads(tx: Tx, business_id: str, lead_ids: Collection[str]) -> set[str]:
    """Other leads that have a contact value of these leads, whether they are in the lists or not."""
    points = _list_points(tx, {"of": business_id, "ids": list(lead_ids)})
    return {lead_id for lead_id, _ in _list_having(tx, _HAVING, business_id, points)} - set(lead_ids)


_MARK: Final = (
    update(leads)
    .where(leads.c.business_id == bindparam("of"), leads.c.id == bindparam("of_lead"), ~_IS_MARKED)
    .where(func.length(leads.c.facets) < literal_column(str(LONGEST - len(TWIN_WORD))))
    .values(facets=leads.c.facets + literal_column(f"'{TWIN_WORD} '"))
)


def record_twins(tx: Tx, business_id: str, lead_ids: Collection[str]) -> None:
    """Mark leads as such that share a contact value, whose facets are true but for that."""
    update_rows(tx, _MARK, [{"of": business_id, "of_lead": lead_id} for lead_id in sorted(lead_ids)])


@dataclass(frozen=True, slots=True)
class Shared:
    """Return the values that leads with new contact values share with others.

    Attributes:
        twins: those of the leads that share a value with one in the lists.
        unsure: those who share values, as far as was looked, with hidden ones only.
        unmarked: others with such a value that have no mark of a duplicate yet.
    """

    twins: set[str]
    unsure: set[str]
    unmarked: set[str]


def list_shared(tx: Tx, business_id: str, lead_ids: Collection[str]) -> Shared:
    """Return the values that listed leads with new contact values share with any number of others.

    Where two leads in the lists share a value, all who have it are marked. So of the others the first and the
    last are looked at; only if one of them is hidden or unmarked, all are.
    """
    points = _list_points(tx, {"of": business_id, "ids": list(lead_ids)})
    having: dict[bytes, set[str]] = defaultdict(set)
    for lead_id, value in points:
        having[value].add(lead_id)
    ends = _list_ends(tx, business_id, having, lead_ids)
    looked_at = {"of": business_id, "ids": sorted(set().union(*ends.values()))}
    shown = dict(map(tuple, _SHOWN.rows(tx, looked_at))) if ends else dict[str, str]()
    marked = _marked(shown)
    values = [value for value, both in ends.items() if not both <= marked]
    values_to_bind = {"of": business_id, "values": values, "but": list(lead_ids)}
    unmarked = {lead_id for (lead_id,) in _UNMARKED.rows(tx, values_to_bind)} if values else set[str]()
    sure = {value for value, some in having.items() if len(some) > 1 or ends.get(value, set()) & shown.keys()}
    twins = {lead_id for lead_id, value in points if value in sure}
    return Shared(twins, {lead_id for lead_id, value in points if value in ends} - twins, unmarked)


def _list_ends(
    tx: Tx, business_id: str, values: Iterable[bytes], lead_ids: Collection[str]
) -> dict[bytes, set[str]]:
    """The first and the last of the other leads that have a contact value; values of nobody are left out."""
    values_to_bind = {"of": business_id, "but": list(lead_ids)}
    if tx.locks_rows:
        rows = _ENDS.rows(tx, values_to_bind | {"values": sorted(values)})
    else:
        rows = _SOUGHT_ENDS.rows(tx, values_to_bind)
    return {bytes(value): {first, last} for value, first, last in rows if first is not None}


def _list_points(tx: Tx, values: dict[str, Any]) -> list[tuple[str, bytes]]:
    return [(lead_id, bytes(value)) for lead_id, value in _POINTS.rows(tx, values)]


def _list_having(
    tx: Tx, which: Query, business_id: str, points: Collection[tuple[str, bytes]]
) -> Iterator[tuple[str, bytes]]:
    """The leads that have one of the contact values of these points."""
    distinct = sorted({value for _, value in points})
    for start in range(0, len(distinct), _VALUES_AT_ONCE):
        some = {"of": business_id, "values": distinct[start : start + _VALUES_AT_ONCE]}
        yield from ((lead_id, bytes(value)) for lead_id, value in which.rows(tx, some))
