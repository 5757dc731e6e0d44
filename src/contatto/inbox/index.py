"""Unit of work of a batch: rows read once, writes collected."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from contatto.capture.actions import MessageContacts
from contatto.capture.store import CaptureSwitch, find_switch
from contatto.channels.model import ChannelAccount, Platform
from contatto.channels.store import find_account_by_external
from contatto.inbox.model import Conversation, Message, Person, Receipt
from contatto.inbox.store import conversations, messages
from contatto.inbox.store.conversations import LeadMade, Move
from contatto.kit.db.tx import Tx
from contatto.kit.outbox import emit_all
from contatto.leads.model import Lead

if TYPE_CHECKING:
    from contatto.measurement import actions as measurement


class Overtaken(Exception):
    """Another transaction stored something first that was not there when the batch looked."""


@dataclass(frozen=True, slots=True)
class ThreadIds:
    """The ids of our own that follow from those of an event; ``address`` where that is a contact detail."""

    person: str
    external_person: str
    conversation: str
    external_conversation: str
    address: str = ""


class Threads:
    """Persons, conversations and messages of a batch: read once, changed in memory, written together.

    Rows that were read are not read again; others are read when they are needed. Until ``write``
    no other query sees the changes.

    Attributes:
        ids: our ids by the account and the platform's ids of person and thread.
    """

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._conversations: dict[str, Conversation | None] = {}
        self._persons: dict[str, Person | None] = {}
        self._messages: dict[str, bool] = {}
        self.ids: dict[tuple[str, str, str], ThreadIds] = {}
        self._start_over()

    def _start_over(self) -> None:
        self._new_persons: list[Person] = []
        self._seen: list[Person] = []
        self._stated: list[Person] = []
        self._addresses: list[tuple[Person, str]] = []
        self._new_conversations: dict[str, Conversation] = {}
        self._new_moves: dict[str, list[Move]] = defaultdict(list)
        self._leads_made: dict[str, LeadMade] = {}
        self._new_messages: list[tuple[str, Message]] = []
        self._moves: list[Move] = []
        self._starts: list[tuple[Conversation, datetime]] = []

    def read(
        self,
        business_ids: Collection[str],
        conversation_ids: Collection[str],
        person_ids: Collection[str],
        message_ids: Collection[str],
    ) -> None:
        """Read what these ids name."""
        self._conversations |= dict.fromkeys(conversation_ids)
        self._persons |= dict.fromkeys(person_ids)
        self._messages |= dict.fromkeys(message_ids, False)
        if conversation_ids:
            stored_conversations = conversations.list_conversations_to_move(
                self._tx, business_ids, conversation_ids
            )
            self._conversations |= {conversation.id: conversation for conversation in stored_conversations}
        if person_ids:
            stored_persons = conversations.list_persons_of_many(self._tx, business_ids, person_ids)
            self._persons |= {person.id: person for person in stored_persons}
        if message_ids:
            existing_messages = messages.list_known_messages(self._tx, business_ids, message_ids)
            self._messages |= dict.fromkeys(existing_messages, True)

    def find_conversation(self, business_id: str, conversation_id: str) -> Conversation | None:
        if conversation_id not in self._conversations:
            self.read([business_id], [conversation_id], [], [])
        return self._conversations[conversation_id]

    def find_person(self, business_id: str, person_id: str) -> Person | None:
        if person_id not in self._persons:
            self.read([business_id], [], [person_id], [])
        return self._persons[person_id]

    def load_person(self, business_id: str, person_id: str) -> Person:
        """Return the person of a conversation, who is always there."""
        person = self.find_person(business_id, person_id)
        if person is None:
            raise LookupError("a conversation without its person")
        return person

    def see_person(self, person: Person) -> bool:
        """Return a person did something: a new one is kept, one who is there may get a name, or came earlier.

        Returns:
            Whether the person is new.
        """
        existing_person = self.find_person(person.business_id, person.id)
        if existing_person is None:
            self._persons[person.id] = person
            self._new_persons.append(person)
            return True
        name, first = existing_person.name or person.name, min(existing_person.created_at, person.created_at)
        if name != existing_person.name or first != existing_person.created_at:
            self._persons[person.id] = replace(existing_person, name=name, created_at=first)
            self._seen.append(person)
        return False

    def name_person(self, person: Person, name: str, at: datetime) -> None:
        """Keep the name that a person stated, unless a later message stated another."""
        existing_person = self.load_person(person.business_id, person.id)
        if existing_person.stated_at is None or existing_person.stated_at <= at:
            named = self._persons[person.id] = replace(existing_person, stated_name=name, stated_at=at)
            self._stated.append(named)

    def keep_address(self, person: Person, address: str) -> None:
        """Keep what a platform needs to reach a person where that is a contact detail itself."""
        self._addresses.append((person, address))

    def open(self, fresh: Conversation) -> Conversation:
        """Keep a new conversation."""
        self._conversations[fresh.id] = fresh
        self._new_conversations[fresh.id] = fresh
        return fresh

    def append(self, business_id: str, message: Message) -> bool:
        """Append a message; False when it was there before."""
        if message.id not in self._messages:
            self.read([business_id], [], [], [message.id])
        if self._messages[message.id]:
            return False
        self._messages[message.id] = True
        self._new_messages.append((business_id, message))
        return True

    def move(self, move: Move) -> None:
        """Move a conversation along; a new one is written as all that happened to it leaves it."""
        if move.conversation.id in self._new_conversations:
            self._new_moves[move.conversation.id].append(move)
        else:
            self._moves.append(move)

    def start(self, conversation: Conversation, at: datetime) -> None:
        """Note when the person of a conversation wrote first, as far as is known."""
        started = self._conversations[conversation.id] = replace(conversation, started_at=at)
        fresh = self._new_conversations.get(conversation.id)
        if fresh is None:
            self._starts.append((conversation, at))
        elif fresh.started_at is None or fresh.started_at > at:
            self._new_conversations[fresh.id] = started

    def note_lead(self, conversation_id: str, lead: Lead | None) -> None:
        """Note that a conversation which has no lead yet made this one, if it did."""
        if lead is None or lead.conversation_id != conversation_id:
            return
        conversation = self.find_conversation(lead.business_id, conversation_id)
        if conversation is not None and conversation.lead_id is None:
            self._leads_made[conversation.id] = LeadMade(lead.business_id, conversation.id, lead.id)

    def forget(self, conversation: Conversation) -> None:
        """Read a conversation anew when it is needed again: somebody else has changed its row."""
        self._conversations.pop(conversation.id, None)

    def write(self) -> None:
        """Write the collected changes.

        Raises:
            Overtaken: another transaction stored a row that was missing.
        """
        tx, moves = self._tx, self._new_moves
        fresh = [
            conversations.moved(new, moves[new.id], self._leads_made.get(new.id)) if new.id in moves else new
            for new in self._new_conversations.values()
        ]
        conversations.save_persons(tx, self._new_persons)
        conversations.record_persons_seen(tx, self._seen)
        conversations.record_stated_names(tx, self._stated)
        for person, address in self._addresses:
            conversations.record_address(tx, person.business_id, person.id, address)
        if conversations.save_conversations(tx, fresh) < len(fresh) and moves:
            raise Overtaken
        if messages.append_messages(tx, self._new_messages) < len(self._new_messages):
            raise Overtaken
        conversations.record_moves(tx, self._moves)
        conversations.record_starts(tx, self._starts)
        conversation_ids = self._leads_made.keys() - self._new_conversations.keys()
        conversations.record_leads(
            tx, [self._leads_made[conversation_id] for conversation_id in conversation_ids]
        )
        self._start_over()


@dataclass(frozen=True, slots=True)
class SharedContacts:
    """Contact details that a message shares, and the person's platform name at that time."""

    account: ChannelAccount
    message: Message
    contacts: MessageContacts
    person: Person


class DeliveryBatch:
    """One batch of deliveries; each of its lists is in the order in which things happened.

    Attributes:
        shared: messages that seem to share something, for the leads.
        earned: conversations that began, for who earned them.
    """

    def __init__(self, tx: Tx) -> None:
        self.threads = Threads(tx)
        self.shared: list[SharedContacts] = []
        self.earned: list[measurement.NewConversion] = []
        self._tx = tx
        self._events: list[tuple[str, Any]] = []
        self._accounts: dict[tuple[str, Platform, str], AccountSwitch | None] = {}

    def find_account(self, receipt: Receipt) -> "AccountSwitch | None":
        """Return the account of a delivery, read once; None when the business has no account with this id."""
        key = (receipt.business_id, receipt.platform, receipt.account)
        if key not in self._accounts:
            business_id, platform, external_id = receipt.business_id, receipt.platform, receipt.account
            account = find_account_by_external(self._tx, business_id, platform, external_id)
            self._accounts[key] = (
                AccountSwitch(account, find_switch(self._tx, business_id, account.id), self)
                if account
                else None
            )
        return self._accounts[key]

    def emit(self, business_id: str, event: Any) -> None:
        """Append an event to those of the batch."""
        self._events.append((business_id, event))

    def write_events(self) -> None:
        """Write the events."""
        emit_all(self._tx, self._events)
        self._events = []

    def write(self) -> None:
        """Write the threads, then the events.

        Raises:
            Overtaken: see ``Threads.write``.
        """
        self.threads.write()
        self.write_events()


@dataclass(frozen=True, slots=True)
class AccountSwitch:
    """A channel account with its switch of capture, in the batch that its delivery belongs to."""

    account: ChannelAccount
    switch: CaptureSwitch | None
    batch: DeliveryBatch
