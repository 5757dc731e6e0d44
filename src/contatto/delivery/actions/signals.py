"""What viewers did after a click, and what became of it, as entries of the log."""

from typing import Final

import msgspec

from contatto.delivery.model.log import EntryKind, ViewerSaid
from contatto.delivery.store import log as entries
from contatto.inbox.model import ConversationMarkedSpam, ConversationStarted
from contatto.kit.db.tx import Tx
from contatto.kit.timestamps import micros
from contatto.leads.model.events import LeadCaptured, LeadStatusChanged
from contatto.leads.model.leads import LeadStatus, Origin
from contatto.measurement.model import ConversionKind
from contatto.measurement.store import find_attribution

_SOURCES: Final = {Origin.CHAT: "chat", Origin.FORM: "form", Origin.MANUAL: "marked"}
_QUALITY: Final = {
    LeadStatus.QUALIFIED: "qualified",
    LeadStatus.CONVERTED: "converted",
    LeadStatus.UNQUALIFIED: "unqualified",
}


def learn_conversation(tx: Tx, event: ConversationStarted) -> None:
    """A conversation began: delivery learns it if an ad earned it."""
    _append(tx, event.business_id, event.conversation_id, ConversionKind.CONVERSATION, EntryKind.CONVERSATION)


def learn_lead(tx: Tx, event: LeadCaptured) -> None:
    """A person became a lead, by the chat, by a form or by hand; imported ones are nobody's."""
    said = _SOURCES.get(Origin(event.origin), "")
    if said:
        _append(tx, event.business_id, event.lead_id, ConversionKind.LEAD, EntryKind.LEAD, said)


def learn_quality(tx: Tx, event: LeadStatusChanged) -> None:
    """The business found what a lead is worth."""
    said = _QUALITY.get(LeadStatus(event.new), "")
    if said:
        _append(tx, event.business_id, event.lead_id, ConversionKind.LEAD, EntryKind.QUALITY, said)


def learn_spam(tx: Tx, event: ConversationMarkedSpam) -> None:
    """Somebody marked a conversation as spam: what it counted as is taken back."""
    _append(tx, event.business_id, event.conversation_id, ConversionKind.CONVERSATION, EntryKind.SPAM)


def _append(
    tx: Tx, business_id: str, subject_id: str, of: ConversionKind, kind: EntryKind, said: str = ""
) -> None:
    found = find_attribution(tx, business_id, subject_id, of)
    if found is None or found.touch_id is None:
        return
    touched = entries.find_entry_of_touch(tx, business_id, found.touch_id)
    if touched is None or not touched.nonce:
        return
    body = msgspec.msgpack.encode(ViewerSaid(said))
    made = entries.NewEntry(kind, micros(tx.now), touched.nonce, touched.ad_id, body=body)
    entries.append_entries(tx, business_id, [made])
