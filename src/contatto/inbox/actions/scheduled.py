"""Replies for later: writing them down, taking them back, and sending them when their time has come."""

from datetime import datetime
from functools import partial

from contatto.channels.model import MessageKind, Sender
from contatto.inbox import rules
from contatto.inbox.actions.replies import send_reply
from contatto.inbox.actions.threads import conversation_to_change
from contatto.inbox.model import ConversationChanged, Message, ScheduledReply, ScheduleState
from contatto.inbox.store import scheduled
from contatto.kit import errors
from contatto.kit.batches import in_time
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import named_id
from contatto.kit.outbox import emit
from contatto.kit.turns import Turns
from contatto.leads.model.annotations import Actor


def schedule_reply(
    tx: Tx, actor: Actor, conversation_id: str, reply_id: str, text: str, due_at: datetime
) -> None:
    """Write a reply down that goes out later; the same ``reply_id`` again changes nothing.

    Whether the platform then still allows it is asked when the time has come.

    Raises:
        Refused: NOT_FOUND; INVALID for a time or a text that cannot be.
    """
    conversation_to_change(tx, actor.business_id, conversation_id)
    if not tx.now < due_at <= tx.now + rules.SCHEDULE_WITHIN:
        raise Refused(
            errors.INVALID, "at: choose a time in the next %(most)s days.", most=rules.SCHEDULE_WITHIN.days
        )
    if not 0 < len(text.strip()) <= rules.TEXT_LIMIT:
        raise Refused(errors.INVALID, "text: use 1 to %(most)s characters.", most=rules.TEXT_LIMIT)
    tx.hold_key("scheduled replies", conversation_id)
    if len(scheduled.list_scheduled(tx, actor.business_id, conversation_id)) >= rules.MOST_SCHEDULED:
        raise Refused(
            errors.INVALID, "text: %(most)s replies are already scheduled.", most=rules.MOST_SCHEDULED
        )
    reply = ScheduledReply(
        reply_id,
        actor.business_id,
        conversation_id,
        text.strip(),
        actor.name,
        due_at,
        ScheduleState.DUE,
        None,
    )
    if scheduled.append_scheduled(tx, reply):
        _tell(tx, reply.business_id, conversation_id)


def cancel_scheduled(tx: Tx, business_id: str, conversation_id: str, reply_id: str) -> None:
    """Take back a reply that waits, or put away one that was stopped.

    Raises:
        Refused: NOT_FOUND; CONFLICT when it went out meanwhile.
    """
    conversation_to_change(tx, business_id, conversation_id)
    of = (business_id, conversation_id, reply_id)
    states = (ScheduleState.DUE, ScheduleState.STOPPED)
    if not any(scheduled.record_scheduled(tx, of, ScheduleState.CANCELLED, known=each) for each in states):
        raise Refused(errors.CONFLICT, "This reply is no longer scheduled. It may have been sent.")
    _tell(tx, business_id, conversation_id)


def send_scheduled(tx: Tx) -> int:
    """Send replies whose time has come; say how many. What cannot be sent stays, with the reason."""
    due = Turns(scheduled.SCHEDULED).list_rows(tx, 100, partial(scheduled.list_due_replies, tx))
    sent = 0
    for reply in in_time(due):
        of = (reply.business_id, reply.conversation_id, reply.id)
        message = Message(
            seq=0,
            id=named_id(reply.id, "scheduled"),
            conversation_id=reply.conversation_id,
            sender=Sender.BUSINESS,
            kind=MessageKind.TEXT,
            text=reply.text,
            author=reply.author,
            at=tx.now,
        )
        try:
            send_reply(tx, reply.business_id, reply.conversation_id, message)
        except Refused as refused:
            scheduled.record_scheduled(tx, of, ScheduleState.STOPPED, reason=refused.detail)
        else:
            scheduled.record_scheduled(tx, of, ScheduleState.SENT)
        _tell(tx, reply.business_id, reply.conversation_id)
        sent += 1
    return sent


def _tell(tx: Tx, business_id: str, conversation_id: str) -> None:
    emit(tx, business_id, ConversationChanged(business_id, conversation_id))
