"""The facets of leads: one statement over all that hangs on them, and keeping what it finds."""

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    String,
    bindparam,
    case,
    cast,
    literal,
    select,
    union_all,
    update,
)

from contatto.capture.model import Field
from contatto.kit.db.tx import Tx
from contatto.leads.rules.facets import CONSENT, EMAIL, LABELLED, PHONE, TWIN, Facet, facet_word, join_words
from contatto.leads.store.annotations import lead_labels
from contatto.leads.store.entries import lead_entries
from contatto.leads.store.records import contact_points, evidence, leads

PHONES: Final = (Field.PHONE, Field.WHATSAPP)
_AT_ONCE: Final = 500
_OF, _IDS = bindparam("of", type_=String()), bindparam("ids", expanding=True, type_=String())


def _pairs(facet: Facet, lead_id: ColumnElement[Any], value: ColumnElement[Any]) -> Any:
    table = lead_id.table
    mine = (table.c.business_id == _OF, lead_id.in_(_IDS))
    return select(lead_id.label("lead_id"), literal(facet.value).label("facet"), value.label("value")).where(
        *mine
    )


def _all_pairs() -> CompoundSelect[Any]:
    point, other = contact_points.c, contact_points.alias()
    kind = case((point.field.in_(PHONES), PHONE), else_=EMAIL)
    twins = (
        _pairs(Facet.SIGN, point.lead_id, literal(TWIN))
        .join(other, (other.c.business_id == _OF) & (other.c.value_index == point.value_index))
        .join(leads, leads.c.id == other.c.lead_id)
        .where(other.c.lead_id != point.lead_id, leads.c.hidden_at.is_(None))
    )
    of_evidence, of_entry = evidence.c.lead_id, lead_entries.c.lead_id
    return union_all(
        _pairs(Facet.ORIGIN, leads.c.id, cast(leads.c.origin, String)),
        _pairs(Facet.ORIGIN, point.lead_id, cast(point.origin, String)),
        _pairs(Facet.ORIGIN, of_evidence, cast(evidence.c.origin, String)),
        _pairs(Facet.REACH, point.lead_id, kind).where(
            point.field.in_((*PHONES, Field.EMAIL)), point.wrong_at.is_(None)
        ),
        _pairs(Facet.COUNTRY, point.lead_id, point.country).where(point.country.is_not(None)),
        _pairs(Facet.LABEL, lead_labels.c.lead_id, lead_labels.c.label_id),
        _pairs(Facet.SIGN, lead_labels.c.lead_id, literal(LABELLED)),
        _pairs(Facet.FORM, of_entry, lead_entries.c.form_id),
        _pairs(Facet.SIGN, of_entry, literal(CONSENT)).where(lead_entries.c.consented),
        twins,
    )


_PAIRS: Final = _all_pairs()
_OWN: Final = select(leads.c.id, leads.c.facets).where(leads.c.business_id == _OF, leads.c.id.in_(_IDS))
_KEEP: Final = (
    update(leads)
    .where(leads.c.business_id == bindparam("of"), leads.c.id == bindparam("of_lead"))
    .values(facets=bindparam("now"))
)


def record_facets(tx: Tx, business_id: str, lead_ids: Collection[str]) -> None:
    """Find out the facets of leads anew and keep those that are not as kept."""
    ids = sorted(lead_ids)
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        values = {"of": business_id, "ids": some}
        kept = {row["id"]: row["facets"] for row in tx.execute(_OWN, values).mappings()}
        words: dict[str, set[str]] = {lead_id: set() for lead_id in some}
        for row in tx.execute(_PAIRS, values).mappings():
            words[row["lead_id"]].add(facet_word(Facet(row["facet"]), row["value"]))
        texts = {lead_id: join_words(found) for lead_id, found in words.items()}
        rows = [
            {"of": business_id, "of_lead": lead_id, "now": text}
            for lead_id, text in texts.items()
            if lead_id in kept and text != kept[lead_id]
        ]
        if rows:
            tx.execute(_KEEP, rows)


def list_sharing_leads(tx: Tx, business_id: str, lead_ids: Collection[str]) -> set[str]:
    """Other leads that have a contact value of these leads, whether they are in the lists or not."""
    other = contact_points.alias()
    found = (
        select(other.c.lead_id)
        .join(contact_points, contact_points.c.value_index == other.c.value_index)
        .where(
            other.c.business_id == _OF,
            contact_points.c.business_id == _OF,
            contact_points.c.lead_id.in_(_IDS),
        )
        .distinct()
    )
    return {row[0] for row in tx.execute(found, {"of": business_id, "ids": list(lead_ids)})} - set(lead_ids)
