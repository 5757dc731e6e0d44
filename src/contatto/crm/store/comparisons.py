"""Which records a CRM was seen to hold, and which it should hold and does not."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Select, exists, or_, select, update

from contatto.crm.model.deliveries import DeliveryState, Erasure, RecordLink
from contatto.crm.model.targets import Target
from contatto.crm.store.deliveries import crm_deliveries, crm_records
from contatto.crm.store.erasures import crm_erasures
from contatto.kit.db.tx import Tx
from contatto.leads.store.records import leads


def list_seen_at(
    tx: Tx, business_id: str, target_id: str, lead_ids: Collection[str]
) -> dict[str, datetime | None]:
    """Return when the records of some leads were seen last; leads that were never due there are left out."""
    query = select(crm_records.c.lead_id, crm_records.c.seen_at).where(
        crm_records.c.business_id == business_id,
        crm_records.c.target_id == target_id,
        crm_records.c.lead_id.in_(list(lead_ids)),
    )
    return {row["lead_id"]: row["seen_at"] for row in tx.execute(query).mappings()}


def mark_seen(tx: Tx, target: Target, lead_ids: Collection[str], at: datetime) -> None:
    """Note that the records of some leads are there."""
    statement = update(crm_records).where(
        crm_records.c.business_id == target.business_id,
        crm_records.c.target_id == target.id,
        crm_records.c.lead_id.in_(list(lead_ids)),
    )
    tx.execute(statement.values(seen_at=at))


def list_sent(tx: Tx, business_id: str, target_id: str, most: int) -> list[RecordLink]:
    """Leads of the lists that were sent and have no record of their own that could be verified.

    Those that are still being tried are left to that: begun anew each day they would never end.
    """
    tried = exists().where(
        crm_deliveries.c.business_id == business_id,
        crm_deliveries.c.target_id == target_id,
        crm_deliveries.c.lead_id == crm_records.c.lead_id,
        crm_deliveries.c.settled_at.is_(None),
    )
    mine = _of_lists(business_id, target_id).where(crm_records.c.state == DeliveryState.SENT, ~tried)
    return tx.list(RecordLink, mine.order_by(crm_records.c.lead_id).limit(most))


def _of_lists(business_id: str, target_id: str) -> Select[Any]:
    return (
        select(crm_records)
        .join(leads, leads.c.id == crm_records.c.lead_id)
        .where(
            crm_records.c.business_id == business_id,
            crm_records.c.target_id == target_id,
            crm_records.c.merged_into.is_(None),
            leads.c.business_id == business_id,
            leads.c.hidden_at.is_(None),
        )
    )


def list_missing(
    tx: Tx, business_id: str, target_id: str, not_seen_since: datetime, verified_before: datetime
) -> list[RecordLink]:
    """Leads of the lists that were verified and are not seen there any more."""
    seen = crm_records.c.seen_at
    mine = _of_lists(business_id, target_id).where(
        crm_records.c.state == DeliveryState.VERIFIED,
        crm_records.c.verified_at < verified_before,
        or_(seen.is_(None), seen < not_seen_since),
    )
    return tx.list(RecordLink, mine.order_by(crm_records.c.lead_id))


def mark_gone(tx: Tx, record: RecordLink) -> None:
    """Note that a record is not there, and is made anew this once."""
    statement = update(crm_records).where(
        crm_records.c.business_id == record.business_id,
        crm_records.c.target_id == record.target_id,
        crm_records.c.lead_id == record.lead_id,
    )
    tx.execute(statement.values(gone_at=tx.now))


def list_erasures_of(tx: Tx, business_id: str, target_id: str, lead_ids: Collection[str]) -> list[Erasure]:
    """Erasures of some leads at a target, whatever became of them."""
    query = select(crm_erasures).where(
        crm_erasures.c.business_id == business_id,
        crm_erasures.c.target_id == target_id,
        crm_erasures.c.lead_id.in_(list(lead_ids)),
    )
    return tx.list(Erasure, query.order_by(crm_erasures.c.id))
