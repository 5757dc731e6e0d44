"""Deleting what the outbox has done with."""

from datetime import timedelta
from typing import Final

from sqlalchemy import func, select

from contatto.kit.db.tx import Tx
from contatto.kit.outbox import OVER, events, jobs

KEEP: Final = timedelta(days=7)
"""How long done jobs and heard events stay; a page that was away longer reloads."""


def purge_settled(tx: Tx) -> int:
    """Delete some jobs that were done and events that were heard long ago; say how many.

    The newest event stays, as SQLite would give its number again, and a number must not come twice.
    """
    done = tx.delete_some(jobs, OVER, jobs.c.due_at < tx.now - KEEP)
    heard = tx.delete_some(
        events,
        events.c.fanned_out.is_(True),
        events.c.at < tx.now - KEEP,
        events.c.seq < select(func.max(events.c.seq)).correlate(None).scalar_subquery(),
        events.c.seq.not_in(select(jobs.c.event_seq).where(~OVER)),
    )
    return done + heard
