"""The inline notice of our own inbox, after a lead was made, changed or removed."""

from contatto.inbox.model import (
    InlineNotice,
    NoticePosted,
)
from contatto.inbox.store import conversations, notices
from contatto.kit.db.tx import Tx
from contatto.kit.ids import named_id
from contatto.kit.outbox import emit
from contatto.kit.timestamps import micros
from contatto.leads.model.events import LeadCaptured, LeadRemoved, LeadUpdated


def post_notice(tx: Tx, event: LeadCaptured | LeadUpdated) -> None:
    """Add the inline notice to the thread that the lead came from (R37); a handler of the outbox."""
    conversations.record_lead(tx, event.business_id, event.conversation_id, event.lead_id)
    if not event.fields or not event.conversation_id:
        return
    notice_id = named_id(event.lead_id, f"{micros(event.at)}:{','.join(event.fields)}")
    notice = InlineNotice(
        notice_id, event.business_id, event.conversation_id, event.lead_id, event.fields, event.at
    )
    if notices.append_notice(tx, notice):
        emit(tx, event.business_id, NoticePosted(event.business_id, event.conversation_id, event.lead_id))


def forget_lead(tx: Tx, event: LeadRemoved) -> None:
    """Take the mark and the notices of a lead out of its thread; a handler of the outbox."""
    notices.delete_lead_marks(tx, event.business_id, event.lead_id)
