"""Table of saved pages that answered forms."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import Boolean, Column, Index, Integer, String, Table, select

from contatto.kit.db.tx import Tx, Words, instant, metadata, row_of, sealed, tenant
from contatto.kit.i18n import SealedIn


@dataclass(frozen=True, slots=True)
class KeptPage:
    """Page that answered a form, for the session that sent the form.

    Attributes:
        id: hash of the token in its address.
        role: role of the member at that time; after a change the page is not shown any more.
        is_once: delete the page after it was shown.
        look: audit record of a read of it, as act, object and ids; empty without contact data.
    """

    id: str
    business_id: str
    member_id: str
    session_hash: str
    role: str
    status: int
    page: Annotated[str, SealedIn("kept_pages.page")] = field(repr=False)
    is_once: bool
    look: tuple[str, ...]
    kept_at: datetime


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
    in_business = kept_pages.c.business_id == business_id
    return tx.find(KeptPage, select(kept_pages).where(in_business, kept_pages.c.id == page_id))


def delete_kept_page(tx: Tx, business_id: str, page_id: str) -> None:
    in_business = kept_pages.c.business_id == business_id
    tx.execute(kept_pages.delete().where(in_business, kept_pages.c.id == page_id))


def delete_older_pages(tx: Tx, business_id: str, member_id: str, most: int) -> None:
    """Delete a member's pages beyond the ``most`` newest ones."""
    in_business = kept_pages.c.business_id == business_id, kept_pages.c.member_id == member_id
    order = kept_pages.c.kept_at.desc(), kept_pages.c.id
    older = select(kept_pages.c.id).where(*in_business).order_by(*order).offset(most).limit(1_000)
    ids = list(tx.execute(older).scalars())
    if ids:
        tx.execute(
            kept_pages.delete().where(kept_pages.c.business_id == business_id, kept_pages.c.id.in_(ids))
        )


def delete_pages_of_business(tx: Tx, business_id: str) -> None:
    tx.execute(kept_pages.delete().where(kept_pages.c.business_id == business_id))


def delete_old_pages(tx: Tx, before: datetime) -> int:
    """Delete some pages of any business from before a time; return their number."""
    return tx.delete_some(kept_pages, kept_pages.c.kept_at < before)
