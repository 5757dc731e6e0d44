"""Tables of subscriptions and of their pushes; secrets and bodies are sealed."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    Integer,
    Select,
    String,
    Table,
    func,
    literal_column,
    select,
    update,
)

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, Serial, instant, key, metadata, sealed, tenant, text
from contatto.kit.turns import Queue
from contatto.notices.model import Entity, Push, PushState, Subscription

subscriptions = Table(
    "subscriptions",
    metadata,
    key(),
    tenant(),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("entity", Choice(Entity), nullable=False),
    Column("app_id", String(128), nullable=False),
    sealed("secret"),
    text("callback_url"),
    Column("ad_account_id", String(36), nullable=False),
    Column("lead_source", String(16), nullable=False),
    Column("page_number", BigInteger, nullable=False),
    Column("token_id", String(36), nullable=False),
    instant("created_at"),
    instant("ended_at", nullable=True),
    text("end_reason", default=""),
    Index("ix_subscriptions_business_id", "business_id", "entity", "ended_at"),
)

_IS_DUE: Final[ColumnElement[bool]] = literal_column("state = 'due'")

pushes = Table(
    "pushes",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    tenant(),
    Column("subscription_id", String(36), nullable=False),
    Column("subject_id", String(36), nullable=False),
    Column("state", Choice(PushState), nullable=False),
    Column("attempts", Integer, nullable=False),
    instant("due_at"),
    sealed("body"),
    Column("answer", String(32), nullable=False),
    instant("created_at"),
    instant("settled_at", nullable=True),
    Index("ix_pushes_due", "business_id", "due_at", "id", sqlite_where=_IS_DUE, postgresql_where=_IS_DUE),
    Index("ix_pushes_of_subscription", "business_id", "subscription_id", "id"),
    Index("ix_pushes_of_subject", "business_id", "subject_id"),
    Index("ix_pushes_settled", "settled_at"),
)

PUSHES: Final = Queue(pushes, _IS_DUE, pushes.c.due_at)
"""Pushes that are still to be sent."""
LEASE: Final = timedelta(seconds=60)
"""How long a claimed push belongs to its claimer; longer than any request may take."""
_DUE: Final[Any] = literal_column("'due'")


def save_subscription(tx: Tx, made: Subscription) -> None:
    row = {name: getattr(made, name) for name in Subscription.__dataclass_fields__}
    tx.insert(subscriptions, row | {"secret": tx.vault.seal(made.secret, made.business_id)})


def find_subscription(tx: Tx, business_id: str, number: int) -> Subscription | None:
    """A subscription by the API's ``subscription_id``."""
    mine = subscriptions.c.business_id == business_id
    found = _listed(tx, select(subscriptions).where(mine, subscriptions.c.number == number))
    return found[0] if found else None


def list_subscriptions(tx: Tx, business_id: str, entity: Entity | None = None) -> list[Subscription]:
    """Subscriptions that have not ended, newest first."""
    mine = select(subscriptions).where(
        subscriptions.c.business_id == business_id, subscriptions.c.ended_at.is_(None)
    )
    if entity is not None:
        mine = mine.where(subscriptions.c.entity == entity)
    return _listed(tx, mine.order_by(subscriptions.c.created_at.desc(), subscriptions.c.number.desc()))


def list_told_businesses(tx: Tx, entity: Entity) -> set[str]:
    """The businesses of which some program is told."""
    live = subscriptions.c.ended_at.is_(None), subscriptions.c.entity == entity
    return set(tx.execute(select(subscriptions.c.business_id).where(*live).distinct()).scalars())


def list_subscriptions_by_id(tx: Tx, business_id: str, ids: Collection[str]) -> dict[str, Subscription]:
    mine = subscriptions.c.business_id == business_id
    found = _listed(tx, select(subscriptions).where(mine, subscriptions.c.id.in_(ids)))
    return {each.id: each for each in found}


def _listed(tx: Tx, statement: Select[Any]) -> list[Subscription]:
    return [_opened(tx, row) for row in tx.execute(statement).mappings()]


def _opened(tx: Tx, row: Mapping[Any, Any]) -> Subscription:
    values = {name: row[name] for name in Subscription.__dataclass_fields__}
    return Subscription(**values | {"secret": tx.vault.open(row["secret"], row["business_id"])})


def record_callback(tx: Tx, of: Subscription, callback_url: str, secret: str, token_id: str) -> None:
    """Change where a subscription's pushes go, what signs them, and the token that it ends with."""
    mine = update(subscriptions).where(
        subscriptions.c.business_id == of.business_id, subscriptions.c.id == of.id
    )
    sealed_secret = tx.vault.seal(secret, of.business_id)
    tx.execute(mine.values(callback_url=callback_url, secret=sealed_secret, token_id=token_id))


def record_end(tx: Tx, of: Subscription, reason: str) -> bool:
    """End a subscription, unless it has ended; what was still to be pushed is dead."""
    mine = update(subscriptions).where(
        subscriptions.c.business_id == of.business_id,
        subscriptions.c.id == of.id,
        subscriptions.c.ended_at.is_(None),
    )
    if tx.execute(mine.values(ended_at=tx.now, end_reason=reason)).rowcount != 1:
        return False
    waiting = update(pushes).where(
        pushes.c.business_id == of.business_id, pushes.c.subscription_id == of.id, pushes.c.state == _DUE
    )
    tx.execute(waiting.values(state=PushState.DEAD, settled_at=tx.now))
    return True


def append_push(tx: Tx, of: Subscription, subject_id: str, body: bytes) -> None:
    """Queue a push; it is due at once."""
    row = {
        "business_id": of.business_id,
        "subscription_id": of.id,
        "subject_id": subject_id,
        "state": PushState.DUE,
        "attempts": 0,
        "due_at": tx.now,
        "body": tx.vault.seal_bytes(body, of.business_id),
        "answer": "",
        "created_at": tx.now,
    }
    tx.insert(pushes, row)


def list_due_pushes(tx: Tx, business_id: str, limit: int) -> list[tuple[Push, bytes]]:
    """Due pushes of a business with their bodies, oldest first."""
    rows = tx.execute(PUSHES.rows_of(tx, business_id, limit)).mappings()
    return [(_push(row), tx.vault.open_bytes(row["body"], row["business_id"])) for row in rows]


def find_push(tx: Tx, business_id: str, push_id: int) -> Push | None:
    mine = pushes.c.business_id == business_id
    return tx.find(Push, select(pushes).where(mine, pushes.c.id == push_id))


def list_pushes(tx: Tx, business_id: str, limit: int = 50) -> list[Push]:
    """The latest pushes of a business, newest first."""
    mine = select(pushes).where(pushes.c.business_id == business_id)
    return tx.list(Push, mine.order_by(pushes.c.id.desc()).limit(limit))


def count_pushes(tx: Tx, business_id: str) -> dict[str, dict[PushState, int]]:
    """How many pushes each subscription has, by what became of them."""
    counted = select(pushes.c.subscription_id, pushes.c.state, func.count().label("n"))
    grouped = counted.where(pushes.c.business_id == business_id)
    found: dict[str, dict[PushState, int]] = {}
    for row in tx.execute(grouped.group_by(pushes.c.subscription_id, pushes.c.state)).mappings():
        found.setdefault(row["subscription_id"], {})[row["state"]] = row["n"]
    return found


def mark_push_claimed(tx: Tx, push: Push) -> None:
    """Note that a request is on its way: until the lease is over nobody else sends this."""
    mine = update(pushes).where(pushes.c.business_id == push.business_id, pushes.c.id == push.id)
    tx.execute(mine.values(due_at=tx.now + LEASE, attempts=push.attempts + 1))


def record_push_state(
    tx: Tx, push: Push, state: PushState, answer: str, due_at: datetime | None = None
) -> None:
    """Record what became of a try."""
    settled = None if state is PushState.DUE else tx.now
    values = {"state": state, "answer": answer[:32], "settled_at": settled}
    if due_at is not None:
        values["due_at"] = due_at
    mine = update(pushes).where(
        pushes.c.business_id == push.business_id, pushes.c.id == push.id, pushes.c.state == _DUE
    )
    tx.execute(mine.values(**values))


def record_replay(tx: Tx, push: Push) -> bool:
    """Make a settled push due again, as if it had never been tried; False when it still is on its way."""
    mine = update(pushes).where(
        pushes.c.business_id == push.business_id, pushes.c.id == push.id, pushes.c.state != _DUE
    )
    values = {"state": PushState.DUE, "attempts": 0, "due_at": tx.now, "settled_at": None, "answer": ""}
    return tx.execute(mine.values(**values)).rowcount == 1


def delete_pushes_of(tx: Tx, business_id: str, subject_id: str) -> None:
    """Delete what was, or was to be, told of a lead that is gone."""
    mine = pushes.c.business_id == business_id
    tx.execute(pushes.delete().where(mine, pushes.c.subject_id == subject_id))


def delete_settled_pushes(tx: Tx, before: datetime) -> int:
    """Delete some pushes that were settled before a time; say how many."""
    return tx.delete_some(pushes, pushes.c.settled_at < before)


def _push(row: Mapping[Any, Any]) -> Push:
    return Push(**{name: row[name] for name in Push.__dataclass_fields__})
