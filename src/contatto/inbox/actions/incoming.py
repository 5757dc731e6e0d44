"""Settling deliveries into messages, touches, marks and leads."""

import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy.exc import OperationalError

from contatto.capture import actions as capture
from contatto.capture.actions import Found
from contatto.channels.model import (
    AdTap,
    Chatted,
    Incoming,
    MessageKind,
    Progressed,
    Referred,
    Sender,
    WasRead,
)
from contatto.channels.registry import CONNECTORS
from contatto.inbox import rules
from contatto.inbox.actions.automatic import answer_by_itself
from contatto.inbox.actions.customers import note_customer_read
from contatto.inbox.actions.referrals import keep_tap
from contatto.inbox.actions.replies import settle_echo, settle_progress
from contatto.inbox.actions.threads import ids_of, message_id_of, open_conversation
from contatto.inbox.index import AccountSwitch, Batch, Overtaken, Shared
from contatto.inbox.model import (
    AdTapped,
    Conversation,
    ConversationStarted,
    Message,
    MessageReceived,
    MessageSent,
    Receipt,
    ReceiptState,
    ThreadState,
)
from contatto.inbox.store import receipts
from contatto.inbox.store.conversations import Move
from contatto.kit.batches import BATCH_S, LONG_BATCH_S, in_time
from contatto.kit.db.giving_way import is_awaited
from contatto.kit.db.savepoints import savepoint
from contatto.kit.db.tx import Tx
from contatto.kit.log import logger, where
from contatto.kit.timestamps import micros
from contatto.kit.turns import Turns
from contatto.leads.actions import records as leads
from contatto.leads.model.leads import Origin, Signal
from contatto.measurement import actions as measurement
from contatto.measurement.model import ConversionKind

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
    turns = turns or Turns(receipts.WAITING)
    limit = limit or (SETTLED_AT_ONCE if is_awaited(tx) else MANY_AT_ONCE)
    waiting = turns.list_rows(tx, limit, partial(receipts.list_waiting_receipts, tx))
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
            pieces = [each for each in pieces if each[0].business_id != business_id]
    return tried


def _parts_of(piece: list[Receipt]) -> list[list[Receipt]]:
    """The deliveries of each business, or the halves of one, the first last; one delivery has no parts."""
    lines: dict[str, list[Receipt]] = defaultdict(list)
    for each in piece:
        lines[each.business_id].append(each)
    if len(lines) > 1:
        return list(lines.values())[::-1]
    half = len(piece) // 2
    return [piece[half:], piece[:half]] if half else []


def _batch_s(tx: Tx) -> float:
    return BATCH_S if is_awaited(tx) else LONG_BATCH_S


def _settle_together(tx: Tx, waiting: list[Receipt]) -> list[Receipt] | Exception:
    """Settle as many as a batch may, in one savepoint; or none, and why not."""
    batch, tried = Batch(tx), list[Receipt]()
    alike: dict[Outcome, list[Receipt]] = defaultdict(list)
    try:
        with savepoint(tx):
            # To read is the lesser part of the work: what was read is settled, unless that takes long.
            told = [(each, _read(tx, each)) for each in in_time(waiting, lambda: _batch_s(tx) / 4, *_LOOK)]
            _read_ahead(tx, batch, told)
            for receipt, incoming in in_time(told, partial(_batch_s, tx), *_LOOK):
                tried.append(receipt)
                alike[_settle(tx, batch, receipt, incoming)].append(receipt)
            _write(tx, batch)
            for outcome, settled in alike.items():
                receipts.mark_receipts(tx, settled, outcome.state, outcome.reason)
    except Exception as error:  # whatever it is, it concerns these alone
        return error
    return tried


def _note_failure(tx: Tx, receipt: Receipt, error: Exception) -> None:
    logger().warning("receipt.failed", receipt_id=str(receipt.id), error_at=where(error))
    receipts.mark_receipt_tried(tx, receipt)
    # Trouble of the database is not the delivery's fault, however long it lasts.
    if receipt.attempts + 1 >= MOST_TRIES and not isinstance(error, OperationalError | Overtaken):
        receipts.mark_receipts(tx, [receipt], ReceiptState.REFUSED, "processing_failed")


def _read(tx: Tx, receipt: Receipt) -> Incoming:
    return CONNECTORS[receipt.platform].parse(receipts.open_receipt(tx.vault, receipt))


def _read_ahead(tx: Tx, batch: Batch, told: list[tuple[Receipt, Incoming]]) -> None:
    """Read what the deliveries of a batch are about, at once for all."""
    businesses, talks, people, said = set[str](), set[str](), set[str](), set[str]()
    for receipt, incoming in told:
        if isinstance(incoming, Chatted | Referred | WasRead) and (switch := batch.find_account(receipt)):
            ids = ids_of(tx, switch.account, incoming, batch.threads)
            businesses.add(receipt.business_id)
            talks.add(ids.conversation)
            people.add(ids.person)
            if isinstance(incoming, Chatted):
                said.add(message_id_of(switch.account, incoming.message_id))
    batch.threads.read(businesses, talks, people, said)


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
    found = capture.capture_contacts(account_switch.switch, message.text, country, received_at)
    if found is not None and (found.contacts or found.name):
        person = batch.threads.load_person(account.business_id, conversation.person_id)
        batch.shared.append(Shared(account, message, found, person))


def _write(tx: Tx, batch: Batch) -> None:
    """Write what a batch led to, each table once: what was earned, then the leads, then the threads.

    So a new conversation is inserted with the lead that it made. What is told of leads comes after the rest.
    """
    signals = _list_signals(tx, batch)
    batch.tell()
    measurement.record_conversions(tx, batch.earned)
    for signal, lead in zip(signals, leads.upsert_leads(tx, signals), strict=True):
        batch.threads.note_lead(signal.conversation_id, lead)
    batch.write()


def _list_signals(tx: Tx, batch: Batch) -> list[Signal]:
    """What was shared, without what a member has called no contact before."""
    founds: dict[str, list[Found]] = defaultdict(list)
    for each in batch.shared:
        founds[each.account.business_id].append(each.found)
    kept = {of: iter(capture.drop_corrected(tx, of, some)) for of, some in founds.items()}
    signals = list[Signal]()
    for each in batch.shared:
        found = next(kept[each.account.business_id])
        if found.name:
            batch.threads.name_person(each.person, found.name.value, each.message.at)
        if found.contacts or found.name:
            signals.append(_signal_of(batch, each, found))
    return signals


def _signal_of(batch: Batch, shared: Shared, found: Found) -> Signal:
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
        contacts=found.contacts,
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
