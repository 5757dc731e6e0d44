"""The table of people who are to be erased in targets, and how far each is."""

from sqlalchemy import Column, String, Table, UniqueConstraint, select, update

from contatto.crm.model.deliveries import Erasure, ErasureState
from contatto.crm.store.deliveries import RECORD_LIMIT
from contatto.crm.store.targets import LiveTarget
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, Serial, instant, metadata, tenant

crm_erasures = Table(
    "crm_erasures",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    tenant(),
    Column("target_id", String(36), nullable=False),
    Column("lead_id", String(36), nullable=False),
    Column("record_id", String(RECORD_LIMIT), nullable=False),
    Column("state", Choice(ErasureState), nullable=False),
    Column("reason", String(64), nullable=False),
    instant("created_at"),
    instant("settled_at", nullable=True),
    UniqueConstraint("business_id", "target_id", "lead_id"),
)


def save_erasure(tx: Tx, target: LiveTarget, lead_id: str, record_id: str) -> int | None:
    """Keep that a person is to be erased in a target; None when that is known."""
    row = {
        "business_id": target.business_id,
        "target_id": target.id,
        "lead_id": lead_id,
        "record_id": record_id,
        "state": ErasureState.DUE,
        "reason": "",
        "created_at": tx.now,
    }
    insert = tx.upsert(crm_erasures).values(**row).on_conflict_do_nothing()
    return tx.execute(insert.returning(crm_erasures.c.id)).scalar()


def find_erasure(tx: Tx, business_id: str, erasure_id: int) -> Erasure | None:
    mine = crm_erasures.c.business_id == business_id, crm_erasures.c.id == erasure_id
    return tx.find(Erasure, select(crm_erasures).where(*mine))


def list_erasures(tx: Tx, business_id: str, target_id: str, limit: int = 50) -> list[Erasure]:
    mine = crm_erasures.c.business_id == business_id, crm_erasures.c.target_id == target_id
    return tx.list(Erasure, select(crm_erasures).where(*mine).order_by(crm_erasures.c.id.desc()).limit(limit))


def record_erasure(tx: Tx, erasure: Erasure, state: ErasureState, reason: str = "") -> None:
    settled = None if state is ErasureState.DUE else tx.now
    statement = update(crm_erasures).where(
        crm_erasures.c.business_id == erasure.business_id, crm_erasures.c.id == erasure.id
    )
    tx.execute(statement.values(state=state, reason=reason[:64], settled_at=settled))


def record_erasure_again(tx: Tx, erasure: Erasure, record_id: str) -> None:
    """Make the erasure of a person due once more, whose record is there again."""
    statement = update(crm_erasures).where(
        crm_erasures.c.business_id == erasure.business_id, crm_erasures.c.id == erasure.id
    )
    due = {"state": ErasureState.DUE, "reason": "", "settled_at": None, "created_at": tx.now}
    tx.execute(statement.values(**due, record_id=record_id[:RECORD_LIMIT]))


def list_due_erasures(tx: Tx, business_id: str, target_id: str) -> list[Erasure]:
    """All of a target that are still to be carried out."""
    query = select(crm_erasures).where(
        crm_erasures.c.business_id == business_id,
        crm_erasures.c.target_id == target_id,
        crm_erasures.c.state == ErasureState.DUE,
    )
    return tx.list(Erasure, query.order_by(crm_erasures.c.id))
