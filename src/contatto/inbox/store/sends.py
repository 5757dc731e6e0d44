"""Replies on their way to a platform: one row for each, committed together with its message."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import (
    Column,
    Index,
    String,
    Table,
    Update,
    and_,
    func,
    or_,
    select,
    update,
)

from contatto.channels.model import Sender
from contatto.inbox.model import REPLY, Send, SendState
from contatto.inbox.store.messages import find_last_time, messages
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, Serial, instant, metadata, row_of, tenant
from contatto.kit.outbound.store import is_unsure

sends = Table(
    "sends",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    tenant(),
    Column("message_id", String(36), nullable=False, unique=True),
    Column("conversation_id", String(36), nullable=False),
    Column("channel_account_id", String(36), nullable=False),
    Column("state", Choice(SendState), nullable=False),
    Column("external_ref", String(36)),
    Column("reason", String(64)),
    instant("changed_at"),
    Index("ix_sends_of_conversation", "business_id", "conversation_id"),
    Index("ix_sends_external_ref", "business_id", "external_ref"),
)

UNSETTLED: Final = (SendState.DUE, SendState.FAILED, SendState.DEAD)


def append_send(tx: Tx, send: Send) -> bool:
    """Append a send; False when this message has one."""
    row = row_of(send, without={"id"})
    return tx.insert_ignore(sends, row | {"changed_at": tx.now})


def record_send(tx: Tx, send: Send, state: SendState, *, reason: str | None = None) -> bool:
    """Record what became of a request, unless news from the platform has settled it meanwhile."""
    values = {"state": state, "reason": reason, "changed_at": tx.now}
    return tx.execute(_change_of(send).where(sends.c.state.in_(UNSETTLED)).values(**values)).rowcount == 1


def record_external_ref(tx: Tx, send: Send, external_ref: str) -> None:
    tx.execute(_change_of(send).values(external_ref=external_ref))


def record_delivered(tx: Tx, send: Send) -> bool:
    mine = _change_of(send).where(sends.c.state != SendState.DELIVERED)
    values = {"state": SendState.DELIVERED, "reason": None, "changed_at": tx.now}
    return tx.execute(mine.values(**values)).rowcount == 1


def record_refusal(tx: Tx, send: Send, reason: str) -> bool:
    """Record that the platform took a message and could not deliver it."""
    mine = _change_of(send).where(sends.c.state != SendState.DELIVERED)
    values = {"state": SendState.FAILED, "reason": reason, "changed_at": tx.now}
    return tx.execute(mine.values(**values)).rowcount == 1


def record_retry(tx: Tx, send: Send) -> bool:
    """Make a send that failed due again; False when it did not fail."""
    mine = _change_of(send).where(sends.c.state.in_((SendState.FAILED, SendState.DEAD)))
    values = {"state": SendState.DUE, "reason": None, "changed_at": tx.now}
    return tx.execute(mine.values(**values)).rowcount == 1


def _change_of(send: Send) -> Update:
    return update(sends).where(sends.c.business_id == send.business_id, sends.c.id == send.id)


def find_send(tx: Tx, business_id: str, message_id: str) -> Send | None:
    mine = sends.c.business_id == business_id
    return tx.find(Send, select(sends).where(mine, sends.c.message_id == message_id))


def find_send_by_ref(tx: Tx, business_id: str, external_ref: str) -> Send | None:
    mine = sends.c.business_id == business_id
    return tx.find(Send, select(sends).where(mine, sends.c.external_ref == external_ref))


def list_unsure_sends(tx: Tx, business_id: str, conversation_id: str) -> list[Send]:
    """Sends that the platform may have taken without our knowing, oldest first."""
    on_its_way = and_(
        sends.c.state == SendState.DUE, is_unsure(sends.c.business_id, REPLY, sends.c.message_id)
    )
    lost = and_(sends.c.state == SendState.FAILED, sends.c.reason == "answer_lost")
    mine = select(sends).where(
        sends.c.business_id == business_id,
        sends.c.conversation_id == conversation_id,
        or_(on_its_way, lost),
        sends.c.external_ref.is_(None),
    )
    return tx.list(Send, mine.order_by(sends.c.id))


def list_sends(tx: Tx, business_id: str, message_ids: Iterable[str]) -> dict[str, Send]:
    """Sends by message."""
    mine = select(sends).where(sends.c.business_id == business_id, sends.c.message_id.in_(list(message_ids)))
    return {send.message_id: send for send in tx.list(Send, mine)}


def load_reply_facts(tx: Tx, business_id: str, conversation_id: str) -> tuple[datetime | None, int]:
    """When the person wrote last, and how many messages of the business left since then (P5)."""
    mine = (messages.c.business_id == business_id, messages.c.conversation_id == conversation_id)
    last = find_last_time(tx, business_id, conversation_id, Sender.CUSTOMER)
    if last is None:
        return None, 0
    stopped = select(sends.c.message_id).where(
        sends.c.business_id == business_id,
        sends.c.conversation_id == conversation_id,
        sends.c.state.in_((SendState.FAILED, SendState.DEAD)),
    )
    sent = select(func.count()).where(
        *mine, messages.c.sender == Sender.BUSINESS, messages.c.at >= last, messages.c.id.not_in(stopped)
    )
    return last, int(tx.scalar(sent))
