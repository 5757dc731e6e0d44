"""How leads stand in targets: the counts of the ledger, each by itself."""

from datetime import datetime

from sqlalchemy import ColumnElement, exists, func, select

from contatto.crm.model.deliveries import DeliveryState
from contatto.crm.store.deliveries import crm_deliveries, crm_records
from contatto.kit.db.tx import Tx
from contatto.leads.store.records import leads


def count_states(tx: Tx, business_id: str) -> dict[str, dict[DeliveryState, int]]:
    """Leads of each target by what became of their latest revision; of those that are in the lists."""
    state = crm_records.c.state
    counted = select(crm_records.c.target_id, state, func.count().label("n")).join(
        leads, leads.c.id == crm_records.c.lead_id
    )
    counted = counted.where(
        crm_records.c.business_id == business_id,
        leads.c.business_id == business_id,
        leads.c.hidden_at.is_(None),
    )
    states: dict[str, dict[DeliveryState, int]] = {}
    for row in tx.execute(counted.group_by(crm_records.c.target_id, state)).mappings():
        states.setdefault(row["target_id"], {})[row["state"]] = row["n"]
    return states


def count_listed_leads(tx: Tx, business_id: str) -> int:
    """Leads that are in the lists; test leads are told to nobody."""
    return int(tx.scalar(select(func.count()).select_from(leads).where(*_listed(business_id))))


def count_leads_to_come(tx: Tx, business_id: str, target_id: str) -> int:
    """Leads of the lists that a target was never due for."""
    known = exists().where(
        crm_records.c.business_id == business_id,
        crm_records.c.target_id == target_id,
        crm_records.c.lead_id == leads.c.id,
    )
    return int(tx.scalar(select(func.count()).select_from(leads).where(*_listed(business_id), ~known)))


def _listed(business_id: str) -> tuple[ColumnElement[bool], ...]:
    return leads.c.business_id == business_id, leads.c.hidden_at.is_(None), leads.c.is_test.is_(False)


def has_dead(tx: Tx, business_id: str, target_id: str) -> bool:
    """Return whether a lead waits at a target for a person."""
    dead = crm_records.c.state == DeliveryState.DEAD
    mine = crm_records.c.business_id == business_id, crm_records.c.target_id == target_id, dead
    return tx.scalar(select(crm_records.c.lead_id).where(*mine).limit(1)) is not None


def find_oldest_due(tx: Tx, business_id: str, target_id: str) -> datetime | None:
    """Since when the oldest delivery of a target is due."""
    oldest = select(func.min(crm_deliveries.c.created_at)).where(
        crm_deliveries.c.business_id == business_id,
        crm_deliveries.c.target_id == target_id,
        crm_deliveries.c.state == DeliveryState.DUE,
    )
    oldest_due: datetime | None = tx.scalar(oldest)
    return oldest_due
