"""Finding conversations by what is known of the person or was said lately."""

from contatto.inbox import rules
from contatto.inbox.store import conversations, messages
from contatto.kit.db.tx import Tx
from contatto.leads.rules.filters import LeadFilter
from contatto.leads.store.listing import list_leads


def search_conversations(tx: Tx, business_id: str, words: str, limit: int = 200) -> frozenset[str]:
    """Conversations whose person, lead or newest messages have these words.

    Names and contact details are found whenever they were given; texts in the newest messages only, since
    all are sealed and have to be opened one by one.
    """
    wanted = " ".join(words.casefold().split())
    if not wanted:
        return frozenset()
    found = set(conversations.list_named_conversations(tx, business_id, words.strip(), limit))
    leads = list_leads(tx, business_id, LeadFilter(text=words.strip()), limit=50)
    found |= {lead.conversation_id for lead in leads if lead.conversation_id}
    for conversation_id, text in messages.list_newest_texts(tx, business_id, rules.SEARCHED_MESSAGES):
        if len(found) >= limit:
            break
        if conversation_id not in found and wanted in " ".join(text.casefold().split()):
            found.add(conversation_id)
    return frozenset(found)
