"""Tables of subscriptions and of their pushes; secrets and bodies are sealed."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Select,
    String,
    Table,
    func,
    select,
    update,
)

from contatto.kit.db.hot import Query
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, Serial, instant, key, metadata, sealed, tenant, text
from contatto.kit.ids import new_number
from contatto.subscriptions.model import Entity, Push, PushState, Subscription

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
    instant("paused_at", nullable=True),
    Index("ix_subscriptions_business_id", "business_id", "entity", "ended_at"),
)

pushes = Table(
    "pushes",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    tenant(),
    Column("subscription_id", String(36), nullable=False),
    Column("subject_id", String(36), nullable=False),
    Column("state", Choice(PushState), nullable=False),
    sealed("body"),
    Column("answer", String(32), nullable=False),
    instant("created_at"),
    instant("settled_at", nullable=True),
    Index("ix_pushes_of_subscription", "business_id", "subscription_id", "id"),
    Index("ix_pushes_of_subject", "business_id", "subject_id"),
    Index("ix_pushes_settled", "settled_at"),
)


def save_subscription(tx: Tx, made: Subscription) -> None:
    row = {name: getattr(made, name) for name in Subscription.__dataclass_fields__}
    tx.insert(subscriptions, row | {"secret": _seal_secret(tx, made, made.secret)})


def _seal_secret(tx: Tx, subscription: Subscription, secret: str) -> bytes:
    return tx.vault.seal(secret, subscription.business_id, "subscriptions.secret", subscription.id)


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


_TOLD: Final = Query(
    select(subscriptions.c.entity, subscriptions.c.business_id)
    .where(subscriptions.c.ended_at.is_(None))
    .distinct()
)


def list_told_businesses(tx: Tx) -> dict[Entity, set[str]]:
    """The businesses of which some program is told, by what it is told of."""
    found: dict[Entity, set[str]] = {}
    for entity, business_id in _TOLD.rows(tx, {}):
        found.setdefault(entity, set()).add(business_id)
    return found


def list_subscriptions_by_id(tx: Tx, business_id: str, ids: Collection[str]) -> dict[str, Subscription]:
    mine = subscriptions.c.business_id == business_id
    found = _listed(tx, select(subscriptions).where(mine, subscriptions.c.id.in_(ids)))
    return {each.id: each for each in found}


def _listed(tx: Tx, statement: Select[Any]) -> list[Subscription]:
    return [_opened(tx, row) for row in tx.execute(statement).mappings()]


def _opened(tx: Tx, row: Mapping[Any, Any]) -> Subscription:
    values = {name: row[name] for name in Subscription.__dataclass_fields__}
    secret = tx.vault.open(row["secret"], row["business_id"], "subscriptions.secret", row["id"])
    return Subscription(**values | {"secret": secret})


def record_callback(tx: Tx, of: Subscription, callback_url: str, secret: str, token_id: str) -> None:
    """Change where a subscription's pushes go, what signs them, and the token that it ends with."""
    mine = update(subscriptions).where(
        subscriptions.c.business_id == of.business_id, subscriptions.c.id == of.id
    )
    sealed_secret = _seal_secret(tx, of, secret)
    tx.execute(mine.values(callback_url=callback_url, secret=sealed_secret, token_id=token_id))


def record_paused(tx: Tx, of: Subscription, at: datetime | None) -> None:
    """Note since when a subscription is paused, or that it is not."""
    mine = update(subscriptions).where(
        subscriptions.c.business_id == of.business_id, subscriptions.c.id == of.id
    )
    tx.execute(mine.values(paused_at=at))


def list_due_pushes(tx: Tx, business_id: str, subscription_id: str) -> list[Push]:
    """What is to be pushed to a subscription, oldest first."""
    mine = pushes.c.business_id == business_id, pushes.c.subscription_id == subscription_id
    return tx.list(Push, select(pushes).where(*mine, pushes.c.state == PushState.DUE).order_by(pushes.c.id))


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
        pushes.c.business_id == of.business_id,
        pushes.c.subscription_id == of.id,
        pushes.c.state == PushState.DUE,
    )
    tx.execute(waiting.values(state=PushState.DEAD, settled_at=tx.now))
    return True


def append_push(tx: Tx, of: Subscription, subject_id: str, body: bytes) -> int:
    """Keep a push that is to be sent; give its id."""
    push_id = new_number()
    row = {
        "id": push_id,
        "business_id": of.business_id,
        "subscription_id": of.id,
        "subject_id": subject_id,
        "state": PushState.DUE,
        "body": tx.vault.seal_bytes(body, of.business_id, "pushes.body", str(push_id)),
        "answer": "",
        "created_at": tx.now,
    }
    tx.insert(pushes, row)
    return push_id


def find_push(tx: Tx, business_id: str, push_id: int) -> Push | None:
    mine = pushes.c.business_id == business_id
    return tx.find(Push, select(pushes).where(mine, pushes.c.id == push_id))


def load_push_body(tx: Tx, business_id: str, push_id: int) -> bytes:
    """What is sent."""
    mine = pushes.c.business_id == business_id, pushes.c.id == push_id
    body = tx.scalar(select(pushes.c.body).where(*mine))
    return tx.vault.open_bytes(body, business_id, "pushes.body", str(push_id))


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


def record_push_state(tx: Tx, push: Push, state: PushState, answer: str) -> None:
    """Record what became of a try."""
    settled = None if state is PushState.DUE else tx.now
    values = {"state": state, "answer": answer[:32], "settled_at": settled}
    mine = update(pushes).where(
        pushes.c.business_id == push.business_id, pushes.c.id == push.id, pushes.c.state == PushState.DUE
    )
    tx.execute(mine.values(**values))


def record_replay(tx: Tx, push: Push) -> bool:
    """Make a settled push due again, as if it had never been tried; False when it still is on its way."""
    mine = update(pushes).where(
        pushes.c.business_id == push.business_id, pushes.c.id == push.id, pushes.c.state != PushState.DUE
    )
    values = {"state": PushState.DUE, "settled_at": None, "answer": ""}
    return tx.execute(mine.values(**values)).rowcount == 1


def list_pushes_of(tx: Tx, business_id: str, subject_id: str) -> list[Push]:
    """What was, or was to be, told of a lead, a chat or a message."""
    mine = pushes.c.business_id == business_id, pushes.c.subject_id == subject_id
    return tx.list(Push, select(pushes).where(*mine))


def list_settled_pushes(tx: Tx, before: datetime, limit: int) -> list[Push]:
    """Pushes of all businesses that were settled before a time; for the timer."""
    return tx.list(Push, select(pushes).where(pushes.c.settled_at < before).limit(limit))


def delete_pushes(tx: Tx, business_id: str, push_ids: Collection[int]) -> None:
    mine = pushes.c.business_id == business_id
    tx.execute(pushes.delete().where(mine, pushes.c.id.in_(push_ids)))
