"""Automatic messages of each channel account, as one document with a revision."""

import msgspec
from sqlalchemy import Column, Integer, String, Table, select, update

from contatto.inbox.model import AutomaticMessages
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, metadata, tenant, text

automatic_messages = Table(
    "automatic_messages",
    metadata,
    Column("channel_account_id", String(36), primary_key=True),
    tenant(),
    text("content"),
    Column("revision", Integer, nullable=False),
    instant("changed_at"),
)

_decode = msgspec.json.Decoder(AutomaticMessages).decode


def find_automatic(tx: Tx, business_id: str, account_id: str) -> tuple[AutomaticMessages, int] | None:
    """The automatic messages of an account, with their revision; None when nobody wrote any."""
    mine = select(automatic_messages).where(
        automatic_messages.c.business_id == business_id,
        automatic_messages.c.channel_account_id == account_id,
    )
    row = tx.execute(mine).mappings().first()
    return None if row is None else (_decode(row["content"]), row["revision"])


def save_automatic(
    tx: Tx, business_id: str, account_id: str, content: AutomaticMessages, revision: int
) -> bool:
    """Keep them as the next revision; False when somebody changed them since this revision was read."""
    new = {
        "content": msgspec.json.encode(content).decode(),
        "revision": revision + 1,
        "changed_at": tx.now,
    }
    if revision == 0:
        owner = {"channel_account_id": account_id, "business_id": business_id}
        return tx.insert_ignore(automatic_messages, owner | new)
    mine = update(automatic_messages).where(
        automatic_messages.c.business_id == business_id,
        automatic_messages.c.channel_account_id == account_id,
        automatic_messages.c.revision == revision,
    )
    return tx.execute(mine.values(**new)).rowcount == 1
