"""Messages read, sends, photos, scheduled replies, and reported taps on ads."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from contatto.channels.model import MessageKind, Sender
from contatto.inbox import model
from contatto.inbox.store.conversations import messages
from contatto.kit.db.tx import Choice, Serial, Tx, instant, key, metadata, rows_of, sealed, tenant, text
from contatto.kit.fair_queue import Queue
from contatto.kit.uploads import PictureTable


def is_answer_of_person(message_table: sa.FromClause) -> sa.ColumnElement[bool]:
    """Return the condition for an answer that a person of the business wrote."""
    return sa.and_(message_table.c.sender == Sender.BUSINESS, message_table.c.kind != MessageKind.AUTOMATIC)


def find_first_answer(
    tx: Tx, business_id: str, conversation_id: str
) -> tuple[datetime, datetime | None] | None:
    """Find the time of the customer's first message, and of the first answer by a person, if any.

    None where the customer never wrote. An automatic message is no answer.
    """
    conditions = rows_of(messages, business_id, conversation_id=conversation_id)
    wrote = messages.c.sender == Sender.CUSTOMER
    began = tx.execute(
        sa.select(messages.c.at).where(*conditions, wrote).order_by(messages.c.at).limit(1)
    ).scalar()
    if began is None:
        return None
    answer = sa.select(messages.c.at).where(
        *conditions, is_answer_of_person(messages), messages.c.at >= began
    )
    return began, tx.execute(answer.order_by(messages.c.at).limit(1)).scalar()


def list_messages(
    tx: Tx, business_id: str, conversation_id: str, limit: int = 200, before: datetime | int | None = None
) -> list[model.Message]:
    """Return the latest messages of a conversation, oldest first, their texts opened.

    ``before`` is a time, or the sequence number of the message before which they end.
    """
    query = sa.select(messages).where(*rows_of(messages, business_id, conversation_id=conversation_id))
    if isinstance(before, int):
        at = sa.select(messages.c.at).where(*rows_of(messages, business_id, seq=before)).scalar_subquery()
        is_earlier = sa.and_(messages.c.at == at, messages.c.seq < before)
        query = query.where(sa.or_(messages.c.at < at, is_earlier))
    elif before is not None:
        query = query.where(messages.c.at < before)
    rows = tx.execute(query.order_by(messages.c.at.desc(), messages.c.seq.desc()).limit(limit)).mappings()
    return [_message_of(tx, business_id, row) for row in reversed(list(rows))]


def list_messages_after(tx: Tx, business_id: str, conversation_id: str, seq: int) -> list[model.Message]:
    """Return messages stored after a sequence number, in order of storage."""
    query = sa.select(messages).where(*rows_of(messages, business_id, conversation_id=conversation_id))
    rows = tx.execute(query.where(messages.c.seq > seq).order_by(messages.c.seq).limit(500)).mappings()
    return [_message_of(tx, business_id, row) for row in rows]


def list_last_messages(tx: Tx, business_id: str, conversation_ids: set[str]) -> dict[str, model.Message]:
    ranked = (
        sa.select(
            messages,
            sa.func.row_number()
            .over(
                partition_by=messages.c.conversation_id,
                order_by=(messages.c.at.desc(), messages.c.seq.desc()),
            )
            .label("place"),
        )
        .where(messages.c.business_id == business_id, messages.c.conversation_id.in_(conversation_ids))
        .subquery()
    )
    rows = tx.execute(sa.select(ranked).where(ranked.c.place == 1)).mappings()
    return {row["conversation_id"]: _message_of(tx, business_id, row) for row in rows}


def find_last_time(tx: Tx, business_id: str, conversation_id: str, sender: Sender) -> datetime | None:
    conditions = rows_of(messages, business_id, conversation_id=conversation_id)
    last = sa.select(sa.func.max(messages.c.at)).where(*conditions, messages.c.sender == sender)
    last_at: datetime | None = tx.scalar(last)
    return last_at


def find_message(tx: Tx, business_id: str, message_id: str) -> model.Message | None:
    query = sa.select(messages).where(*rows_of(messages, business_id, id=message_id))
    row = tx.execute(query).mappings().first()
    return None if row is None else _message_of(tx, business_id, row)


def _message_of(tx: Tx, business_id: str, row: Mapping[Any, Any]) -> model.Message:
    tx.record_contact_reads("conversation_id", (row["conversation_id"],))
    return model.Message(
        seq=row["seq"],
        id=row["id"],
        conversation_id=row["conversation_id"],
        sender=row["sender"],
        kind=row["kind"],
        text=tx.open_text(row["body"], business_id, "messages.body", row["id"]),
        author=row["author"],
        at=row["at"],
        photo=row["photo"],
        form=row["form"],
    )


sends = sa.Table(
    "sends",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    tenant(),
    sa.Column("message_id", sa.String(36), nullable=False, unique=True),
    sa.Column("conversation_id", sa.String(36), nullable=False),
    sa.Column("channel_account_id", sa.String(36), nullable=False),
    sa.Column("state", Choice(model.SendState), nullable=False),
    sa.Column("external_ref", sa.String(36)),
    sa.Column("reason", sa.String(64)),
    instant("changed_at"),
    sa.Index("ix_sends_of_conversation", "business_id", "conversation_id"),
    sa.Index("ix_sends_external_ref", "business_id", "external_ref"),
)

UNSETTLED: Final = (model.SendState.DUE, model.SendState.FAILED, model.SendState.DEAD)
UNDELIVERED: Final = (*UNSETTLED, model.SendState.SENT)
STOPPED: Final = (model.SendState.FAILED, model.SendState.DEAD)


def record_send(
    tx: Tx,
    send: model.Send,
    state: model.SendState,
    reason: str | None = None,
    expected: Sequence[model.SendState] = UNSETTLED,
) -> bool:
    """Record the state of a send; False unless it has an expected one, as the platform reports states too."""
    values = {"state": state, "reason": reason, "changed_at": tx.now}
    return tx.change(sends, send.business_id, send.id, sends.c.state.in_(expected), **values)


def find_send(tx: Tx, business_id: str, **column: str) -> model.Send | None:
    return tx.find(model.Send, sa.select(sends).where(*rows_of(sends, business_id, **column)))


def list_sends(tx: Tx, business_id: str, message_ids: Iterable[str]) -> dict[str, model.Send]:
    query = sa.select(sends).where(
        sends.c.business_id == business_id, sends.c.message_id.in_(list(message_ids))
    )
    return {send.message_id: send for send in tx.list(model.Send, query)}


def load_reply_facts(tx: Tx, business_id: str, conversation_id: str) -> tuple[datetime | None, int]:
    """Load the time of the person's last message, and the number of replies since then."""
    conditions = rows_of(messages, business_id, conversation_id=conversation_id)
    last = find_last_time(tx, business_id, conversation_id, Sender.CUSTOMER)
    if last is None:
        return None, 0
    stopped = sa.select(sends.c.message_id).where(
        *rows_of(sends, business_id, conversation_id=conversation_id), sends.c.state.in_(STOPPED)
    )
    sent = sa.select(sa.func.count()).where(
        *conditions,
        messages.c.sender == Sender.BUSINESS,
        messages.c.at >= last,
        messages.c.id.not_in(stopped),
    )
    return last, int(tx.scalar(sent))


photos: Final = PictureTable(
    "photos",
    lambda pictures: sa.exists().where(
        messages.c.business_id == pictures.c.business_id, messages.c.photo == pictures.c.digest
    ),
)
"""Pictures, kept as long as a message shows them."""


def list_photos(tx: Tx, business_id: str, shown_messages: Iterable[model.Message]) -> dict[str, model.Photo]:
    """Return the pictures of messages by digest, without their bytes."""
    table, digests = photos.table, {message.photo for message in shown_messages if message.photo}
    query = sa.select(table.c.digest, table.c.width, table.c.height)
    shown = query.where(*rows_of(table, business_id, digest=digests))
    return {photo.digest: photo for photo in tx.list(model.Photo, shown)}


_DUE: Final[sa.ColumnElement[bool]] = sa.literal_column("state = 'due'")

scheduled_replies = sa.Table(
    "scheduled_replies",
    metadata,
    key(),
    tenant(),
    sa.Column("conversation_id", sa.String(36), nullable=False),
    sealed("body"),
    text("author"),
    instant("due_at"),
    sa.Column("state", Choice(model.ScheduleState), nullable=False),
    sa.Column("reason", sa.Text),
    sa.Index("ix_scheduled_replies_of_conversation", "business_id", "conversation_id"),
    sa.Index("ix_scheduled_replies_due", "business_id", "due_at", sqlite_where=_DUE, postgresql_where=_DUE),
)

SCHEDULED: Final = Queue(scheduled_replies, _DUE, scheduled_replies.c.due_at)
"""Scheduled replies that are still to be sent."""


def list_scheduled(tx: Tx, business_id: str, conversation_id: str) -> list[model.ScheduledReply]:
    """List due and stopped replies of a thread, in order of their time."""
    shown = (model.ScheduleState.DUE, model.ScheduleState.STOPPED)
    query = sa.select(scheduled_replies).where(
        *rows_of(scheduled_replies, business_id, conversation_id=conversation_id),
        scheduled_replies.c.state.in_(shown),
    )
    rows = tx.execute(query.order_by(scheduled_replies.c.due_at)).mappings()
    return [_scheduled_reply_of(tx, row) for row in rows]


def list_due_replies(tx: Tx, business_id: str, limit: int) -> list[model.ScheduledReply]:
    """Return due replies of a business, oldest first; for the timer only."""
    rows = tx.execute(SCHEDULED.locked, SCHEDULED.values(tx, business_id, limit)).mappings()
    return [_scheduled_reply_of(tx, row) for row in rows.all()]


def record_scheduled(
    tx: Tx,
    reply: tuple[str, str, str],
    state: model.ScheduleState,
    *,
    reason: str | None = None,
    expected: Sequence[model.ScheduleState] = (model.ScheduleState.DUE,),
) -> bool:
    """Record the state of a reply (business, conversation, id); False unless it had an expected state."""
    business_id, conversation_id, reply_id = reply
    is_known = sa.and_(
        scheduled_replies.c.conversation_id == conversation_id, scheduled_replies.c.state.in_(expected)
    )
    return tx.change(scheduled_replies, business_id, reply_id, is_known, state=state, reason=reason)


def _scheduled_reply_of(tx: Tx, row: Mapping[Any, Any]) -> model.ScheduledReply:
    tx.record_contact_reads("conversation_id", (row["conversation_id"],))
    values = {name: row[name] for name in model.ScheduledReply.__dataclass_fields__ if name != "text"}
    body_text = tx.open_text(row["body"], row["business_id"], "scheduled_replies.body", row["id"])
    return model.ScheduledReply(**values, text=body_text)


ad_referrals = sa.Table(
    "ad_referrals",
    metadata,
    key(),
    tenant(),
    sa.Column("conversation_id", sa.String(36), nullable=False),
    sa.Column("ad_number", sa.BigInteger, nullable=False),
    text("click_id"),
    sealed("headline", nullable=True),
    sealed("ad_text", nullable=True),
    instant("at"),
    sa.Column("advertiser", sa.String(64), nullable=False, server_default=""),
    sa.Index("ix_ad_referrals_of_conversation", "business_id", "conversation_id", "at"),
    sa.Index("ix_ad_referrals_of_number", "business_id", "ad_number"),
)


def list_referrals(tx: Tx, business_id: str, conversation_id: str) -> list[model.AdReferral]:
    query = sa.select(ad_referrals).where(
        *rows_of(ad_referrals, business_id, conversation_id=conversation_id)
    )
    return tx.list(model.AdReferral, query.order_by(ad_referrals.c.at))
