"""Search for conversations by names, contact details and the texts of messages."""

from dataclasses import dataclass
from datetime import datetime

from contatto.inbox import rules
from contatto.inbox.store import conversations, messages
from contatto.kit.db.tx import Tx
from contatto.leads.rules.filters import LeadFilter
from contatto.leads.rules.records import fold_text, has_all_words
from contatto.leads.store.listing import list_leads


@dataclass(frozen=True, slots=True)
class FoundConversations:
    """The matches of a search, and how far back it read messages.

    Attributes:
        ids: the matching conversations.
        oldest_at: time of the oldest message that was read.
        next_before: sequence number at which a search of older messages starts; None if there are none.
    """

    ids: frozenset[str]
    oldest_at: datetime | None = None
    next_before: int | None = None


def search_conversations(
    tx: Tx, business_id: str, query: str, limit: int = 200, before: int | None = None
) -> FoundConversations:
    """Find conversations whose person, lead or messages hold all words of a query.

    Names and contact details are searched at once. Messages are encrypted, so a search reads some thousand,
    newest first. With ``before`` it goes on to messages older than that sequence number, and reads no names.
    """
    words = fold_text(query).split()
    if not words:
        return FoundConversations(frozenset())
    ids: set[str] = set()
    if before is None:
        ids.update(conversations.list_named_conversations(tx, business_id, query.strip(), limit))
        leads = list_leads(tx, business_id, LeadFilter(text=query.strip()), limit=50)
        ids.update(lead.conversation_id for lead in leads if lead.conversation_id)
    last = None
    for message in messages.list_newest_texts(tx, business_id, rules.SEARCHED_MESSAGES, before):
        if len(ids) >= limit:
            return FoundConversations(frozenset(ids), last.at if last else None, message.seq + 1)
        last = message
        if message.conversation_id not in ids and has_all_words(fold_text(message.text), words):
            ids.add(message.conversation_id)
    if last is None:
        return FoundConversations(frozenset(ids))
    has_older = messages.has_messages_before(tx, business_id, last.seq)
    return FoundConversations(frozenset(ids), last.at, last.seq if has_older else None)
