"""Judging chats as their messages come, and learning from those that members marked."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from contatto.channels.model import Sender
from contatto.inbox.actions.threads import owned_conversation
from contatto.inbox.model import Conversation, ConversationChanged, MessageReceived
from contatto.inbox.store.conversations import find_conversation, list_conversations_of_person
from contatto.inbox.store.messages import list_messages
from contatto.inbox.store.suspects import count_taps, list_chats_of_good_leads
from contatto.kit.db.tx import Tx
from contatto.kit.outbox import emit
from contatto.kit.timestamps import micros
from contatto.spam import store as spam
from contatto.spam.actions import MOST_MARKED, judge_chats, learn_words, mark_chat
from contatto.spam.model import Chat, Mark

_READ: Final = 30
"""So many of the latest messages of a chat are judged."""
_DAY: Final = timedelta(days=1)


def judge_messages(tx: Tx, events: Sequence[MessageReceived]) -> None:
    """Customers wrote: judge their chats; a handler of the outbox.

    Before a business marks its first chat as spam none can look like it (see `judge_chat`), so none is read.
    """
    wanted: dict[str, dict[str, None]] = {}
    for event in events:
        wanted.setdefault(event.business_id, {})[event.conversation_id] = None
    for business_id, ids in wanted.items():
        if not spam.has_any_marked(tx, business_id):
            continue
        found = [find_conversation(tx, business_id, each) for each in ids]
        chats = [_chat_of(tx, business_id, each) for each in found if each is not None]
        for judged in judge_chats(tx, business_id, chats):
            emit(tx, business_id, ConversationChanged(business_id, judged.conversation_id))


def mark_conversation(tx: Tx, business_id: str, conversation_id: str, mark: Mark) -> None:
    """Take what a member says of a chat.

    Raises:
        Refused: NOT_FOUND.
    """
    conversation = owned_conversation(tx, business_id, conversation_id)
    mark_chat(tx, business_id, conversation.id, conversation.channel_account_id, mark)


def learn_marked_chats(tx: Tx) -> int:
    """Learn the words of chats that were marked since the last time; say of how many businesses."""
    learned = 0
    for business_id in spam.list_businesses_to_learn(tx):
        bad = spam.list_marked(tx, business_id, Mark.SPAM, MOST_MARKED)
        fine = spam.list_marked(tx, business_id, Mark.FINE, MOST_MARKED)
        fine += list_chats_of_good_leads(tx, business_id, MOST_MARKED - len(fine))
        fine = [each for each in dict.fromkeys(fine) if each not in bad]
        texts = [[_text_of(tx, business_id, each) for each in ids] for ids in (bad, fine)]
        learned += learn_words(tx, business_id, *([text for text in some if text] for some in texts))
    return learned


def _chat_of(tx: Tx, business_id: str, conversation: Conversation) -> Chat:
    others = {each.id for each in list_conversations_of_person(tx, business_id, conversation.person_id)}
    return Chat(
        business_id,
        conversation.id,
        conversation.channel_account_id,
        _text_of(tx, business_id, conversation.id),
        has_marked=spam.has_marked(tx, business_id, others - {conversation.id}),
        taps=count_taps(tx, business_id, conversation.person_id, micros(tx.now - _DAY)),
    )


def _text_of(tx: Tx, business_id: str, conversation_id: str) -> str:
    """What the customer wrote, lately."""
    said = list_messages(tx, business_id, conversation_id, _READ)
    return "\n".join(each.text for each in said if each.sender is Sender.CUSTOMER)
