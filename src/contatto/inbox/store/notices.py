"""Inline notices of our own inbox, in a table of their own."""

from collections.abc import Collection, Iterable
from typing import Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Index,
    String,
    Table,
    select,
    update,
)

from contatto.inbox.model import InlineNotice
from contatto.inbox.store.conversations import conversations, find_conversation
from contatto.kit.db.hot import Query, insert_new
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Words, instant, key, metadata, row_of, tenant
from contatto.kit.db.within import within
from contatto.leads.store.merges import list_leads_ever

inline_notices = Table(
    "inline_notices",
    metadata,
    key(),
    tenant(),
    Column("conversation_id", String(36), nullable=False),
    Column("lead_id", String(36), nullable=False),
    Column("fields", Words, nullable=False),
    instant("at"),
    Index("ix_inline_notices_of_lead", "lead_id"),
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
    """The notices in a thread, oldest first: they hang on the leads that its person ever was.

    Ids of leads follow from the time, so in the index by them new notices lie beside each other.
    """
    found = find_conversation(tx, business_id, conversation_id)
    leads = list_leads_ever(tx, business_id, {found.person_id}) if found else set[str]()
    mine = select(inline_notices).where(*_within(business_id, leads, {conversation_id}))
    return tx.list(InlineNotice, mine.order_by(inline_notices.c.at))


def delete_notices(
    tx: Tx, business_id: str, person_ids: Collection[str], conversation_ids: Collection[str]
) -> None:
    """Delete the notices in the threads of some persons."""
    leads = list_leads_ever(tx, business_id, person_ids)
    tx.execute(inline_notices.delete().where(*_within(business_id, leads, conversation_ids)))


def _within(
    business_id: str, lead_ids: Collection[str], conversation_ids: Collection[str]
) -> tuple[ColumnElement[bool], ...]:
    return (
        inline_notices.c.business_id == business_id,
        inline_notices.c.lead_id.in_(lead_ids),
        inline_notices.c.conversation_id.in_(conversation_ids),
    )
