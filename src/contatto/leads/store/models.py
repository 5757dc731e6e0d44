"""What was learned of the leads of each business: sealed, and the newest alone."""

from typing import Final

import msgspec
from sqlalchemy import Column, Float, Integer, LargeBinary, String, Table, select

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, metadata, sealed
from contatto.leads.model.scores import HeldOut, LeadModel

lead_models: Final = Table(
    "lead_models",
    metadata,
    Column("business_id", String(36), primary_key=True),
    instant("learned_at"),
    Column("outcomes", Integer, nullable=False),
    Column("share", Float, nullable=False),
    Column("loss", Float, nullable=False),
    Column("correction", LargeBinary, nullable=False),
    sealed("body"),
    Column("held", LargeBinary),
)


def save_lead_model(tx: Tx, model: LeadModel) -> None:
    """Keep what was learned in place of what was before."""
    row = {
        "business_id": model.business_id,
        "learned_at": model.learned_at,
        "outcomes": model.outcomes,
        "share": model.share,
        "loss": model.loss,
        "correction": model.correction,
        "body": tx.vault.seal_bytes(model.body, model.business_id, "lead_models.body", ""),
        "held": None if model.held is None else msgspec.json.encode(model.held),
    }
    insert = tx.upsert(lead_models).values(row)
    tx.execute(insert.on_conflict_do_update(index_elements=["business_id"], set_=row))


def find_lead_model(tx: Tx, business_id: str) -> LeadModel | None:
    """What was learned; None before the first try."""
    row = tx.execute(select(lead_models).where(lead_models.c.business_id == business_id)).mappings().first()
    if row is None:
        return None
    opened = tx.vault.open_bytes(bytes(row["body"]), business_id, "lead_models.body", "")
    held = None if row["held"] is None else msgspec.json.decode(row["held"], type=HeldOut)
    return LeadModel(**dict(row) | {"body": opened, "correction": bytes(row["correction"]), "held": held})
