"""How long the outbox keeps people waiting, and what in it waits for a person: for who watches it."""

from datetime import datetime

from sqlalchemy import func, select

from contatto.kit.db.tx import Tx
from contatto.kit.outbox import DUE, FRESH, JobState, events, jobs


def count_dead_jobs(tx: Tx) -> int:
    """Jobs of all businesses that wait for a person."""
    return int(tx.scalar(select(func.count()).select_from(jobs).where(jobs.c.state == JobState.DEAD)))


def find_oldest_waiting(tx: Tx) -> datetime | None:
    """Since when the oldest event waits to be handed out, or the oldest job that is due."""
    fresh: datetime | None = tx.scalar(select(func.min(events.c.at)).where(FRESH))
    due: datetime | None = tx.scalar(select(func.min(jobs.c.due_at)).where(DUE, jobs.c.due_at <= tx.now))
    return min((at for at in (fresh, due) if at is not None), default=None)
