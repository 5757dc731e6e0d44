"""The columns and the density of the Leads Center that each member looks at it with."""

from sqlalchemy import Boolean, Column, String, Table, select

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Words, metadata, tenant
from contatto.leads.rules.filters import Look, known_columns

lead_looks = Table(
    "lead_looks",
    metadata,
    Column("member_id", String(36), primary_key=True),
    tenant(),
    Column("shown", Words, nullable=False),
    Column("is_dense", Boolean, nullable=False),
)


def find_look(tx: Tx, business_id: str, member_id: str) -> Look | None:
    """What a member chose last; None before the first choice."""
    mine = select(lead_looks).where(
        lead_looks.c.business_id == business_id, lead_looks.c.member_id == member_id
    )
    row = tx.execute(mine).mappings().first()
    return None if row is None else Look(columns=known_columns(row["shown"]), dense=row["is_dense"])


def save_look(tx: Tx, business_id: str, member_id: str, look: Look) -> None:
    """Keep a member's columns and density; the order belongs to the list, not to the member."""
    chosen = {"shown": look.columns, "is_dense": look.dense}
    insert = tx.upsert(lead_looks).values(member_id=member_id, business_id=business_id, **chosen)
    mine = lead_looks.c.business_id == business_id
    tx.execute(insert.on_conflict_do_update(index_elements=["member_id"], set_=chosen, where=mine))
