"""Tables of labels, notes, saved and automatic replies; inputs of spam detection."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from operator import itemgetter
from typing import Any, Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    Select,
    String,
    Table,
    UniqueConstraint,
    and_,
    bindparam,
    func,
    select,
    true,
    update,
)

from contatto.channels.model import Sender
from contatto.inbox.model import AutomaticMessages, PrivateNote, SavedReply
from contatto.inbox.store.conversations import conversations
from contatto.inbox.store.messages import messages
from contatto.kit.db.statements import Query
from contatto.kit.db.tx import ROW, Tx, instant, key, metadata, row_of, rows_of, sealed, tenant, text, within
from contatto.leads.model import LeadStatus
from contatto.leads.store.records import leads
from contatto.measurement.store import IS_CLICK, touches
from contatto.spam.model import Mark
from contatto.spam.store import chats as judged_chats

conversation_labels = Table(
    "conversation_labels",
    metadata,
    tenant(),
    Column("conversation_id", String(36), nullable=False, primary_key=True),
    Column("label_id", String(36), nullable=False, primary_key=True),
)

private_notes = Table(
    "private_notes",
    metadata,
    key(),
    tenant(),
    Column("conversation_id", String(36), nullable=False),
    sealed("body"),
    text("author"),
    instant("at"),
    Index("ix_private_notes_of_conversation", "business_id", "conversation_id", "at"),
)

saved_replies = Table(
    "saved_replies",
    metadata,
    key(),
    tenant(),
    Column("shortcut", String(30), nullable=False),
    sealed("body"),
    instant("changed_at"),
    UniqueConstraint("business_id", "shortcut"),
    info={ROW: ("shortcut",)},
)


def append_conversation_label(tx: Tx, business_id: str, conversation_id: str, label_id: str) -> bool:
    """Put a label on a conversation; False when it is there."""
    row = {"business_id": business_id, "conversation_id": conversation_id, "label_id": label_id}
    return tx.insert_ignore(conversation_labels, row)


def delete_conversation_label(tx: Tx, business_id: str, conversation_id: str, label_id: str) -> bool:
    """Take a label off a conversation; False when it is not there."""
    own = {"conversation_id": conversation_id, "label_id": label_id}
    return tx.delete(conversation_labels, business_id, **own) == 1


def list_label_ids(tx: Tx, business_id: str, conversation_ids: Iterable[str]) -> dict[str, set[str]]:
    ids_by_conversation: dict[str, set[str]] = {
        conversation_id: set() for conversation_id in conversation_ids
    }
    query = select(conversation_labels).where(
        conversation_labels.c.business_id == business_id,
        conversation_labels.c.conversation_id.in_(list(ids_by_conversation)),
    )
    for row in tx.execute(query).mappings():
        ids_by_conversation[row["conversation_id"]].add(row["label_id"])
    return ids_by_conversation


def append_private_note(tx: Tx, note: PrivateNote) -> bool:
    """Append a note, sealed; False when it was there before."""
    row = row_of(note, without={"text"})
    body = tx.vault.seal(note.text, note.business_id, "private_notes.body", note.id)
    return tx.insert_ignore(private_notes, row | {"body": body})


def list_private_notes(tx: Tx, business_id: str, conversation_id: str) -> list[PrivateNote]:
    query = select(private_notes).where(*rows_of(private_notes, business_id, conversation_id=conversation_id))
    tx.record_contact_reads("conversation_id", (conversation_id,))
    return [
        PrivateNote(
            row["id"],
            business_id,
            conversation_id,
            tx.open_text(row["body"], business_id, "private_notes.body", row["id"]),
            row["author"],
            row["at"],
        )
        for row in tx.execute(query.order_by(private_notes.c.at)).mappings()
    ]


def save_reply(tx: Tx, reply: SavedReply) -> None:
    """Insert a saved reply; one with the same shortcut gets the new text."""
    body = tx.vault.seal(reply.text, reply.business_id, "saved_replies.body", reply.shortcut)
    new = {"body": body, "changed_at": tx.now}
    row = {"id": reply.id, "business_id": reply.business_id, "shortcut": reply.shortcut} | new
    insert = tx.upsert(saved_replies).values(**row)
    tx.execute(insert.on_conflict_do_update(index_elements=["business_id", "shortcut"], set_=new))


def delete_saved_reply(tx: Tx, business_id: str, reply_id: str) -> bool:
    return tx.delete(saved_replies, business_id, id=reply_id) == 1


def count_saved_replies(tx: Tx, business_id: str) -> int:
    return int(tx.scalar(select(func.count()).where(saved_replies.c.business_id == business_id)))


def list_saved_replies(tx: Tx, business_id: str) -> list[SavedReply]:
    """List saved replies by shortcut, opened."""
    query = select(saved_replies).where(saved_replies.c.business_id == business_id)
    rows = tx.execute(query.order_by(saved_replies.c.shortcut)).mappings()
    return [
        SavedReply(
            row["id"],
            business_id,
            row["shortcut"],
            tx.open_text(row["body"], business_id, "saved_replies.body", row["shortcut"]),
        )
        for row in rows
    ]


reply_targets = Table(
    "reply_targets",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("minutes", Integer, nullable=False),
    instant("changed_at"),
)


def find_reply_target(tx: Tx, business_id: str) -> timedelta | None:
    """Find the response time target of a business; None without one."""
    minutes = tx.scalar(select(reply_targets.c.minutes).where(reply_targets.c.business_id == business_id))
    return timedelta(minutes=minutes) if minutes else None


def list_reply_targets(tx: Tx) -> dict[str, timedelta]:
    """List response time targets by business."""
    query = select(reply_targets.c.business_id, reply_targets.c.minutes).where(reply_targets.c.minutes > 0)
    return {row.business_id: timedelta(minutes=row.minutes) for row in tx.execute(query)}


def save_reply_target(tx: Tx, business_id: str, minutes: int) -> None:
    """Save the response time target; 0 for none."""
    new = {"minutes": minutes, "changed_at": tx.now}
    insert = tx.upsert(reply_targets).values(business_id=business_id, **new)
    tx.execute(insert.on_conflict_do_update(index_elements=["business_id"], set_=new))


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
    """Return the automatic messages of an account and their revision; None if there are none."""
    query = select(automatic_messages).where(
        *rows_of(automatic_messages, business_id, channel_account_id=account_id)
    )
    row = tx.execute(query).mappings().first()
    return None if row is None else (_decode(row["content"]), row["revision"])


def save_automatic(
    tx: Tx, business_id: str, account_id: str, content: AutomaticMessages, revision: int
) -> bool:
    """Save automatic messages as the next revision; False when another member changed them meanwhile."""
    new = {"content": msgspec.json.encode(content).decode(), "revision": revision + 1, "changed_at": tx.now}
    if revision == 0:
        owner = {"channel_account_id": account_id, "business_id": business_id}
        return tx.insert_ignore(automatic_messages, owner | new)
    statement = update(automatic_messages).where(
        *rows_of(automatic_messages, business_id, channel_account_id=account_id, revision=revision)
    )
    return tx.execute(statement.values(**new)).rowcount == 1


_BUSINESS: Final = bindparam("of", type_=String())


def list_chats_of_good_leads(tx: Tx, business_id: str, limit: int) -> list[str]:
    """Return the latest chats with qualified or converted leads, by their ids."""
    condition = and_(
        leads.c.id == conversations.c.lead_id, leads.c.business_id == conversations.c.business_id
    )
    good = leads.c.status.in_((LeadStatus.QUALIFIED, LeadStatus.CONVERTED))
    query = select(conversations.c.id).join(leads, condition)
    query = query.where(conversations.c.business_id == business_id, good)
    return list(tx.execute(query.order_by(conversations.c.last_message_at.desc()).limit(limit)).scalars())


@dataclass(frozen=True, slots=True)
class Suspect:
    """A chat to check for spam, by its id."""

    id: str
    channel_account_id: str
    person_id: str


_SUSPECTS: Final = Query(
    select(conversations.c.id, conversations.c.channel_account_id, conversations.c.person_id).where(
        conversations.c.business_id == _BUSINESS, within(conversations.c.id, "ids")
    )
)


def list_suspects(tx: Tx, business_id: str, conversation_ids: Collection[str]) -> list[Suspect]:
    """Return the chats that still exist."""
    return [Suspect(*row) for row in _SUSPECTS.rows(tx, {"of": business_id, "ids": conversation_ids})]


_TAPS: Final = Query(
    select(touches.c.person_id, func.count())
    .where(
        touches.c.business_id == _BUSINESS, within(touches.c.person_id, "persons"), IS_CLICK,
        touches.c.ts >= bindparam("since", type_=BigInteger()),
    )
    .group_by(touches.c.person_id)
)  # fmt: skip


def count_taps(tx: Tx, business_id: str, person_ids: Collection[str], since_ts: int) -> dict[str, int]:
    """Count ad taps by person since a microsecond, without persons that have none."""
    values = {"of": business_id, "persons": person_ids, "since": since_ts}
    return {row[0]: row[1] for row in _TAPS.rows(tx, values)}


_MARKED: Final = Query(
    select(conversations.c.person_id, conversations.c.id)
    .join(
        judged_chats,
        and_(
            judged_chats.c.business_id == conversations.c.business_id,
            judged_chats.c.conversation_id == conversations.c.id,
        ),
    )
    .where(
        conversations.c.business_id == _BUSINESS, within(conversations.c.person_id, "persons"),
        judged_chats.c.mark == bindparam("spam", type_=judged_chats.c.mark.type),
    )
)  # fmt: skip


def list_marked_chats(tx: Tx, business_id: str, person_ids: Collection[str]) -> dict[str, set[str]]:
    """Return the chats of persons that are marked as spam, by their ids; persons without one are left out."""
    chats_by_person: dict[str, set[str]] = defaultdict(set)
    for person_id, chat_id in _MARKED.rows(tx, {"of": business_id, "persons": person_ids, "spam": Mark.SPAM}):
        chats_by_person[person_id].add(chat_id)
    return dict(chats_by_person)


def _latest_of_each(on: str) -> Query:
    """Build the query for the latest messages of several chats; its syntax depends on the database."""
    latest = messages.alias("latest")
    of_customer = (
        latest.c.business_id == conversations.c.business_id,
        latest.c.conversation_id == conversations.c.id,
    )
    some = select(latest).where(*of_customer).order_by(latest.c.at.desc(), latest.c.seq.desc())
    some = some.limit(bindparam("each", type_=Integer()))
    message_rows: Any = messages
    if on == "postgresql":
        message_rows = some.lateral("said")
        both = conversations.join(message_rows, true())
    else:
        seqs = some.with_only_columns(latest.c.seq).correlate(conversations)
        both = conversations.join(message_rows, message_rows.c.seq.in_(seqs))
    query: Select[Any] = select(
        message_rows.c.conversation_id,
        message_rows.c.sender,
        message_rows.c.body,
        message_rows.c.at,
        message_rows.c.seq,
        message_rows.c.id,
    )
    conditions = conversations.c.business_id == _BUSINESS, within(conversations.c.id, "ids")
    return Query(query.select_from(both).where(*conditions))


_LATEST: Final = {on: _latest_of_each(on) for on in ("sqlite", "postgresql")}


def list_texts(tx: Tx, business_id: str, conversation_ids: Sequence[str], most: int) -> dict[str, list[str]]:
    """List customers' texts among the latest ``most`` messages of chats, oldest first.

    Older messages of a long chat are not read.
    """
    latest = _LATEST[tx.connection.dialect.name]
    rows = latest.rows(tx, {"of": business_id, "ids": conversation_ids, "each": most})
    texts_by_conversation: dict[str, list[str]] = {
        conversation_id: [] for conversation_id in conversation_ids
    }
    for conversation_id, sender, body, _at, _seq, message_id in sorted(rows, key=itemgetter(3, 4)):
        if sender is Sender.CUSTOMER:
            texts_by_conversation[conversation_id].append(
                tx.vault.open(body, business_id, "messages.body", message_id)
            )
    return texts_by_conversation
