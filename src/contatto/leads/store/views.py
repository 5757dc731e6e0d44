"""The table of saved views; their queries are sealed, since a search may hold a contact value."""

from sqlalchemy import Boolean, Column, Index, String, Table, func, or_, select, update

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, key, metadata, row_of, sealed, tenant
from contatto.kit.looks import note_seen
from contatto.leads.model.annotations import SavedView

lead_views = Table(
    "lead_views",
    metadata,
    key(),
    tenant(),
    Column("member_id", String(36), nullable=False),
    Column("name", String(60), nullable=False),
    sealed("query"),
    Column("is_shared", Boolean, nullable=False),
    Column("is_pinned", Boolean, nullable=False),
    instant("created_at"),
    Index("ix_lead_views_business_id", "business_id", "created_at"),
)


def save_view(tx: Tx, business_id: str, view: SavedView) -> bool:
    """Insert a view; False when it is there."""
    row = row_of(view)
    sealed_query = tx.vault.seal(view.query, business_id, "lead_views.query", view.id)
    return tx.insert_ignore(lead_views, row | {"business_id": business_id, "query": sealed_query})


def list_views(tx: Tx, business_id: str, member_id: str) -> list[SavedView]:
    """The views that a member sees: the own ones and those that others share; pinned ones first."""
    seen = or_(lead_views.c.member_id == member_id, lead_views.c.is_shared.is_(True))
    mine = select(lead_views).where(lead_views.c.business_id == business_id, seen)
    order = (lead_views.c.is_pinned.desc(), lead_views.c.created_at, lead_views.c.id)
    rows = tx.execute(mine.order_by(*order)).mappings()
    names = SavedView.__dataclass_fields__
    found = [
        SavedView(
            **{name: row[name] for name in names}
            | {"query": tx.vault.open(row["query"], business_id, "lead_views.query", row["id"])}
        )
        for row in rows
    ]
    note_seen("view_id", [view.id for view in found if "q=" in view.query])  # what somebody searches for
    return found


def count_views(tx: Tx, business_id: str, member_id: str) -> int:
    """The views that a member made."""
    mine = select(func.count()).where(lead_views.c.business_id == business_id)
    return int(tx.scalar(mine.where(lead_views.c.member_id == member_id)))


def record_view(tx: Tx, business_id: str, view: SavedView) -> None:
    """Keep a view's name and marks."""
    mine = update(lead_views).where(lead_views.c.business_id == business_id, lead_views.c.id == view.id)
    tx.execute(mine.values(name=view.name, is_shared=view.is_shared, is_pinned=view.is_pinned))


def delete_view(tx: Tx, business_id: str, view_id: str) -> None:
    mine = lead_views.c.business_id == business_id
    tx.execute(lead_views.delete().where(mine, lead_views.c.id == view_id))
