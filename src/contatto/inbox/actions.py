"""Settling deliveries into messages and leads, replying, marking leads, posting the inline notice."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import OperationalError

from contatto.capture import actions as capture
from contatto.channels import store as channel_store
from contatto.channels.model import ChannelAccount, Chatted, Incoming, MessageKind, Referred, Sender, WasRead
from contatto.channels.registry import CONNECTORS
from contatto.forms import actions as forms
from contatto.forms.model import FormAnswer, FormVersion, Respondent, Source, Submission, Verdict
from contatto.forms.rules.words import text_of
from contatto.inbox import rules
from contatto.inbox.index import Door, Doors
from contatto.inbox.model import (
    Conversation,
    ConversationStarted,
    InlineNotice,
    Message,
    MessageReceived,
    MessageSent,
    NoticePosted,
    Person,
    Receipt,
    ReceiptState,
)
from contatto.inbox.store import conversations, messages, notices, persons, receipts
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import named_id
from contatto.kit.log import logger, where
from contatto.kit.moments import micros
from contatto.kit.outbox import emit
from contatto.leads.actions import records as leads
from contatto.leads.model import Lead, LeadCaptured, LeadRemoved, LeadUpdated, Origin, Signal
from contatto.measurement import actions as measurement
from contatto.measurement import store as measurement_store
from contatto.measurement.model import ConversionKind, MeasuredAd, Touch, TouchKind
from contatto.measurement.rules import natural_number

MOST_TRIES: Final = 5
"""Tries after which a delivery that breaks our own code is refused, its body kept for a replay."""


@dataclass(frozen=True, slots=True)
class Outcome:
    state: ReceiptState
    reason: str | None = None


type Event = Chatted | Referred | WasRead

STORED: Final = Outcome(ReceiptState.STORED)


def settle_receipts(tx: Tx, limit: int = 200) -> int:
    """Process deliveries that wait: all together, or one by one where that fails: a bad one stops no other.

    Returns:
        How many were settled; call again until it is 0. One that failed is tried again after a while.
    """
    waiting = receipts.list_waiting_receipts(tx, limit)
    return len(waiting) if _settle_together(tx, waiting) else sum(_settle_alone(tx, each) for each in waiting)


def _settle_together(tx: Tx, waiting: list[Receipt]) -> bool:
    """Settle all or none; say whether it went well. What failed is found, and noted, one by one."""
    doors = Doors(tx)
    alike: dict[Outcome, list[Receipt]] = defaultdict(list)
    try:
        with tx.connection.begin_nested():
            for receipt in waiting:
                alike[_settle(tx, receipt, doors)].append(receipt)
            for outcome, settled in alike.items():
                receipts.mark_receipts(tx, settled, outcome.state, outcome.reason)
    except Exception:
        return False
    return True


def _settle_alone(tx: Tx, receipt: Receipt) -> bool:
    try:
        with tx.connection.begin_nested():
            outcome = _settle(tx, receipt, Doors(tx))
            receipts.mark_receipts(tx, [receipt], outcome.state, outcome.reason)
    except Exception as error:  # whatever it is, it concerns this delivery alone
        _note_failure(tx, receipt, error)
        return False
    return True


def _note_failure(tx: Tx, receipt: Receipt, error: Exception) -> None:
    logger().warning("receipt.failed", receipt_id=str(receipt.id), error_at=where(error))
    receipts.mark_receipt_tried(tx, receipt)
    # Trouble of the database is not the delivery's fault, however long it lasts.
    if receipt.attempts + 1 >= MOST_TRIES and not isinstance(error, OperationalError):
        receipts.mark_receipts(tx, [receipt], ReceiptState.REFUSED, "processing_failed")


def _settle(tx: Tx, receipt: Receipt, doors: Doors) -> Outcome:
    body = tx.vault.open_bytes(receipt.body or b"", receipt.business_id)
    incoming = CONNECTORS[receipt.platform].parse(body)
    reason = rules.refusal_reason(incoming)
    if reason is not None:
        return Outcome(ReceiptState.REFUSED, reason)
    door = doors.find(receipt)
    return _take_in(tx, door, incoming, receipt) if door else Outcome(ReceiptState.REFUSED, "unknown_account")


def _take_in(tx: Tx, door: Door, incoming: Incoming, receipt: Receipt) -> Outcome:
    account = door.account
    if isinstance(incoming, Chatted):
        return receive_message(tx, door, incoming, receipt)
    if isinstance(incoming, Referred):
        return _note_referral(tx, account, incoming)
    if isinstance(incoming, WasRead):
        conversations.record_customer_read(tx, _open_conversation(tx, account, incoming), incoming.at)
    return STORED


def receive_message(tx: Tx, door: Door, chatted: Chatted, receipt: Receipt) -> Outcome:
    """Store a message once and, when it is the customer's, look for contact details in it."""
    account = door.account
    conversation = _open_conversation(tx, account, chatted)
    message = Message(
        seq=0,
        id=message_id_of(account, chatted.message_id),
        conversation_id=conversation.id,
        sender=chatted.sender,
        kind=chatted.kind,
        text=chatted.text,
        author="",
        at=chatted.at,
    )
    if not messages.append_message(tx, account.business_id, message):
        return Outcome(ReceiptState.MERGED, "same_message")
    from_customer = chatted.sender is Sender.CUSTOMER
    conversations.record_message_time(tx, conversation, chatted.at, from_customer=from_customer)
    if not from_customer:
        emit(tx, account.business_id, MessageSent(account.business_id, conversation.id, message.id))
        return STORED
    _count_conversation(tx, conversation, chatted)
    emit(tx, account.business_id, MessageReceived(account.business_id, conversation.id, message.id))
    if chatted.kind is MessageKind.TEXT:
        _capture(tx, door, conversation, message, receipt)
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


def _capture(tx: Tx, door: Door, conversation: Conversation, message: Message, receipt: Receipt) -> None:
    account = door.account
    country, received_at = account.registration_country, receipt.received_at
    found = capture.capture_contacts(door.switch, message.text, country, received_at)
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
    """A tap on an ad, told by the platform: the click that last touch needs (R49)."""
    ad = measurement_store.find_measured_ad_by_number(tx, account.business_id, referred.ad_number)
    if ad is None:
        return Outcome(ReceiptState.REFUSED, "unknown_ad")
    conversation = _open_conversation(tx, account, referred)
    ts = micros(referred.at)
    touch_id = natural_number("referral", conversation.id, referred.ad_number, ts)
    touch = measurement.stamp_touch(ad, TouchKind.CLICK, conversation.person_id, ts, touch_id, 0)
    is_new = measurement.record_touch(tx, touch)
    return STORED if is_new else Outcome(ReceiptState.MERGED, "same_touch")


def _open_conversation(tx: Tx, account: ChannelAccount, incoming: Event) -> Conversation:
    person = Person(
        id=person_id_of(account, incoming.person_id),
        business_id=account.business_id,
        channel_account_id=account.id,
        external_id=incoming.person_id,
        name=rules.shown_name(incoming),
        stated_name="",
        stated_at=None,
        created_at=incoming.at,
    )
    conversation_id = conversation_id_of(account, incoming.conversation_id)
    known = conversations.find_conversation(tx, account.business_id, conversation_id)
    if known is not None and known.person_id == person.id:
        persons.record_person_seen(tx, person)
        return known
    persons.save_person(tx, person)
    fresh = Conversation(
        id=conversation_id,
        business_id=account.business_id,
        channel_account_id=account.id,
        person_id=person.id,
        external_id=incoming.conversation_id,
        lead_id=None,
        started_at=None,
        last_message_at=None,
        unread=0,
        business_read_at=None,
        customer_read_at=None,
    )
    if conversations.save_conversation(tx, fresh):
        return fresh
    return conversations.find_conversation(tx, account.business_id, conversation_id) or fresh


def find_tapped_ad(tx: Tx, account: ChannelAccount, visitor: str) -> tuple[Touch, MeasuredAd] | None:
    """The last tap of a visitor, with its ad."""
    person_id = person_id_of(account, visitor)
    for touch in measurement_store.list_touches_of(tx, account.business_id, person_id, 20):
        if touch.kind is TouchKind.CLICK:
            ad = measurement_store.find_measured_ad(tx, account.business_id, touch.ad_id)
            return (touch, ad) if ad else None
    return None


def take_form(
    tx: Tx, account: ChannelAccount, visitor: str, version: FormVersion, sent: Submission
) -> FormAnswer:
    """Take a form that a customer filled in beside the chat, once, and thank them in the thread (R41, R42).

    Raises:
        Unanswered: with a problem for each field that lacks something.
    """
    # The person stands in the thread: to open it, that is all that needs to be known.
    conversation = _open_conversation(tx, account, WasRead(visitor, visitor, tx.now))
    person = persons.load_person(tx, account.business_id, conversation.person_id)
    tapped = find_tapped_ad(tx, account, visitor)
    respondent = Respondent(
        business_id=account.business_id,
        person_id=person.id,
        channel_account_id=account.id,
        conversation_id=conversation.id,
        profile_name=person.name,
        ad_id=tapped[1].ad_id if tapped else None,
        hidden=_hidden_values(*tapped) if tapped else {},
    )
    answer = forms.submit_form(tx, version, respondent, sent)
    if answer.verdict is Verdict.TAKEN:
        _thank(tx, conversation, version, answer)
    return answer


def _hidden_values(touch: Touch, ad: MeasuredAd) -> dict[Source, str]:
    return {
        Source.CAMPAIGN: ad.campaign_name,
        Source.AD_GROUP: ad.ad_group_name,
        Source.AD: ad.ad_name,
        Source.CLICK: str(touch.touch_id),
    }


def _thank(tx: Tx, conversation: Conversation, version: FormVersion, answer: FormAnswer) -> None:
    """The form's own thank-you as a message of the business; the same answer thanks once."""
    parts = (text_of(version.content, key, answer.language) for key in ("thanks_title", "thanks_text"))
    message = Message(
        seq=0,
        id=named_id(answer.id, "thanks"),
        conversation_id=conversation.id,
        sender=Sender.BUSINESS,
        kind=MessageKind.TEXT,
        text="\n".join(part for part in parts if part),
        author=version.name,
        at=answer.at,
    )
    if messages.append_message(tx, conversation.business_id, message):
        conversations.record_message_time(tx, conversation, answer.at, from_customer=False)
        emit(tx, conversation.business_id, MessageSent(conversation.business_id, conversation.id, message.id))


def person_id_of(account: ChannelAccount, external_id: str) -> str:
    """A person's id follows from the account and the platform's id: no look-up, whatever comes first."""
    return named_id(account.id, external_id)


def conversation_id_of(account: ChannelAccount, external_id: str) -> str:
    return named_id(account.id, f"conversation:{external_id}")


def message_id_of(account: ChannelAccount, external_id: str) -> str:
    return named_id(account.id, f"message:{external_id}")


def send_reply(tx: Tx, business_id: str, conversation_id: str, reply: Message) -> Message:
    """Store a reply of the business; on our own chat page it is delivered with that.

    Raises:
        Refused: NOT_FOUND; INVALID for an empty or too long text, or a channel that we cannot send on.
    """
    conversation = _owned_conversation(tx, business_id, conversation_id)
    account = channel_store.find_account(tx, business_id, conversation.channel_account_id)
    if account is None or not CONNECTORS[account.platform].can_send:
        raise Refused(errors.INVALID, "Replies on this channel are written on the platform itself.")
    if not 0 < len(reply.text.strip()) <= rules.TEXT_LIMIT:
        raise Refused(errors.INVALID, f"text: write 1 to {rules.TEXT_LIMIT} characters.")
    if messages.append_message(tx, business_id, reply):
        conversations.record_message_time(tx, conversation, reply.at, from_customer=False)
        emit(tx, business_id, MessageSent(business_id, conversation_id, reply.id))
    return messages.find_message(tx, business_id, reply.id) or reply


def mark_conversation_as_lead(tx: Tx, business_id: str, conversation_id: str, actor: str) -> Lead:
    """Make a lead of a conversation's person by hand (R39).

    Raises:
        Refused: NOT_FOUND.
    """
    conversation = _owned_conversation(tx, business_id, conversation_id)
    person = persons.load_person(tx, business_id, conversation.person_id)
    signal = Signal(
        business_id=business_id,
        person_id=conversation.person_id,
        channel_account_id=conversation.channel_account_id,
        conversation_id=conversation.id,
        origin=Origin.MANUAL,
        source_id=conversation.id,
        at=tx.now,
        contacts=(),
        stated_name=person.stated_name or None,
        profile_name=person.name,
        actor=actor,
    )
    lead = leads.mark_as_lead(tx, signal)
    conversations.record_lead(tx, business_id, conversation_id, lead.id)
    return lead


def note_conversation_read(tx: Tx, business_id: str, conversation_id: str) -> None:
    """Note that the business has read a conversation.

    Raises:
        Refused: NOT_FOUND.
    """
    if not conversations.record_business_read(tx, business_id, conversation_id):
        raise Refused(errors.NOT_FOUND)


def post_notice(tx: Tx, event: LeadCaptured | LeadUpdated) -> None:
    """Add the inline notice to the thread that the lead came from (R37); heard through the outbox."""
    conversations.record_lead(tx, event.business_id, event.conversation_id, event.lead_id)
    if not event.fields or not event.conversation_id:
        return
    notice_id = named_id(event.lead_id, f"{micros(event.at)}:{','.join(event.fields)}")
    notice = InlineNotice(
        notice_id, event.business_id, event.conversation_id, event.lead_id, event.fields, event.at
    )
    if notices.append_notice(tx, notice):
        emit(tx, event.business_id, NoticePosted(event.business_id, event.conversation_id, event.lead_id))


def forget_lead(tx: Tx, event: LeadRemoved) -> None:
    """Take the mark and the notices of a lead out of its thread; heard through the outbox."""
    notices.delete_lead_marks(tx, event.business_id, event.lead_id)


def _owned_conversation(tx: Tx, business_id: str, conversation_id: str) -> Conversation:
    conversation = conversations.find_conversation(tx, business_id, conversation_id)
    if conversation is None:
        raise Refused(errors.NOT_FOUND)
    return conversation
