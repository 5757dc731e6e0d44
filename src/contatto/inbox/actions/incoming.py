"""Intake of deliveries: messages, contacts, leads, conversions and events."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import batched
from typing import Final

from sqlalchemy.exc import OperationalError

from contatto.ad_platforms.actions import find_known_ads
from contatto.ad_platforms.model import OutsideAdsMirrored
from contatto.ad_platforms.registry import AD_PLATFORMS
from contatto.capture.model import MessageContacts
from contatto.capture.rules import capture_contacts
from contatto.capture.store import list_uncorrected
from contatto.channels.model import (
    AdTap,
    ChannelAccount,
    Chatted,
    Incoming,
    MessageKind,
    Platform,
    Progressed,
    Referred,
    Sender,
    WasRead,
)
from contatto.channels.store import CONNECTORS
from contatto.inbox import rules
from contatto.inbox.actions.replies import settle_echo, settle_progress
from contatto.inbox.actions.threads import (
    conversation_id_of,
    find_tapped_of,
    ids_of,
    message_id_of,
    open_conversation,
)
from contatto.inbox.model import (
    AdReferral,
    AdTapped,
    AutomaticMessages,
    Conversation,
    ConversationRead,
    ConversationStarted,
    CustomerTyping,
    Message,
    MessageReceived,
    MessageSent,
    Receipt,
    ReceiptState,
    ThreadState,
)
from contatto.inbox.store import conversations, messages
from contatto.inbox.store.conversations import Move
from contatto.inbox.store.desk import find_automatic
from contatto.inbox.store.receipts import (
    WAITING,
    AccountSwitch,
    DeliveryBatch,
    NamedTap,
    Overtaken,
    SharedContacts,
    append_referral,
    list_taps_on,
    list_waiting_receipts,
    mark_receipt_tried,
    mark_receipts,
    open_receipt,
)
from contatto.kit.background import MANY, QueuedWork
from contatto.kit.background import Batch as WorkBatch
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx, in_time, is_awaited
from contatto.kit.fair_queue import Turns, batch_seconds, run_batch
from contatto.kit.ids import named_id
from contatto.kit.log import logger, where
from contatto.kit.outbox import emit
from contatto.kit.values import micros
from contatto.leads.actions.records import upsert_leads
from contatto.leads.model import Origin, Signal
from contatto.measurement import actions as measurement
from contatto.measurement import store as measurement_store
from contatto.measurement.model import ConversionKind, MeasuredAd, TouchKind
from contatto.measurement.rules import natural_number

SETTLED_AT_ONCE: Final = 200
"""Most deliveries that are read for one batch; the time decides how many it settles."""
MANY_AT_ONCE: Final = 600
"""The same while no request waits for the batch: more deliveries share some forty statements."""
_CPU_CLOCK: Final = (time.thread_time, 8)
"""A batch stops after an amount of CPU time of its thread, checked every 8 deliveries."""
MOST_TRIES: Final = 5
"""Tries after which a delivery that breaks our own code is refused, its body kept for a replay."""


@dataclass(frozen=True, slots=True)
class Outcome:
    state: ReceiptState
    reason: str | None = None


STORED: Final = Outcome(ReceiptState.STORED)


def settle_receipts(tx: Tx, limit: int = 0, turns: Turns | None = None) -> int:
    """Settle waiting deliveries, in turn by business, for as long as a batch may take.

    A delivery that fails stops no other one, and is tried again after a while.

    Returns:
        The number of tried deliveries; call again until it is 0.
    """
    return run_batch(
        tx,
        turns or Turns(WAITING),
        limit or (SETTLED_AT_ONCE if is_awaited(tx) else MANY_AT_ONCE),
        partial(list_waiting_receipts, tx),
        partial(settle_batch, tx),
        partial(_note_failure, tx),
    )


def settle_batch(tx: Tx, waiting: Sequence[Receipt]) -> list[Receipt]:
    """Turn deliveries into messages, leads and conversions; each table is read once and written once.

    Returns:
        The deliveries that the batch had time for.
    """
    batch, tried = DeliveryBatch(tx), list[Receipt]()
    receipts_by_outcome: dict[Outcome, list[Receipt]] = defaultdict(list)

    # Parse. All parsed deliveries are settled, so this lesser part of the work gets a quarter of the time.
    parsed = [
        (receipt, CONNECTORS[receipt.platform].parse(open_receipt(tx.vault, receipt)))
        for receipt in in_time(waiting, lambda: batch_seconds(tx) / 4, *_CPU_CLOCK)
    ]

    # Read the persons, conversations and messages that the batch concerns.
    business_ids, conversation_ids, person_ids, message_ids = set[str](), set[str](), set[str](), set[str]()
    for receipt, incoming in parsed:
        if isinstance(incoming, Chatted | Referred | WasRead) and (switch := batch.find_account(receipt)):
            ids = ids_of(tx, switch.account, incoming, batch.threads)
            business_ids.add(receipt.business_id)
            conversation_ids.add(ids.conversation)
            person_ids.add(ids.person)
            if isinstance(incoming, Chatted):
                message_ids.add(message_id_of(switch.account, incoming.message_id))
    batch.threads.read(business_ids, conversation_ids, person_ids, message_ids)

    # Drop duplicates, append messages to their threads, and find contacts in them.
    for receipt, incoming in in_time(parsed, partial(batch_seconds, tx), *_CPU_CLOCK):
        tried.append(receipt)
        receipts_by_outcome[_settle(tx, batch, receipt, incoming)].append(receipt)
    signals = _list_signals(tx, batch)
    batch.write_events()

    # Record conversions, then upsert leads: a new conversation is inserted with the lead that it makes.
    measurement.record_conversions(tx, batch.earned)
    for signal, lead in zip(signals, upsert_leads(tx, signals), strict=True):
        batch.threads.note_lead(signal.conversation_id, lead)

    # Write the threads, and close the deliveries.
    batch.write()
    for outcome, settled in receipts_by_outcome.items():
        mark_receipts(tx, settled, outcome.state, outcome.reason)
    return tried


def _settle(tx: Tx, batch: DeliveryBatch, receipt: Receipt, incoming: Incoming) -> Outcome:
    """Apply one delivery to the batch."""
    reason = rules.refusal_reason(incoming)
    account_switch = None if reason else batch.find_account(receipt)
    if account_switch is None:
        return Outcome(ReceiptState.REFUSED, reason or "unknown_account")
    account = account_switch.account
    if isinstance(incoming, Chatted):
        return receive_message(tx, account_switch, incoming, receipt)
    if isinstance(incoming, Referred):  # the platform reports a tap on any ad, ours or not
        conversation = open_conversation(tx, account, incoming, batch.threads)
        tap = incoming.tap or AdTap(incoming.ad_number)
        is_new = _note_tap(tx, account_switch, conversation, tap, incoming.at)
        return STORED if is_new else Outcome(ReceiptState.MERGED, "same_touch")
    if isinstance(incoming, Progressed):
        is_ours = settle_progress(tx, account, incoming)
        return STORED if is_ours else Outcome(ReceiptState.REFUSED, "unknown_message")
    if isinstance(incoming, WasRead):
        conversation = open_conversation(tx, account, incoming, batch.threads)
        batch.write()  # the last message of the business has to be in its table
        note_customer_read(tx, conversation, incoming.at)
        batch.threads.forget(conversation)
    return STORED


def receive_message(tx: Tx, account_switch: AccountSwitch, chatted: Chatted, receipt: Receipt) -> Outcome:
    """Append a message once, and look for contact details in the text of a customer."""
    account, batch = account_switch.account, account_switch.batch
    business_id, at = account.business_id, chatted.at
    conversation = open_conversation(tx, account, chatted, batch.threads)
    if chatted.sender is Sender.BUSINESS and settle_echo(tx, account, conversation, chatted):
        return Outcome(ReceiptState.MERGED, "own_message")
    message = Message(
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
    if not batch.threads.append(business_id, message):
        return Outcome(ReceiptState.MERGED, "same_message")
    from_customer = chatted.sender is Sender.CUSTOMER
    batch.threads.move(Move(conversation, at, from_customer))
    if not from_customer:
        batch.emit(business_id, MessageSent(business_id, conversation.id, message.id))
        return STORED
    if conversation.state is ThreadState.BLOCKED:
        return STORED  # the message is kept, but it makes no lead, conversion or notification
    if chatted.tap is not None:
        _note_tap(tx, account_switch, conversation, chatted.tap, at)
    if conversation.started_at is None or conversation.started_at > at:  # an earlier message may come late
        kind, person_id = ConversionKind.CONVERSATION, conversation.person_id
        batch.earned.append(
            measurement.NewConversion(business_id, person_id, kind, conversation.id, micros(at))
        )
        batch.threads.start(conversation, at)
        if conversation.started_at is None:
            batch.emit(business_id, ConversationStarted(business_id, conversation.id, person_id))
    batch.emit(business_id, MessageReceived(business_id, conversation.id, message.id))
    if chatted.kind is MessageKind.TEXT:
        country, received_at = account.registration_country, receipt.received_at
        contacts = capture_contacts(account_switch.switch, message.text, country, received_at)
        if contacts is not None and (contacts.contacts or contacts.name):
            person = batch.threads.load_person(business_id, conversation.person_id)
            batch.shared.append(SharedContacts(account, message, contacts, person))
        send_automatic_reply(tx, account_switch, conversation, message)
    return STORED


def send_automatic_reply(
    tx: Tx, account_switch: AccountSwitch, conversation: Conversation, question: Message
) -> None:
    """Reply to a message that is exactly a suggested question or a keyword.

    Questions of the ad that opened the chat come before those of the account.
    """
    account, batch = account_switch.account, account_switch.batch
    if account.platform is not Platform.WEBCHAT:
        return
    saved = find_automatic(tx, account.business_id, account.id)
    active = saved[0].active if saved else AutomaticMessages()
    tapped = find_tapped_of(tx, account.business_id, conversation.person_id)
    of_ad = rules.with_ad(active, tapped[1] if tapped else None)
    text = rules.automatic_answer(of_ad, question.text) or rules.automatic_answer(active, question.text)
    if text is None:
        return
    reply = Message(
        seq=0,
        id=named_id(question.id, "automatic"),
        conversation_id=conversation.id,
        sender=Sender.BUSINESS,
        kind=MessageKind.AUTOMATIC,
        text=text,
        author="",
        at=question.at,
    )
    if batch.threads.append(account.business_id, reply):
        batch.threads.move(Move(conversation, reply.at, from_customer=False, is_automatic=True))
        batch.emit(account.business_id, MessageSent(account.business_id, conversation.id, reply.id))


def _list_signals(tx: Tx, batch: DeliveryBatch) -> list[Signal]:
    """Return the shared contacts as signals for leads, without those that a member rejected before."""
    contacts_by_business = defaultdict[str, list[MessageContacts]](list)
    for shared in batch.shared:
        contacts_by_business[shared.account.business_id].append(shared.contacts)
    accepted_by_business = {
        business_id: iter(list_uncorrected(tx, business_id, contacts))
        for business_id, contacts in contacts_by_business.items()
    }
    signals = list[Signal]()
    for shared in batch.shared:
        account, message, person = shared.account, shared.message, shared.person
        accepted = next(accepted_by_business[account.business_id])
        if accepted.name:
            batch.threads.name_person(person, accepted.name.value, message.at)
        if accepted.contacts or accepted.name:
            stated_name = batch.threads.load_person(account.business_id, person.id).stated_name
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
                    stated_name=stated_name or None,
                    profile_name=person.name,
                )
            )
    return signals


def _note_failure(tx: Tx, receipt: Receipt, error: Exception) -> None:
    logger().warning("receipt.failed", receipt_id=str(receipt.id), error_at=where(error))
    mark_receipt_tried(tx, receipt)
    # A fault of the database is not the delivery's, however long it lasts.
    if receipt.attempts + 1 >= MOST_TRIES and not isinstance(error, OperationalError | Overtaken):
        mark_receipts(tx, [receipt], ReceiptState.REFUSED, "processing_failed")


def _note_tap(
    tx: Tx, account_switch: AccountSwitch, conversation: Conversation, tap: AdTap, at: datetime
) -> bool:
    """Record the ad that opened a chat, and emit an event; False when the tap was recorded before.

    A tap on one of our ads becomes a touch at once. Another one is stored as the platform reported it, and
    becomes a touch when exactly one ad of the platform has that number.
    """
    platform, business_id = account_switch.account.platform, conversation.business_id
    named_tap = NamedTap(conversation.id, conversation.person_id, platform, tap.ad_number, tap.advertiser, at)
    ad = measurement_store.find_measured_ad_by_number(tx, business_id, tap.ad_number)
    if ad is not None:
        is_new = _record_touch(tx, ad, named_tap)
    else:
        referral_id = named_id(conversation.id, f"referral:{tap.ad_number}:{tap.click_id}:{micros(at)}")
        shown = (tap.click_id, tap.headline, tap.text)
        reported_tap = (tap.ad_number, *shown, at, tap.advertiser)
        is_new = append_referral(tx, AdReferral(referral_id, business_id, conversation.id, *reported_tap))
        if is_new:
            _credit_taps(tx, business_id, [named_tap])
    if is_new and conversation.state is not ThreadState.BLOCKED:
        tapped = AdTapped(business_id, conversation.id, str(tap.ad_number), at)
        account_switch.batch.emit(business_id, tapped)
    return is_new


def credit_referrals(tx: Tx, event: OutsideAdsMirrored) -> None:
    """Credit the chats that named an ad before it was mirrored; a handler of the outbox."""
    for numbers in batched(map(int, event.ad_numbers), _REFERRALS_AT_ONCE, strict=False):
        _credit_taps(tx, event.business_id, list_taps_on(tx, event.business_id, numbers))


_REFERRALS_AT_ONCE: Final = 200


def _credit_taps(tx: Tx, business_id: str, taps: Sequence[NamedTap]) -> None:
    """Record the touches of taps on ads that are mirrored."""
    mirrored_ads = find_known_ads(tx, business_id, {tap.ad_number for tap in taps})
    for tap in taps:
        ad = mirrored_ads.find(AD_PLATFORMS.get(tap.platform), tap.ad_number, tap.advertiser)
        if ad is not None:
            _record_touch(tx, ad, tap)


def _record_touch(tx: Tx, ad: MeasuredAd, tap: NamedTap) -> bool:
    ts = micros(tap.at)
    touch_id = natural_number("referral", tap.conversation_id, tap.ad_number, ts)
    touch = measurement.stamp_touch(ad, TouchKind.CLICK, tap.person_id, ts, touch_id, 0)
    return measurement.record_touch(tx, touch)


def note_customer_read(tx: Tx, conversation: Conversation, at: datetime) -> None:
    """Record the time up to which a person has read; update open pages if more is read now."""
    conversation_key = (conversation.business_id, conversation.id)
    last = messages.find_last_time(tx, *conversation_key, Sender.BUSINESS)
    read_at = conversation.customer_read_at
    is_news = last is not None and last <= at and (read_at is None or read_at < last)
    if conversations.record_customer_read(tx, conversation, at) and is_news:
        emit(tx, conversation.business_id, ConversationRead(*conversation_key, Sender.CUSTOMER))


def note_visitor_read(tx: Tx, account: ChannelAccount, visitor: str) -> None:
    """Note that a visitor has seen all messages of their conversation, if they have one."""
    conversation = find_visitor_conversation(tx, account, visitor)
    if conversation is not None:
        note_customer_read(tx, conversation, tx.now)


def find_visitor_conversation(tx: Tx, account: ChannelAccount, visitor: str) -> Conversation | None:
    return conversations.find_conversation(tx, account.business_id, conversation_id_of(account, visitor))


def typing_of(tx: Tx, account: ChannelAccount, visitor: str) -> CustomerTyping | None:
    """Return the typing event for members; None for a blocked visitor, or before the first message."""
    conversation = find_visitor_conversation(tx, account, visitor)
    if conversation is None or conversation.state is ThreadState.BLOCKED:
        return None
    return CustomerTyping(account.business_id, conversation.id)


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


def settling_work(parallel: int, handing: Callable[[WorkBatch], WorkBatch]) -> tuple[QueuedWork, ...]:
    """Return queued work that settles deliveries in parallel batches, each with its own turns.

    Args:
        parallel: number of batches.
        handing: makes a batch dispatch its events.
    """
    is_shared = parallel > 1
    return tuple(
        QueuedWork(
            "receipts",
            partial(_needs_help, batches=number + 1) if number else WAITING.is_due,
            handing(partial(settle_receipts, turns=Turns(WAITING))),
            in_background=False,
            gather_s=0.2 if number else 0.005,
            busy_s=_SHARED_GATHER_S if is_shared else _GATHER_S,
            many=_SHARED_MANY if is_shared else MANY,
            tables=WAITING.tables,
            has_many=None if is_shared else _has_many,
            is_brief=is_shared,
        )
        for number in range(parallel)
    )


def _needs_help(tx: Tx, batches: int) -> bool:
    """Report whether the backlog needs this many parallel batches."""
    if not WAITING.is_late(tx, _LATE):
        return False
    return WAITING.has_many(tx, batches * MANY_AT_ONCE) or WAITING.is_late(tx, _TOO_LATE)


def _has_many(tx: Tx) -> bool:
    """Report whether a whole batch waits. On SQLite a batch writes index pages that deliveries share."""
    return WAITING.has_many(tx, MANY_AT_ONCE)


MOST_WAITING: Final = 2_000
"""Deliveries that may wait before platforms are slowed down: a few full batches."""
LOOK_EVERY: Final = 256
"""Deliveries between two checks of the backlog."""
HOLD_S: Final = 0.1
"""Seconds by which a response is delayed, and between two checks, while the backlog is too large.

It is short, so that a stopped worker does not delay senders for long: stored deliveries are safe.
"""


class Backlog:
    """Backlog of unsettled deliveries, which slows senders down while it is too large.

    Storing costs less than settling, so an endless sender would grow the backlog. A sender has a limited
    number of open requests, so it sends less when each response comes later.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._count = 0
        self._is_checking = False
        self._is_too_much = False
        self._until_s = 0.0
        self._next = asyncio.Event()

    async def hold(self) -> None:
        """Delay a delivery while the backlog is too large; the caller stores it afterwards in any case."""
        loop = asyncio.get_running_loop()
        self._count += 1
        is_time = loop.time() >= self._until_s if self._is_too_much else self._count >= LOOK_EVERY
        if is_time and not self._is_checking:
            await self._check(loop)
        if self._is_too_much and self._until_s > loop.time():
            await self._next.wait()  # delayed deliveries continue together, and share a commit

    async def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_checking = True
        try:
            self._is_too_much = await self._db.read(_is_too_much)
        finally:
            self._is_checking, self._count = False, 0
        self._until_s, self._next = loop.time() + HOLD_S, asyncio.Event()
        if self._is_too_much:
            loop.call_at(self._until_s, self._next.set)


def _is_too_much(tx: Tx) -> bool:
    return WAITING.has_many(tx, MOST_WAITING)
