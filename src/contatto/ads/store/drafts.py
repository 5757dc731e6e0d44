"""The table of drafts: forms of the Ads Manager that a member has begun to fill."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Index, String, Table, and_, select

from contatto.ads.model import Draft, NodeKind, Place
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import ROW, Choice, instant, key, metadata, row_of, sealed, tenant
from contatto.kit.ids import new_id
from contatto.kit.vault import row_key

ad_drafts = Table(
    "ad_drafts",
    metadata,
    key(),
    tenant(),
    Column("member_id", String(36), nullable=False),
    Column("kind", Choice(NodeKind), nullable=False),
    Column("parent", BigInteger, nullable=False),
    sealed("typed", nullable=True),
    instant("saved_at"),
    Index("uq_ad_drafts_place", "business_id", "member_id", "kind", "parent", unique=True),
    Index("ix_ad_drafts_saved_at", "saved_at"),
    info={ROW: ("member_id", "kind", "parent")},
)


def save_draft(tx: Tx, draft: Draft) -> None:
    """Keep a draft in the place of the member's earlier one of the same form."""
    row: dict[str, Any] = row_of(draft)
    named = row_key(draft.member_id, draft.kind, draft.parent)
    typed = tx.seal(draft.typed, draft.business_id, "ad_drafts.typed", named)
    statement = tx.upsert(ad_drafts).values(row | {"id": new_id(), "typed": typed})
    again = {name: statement.excluded[name] for name in ("typed", "saved_at")}
    place = ["business_id", "member_id", "kind", "parent"]
    tx.execute(statement.on_conflict_do_update(index_elements=place, set_=again))


def find_draft(tx: Tx, business_id: str, member_id: str, place: Place) -> Draft | None:
    """A draft by what is to be made, and the number of what it would stand in (0 for a campaign)."""
    return tx.find(Draft, select(ad_drafts).where(_at(business_id, member_id, place)))


def list_drafts(tx: Tx, business_id: str, member_id: str) -> list[Draft]:
    """All drafts of a member, those saved last first."""
    mine = select(ad_drafts).where(ad_drafts.c.business_id == business_id, ad_drafts.c.member_id == member_id)
    return tx.list(Draft, mine.order_by(ad_drafts.c.saved_at.desc(), ad_drafts.c.id))


def delete_draft(tx: Tx, business_id: str, member_id: str, place: Place) -> None:
    tx.execute(ad_drafts.delete().where(_at(business_id, member_id, place)))


def delete_old_drafts(tx: Tx, before: datetime) -> int:
    """Delete some drafts of any business that were saved before a time; say how many."""
    return tx.delete_some(ad_drafts, ad_drafts.c.saved_at < before)


def _at(business_id: str, member_id: str, place: Place) -> ColumnElement[bool]:
    kind, parent = place
    return and_(
        ad_drafts.c.business_id == business_id,
        ad_drafts.c.member_id == member_id,
        ad_drafts.c.kind == kind,
        ad_drafts.c.parent == parent,
    )
