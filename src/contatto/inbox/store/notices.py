"""Inline notices of our own inbox, in a table of their own."""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import (
    Column,
    Index,
    String,
    Table,
    select,
    update,
)

from contatto.inbox.model import InlineNotice
from contatto.inbox.store.conversations import conversations
from contatto.kit.db.hot import Query, insert_new
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Words, instant, key, metadata, tenant
from contatto.kit.db.within import within
from contatto.kit.rows import row_of

inline_notices = Table(
    "inline_notices",
    metadata,
    key(),
    tenant(),
    Column("conversation_id", String(36), nullable=False),
    Column("lead_id", String(36), nullable=False),
    Column("fields", Words, nullable=False),
    instant("at"),
    Index("ix_inline_notices_of_conversation", "business_id", "conversation_id", "at"),
)


_THERE: Final = Query(
    select(inline_notices.c.id).where(
        within(inline_notices.c.business_id, "businesses"), within(inline_notices.c.id, "ids")
    )
)


def append_notices(tx: Tx, posted: Iterable[InlineNotice]) -> list[InlineNotice]:
    """Append inline notices; give those that were not there before."""
    first = {each.id: each for each in posted}
    if not first:
        return []
    of = {"businesses": {each.business_id for each in first.values()}, "ids": list(first)}
    there = {each for (each,) in _THERE.rows(tx, of)}
    new = [each for each in first.values() if each.id not in there]
    insert_new(tx, inline_notices, [row_of(each) for each in new])
    return new


def delete_lead_marks(tx: Tx, business_id: str, lead_id: str) -> None:
    """Forget which conversations made a lead, and its notices."""
    marked = update(conversations).where(
        conversations.c.business_id == business_id, conversations.c.lead_id == lead_id
    )
    tx.execute(marked.values(lead_id=None))
    mine = inline_notices.c.business_id == business_id
    tx.execute(inline_notices.delete().where(mine, inline_notices.c.lead_id == lead_id))


def list_notices(tx: Tx, business_id: str, conversation_id: str) -> list[InlineNotice]:
    mine = select(inline_notices).where(
        inline_notices.c.business_id == business_id, inline_notices.c.conversation_id == conversation_id
    )
    return tx.list(InlineNotice, mine.order_by(inline_notices.c.at))
