"""Opening the thread of a person, and the ids that follow from the platform's own."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from contatto.channels.actions import load_channel
from contatto.channels.model import (
    ChannelAccount,
    Chatted,
    MessageKind,
    Platform,
    Progressed,
    Referred,
    Sender,
    WasRead,
)
from contatto.channels.registry import CONNECTORS
from contatto.inbox import rules
from contatto.inbox.index import ThreadIds, Threads
from contatto.inbox.model import Conversation, InlineNotice, Message, NoticePosted, Person, ThreadState
from contatto.inbox.store import conversations, desk
from contatto.inbox.store.conversations import is_blocked as is_person_blocked
from contatto.kit import errors
from contatto.kit.api_types import Answer
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import named_id, timed_id
from contatto.kit.outbox import emit_all
from contatto.kit.timestamps import micros
from contatto.kit.vault import Vault
from contatto.leads.model import LeadCaptured, LeadRemoved, LeadUpdated
from contatto.measurement import store as measurement_store
from contatto.measurement.model import MeasuredAd, Touch

type Event = Chatted | Referred | WasRead | Progressed


def ids_of(tx: Tx, account: ChannelAccount, incoming: Event, threads: Threads) -> ThreadIds:
    """The ids of the person and of the thread of an event, found out once for all that is read together."""
    key = (account.id, incoming.person_id, incoming.conversation_id)
    if key not in threads.ids:
        threads.ids[key] = _ids_of(tx, account, *key[1:])
    return threads.ids[key]


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
    conversation = threads.find_conversation(account.business_id, ids.conversation)
    is_new = threads.see_person(person)
    if conversation is not None and conversation.person_id == person.id:
        return conversation
    if ids.address:
        threads.keep_address(person, ids.address)
    if conversation is not None:
        return conversation
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


def find_tapped_ad(tx: Tx, account: ChannelAccount, visitor: str) -> tuple[Touch, MeasuredAd] | None:
    """The last tap of a visitor, with its ad."""
    return find_tapped_of(tx, account.business_id, person_id_of(tx.vault, account, visitor))


def find_tapped_of(tx: Tx, business_id: str, person_id: str) -> tuple[Touch, MeasuredAd] | None:
    """The last tap of a person, with its ad."""
    touch = measurement_store.find_last_tap(tx, business_id, person_id)
    ad = measurement_store.find_measured_ad(tx, business_id, touch.ad_id) if touch else None
    return (touch, ad) if touch and ad else None


def post_notices(tx: Tx, events: Sequence[LeadCaptured | LeadUpdated]) -> None:
    """Add inline notices to the threads that the leads came from (R37); a handler of the outbox."""
    marks = [
        conversations.LeadMade(event.business_id, event.conversation_id, event.lead_id) for event in events
    ]
    conversations.record_leads(tx, marks)
    posted = [_notice_of(event) for event in events if event.fields and event.conversation_id]
    changes = [
        (notice.business_id, NoticePosted(notice.business_id, notice.conversation_id, notice.lead_id))
        for notice in desk.append_notices(tx, posted)
    ]
    emit_all(tx, changes)


def _notice_of(event: LeadCaptured | LeadUpdated) -> InlineNotice:
    """The notice of an event; the same event has the same one. Those of one time lie beside each other."""
    at = micros(event.at)
    notice_id = timed_id(at // 1000, event.lead_id, f"{at}:{','.join(event.fields)}")
    return InlineNotice(
        notice_id, event.business_id, event.conversation_id, event.lead_id, event.fields, event.at
    )


def forget_lead(tx: Tx, event: LeadRemoved) -> None:
    """Take the mark and the notices of a lead out of its thread; a handler of the outbox."""
    desk.delete_lead_marks(tx, event.business_id, event.lead_id)


type MessageType = Literal["TEXT", "IMAGE", "OTHER"]
type MessageSource = Literal["API", "APP", "OTHERS"]
MESSAGE_TYPES: Final[Mapping[MessageKind, MessageType]] = {
    MessageKind.TEXT: "TEXT",
    MessageKind.AUTOMATIC: "TEXT",
    MessageKind.FORM: "TEXT",
    MessageKind.PHOTO: "IMAGE",
    MessageKind.OTHER: "OTHER",
}


def load_business_account(tx: Tx, business_id: str, account_id: str) -> ChannelAccount:
    """The channel account that the API calls a business.

    Raises:
        Refused: NOT_FOUND.
    """
    return load_channel(tx, business_id, account_id, "business_id")


def load_business_conversation(tx: Tx, account: ChannelAccount, conversation_id: str) -> Conversation:
    """A conversation of the account, by our id of it or by its platform's.

    Raises:
        Refused: NOT_FOUND.
    """
    for candidate_id in (conversation_id, conversation_id_of(account, conversation_id)):
        conversation = conversations.find_conversation(tx, account.business_id, candidate_id)
        if conversation is not None and conversation.channel_account_id == account.id:
            return conversation
    raise Refused(errors.NOT_FOUND, "conversation_id: this account has no conversation with this id.")


def shown_id(account: ChannelAccount, conversation: Conversation) -> str:
    """The id of a conversation in the API: the platform's own on TikTok, ours elsewhere."""
    return conversation.external_id if account.platform is Platform.TIKTOK else conversation.id


def business_open_id(account: ChannelAccount) -> str:
    return account.external_id or account.id


class SideInfo(Answer, frozen=True):
    """One side of a conversation."""

    role: Literal["PERSONAL_ACCOUNT", "BUSINESS_ACCOUNT"]
    id: str
    display_name: str


class Sides(NamedTuple):
    from_user: SideInfo
    to_user: SideInfo


def show_sides(account: ChannelAccount, person: Person, sender: Sender) -> Sides:
    """Return sender and recipient of a message, in the words of the API."""
    customer = SideInfo("PERSONAL_ACCOUNT", person.external_id, person.name)
    business = SideInfo("BUSINESS_ACCOUNT", business_open_id(account), account.name)
    return Sides(customer, business) if sender is Sender.CUSTOMER else Sides(business, customer)


def source_of_message(message: Message) -> MessageSource:
    """Return the platform of a message, in the words of the API."""
    if message.kind is MessageKind.AUTOMATIC:
        return "OTHERS"
    return "API" if message.author else "APP"
