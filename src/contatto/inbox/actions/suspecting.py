"""Judging chats as their messages come, and learning from those that members marked."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from contatto.inbox.actions.threads import conversation_to_change
from contatto.inbox.model import ConversationChanged, MessageReceived
from contatto.inbox.store import suspects as store
from contatto.kit.db.tx import Tx
from contatto.kit.outbox import emit_all
from contatto.kit.timestamps import micros
from contatto.spam import store as spam
from contatto.spam.actions import MOST_MARKED, judge_chats, learn_words, list_rates_to_judge, mark_chat
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
    for business_id in sorted(wanted):  # always in the same order, so that two never wait for each other
        rates = list_rates_to_judge(tx, business_id)
        if rates:
            chats = _list_chats(tx, business_id, list(wanted[business_id]))
            changed = judge_chats(tx, business_id, chats, rates)
            told = [ConversationChanged(business_id, judged.conversation_id) for judged in changed]
            emit_all(tx, [(business_id, event) for event in told])


def mark_conversation(tx: Tx, business_id: str, conversation_id: str, mark: Mark) -> None:
    """Take what a member says of a chat.

    Raises:
        Refused: NOT_FOUND.
    """
    conversation = conversation_to_change(tx, business_id, conversation_id)
    mark_chat(tx, business_id, conversation.id, conversation.channel_account_id, mark)


def learn_marked_chats(tx: Tx) -> int:
    """Learn the words of chats that were marked since the last time; say of how many businesses."""
    learned = 0
    for business_id in spam.list_businesses_to_learn(tx):
        bad = spam.list_marked(tx, business_id, Mark.SPAM, MOST_MARKED)
        fine = spam.list_marked(tx, business_id, Mark.FINE, MOST_MARKED)
        fine += store.list_chats_of_good_leads(tx, business_id, MOST_MARKED - len(fine))
        fine = [each for each in dict.fromkeys(fine) if each not in bad]
        texts = [_list_texts(tx, business_id, ids).values() for ids in (bad, fine)]
        learned += learn_words(tx, business_id, *([text for text in some if text] for some in texts))
    return learned


def _list_chats(tx: Tx, business_id: str, conversation_ids: Sequence[str]) -> list[Chat]:
    """Chats as they are judged, with one query for each thing that is asked about them."""
    suspects = store.list_suspects(tx, business_id, conversation_ids)
    people = sorted({each.person_id for each in suspects})
    marked = store.list_marked_chats(tx, business_id, people)
    taps = store.count_taps(tx, business_id, people, micros(tx.now - _DAY))
    texts = _list_texts(tx, business_id, [each.id for each in suspects])
    return [
        Chat(
            business_id,
            each.id,
            each.channel_account_id,
            texts[each.id],
            has_marked=bool(marked.get(each.person_id, set()) - {each.id}),
            taps=taps.get(each.person_id, 0),
        )
        for each in suspects
    ]


def _list_texts(tx: Tx, business_id: str, conversation_ids: Sequence[str]) -> dict[str, str]:
    """What the customers wrote, lately."""
    said = store.list_texts(tx, business_id, conversation_ids, _READ)
    return {conversation_id: "\n".join(texts) for conversation_id, texts in said.items()}
