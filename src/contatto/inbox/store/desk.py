"""What members add to conversations: labels, private notes, saved replies; notes and replies are sealed."""

from collections.abc import Iterable

from sqlalchemy import Column, Index, String, Table, UniqueConstraint, func, select

from contatto.inbox.model import PrivateNote, SavedReply
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import ROW, instant, key, metadata, row_of, sealed, tenant, text
from contatto.kit.looks import note_seen

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
    mine = conversation_labels.delete().where(
        conversation_labels.c.business_id == business_id,
        conversation_labels.c.conversation_id == conversation_id,
        conversation_labels.c.label_id == label_id,
    )
    return tx.execute(mine).rowcount == 1


def list_label_ids(tx: Tx, business_id: str, conversation_ids: Iterable[str]) -> dict[str, set[str]]:
    """Ids of labels by conversation."""
    found: dict[str, set[str]] = {conversation_id: set() for conversation_id in conversation_ids}
    mine = select(conversation_labels).where(
        conversation_labels.c.business_id == business_id,
        conversation_labels.c.conversation_id.in_(list(found)),
    )
    for row in tx.execute(mine).mappings():
        found[row["conversation_id"]].add(row["label_id"])
    return found


def append_private_note(tx: Tx, note: PrivateNote) -> bool:
    """Append a note, sealed; False when it was there before."""
    row = row_of(note, without={"text"})
    body = tx.vault.seal(note.text, note.business_id, "private_notes.body", note.id)
    return tx.insert_ignore(private_notes, row | {"body": body})


def list_private_notes(tx: Tx, business_id: str, conversation_id: str) -> list[PrivateNote]:
    mine = select(private_notes).where(
        private_notes.c.business_id == business_id, private_notes.c.conversation_id == conversation_id
    )
    note_seen("conversation_id", (conversation_id,))
    return [
        PrivateNote(
            row["id"],
            business_id,
            conversation_id,
            tx.open_text(row["body"], business_id, "private_notes.body", row["id"]),
            row["author"],
            row["at"],
        )
        for row in tx.execute(mine.order_by(private_notes.c.at)).mappings()
    ]


def save_reply(tx: Tx, reply: SavedReply) -> None:
    """Insert a saved reply; one with the same shortcut gets the new text."""
    body = tx.vault.seal(reply.text, reply.business_id, "saved_replies.body", reply.shortcut)
    new = {"body": body, "changed_at": tx.now}
    row = {"id": reply.id, "business_id": reply.business_id, "shortcut": reply.shortcut} | new
    insert = tx.upsert(saved_replies).values(**row)
    tx.execute(insert.on_conflict_do_update(index_elements=["business_id", "shortcut"], set_=new))


def delete_saved_reply(tx: Tx, business_id: str, reply_id: str) -> bool:
    mine = saved_replies.delete().where(
        saved_replies.c.business_id == business_id, saved_replies.c.id == reply_id
    )
    return tx.execute(mine).rowcount == 1


def count_saved_replies(tx: Tx, business_id: str) -> int:
    return int(tx.scalar(select(func.count()).where(saved_replies.c.business_id == business_id)))


def list_saved_replies(tx: Tx, business_id: str) -> list[SavedReply]:
    """Saved replies by shortcut, opened."""
    mine = select(saved_replies).where(saved_replies.c.business_id == business_id)
    rows = tx.execute(mine.order_by(saved_replies.c.shortcut)).mappings()
    return [
        SavedReply(
            row["id"],
            business_id,
            row["shortcut"],
            tx.open_text(row["body"], business_id, "saved_replies.body", row["shortcut"]),
        )
        for row in rows
    ]
