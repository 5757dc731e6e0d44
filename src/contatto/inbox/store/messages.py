"""Messages of both sides; their texts are sealed."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    FromClause,
    Index,
    Select,
    String,
    Table,
    and_,
    func,
    literal_column,
    or_,
    select,
)

from contatto.channels.model import MessageKind, Sender
from contatto.inbox.model import Message
from contatto.kit.db.hot import Query, insert_new
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import ROW, Choice, Serial, instant, metadata, sealed, tenant, text
from contatto.kit.db.within import within
from contatto.kit.looks import note_seen

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
    Column("photo", String(64)),
    Column("form", String(20)),
    Index("ix_messages_of_conversation", "business_id", "conversation_id", "at", "seq"),
    Index("ix_messages_photo", "business_id", "photo", sqlite_where=literal_column("photo IS NOT NULL"),
          postgresql_where=literal_column("photo IS NOT NULL")),
    info={ROW: ("id",)},
)  # fmt: skip


def is_answer_of_person(said: FromClause) -> ColumnElement[bool]:
    """Return the condition for an answer that a person of the business wrote, for all who count answers."""
    return and_(said.c.sender == Sender.BUSINESS, said.c.kind != MessageKind.AUTOMATIC)


def find_first_answer(
    tx: Tx, business_id: str, conversation_id: str
) -> tuple[datetime, datetime | None] | None:
    """When the customer wrote first, and when a person of the business then did, if ever.

    None where the customer never wrote. What nobody wrote just then is no answer.
    """
    mine = messages.c.business_id == business_id, messages.c.conversation_id == conversation_id
    wrote = messages.c.sender == Sender.CUSTOMER
    began = tx.execute(select(messages.c.at).where(*mine, wrote).order_by(messages.c.at).limit(1)).scalar()
    if began is None:
        return None
    answer = select(messages.c.at).where(*mine, is_answer_of_person(messages), messages.c.at >= began)
    return began, tx.execute(answer.order_by(messages.c.at).limit(1)).scalar()


def append_message(tx: Tx, business_id: str, message: Message) -> bool:
    """Append a message, its text sealed; False when it was there before. ``seq`` is given by the table."""
    return tx.insert_ignore(messages, _row_of(tx, business_id, message))


def append_messages(tx: Tx, said: Iterable[tuple[str, Message]]) -> int:
    """Append messages, each with its business, in their order; say how many were not there before."""
    return insert_new(tx, messages, [_row_of(tx, business_id, message) for business_id, message in said])


_KNOWN: Final = Query(
    select(messages.c.id).where(within(messages.c.business_id, "businesses"), within(messages.c.id, "ids"))
)


def list_known_messages(tx: Tx, business_ids: Collection[str], message_ids: Collection[str]) -> set[str]:
    """Those of the ids of which there is a message; for the worker."""
    return {each for (each,) in _KNOWN.rows(tx, {"businesses": business_ids, "ids": message_ids})}


def _row_of(tx: Tx, business_id: str, message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "business_id": business_id,
        "conversation_id": message.conversation_id,
        "sender": message.sender,
        "kind": message.kind,
        "body": tx.vault.seal(message.text, business_id, "messages.body", message.id),
        "author": message.author,
        "at": message.at,
        "photo": message.photo,
        "form": message.form,
    }


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


def list_messages_before(
    tx: Tx, business_id: str, conversation_id: str, seq: int | None, limit: int
) -> list[Message]:
    """Messages of a conversation, latest first: all, or those earlier than the one with this number."""
    mine = _messages_of(business_id, conversation_id)
    if seq is not None:
        at = select(messages.c.at).where(messages.c.business_id == business_id, messages.c.seq == seq)
        when = at.scalar_subquery()
        mine = mine.where(or_(messages.c.at < when, and_(messages.c.at == when, messages.c.seq < seq)))
    rows = tx.execute(mine.order_by(messages.c.at.desc(), messages.c.seq.desc()).limit(limit)).mappings()
    return [_opened(tx, business_id, row) for row in rows]


class MessageText(NamedTuple):
    """The text of a message, for a search."""

    seq: int
    conversation_id: str
    at: datetime
    text: str


def list_newest_texts(tx: Tx, business_id: str, limit: int, before: int | None) -> Iterator[MessageText]:
    """Yield the newest messages before a sequence number, each decrypted when it is read."""
    columns = (messages.c.seq, messages.c.id, messages.c.conversation_id, messages.c.at, messages.c.body)
    newest = select(*columns).where(messages.c.business_id == business_id)
    if before is not None:
        newest = newest.where(messages.c.seq < before)
    for row in tx.execute(newest.order_by(messages.c.seq.desc()).limit(limit)):
        body = tx.open_text(row.body, business_id, "messages.body", row.id)
        yield MessageText(row.seq, row.conversation_id, row.at, body)


def has_messages_before(tx: Tx, business_id: str, seq: int) -> bool:
    older = select(messages.c.seq).where(messages.c.business_id == business_id, messages.c.seq < seq)
    return tx.scalar(older.limit(1)) is not None


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


def find_last_time(tx: Tx, business_id: str, conversation_id: str, sender: Sender) -> datetime | None:
    """When one side wrote last."""
    mine = (messages.c.business_id == business_id, messages.c.conversation_id == conversation_id)
    last = select(func.max(messages.c.at)).where(*mine, messages.c.sender == sender)
    found: datetime | None = tx.scalar(last)
    return found


def find_message(tx: Tx, business_id: str, message_id: str) -> Message | None:
    mine = select(messages).where(messages.c.business_id == business_id, messages.c.id == message_id)
    row = tx.execute(mine).mappings().first()
    return None if row is None else _opened(tx, business_id, row)


def _messages_of(business_id: str, conversation_id: str) -> Select[Any]:
    return select(messages).where(
        messages.c.business_id == business_id, messages.c.conversation_id == conversation_id
    )


def _opened(tx: Tx, business_id: str, row: Mapping[Any, Any]) -> Message:
    note_seen("conversation_id", (row["conversation_id"],))
    return Message(
        seq=row["seq"],
        id=row["id"],
        conversation_id=row["conversation_id"],
        sender=row["sender"],
        kind=row["kind"],
        text=tx.open_text(row["body"], business_id, "messages.body", row["id"]),
        author=row["author"],
        at=row["at"],
        photo=row["photo"],
        form=row["form"],
    )
