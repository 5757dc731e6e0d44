"""Tables of receipts, persons, conversations, messages and notices; message texts are sealed."""

from collections.abc import Mapping
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
    case,
    func,
    literal,
    literal_column,
    or_,
    select,
    update,
)

from contatto.channels.model import MessageKind, Platform, Sender
from contatto.inbox.model import Conversation, InlineNotice, Ledger, Message, Person, Receipt, ReceiptState
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
    sealed("body", nullable=True),
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
    text("stated_name"),
    instant("stated_at", nullable=True),
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
    instant("last_message_at", nullable=True),
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


def list_waiting_receipts(tx: Tx, limit: int) -> list[Receipt]:
    """Deliveries of all businesses that wait to be processed, in order of arrival; for the worker only."""
    waiting = select(receipts).where(receipts.c.state == literal_column("'received'"))
    waiting = waiting.order_by(receipts.c.id).limit(limit)
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
    of, reason = receipts.c.state, receipts.c.reason
    counted = select(of, reason, func.count(), func.sum(receipts.c.copies)).group_by(of, reason)
    rows: list[Any] = list(tx.execute(counted.where(receipts.c.business_id == business_id)))
    by_state = {state: sum(row[2] for row in rows if row[0] is state) for state in ReceiptState}
    copies = sum(int(row[3]) for row in rows)
    return Ledger(
        received=copies,
        stored=by_state[ReceiptState.STORED],
        merged=by_state[ReceiptState.MERGED] + copies - sum(by_state.values()),
        refused=by_state[ReceiptState.REFUSED],
        waiting=by_state[ReceiptState.RECEIVED],
        reasons={row[1] or "": row[2] for row in rows if row[0] is ReceiptState.REFUSED},
    )


def save_person(tx: Tx, person: Person) -> None:
    """Insert a person; one who is there gets a name if there was none, and may have come earlier."""
    row = {name: getattr(person, name) for name in Person.__dataclass_fields__}
    if tx.insert_ignore(persons, row):
        return
    unnamed, later = persons.c.name == "", persons.c.created_at > person.created_at
    first = literal(person.created_at, Instant())
    values = {
        "name": case((unnamed, person.name), else_=persons.c.name),
        "created_at": case((later, first), else_=persons.c.created_at),
    }
    mine = _change_of_person(person.business_id, person.id)
    tx.execute(mine.where(or_(unnamed, later)).values(**values))


def record_stated_name(tx: Tx, person: Person, name: str, at: datetime) -> None:
    """Keep the name that a person stated, unless a later message stated another."""
    known = persons.c.stated_at
    mine = _change_of_person(person.business_id, person.id).where(or_(known.is_(None), known <= at))
    tx.execute(mine.values(stated_name=name, stated_at=at))


def _change_of_person(business_id: str, person_id: str) -> Update:
    return update(persons).where(persons.c.business_id == business_id, persons.c.id == person_id)


def load_person(tx: Tx, business_id: str, person_id: str) -> Person:
    """The person of a conversation, who is always there."""
    mine = persons.c.business_id == business_id
    return tx.list(Person, select(persons).where(mine, persons.c.id == person_id))[0]


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
    last, moment = conversations.c.last_message_at, literal(at, Instant())
    values: dict[str, Any] = {"last_message_at": case((last > moment, last), else_=moment)}
    if from_customer:
        values["unread"] = conversations.c.unread + 1
    tx.execute(_change_of(conversation.business_id, conversation.id).values(**values))


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
