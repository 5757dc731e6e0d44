"""Forgetting people in the inbox: their chats go with all that hangs on them."""

from collections.abc import Collection, Iterator
from typing import Final

from sqlalchemy import select, update

from contatto.inbox.model import Receipt, ReceiptState
from contatto.inbox.store.conversations import conversations, mentions, persons
from contatto.inbox.store.desk import conversation_labels, delete_notices, private_notes
from contatto.inbox.store.messages import messages, photos, scheduled_replies, sends
from contatto.inbox.store.receipts import ad_referrals, open_receipt, receipts
from contatto.kit.db.tx import Tx

_HANGING: Final = (
    sends, ad_referrals, conversation_labels, private_notes, mentions, scheduled_replies, messages,
)  # fmt: skip


def list_chats(tx: Tx, business_id: str, person_ids: Collection[str]) -> dict[str, str]:
    """The conversations of some persons: the channel account of each by its id."""
    query = select(conversations.c.id, conversations.c.channel_account_id).where(
        conversations.c.business_id == business_id, conversations.c.person_id.in_(person_ids)
    )
    return {row["id"]: row["channel_account_id"] for row in tx.execute(query).mappings()}


def list_erased_texts(tx: Tx, business_id: str, chat_ids: Collection[str]) -> Iterator[tuple[str, str]]:
    """Every message of some conversations, as its id and its text."""
    query = select(messages.c.id, messages.c.body).where(
        messages.c.business_id == business_id, messages.c.conversation_id.in_(chat_ids)
    )
    for row in tx.execute(query).mappings().all():
        yield row["id"], tx.vault.open(row["body"], business_id, "messages.body", row["id"])


def list_external_ids(tx: Tx, business_id: str, person_ids: Collection[str]) -> set[str]:
    """The ids of persons on their platforms, and their addresses there."""
    query = select(persons.c.id, persons.c.external_id, persons.c.address).where(
        persons.c.business_id == business_id, persons.c.id.in_(person_ids)
    )
    external_ids: set[str] = set()
    for row in tx.execute(query).mappings():
        external_ids.add(row["external_id"])
        if row["address"] is not None:
            external_ids.add(tx.vault.open(row["address"], business_id, "persons.address", row["id"]))
    return external_ids


def delete_chats(tx: Tx, business_id: str, person_ids: Collection[str], chat_ids: Collection[str]) -> None:
    """Delete persons and their conversations with all that hangs on them.

    The conversation goes first: who writes into it meanwhile waits for its row.
    """
    own = conversations.delete().where(conversations.c.business_id == business_id)
    tx.execute(own.where(conversations.c.id.in_(chat_ids)))
    _delete_pictures(tx, business_id, chat_ids)
    delete_notices(tx, business_id, person_ids, chat_ids)
    for table in _HANGING:
        hanging = table.delete().where(table.c.business_id == business_id)
        tx.execute(hanging.where(table.c.conversation_id.in_(chat_ids)))
    statement = persons.delete().where(persons.c.business_id == business_id)
    tx.execute(statement.where(persons.c.id.in_(person_ids)))


def _delete_pictures(tx: Tx, business_id: str, chat_ids: Collection[str]) -> None:
    """Delete the pictures of conversations that no other conversation shows."""
    shown = select(messages.c.photo).where(
        messages.c.business_id == business_id, messages.c.photo.is_not(None)
    )
    elsewhere = shown.where(messages.c.conversation_id.not_in(chat_ids))
    statement = photos.delete().where(
        photos.c.business_id == business_id,
        photos.c.digest.in_(shown.where(messages.c.conversation_id.in_(chat_ids))),
        photos.c.digest.not_in(elsewhere),
    )
    tx.execute(statement)


def delete_refused_bodies(tx: Tx, business_id: str, words: Collection[bytes]) -> int:
    """Let go of the bodies of refused deliveries in which one of the words stands; say how many."""
    query = select(receipts).where(
        receipts.c.business_id == business_id,
        receipts.c.state == ReceiptState.REFUSED,
        receipts.c.body.is_not(None),
    )
    about = [
        receipt.id
        for receipt in tx.list(Receipt, query)
        if any(word in open_receipt(tx.vault, receipt) for word in words)
    ]
    statement = update(receipts).where(receipts.c.business_id == business_id, receipts.c.id.in_(about))
    return tx.execute(statement.values(body=None)).rowcount if about else 0
