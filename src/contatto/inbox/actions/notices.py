"""The inline notice of our own inbox, after a lead was made, changed or removed."""

from collections.abc import Sequence

from contatto.inbox.model import InlineNotice, NoticePosted
from contatto.inbox.store import conversations, notices
from contatto.kit.db.tx import Tx
from contatto.kit.ids import timed_id
from contatto.kit.outbox import emit_all
from contatto.kit.timestamps import micros
from contatto.leads.model.events import LeadCaptured, LeadRemoved, LeadUpdated


def post_notices(tx: Tx, events: Sequence[LeadCaptured | LeadUpdated]) -> None:
    """Add inline notices to the threads that the leads came from (R37); a handler of the outbox."""
    made = [
        conversations.LeadMade(event.business_id, event.conversation_id, event.lead_id) for event in events
    ]
    conversations.record_leads(tx, made)
    posted = [_notice_of(event) for event in events if event.fields and event.conversation_id]
    told = [
        (each.business_id, NoticePosted(each.business_id, each.conversation_id, each.lead_id))
        for each in notices.append_notices(tx, posted)
    ]
    emit_all(tx, told)


def _notice_of(event: LeadCaptured | LeadUpdated) -> InlineNotice:
    """The notice of an event; the same event has the same one. Those of one time lie beside each other."""
    at = micros(event.at)
    notice_id = timed_id(at // 1000, event.lead_id, f"{at}:{','.join(event.fields)}")
    return InlineNotice(
        notice_id, event.business_id, event.conversation_id, event.lead_id, event.fields, event.at
    )


def forget_lead(tx: Tx, event: LeadRemoved) -> None:
    """Take the mark and the notices of a lead out of its thread; a handler of the outbox."""
    notices.delete_lead_marks(tx, event.business_id, event.lead_id)
