"""Intake of webhook deliveries from channels: messages, contacts, leads, conversions and events."""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import batched
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from contatto.ad_platforms.actions import AD_PLATFORMS, find_known_ads
from contatto.ad_platforms.model import OutsideAdsMirrored
from contatto.capture.model import CaptureSwitch, MessageContacts
from contatto.capture.rules import capture_contacts
from contatto.capture.store import find_switch, list_uncorrected
from contatto.channels import model as channels
from contatto.channels.store import CONNECTORS, channel_accounts, find_account_by_external
from contatto.inbox import model, rules
from contatto.inbox.store import conversations, desk, messages
from contatto.inbox.store.conversations import WAITING, Move
from contatto.kit.background import MANY, QueuedWork
from contatto.kit.background import Batch as WorkBatch
from contatto.kit.db.statements import insert_new
from contatto.kit.db.tx import Tx, in_time, row_of, rows_of
from contatto.kit.fair_queue import Turns, batch_seconds, run_batch
from contatto.kit.ids import named_id, timed_id
from contatto.kit.log import logger, where
from contatto.kit.outbound.queue import is_unsure as is_unsure_request
from contatto.kit.outbound.queue import mark_requests_done
from contatto.kit.outbox import emit, emit_all
from contatto.kit.values import micros
from contatto.kit.vault import Vault
from contatto.leads.actions.records import upsert_leads
from contatto.leads.model import Lead, LeadCaptured, LeadUpdated, Origin, Signal
from contatto.measurement import actions as measurement
from contatto.measurement import store as measurement_store
from contatto.measurement.model import ConversionKind, Impression, MeasuredAd, Tap, TouchKind
from contatto.measurement.rules import natural_number
from contatto.spam.actions import VERDICT_LOCK, judge_chats
from contatto.spam.model import Chat, Mark
from contatto.spam.store import list_rates

SETTLED_AT_ONCE: Final = 200
"""Most deliveries that are read for one batch; the time decides how many it settles."""
MANY_AT_ONCE: Final = 600
"""The same while no request waits for the batch: more deliveries share some forty statements."""
_CPU_CLOCK: Final = (time.thread_time, 8)
"""A batch stops after an amount of CPU time of its thread, checked every 8 deliveries."""
MOST_TRIES: Final = 5
"""Tries after which a delivery that breaks our own code is refused, its body kept for a replay."""

ID_LIMIT: Final = 128
MESSAGE_ID_LIMIT: Final = 256
"""Longer, because on our chat page it is the visitor's id and the message's own one."""


type Outcome = tuple[model.ReceiptState, str | None]
"""State of a settled delivery, with the reason of all but stored ones."""
STORED: Final[Outcome] = (model.ReceiptState.STORED, None)
type Event = channels.Chatted | channels.Referred | channels.WasRead | channels.Progressed


class Overtaken(Exception):
    """Another transaction stored something first that was not there when the batch looked."""


@dataclass(frozen=True, slots=True)
class NamedTap:
    """Tap on an ad that a platform reported, with its person; ``advertiser`` as in `AdReferral`."""

    conversation_id: str
    person_id: str
    platform: channels.Platform
    ad_number: int
    advertiser: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ThreadIds:
    """The ids of our own that follow from those of an event; ``address`` where that is a contact detail."""

    person: str
    external_person: str
    conversation: str
    external_conversation: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class SharedContacts:
    """Contact details that a message shares, and the person's platform name at that time."""

    account: channels.ChannelAccount
    message: model.Message
    contacts: MessageContacts
    person: model.Person


class Threads:
    """Persons, conversations, messages and events of a batch: read once, changed in memory, written together.

    Rows that were read are not read again; others are read when they are needed. Until ``write``
    no other query sees the changes. Each list is in the order in which things happened.

    Attributes:
        shared: contact details in messages, of which leads are made.
        earned: conversions of conversations that began.
        switches: the switch of capture by account.
    """

    def __init__(self, tx: Tx) -> None:
        self.tx = tx
        self.shared: list[SharedContacts] = []
        self.earned: list[measurement.NewConversion] = []
        self.switches: dict[str, CaptureSwitch | None] = {}
        self._accounts: dict[tuple[str, channels.Platform, str], channels.ChannelAccount | None] = {}
        self._events: list[tuple[str, Any]] = []
        self._conversations: dict[str, model.Conversation | None] = {}
        self._persons: dict[str, model.Person | None] = {}
        self._messages: dict[str, bool] = {}
        self._ids: dict[tuple[str, str, str], ThreadIds] = {}
        self._start_over()

    def _start_over(self) -> None:
        self._new_persons: list[model.Person] = []
        self._changed_persons: list[model.Person] = []
        self._named_persons: list[model.Person] = []
        self._new_conversations: dict[str, model.Conversation] = {}
        self._new_moves: dict[str, list[Move]] = defaultdict(list)
        self._new_lead_ids: dict[tuple[str, str], str] = {}
        self._new_messages: list[tuple[str, model.Message]] = []
        self._moves: list[Move] = []
        self._starts: list[tuple[model.Conversation, datetime]] = []

    def read(
        self,
        business_ids: Collection[str],
        conversation_ids: Collection[str],
        person_ids: Collection[str],
        message_ids: Collection[str],
    ) -> None:
        self._conversations |= dict.fromkeys(conversation_ids)
        self._persons |= dict.fromkeys(person_ids)
        self._messages |= dict.fromkeys(message_ids, False)
        if conversation_ids:
            values = {"businesses": business_ids, "ids": conversation_ids}
            stored_conversations = conversations.TO_CHANGE.list(self.tx, values)
            self._conversations |= {conversation.id: conversation for conversation in stored_conversations}
        if person_ids:
            values = {"businesses": business_ids, "ids": person_ids}
            stored_persons = conversations.PERSONS_OF_MANY.list(self.tx, values)
            self._persons |= {person.id: person for person in stored_persons}
        if message_ids:
            values = {"businesses": business_ids, "ids": message_ids}
            existing_rows = conversations.EXISTING_MESSAGES.rows(self.tx, values)
            self._messages |= {message_id: True for (message_id,) in existing_rows}

    def find_account(self, receipt: model.Receipt) -> channels.ChannelAccount | None:
        """Return the account of a delivery, read once; None when the business has no account with this id."""
        key = (receipt.business_id, receipt.platform, receipt.account)
        if key not in self._accounts:
            account = self._accounts[key] = find_account_by_external(self.tx, *key)
            if account:
                self.switches[account.id] = find_switch(self.tx, account.business_id, account.id)
        return self._accounts[key]

    def ids_of(self, account: channels.ChannelAccount, incoming: Event) -> ThreadIds:
        """Return our ids of the person and the thread of an event, computed once."""
        person, thread = incoming.person_id, incoming.conversation_id
        key = (account.id, person, thread)
        if key not in self._ids:
            stored_person, stored_thread = person, thread
            if CONNECTORS[account.platform].dialect.ids_are_contacts:  # store their blind indexes
                stored_person = self.tx.vault.blind(person, account.business_id).hex()
                stored_thread = self.tx.vault.blind(thread, account.business_id).hex()
            self._ids[key] = ThreadIds(
                person=person_id_of(self.tx.vault, account, stored_person),
                external_person=stored_person,
                conversation=conversation_id_of(account, stored_thread),
                external_conversation=stored_thread,
                address=person if stored_person != person else "",
            )
        return self._ids[key]

    def open(self, account: channels.ChannelAccount, incoming: Event) -> model.Conversation:
        """Return the conversation of an event; create it and its person, if they are new."""
        ids = self.ids_of(account, incoming)
        person = model.Person(
            id=ids.person,
            business_id=account.business_id,
            channel_account_id=account.id,
            external_id=ids.external_person,
            name=shown_name(incoming),
            stated_name="",
            stated_at=None,
            created_at=incoming.at,
            address=ids.address,
        )
        conversation = self.find_conversation(account.business_id, ids.conversation)
        existing_person = self.find_person(person.business_id, person.id)
        if existing_person is None:
            self._persons[person.id] = person
            self._new_persons.append(person)
        else:  # they may get a name, or came earlier
            name = existing_person.name or person.name
            first = min(existing_person.created_at, person.created_at)
            if name != existing_person.name or first != existing_person.created_at:
                self._persons[person.id] = replace(existing_person, name=name, created_at=first)
                self._changed_persons.append(person)
        if conversation is not None:
            return conversation
        is_blocked = False
        if existing_person is not None:
            persons = conversations.persons
            blocked = sa.select(persons.c.id).where(*rows_of(persons, account.business_id, id=person.id))
            is_blocked = self.tx.scalar(blocked.where(persons.c.blocked_at.is_not(None))) is not None
        fresh = model.Conversation(
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
            state=model.ThreadState.BLOCKED if is_blocked else model.ThreadState.OPEN,
        )
        self._conversations[fresh.id] = self._new_conversations[fresh.id] = fresh
        return fresh

    def find_conversation(self, business_id: str, conversation_id: str) -> model.Conversation | None:
        if conversation_id not in self._conversations:
            self.read([business_id], [conversation_id], [], [])
        return self._conversations[conversation_id]

    def find_person(self, business_id: str, person_id: str) -> model.Person | None:
        if person_id not in self._persons:
            self.read([business_id], [], [person_id], [])
        return self._persons[person_id]

    def load_person(self, business_id: str, person_id: str) -> model.Person:
        """Return the person of a conversation, who is always there."""
        person = self.find_person(business_id, person_id)
        if person is None:
            raise LookupError("a conversation without its person")
        return person

    def name_person(self, person: model.Person, name: str, at: datetime) -> None:
        """Keep the name that a person stated, unless a later message stated another."""
        existing_person = self.load_person(person.business_id, person.id)
        if existing_person.stated_at is None or existing_person.stated_at <= at:
            named = self._persons[person.id] = replace(existing_person, stated_name=name, stated_at=at)
            self._named_persons.append(named)

    def append(self, business_id: str, message: model.Message) -> bool:
        """Append a message; False when it was there before."""
        if message.id not in self._messages:
            self.read([business_id], [], [], [message.id])
        if self._messages[message.id]:
            return False
        self._messages[message.id] = True
        self._new_messages.append((business_id, message))
        return True

    def move(self, move: Move) -> None:
        """Record the effect of a message; `write` applies those on a new conversation before its insert."""
        if move.conversation.id in self._new_conversations:
            self._new_moves[move.conversation.id].append(move)
        else:
            self._moves.append(move)

    def start(self, conversation: model.Conversation, at: datetime) -> None:
        """Record the earliest known time at which the person of a conversation wrote."""
        started = self._conversations[conversation.id] = replace(conversation, started_at=at)
        fresh = self._new_conversations.get(conversation.id)
        if fresh is None:
            self._starts.append((conversation, at))
        elif fresh.started_at is None or fresh.started_at > at:
            self._new_conversations[fresh.id] = started

    def note_lead(self, conversation_id: str, lead: Lead | None) -> None:
        """Record the lead that a conversation made, unless it has one."""
        if lead is None or lead.conversation_id != conversation_id:
            return
        conversation = self.find_conversation(lead.business_id, conversation_id)
        if conversation is not None and conversation.lead_id is None:
            self._new_lead_ids[lead.business_id, conversation.id] = lead.id

    def forget(self, conversation: model.Conversation) -> None:
        """Drop a conversation from memory after a change of its row, so that it is read again."""
        self._conversations.pop(conversation.id, None)

    def emit(self, event: Any) -> None:
        self._events.append((event.business_id, event))

    def write_events(self) -> None:
        emit_all(self.tx, self._events)
        self._events = []

    def write(self) -> None:
        """Write the changes, then the events. Raises Overtaken for rows that came from elsewhere."""
        tx, moves = self.tx, self._new_moves
        fresh = [
            conversations.apply_moves(new, moves[new.id], self._new_lead_ids.get((new.business_id, new.id)))
            if new.id in moves
            else new
            for new in self._new_conversations.values()
        ]
        conversations.save_persons(tx, self._new_persons, self._changed_persons, self._named_persons)
        rows = [row_of(conversation) for conversation in fresh]
        if insert_new(tx, conversations.conversations, rows) < len(rows) and moves:
            raise Overtaken
        if conversations.append_messages(tx, self._new_messages) < len(self._new_messages):
            raise Overtaken
        conversations.record_moves(tx, self._moves, self._starts)
        inserted = self._new_conversations
        conversations.record_leads(
            tx, {key: lead for key, lead in self._new_lead_ids.items() if key[1] not in inserted}
        )
        self._start_over()
        self.write_events()


def shown_name(incoming: Event) -> str:
    """Return the profile's name, cleaned; empty when there is none."""
    name = "" if isinstance(incoming, channels.WasRead | channels.Progressed) else incoming.person_name
    if not name.isprintable():
        name = "".join(letter for letter in name if letter.isprintable())
    return name.strip()[:ID_LIMIT]


def person_id_of(vault: Vault, account: channels.ChannelAccount, external_id: str) -> str:
    """Derive a person's id from the account and the platform's id: no look-up, whatever comes first.

    Files for analysts contain it too, so guessing a person from ids takes our key.
    """
    return vault.named_id(account.id, external_id)


def conversation_id_of(account: channels.ChannelAccount, external_id: str) -> str:
    return named_id(account.id, f"conversation:{external_id}")


def message_id_of(account: channels.ChannelAccount, external_id: str) -> str:
    return named_id(account.id, f"message:{external_id}")


def settle_receipts(tx: Tx, limit: int = 0, turns: Turns | None = None) -> int:
    """Settle waiting deliveries, in turn by business; return their number, 0 at the end.

    A delivery that fails stops no other one, and is tried again after a while.
    """
    return run_batch(
        tx,
        turns or Turns(WAITING),
        limit or (SETTLED_AT_ONCE if tx.is_awaited() else MANY_AT_ONCE),
        partial(conversations.list_waiting_receipts, tx),
        partial(settle_batch, tx),
        partial(_note_failure, tx),
    )


def settle_batch(tx: Tx, waiting: Sequence[model.Receipt]) -> list[model.Receipt]:
    """Turn deliveries into messages, leads and conversions; return those that there was time for.

    Each table is read once and written once.
    """
    threads, tried = Threads(tx), list[model.Receipt]()
    receipts_by_outcome: dict[Outcome, list[model.Receipt]] = defaultdict(list)

    # Parse. This lesser part of the work gets a quarter of the time, so that all parsed can be settled.
    parsed = [
        (receipt, CONNECTORS[receipt.platform].parse(conversations.open_receipt(tx.vault, receipt)))
        for receipt in in_time(waiting, lambda: batch_seconds(tx) / 4, *_CPU_CLOCK)
    ]

    # Read the persons, conversations and messages that the batch concerns.
    business_ids, conversation_ids, person_ids, message_ids = set[str](), set[str](), set[str](), set[str]()
    for receipt, incoming in parsed:
        if isinstance(incoming, channels.Chatted | channels.Referred | channels.WasRead) and (
            account := threads.find_account(receipt)
        ):
            ids = threads.ids_of(account, incoming)
            business_ids.add(receipt.business_id)
            conversation_ids.add(ids.conversation)
            person_ids.add(ids.person)
            if isinstance(incoming, channels.Chatted):
                message_ids.add(message_id_of(account, incoming.message_id))
    threads.read(business_ids, conversation_ids, person_ids, message_ids)

    # Drop duplicates, append messages to their threads, and find contacts in them.
    for receipt, incoming in in_time(parsed, partial(batch_seconds, tx), *_CPU_CLOCK):
        tried.append(receipt)
        receipts_by_outcome[_settle(threads, receipt, incoming)].append(receipt)

    # Turn shared contacts into signals for leads, without those that a member rejected before.
    contacts_by_business = defaultdict[str, list[MessageContacts]](list)
    for shared in threads.shared:
        contacts_by_business[shared.account.business_id].append(shared.contacts)
    accepted_by_business = {
        business_id: iter(list_uncorrected(tx, business_id, contacts))
        for business_id, contacts in contacts_by_business.items()
    }
    signals = list[Signal]()
    for shared in threads.shared:
        account, message, person = shared.account, shared.message, shared.person
        accepted = next(accepted_by_business[account.business_id])
        if accepted.name:
            threads.name_person(person, accepted.name.value, message.at)
        if accepted.contacts or accepted.name:
            signals.append(
                Signal(
                    business_id=account.business_id,
                    person_id=person.id,
                    channel_account_id=account.id,
                    conversation_id=message.conversation_id,
                    origin=Origin.CHAT,
                    source_id=message.id,
                    at=message.at,
                    contacts=accepted.contacts,
                    stated_name=threads.load_person(account.business_id, person.id).stated_name or None,
                    profile_name=person.name,
                )
            )
    threads.write_events()

    # Record conversions, then upsert leads: a new conversation is inserted with the lead that it makes.
    measurement.record_conversions(tx, threads.earned)
    for signal, lead in zip(signals, upsert_leads(tx, signals), strict=True):
        threads.note_lead(signal.conversation_id, lead)

    # Write the threads, and close the deliveries.
    threads.write()
    for outcome, settled in receipts_by_outcome.items():
        conversations.mark_receipts(tx, settled, *outcome)
    return tried


def _settle(threads: Threads, receipt: model.Receipt, incoming: channels.Incoming) -> Outcome:
    reason = refusal_reason(incoming)
    account = None if reason else threads.find_account(receipt)
    if account is None:
        return model.ReceiptState.REFUSED, reason or "unknown_account"
    if isinstance(incoming, channels.Chatted):
        return receive_message(threads, account, incoming, receipt)
    if isinstance(incoming, channels.Referred):  # the platform reports a tap on any ad, ours or not
        conversation = threads.open(account, incoming)
        is_new = _note_tap(threads, account.platform, conversation, incoming.tap, incoming.at)
        return STORED if is_new else (model.ReceiptState.MERGED, "same_touch")
    if isinstance(incoming, channels.Progressed):
        is_ours = settle_progress(threads.tx, account, incoming)
        return STORED if is_ours else (model.ReceiptState.REFUSED, "unknown_message")
    if isinstance(incoming, channels.WasRead):
        conversation = threads.open(account, incoming)
        threads.write()  # the last message of the business has to be in its table
        note_customer_read(threads.tx, conversation, incoming.at)
        threads.forget(conversation)
    return STORED


def refusal_reason(incoming: channels.Incoming) -> str | None:
    """Return why a delivery cannot be stored, or None when it can."""
    if isinstance(incoming, channels.Unusable):
        return incoming.reason
    ids = [(incoming.conversation_id, ID_LIMIT), (incoming.person_id, ID_LIMIT)]
    if isinstance(incoming, channels.Chatted | channels.Progressed):
        ids.append((incoming.message_id, MESSAGE_ID_LIMIT))
    is_usable = all(0 < len(external_id) <= limit and external_id.isprintable() for external_id, limit in ids)
    return None if is_usable else "unusable_id"


def receive_message(
    threads: Threads, account: channels.ChannelAccount, chatted: channels.Chatted, receipt: model.Receipt
) -> Outcome:
    """Append a message once, and look for contact details in the text of a customer."""
    business_id, at = account.business_id, chatted.at
    conversation = threads.open(account, chatted)
    if chatted.sender is channels.Sender.BUSINESS and settle_echo(threads.tx, account, conversation, chatted):
        return model.ReceiptState.MERGED, "own_message"
    message = model.Message(
        seq=0,
        id=message_id_of(account, chatted.message_id),
        conversation_id=conversation.id,
        sender=chatted.sender,
        kind=chatted.kind,
        text=chatted.text,
        author="",
        at=at,
        photo=chatted.photo or None,
    )
    if not threads.append(business_id, message):
        return model.ReceiptState.MERGED, "same_message"
    from_customer = chatted.sender is channels.Sender.CUSTOMER
    threads.move(Move(conversation, at, from_customer))
    if not from_customer:
        threads.emit(model.MessageSent(business_id, conversation.id, message.id))
        return STORED
    if conversation.state is model.ThreadState.BLOCKED:
        return STORED  # the message is kept, but it makes no lead, conversion or notification
    if chatted.tap is not None:
        _note_tap(threads, account.platform, conversation, chatted.tap, at)
    if conversation.started_at is None or conversation.started_at > at:  # an earlier message may come late
        kind, person_id = ConversionKind.CONVERSATION, conversation.person_id
        threads.earned.append(
            measurement.NewConversion(business_id, person_id, kind, conversation.id, micros(at))
        )
        threads.start(conversation, at)
        if conversation.started_at is None:
            threads.emit(model.ConversationStarted(business_id, conversation.id, person_id))
    threads.emit(model.MessageReceived(business_id, conversation.id, message.id))
    if chatted.kind is channels.MessageKind.TEXT:
        switch, country = threads.switches[account.id], account.registration_country
        contacts = capture_contacts(switch, message.text, country, receipt.received_at)
        if contacts is not None and (contacts.contacts or contacts.name):
            person = threads.load_person(business_id, conversation.person_id)
            threads.shared.append(SharedContacts(account, message, contacts, person))
        send_automatic_reply(threads, account, conversation, message)
    return STORED


def send_automatic_reply(
    threads: Threads,
    account: channels.ChannelAccount,
    conversation: model.Conversation,
    question: model.Message,
) -> None:
    """Reply to a message that is exactly a suggested question or a keyword."""
    if account.platform is not channels.Platform.WEBCHAT:
        return
    active = desk.load_automatic(threads.tx, account.business_id, account.id)[0].active
    # Questions of the ad that opened the chat come before those of the account.
    ad = find_tapped_ad(threads.tx, account.business_id, conversation.person_id)
    of_ad = rules.with_ad(active, ad)
    text = rules.automatic_answer(of_ad, question.text) or rules.automatic_answer(active, question.text)
    if text is None:
        return
    reply_id, kind = named_id(question.id, "automatic"), channels.MessageKind.AUTOMATIC
    reply = model.Message(0, reply_id, conversation.id, channels.Sender.BUSINESS, kind, text, "", question.at)
    if threads.append(account.business_id, reply):
        threads.move(Move(conversation, reply.at, from_customer=False, is_automatic=True))
        threads.emit(model.MessageSent(account.business_id, conversation.id, reply.id))


def _note_failure(tx: Tx, receipt: model.Receipt, error: Exception) -> None:
    logger().warning("receipt.failed", receipt_id=str(receipt.id), error_at=where(error))
    tries = receipt.attempts + 1
    due_at = receipt.received_at + tries * tries * conversations.WAIT
    tx.change(conversations.receipts, receipt.business_id, receipt.id, attempts=tries, due_at=due_at)
    # A fault of the database is not the delivery's, however long it lasts.
    if tries >= MOST_TRIES and not isinstance(error, OperationalError | Overtaken):
        conversations.mark_receipts(tx, [receipt], model.ReceiptState.REFUSED, "processing_failed")


def find_tapped_ad(tx: Tx, business_id: str, person_id: str) -> MeasuredAd | None:
    taps = measurement_store.LAST_TAP.list(tx, {"of_business": business_id, "of_person": person_id})
    return measurement_store.find_measured_ad(tx, business_id, taps[0].ad_id) if taps else None


def settle_echo(
    tx: Tx, account: channels.ChannelAccount, conversation: model.Conversation, chatted: channels.Chatted
) -> bool:
    """Report whether a message of the business from the platform echoes a reply of ours.

    It is known by our own id, by the platform's id, or, while an answer is out or lost, by its text.
    """
    ref = message_id_of(account, chatted.message_id)
    send = messages.find_send(tx, account.business_id, external_ref=ref)
    if send is None and chatted.echo_of:
        send = messages.find_send(tx, account.business_id, message_id=chatted.echo_of)
    if send is None and chatted.kind is channels.MessageKind.TEXT:
        # The platform may have accepted these replies, though no response came; oldest first.
        sends = messages.sends
        is_unsure = sa.or_(
            sa.and_(
                sends.c.state == model.SendState.DUE,
                is_unsure_request(sends.c.business_id, model.REPLY, sends.c.message_id),
            ),
            sa.and_(sends.c.state == model.SendState.FAILED, sends.c.reason == "answer_lost"),
        )
        own = rows_of(sends, conversation.business_id, conversation_id=conversation.id)
        query = sa.select(sends).where(*own, is_unsure, sends.c.external_ref.is_(None))
        for unsure in tx.list(model.Send, query.order_by(sends.c.id)):
            message = messages.find_message(tx, conversation.business_id, unsure.message_id)
            if message is not None and message.text == chatted.text:
                send = unsure
                break
    if send is None or send.channel_account_id != account.id:
        return False
    tx.change(messages.sends, send.business_id, send.id, external_ref=ref)
    mark_requests_done(tx, send.business_id, model.REPLY, send.message_id)
    if messages.record_send(tx, send, model.SendState.SENT):
        emit_progress(tx, send)
    return True


def settle_progress(tx: Tx, account: channels.ChannelAccount, news: channels.Progressed) -> bool:
    """Note how far a reply has come; False when it was not sent from here."""
    ref = message_id_of(account, news.message_id)
    send = messages.find_send(tx, account.business_id, external_ref=ref)
    if send is None and news.echo_of:
        send = messages.find_send(tx, account.business_id, message_id=news.echo_of)
    if send is None or send.channel_account_id != account.id:
        return False
    mark_requests_done(tx, send.business_id, model.REPLY, send.message_id)
    if news.progress is channels.SendProgress.DELIVERED:
        changed = messages.record_send(tx, send, model.SendState.DELIVERED, expected=messages.UNDELIVERED)
    elif news.progress is channels.SendProgress.FAILED:
        reason = news.reason or "person_not_reached"
        changed = messages.record_send(tx, send, model.SendState.FAILED, reason, messages.UNDELIVERED)
    else:
        changed = messages.record_send(tx, send, model.SendState.SENT)
    if changed:
        emit_progress(tx, send)
    return True


def emit_progress(tx: Tx, send: model.Send) -> None:
    emit(tx, send.business_id, model.ReplyProgressed(send.business_id, send.conversation_id, send.message_id))


def _note_tap(
    threads: Threads,
    platform: channels.Platform,
    conversation: model.Conversation,
    tap: channels.AdTap,
    at: datetime,
) -> bool:
    """Record the ad that opened a chat, and emit an event; False when the tap was recorded before.

    A tap on one of our ads becomes a touch at once. Another one is stored as the platform reported it, and
    becomes a touch when exactly one ad of the platform has that number.
    """
    tx, business_id = threads.tx, conversation.business_id
    named_tap = NamedTap(conversation.id, conversation.person_id, platform, tap.ad_number, tap.advertiser, at)
    ad = measurement_store.find_measured_ad_by_number(tx, business_id, tap.ad_number)
    if ad is not None:
        is_new = _record_touch(tx, ad, named_tap)
    else:
        referral_id = named_id(conversation.id, f"referral:{tap.ad_number}:{tap.click_id}:{micros(at)}")
        shown = (tap.click_id, tap.headline, tap.text)
        ad_facts = (conversation.id, tap.ad_number, *shown, at, tap.advertiser)
        referral = model.AdReferral(referral_id, business_id, *ad_facts)
        is_new = tx.insert_ignore(messages.ad_referrals, tx.sealed_row(referral))
        if is_new:
            _credit_taps(tx, business_id, [named_tap])
    if is_new and conversation.state is not model.ThreadState.BLOCKED:
        threads.emit(model.AdTapped(business_id, conversation.id, str(tap.ad_number), at))
    return is_new


_REFERRALS_AT_ONCE: Final = 200


def credit_referrals(tx: Tx, event: OutsideAdsMirrored) -> None:
    """Credit the chats that named an ad before it was mirrored; a handler of the outbox."""
    referrals, chats = messages.ad_referrals, conversations.conversations
    taps = (
        sa.select(
            referrals.c.conversation_id, referrals.c.ad_number, referrals.c.advertiser, referrals.c.at,
            chats.c.person_id, channel_accounts.c.platform,
        )
        .join(chats, chats.c.id == referrals.c.conversation_id)
        .join(channel_accounts, channel_accounts.c.id == chats.c.channel_account_id)
        .where(
            referrals.c.business_id == event.business_id,
            chats.c.business_id == event.business_id,
            channel_accounts.c.business_id == event.business_id,
        )
        .order_by(referrals.c.at, referrals.c.id)
    )  # fmt: skip
    for numbers in batched(map(int, event.ad_numbers), _REFERRALS_AT_ONCE, strict=False):
        named_taps = tx.list(NamedTap, taps.where(referrals.c.ad_number.in_(numbers)))
        _credit_taps(tx, event.business_id, named_taps)


def _credit_taps(tx: Tx, business_id: str, taps: Sequence[NamedTap]) -> None:
    mirrored_ads = find_known_ads(tx, business_id, {tap.ad_number for tap in taps})
    for tap in taps:
        ad = mirrored_ads.find(AD_PLATFORMS.get(tap.platform), tap.ad_number, tap.advertiser)
        if ad is not None:
            _record_touch(tx, ad, tap)


def _record_touch(tx: Tx, ad: MeasuredAd, tap: NamedTap) -> bool:
    ts = micros(tap.at)
    touch_id = natural_number("referral", tap.conversation_id, tap.ad_number, ts)
    touch = measurement.stamp_touch(ad, TouchKind.CLICK, tap.person_id, ts, touch_id, 0)
    return measurement.record_taps(tx, [Tap(Impression(touch, 0))])[0]


def note_customer_read(tx: Tx, conversation: model.Conversation, at: datetime) -> None:
    """Record the time up to which a person has read; update open pages if more is read now."""
    conversation_key = (conversation.business_id, conversation.id)
    last = messages.find_last_time(tx, *conversation_key, channels.Sender.BUSINESS)
    read_at = conversation.customer_read_at
    is_news = last is not None and last <= at and (read_at is None or read_at < last)
    read_mark = conversations.conversations.c.customer_read_at
    is_later = sa.or_(read_mark.is_(None), read_mark < at)
    if tx.change(conversations.conversations, *conversation_key, is_later, customer_read_at=at) and is_news:
        emit(
            tx, conversation.business_id, model.ConversationRead(*conversation_key, channels.Sender.CUSTOMER)
        )


def post_notices(tx: Tx, events: Sequence[LeadCaptured | LeadUpdated]) -> None:
    """Add inline notices to the threads that the leads came from (R37); a handler of the outbox."""
    lead_ids = {(event.business_id, event.conversation_id): event.lead_id for event in events}
    conversations.record_leads(tx, lead_ids)
    notices: dict[str, model.InlineNotice] = {}
    for event in events:
        if event.fields and event.conversation_id:  # the same event has the same id; ids sort by time
            at = micros(event.at)
            notice_id = timed_id(at // 1000, event.lead_id, f"{at}:{','.join(event.fields)}")
            origin = (event.business_id, event.conversation_id, event.lead_id)
            notices.setdefault(notice_id, model.InlineNotice(notice_id, *origin, event.fields, event.at))
    if not notices:
        return
    values = {"businesses": {event.business_id for event in events}, "ids": list(notices)}
    for (existing_id,) in conversations.EXISTING_NOTICES.rows(tx, values):
        del notices[existing_id]
    insert_new(tx, conversations.inline_notices, [row_of(notice) for notice in notices.values()])
    changes = [
        (notice.business_id, model.NoticePosted(notice.business_id, notice.conversation_id, notice.lead_id))
        for notice in notices.values()
    ]
    emit_all(tx, changes)


def judge_messages(tx: Tx, events: Sequence[model.MessageReceived]) -> None:
    """Judge the chats of customers who wrote; a handler of the outbox.

    Before a business marks its first chat as spam none can look like it (see `judge_chat`), so none is read.
    """
    chats_to_judge: dict[str, dict[str, None]] = {}
    for event in events:
        chats_to_judge.setdefault(event.business_id, {})[event.conversation_id] = None
    # Always in the same order, so that two transactions never wait for each other.
    for business_id, chat_ids in sorted(chats_to_judge.items()):
        if any(rate.spam for rate in list_rates(tx, business_id).values()):
            tx.hold_key(VERDICT_LOCK, business_id)
            rates = list_rates(tx, business_id)
            # One query for each kind of input of the spam filter.
            suspects = desk.SUSPECTS.list(tx, {"of": business_id, "ids": list(chat_ids)})
            people = sorted({suspect.person_id for suspect in suspects})
            spam_values = {"of": business_id, "persons": people, "spam": Mark.SPAM}
            marked: dict[str, set[str]] = defaultdict(set)
            for person_id, chat_id in desk.MARKED.rows(tx, spam_values):
                marked[person_id].add(chat_id)
            since = micros(tx.now - timedelta(days=1))
            tap_rows = desk.TAPS.rows(tx, {"of": business_id, "persons": people, "since": since})
            taps: dict[str, int] = {row[0]: row[1] for row in tap_rows}
            texts = desk.list_texts(tx, business_id, [suspect.id for suspect in suspects])
            chats = [
                Chat(
                    business_id,
                    suspect.id,
                    suspect.channel_account_id,
                    texts[suspect.id],
                    has_marked=bool(marked[suspect.person_id] - {suspect.id}),
                    taps=taps.get(suspect.person_id, 0),
                )
                for suspect in suspects
            ]
            changed = [verdict.conversation_id for verdict in judge_chats(tx, business_id, chats, rates)]
            emit_all(
                tx, [(business_id, model.ConversationChanged(business_id, chat_id)) for chat_id in changed]
            )


_LATE: Final = timedelta(milliseconds=500)
"""Age of the oldest delivery from which more batches help, if each of them can be full."""
_TOO_LATE: Final = timedelta(seconds=2)
"""Age from which they help with any backlog; earlier, they would only split one batch."""
_GATHER_S: Final = 0.04
_SHARED_GATHER_S: Final = 0.08
_SHARED_MANY: Final = 300
"""On PostgreSQL a batch makes about forty round trips, which more deliveries share.

Deliveries gather for as long as the last batch took, so small batches take at most half of the time.
"""


def settling_work(parallel: int, dispatch: Callable[[WorkBatch, Tx], int]) -> tuple[QueuedWork, ...]:
    """Return queued work that settles deliveries in parallel; ``dispatch`` also handles their events."""
    is_shared = parallel > 1
    return tuple(
        QueuedWork(
            "receipts",
            partial(_needs_help, batches=number + 1) if number else WAITING.is_due,
            partial(dispatch, partial(settle_receipts, turns=Turns(WAITING))),
            in_background=False,
            gather_s=0.2 if number else 0.005,
            busy_s=_SHARED_GATHER_S if is_shared else _GATHER_S,
            many=_SHARED_MANY if is_shared else MANY,
            tables=WAITING.tables,
            # On SQLite a whole batch writes index pages that deliveries share.
            has_many=None if is_shared else lambda tx: WAITING.has_many(tx, MANY_AT_ONCE),
            is_brief=is_shared,
        )
        for number in range(parallel)
    )


def _needs_help(tx: Tx, batches: int) -> bool:
    """Report whether the backlog needs this many parallel batches."""
    if not WAITING.is_due(tx, _LATE):
        return False
    return WAITING.has_many(tx, batches * MANY_AT_ONCE) or WAITING.is_due(tx, _TOO_LATE)
