"""Tables of audiences, of the fingerprints of their members, and of uploaded files."""

from collections.abc import Collection, Iterable
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    and_,
    func,
    or_,
    select,
)

from contatto.audiences.model import Audience, AudienceFile, AudienceKind, Fingerprint, Lookalike
from contatto.audiences.rules import split_prints
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, instant, key, metadata, tenant, text
from contatto.kit.rows import row_of

audiences = Table(
    "audiences",
    metadata,
    key(),
    tenant(),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("ad_account_id", String(36), nullable=False),
    text("name"),
    Column("kind", Choice(AudienceKind), nullable=False),
    Column("calculate_type", String(32), nullable=False),
    text("spec"),
    instant("created_at"),
    instant("updated_at"),
    Index("ix_audiences_of_account", "business_id", "ad_account_id"),
)

audience_members = Table(
    "audience_members",
    metadata,
    Column("audience_id", String(36), primary_key=True),
    Column("fingerprint", LargeBinary(16), primary_key=True),
    tenant(),
)

audience_files = Table(
    "audience_files",
    metadata,
    Column("path", String(80), primary_key=True),
    tenant(),
    Column("ad_account_id", String(36), nullable=False),
    Column("calculate_type", String(32), nullable=False),
    Column("prints", LargeBinary, nullable=False),
    instant("created_at"),
    Index("ix_audience_files_created_at", "created_at"),
)


lookalikes = Table(
    "audience_lookalikes",
    metadata,
    Column("audience_id", String(36), primary_key=True),
    tenant(),
    instant("found_at"),
    Column("known", Integer, nullable=False),
    Column("lift", Float),
    Column("low", Float),
    Column("high", Float),
)
"""When the members of lookalikes were found, among how many viewers, and how much better they are."""


def save_file(tx: Tx, file: AudienceFile) -> None:
    tx.insert(audience_files, row_of(file))


def find_file(tx: Tx, business_id: str, path: str) -> AudienceFile | None:
    mine = select(audience_files).where(audience_files.c.business_id == business_id)
    return tx.find(AudienceFile, mine.where(audience_files.c.path == path))


def delete_old_files(tx: Tx, before: datetime) -> int:
    """Delete some files that were uploaded before a time, each of which may be large; say how many."""
    return tx.delete_some(audience_files, audience_files.c.created_at < before, most=5)


def save_audience(tx: Tx, audience: Audience) -> None:
    tx.insert(audiences, row_of(audience))


def record_audience(tx: Tx, audience: Audience) -> None:
    """Write a changed audience over its row."""
    mine = audiences.update().where(
        audiences.c.business_id == audience.business_id, audiences.c.id == audience.id
    )
    tx.execute(mine.values(row_of(audience)))


def delete_audience(tx: Tx, audience: Audience) -> None:
    """Delete an audience with its members."""
    delete_members(tx, audience)
    tx.execute(
        lookalikes.delete().where(
            lookalikes.c.business_id == audience.business_id, lookalikes.c.audience_id == audience.id
        )
    )
    mine = (audiences.c.business_id == audience.business_id, audiences.c.id == audience.id)
    tx.execute(audiences.delete().where(*mine))


def list_audiences(
    tx: Tx, business_id: str, ad_account_id: str, numbers: Iterable[int] | None = None
) -> list[Audience]:
    """Audiences of an ad account, newest first: all of them, or those named."""
    mine = select(audiences).where(
        audiences.c.business_id == business_id, audiences.c.ad_account_id == ad_account_id
    )
    if numbers is not None:
        mine = mine.where(audiences.c.number.in_(sorted(numbers)))
    return tx.list(Audience, mine.order_by(audiences.c.number.desc()))


def find_audience_by_number(tx: Tx, business_id: str, number: int) -> Audience | None:
    """An audience of whichever ad account by the API's ``custom_audience_id``."""
    mine = select(audiences).where(audiences.c.business_id == business_id)
    return tx.find(Audience, mine.where(audiences.c.number == number))


def save_members(tx: Tx, audience: Audience, prints: Iterable[Fingerprint]) -> None:
    """Add members; those that are in it already stay once."""
    mine = {"audience_id": audience.id, "business_id": audience.business_id}
    rows = [mine | {"fingerprint": each} for each in prints]
    if rows:
        tx.execute(tx.upsert(audience_members).on_conflict_do_nothing(), rows)


def delete_members(tx: Tx, audience: Audience, prints: Iterable[Fingerprint] | None = None) -> None:
    """Take members out: all of them, or those named."""
    mine = audience_members.delete().where(
        audience_members.c.business_id == audience.business_id,
        audience_members.c.audience_id == audience.id,
    )
    if prints is None:
        tx.execute(mine)
        return
    for each in prints:
        tx.execute(mine.where(audience_members.c.fingerprint == each))


def count_members(tx: Tx, business_id: str, audience_ids: Iterable[str]) -> dict[str, int]:
    """How many members audiences have, by their ids; one without members is left out."""
    grouped = (
        select(audience_members.c.audience_id, func.count())
        .where(
            audience_members.c.business_id == business_id,
            audience_members.c.audience_id.in_(sorted(audience_ids)),
        )
        .group_by(audience_members.c.audience_id)
    )
    return {audience_id: int(count) for audience_id, count in map(tuple, tx.execute(grouped))}


def save_lookalike(tx: Tx, found: Lookalike) -> None:
    """Put what a search told in place of what the one before did."""
    row = row_of(found)
    changed = {name: row[name] for name in ("found_at", "known", "lift", "low", "high")}
    tx.execute(tx.upsert(lookalikes).on_conflict_do_update(index_elements=["audience_id"], set_=changed), row)


def list_lookalikes(tx: Tx, business_id: str, audience_ids: Iterable[str]) -> dict[str, Lookalike]:
    """What the last searches told, by audience; one that was not looked for yet is left out."""
    mine = select(lookalikes).where(
        lookalikes.c.business_id == business_id, lookalikes.c.audience_id.in_(sorted(audience_ids))
    )
    return {each.audience_id: each for each in tx.list(Lookalike, mine)}


def list_due_lookalikes(tx: Tx, before: datetime, before_if_empty: datetime) -> list[Audience]:
    """Lookalikes of all businesses that were not looked for since a time, or found nobody before another."""
    due = or_(
        lookalikes.c.found_at.is_(None),
        lookalikes.c.found_at < before,
        and_(lookalikes.c.lift.is_(None), lookalikes.c.found_at < before_if_empty),
    )
    found = audiences.outerjoin(lookalikes, lookalikes.c.audience_id == audiences.c.id)
    wanted = select(audiences).select_from(found).where(audiences.c.kind == AudienceKind.LOOKALIKE, due)
    return tx.list(Audience, wanted.order_by(audiences.c.business_id, audiences.c.number))


def list_members(tx: Tx, business_id: str, audience_id: str) -> frozenset[Fingerprint]:
    """The fingerprints of an audience's members."""
    mine = select(audience_members.c.fingerprint).where(
        audience_members.c.business_id == business_id, audience_members.c.audience_id == audience_id
    )
    return frozenset(each for (each,) in map(tuple, tx.execute(mine)))


def delete_prints(tx: Tx, business_id: str, prints: Collection[Fingerprint]) -> None:
    """Take values out of all audiences of a business, and forget uploaded files that hold one."""
    mine = audience_members.delete().where(audience_members.c.business_id == business_id)
    tx.execute(mine.where(audience_members.c.fingerprint.in_(prints)))
    kept = select(audience_files.c.path, audience_files.c.prints)
    rows = tx.execute(kept.where(audience_files.c.business_id == business_id)).all()
    about = [path for path, held in map(tuple, rows) if not set(split_prints(held)).isdisjoint(prints)]
    own = audience_files.delete().where(audience_files.c.business_id == business_id)
    tx.execute(own.where(audience_files.c.path.in_(about)))
