"""Tables of audiences, their members, uploaded files, lookalikes and pending changes."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from contatto.audiences.model import Audience, AudienceKind, ChangeKind, Fingerprint, Lookalike, MemberChange
from contatto.kit.db.statements import insert_new
from contatto.kit.db.tx import Choice, Tx, instant, key, metadata, rows_of, tenant, text, within
from contatto.kit.fair_queue import Queue

audiences = sa.Table(
    "audiences",
    metadata,
    key(),
    tenant(),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    sa.Column("ad_account_id", sa.String(36), nullable=False),
    text("name"),
    sa.Column("kind", Choice(AudienceKind), nullable=False),
    sa.Column("calculate_type", sa.String(32), nullable=False),
    text("spec"),
    instant("created_at"),
    instant("updated_at"),
    sa.Column("members_id", sa.String(36), nullable=False),
    sa.Index("ix_audiences_of_account", "business_id", "ad_account_id"),
)

audience_members = sa.Table(
    "audience_members",
    metadata,
    sa.Column("audience_id", sa.String(36), primary_key=True),
    sa.Column("fingerprint", sa.LargeBinary(16), primary_key=True),
    tenant(),
)
"""Sets of members: ``audience_id`` holds the ``members_id`` of an audience, not its id."""

audience_files = sa.Table(
    "audience_files",
    metadata,
    sa.Column("path", sa.String(80), primary_key=True),
    tenant(),
    sa.Column("ad_account_id", sa.String(36), nullable=False),
    sa.Column("calculate_type", sa.String(32), nullable=False),
    sa.Column("prints", sa.LargeBinary, nullable=False),
    instant("created_at"),
    sa.Index("ix_audience_files_created_at", "created_at"),
)


audience_changes = sa.Table(
    "audience_changes",
    metadata,
    key(),
    tenant(),
    sa.Column("audience_id", sa.String(36), nullable=False),
    sa.Column("members_id", sa.String(36), nullable=False),
    sa.Column("kind", Choice(ChangeKind), nullable=False),
    text("paths"),
    sa.Column("file_place", sa.Integer, nullable=False),
    sa.Column("start", sa.Integer, nullable=False),
    instant("due_at"),
    sa.Index("ix_audience_changes_due", "business_id", "due_at"),
)

CHANGES: Final = Queue(audience_changes, sa.true(), audience_changes.c.due_at)

lookalikes = sa.Table(
    "audience_lookalikes",
    metadata,
    sa.Column("audience_id", sa.String(36), primary_key=True),
    tenant(),
    instant("found_at"),
    sa.Column("known", sa.Integer, nullable=False),
    sa.Column("lift", sa.Float),
    sa.Column("low", sa.Float),
    sa.Column("high", sa.Float),
)
"""Results of the last search for the members of each lookalike."""


def list_audiences(
    tx: Tx, business_id: str, ad_account_id: str, numbers: Iterable[int] | None = None
) -> list[Audience]:
    """Return the audiences of an ad account, newest first: all, or those with the numbers."""
    named = {} if numbers is None else {"number": sorted(numbers)}
    where = rows_of(audiences, business_id, ad_account_id=ad_account_id, **named)
    return tx.list(Audience, sa.select(audiences).where(*where).order_by(audiences.c.number.desc()))


def find_audience(tx: Tx, business_id: str, **key: str | int) -> Audience | None:
    """Return an audience of any ad account by its ``id``, or by its ``number`` in the API."""
    return tx.find(Audience, sa.select(audiences).where(*rows_of(audiences, business_id, **key)))


def list_changes(tx: Tx, business_id: str, audience_id: str) -> list[MemberChange]:
    """Lock and return the unfinished changes of an audience, oldest first."""
    query = sa.select(audience_changes).where(
        *rows_of(audience_changes, business_id, audience_id=audience_id)
    )
    return tx.list(MemberChange, query.order_by(audience_changes.c.id).with_for_update())


def save_members(tx: Tx, business_id: str, members_id: str, prints: Iterable[Fingerprint]) -> None:
    """Add members to a set, and skip existing ones."""
    constants = {"audience_id": members_id, "business_id": business_id}
    insert_new(tx, audience_members, [constants | {"fingerprint": fingerprint} for fingerprint in prints])


def delete_members(tx: Tx, business_id: str, members_id: str, prints: Collection[Fingerprint]) -> None:
    """Remove members from a set."""
    own = rows_of(audience_members, business_id, audience_id=members_id)
    query = audience_members.delete().where(*own, within(audience_members.c.fingerprint, "prints"))
    tx.execute(query, {"prints": list(prints)})


def count_members(tx: Tx, business_id: str, audience_ids: Iterable[str]) -> dict[str, int]:
    """Count the members of audiences by id, without empty ones."""
    grouped = (
        sa.select(audiences.c.id, sa.func.count())
        .join(
            audience_members,
            sa.and_(
                audience_members.c.audience_id == audiences.c.members_id,
                audience_members.c.business_id == audiences.c.business_id,
            ),
        )
        .where(audiences.c.business_id == business_id, audiences.c.id.in_(sorted(audience_ids)))
        .group_by(audiences.c.id)
    )
    return {audience_id: int(count) for audience_id, count in map(tuple, tx.execute(grouped))}


def list_lookalikes(tx: Tx, business_id: str, audience_ids: Iterable[str]) -> dict[str, Lookalike]:
    """Return the last search results by audience, without audiences that were never searched."""
    statement = sa.select(lookalikes).where(
        *rows_of(lookalikes, business_id, audience_id=sorted(audience_ids))
    )
    return {lookalike.audience_id: lookalike for lookalike in tx.list(Lookalike, statement)}


def list_due_lookalikes(tx: Tx, before: datetime, before_if_empty: datetime) -> list[Audience]:
    """Return lookalikes of all businesses whose last search is too old, sooner after an empty result."""
    due = sa.or_(
        lookalikes.c.found_at.is_(None),
        lookalikes.c.found_at < before,
        sa.and_(lookalikes.c.lift.is_(None), lookalikes.c.found_at < before_if_empty),
    )
    both = audiences.outerjoin(lookalikes, lookalikes.c.audience_id == audiences.c.id)
    due_audiences = (
        sa.select(audiences).select_from(both).where(audiences.c.kind == AudienceKind.LOOKALIKE, due)
    )
    return tx.list(Audience, due_audiences.order_by(audiences.c.business_id, audiences.c.number))


def list_members(tx: Tx, business_id: str, audience_id: str) -> frozenset[Fingerprint]:
    """Return the fingerprints of an audience's members."""
    members_id = sa.select(audiences.c.members_id).where(
        audiences.c.business_id == business_id, audiences.c.id == audience_id
    )
    own = rows_of(audience_members, business_id, audience_id=members_id.scalar_subquery())
    return frozenset(tx.execute(sa.select(audience_members.c.fingerprint).where(*own)).scalars())
