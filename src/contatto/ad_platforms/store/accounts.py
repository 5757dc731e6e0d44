"""Tables of ad accounts elsewhere and of their access tokens, which stand sealed."""

from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Column, Integer, String, Table, UniqueConstraint, select, update

from contatto.ad_platforms.model import AdPlatform, OutsideAccount, PullState
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, instant, key, metadata, row_of, sealed, tenant, text

MOST_ACCOUNTS: Final = 100

outside_accounts = Table(
    "outside_accounts",
    metadata,
    key(),
    tenant(),
    Column("platform", Choice(AdPlatform), nullable=False),
    Column("external_id", String(64), nullable=False),
    text("name"),
    text("base_url"),
    Column("currency", String(3), nullable=False),
    Column("timezone", String(64), nullable=False),
    Column("state", Choice(PullState), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("backfill_days", Integer, nullable=False),
    instant("pulled_at", nullable=True),
    Column("pulled_through", String(10), nullable=False),
    Column("deep_day", String(10), nullable=False),
    Column("left_out", Integer, nullable=False),
    instant("created_at"),
    UniqueConstraint("business_id", "platform", "external_id"),
)

outside_tokens = Table(
    "outside_tokens",
    metadata,
    Column("outside_account_id", String(36), primary_key=True),
    tenant(),
    sealed("access_token"),
    instant("changed_at"),
)


def save_outside_account(tx: Tx, account: OutsideAccount) -> bool:
    """Insert an account; False when the business has it already."""
    return tx.insert_ignore(outside_accounts, row_of(account))


def record_account(tx: Tx, account: OutsideAccount, **changes: Any) -> OutsideAccount:
    """Change an account; the one that it is now."""
    mine = outside_accounts.c.business_id == account.business_id, outside_accounts.c.id == account.id
    tx.execute(update(outside_accounts).where(*mine).values(**changes))
    return replace(account, **changes)


def find_outside_account(tx: Tx, business_id: str, account_id: str) -> OutsideAccount | None:
    mine = outside_accounts.c.business_id == business_id, outside_accounts.c.id == account_id
    return tx.find(OutsideAccount, select(outside_accounts).where(*mine))


def find_account_named(
    tx: Tx, business_id: str, platform: AdPlatform, external_id: str
) -> OutsideAccount | None:
    """An account by the platform's own id of it."""
    mine = select(outside_accounts).where(
        outside_accounts.c.business_id == business_id,
        outside_accounts.c.platform == platform,
        outside_accounts.c.external_id == external_id,
    )
    return tx.find(OutsideAccount, mine)


def list_outside_accounts(tx: Tx, business_id: str) -> list[OutsideAccount]:
    mine = select(outside_accounts).where(outside_accounts.c.business_id == business_id)
    return tx.list(OutsideAccount, mine.order_by(outside_accounts.c.created_at, outside_accounts.c.id))


def save_outside_token(tx: Tx, account: OutsideAccount, access_token: str) -> None:
    """Keep the access token of an account, sealed; a new one replaces the old."""
    token = tx.vault.seal(access_token, account.business_id, "outside_tokens.access_token", account.id)
    new = {"access_token": token, "changed_at": tx.now}
    row = {"outside_account_id": account.id, "business_id": account.business_id} | new
    insert = tx.upsert(outside_tokens).values(**row)
    tx.execute(insert.on_conflict_do_update(index_elements=["outside_account_id"], set_=new))


def find_outside_token(tx: Tx, account: OutsideAccount) -> str | None:
    """The access token of an account, opened."""
    mine = (
        outside_tokens.c.business_id == account.business_id,
        outside_tokens.c.outside_account_id == account.id,
    )
    token = tx.scalar(select(outside_tokens.c.access_token).where(*mine))
    place = account.business_id, "outside_tokens.access_token", account.id
    return None if token is None else tx.vault.open(token, *place)


def delete_outside_token(tx: Tx, account: OutsideAccount) -> None:
    mine = outside_tokens.c.business_id == account.business_id
    tx.execute(outside_tokens.delete().where(mine, outside_tokens.c.outside_account_id == account.id))
