"""Tables of tries to log in, and of the places from which members did; both hold fingerprints alone."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Column, Index, Integer, String, Table, select

from contatto.accounts.model import FailedTries, Member
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, metadata

known_logins = Table(
    "known_logins",
    metadata,
    Column("user_id", String(36), primary_key=True),
    Column("mark", String(32), primary_key=True),
    instant("last_at"),
    Index("ix_known_logins_last_at", "last_at"),
)
"""From where a person signed in: marks are fingerprints of browsers and of networks."""

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
"""Tries that did not end in a session, by e-mail and by where they came from."""


def list_known_marks(tx: Tx, user_id: str, marks: Collection[str]) -> set[str]:
    """Which of these marks a person signed in from before."""
    mine = select(known_logins.c.mark).where(known_logins.c.user_id == user_id)
    return set(tx.execute(mine.where(known_logins.c.mark.in_(marks))).scalars())


def save_known_marks(tx: Tx, member: Member, marks: Collection[str]) -> None:
    """Note from where a member signed in."""
    row = {"user_id": member.user_id, "last_at": tx.now}
    insert = tx.upsert(known_logins).values([row | {"mark": mark} for mark in sorted(marks)])
    again = insert.on_conflict_do_update(
        index_elements=["user_id", "mark"], set_={"last_at": insert.excluded.last_at}
    )
    tx.execute(again)


def record_login_try(tx: Tx, email_mark: str, mark: str) -> None:
    """Count a try for an e-mail from somewhere; a good one takes all of its e-mail away."""
    row = {"email_mark": email_mark, "mark": mark, "count": 1, "since": tx.now, "last_at": tx.now}
    more = {"count": failed_logins.c.count + 1, "last_at": tx.now}
    insert = tx.upsert(failed_logins).values(row)
    tx.execute(insert.on_conflict_do_update(index_elements=["email_mark", "mark"], set_=more))


def delete_login_tries(tx: Tx, email_mark: str, own: str) -> FailedTries | None:
    """Take the tries for an e-mail away; say what came from elsewhere than from one's own mark."""
    mine = failed_logins.delete().where(failed_logins.c.email_mark == email_mark)
    gone = tx.execute(mine.returning(failed_logins)).mappings().all()
    strange = [row for row in gone if row["mark"] != own]
    if not strange:
        return None
    return FailedTries(sum(row["count"] for row in strange), min(row["since"] for row in strange))


def delete_old_logins(tx: Tx, failed_before: datetime, known_before: datetime) -> int:
    """Delete failed tries, and marks of where members signed in, that are too old."""
    failed = failed_logins.delete().where(failed_logins.c.last_at < failed_before)
    known = known_logins.delete().where(known_logins.c.last_at < known_before)
    return tx.execute(failed).rowcount + tx.execute(known).rowcount
