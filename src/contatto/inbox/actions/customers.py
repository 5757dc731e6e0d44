"""What a customer does on our own chat page besides writing: reads, and types."""

from datetime import datetime

from contatto.channels.model import ChannelAccount, Sender
from contatto.inbox.actions.threads import conversation_id_of
from contatto.inbox.model import Conversation, ConversationRead, CustomerTyping, ThreadState
from contatto.inbox.store import conversations, messages
from contatto.kit.db.tx import Tx
from contatto.kit.outbox import emit


def note_customer_read(tx: Tx, conversation: Conversation, at: datetime) -> None:
    """Note up to when a person has read, and tell the open pages when that says something new."""
    of = (conversation.business_id, conversation.id)
    last = messages.find_last_time(tx, *of, Sender.BUSINESS)
    known = conversation.customer_read_at
    is_news = last is not None and last <= at and (known is None or known < last)
    if conversations.record_customer_read(tx, conversation, at) and is_news:
        emit(tx, conversation.business_id, ConversationRead(*of, Sender.CUSTOMER))


def note_visitor_read(tx: Tx, account: ChannelAccount, visitor: str) -> None:
    """Note that a visitor has all messages before their eyes; without a conversation there is nothing."""
    conversation = find_visitor_conversation(tx, account, visitor)
    if conversation is not None:
        note_customer_read(tx, conversation, tx.now)


def find_visitor_conversation(tx: Tx, account: ChannelAccount, visitor: str) -> Conversation | None:
    return conversations.find_conversation(tx, account.business_id, conversation_id_of(account, visitor))


def typing_of(tx: Tx, account: ChannelAccount, visitor: str) -> CustomerTyping | None:
    """What members are told while a visitor types; nothing of a blocked one, or before the first message."""
    conversation = find_visitor_conversation(tx, account, visitor)
    if conversation is None or conversation.state is ThreadState.BLOCKED:
        return None
    return CustomerTyping(account.business_id, conversation.id)
