"""How soon a business wants to answer."""

from datetime import timedelta

from sqlalchemy import Column, Integer, String, Table, select

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, metadata

reply_targets = Table(
    "reply_targets",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("minutes", Integer, nullable=False),
    instant("changed_at"),
)


def find_reply_target(tx: Tx, business_id: str) -> timedelta | None:
    """How long a customer may wait for an answer; None when the business has set nothing."""
    minutes = tx.scalar(select(reply_targets.c.minutes).where(reply_targets.c.business_id == business_id))
    return timedelta(minutes=minutes) if minutes else None


def list_reply_targets(tx: Tx) -> dict[str, timedelta]:
    """What the businesses that set anything have set, by business."""
    known = select(reply_targets.c.business_id, reply_targets.c.minutes).where(reply_targets.c.minutes > 0)
    return {row.business_id: timedelta(minutes=row.minutes) for row in tx.execute(known)}


def save_reply_target(tx: Tx, business_id: str, minutes: int) -> None:
    """Keep the target; 0 means none."""
    new = {"minutes": minutes, "changed_at": tx.now}
    insert = tx.upsert(reply_targets).values(business_id=business_id, **new)
    tx.execute(insert.on_conflict_do_update(index_elements=["business_id"], set_=new))
