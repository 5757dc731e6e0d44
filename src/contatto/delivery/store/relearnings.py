"""The last time that the files of each business were learned again."""

from typing import Final

import msgspec
from sqlalchemy import BigInteger, Column, LargeBinary, String, Table, select

from contatto.delivery.model.relearnings import Compared, Relearning, Stage
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, instant, metadata, row_of

relearnings: Final = Table(
    "delivery_relearnings",
    metadata,
    Column("business_id", String(36), primary_key=True),
    instant("started_at"),
    instant("told_at"),
    Column("stage", Choice(Stage), nullable=False),
    Column("views", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("compared", LargeBinary, nullable=False),
)


def save_relearning(tx: Tx, made: Relearning) -> None:
    """Note how far it is, in place of what was noted before."""
    row = row_of(made) | {"compared": msgspec.msgpack.encode(made.compared)}
    insert = tx.upsert(relearnings).values(row)
    tx.execute(insert.on_conflict_do_update(index_elements=["business_id"], set_=row))


def find_relearning(tx: Tx, business_id: str) -> Relearning | None:
    """The last time; None before the first."""
    row = tx.execute(select(relearnings).where(relearnings.c.business_id == business_id)).mappings().first()
    if row is None:
        return None
    compared = msgspec.msgpack.decode(row["compared"], type=tuple[Compared, ...])
    return Relearning(**dict(row) | {"compared": compared})
