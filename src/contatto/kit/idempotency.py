"""Requests that carry an id of their own: sent again, they get the first answer and change nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import msgspec
from sqlalchemy import Column, Index, String, Table, select

from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, metadata, sealed, tenant
from contatto.kit.errors import Refused

KEEP: Final = timedelta(days=7)
"""How long an answer is kept; after that the same id counts as a new request."""

answered_requests = Table(
    "answered_requests",
    metadata,
    Column("key_hash", String(64), primary_key=True),
    tenant(),
    Column("body_hash", String(64), nullable=False),
    sealed("answer"),
    instant("at"),
    Index("ix_answered_requests_at", "at"),
)


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """Whose request it is, at which endpoint, and the id that the sender gave it."""

    business_id: str
    endpoint: str
    request_id: str


def answer_once[A](tx: Tx, key: IdempotencyKey, body: str, shape: type[A], work: Callable[[], A]) -> A:
    """The answer of the work, which is done for the first request with this key only.

    Args:
        tx: holds the work and the memory of its answer together.
        key: of the request; without an id the work is always done.
        body: what was asked, as text.
        shape: the type of the answer, which a kept one is read into.
        work: makes the answer; an exception leaves nothing behind.

    Raises:
        Refused: REPEATED, when the same id comes with another body.
    """
    if not key.request_id:
        return work()
    key_hash = tx.vault.blind(f"request:{key.endpoint}\0{key.request_id}", key.business_id).hex()
    body_hash = tx.vault.blind(f"body:{body}", key.business_id).hex()
    place = key.business_id, "answered_requests.answer", key_hash
    tx.advisory_lock(int(key_hash[:15], 16))
    query = select(answered_requests.c.body_hash, answered_requests.c.answer).where(
        answered_requests.c.business_id == key.business_id, answered_requests.c.key_hash == key_hash
    )
    row = tx.execute(query).first()
    if row is not None:
        if row.body_hash != body_hash:
            raise Refused(errors.REPEATED)
        return msgspec.json.decode(tx.vault.open_bytes(row.answer, *place), type=shape)
    made = work()
    kept = {"key_hash": key_hash, "business_id": key.business_id, "body_hash": body_hash, "at": tx.now}
    kept["answer"] = tx.vault.seal_bytes(msgspec.json.encode(made), *place)
    tx.insert(answered_requests, kept)
    return made


def purge_answered_requests(tx: Tx) -> int:
    """Delete some answers that were kept long enough; say how many."""
    return tx.delete_some(answered_requests, answered_requests.c.at < tx.now - KEEP)
