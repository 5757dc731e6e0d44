"""How far leads are in the CRMs of their business, as the Leads Center asks for it: ports of leads."""

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Select, select

from contatto.crm.model.deliveries import DeliveryState
from contatto.crm.model.targets import TargetState
from contatto.crm.store.deliveries import crm_records
from contatto.crm.store.targets import crm_targets
from contatto.kit.db.tx import Tx

_WORST_FIRST: Final = (
    DeliveryState.DEAD,
    DeliveryState.DUE,
    DeliveryState.SENT,
    DeliveryState.VERIFIED,
)


def _records(business_id: str, *what: Any) -> Select[Any]:
    """Of the CRMs that are linked now."""
    live = select(crm_targets.c.id).where(
        crm_targets.c.business_id == business_id, crm_targets.c.state != TargetState.REMOVED
    )
    return select(*what).where(crm_records.c.business_id == business_id, crm_records.c.target_id.in_(live))


def list_lead_ids_in_state(tx: Tx, business_id: str, state: str) -> Select[Any]:
    """Selects the leads that stand so in any CRM."""
    return _records(business_id, crm_records.c.lead_id).where(crm_records.c.state == DeliveryState(state))


def list_states_of_leads(tx: Tx, business_id: str, lead_ids: Collection[str]) -> dict[str, str]:
    """The worst state of each lead among the CRMs; a lead that was never due is left out."""
    mine = _records(business_id, crm_records.c.lead_id, crm_records.c.state)
    found: dict[str, DeliveryState] = {}
    for row in tx.execute(mine.where(crm_records.c.lead_id.in_(list(lead_ids)))).mappings():
        known = found.get(row["lead_id"], DeliveryState.VERIFIED)
        found[row["lead_id"]] = min(known, row["state"], key=_WORST_FIRST.index)
    return {lead_id: state.value for lead_id, state in found.items()}
