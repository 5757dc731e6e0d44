"""Opening the thread of a person, and the ids that follow from the platform's own."""

from contatto.channels.model import ChannelAccount, Chatted, Progressed, Referred, WasRead
from contatto.channels.registry import CONNECTORS
from contatto.inbox import rules
from contatto.inbox.index import ThreadIds, Threads
from contatto.inbox.model import Conversation, Person, ThreadState
from contatto.inbox.store import conversations
from contatto.inbox.store.persons import is_blocked as is_person_blocked
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import named_id
from contatto.kit.vault import Vault

type Event = Chatted | Referred | WasRead | Progressed


def ids_of(tx: Tx, account: ChannelAccount, incoming: Event, threads: Threads) -> ThreadIds:
    """The ids of the person and of the thread of an event, found out once for all that is read together."""
    asked = (account.id, incoming.person_id, incoming.conversation_id)
    if asked not in threads.ids:
        threads.ids[asked] = _ids_of(tx, account, *asked[1:])
    return threads.ids[asked]


def _ids_of(tx: Tx, account: ChannelAccount, person: str, thread: str) -> ThreadIds:
    kept_person = kept_id(tx, account, person)
    kept_thread = kept_person if thread == person else kept_id(tx, account, thread)
    return ThreadIds(
        person=person_id_of(tx.vault, account, kept_person),
        external_person=kept_person,
        conversation=conversation_id_of(account, kept_thread),
        external_conversation=kept_thread,
        address=person if kept_person != person else "",
    )


def open_conversation(
    tx: Tx, account: ChannelAccount, incoming: Event, threads: Threads | None = None
) -> Conversation:
    """The conversation of an event, made when it is the first; its person too.

    With ``threads`` that is written together with what else happens there.
    """
    if threads is None:
        threads = Threads(tx)
        opened = open_conversation(tx, account, incoming, threads)
        threads.write()
        return opened
    ids = ids_of(tx, account, incoming, threads)
    person = Person(
        id=ids.person,
        business_id=account.business_id,
        channel_account_id=account.id,
        external_id=ids.external_person,
        name=rules.shown_name(incoming),
        stated_name="",
        stated_at=None,
        created_at=incoming.at,
    )
    known = threads.find_conversation(account.business_id, ids.conversation)
    is_new = threads.see_person(person)
    if known is not None and known.person_id == person.id:
        return known
    if ids.address:
        threads.keep_address(person, ids.address)
    if known is not None:
        return known
    is_blocked = not is_new and is_person_blocked(tx, account.business_id, person.id)
    return threads.open(
        Conversation(
            id=ids.conversation,
            business_id=account.business_id,
            channel_account_id=account.id,
            person_id=person.id,
            external_id=ids.external_conversation,
            lead_id=None,
            started_at=None,
            last_message_at=None,
            unread=0,
            business_read_at=None,
            customer_read_at=None,
            state=ThreadState.BLOCKED if is_blocked else ThreadState.OPEN,
        )
    )


def kept_id(tx: Tx, account: ChannelAccount, external_id: str) -> str:
    """The platform's id as it is kept: its blind index where it is a contact detail, such as a number."""
    if not CONNECTORS[account.platform].dialect.ids_are_contacts:
        return external_id
    return tx.vault.blind(external_id, account.business_id).hex()


def person_id_of(vault: Vault, account: ChannelAccount, external_id: str) -> str:
    """A person's id follows from the account and the platform's id: no look-up, whatever comes first.

    It stands in files for analysts too, so it takes our key to find out whose it is by trying ids.
    """
    return vault.named_id(account.id, external_id)


def conversation_id_of(account: ChannelAccount, external_id: str) -> str:
    return named_id(account.id, f"conversation:{external_id}")


def message_id_of(account: ChannelAccount, external_id: str) -> str:
    return named_id(account.id, f"message:{external_id}")


def owned_conversation(tx: Tx, business_id: str, conversation_id: str) -> Conversation:
    """A conversation of the business.

    Raises:
        Refused: NOT_FOUND.
    """
    conversation = conversations.find_conversation(tx, business_id, conversation_id)
    if conversation is None:
        raise Refused(errors.NOT_FOUND)
    return conversation


def conversation_to_change(tx: Tx, business_id: str, conversation_id: str) -> Conversation:
    """Return a conversation of the business, locked until the end of the transaction.

    Raises:
        Refused: NOT_FOUND.
    """
    locked = conversations.list_conversations_to_move(tx, [business_id], [conversation_id])
    if not locked:
        raise Refused(errors.NOT_FOUND)
    return locked[0]
