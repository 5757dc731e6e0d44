"""Pictures over the headline of forms, each kept once for a business under the hash of its content."""

from datetime import datetime

from sqlalchemy import Column, ColumnElement, String, Table, UniqueConstraint, exists, select

from contatto.forms.store.records import form_versions, forms
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, key, metadata, sealed, tenant
from contatto.kit.ids import named_id

form_pictures = Table(
    "form_pictures",
    metadata,
    key(),
    tenant(),
    Column("digest", String(64), nullable=False),
    Column("media_type", String(32), nullable=False),
    sealed("body"),
    instant("created_at"),
    UniqueConstraint("business_id", "digest"),
)


def save_form_picture(tx: Tx, business_id: str, digest: str, media_type: str, body: bytes) -> None:
    """Keep a picture; the same one again only counts as new, so that nobody forgets it before its form."""
    picture_id = named_id(business_id, digest)
    row = {
        "id": picture_id,
        "business_id": business_id,
        "digest": digest,
        "media_type": media_type,
        "body": tx.vault.seal_bytes(body, business_id, "form_pictures.body", picture_id),
        "created_at": tx.now,
    }
    insert = tx.upsert(form_pictures).values(**row)
    tx.execute(
        insert.on_conflict_do_update(
            index_elements=["business_id", "digest"], set_={"created_at": row["created_at"]}
        )
    )


def has_form_picture(tx: Tx, business_id: str, digest: str) -> bool:
    mine = select(form_pictures.c.id).where(
        form_pictures.c.business_id == business_id, form_pictures.c.digest == digest
    )
    return tx.execute(mine).first() is not None


def find_form_picture(tx: Tx, business_id: str, digest: str) -> tuple[str, bytes] | None:
    """The media type of a picture and its bytes, opened."""
    mine = select(form_pictures).where(
        form_pictures.c.business_id == business_id, form_pictures.c.digest == digest
    )
    row = tx.execute(mine).mappings().first()
    if row is None:
        return None
    return row["media_type"], tx.vault.open_bytes(row["body"], business_id, "form_pictures.body", row["id"])


def has_unused_form_picture(tx: Tx, before: datetime) -> bool:
    """Whether some business has a picture that no draft and no version shows; it looks through all."""
    return tx.scalar(select(form_pictures.c.digest).where(*_unused(before)).limit(1)) is not None


def delete_unused_form_pictures(tx: Tx, before: datetime) -> int:
    """Forget some pictures of any business that no draft and no version shows; say how many."""
    return tx.delete_some(form_pictures, *_unused(before), most=20)


def _unused(before: datetime) -> tuple[ColumnElement[bool], ...]:
    own, digest = form_pictures.c.business_id, form_pictures.c.digest
    in_draft = exists().where(forms.c.business_id == own, forms.c.draft.contains(digest))
    in_version = exists().where(form_versions.c.business_id == own, form_versions.c.content.contains(digest))
    return form_pictures.c.created_at < before, ~in_draft, ~in_version
