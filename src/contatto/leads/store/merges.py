"""The table of merges with their sealed journals, and the moving of rows from one lead to another."""

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Column, Index, String, Table, or_, select, update

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, key, metadata, row_of, sealed, tenant, text
from contatto.kit.timestamps import from_micros
from contatto.leads.model import Evidence, Journal, LeadSnapshot, Merge
from contatto.leads.rules.records import name_key
from contatto.leads.store.annotations import lead_entries, lead_labels, lead_notes, lead_tasks
from contatto.leads.store.records import contact_points, evidence, lead_history, leads, load_evidence

lead_merges = Table(
    "lead_merges",
    metadata,
    key(),
    tenant(),
    Column("kept_id", String(36), nullable=False),
    Column("merged_id", String(36), nullable=False),
    text("actor"),
    sealed("reason", nullable=True),
    sealed("journal"),
    instant("at"),
    text("undone_by"),
    instant("undone_at", nullable=True),
    Index("ix_lead_merges_kept", "business_id", "kept_id"),
    Index("ix_lead_merges_merged", "business_id", "merged_id"),
)

MOVING: Final = {
    table.name: table
    for table in (contact_points, evidence, lead_history, lead_notes, lead_tasks, lead_entries)
}
"""The tables whose rows go from one lead to the other."""


def save_merge(tx: Tx, business_id: str, merge: Merge) -> None:
    row = row_of(merge)
    journal = msgspec.json.encode(merge.journal)
    sealed_values = {
        "journal": tx.vault.seal_bytes(journal, business_id, "lead_merges.journal", merge.id),
        "reason": tx.seal(merge.reason, business_id, "lead_merges.reason", merge.id),
    }
    tx.insert(lead_merges, row | {"business_id": business_id} | sealed_values)


def find_merge(tx: Tx, business_id: str, merge_id: str) -> Merge | None:
    """Return a merge; who changes it locks its two leads first and reads it again."""
    query = select(lead_merges).where(lead_merges.c.business_id == business_id, lead_merges.c.id == merge_id)
    row = tx.execute(query).mappings().first()
    return None if row is None else _open_merge(tx, row)


def list_merges(tx: Tx, business_id: str, lead_id: str) -> list[Merge]:
    """The merges that a lead took part in, latest first."""
    either = or_(lead_merges.c.kept_id == lead_id, lead_merges.c.merged_id == lead_id)
    query = select(lead_merges).where(lead_merges.c.business_id == business_id, either)
    rows = tx.execute(query.order_by(lead_merges.c.at.desc(), lead_merges.c.id.desc())).mappings()
    return [_open_merge(tx, row) for row in rows]


def record_merge_undone(tx: Tx, business_id: str, merge: Merge, actor: str) -> None:
    statement = update(lead_merges).where(
        lead_merges.c.business_id == business_id, lead_merges.c.id == merge.id
    )
    tx.execute(statement.values(undone_by=actor, undone_at=tx.now))


def list_row_ids(tx: Tx, business_id: str, lead_id: str) -> dict[str, list[str]]:
    """Ids of what hangs on a lead, by table."""
    return {
        name: [
            row[0]
            for row in tx.execute(
                select(table.c.id)
                .where(table.c.business_id == business_id, table.c.lead_id == lead_id)
                .order_by(table.c.id)
            )
        ]
        for name, table in MOVING.items()
    }


def list_leads_ever(tx: Tx, business_id: str, person_ids: Collection[str]) -> set[str]:
    """The ids of the leads of some persons, and of those that these went into, though they may be two again.

    What a message of theirs brought hangs on one of them.
    """
    persons = select(leads.c.id).where(leads.c.business_id == business_id, leads.c.person_id.in_(person_ids))
    ids, ids_by_person = set[str](), set(tx.execute(persons).scalars())
    while ids_by_person:
        ids |= ids_by_person
        query = select(lead_merges.c.kept_id).where(
            lead_merges.c.business_id == business_id, lead_merges.c.merged_id.in_(ids_by_person)
        )
        ids_by_person = set(tx.execute(query).scalars()) - ids
    return ids


def list_evidence_of_sources(
    tx: Tx, business_id: str, person_id: str, source_ids: set[str]
) -> dict[str, list[Evidence]]:
    """Evidence by the message of a person that it was read in, in reading order."""
    query = select(evidence).where(
        evidence.c.business_id == business_id,
        evidence.c.lead_id.in_(list_leads_ever(tx, business_id, {person_id})),
        evidence.c.source_id.in_(source_ids),
    )
    evidence_by_source: dict[str, list[Evidence]] = {}
    for row in tx.execute(query.order_by(evidence.c.source_id, evidence.c.start)).mappings():
        evidence_by_source.setdefault(row["source_id"], []).append(load_evidence(tx, business_id, row))
    return evidence_by_source


def list_equal_points(tx: Tx, business_id: str, kept_id: str, merged_id: str) -> dict[str, str]:
    """Contact points of the lead that goes whose equal the kept one has: from the one to the other."""
    other_points = contact_points.alias()
    equal = select(contact_points.c.id.label("gone"), other_points.c.id.label("kept")).where(
        contact_points.c.business_id == business_id,
        other_points.c.business_id == business_id,
        contact_points.c.lead_id == merged_id,
        other_points.c.lead_id == kept_id,
        contact_points.c.field == other_points.c.field,
        contact_points.c.value_index == other_points.c.value_index,
    )
    return {row["gone"]: row["kept"] for row in tx.execute(equal).mappings()}


def list_evidence_of_points(tx: Tx, business_id: str, point_ids: list[str]) -> list[tuple[str, str]]:
    """Evidence of contact points: pairs of its id and the point's."""
    query = select(evidence.c.id, evidence.c.contact_point_id).where(
        evidence.c.business_id == business_id, evidence.c.contact_point_id.in_(point_ids)
    )
    return [
        (row["id"], row["contact_point_id"]) for row in tx.execute(query.order_by(evidence.c.id)).mappings()
    ]


def record_moved(tx: Tx, business_id: str, rows: tuple[str, list[str]], old: str, new: str) -> None:
    """Hang rows of a table on another lead, those that still hang on the old one."""
    name, ids = rows
    table = MOVING[name]
    statement = update(table).where(table.c.business_id == business_id, table.c.lead_id == old)
    tx.execute(statement.where(table.c.id.in_(ids)).values(lead_id=new))


def record_rehung(tx: Tx, business_id: str, evidence_id: str, point_id: str) -> None:
    """Hang evidence on another contact point."""
    statement = update(evidence).where(evidence.c.business_id == business_id, evidence.c.id == evidence_id)
    tx.execute(statement.values(contact_point_id=point_id))


def list_label_ids(tx: Tx, business_id: str, lead_id: str) -> set[str]:
    query = select(lead_labels.c.label_id).where(
        lead_labels.c.business_id == business_id, lead_labels.c.lead_id == lead_id
    )
    return {row[0] for row in tx.execute(query)}


def record_face(tx: Tx, business_id: str, lead_id: str, snapshot: LeadSnapshot) -> None:
    """Write the fields that a merge may change."""
    statement = update(leads).where(leads.c.business_id == business_id, leads.c.id == lead_id)
    name = tx.seal(snapshot.name, business_id, "leads.name", lead_id)
    values: dict[str, Any] = {
        "name": name,
        "name_key": name_key(snapshot.name),
        "status": snapshot.status,
    }
    values |= {
        "created_at": from_micros(snapshot.created_at),
        "updated_at": from_micros(snapshot.updated_at),
    }
    tx.execute(statement.values(**values, owner_id=snapshot.owner_id))


def record_followers(tx: Tx, business_id: str, lead_ids: list[str], kept_id: str) -> None:
    """Let leads that were merged earlier point to another lead."""
    statement = update(leads).where(leads.c.business_id == business_id, leads.c.id.in_(lead_ids))
    tx.execute(statement.values(merged_into=kept_id))


def _open_merge(tx: Tx, row: Mapping[Any, Any]) -> Merge:
    business_id, merge_id, sealed_reason = row["business_id"], row["id"], row["reason"]
    journal = tx.vault.open_bytes(row["journal"], business_id, "lead_merges.journal", merge_id)
    place = business_id, "lead_merges.reason", merge_id
    reason = tx.vault.open(sealed_reason, *place) if sealed_reason is not None else ""
    opened = {"journal": msgspec.json.decode(journal, type=Journal), "reason": reason}
    return Merge(**{name: row[name] for name in Merge.__dataclass_fields__} | opened)
