"""Sealed deliveries with their ledger, and the unit of work of a batch."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    Integer,
    Select,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    func,
    literal_column,
    null,
    select,
    update,
)

from contatto.capture.model import CaptureSwitch, MessageContacts
from contatto.capture.store import find_switch
from contatto.channels.model import ChannelAccount, Label, Platform
from contatto.channels.store import channel_accounts, find_account_by_external
from contatto.inbox.model import (
    AdReferral,
    Conversation,
    Message,
    Person,
    Receipt,
    ReceiptCounts,
    ReceiptState,
)
from contatto.inbox.store.conversations import (
    LeadMade,
    Move,
    conversations,
    delete_notices,
    list_conversations_to_move,
    list_persons_of_many,
    mentions,
    moved,
    persons,
    record_address,
    record_leads,
    record_moves,
    record_persons_seen,
    record_starts,
    record_stated_names,
    save_conversations,
    save_persons,
)
from contatto.inbox.store.desk import conversation_labels, private_notes
from contatto.inbox.store.messages import (
    append_messages,
    list_known_messages,
    messages,
    photos,
    scheduled_replies,
    sends,
)
from contatto.kit.db.statements import update_rows
from contatto.kit.db.tx import (
    ROW,
    Choice,
    Row,
    Serial,
    Tx,
    insert_for,
    instant,
    key,
    metadata,
    row_of,
    rows_of,
    sealed,
    tenant,
    text,
    within,
)
from contatto.kit.fair_queue import Queue
from contatto.kit.outbox import emit_all
from contatto.kit.vault import Vault, row_key
from contatto.leads.model import Lead

if TYPE_CHECKING:
    from contatto.measurement import actions as measurement

_WAITS: Final[ColumnElement[bool]] = literal_column("state = 'received'")

receipts = Table(
    "receipts",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    tenant(),
    Column("platform", Choice(Platform), nullable=False),
    Column("account", String(128), nullable=False),
    Column("natural_key", String(300), nullable=False),
    sealed("body", nullable=True),
    Column("copies", Integer, nullable=False),
    Column("state", Choice(ReceiptState), nullable=False),
    Column("reason", String(64)),
    Column("attempts", Integer, nullable=False),
    instant("received_at"),
    instant("due_at"),
    UniqueConstraint("business_id", "platform", "natural_key"),
    Index("ix_receipts_waiting", "business_id", "due_at", "id", sqlite_where=_WAITS, postgresql_where=_WAITS),
    info={ROW: ("platform", "natural_key")},
)

WAITING: Final = Queue(receipts, _WAITS, receipts.c.due_at)
"""Deliveries that are not settled yet."""


def receipt_row(business_id: str, platform: Platform, label: Label, at: datetime) -> dict[str, Any]:
    """Make the row of a delivery, without its body. Labels are a stranger's text, so they become storable."""
    natural = label.natural_key
    if not natural.isprintable():
        natural = f"text:{hashlib.sha256(natural.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return {
        "business_id": business_id,
        "platform": platform,
        "account": label.account if label.account.isprintable() else "",
        "natural_key": natural,
        "copies": 1,
        "state": ReceiptState.RECEIVED,
        "reason": None,
        "attempts": 0,
        "received_at": at,
        "due_at": at,
    }


def seal_receipt(vault: Vault, row: dict[str, Any], body: bytes) -> dict[str, Any]:
    """Add the sealed body to the row of a delivery."""
    named = row_key(row["platform"], row["natural_key"])
    return row | {"body": vault.seal_bytes(body, row["business_id"], "receipts.body", named)}


def open_receipt(vault: Vault, receipt: Receipt) -> bytes:
    named = row_key(receipt.platform, receipt.natural_key)
    return vault.open_bytes(receipt.body or b"", receipt.business_id, "receipts.body", named)


APPEND_RECEIPT: Final[dict[str, Any]] = {
    dialect: insert_for(dialect, receipts).on_conflict_do_update(
        index_elements=["business_id", "platform", "natural_key"],
        set_={"copies": receipts.c.copies + literal_column("1")},
    )
    for dialect in ("sqlite", "postgresql")
}
"""The insert of the hot path: a repeated delivery only counts up its copies."""


def append_receipt(tx: Tx, row: dict[str, Any]) -> None:
    """Keep a delivery in a transaction with other things; a repeated one only counts up its copies."""
    tx.execute(APPEND_RECEIPT[tx.connection.dialect.name], row)


WAIT: Final = timedelta(seconds=4)
"""A delivery that failed waits for 4 seconds from its arrival, then for 16, 36, 64…"""


def list_waiting_receipts(tx: Tx, business_id: str, limit: int) -> list[Receipt]:
    """Deliveries of a business that are due, in order of arrival; for the worker only.

    No account is settled by two at the same time: they would wait for each other's rows.
    """
    if not tx.locks_rows:
        return WAITING.list(tx, Receipt, business_id, limit)
    values = WAITING.values(tx, business_id, limit)
    accounts = _claim_accounts(tx, business_id, values)
    return tx.list(Receipt, _OF_ACCOUNTS, values | {"accounts": accounts}) if accounts else []


def _claim_accounts(tx: Tx, business_id: str, values: Row) -> list[str]:
    """Claim accounts that no other batch settles, until the transaction ends; the longest waiting first.

    No more than a part of a batch needs: where much waits, others settle the other accounts meanwhile.
    """
    own_accounts, other_accounts, enough = list[str](), list[str](), values["most"] // _SHARES
    for _ in range(_LOOKS):
        counts = Counter(tx.execute(_OTHER_ACCOUNTS, {**values, "theirs": other_accounts}).scalars())
        for account in counts:
            if bool(tx.execute(_TRY, {"name": business_id + account}).scalar()):
                own_accounts.append(account)
            else:
                other_accounts.append(account)
            if sum(counts[account] for account in own_accounts) > enough:
                return own_accounts
        if own_accounts or not counts:
            break  # what waits is little, or nothing is left that others do not settle
    return own_accounts


_LOOKS: Final = 3
"""How often it is looked behind the deliveries of accounts that others settle."""
_SHARES: Final = 4
"""An account with more than such a part of a batch is enough for it."""
_OTHER_ACCOUNTS: Final = WAITING.unlocked.where(~within(receipts.c.account, "theirs")).with_only_columns(
    receipts.c.account
)
_OF_ACCOUNTS: Final = WAITING.unlocked.where(within(receipts.c.account, "accounts"))
"""Who holds their accounts need not lock the deliveries too, which would write each of them once more."""
_TRY: Final = select(
    func.pg_try_advisory_xact_lock(func.hashtextextended(bindparam("name", type_=String()), 0))
)


def mark_account_held(tx: Tx, business_id: str, account: str) -> None:
    """Hold the lock of an account, so that no worker settles its deliveries until the end."""
    if tx.locks_rows:
        name = {"name": business_id + account}
        tx.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("name"), 0))), name)


def list_receipts_of_account(tx: Tx, business_id: str, account: str) -> list[Receipt]:
    """Return the deliveries of an account that wait, due or not."""
    query = select(receipts).where(
        _WAITS, receipts.c.business_id == business_id, receipts.c.account == account
    )
    return tx.list(Receipt, query.order_by(receipts.c.id))


def delete_bodies(tx: Tx, settled: Sequence[Receipt]) -> None:
    if settled:
        statement = update(receipts).where(receipts.c.business_id == settled[0].business_id)
        tx.execute(statement.where(receipts.c.id.in_([receipt.id for receipt in settled])).values(body=None))


_REFUSE: Final = (
    update(receipts)
    .where(within(receipts.c.id, "ids"))
    .values(state=bindparam("now_state"), reason=bindparam("why"))
)
_SETTLE: Final = _REFUSE.values(body=null())


def mark_receipts(tx: Tx, settled: Sequence[Receipt], state: ReceiptState, reason: str | None) -> None:
    """Settle receipts. The body of a stored one is let go: the message is kept, the copy is not needed."""
    is_kept = state not in (ReceiptState.STORED, ReceiptState.MERGED)
    values = {"ids": [receipt.id for receipt in settled], "now_state": state, "why": reason}
    update_rows(tx, _REFUSE if is_kept else _SETTLE, [values])


def mark_receipt_tried(tx: Tx, receipt: Receipt) -> None:
    """Note that a try failed, and put the next one off."""
    tries = receipt.attempts + 1
    values = {"attempts": tries, "due_at": receipt.received_at + tries * tries * WAIT}
    tx.execute(update(receipts).where(receipts.c.id == receipt.id).values(**values))


def count_receipts(tx: Tx, business_id: str) -> ReceiptCounts:
    """Return the ledger of a business: received = stored + merged + refused + waiting."""
    return _ledger(tx, _COUNTED.where(receipts.c.business_id == business_id))


def count_all_receipts(tx: Tx) -> ReceiptCounts:
    """Count receipts of all businesses, for monitoring."""
    return _ledger(tx, _COUNTED)


_COUNTED: Final = select(
    receipts.c.state, receipts.c.reason, func.count(), func.sum(receipts.c.copies)
).group_by(receipts.c.state, receipts.c.reason)


def _ledger(tx: Tx, counted: Select[Any]) -> ReceiptCounts:
    rows: list[Any] = list(tx.execute(counted))
    by_state = {state: sum(row[2] for row in rows if row[0] is state) for state in ReceiptState}
    copies = sum(int(row[3]) for row in rows)
    return ReceiptCounts(
        received=copies,
        stored=by_state[ReceiptState.STORED],
        merged=by_state[ReceiptState.MERGED] + copies - sum(by_state.values()),
        refused=by_state[ReceiptState.REFUSED],
        waiting=by_state[ReceiptState.RECEIVED],
        reasons={row[1] or "": row[2] for row in rows if row[0] is ReceiptState.REFUSED},
    )


ad_referrals = Table(
    "ad_referrals",
    metadata,
    key(),
    tenant(),
    Column("conversation_id", String(36), nullable=False),
    Column("ad_number", BigInteger, nullable=False),
    text("click_id"),
    sealed("headline", nullable=True),
    sealed("ad_text", nullable=True),
    instant("at"),
    Column("advertiser", String(64), nullable=False, server_default=""),
    Index("ix_ad_referrals_of_conversation", "business_id", "conversation_id", "at"),
    Index("ix_ad_referrals_of_number", "business_id", "ad_number"),
)


@dataclass(frozen=True, slots=True)
class NamedTap:
    """Tap on an ad that a platform reported, with its person; ``advertiser`` as in `AdReferral`."""

    conversation_id: str
    person_id: str
    platform: Platform
    ad_number: int
    advertiser: str
    at: datetime


def append_referral(tx: Tx, referral: AdReferral) -> bool:
    """Append a referral; False when it was there before."""
    row = row_of(referral)
    texts = {
        name: tx.seal(row[name], referral.business_id, f"ad_referrals.{name}", referral.id)
        for name in ("headline", "ad_text")
    }
    return tx.insert_ignore(ad_referrals, row | texts)


def list_taps_on(tx: Tx, business_id: str, ad_numbers: Collection[int]) -> list[NamedTap]:
    """Return the reported taps on ads with these numbers."""
    query = (
        select(
            ad_referrals.c.conversation_id,
            ad_referrals.c.ad_number,
            ad_referrals.c.advertiser,
            ad_referrals.c.at,
            conversations.c.person_id,
            channel_accounts.c.platform,
        )
        .join(conversations, conversations.c.id == ad_referrals.c.conversation_id)
        .join(channel_accounts, channel_accounts.c.id == conversations.c.channel_account_id)
        .where(
            ad_referrals.c.business_id == business_id,
            conversations.c.business_id == business_id,
            channel_accounts.c.business_id == business_id,
            ad_referrals.c.ad_number.in_(list(ad_numbers)),
        )
    )
    return tx.list(NamedTap, query.order_by(ad_referrals.c.at, ad_referrals.c.id))


def list_referrals(tx: Tx, business_id: str, conversation_id: str) -> list[AdReferral]:
    query = select(ad_referrals).where(*rows_of(ad_referrals, business_id, conversation_id=conversation_id))
    return tx.list(AdReferral, query.order_by(ad_referrals.c.at))


_HANGING: Final = (
    sends, ad_referrals, conversation_labels, private_notes, mentions, scheduled_replies, messages,
)  # fmt: skip


def list_chats(tx: Tx, business_id: str, person_ids: Collection[str]) -> dict[str, str]:
    """Return the conversations of some persons: the channel account of each by its id."""
    query = select(conversations.c.id, conversations.c.channel_account_id).where(
        conversations.c.business_id == business_id, conversations.c.person_id.in_(person_ids)
    )
    return {row["id"]: row["channel_account_id"] for row in tx.execute(query).mappings()}


def list_erased_texts(tx: Tx, business_id: str, chat_ids: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield every message of some conversations, as its id and its text."""
    query = select(messages.c.id, messages.c.body).where(
        messages.c.business_id == business_id, messages.c.conversation_id.in_(chat_ids)
    )
    for row in tx.execute(query).mappings().all():
        yield row["id"], tx.vault.open(row["body"], business_id, "messages.body", row["id"])


def list_external_ids(tx: Tx, business_id: str, person_ids: Collection[str]) -> set[str]:
    """Return the ids of persons on their platforms, and their addresses there."""
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
    tx.delete(conversations, business_id, id=chat_ids)
    shown = select(messages.c.photo).where(
        messages.c.business_id == business_id, messages.c.photo.is_not(None)
    )
    unused_photos = photos.delete().where(
        photos.c.business_id == business_id,
        photos.c.digest.in_(shown.where(messages.c.conversation_id.in_(chat_ids))),
        photos.c.digest.not_in(shown.where(messages.c.conversation_id.not_in(chat_ids))),
    )
    tx.execute(unused_photos)
    delete_notices(tx, business_id, person_ids, chat_ids)
    for table in _HANGING:
        tx.delete(table, business_id, conversation_id=chat_ids)
    tx.delete(persons, business_id, id=person_ids)


def delete_refused_bodies(tx: Tx, business_id: str, words: Collection[bytes]) -> int:
    """Let go of the bodies of refused deliveries in which one of the words stands; say how many."""
    query = select(receipts).where(
        *rows_of(receipts, business_id, state=ReceiptState.REFUSED), receipts.c.body.is_not(None)
    )
    about = [
        receipt.id
        for receipt in tx.list(Receipt, query)
        if any(word in open_receipt(tx.vault, receipt) for word in words)
    ]
    statement = update(receipts).where(receipts.c.business_id == business_id, receipts.c.id.in_(about))
    return tx.execute(statement.values(body=None)).rowcount if about else 0


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
            stored_conversations = list_conversations_to_move(self._tx, business_ids, conversation_ids)
            self._conversations |= {conversation.id: conversation for conversation in stored_conversations}
        if person_ids:
            stored_persons = list_persons_of_many(self._tx, business_ids, person_ids)
            self._persons |= {person.id: person for person in stored_persons}
        if message_ids:
            existing_messages = list_known_messages(self._tx, business_ids, message_ids)
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

        Raises Overtaken: another transaction stored a row that was missing.
        """
        tx, moves = self._tx, self._new_moves
        fresh = [
            moved(new, moves[new.id], self._leads_made.get(new.id)) if new.id in moves else new
            for new in self._new_conversations.values()
        ]
        save_persons(tx, self._new_persons)
        record_persons_seen(tx, self._seen)
        record_stated_names(tx, self._stated)
        for person, address in self._addresses:
            record_address(tx, person.business_id, person.id, address)
        if save_conversations(tx, fresh) < len(fresh) and moves:
            raise Overtaken
        if append_messages(tx, self._new_messages) < len(self._new_messages):
            raise Overtaken
        record_moves(tx, self._moves)
        record_starts(tx, self._starts)
        conversation_ids = self._leads_made.keys() - self._new_conversations.keys()
        record_leads(tx, [self._leads_made[conversation_id] for conversation_id in conversation_ids])
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
        emit_all(self._tx, self._events)
        self._events = []

    def write(self) -> None:
        """Write the threads, then the events. Raises Overtaken: see ``Threads.write``."""
        self.threads.write()
        self.write_events()


@dataclass(frozen=True, slots=True)
class AccountSwitch:
    """A channel account with its switch of capture, in the batch that its delivery belongs to."""

    account: ChannelAccount
    switch: CaptureSwitch | None
    batch: DeliveryBatch
