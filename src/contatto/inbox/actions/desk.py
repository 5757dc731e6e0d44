"""What an agent does with a conversation."""

from contatto.inbox.actions.threads import owned_conversation
from contatto.inbox.store import conversations, persons
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.leads.actions import records as leads
from contatto.leads.model import Lead, Origin, Signal


def mark_conversation_as_lead(tx: Tx, business_id: str, conversation_id: str, actor: str) -> Lead:
    """Make a lead of a conversation's person by hand (R39).

    Raises:
        Refused: NOT_FOUND.
    """
    conversation = owned_conversation(tx, business_id, conversation_id)
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
