"""The numbers of leads, by which logs name them without opening anything of the person."""

from collections.abc import Collection

from sqlalchemy import select

from contatto.kit.db.tx import Tx
from contatto.leads.store.records import leads


def list_lead_numbers(tx: Tx, business_id: str, lead_ids: Collection[str]) -> dict[str, int]:
    """Numbers by the ids of leads."""
    query = select(leads.c.id, leads.c.number).where(
        leads.c.business_id == business_id, leads.c.id.in_(list(lead_ids))
    )
    return {row["id"]: row["number"] for row in tx.execute(query).mappings()}
