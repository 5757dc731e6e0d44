"""Forgetting people in the inbox, for whoever erases their leads."""

from collections.abc import Collection
from typing import Final

from contatto.capture import actions as capture
from contatto.channels.model import ChannelAccount, Chatted, Referred, WasRead
from contatto.channels.registry import CONNECTORS
from contatto.channels.store import find_account
from contatto.inbox.actions.threads import ids_of
from contatto.inbox.index import Threads
from contatto.inbox.model import Receipt, ReceiptState
from contatto.inbox.store.conversations import list_conversations_to_move
from contatto.inbox.store.erasing import (
    delete_chats,
    delete_refused_bodies,
    list_chats,
    list_external_ids,
    list_erased_texts,
)
from contatto.inbox.store.receipts import (
    delete_bodies,
    list_receipts_of_account,
    mark_account_held,
    mark_receipts,
    open_receipt,
)
from contatto.kit.db.tx import Tx
from contatto.leads.model import ErasedPeople
from contatto.spam.actions import forget_verdicts
from contatto.subscriptions import actions as pushes

ERASED: Final = "erased"
"""The reason of deliveries that are refused because their person is erased."""


def hold_chats(tx: Tx, business_id: str, person_ids: Collection[str]) -> None:
    """Lock the chats of persons against other work, and refuse deliveries of theirs that wait.

    The order of locks is that of settling: the channel account, the conversation, then the lead.
    """
    chats = list_chats(tx, business_id, person_ids)
    for account_id in sorted(set(chats.values())):
        account = find_account(tx, business_id, account_id)
        if account is None:
            continue
        mark_account_held(tx, business_id, account.external_id)
        waiting = list_receipts_of_account(tx, business_id, account.external_id)
        late = [receipt for receipt in waiting if _person_of(tx, account, receipt) in person_ids]
        mark_receipts(tx, late, ReceiptState.REFUSED, ERASED)
        delete_bodies(tx, late)
    list_conversations_to_move(tx, [business_id], sorted(chats))


def _person_of(tx: Tx, account: ChannelAccount, receipt: Receipt) -> str:
    """Return the person of a delivery, or an empty text."""
    incoming = CONNECTORS[account.platform].parse(open_receipt(tx.vault, receipt))
    if not isinstance(incoming, Chatted | Referred | WasRead):
        return ""
    return ids_of(tx, account, incoming, Threads(tx)).person


def forget_chats(tx: Tx, erased: ErasedPeople) -> set[str]:
    """Delete the chats of persons, with pictures, notes, pushes and refused deliveries that tell of them.

    Returns:
        The contact values that stood in their messages.
    """
    account_ids = list_chats(tx, erased.business_id, erased.person_ids)
    chat_ids = set(account_ids)
    texts = dict(list_erased_texts(tx, erased.business_id, chat_ids))
    accounts = [
        find_account(tx, erased.business_id, account_id) for account_id in sorted(set(account_ids.values()))
    ]
    countries = {account.registration_country for account in accounts if account is not None}
    values = {
        value
        for text in texts.values()
        for country in countries
        for value in capture.list_contacts(text, country)
    }
    words = list_external_ids(tx, erased.business_id, erased.person_ids) | erased.contacts
    pushes.forget_subjects(tx, erased.business_id, {*texts, *chat_ids, *erased.lead_ids})
    delete_refused_bodies(tx, erased.business_id, {word.encode() for word in words if word})
    forget_verdicts(tx, erased.business_id, chat_ids)
    delete_chats(tx, erased.business_id, erased.person_ids, chat_ids)
    return values
