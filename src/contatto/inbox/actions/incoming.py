"""Answering platforms a moment later while more waits to be settled than is settled in a second."""

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

from contatto.ad_platforms.actions.pulling import find_known_ads
from contatto.ad_platforms.model import OutsideAdsMirrored
from contatto.ad_platforms.registry import AD_PLATFORMS
from contatto.capture import actions as capture
from contatto.capture.actions import Found
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
from contatto.channels.registry import CONNECTORS
from contatto.inbox import rules
from contatto.inbox.actions.replies import answer_by_itself, settle_echo, settle_progress
from contatto.inbox.actions.threads import conversation_id_of, ids_of, message_id_of, open_conversation
from contatto.inbox.index import AccountSwitch, Batch, Overtaken, Shared
from contatto.inbox.model import (
    AdReferral,
    AdTapped,
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
from contatto.inbox.store.receipts import (
    WAITING,
    NamedTap,
    append_referral,
    list_taps_on,
    list_waiting_receipts,
    mark_receipt_tried,
    mark_receipts,
    open_receipt,
)
from contatto.kit.background import MANY, QueuedWork
from contatto.kit.background import Batch as WorkBatch
from contatto.kit.clock import BATCH_S, LONG_BATCH_S, in_time
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.db.write_queue import is_awaited, savepoint
from contatto.kit.fair_queue import Turns
from contatto.kit.ids import named_id
from contatto.kit.log import logger, where
from contatto.kit.outbox import emit
from contatto.kit.timestamps import micros
from contatto.leads.actions.records import upsert_leads
from contatto.leads.model import Origin, Signal
from contatto.measurement import actions as measurement
from contatto.measurement import store as measurement_store
from contatto.measurement.model import ConversionKind, MeasuredAd, TouchKind
from contatto.measurement.rules import natural_number

MOST_WAITING: Final = 2_000
"""Deliveries that may wait before platforms are slowed down: some batches, as full as they get."""
LOOK_EVERY: Final = 256
"""It is looked how much waits after so many deliveries: by then it may be too much."""
HOLD_S: Final = 0.1
"""So much later a delivery is answered, and so long it is until the next look, while too much waits.

It is no more, so that a worker that stands still makes nobody wait for long: what is stored is safe.
"""


class Backlog:
    """Backlog of unsettled deliveries, as far as a server needs it: whether there are too many.

    To store costs less than to settle, so who sends without end would leave more and more waiting.
    A sender has only so many deliveries on their way at a time, so one that is answered later sends less.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._came = 0
        self._is_looking = False
        self._is_too_much = False
        self._until_s = 0.0
        self._next = asyncio.Event()

    async def hold(self) -> None:
        """Let a delivery wait for the next moment, if too much waits; in any case it is to be stored then."""
        loop = asyncio.get_running_loop()
        self._came += 1
        is_time = loop.time() >= self._until_s if self._is_too_much else self._came >= LOOK_EVERY
        if is_time and not self._is_looking:
            await self._look(loop)
        if self._is_too_much and self._until_s > loop.time():
            await self._next.wait()  # they go on together, and share a commit

    async def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_looking = True
        try:
            self._is_too_much = await self._db.read(_is_too_much)
        finally:
            self._is_looking, self._came = False, 0
        self._until_s, self._next = loop.time() + HOLD_S, asyncio.Event()
        if self._is_too_much:
            loop.call_at(self._until_s, self._next.set)


def _is_too_much(tx: Tx) -> bool:
    return WAITING.has_many(tx, MOST_WAITING)


def note_customer_read(tx: Tx, conversation: Conversation, at: datetime) -> None:
    """Note up to when a person has read, and tell the open pages when that says something new."""
    conversation_key = (conversation.business_id, conversation.id)
    last = messages.find_last_time(tx, *conversation_key, Sender.BUSINESS)
    read_at = conversation.customer_read_at
    is_news = last is not None and last <= at and (read_at is None or read_at < last)
    if conversations.record_customer_read(tx, conversation, at) and is_news:
        emit(tx, conversation.business_id, ConversationRead(*conversation_key, Sender.CUSTOMER))


def note_visitor_read(tx: Tx, account: ChannelAccount, visitor: str) -> None:
    """Note that a visitor has all messages before their eyes; without a conversation there is nothing."""
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


_AT_ONCE: Final = 200


def keep_tap(tx: Tx, platform: Platform, conversation: Conversation, tap: AdTap, at: datetime) -> bool:
    """Keep a tap; False when it was kept before.

    One on an ad of ours is a touch. Any other is kept as it was told, and is a touch as well as soon as
    exactly one ad of the platform is known by that number.
    """
    business_id = conversation.business_id
    named = NamedTap(conversation.id, conversation.person_id, platform, tap.ad_number, tap.advertiser, at)
    ad = measurement_store.find_measured_ad_by_number(tx, business_id, tap.ad_number)
    if ad is not None:
        return _record_tap(tx, ad, named)
    referral_id = named_id(conversation.id, f"referral:{tap.ad_number}:{tap.click_id}:{micros(at)}")
    shown = (tap.click_id, tap.headline, tap.text)
    reported_tap = (tap.ad_number, *shown, at, tap.advertiser)
    is_new = append_referral(tx, AdReferral(referral_id, business_id, conversation.id, *reported_tap))
    if is_new:
        _credit_taps(tx, business_id, [named])
    return is_new


def credit_referrals(tx: Tx, event: OutsideAdsMirrored) -> None:
    """Credit the chats that named an ad before it was known; a handler of the outbox."""
    for numbers in batched(map(int, event.ad_numbers), _AT_ONCE, strict=False):
        _credit_taps(tx, event.business_id, list_taps_on(tx, event.business_id, numbers))


def _credit_taps(tx: Tx, business_id: str, taps: Sequence[NamedTap]) -> None:
    """Record the touches of taps whose ads are known."""
    known_ads = find_known_ads(tx, business_id, {tap.ad_number for tap in taps})
    for tap in taps:
        ad = known_ads.find(AD_PLATFORMS.get(tap.platform), tap.ad_number, tap.advertiser)
        if ad is not None:
            _record_tap(tx, ad, tap)


def _record_tap(tx: Tx, ad: MeasuredAd, tap: NamedTap) -> bool:
    ts = micros(tap.at)
    touch_id = natural_number("referral", tap.conversation_id, tap.ad_number, ts)
    touch = measurement.stamp_touch(ad, TouchKind.CLICK, tap.person_id, ts, touch_id, 0)
    return measurement.record_touch(tx, touch)


SETTLED_AT_ONCE: Final = 200
"""Most deliveries that are read for one batch; how many it settles, the time decides."""
MANY_AT_ONCE: Final = 600
"""The same where a batch holds up nobody but its like: some forty statements are shared by more."""
_LOOK: Final = (time.thread_time, 8)
"""A batch ends by the time that its thread had the processor; that is looked at after so many deliveries."""
MOST_TRIES: Final = 5
"""Tries after which a delivery that breaks our own code is refused, its body kept for a replay."""


@dataclass(frozen=True, slots=True)
class Outcome:
    state: ReceiptState
    reason: str | None = None


STORED: Final = Outcome(ReceiptState.STORED)


def settle_receipts(tx: Tx, limit: int = 0, turns: Turns | None = None) -> int:
    """Process deliveries that wait, in turn by business, for as long as a batch may take.

    All together, and apart where that fails: a bad one stops no other, and is tried again after a while.
    With a ``limit`` no more are read than that.

    Returns:
        How many were tried; call again until it is 0.
    """
    turns = turns or Turns(WAITING)
    limit = limit or (SETTLED_AT_ONCE if is_awaited(tx) else MANY_AT_ONCE)
    waiting = turns.list_rows(tx, limit, partial(list_waiting_receipts, tx))
    tried = _settle_together(tx, waiting)
    if isinstance(tried, Exception):
        tried = _settle_apart(tx, waiting, tried)
    if tried:
        turns.served(tried[-1].business_id)
    return len(tried)


def _settle_apart(tx: Tx, failed: list[Receipt], error: Exception) -> list[Receipt]:
    """Settle each business by itself, and of one that fails half as many, and so on, to find what breaks.

    However long that takes, each business has its turn; and what came first is settled first.
    """
    tried, begun, end = list[Receipt](), set[str](), time.perf_counter() + _batch_s(tx)
    pieces = _parts_of(failed)
    if not pieces:
        _note_failure(tx, failed[0], error)
        return failed
    while pieces:
        piece = pieces.pop()
        business_id = piece[0].business_id
        if tried and business_id in begun and time.perf_counter() > end:
            continue
        begun.add(business_id)
        settled = _settle_together(tx, piece)
        if isinstance(settled, Exception):
            pieces += (parts := _parts_of(piece))
            if not parts:
                _note_failure(tx, piece[0], settled)
                tried += piece
            continue
        tried += settled
        if len(settled) < len(piece):  # its others have to wait for those that are left
            pieces = [piece for piece in pieces if piece[0].business_id != business_id]
    return tried


def _parts_of(piece: list[Receipt]) -> list[list[Receipt]]:
    """The deliveries of each business, or the halves of one, the first last; one delivery has no parts."""
    lines: dict[str, list[Receipt]] = defaultdict(list)
    for item in piece:
        lines[item.business_id].append(item)
    if len(lines) > 1:
        return list(lines.values())[::-1]
    half = len(piece) // 2
    return [piece[half:], piece[:half]] if half else []


def _batch_s(tx: Tx) -> float:
    return BATCH_S if is_awaited(tx) else LONG_BATCH_S


def _settle_together(tx: Tx, waiting: list[Receipt]) -> list[Receipt] | Exception:
    """Settle as many as a batch may, in one savepoint; or none, and why not."""
    batch, tried = Batch(tx), list[Receipt]()
    receipts_by_outcome: dict[Outcome, list[Receipt]] = defaultdict(list)
    try:
        with savepoint(tx):
            # To read is the lesser part of the work: what was read is settled, unless that takes long.
            incoming_receipts = [
                (receipt, _read(tx, receipt))
                for receipt in in_time(waiting, lambda: _batch_s(tx) / 4, *_LOOK)
            ]
            _read_ahead(tx, batch, incoming_receipts)
            for receipt, incoming in in_time(incoming_receipts, partial(_batch_s, tx), *_LOOK):
                tried.append(receipt)
                receipts_by_outcome[_settle(tx, batch, receipt, incoming)].append(receipt)
            _write(tx, batch)
            for outcome, settled in receipts_by_outcome.items():
                mark_receipts(tx, settled, outcome.state, outcome.reason)
    except Exception as error:  # whatever it is, it concerns these alone
        return error
    return tried


def _note_failure(tx: Tx, receipt: Receipt, error: Exception) -> None:
    logger().warning("receipt.failed", receipt_id=str(receipt.id), error_at=where(error))
    mark_receipt_tried(tx, receipt)
    # Trouble of the database is not the delivery's fault, however long it lasts.
    if receipt.attempts + 1 >= MOST_TRIES and not isinstance(error, OperationalError | Overtaken):
        mark_receipts(tx, [receipt], ReceiptState.REFUSED, "processing_failed")


def _read(tx: Tx, receipt: Receipt) -> Incoming:
    return CONNECTORS[receipt.platform].parse(open_receipt(tx.vault, receipt))


def _read_ahead(tx: Tx, batch: Batch, incoming_receipts: list[tuple[Receipt, Incoming]]) -> None:
    """Read what the deliveries of a batch are about, at once for all."""
    businesses, talks, people, message_ids = set[str](), set[str](), set[str](), set[str]()
    for receipt, incoming in incoming_receipts:
        if isinstance(incoming, Chatted | Referred | WasRead) and (switch := batch.find_account(receipt)):
            ids = ids_of(tx, switch.account, incoming, batch.threads)
            businesses.add(receipt.business_id)
            talks.add(ids.conversation)
            people.add(ids.person)
            if isinstance(incoming, Chatted):
                message_ids.add(message_id_of(switch.account, incoming.message_id))
    batch.threads.read(businesses, talks, people, message_ids)


def _settle(tx: Tx, batch: Batch, receipt: Receipt, incoming: Incoming) -> Outcome:
    reason = rules.refusal_reason(incoming)
    if reason is not None:
        return Outcome(ReceiptState.REFUSED, reason)
    account_switch = batch.find_account(receipt)
    return (
        _take_in(tx, account_switch, incoming, receipt)
        if account_switch
        else Outcome(ReceiptState.REFUSED, "unknown_account")
    )


def _take_in(tx: Tx, account_switch: AccountSwitch, incoming: Incoming, receipt: Receipt) -> Outcome:
    account = account_switch.account
    if isinstance(incoming, Chatted):
        return receive_message(tx, account_switch, incoming, receipt)
    if isinstance(incoming, Referred):
        return _note_referral(tx, account_switch, incoming)
    if isinstance(incoming, Progressed):
        is_ours = settle_progress(tx, account, incoming)
        return STORED if is_ours else Outcome(ReceiptState.REFUSED, "unknown_message")
    if isinstance(incoming, WasRead):
        _note_read(tx, account_switch, incoming)
    return STORED


def _note_read(tx: Tx, account_switch: AccountSwitch, was_read: WasRead) -> None:
    batch = account_switch.batch
    conversation = open_conversation(tx, account_switch.account, was_read, batch.threads)
    batch.write()  # it is looked for what was said last
    note_customer_read(tx, conversation, was_read.at)
    batch.threads.forget(conversation)


def receive_message(tx: Tx, account_switch: AccountSwitch, chatted: Chatted, receipt: Receipt) -> Outcome:
    """Store a message once and, when it is the customer's, look for contact details in it."""
    account, batch = account_switch.account, account_switch.batch
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
        at=chatted.at,
        photo=chatted.photo or None,
    )
    if not batch.threads.append(account.business_id, message):
        return Outcome(ReceiptState.MERGED, "same_message")
    from_customer = chatted.sender is Sender.CUSTOMER
    batch.threads.move(Move(conversation, chatted.at, from_customer))
    if not from_customer:
        batch.emit(account.business_id, MessageSent(account.business_id, conversation.id, message.id))
        return STORED
    if conversation.state is ThreadState.BLOCKED:
        return STORED  # kept, and nothing else: no lead, no conversion, no news
    if chatted.tap is not None:
        _note_tap(tx, account_switch, conversation, chatted.tap, chatted.at)
    _count_conversation(batch, conversation, chatted.at)
    batch.emit(account.business_id, MessageReceived(account.business_id, conversation.id, message.id))
    if chatted.kind is MessageKind.TEXT:
        _look_for_contacts(account_switch, conversation, message, receipt)
        answer_by_itself(tx, account_switch, conversation, message)
    return STORED


def _count_conversation(batch: Batch, conversation: Conversation, at: datetime) -> None:
    """The person's first message starts the conversation; an earlier one that comes late moves the start."""
    if conversation.started_at is not None and conversation.started_at <= at:
        return
    business_id, person_id = conversation.business_id, conversation.person_id
    kind = ConversionKind.CONVERSATION
    batch.earned.append(measurement.Earned(business_id, person_id, kind, conversation.id, micros(at)))
    batch.threads.start(conversation, at)
    if conversation.started_at is None:
        batch.emit(business_id, ConversationStarted(business_id, conversation.id, person_id))


def _look_for_contacts(
    account_switch: AccountSwitch, conversation: Conversation, message: Message, receipt: Receipt
) -> None:
    account, batch = account_switch.account, account_switch.batch
    country, received_at = account.registration_country, receipt.received_at
    contacts = capture.capture_contacts(account_switch.switch, message.text, country, received_at)
    if contacts is not None and (contacts.contacts or contacts.name):
        person = batch.threads.load_person(account.business_id, conversation.person_id)
        batch.shared.append(Shared(account, message, contacts, person))


def _write(tx: Tx, batch: Batch) -> None:
    """Write what a batch led to, each table once: what was earned, then the leads, then the threads.

    So a new conversation is inserted with the lead that it made. What is told of leads comes after the rest.
    """
    signals = _list_signals(tx, batch)
    batch.tell()
    measurement.record_conversions(tx, batch.earned)
    for signal, lead in zip(signals, upsert_leads(tx, signals), strict=True):
        batch.threads.note_lead(signal.conversation_id, lead)
    batch.write()


def _list_signals(tx: Tx, batch: Batch) -> list[Signal]:
    """Return the shared details, without contacts that a member rejected before."""
    founds: dict[str, list[Found]] = defaultdict(list)
    for shared in batch.shared:
        founds[shared.account.business_id].append(shared.found)
    matches_by_business = {
        business_id: iter(capture.drop_corrected(tx, business_id, some))
        for business_id, some in founds.items()
    }
    signals = list[Signal]()
    for shared in batch.shared:
        matches = next(matches_by_business[shared.account.business_id])
        if matches.name:
            batch.threads.name_person(shared.person, matches.name.value, shared.message.at)
        if matches.contacts or matches.name:
            signals.append(_signal_of(batch, shared, matches))
    return signals


def _signal_of(batch: Batch, shared: Shared, matches: Found) -> Signal:
    account, message, person = shared.account, shared.message, shared.person
    named = batch.threads.load_person(account.business_id, person.id)
    return Signal(
        business_id=account.business_id,
        person_id=person.id,
        channel_account_id=account.id,
        conversation_id=message.conversation_id,
        origin=Origin.CHAT,
        source_id=message.id,
        at=message.at,
        contacts=matches.contacts,
        stated_name=named.stated_name or None,
        profile_name=person.name,
    )


def _note_referral(tx: Tx, account_switch: AccountSwitch, referred: Referred) -> Outcome:
    """A tap on an ad, told by the platform: the click that last touch needs (R49). The ad may be any."""
    conversation = open_conversation(tx, account_switch.account, referred, account_switch.batch.threads)
    tap = referred.tap or AdTap(referred.ad_number)
    is_new = _note_tap(tx, account_switch, conversation, tap, referred.at)
    return STORED if is_new else Outcome(ReceiptState.MERGED, "same_touch")


def _note_tap(
    tx: Tx, account_switch: AccountSwitch, conversation: Conversation, tap: AdTap, at: datetime
) -> bool:
    """Note the ad that opened a chat, and tell of it. False when it was noted before."""
    is_new = keep_tap(tx, account_switch.account.platform, conversation, tap, at)
    if is_new and conversation.state is not ThreadState.BLOCKED:
        tapped = AdTapped(conversation.business_id, conversation.id, str(tap.ad_number), at)
        account_switch.batch.emit(conversation.business_id, tapped)
    return is_new


_LATE: Final = timedelta(milliseconds=500)
"""From when on others help to settle what waits, if it is enough for a whole batch of each."""
_TOO_LATE: Final = timedelta(seconds=2)
"""From when on they help with whatever waits. Before, they would only make the batches of one smaller."""
_GATHER_S: Final = 0.04
_SHARED_GATHER_S: Final = 0.08
_SHARED_MANY: Final = 300
"""On PostgreSQL a batch has some forty ways to the server, which more deliveries share.

They gather for as long as the last batch took, so half of the time at most is spent on small batches.
"""


def settling_work(parallel: int, handing: Callable[[WorkBatch], WorkBatch]) -> tuple[QueuedWork, ...]:
    """So many batches of deliveries beside each other, each with turns of its own.

    Args:
        parallel: how many.
        handing: makes a batch hand out its events.
    """
    return tuple(_settling(number, parallel, handing) for number in range(parallel))


def _settling(number: int, parallel: int, handing: Callable[[WorkBatch], WorkBatch]) -> QueuedWork:
    is_first, is_shared = number == 0, parallel > 1
    return QueuedWork(
        "receipts",
        WAITING.is_due if is_first else partial(_needs_help, batches=number + 1),
        handing(partial(settle_receipts, turns=Turns(WAITING))),
        in_background=False,
        gather_s=0.005 if is_first else 0.2,
        busy_s=_SHARED_GATHER_S if is_shared else _GATHER_S,
        many=_SHARED_MANY if is_shared else MANY,
        tables=WAITING.tables,
        has_many=None if is_shared else _has_many,
        is_brief=is_shared,
    )


def _needs_help(tx: Tx, batches: int) -> bool:
    """Report whether the backlog needs this many parallel batches."""
    if not WAITING.is_late(tx, _LATE):
        return False
    return WAITING.has_many(tx, batches * MANY_AT_ONCE) or WAITING.is_late(tx, _TOO_LATE)


def _has_many(tx: Tx) -> bool:
    """Report whether a whole batch waits. On SQLite a batch writes index pages that deliveries share."""
    return WAITING.has_many(tx, MANY_AT_ONCE)
