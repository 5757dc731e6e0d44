"""What a CRM's word for a state means for a lead."""

from collections.abc import Mapping

from contatto.crm.rules.events import status_of_event
from contatto.leads.model import LeadStatus


def status_of_word(words: Mapping[str, str], word: str) -> LeadStatus | None:
    """Our status: what the business says that the word means, else what such words usually mean."""
    named = words.get(word)
    if named in set(LeadStatus):
        return LeadStatus(named)
    return status_of_event(word) if word else None
