"""Table of open invitations."""

from datetime import datetime

from sqlalchemy import Column, Index, String, Table, func, select

from contatto.accounts.model import BusinessId, Role
from contatto.kit.db.tx import Choice, Tx, instant, key, metadata, row_of, tenant
from contatto.people.model import Invitation

invitations = Table(
    "invitations",
    metadata,
    key(),
    tenant(),
    Column("email", String(320), nullable=False, server_default=""),
    Column("role", Choice(Role), nullable=False),
    Column("made_by", String(36), nullable=False, server_default=""),
    instant("created_at"),
    instant("expires_at"),
    Index("ix_invitations_business_id", "business_id"),
    Index("ix_invitations_expires_at", "expires_at"),
)


def save_invitation(tx: Tx, invitation: Invitation) -> None:
    tx.insert(invitations, row_of(invitation))


def find_any_invitation(tx: Tx, invitation_id: str) -> Invitation | None:
    """Find an unexpired invitation of any business, by the id in a signed link."""
    live = select(invitations).where(invitations.c.id == invitation_id, invitations.c.expires_at > tx.now)
    return tx.find(Invitation, live)


def list_invitations(tx: Tx, business_id: BusinessId) -> list[Invitation]:
    """List the open invitations, the latest first."""
    conditions = invitations.c.business_id == business_id, invitations.c.expires_at > tx.now
    return tx.list(
        Invitation, select(invitations).where(*conditions).order_by(invitations.c.created_at.desc())
    )


def count_invitations(tx: Tx, business_id: BusinessId) -> int:
    conditions = invitations.c.business_id == business_id, invitations.c.expires_at > tx.now
    return int(tx.scalar(select(func.count()).where(*conditions)))


def delete_invitation(tx: Tx, business_id: BusinessId, invitation_id: str) -> bool:
    """Delete an invitation; return whether it existed, true for only one of two concurrent calls."""
    conditions = invitations.c.business_id == business_id, invitations.c.id == invitation_id
    return tx.execute(invitations.delete().where(*conditions)).rowcount == 1


def delete_invitations_to(tx: Tx, business_id: BusinessId, email: str) -> None:
    """Delete the invitations to an e-mail."""
    conditions = invitations.c.business_id == business_id, invitations.c.email == email
    tx.execute(invitations.delete().where(*conditions))


def delete_expired_invitations(tx: Tx, before: datetime) -> int:
    """Delete expired invitations; return their number."""
    return tx.delete_some(invitations, invitations.c.expires_at <= before)
