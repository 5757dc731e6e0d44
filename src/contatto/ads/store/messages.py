"""Tables of the welcome messages of ad accounts."""

from collections.abc import Iterable

from sqlalchemy import BigInteger, Column, Index, String, Table, select

from contatto.ads.model import WelcomeMessage
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Words, instant, key, metadata, row_of, tenant, text

welcome_messages = Table(
    "welcome_messages",
    metadata,
    key(),
    tenant(),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("ad_account_id", String(36), nullable=False),
    text("title"),
    text("content"),
    Column("questions", Words, nullable=False),
    Column("answers", Words, nullable=False),
    instant("created_at"),
    Index("ix_welcome_messages_of_account", "business_id", "ad_account_id"),
)


def save_welcome_message(tx: Tx, message: WelcomeMessage) -> None:
    row = row_of(message)
    tx.insert(welcome_messages, row)


def list_welcome_messages(
    tx: Tx, business_id: str, ad_account_id: str, numbers: Iterable[int] | None = None
) -> list[WelcomeMessage]:
    """Welcome messages of an ad account, newest first: all of them, or those named."""
    mine = select(welcome_messages).where(
        welcome_messages.c.business_id == business_id, welcome_messages.c.ad_account_id == ad_account_id
    )
    if numbers is not None:
        mine = mine.where(welcome_messages.c.number.in_(sorted(numbers)))
    return tx.list(WelcomeMessage, mine.order_by(welcome_messages.c.number.desc()))
