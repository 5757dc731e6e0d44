"""Which private notes name which members, and whether they have seen it."""

from sqlalchemy import Column, Index, Select, String, Table, UniqueConstraint, select, update

from contatto.inbox.model import Mention
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, key, metadata, row_of, tenant

mentions = Table(
    "note_mentions",
    metadata,
    key(),
    tenant(),
    Column("note_id", String(36), nullable=False),
    Column("conversation_id", String(36), nullable=False),
    Column("member_id", String(36), nullable=False),
    instant("seen_at", nullable=True),
    UniqueConstraint("note_id", "member_id"),
    Index("ix_note_mentions_of_member", "business_id", "member_id", "conversation_id"),
)


def append_mention(tx: Tx, mention: Mention) -> bool:
    """Append a mention; False when it was there before."""
    return tx.insert_ignore(mentions, row_of(mention))


def mark_mentions_seen(tx: Tx, business_id: str, conversation_id: str, member_id: str) -> bool:
    """Note that a member has seen where a thread names them; False when there was nothing new."""
    fresh = update(mentions).where(
        mentions.c.business_id == business_id,
        mentions.c.conversation_id == conversation_id,
        mentions.c.member_id == member_id,
        mentions.c.seen_at.is_(None),
    )
    return tx.execute(fresh.values(seen_at=tx.now)).rowcount > 0


def list_unseen_mentions(tx: Tx, business_id: str, member_id: str) -> set[str]:
    """The conversations with a mention that the member has not seen."""
    mine = conversations_naming(business_id, member_id).where(mentions.c.seen_at.is_(None))
    return set(tx.execute(mine).scalars())


def conversations_naming(business_id: str, member_id: str) -> Select[tuple[str]]:
    """The ids of the conversations with a note that names a member, as a part of other statements."""
    of_member = (mentions.c.business_id == business_id, mentions.c.member_id == member_id)
    return select(mentions.c.conversation_id).where(*of_member)
