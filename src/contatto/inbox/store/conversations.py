"""Threads with one person each: what moves them along, and the lists of the inbox."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Column,
    Index,
    Integer,
    Select,
    String,
    Table,
    UniqueConstraint,
    Update,
    bindparam,
    case,
    func,
    or_,
    select,
    update,
)

from contatto.inbox.model import Conversation
from contatto.inbox.store.persons import persons
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Instant, instant, key, metadata, tenant

conversations = Table(
    "conversations",
    metadata,
    key(),
    tenant(),
    Column("channel_account_id", String(36), nullable=False),
    Column("person_id", String(36), nullable=False),
    Column("external_id", String(128), nullable=False),
    Column("lead_id", String(36)),
    instant("started_at", nullable=True),
    instant("last_message_at", nullable=True),
    Column("unread", Integer, nullable=False),
    instant("business_read_at", nullable=True),
    instant("customer_read_at", nullable=True),
    UniqueConstraint("business_id", "channel_account_id", "external_id"),
    Index("ix_conversations_business_id_last", "business_id", "last_message_at"),
    Index("ix_conversations_business_id_person_id", "business_id", "person_id"),
)


@dataclass(frozen=True, slots=True)
class ConversationFilter:
    """Which conversations to list: by tab (all, unread, leads) and by a part of the person's name."""

    tab: str = "all"
    text: str = ""


def save_conversation(tx: Tx, conversation: Conversation) -> bool:
    """Insert a conversation; False when it is there."""
    row = {name: getattr(conversation, name) for name in Conversation.__dataclass_fields__}
    return tx.insert_ignore(conversations, row)


_ONE = (conversations.c.business_id == bindparam("of_business"), conversations.c.id == bindparam("of_id"))
_FIND: Final = select(conversations).where(*_ONE)
_MOMENT: Final = bindparam("moment", type_=Instant())
_MOVE: Final = (
    update(conversations)
    .where(*_ONE)
    .values(
        last_message_at=case(
            (conversations.c.last_message_at > _MOMENT, conversations.c.last_message_at), else_=_MOMENT
        ),
        unread=conversations.c.unread + bindparam("more", type_=Integer()),
    )
)


def find_conversation(tx: Tx, business_id: str, conversation_id: str) -> Conversation | None:
    return tx.find(Conversation, _FIND, {"of_business": business_id, "of_id": conversation_id})


def list_conversations(
    tx: Tx, business_id: str, wanted: ConversationFilter, limit: int = 50, before: datetime | None = None
) -> list[Conversation]:
    """Conversations with at least one message, latest first."""
    statement = _matching(select(conversations), business_id, wanted)
    if before is not None:
        statement = statement.where(conversations.c.last_message_at < before)
    return tx.list(Conversation, statement.order_by(conversations.c.last_message_at.desc()).limit(limit))


def count_conversations(tx: Tx, business_id: str, wanted: ConversationFilter) -> int:
    counted = _matching(select(func.count()).select_from(conversations), business_id, wanted)
    return int(tx.scalar(counted))


def _matching(statement: Select[Any], business_id: str, wanted: ConversationFilter) -> Select[Any]:
    has_message = conversations.c.last_message_at.is_not(None)
    statement = statement.where(conversations.c.business_id == business_id, has_message)
    if wanted.tab == "unread":
        statement = statement.where(conversations.c.unread > 0)
    if wanted.tab == "leads":
        statement = statement.where(conversations.c.lead_id.is_not(None))
    if wanted.text.strip():
        named = select(persons.c.id).where(
            persons.c.business_id == business_id,
            or_(
                persons.c.name.icontains(wanted.text.strip(), autoescape=True),
                persons.c.external_id == wanted.text.strip(),
            ),
        )
        statement = statement.where(conversations.c.person_id.in_(named))
    return statement


def record_message_time(tx: Tx, conversation: Conversation, at: datetime, *, from_customer: bool) -> None:
    """Move a conversation along: its last message, and what is unread."""
    one = {"of_business": conversation.business_id, "of_id": conversation.id}
    tx.execute(_MOVE, one | {"moment": at, "more": int(from_customer)})


def record_start(tx: Tx, conversation: Conversation, at: datetime) -> bool:
    """Note when the person wrote first, unless that was earlier; say whether this starts the conversation."""
    mine = _change_of(conversation.business_id, conversation.id).values(started_at=at)
    if tx.execute(mine.where(conversations.c.started_at.is_(None))).rowcount == 1:
        return True
    tx.execute(mine.where(conversations.c.started_at > at))
    return False


def record_business_read(tx: Tx, business_id: str, conversation_id: str) -> bool:
    """Note that the business has read a conversation; say whether there is such a one."""
    mine = _change_of(business_id, conversation_id)
    return tx.execute(mine.values(unread=0, business_read_at=tx.now)).rowcount == 1


def record_customer_read(tx: Tx, conversation: Conversation, at: datetime) -> None:
    """Note up to when the person has read; it never goes back."""
    known = conversations.c.customer_read_at
    mine = _change_of(conversation.business_id, conversation.id).where(or_(known.is_(None), known < at))
    tx.execute(mine.values(customer_read_at=at))


def record_lead(tx: Tx, business_id: str, conversation_id: str, lead_id: str) -> None:
    """Note which lead a conversation made."""
    tx.execute(_change_of(business_id, conversation_id).values(lead_id=lead_id))


def _change_of(business_id: str, conversation_id: str) -> Update:
    return update(conversations).where(
        conversations.c.business_id == business_id, conversations.c.id == conversation_id
    )
