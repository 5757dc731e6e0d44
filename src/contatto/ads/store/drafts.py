"""The table of drafts: what was typed on the way to an ad."""

import json
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Dialect, Index, Integer, String, Table, Text, or_, select
from sqlalchemy.types import TypeDecorator

from contatto.ads.model import Draft
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, key, metadata, tenant


class _Content(TypeDecorator[dict[str, Any]]):
    """What was typed, step by step, as JSON."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, ensure_ascii=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> dict[str, Any] | None:
        return None if value is None else dict(json.loads(value))


ad_drafts = Table(
    "ad_drafts",
    metadata,
    key(),
    tenant(),
    Column("made_by", String(36), nullable=False),
    Column("campaign_number", BigInteger, nullable=False),
    Column("ad_group_number", BigInteger, nullable=False),
    Column("content", _Content, nullable=False),
    Column("revision", Integer, nullable=False),
    instant("created_at"),
    instant("updated_at"),
    Index("ix_ad_drafts_of_business", "business_id", "updated_at"),
    Index("ix_ad_drafts_updated_at", "updated_at"),
)


def save_draft(tx: Tx, draft: Draft) -> None:
    tx.insert(ad_drafts, {name: getattr(draft, name) for name in Draft.__dataclass_fields__})


def record_draft(tx: Tx, draft: Draft, seen: int) -> bool:
    """Write a changed draft over its row; False, and nothing, when ``seen`` is not its revision any more."""
    mine = ad_drafts.update().where(
        ad_drafts.c.business_id == draft.business_id,
        ad_drafts.c.id == draft.id,
        ad_drafts.c.revision == seen,
    )
    values = {"content": draft.content, "revision": draft.revision, "updated_at": draft.updated_at}
    return tx.execute(mine.values(values)).rowcount == 1


def find_draft(tx: Tx, business_id: str, draft_id: str) -> Draft | None:
    mine = select(ad_drafts).where(ad_drafts.c.business_id == business_id, ad_drafts.c.id == draft_id)
    return tx.find(Draft, mine)


def list_drafts(tx: Tx, business_id: str, limit: int = 100) -> list[Draft]:
    """Drafts in which something was typed, latest first."""
    mine = select(ad_drafts).where(ad_drafts.c.business_id == business_id, ad_drafts.c.revision > 0)
    return tx.list(Draft, mine.order_by(ad_drafts.c.updated_at.desc()).limit(limit))


def delete_draft(tx: Tx, business_id: str, draft_id: str) -> bool:
    """Delete a draft; say whether it was there."""
    mine = ad_drafts.delete().where(ad_drafts.c.business_id == business_id, ad_drafts.c.id == draft_id)
    return tx.execute(mine).rowcount == 1


def delete_old_drafts(tx: Tx, untouched_before: datetime, before: datetime) -> int:
    """Delete drafts that nobody typed into since one time, and any that rest since the other."""
    untouched = (ad_drafts.c.revision == 0) & (ad_drafts.c.updated_at < untouched_before)
    return tx.execute(ad_drafts.delete().where(or_(untouched, ad_drafts.c.updated_at < before))).rowcount
