"""The table of people who were erased, and how far that is at each ad account."""

from sqlalchemy import Column, Integer, String, Table, UniqueConstraint, select

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, Serial, instant, metadata, tenant
from contatto.signals.model.events import SignalErasure, SignalErasureState

signal_erasures = Table(
    "signal_erasures",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    tenant(),
    Column("outside_account_id", String(36), nullable=False),
    Column("lead_id", String(36), nullable=False),
    Column("state", Choice(SignalErasureState), nullable=False),
    Column("sent", Integer, nullable=False),
    instant("created_at"),
    UniqueConstraint("business_id", "outside_account_id", "lead_id"),
)


def save_signal_erasure(tx: Tx, business_id: str, outside_account_id: str, lead_id: str, sent: int) -> None:
    """Keep that a lead was erased, of which an account may have so many signals."""
    state = SignalErasureState.UNSUPPORTED if sent else SignalErasureState.FINISHED
    row = {
        "business_id": business_id,
        "outside_account_id": outside_account_id,
        "lead_id": lead_id,
        "state": state,
        "sent": sent,
        "created_at": tx.now,
    }
    tx.execute(tx.upsert(signal_erasures).values(**row).on_conflict_do_nothing())


def list_signal_erasures(
    tx: Tx, business_id: str, outside_account_id: str, limit: int = 50
) -> list[SignalErasure]:
    """People who were erased, the latest first."""
    query = select(signal_erasures).where(
        signal_erasures.c.business_id == business_id,
        signal_erasures.c.outside_account_id == outside_account_id,
    )
    return tx.list(SignalErasure, query.order_by(signal_erasures.c.id.desc()).limit(limit))
