"""Tables of log-ins, recognized browsers and networks, and open invitations."""

from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from contatto.accounts.model import BusinessId, Role
from contatto.kit.db.tx import Choice, Tx, instant, key, metadata, purging, tenant
from contatto.people.rules import Invitation

known_logins = sa.Table(
    "known_logins",
    metadata,
    sa.Column("user_id", sa.String(36), primary_key=True),
    sa.Column("mark", sa.String(32), primary_key=True),
    instant("last_at"),
    sa.Index("ix_known_logins_last_at", "last_at"),
)
"""Fingerprints (marks) of browsers and networks from which a person signed in."""

failed_logins = sa.Table(
    "failed_logins",
    metadata,
    sa.Column("email_mark", sa.String(32), primary_key=True),
    sa.Column("mark", sa.String(32), primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
    instant("since"),
    instant("last_at"),
    sa.Index("ix_failed_logins_last_at", "last_at"),
)
"""Log-in attempts since the last success, by e-mail and origin."""


invitations = sa.Table(
    "invitations",
    metadata,
    key(),
    tenant(),
    sa.Column("email", sa.String(320), nullable=False, server_default=""),
    sa.Column("role", Choice(Role), nullable=False),
    sa.Column("made_by", sa.String(36), nullable=False, server_default=""),
    instant("created_at"),
    instant("expires_at"),
    sa.Index("ix_invitations_business_id", "business_id"),
    sa.Index("ix_invitations_expires_at", "expires_at"),
)


FAILED_TRIES_DAYS: Final = 90
"""Days for which failed attempts are saved, to report them to the member."""
KNOWN_DAYS: Final = 365
"""Days for which a browser or network is recognized after a log-in."""

purge_failed_logins: Final = purging(failed_logins.c.last_at, timedelta(days=FAILED_TRIES_DAYS))
purge_known_logins: Final = purging(known_logins.c.last_at, timedelta(days=KNOWN_DAYS))
purge_invitations: Final = purging(invitations.c.expires_at)


def list_invitations(tx: Tx, business_id: BusinessId) -> list[Invitation]:
    """List the open invitations, the latest first."""
    conditions = invitations.c.business_id == business_id, invitations.c.expires_at > tx.now
    return tx.list(
        Invitation, sa.select(invitations).where(*conditions).order_by(invitations.c.created_at.desc())
    )
