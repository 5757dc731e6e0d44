"""Tables of subscriptions and their pushes; secrets and bodies are encrypted."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from contatto.integrations.store import IS_WAITING, DeliveryLedger, ledger_columns
from contatto.kit.db.statements import Query
from contatto.kit.db.tx import Choice, Tx, instant, key, metadata, only, rows_of, sealed, tenant, text
from contatto.subscriptions.model import Entity, Push, Subscription

subscriptions = sa.Table(
    "subscriptions",
    metadata,
    key(),
    tenant(),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    sa.Column("entity", Choice(Entity), nullable=False),
    sa.Column("app_id", sa.String(128), nullable=False),
    sealed("secret"),
    text("callback_url"),
    sa.Column("ad_account_id", sa.String(36), nullable=False),
    sa.Column("lead_source", sa.String(16), nullable=False),
    sa.Column("page_number", sa.BigInteger, nullable=False),
    sa.Column("token_id", sa.String(36), nullable=False),
    instant("created_at"),
    instant("ended_at", nullable=True),
    text("end_reason", default=""),
    instant("paused_at", nullable=True),
    sa.Index("ix_subscriptions_business_id", "business_id", "entity", "ended_at"),
)

pushes = sa.Table(
    "pushes",
    metadata,
    *ledger_columns(),
    sa.Column("subscription_id", sa.String(36), nullable=False),
    sa.Column("subject_id", sa.String(36), nullable=False),
    sealed("body"),
    sa.Index("ix_pushes_of_subscription", "business_id", "subscription_id", "id"),
    sa.Index("ix_pushes_of_subject", "business_id", "subject_id"),
    sa.Index("ix_pushes_settled", "settled_at"),
    sa.Index("ix_pushes_held", "subscription_id", "id", **only(IS_WAITING)),
)
ledger: Final = DeliveryLedger(
    pushes,
    Push,
    pushes.c.subscription_id,
    subscriptions.c.id,
    sa.and_(subscriptions.c.paused_at.is_(None), subscriptions.c.ended_at.is_(None)),
)


def find_subscription(tx: Tx, business_id: str, number: int) -> Subscription | None:
    """Find a subscription by the API's ``subscription_id``."""
    query = sa.select(subscriptions).where(*rows_of(subscriptions, business_id, number=number))
    return next(iter(_list_decrypted(tx, query)), None)


def list_subscriptions(tx: Tx, business_id: str, entity: Entity | None = None) -> list[Subscription]:
    """Return live subscriptions, newest first."""
    of_entity = {} if entity is None else {"entity": entity}
    own = rows_of(subscriptions, business_id, **of_entity)
    live = sa.select(subscriptions).where(*own, subscriptions.c.ended_at.is_(None))
    return _list_decrypted(
        tx, live.order_by(subscriptions.c.created_at.desc(), subscriptions.c.number.desc())
    )


_SUBSCRIBED: Final = Query(
    sa.select(subscriptions.c.entity, subscriptions.c.business_id)
    .where(subscriptions.c.ended_at.is_(None))
    .distinct()
)


def list_subscribed_businesses(tx: Tx) -> dict[Entity, set[str]]:
    """Return the businesses with live subscriptions, by entity."""
    businesses: dict[Entity, set[str]] = {}
    for entity, business_id in _SUBSCRIBED.rows(tx, {}):
        businesses.setdefault(entity, set()).add(business_id)
    return businesses


def list_subscriptions_by_id(tx: Tx, business_id: str, ids: Collection[str]) -> dict[str, Subscription]:
    query = sa.select(subscriptions).where(*rows_of(subscriptions, business_id, id=list(ids)))
    return {subscription.id: subscription for subscription in _list_decrypted(tx, query)}


def _list_decrypted(tx: Tx, statement: sa.Select[Any]) -> list[Subscription]:
    decrypted = []
    for row in tx.execute(statement).mappings():
        values = {name: row[name] for name in Subscription.__dataclass_fields__}
        secret = tx.vault.open(row["secret"], row["business_id"], "subscriptions.secret", row["id"])
        decrypted.append(Subscription(**values | {"secret": secret}))
    return decrypted


def record_callback(
    tx: Tx, subscription: Subscription, callback_url: str, secret: str, token_id: str
) -> None:
    sealed_secret = tx.seal(secret, subscription.business_id, "subscriptions.secret", subscription.id)
    values = {"callback_url": callback_url, "secret": sealed_secret, "token_id": token_id}
    tx.change(subscriptions, subscription.business_id, subscription.id, **values)


def record_paused(tx: Tx, subscription: Subscription, at: datetime | None) -> None:
    """Save since when a subscription is paused; None resumes it."""
    tx.change(subscriptions, subscription.business_id, subscription.id, paused_at=at)
