"""Idempotent requests: a repeated one gets its stored answer."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import msgspec
import sqlalchemy as sa

from contatto.kit import errors
from contatto.kit.db.tx import Tx, instant, metadata, purging, sealed, tenant
from contatto.kit.errors import Refused

KEEP: Final = timedelta(days=7)
"""Lifetime of a stored answer."""

answered_requests = sa.Table(
    "answered_requests",
    metadata,
    sa.Column("key_hash", sa.String(64), primary_key=True),
    tenant(),
    sa.Column("body_hash", sa.String(64), nullable=False),
    sealed("answer"),
    instant("at"),
    sa.Index("ix_answered_requests_at", "at"),
)


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """Tenant, endpoint and client-made id of a request."""

    business_id: str
    endpoint: str
    request_id: str


def answer_once[A](tx: Tx, key: IdempotencyKey, body: str, shape: type[A], work: Callable[[], A]) -> A:
    """Run the work for the first request with this key only, and return its stored answer.

    Without an id in the key the work always runs; an exception of the work stores nothing.

    Raises REPEATED, when the same id comes with another body.
    """
    if not key.request_id:
        return work()
    key_hash = tx.vault.blind(f"request:{key.endpoint}\0{key.request_id}", key.business_id).hex()
    body_hash = tx.vault.blind(f"body:{body}", key.business_id).hex()
    place = key.business_id, "answered_requests.answer", key_hash
    tx.advisory_locks([int(key_hash[:15], 16)])
    query = sa.select(answered_requests.c.body_hash, answered_requests.c.answer).where(
        answered_requests.c.business_id == key.business_id, answered_requests.c.key_hash == key_hash
    )
    row = tx.execute(query).first()
    if row is not None:
        if row.body_hash != body_hash:
            raise Refused(errors.REPEATED)
        return msgspec.json.decode(tx.vault.open_bytes(row.answer, *place), type=shape)
    answer = work()
    values = {"key_hash": key_hash, "business_id": key.business_id, "body_hash": body_hash, "at": tx.now}
    values["answer"] = tx.vault.seal_bytes(msgspec.json.encode(answer), *place)
    tx.insert(answered_requests, values)
    return answer


purge_answered_requests: Final = purging(answered_requests.c.at, KEEP)
