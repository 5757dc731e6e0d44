"""Tables of log-ins, recognized browsers and networks, and open invitations."""

from collections.abc import Collection

from sqlalchemy import Column, Index, Integer, String, Table, select

from contatto.accounts.model import BusinessId, Role
from contatto.kit.db.tx import Choice, Tx, instant, key, metadata, tenant
from contatto.people.rules import Invitation

known_logins = Table(
    "known_logins",
    metadata,
    Column("user_id", String(36), primary_key=True),
    Column("mark", String(32), primary_key=True),
    instant("last_at"),
    Index("ix_known_logins_last_at", "last_at"),
)
"""Fingerprints (marks) of browsers and networks from which a person signed in."""

failed_logins = Table(
    "failed_logins",
    metadata,
    Column("email_mark", String(32), primary_key=True),
    Column("mark", String(32), primary_key=True),
    Column("count", Integer, nullable=False),
    instant("since"),
    instant("last_at"),
    Index("ix_failed_logins_last_at", "last_at"),
)
"""Log-in attempts since the last success, by e-mail and origin."""


def list_known_marks(tx: Tx, user_id: str, marks: Collection[str]) -> set[str]:
    """Return the marks from which a person signed in before."""
    user_marks = select(known_logins.c.mark).where(known_logins.c.user_id == user_id)
    return set(tx.execute(user_marks.where(known_logins.c.mark.in_(marks))).scalars())


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
