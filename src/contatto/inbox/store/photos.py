"""Pictures of conversations, sealed, each kept once for a business under the hash of its content."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Column, ColumnElement, Integer, String, Table, UniqueConstraint, exists, select

from contatto.inbox.model import Photo
from contatto.inbox.store.messages import messages
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, key, metadata, row_of, sealed, tenant
from contatto.kit.ids import named_id

photos = Table(
    "photos",
    metadata,
    key(),
    tenant(),
    Column("digest", String(64), nullable=False),
    Column("media_type", String(32), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    sealed("body"),
    instant("created_at"),
    UniqueConstraint("business_id", "digest"),
)


def save_photo(tx: Tx, photo: Photo, body: bytes) -> None:
    """Keep a picture; the same one again only counts as new, so that nobody forgets it before its message."""
    row = row_of(photo)
    row["id"] = named_id(photo.business_id, photo.digest)
    sealed_body = tx.vault.seal_bytes(body, photo.business_id, "photos.body", row["id"])
    insert = tx.upsert(photos).values(**row, body=sealed_body)
    again = {"created_at": photo.created_at}
    tx.execute(insert.on_conflict_do_update(index_elements=["business_id", "digest"], set_=again))


def list_photos(tx: Tx, business_id: str, digests: Iterable[str]) -> dict[str, Photo]:
    """Pictures by digest, without their bytes."""
    shown = [column for column in photos.c if column.name != "body"]
    mine = select(*shown).where(photos.c.business_id == business_id, photos.c.digest.in_(list(digests)))
    return {photo.digest: photo for photo in tx.list(Photo, mine)}


def find_photo_body(tx: Tx, business_id: str, digest: str) -> tuple[str, bytes] | None:
    """The media type of a picture and its bytes, opened."""
    mine = select(photos).where(photos.c.business_id == business_id, photos.c.digest == digest)
    row = tx.execute(mine).mappings().first()
    if row is None:
        return None
    return row["media_type"], tx.vault.open_bytes(row["body"], business_id, "photos.body", row["id"])


def has_unused_photo(tx: Tx, before: datetime) -> bool:
    """Whether some business has a picture that no message shows (any more); it looks through all of them."""
    return tx.scalar(select(photos.c.digest).where(*_unused(before)).limit(1)) is not None


def delete_unused_photos(tx: Tx, before: datetime) -> int:
    """Forget some pictures of any business that no message shows (any more); say how many."""
    return tx.delete_some(photos, *_unused(before), most=20)


def _unused(before: datetime) -> tuple[ColumnElement[bool], ...]:
    shown = exists().where(
        messages.c.business_id == photos.c.business_id, messages.c.photo == photos.c.digest
    )
    return photos.c.created_at < before, ~shown
