"""Forgetting people in the inbox, for whoever erases their leads."""

from contatto.capture import actions as capture
from contatto.channels.store import find_account
from contatto.inbox.store import erasing as store
from contatto.kit.db.tx import Tx
from contatto.leads.model.erasing import Gone
from contatto.spam.actions import forget_judged
from contatto.subscriptions.actions import pushing as pushes


def forget_chats(tx: Tx, gone: Gone) -> set[str]:
    """Delete the chats of persons, with pictures, notes, pushes and refused deliveries that tell of them.

    Returns:
        The contact values that stood in their messages.
    """
    account_ids = store.list_chats(tx, gone.business_id, gone.person_ids)
    chat_ids = set(account_ids)
    texts = dict(store.list_texts(tx, gone.business_id, chat_ids))
    accounts = [find_account(tx, gone.business_id, each) for each in sorted(set(account_ids.values()))]
    countries = {each.registration_country for each in accounts if each is not None}
    found = {
        value
        for text in texts.values()
        for country in countries
        for value in capture.list_contacts(text, country)
    }
    words = store.list_external_ids(tx, gone.business_id, gone.person_ids) | gone.contacts
    pushes.forget_subjects(tx, gone.business_id, {*texts, *chat_ids, *gone.lead_ids})
    store.delete_refused_bodies(tx, gone.business_id, {word.encode() for word in words if word})
    forget_judged(tx, gone.business_id, chat_ids)
    store.delete_chats(tx, gone.business_id, gone.person_ids, chat_ids)
    return found
