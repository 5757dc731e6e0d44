"""Requests that carry an id of their own: sent again, they get the first answer and change nothing."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Column, Index, String, Table, Text, select

from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, metadata, tenant
from contatto.kit.errors import Refused

KEEP: Final = timedelta(days=7)
"""How long an answer is kept; after that the same id counts as a new request."""

answered_requests = Table(
    "answered_requests",
    metadata,
    Column("key_hash", String(64), primary_key=True),
    tenant(),
    Column("body_hash", String(64), nullable=False),
    Column("answer", Text, nullable=False),
    instant("at"),
    Index("ix_answered_requests_at", "at"),
)


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Whose request it is, at which door, and the id that the sender gave it."""

    business_id: str
    door: str
    request_id: str


def answer_once(tx: Tx, key: RequestKey, body: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer of the work, which is done for the first request with this key only.

    Args:
        tx: holds the work and the memory of its answer together.
        key: of the request; without an id the work is always done.
        body: what was asked, as text.
        work: makes the answer; an exception leaves nothing behind.

    Raises:
        Refused: REPEATED, when the same id comes with another body.
    """
    if not key.request_id:
        return work()
    key_hash = _hash(key.business_id, key.door, key.request_id)
    tx.hold(int(key_hash[:15], 16))
    known = select(answered_requests.c.body_hash, answered_requests.c.answer).where(
        answered_requests.c.business_id == key.business_id, answered_requests.c.key_hash == key_hash
    )
    row = tx.execute(known).first()
    if row is not None:
        if row.body_hash != _hash(body):
            raise Refused(errors.REPEATED)
        answer: dict[str, Any] = msgspec.json.decode(row.answer)
        return answer
    made = work()
    kept = {"key_hash": key_hash, "business_id": key.business_id, "body_hash": _hash(body)}
    tx.insert(answered_requests, kept | {"answer": msgspec.json.encode(made).decode(), "at": tx.now})
    return made


def forget_answers(tx: Tx) -> int:
    """Delete answers that were kept long enough; say how many."""
    return tx.execute(answered_requests.delete().where(answered_requests.c.at < tx.now - KEEP)).rowcount


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
