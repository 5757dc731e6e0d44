"""Pushes to subscribed programs: messages of both sides, taps on ads, and read marks."""

from datetime import datetime
from typing import Any

from contatto.accounts.model import BusinessId
from contatto.accounts.store import list_ad_accounts
from contatto.channels.model import ChannelAccount, Sender
from contatto.channels.store import find_account
from contatto.inbox.actions.threads import (
    MESSAGE_TYPES,
    SideInfo,
    business_open_id,
    show_sides,
    shown_id,
    source_of_message,
)
from contatto.inbox.model import (
    AdTapped,
    Conversation,
    ConversationRead,
    Message,
    MessageReceived,
    MessageSent,
    Person,
)
from contatto.inbox.store import conversations, messages
from contatto.kit.db.tx import Tx
from contatto.kit.timestamps import micros
from contatto.measurement.store import find_measured_ad_by_number
from contatto.subscriptions.actions import queue_message_pushes
from contatto.subscriptions.model import Subscription
from contatto.subscriptions.rules import message_payload

type _Chat = tuple[ChannelAccount, Conversation, Person]


def push_message(tx: Tx, event: MessageReceived | MessageSent) -> None:
    """Tell programs of a message; a handler of the outbox. Notices and notes are no messages."""
    message = messages.find_message(tx, event.business_id, event.message_id)
    chat = _load(tx, event.business_id, event.conversation_id)
    if message is None or chat is None:
        return
    kind = "im_receive_msg" if message.sender is Sender.CUSTOMER else "im_send_msg"
    _queue(tx, chat, message.id, (kind, message.at, _message_content(*chat, message)))


def push_tap(tx: Tx, event: AdTapped) -> None:
    """Tell programs which ad a person came from; a handler of the outbox."""
    chat = _load(tx, event.business_id, event.conversation_id)
    if chat is None:
        return
    ad = find_measured_ad_by_number(tx, event.business_id, int(event.ad_number))
    ad_accounts = list_ad_accounts(tx, BusinessId(event.business_id)) if ad else []
    advertiser = next(
        (str(ad_account.number) for ad_account in ad_accounts if ad and ad_account.id == ad.ad_account_id), ""
    )
    shown = {
        "advertiser_id": advertiser,
        "ad_id": event.ad_number,
        "timestamp": micros(event.at) // 1_000,
        "ad_name": ad.ad_name if ad else "",
        "embed_url": "",
    }
    content = _envelope(*chat, Sender.CUSTOMER) | {
        "timestamp": shown["timestamp"],
        "referral": {"source": "ad", "ad": shown},
    }
    _queue(tx, chat, event.conversation_id, ("im_referral_msg", event.at, content))


def push_read(tx: Tx, event: ConversationRead) -> None:
    """Tell programs up to when one side has read; a handler of the outbox."""
    chat = _load(tx, event.business_id, event.conversation_id)
    if chat is None:
        return
    conversation = chat[1]
    from_customer = event.reader is Sender.CUSTOMER
    at = conversation.customer_read_at if from_customer else conversation.business_read_at
    if at is None:
        return
    read_ms = micros(at) // 1_000
    content = _envelope(*chat, event.reader) | {
        "timestamp": read_ms,
        "read": {"last_read_timestamp": read_ms},
    }
    _queue(tx, chat, event.conversation_id, ("im_mark_read_msg", at, content))


def _load(tx: Tx, business_id: str, conversation_id: str) -> _Chat | None:
    conversation = conversations.find_conversation(tx, business_id, conversation_id)
    account = find_account(tx, business_id, conversation.channel_account_id) if conversation else None
    if conversation is None or account is None:
        return None
    return account, conversation, conversations.load_person(tx, business_id, conversation.person_id)


def _queue(tx: Tx, chat: _Chat, subject_id: str, what: tuple[str, datetime, dict[str, Any]]) -> None:
    kind, at, content = what
    account = chat[0]
    at_s = micros(at) // 1_000_000

    def body(subscription: Subscription) -> bytes:
        return message_payload(kind, business_open_id(account), subscription.app_id, content, at_s)

    queue_message_pushes(tx, account.business_id, subject_id, body)


def _envelope(
    account: ChannelAccount, conversation: Conversation, person: Person, sender: Sender
) -> dict[str, Any]:
    """Sender, recipient and place of an event. Roles are lower case here."""
    sides = show_sides(account, person, sender)
    return {
        "from": sides.from_user.display_name,
        "to": sides.to_user.display_name,
        "unique_identifier": person.external_id,
        "from_user": _user(sides.from_user),
        "to_user": _user(sides.to_user),
        "conversation_id": shown_id(account, conversation),
    }


def _user(side: SideInfo) -> dict[str, str]:
    return {"id": side.id, "role": side.role.lower()}


def _message_content(
    account: ChannelAccount, conversation: Conversation, person: Person, message: Message
) -> dict[str, Any]:
    """The content of a message's event. Its types are written small, its time in milliseconds."""
    kind = MESSAGE_TYPES[message.kind].lower()
    body: dict[str, Any] = {"text": {"body": message.text}} if kind == "text" else {}
    if message.photo:
        body = {"image": {"media_id": message.photo}}
    return {
        **_envelope(account, conversation, person, message.sender),
        "message_id": message.id,
        "timestamp": micros(message.at) // 1_000,
        "type": kind,
        **body,
        "message_tag": {"source": source_of_message(message)},
    }
