"""Opening the thread of a person, and the ids that follow from the platform's own."""

from contatto.channels.model import ChannelAccount, Chatted, Progressed, Referred, WasRead
from contatto.channels.registry import CONNECTORS
from contatto.inbox import rules
from contatto.inbox.model import Conversation, Person, ThreadState
from contatto.inbox.store import conversations, persons
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import named_id
from contatto.kit.vault import Vault

type Event = Chatted | Referred | WasRead | Progressed


def open_conversation(tx: Tx, account: ChannelAccount, incoming: Event) -> Conversation:
    """The conversation of an event, made when it is the first; its person too."""
    external_id = kept_id(tx, account, incoming.person_id)
    person = Person(
        id=person_id_of(tx.vault, account, external_id),
        business_id=account.business_id,
        channel_account_id=account.id,
        external_id=external_id,
        name=rules.shown_name(incoming),
        stated_name="",
        stated_at=None,
        created_at=incoming.at,
    )
    is_hidden = external_id != incoming.person_id
    external_id = kept_id(tx, account, incoming.conversation_id)
    conversation_id = conversation_id_of(account, external_id)
    known = conversations.find_conversation(tx, account.business_id, conversation_id)
    if known is not None and known.person_id == person.id:
        persons.record_person_seen(tx, person)
        return known
    persons.save_person(tx, person)
    if is_hidden:
        persons.record_address(tx, account.business_id, person.id, incoming.person_id)
    fresh = Conversation(
        id=conversation_id,
        business_id=account.business_id,
        channel_account_id=account.id,
        person_id=person.id,
        external_id=external_id,
        lead_id=None,
        started_at=None,
        last_message_at=None,
        unread=0,
        business_read_at=None,
        customer_read_at=None,
        state=_first_state(tx, person),
    )
    if conversations.save_conversation(tx, fresh):
        return fresh
    return conversations.find_conversation(tx, account.business_id, conversation_id) or fresh


def _first_state(tx: Tx, person: Person) -> ThreadState:
    """A new conversation of a blocked person is blocked too."""
    is_blocked = persons.is_blocked(tx, person.business_id, person.id)
    return ThreadState.BLOCKED if is_blocked else ThreadState.OPEN


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
