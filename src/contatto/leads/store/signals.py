"""What signals do to the leads of one business, each table read and written once for all of them."""

from collections.abc import Collection, Iterable
from typing import Any, Final

from sqlalchemy import LargeBinary, String, Table, bindparam, select, update

from contatto.kit.db.hot import Seek, insert_all, insert_new, update_rows
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Instant
from contatto.kit.db.within import within
from contatto.leads.model.leads import ContactPoint, Evidence, HistoryEntry, Lead
from contatto.leads.rules.records import name_key
from contatto.leads.store.records import (
    contact_points,
    evidence,
    evidence_row,
    history_row,
    lead_history,
    lead_row,
    leads,
    point_row,
)


def _change_one(table: Table) -> Any:
    mine = table.c.business_id == bindparam("of_business"), table.c.id == bindparam("of_id")
    return update(table).where(*mine)


_MOMENT: Final = bindparam("moment", type_=Instant())
_ACTIVE: Final = _change_one(leads).values(
    name=bindparam("now_name", type_=LargeBinary()),
    name_key=bindparam("now_key", type_=String()),
    updated_at=_MOMENT,
)
_START: Final = _change_one(leads).values(created_at=_MOMENT)
_POINT_START: Final = _change_one(contact_points).values(created_at=_MOMENT)


_MANY: Final = select(leads).where(
    leads.c.business_id == bindparam("of"), within(leads.c.person_id, "persons")
)
_OF_PERSONS: Final = Seek(Lead, _MANY)
_LOCKED: Final = Seek(Lead, _MANY.order_by(leads.c.id).with_for_update())


def list_leads_of_persons(tx: Tx, business_id: str, person_ids: Collection[str]) -> list[Lead]:
    """The leads of persons, locked until the end of the transaction."""
    return (_LOCKED if tx.locks_rows else _OF_PERSONS).list(tx, {"of": business_id, "persons": person_ids})


def save_leads(tx: Tx, new: Collection[tuple[Lead, str]]) -> int:
    """Insert leads with their facets, whose persons have none yet; say how many those are."""
    rows = [lead_row(tx.vault, lead) | {"facets": facets} for lead, facets in new]
    return insert_new(tx, leads, rows)


def save_contact_points(tx: Tx, business_id: str, new: Iterable[ContactPoint]) -> None:
    """Insert contact points, their values sealed; those that the leads have already are left out."""
    insert_new(tx, contact_points, [point_row(tx.vault, business_id, point) for point in new])


def append_all_evidence(tx: Tx, items: Iterable[Evidence]) -> None:
    """Append evidence, its texts sealed; what was there before is left out."""
    insert_new(tx, evidence, [evidence_row(tx.vault, item) for item in items])


def append_steps(tx: Tx, business_id: str, steps: Iterable[HistoryEntry]) -> None:
    """Append lines to the histories of leads."""
    insert_all(tx, lead_history, [history_row(tx.vault, business_id, step) for step in steps])


def record_activities(tx: Tx, moved: Iterable[Lead]) -> None:
    """Keep the names of leads and their last activity as these have them."""
    rows = [
        {
            "of_business": lead.business_id,
            "of_id": lead.id,
            "now_name": tx.seal(lead.name, lead.business_id, "leads.name", lead.id),
            "now_key": name_key(lead.name),
            "moment": lead.updated_at,
        }
        for lead in moved
    ]
    update_rows(tx, _ACTIVE, rows)


def record_lead_starts(tx: Tx, moved: Iterable[Lead]) -> None:
    """Move the beginnings of leads back: earlier messages came in later."""
    rows = [{"of_business": lead.business_id, "of_id": lead.id, "moment": lead.created_at} for lead in moved]
    update_rows(tx, _START, rows)


def record_point_starts(tx: Tx, business_id: str, moved: Iterable[ContactPoint]) -> None:
    """Move the beginnings of contact points back."""
    rows = [{"of_business": business_id, "of_id": each.id, "moment": each.created_at} for each in moved]
    update_rows(tx, _POINT_START, rows)
