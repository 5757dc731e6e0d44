"""Replies that were written for later, sealed, until they are due."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Index, String, Table, Text, literal_column, select, update

from contatto.inbox.model import ScheduledReply, ScheduleState
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, instant, key, metadata, row_of, sealed, tenant, text
from contatto.kit.looks import note_seen
from contatto.kit.turns import Queue

_DUE: Final[ColumnElement[bool]] = literal_column("state = 'due'")

scheduled_replies = Table(
    "scheduled_replies",
    metadata,
    key(),
    tenant(),
    Column("conversation_id", String(36), nullable=False),
    sealed("body"),
    text("author"),
    instant("due_at"),
    Column("state", Choice(ScheduleState), nullable=False),
    Column("reason", Text),
    Index("ix_scheduled_replies_of_conversation", "business_id", "conversation_id"),
    Index("ix_scheduled_replies_due", "business_id", "due_at", sqlite_where=_DUE, postgresql_where=_DUE),
)

SCHEDULED: Final = Queue(scheduled_replies, _DUE, scheduled_replies.c.due_at)
"""Replies for later that nothing has stopped."""


def append_scheduled(tx: Tx, reply: ScheduledReply) -> bool:
    """Append a reply for later, sealed; False when it was there before."""
    row = row_of(reply, without={"text"})
    body = tx.vault.seal(reply.text, reply.business_id, "scheduled_replies.body", reply.id)
    return tx.insert_ignore(scheduled_replies, row | {"body": body})


def list_scheduled(tx: Tx, business_id: str, conversation_id: str) -> list[ScheduledReply]:
    """Replies of a thread that still wait, or that something stopped, in order of their time."""
    shown = (ScheduleState.DUE, ScheduleState.STOPPED)
    mine = select(scheduled_replies).where(
        scheduled_replies.c.business_id == business_id,
        scheduled_replies.c.conversation_id == conversation_id,
        scheduled_replies.c.state.in_(shown),
    )
    return [_opened(tx, row) for row in tx.execute(mine.order_by(scheduled_replies.c.due_at)).mappings()]


def list_due_replies(tx: Tx, business_id: str, limit: int) -> list[ScheduledReply]:
    """Replies of a business whose time has come, the oldest first; for the timer only."""
    rows = tx.execute(SCHEDULED.rows(tx), SCHEDULED.values(tx, business_id, limit)).mappings()
    return [_opened(tx, row) for row in rows.all()]


def record_scheduled(
    tx: Tx,
    reply: tuple[str, str, str],
    state: ScheduleState,
    *,
    reason: str | None = None,
    known: ScheduleState = ScheduleState.DUE,
) -> bool:
    """Note what became of a reply, named by business, conversation and id; False if it was not as known."""
    business_id, conversation_id, reply_id = reply
    mine = update(scheduled_replies).where(
        scheduled_replies.c.business_id == business_id,
        scheduled_replies.c.conversation_id == conversation_id,
        scheduled_replies.c.id == reply_id,
        scheduled_replies.c.state == known,
    )
    return tx.execute(mine.values(state=state, reason=reason)).rowcount == 1


def _opened(tx: Tx, row: Mapping[Any, Any]) -> ScheduledReply:
    note_seen("conversation_id", (row["conversation_id"],))
    return ScheduledReply(
        id=row["id"],
        business_id=row["business_id"],
        conversation_id=row["conversation_id"],
        text=tx.open_text(row["body"], row["business_id"], "scheduled_replies.body", row["id"]),
        author=row["author"],
        due_at=row["due_at"],
        state=row["state"],
        reason=row["reason"],
    )
