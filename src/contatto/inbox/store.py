"""Tables of receipts, persons, conversations, messages and notices; message texts are sealed."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Column,
    Index,
    Integer,
    LargeBinary,
    Select,
    String,
    Table,
    UniqueConstraint,
    case,
    func,
    literal,
    literal_column,
    or_,
    select,
    update,
)

from contatto.channels.model import Label, MessageKind, Platform, Sender
from contatto.inbox.model import (
    Conversation,
    InlineNotice,
    Ledger,
    Message,
    Person,
    Receipt,
    ReceiptState,
)
from contatto.kit.db.tx import Tx, insert_for
from contatto.kit.db.types import Choice, Instant, Serial, Words, instant, key, metadata, sealed, tenant, text

receipts = Table(
    "receipts",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    tenant(),
    Column("platform", Choice(Platform), nullable=False),
    Column("account", String(128), nullable=False),
    Column("natural_key", String(300), nullable=False),
    Column("body", LargeBinary),
    Column("copies", Integer, nullable=False),
    Column("state", Choice(ReceiptState), nullable=False),
    Column("reason", String(64)),
    Column("attempts", Integer, nullable=False),
    instant("received_at"),
    UniqueConstraint("business_id", "platform", "natural_key"),
    Index("ix_receipts_waiting", "id", sqlite_where=literal_column("state = 'received'"),
          postgresql_where=literal_column("state = 'received'")),
)  # fmt: skip

persons = Table(
    "persons",
    metadata,
    key(),
    tenant(),
    Column("channel_account_id", String(36), nullable=False),
    Column("external_id", String(128), nullable=False),
    text("name"),
    instant("created_at"),
    UniqueConstraint("business_id", "channel_account_id", "external_id"),
)

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
    instant("last_message_at"),
    Column("unread", Integer, nullable=False),
    instant("business_read_at", nullable=True),
    instant("customer_read_at", nullable=True),
    UniqueConstraint("business_id", "channel_account_id", "external_id"),
    Index("ix_conversations_business_id_last", "business_id", "last_message_at"),
    Index("ix_conversations_business_id_person_id", "business_id", "person_id"),
)

messages = Table(
    "messages",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    tenant(),
    Column("conversation_id", String(36), nullable=False),
    Column("sender", Choice(Sender), nullable=False),
    Column("kind", Choice(MessageKind), nullable=False),
    sealed("body"),
    text("author"),
    instant("at"),
    Index("ix_messages_of_conversation", "business_id", "conversation_id", "at", "seq"),
)

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


def _append_receipt(dialect: str) -> Any:
    insert = insert_for(dialect, receipts)
    again = {"copies": receipts.c.copies + 1}
    return insert.on_conflict_do_update(index_elements=["business_id", "platform", "natural_key"], set_=again)


APPEND_RECEIPT: Final = {dialect: _append_receipt(dialect) for dialect in ("sqlite", "postgresql")}
"""The insert of the hot path: a repeated delivery only counts up its copies."""


@dataclass(frozen=True, slots=True)
class ConversationFilter:
    """Which conversations to list: by tab (all, unread, leads) and by a part of the person's name."""

    tab: str = "all"
    text: str = ""


def receipt_row(
    business_id: str, platform: Platform, label: Label, body: bytes, at: datetime
) -> dict[str, Any]:
    """A delivery as it comes in, its body sealed. Labels are a stranger's text, so they are made storable."""
    natural = label.natural_key
    if not natural.isprintable():
        natural = f"text:{hashlib.sha256(natural.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return {
        "business_id": business_id,
        "platform": platform,
        "account": label.account if label.account.isprintable() else "",
        "natural_key": natural,
        "body": body,
        "copies": 1,
        "state": ReceiptState.RECEIVED,
        "reason": None,
        "attempts": 0,
        "received_at": at,
    }


def list_waiting_receipts(tx: Tx, limit: int) -> list[Receipt]:
    """Deliveries of all businesses that wait to be processed, in order of arrival; for the worker only."""
    waiting = (
        select(receipts)
        .where(receipts.c.state == literal_column("'received'"))
        .order_by(receipts.c.id)
        .limit(limit)
    )
    return tx.list(Receipt, waiting.with_for_update(skip_locked=True) if tx.locks_rows else waiting)


def mark_receipt(tx: Tx, receipt: Receipt, state: ReceiptState, reason: str | None) -> None:
    """Settle a receipt. The body of a stored one is let go: the message is kept, the copy is not needed."""
    values: dict[str, Any] = {"state": state, "reason": reason}
    if state in (ReceiptState.STORED, ReceiptState.MERGED):
        values["body"] = None
    tx.execute(update(receipts).where(receipts.c.id == receipt.id).values(**values))


def mark_receipt_tried(tx: Tx, receipt: Receipt) -> None:
    tx.execute(update(receipts).where(receipts.c.id == receipt.id).values(attempts=receipt.attempts + 1))


def count_receipts(tx: Tx, business_id: str) -> Ledger:
    """The ledger of a business: received = stored + merged + refused + waiting."""
    counted = (
        select(
            receipts.c.state,
            receipts.c.reason,
            func.count().label("rows"),
            func.sum(receipts.c.copies).label("copies"),
        )
        .where(receipts.c.business_id == business_id)
        .group_by(receipts.c.state, receipts.c.reason)
    )
    by_state = dict.fromkeys(ReceiptState, 0)
    reasons: dict[str, int] = {}
    copies = rows = 0
    for row in tx.execute(counted).mappings():
        by_state[row["state"]] += row["rows"]
        copies, rows = copies + int(row["copies"]), rows + row["rows"]
        if row["state"] is ReceiptState.REFUSED:
            reasons[row["reason"] or ""] = row["rows"]
    return Ledger(
        received=copies,
        stored=by_state[ReceiptState.STORED],
        merged=by_state[ReceiptState.MERGED] + copies - rows,
        refused=by_state[ReceiptState.REFUSED],
        waiting=by_state[ReceiptState.RECEIVED],
        reasons=reasons,
    )


def save_person(tx: Tx, person: Person) -> None:
    """Insert a person; one who is there gets a name if there was none."""
    row = {name: getattr(person, name) for name in Person.__dataclass_fields__}
    if not tx.insert_ignore(persons, row) and person.name:
        unnamed = update(persons).where(
            persons.c.business_id == person.business_id, persons.c.id == person.id, persons.c.name == ""
        )
        tx.execute(unnamed.values(name=person.name))


def find_person(tx: Tx, business_id: str, person_id: str) -> Person | None:
    mine = persons.c.business_id == business_id
    return tx.find(Person, select(persons).where(mine, persons.c.id == person_id))


def list_persons(tx: Tx, business_id: str, person_ids: set[str]) -> dict[str, Person]:
    mine = select(persons).where(persons.c.business_id == business_id, persons.c.id.in_(person_ids))
    return {person.id: person for person in tx.list(Person, mine)}


def save_conversation(tx: Tx, conversation: Conversation) -> bool:
    """Insert a conversation; False when it is there."""
    row = {name: getattr(conversation, name) for name in Conversation.__dataclass_fields__}
    return tx.insert_ignore(conversations, row)


def find_conversation(tx: Tx, business_id: str, conversation_id: str) -> Conversation | None:
    mine = conversations.c.business_id == business_id
    return tx.find(Conversation, select(conversations).where(mine, conversations.c.id == conversation_id))


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
    statement = statement.where(conversations.c.business_id == business_id)
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
    """Move a conversation along: its last message, its first one, and what is unread."""
    columns = conversations.c
    moment = literal(at, Instant())
    later = columns.last_message_at < moment
    values: dict[str, Any] = {"last_message_at": case((later, moment), else_=columns.last_message_at)}
    if from_customer:
        earlier = or_(columns.started_at.is_(None), columns.started_at > moment)
        values["started_at"] = case((earlier, moment), else_=columns.started_at)
        unseen = or_(columns.business_read_at.is_(None), columns.business_read_at < moment)
        values["unread"] = columns.unread + case((unseen, 1), else_=0)
    mine = update(conversations).where(
        columns.business_id == conversation.business_id, columns.id == conversation.id
    )
    tx.execute(mine.values(**values))


def record_business_read(tx: Tx, business_id: str, conversation_id: str) -> bool:
    """Note that the business has read a conversation; say whether there is such a one."""
    mine = update(conversations).where(
        conversations.c.business_id == business_id, conversations.c.id == conversation_id
    )
    return tx.execute(mine.values(unread=0, business_read_at=tx.now)).rowcount == 1


def record_customer_read(tx: Tx, conversation: Conversation, at: datetime) -> None:
    columns = conversations.c
    earlier = or_(columns.customer_read_at.is_(None), columns.customer_read_at < at)
    mine = update(conversations).where(
        columns.business_id == conversation.business_id, columns.id == conversation.id, earlier
    )
    tx.execute(mine.values(customer_read_at=at))


def record_lead(tx: Tx, business_id: str, conversation_id: str, lead_id: str) -> None:
    """Note which lead a conversation made."""
    mine = update(conversations).where(
        conversations.c.business_id == business_id, conversations.c.id == conversation_id
    )
    tx.execute(mine.values(lead_id=lead_id))


def append_message(tx: Tx, business_id: str, message: Message) -> bool:
    """Append a message, its text sealed; False when it was there before. ``seq`` is given by the table."""
    row = {
        "id": message.id,
        "business_id": business_id,
        "conversation_id": message.conversation_id,
        "sender": message.sender,
        "kind": message.kind,
        "body": tx.vault.seal(message.text, business_id),
        "author": message.author,
        "at": message.at,
    }
    return tx.insert_ignore(messages, row)


def list_messages(
    tx: Tx, business_id: str, conversation_id: str, limit: int = 200, before: datetime | None = None
) -> list[Message]:
    """The latest messages of a conversation, oldest first, their texts opened."""
    mine = _messages_of(business_id, conversation_id)
    if before is not None:
        mine = mine.where(messages.c.at < before)
    rows = tx.execute(mine.order_by(messages.c.at.desc(), messages.c.seq.desc()).limit(limit)).mappings()
    return [_opened(tx, business_id, row) for row in reversed(list(rows))]


def list_messages_after(tx: Tx, business_id: str, conversation_id: str, seq: int) -> list[Message]:
    """Messages stored after a sequence number, in order of storage."""
    mine = _messages_of(business_id, conversation_id).where(messages.c.seq > seq)
    rows = tx.execute(mine.order_by(messages.c.seq).limit(500)).mappings()
    return [_opened(tx, business_id, row) for row in rows]


def list_last_messages(tx: Tx, business_id: str, conversation_ids: set[str]) -> dict[str, Message]:
    """The latest message of each conversation."""
    ranked = (
        select(
            messages,
            func.row_number()
            .over(
                partition_by=messages.c.conversation_id,
                order_by=(messages.c.at.desc(), messages.c.seq.desc()),
            )
            .label("place"),
        )
        .where(messages.c.business_id == business_id, messages.c.conversation_id.in_(conversation_ids))
        .subquery()
    )
    rows = tx.execute(select(ranked).where(ranked.c.place == 1)).mappings()
    return {row["conversation_id"]: _opened(tx, business_id, row) for row in rows}


def find_message(tx: Tx, business_id: str, message_id: str) -> Message | None:
    mine = select(messages).where(messages.c.business_id == business_id, messages.c.id == message_id)
    row = tx.execute(mine).mappings().first()
    return None if row is None else _opened(tx, business_id, row)


def _messages_of(business_id: str, conversation_id: str) -> Select[Any]:
    return select(messages).where(
        messages.c.business_id == business_id, messages.c.conversation_id == conversation_id
    )


def _opened(tx: Tx, business_id: str, row: Mapping[Any, Any]) -> Message:
    return Message(
        seq=row["seq"],
        id=row["id"],
        conversation_id=row["conversation_id"],
        sender=row["sender"],
        kind=row["kind"],
        text=tx.vault.open(row["body"], business_id),
        author=row["author"],
        at=row["at"],
    )


def append_notice(tx: Tx, notice: InlineNotice) -> bool:
    """Append an inline notice; False when it was there before."""
    row = {name: getattr(notice, name) for name in InlineNotice.__dataclass_fields__}
    return tx.insert_ignore(inline_notices, row)


def list_notices(tx: Tx, business_id: str, conversation_id: str) -> list[InlineNotice]:
    mine = select(inline_notices).where(
        inline_notices.c.business_id == business_id, inline_notices.c.conversation_id == conversation_id
    )
    return tx.list(InlineNotice, mine.order_by(inline_notices.c.at))
