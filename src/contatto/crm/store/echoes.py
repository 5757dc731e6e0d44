"""What was written lately, so that it is known when it comes back as a change in the CRM."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Column, Index, LargeBinary, String, Table, select

from contatto.crm.model.targets import Target
from contatto.crm.store.deliveries import RECORD_LIMIT
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, metadata, tenant

crm_echoes = Table(
    "crm_echoes",
    metadata,
    Column("target_id", String(36), primary_key=True),
    Column("record_id", String(RECORD_LIMIT), primary_key=True),
    Column("field", String(32), primary_key=True),
    tenant(),
    Column("digest", LargeBinary(16), nullable=False),
    instant("at"),
    Index("ix_crm_echoes_at", "at"),
)


def save_echoes(tx: Tx, target: Target, record_id: str, values: Mapping[str, str]) -> None:
    """Remember fingerprints of what was written into fields of a record."""
    for name, text in values.items():
        row = {
            "target_id": target.id,
            "record_id": record_id[:RECORD_LIMIT],
            "field": name,
            "business_id": target.business_id,
            "digest": tx.vault.blind(text, target.business_id),
            "at": tx.now,
        }
        insert = tx.upsert(crm_echoes).values(**row)
        changed = {"digest": row["digest"], "at": tx.now}
        key = ["target_id", "record_id", "field"]
        tx.execute(insert.on_conflict_do_update(index_elements=key, set_=changed))


def is_echo(tx: Tx, target: Target, record_id: str, name: str, text: str) -> bool:
    """Return whether a value is the one that we wrote into a field last."""
    query = select(crm_echoes.c.digest).where(
        crm_echoes.c.business_id == target.business_id,
        crm_echoes.c.target_id == target.id,
        crm_echoes.c.record_id == record_id[:RECORD_LIMIT],
        crm_echoes.c.field == name,
    )
    found = tx.scalar(query)
    return found is not None and bytes(found) == tx.vault.blind(text, target.business_id)


def delete_old_echoes(tx: Tx, before: datetime) -> int:
    return tx.delete_some(crm_echoes, crm_echoes.c.at < before)
