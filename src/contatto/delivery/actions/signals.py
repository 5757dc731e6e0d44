"""What viewers did after a click, and what became of it, as entries of the log."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from contatto.delivery.actions.earning import count_in_placements, list_earned
from contatto.delivery.actions.trials import count_in_trial
from contatto.delivery.model.log import Entry, EntryKind, ViewerSaid
from contatto.delivery.store import log as entries
from contatto.inbox.model import ConversationMarkedSpam, ConversationStarted
from contatto.kit.db.tx import Tx
from contatto.kit.timestamps import micros
from contatto.leads.model import LeadCaptured, LeadStatus, LeadStatusChanged, Origin
from contatto.measurement.index import list_credited
from contatto.measurement.model import ConversionKind

_SOURCES: Final = {Origin.CHAT: "chat", Origin.FORM: "form", Origin.MANUAL: "marked"}
_QUALITY: Final = {
    LeadStatus.QUALIFIED: "qualified",
    LeadStatus.CONVERTED: "converted",
    LeadStatus.UNQUALIFIED: "unqualified",
}


def learn_conversations(tx: Tx, events: Sequence[ConversationStarted]) -> None:
    """Conversations began: delivery learns those that an ad earned."""
    found = [_Said(event.business_id, event.conversation_id) for event in events]
    _append(tx, ConversionKind.CONVERSATION, EntryKind.CONVERSATION, found)


def learn_leads(tx: Tx, events: Sequence[LeadCaptured]) -> None:
    """Persons became leads, by the chat, by a form or by hand; imported ones are nobody's."""
    found = [
        _Said(event.business_id, event.lead_id, _SOURCES.get(Origin(event.origin), "")) for event in events
    ]
    _append(tx, ConversionKind.LEAD, EntryKind.LEAD, [each for each in found if each.said])


def learn_qualities(tx: Tx, events: Sequence[LeadStatusChanged]) -> None:
    """The business found what leads are worth."""
    found = [
        _Said(event.business_id, event.lead_id, _QUALITY.get(LeadStatus(event.new), "")) for event in events
    ]
    _append(tx, ConversionKind.LEAD, EntryKind.QUALITY, [each for each in found if each.said])


def learn_spam(tx: Tx, event: ConversationMarkedSpam) -> None:
    """Somebody marked a conversation as spam: what it counted as is taken back."""
    found = _Said(event.business_id, event.conversation_id)
    _append(tx, ConversionKind.CONVERSATION, EntryKind.SPAM, [found])


@dataclass(frozen=True, slots=True)
class _Said:
    """What became of a conversation or a lead."""

    business_id: str
    subject_id: str
    said: str = ""


def _append(tx: Tx, of: ConversionKind, kind: EntryKind, some: Sequence[_Said]) -> None:
    """Append those that an impression of ours earned, in their order."""
    for business_id in dict.fromkeys(each.business_id for each in some):
        mine = [each for each in some if each.business_id == business_id]
        credited = list_credited(tx, business_id, {each.subject_id for each in mine})
        earned = {
            subject_id: credit.touch_id
            for subject_id, credit in credited.items()
            if credit.kind is of and credit.touch_id is not None
        }
        if earned:
            touched = entries.list_entries_of_touches(tx, business_id, set(earned.values()))
            said = [(each, touched.get(earned.get(each.subject_id, 0))) for each in mine]
            made = [
                _entry(tx, kind, each.said, entry, credited[each.subject_id].ts)
                for each, entry in said
                if entry and entry.nonce
            ]
            if made:
                entries.append_entries(tx, business_id, made)
                credits = [
                    (credited[each.subject_id], entry) for each, entry in said if entry and entry.nonce
                ]
                counted = list_earned(tx, business_id, kind, credits)
                count_in_trial(tx, counted)
                count_in_placements(tx, counted)


def _entry(tx: Tx, kind: EntryKind, said: str, touched: Entry, converted_ts: int) -> entries.NewEntry:
    happened = converted_ts if kind in (EntryKind.CONVERSATION, EntryKind.LEAD) else 0
    body = msgspec.msgpack.encode(ViewerSaid(said, happened))
    return entries.NewEntry(kind, micros(tx.now), touched.nonce, touched.ad_id, body=body)
