"""What members do to contact points, and those that they called none, kept for a while to be put back."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Column, Index, String, Table, select, update

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, key, metadata, sealed, tenant
from contatto.kit.looks import note_seen
from contatto.leads.model.leads import ContactPoint, RejectedContact
from contatto.leads.rules.records import phone_country
from contatto.leads.store.records import contact_points, evidence, list_contact_points

rejected_contacts = Table(
    "rejected_contacts",
    metadata,
    key(),
    tenant(),
    Column("lead_id", String(36), nullable=False),
    Column("person_id", String(36), nullable=False),
    sealed("content"),
    instant("at"),
    Index("ix_rejected_contacts_of_lead", "business_id", "lead_id"),
    Index("ix_rejected_contacts_at", "at"),
)


def find_contact_point(tx: Tx, business_id: str, lead_id: str, point_id: str) -> ContactPoint | None:
    points = list_contact_points(tx, business_id, {lead_id})[lead_id]
    return next((point for point in points if point.id == point_id), None)


def delete_contact_point(tx: Tx, business_id: str, point_id: str) -> None:
    """Delete a contact point with its evidence."""
    mine = evidence.c.business_id == business_id
    tx.execute(evidence.delete().where(mine, evidence.c.contact_point_id == point_id))
    own = contact_points.c.business_id == business_id
    tx.execute(contact_points.delete().where(own, contact_points.c.id == point_id))


def record_point(tx: Tx, business_id: str, point: ContactPoint, seen: str) -> bool:
    """Keep a contact point as a member changed it, unless its value is not the one that was ``seen``."""
    mine = update(contact_points).where(
        contact_points.c.business_id == business_id,
        contact_points.c.id == point.id,
        contact_points.c.value_index == tx.vault.blind(seen, business_id),
    )
    changed: dict[str, Any] = {"main_at": point.main_at, "wrong_at": point.wrong_at}
    if point.value != seen:
        changed |= {
            "value": tx.vault.seal(point.value, business_id, "contact_points.value", point.id),
            "value_index": tx.vault.blind(point.value, business_id),
            "country": phone_country(point.value),
        }
    return tx.execute(mine.values(**changed)).rowcount == 1


def save_rejected(tx: Tx, business_id: str, rejected: RejectedContact) -> None:
    place = business_id, "rejected_contacts.content", rejected.id
    content = tx.vault.seal_bytes(msgspec.json.encode(rejected), *place)
    row = {"id": rejected.id, "business_id": business_id, "lead_id": rejected.point.lead_id}
    tx.insert(
        rejected_contacts, row | {"person_id": rejected.person_id, "content": content, "at": rejected.at}
    )


def list_rejected(tx: Tx, business_id: str, lead_id: str, since: datetime) -> list[RejectedContact]:
    """What was called no contact of a lead since a time, latest first."""
    mine = select(rejected_contacts.c.content, rejected_contacts.c.id).where(
        rejected_contacts.c.business_id == business_id,
        rejected_contacts.c.lead_id == lead_id,
        rejected_contacts.c.at >= since,
    )
    rows = tx.execute(mine.order_by(rejected_contacts.c.at.desc(), rejected_contacts.c.id.desc()))
    contents = [
        tx.vault.open_bytes(row.content, business_id, "rejected_contacts.content", row.id) for row in rows
    ]
    found = [msgspec.json.decode(content, type=RejectedContact) for content in contents]
    note_seen("lead_id", [lead_id] if found else [])
    return found


def delete_rejected(tx: Tx, business_id: str, rejected_id: str) -> bool:
    """Delete what was put back; False when somebody else did so."""
    mine = rejected_contacts.c.business_id == business_id
    return (
        tx.execute(rejected_contacts.delete().where(mine, rejected_contacts.c.id == rejected_id)).rowcount
        == 1
    )


def delete_rejected_of(
    tx: Tx, business_id: str, person_ids: Collection[str], lead_ids: Collection[str]
) -> None:
    """Forget what was called no contact of some people."""
    mine = rejected_contacts.delete().where(rejected_contacts.c.business_id == business_id)
    tx.execute(
        mine.where(rejected_contacts.c.person_id.in_(person_ids) | rejected_contacts.c.lead_id.in_(lead_ids))
    )


def delete_old_rejected(tx: Tx, before: datetime) -> int:
    """Delete what can no longer be put back, of all businesses; say how many."""
    return tx.delete_some(rejected_contacts, rejected_contacts.c.at < before)
