"""Settling deliveries into messages, touches, marks and leads."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy.exc import OperationalError

from contatto.capture import actions as capture
from contatto.channels.model import (
    AdTap,
    ChannelAccount,
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
from contatto.inbox.actions.threads import message_id_of, open_conversation
from contatto.inbox.index import AccountSwitch, AccountSwitches
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
from contatto.inbox.store import conversations, messages, persons, receipts
from contatto.kit.batches import BATCH_S, SHARED_BATCH_S, in_time
from contatto.kit.db.tx import Tx
from contatto.kit.log import logger, where
from contatto.kit.outbox import emit
from contatto.kit.timestamps import micros
from contatto.kit.turns import Turns
from contatto.leads.actions import records as leads
from contatto.leads.model.leads import Origin, Signal
from contatto.measurement import actions as measurement
from contatto.measurement.model import ConversionKind

SETTLED_AT_ONCE: Final = 100
"""Most deliveries that are read for one batch; how many it settles, the time decides."""
MOST_TRIES: Final = 5
"""Tries after which a delivery that breaks our own code is refused, its body kept for a replay."""


@dataclass(frozen=True, slots=True)
class Outcome:
    state: ReceiptState
    reason: str | None = None


STORED: Final = Outcome(ReceiptState.STORED)


def settle_receipts(tx: Tx, limit: int = SETTLED_AT_ONCE, turns: Turns | None = None) -> int:
    """Process deliveries that wait, in turn by business, for as long as a batch may take.

    All together, or one by one where that fails: a bad one stops no other, and is tried again after a while.

    Returns:
        How many were tried; call again until it is 0.
    """
    turns = turns or Turns(receipts.WAITING)
    waiting = turns.list_rows(tx, limit, partial(receipts.list_waiting_receipts, tx))
    tried = _settle_together(tx, waiting) or [_settle_alone(tx, each) for each in in_time(waiting)]
    if tried:
        turns.served(tried[-1].business_id)
    return len(tried)


def _settle_together(tx: Tx, waiting: list[Receipt]) -> list[Receipt]:
    """Settle as many as a batch may; none where one of them fails, which is then found one by one."""
    account_switches, tried = AccountSwitches(tx), list[Receipt]()
    alike: dict[Outcome, list[Receipt]] = defaultdict(list)
    try:
        with tx.connection.begin_nested():
            for receipt in in_time(waiting, SHARED_BATCH_S if tx.locks_rows else BATCH_S):
                tried.append(receipt)
                alike[_settle(tx, receipt, account_switches)].append(receipt)
            for outcome, settled in alike.items():
                receipts.mark_receipts(tx, settled, outcome.state, outcome.reason)
    except Exception:
        return []
    return tried


def _settle_alone(tx: Tx, receipt: Receipt) -> Receipt:
    try:
        with tx.connection.begin_nested():
            outcome = _settle(tx, receipt, AccountSwitches(tx))
            receipts.mark_receipts(tx, [receipt], outcome.state, outcome.reason)
    except Exception as error:  # whatever it is, it concerns this delivery alone
        _note_failure(tx, receipt, error)
    return receipt


def _note_failure(tx: Tx, receipt: Receipt, error: Exception) -> None:
    logger().warning("receipt.failed", receipt_id=str(receipt.id), error_at=where(error))
    receipts.mark_receipt_tried(tx, receipt)
    # Trouble of the database is not the delivery's fault, however long it lasts.
    if receipt.attempts + 1 >= MOST_TRIES and not isinstance(error, OperationalError):
        receipts.mark_receipts(tx, [receipt], ReceiptState.REFUSED, "processing_failed")


def _settle(tx: Tx, receipt: Receipt, account_switches: AccountSwitches) -> Outcome:
    body = tx.vault.open_bytes(receipt.body or b"", receipt.business_id)
    incoming = CONNECTORS[receipt.platform].parse(body)
    reason = rules.refusal_reason(incoming)
    if reason is not None:
        return Outcome(ReceiptState.REFUSED, reason)
    account_switch = account_switches.find(receipt)
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
        return _note_referral(tx, account, incoming)
    if isinstance(incoming, Progressed):
        is_ours = settle_progress(tx, account, incoming)
        return STORED if is_ours else Outcome(ReceiptState.REFUSED, "unknown_message")
    if isinstance(incoming, WasRead):
        note_customer_read(tx, open_conversation(tx, account, incoming), incoming.at)
    return STORED


def receive_message(tx: Tx, account_switch: AccountSwitch, chatted: Chatted, receipt: Receipt) -> Outcome:
    """Store a message once and, when it is the customer's, look for contact details in it."""
    account = account_switch.account
    conversation = open_conversation(tx, account, chatted)
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
    if not messages.append_message(tx, account.business_id, message):
        return Outcome(ReceiptState.MERGED, "same_message")
    from_customer = chatted.sender is Sender.CUSTOMER
    conversations.record_message_time(tx, conversation, chatted.at, from_customer=from_customer)
    if not from_customer:
        emit(tx, account.business_id, MessageSent(account.business_id, conversation.id, message.id))
        return STORED
    if conversation.state is ThreadState.BLOCKED:
        return STORED  # kept, and nothing else: no lead, no conversion, no news
    if chatted.tap is not None:
        _note_tap(tx, account, conversation, chatted.tap, chatted.at)
    _count_conversation(tx, conversation, chatted)
    emit(tx, account.business_id, MessageReceived(account.business_id, conversation.id, message.id))
    if chatted.kind is MessageKind.TEXT:
        _capture(tx, account_switch, conversation, message, receipt)
        answer_by_itself(tx, account, conversation, message)
    return STORED


def _count_conversation(tx: Tx, conversation: Conversation, chatted: Chatted) -> None:
    """The person's first message starts the conversation; an earlier one that comes late moves the start."""
    if conversation.started_at is not None and conversation.started_at <= chatted.at:
        return
    earned = measurement.Earned(
        conversation.business_id,
        conversation.person_id,
        ConversionKind.CONVERSATION,
        conversation.id,
        micros(chatted.at),
    )
    measurement.record_conversion(tx, earned)
    if conversations.record_start(tx, conversation, chatted.at):
        started = ConversationStarted(conversation.business_id, conversation.id, conversation.person_id)
        emit(tx, conversation.business_id, started)


def _capture(
    tx: Tx, account_switch: AccountSwitch, conversation: Conversation, message: Message, receipt: Receipt
) -> None:
    account = account_switch.account
    country, received_at = account.registration_country, receipt.received_at
    found = capture.capture_contacts(account_switch.switch, message.text, country, received_at)
    if found is None:
        return
    found = capture.drop_corrected(tx, account.business_id, found)
    if not (found.contacts or found.name):
        return
    person = persons.load_person(tx, account.business_id, conversation.person_id)
    if found.name:
        persons.record_stated_name(tx, person, found.name.value, message.at)
        person = persons.load_person(tx, account.business_id, conversation.person_id)
    signal = Signal(
        business_id=account.business_id,
        person_id=conversation.person_id,
        channel_account_id=account.id,
        conversation_id=conversation.id,
        origin=Origin.CHAT,
        source_id=message.id,
        at=message.at,
        contacts=found.contacts,
        stated_name=person.stated_name or None,
        profile_name=person.name,
    )
    leads.upsert_lead(tx, signal)


def _note_referral(tx: Tx, account: ChannelAccount, referred: Referred) -> Outcome:
    """A tap on an ad, told by the platform: the click that last touch needs (R49). The ad may be any."""
    conversation = open_conversation(tx, account, referred)
    tap = referred.tap or AdTap(referred.ad_number)
    is_new = _note_tap(tx, account, conversation, tap, referred.at)
    return STORED if is_new else Outcome(ReceiptState.MERGED, "same_touch")


def _note_tap(tx: Tx, account: ChannelAccount, conversation: Conversation, tap: AdTap, at: datetime) -> bool:
    """Note the ad that opened a chat, and tell of it. False when it was noted before."""
    is_new = keep_tap(tx, account.platform, conversation, tap, at)
    if is_new and conversation.state is not ThreadState.BLOCKED:
        tapped = AdTapped(conversation.business_id, conversation.id, str(tap.ad_number), at)
        emit(tx, conversation.business_id, tapped)
    return is_new
