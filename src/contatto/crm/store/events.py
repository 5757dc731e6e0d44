"""CRM event sets of ad accounts, and the events that came in about leads."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import BigInteger, Column, Index, String, Table, UniqueConstraint, select

from contatto.crm.rules.events import EventSet, LeadEvent
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, instant, key, metadata, row_of, sealed, tenant, text
from contatto.leads.model import LeadStatus

crm_event_sets = Table(
    "crm_event_sets",
    metadata,
    key(),
    tenant(),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("ad_account_id", String(36), nullable=False),
    text("name"),
    instant("created_at"),
    UniqueConstraint("business_id", "ad_account_id", "name"),
)

lead_events = Table(
    "lead_events",
    metadata,
    key(),
    tenant(),
    Column("lead_id", String(36), nullable=False),
    Column("set_number", BigInteger, nullable=False),
    sealed("name", nullable=True),
    Column("natural_key", String(64), nullable=False),
    Column("status", Choice(LeadStatus)),
    instant("occurred_at"),
    instant("received_at"),
    UniqueConstraint("business_id", "natural_key"),
    Index("ix_lead_events_of_lead", "business_id", "lead_id", "occurred_at"),
)


def _row(found: Any) -> dict[str, Any]:
    return row_of(found)


def save_event_set(tx: Tx, made: EventSet) -> bool:
    """Insert an event set; False when the ad account has one of this name."""
    return tx.insert_ignore(crm_event_sets, _row(made))


def list_event_sets(tx: Tx, business_id: str, ad_account_id: str | None = None) -> list[EventSet]:
    """The event sets of an ad account, or of all, oldest first."""
    query = select(crm_event_sets).where(crm_event_sets.c.business_id == business_id)
    if ad_account_id is not None:
        query = query.where(crm_event_sets.c.ad_account_id == ad_account_id)
    return tx.list(EventSet, query.order_by(crm_event_sets.c.number))


def append_lead_event(tx: Tx, event: LeadEvent) -> bool:
    """Append an event; False when it was there before."""
    name = tx.seal(event.name, event.business_id, "lead_events.name", event.id)
    return tx.insert_ignore(lead_events, _row(event) | {"name": name})


def delete_lead_events(tx: Tx, business_id: str, lead_ids: Collection[str]) -> None:
    """Forget what CRMs sent of some leads."""
    mine = lead_events.c.business_id == business_id, lead_events.c.lead_id.in_(list(lead_ids))
    tx.execute(lead_events.delete().where(*mine))
