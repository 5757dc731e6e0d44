"""The table of kept pages."""

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Column, Index, Integer, String, Table, select

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Words, instant, metadata, row_of, sealed, tenant
from contatto.typed.model import KeptPage

kept_pages = Table(
    "kept_pages",
    metadata,
    Column("id", String(64), primary_key=True),
    tenant(),
    Column("member_id", String(36), nullable=False),
    Column("session_hash", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("status", Integer, nullable=False),
    sealed("page"),
    Column("is_once", Boolean, nullable=False),
    Column("look", Words, nullable=False),
    instant("kept_at"),
    Index("ix_kept_pages_member", "business_id", "member_id", "kept_at"),
    Index("ix_kept_pages_kept_at", "kept_at"),
)


def save_kept_page(tx: Tx, page: KeptPage) -> None:
    row: dict[str, Any] = row_of(page)
    row["page"] = tx.seal(page.page, page.business_id, "kept_pages.page", page.id)
    tx.execute(kept_pages.insert().values(row))


def find_kept_page(tx: Tx, business_id: str, page_id: str) -> KeptPage | None:
    mine = kept_pages.c.business_id == business_id
    return tx.find(KeptPage, select(kept_pages).where(mine, kept_pages.c.id == page_id))


def delete_kept_page(tx: Tx, business_id: str, page_id: str) -> None:
    mine = kept_pages.c.business_id == business_id
    tx.execute(kept_pages.delete().where(mine, kept_pages.c.id == page_id))


def delete_older_pages(tx: Tx, business_id: str, member_id: str, most: int) -> None:
    """Leave a member the pages that were kept last, so many of them."""
    mine = kept_pages.c.business_id == business_id, kept_pages.c.member_id == member_id
    order = kept_pages.c.kept_at.desc(), kept_pages.c.id
    older = select(kept_pages.c.id).where(*mine).order_by(*order).offset(most).limit(1_000)
    ids = list(tx.execute(older).scalars())
    if ids:
        tx.execute(
            kept_pages.delete().where(kept_pages.c.business_id == business_id, kept_pages.c.id.in_(ids))
        )


def delete_pages_of_business(tx: Tx, business_id: str) -> None:
    tx.execute(kept_pages.delete().where(kept_pages.c.business_id == business_id))


def delete_old_pages(tx: Tx, before: datetime) -> int:
    """Delete some pages of any business that were kept before a time; say how many."""
    return tx.delete_some(kept_pages, kept_pages.c.kept_at < before)
