"""Judged chats with the marks of members, and what was learned from the words of marked ones."""

import zlib
from collections.abc import Collection
from datetime import datetime
from typing import Final

import numpy as np
from sqlalchemy import Column, Float, Index, String, Table, func, or_, select

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, Words, instant, metadata, sealed
from contatto.kit.rows import row_of
from contatto.spam.model import Judged, Mark, Rate
from contatto.spam.rules.words import BITS, Weights

chats = Table(
    "judged_chats",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("conversation_id", String(36), primary_key=True),
    Column("channel_account_id", String(36), nullable=False),
    Column("chance", Float, nullable=False),
    Column("signs", Words, nullable=False),
    Column("mark", Choice(Mark), nullable=False),
    instant("judged_at"),
    instant("marked_at", nullable=True),
    Index("ix_judged_chats_mark", "business_id", "mark", "marked_at"),
)

weights = Table(
    "spam_weights",
    metadata,
    Column("business_id", String(36), primary_key=True),
    instant("learned_at"),
    sealed("body"),
)
"""What the words of marked chats say, by hashed pieces of words; texts are not in it."""

_KEYS: Final = ("business_id", "conversation_id")


def save_judged(tx: Tx, judged: Judged) -> None:
    """Keep what was found of a chat, in place of what was found before."""
    row = row_of(judged)
    insert = tx.upsert(chats).values(row)
    tx.execute(insert.on_conflict_do_update(index_elements=_KEYS, set_=row))


def find_judged(tx: Tx, business_id: str, conversation_id: str) -> Judged | None:
    mine = chats.c.business_id == business_id, chats.c.conversation_id == conversation_id
    return tx.find(Judged, select(chats).where(*mine))


def has_marked(tx: Tx, business_id: str, conversation_ids: Collection[str]) -> bool:
    """Whether one of some chats was marked as spam."""
    mine = chats.c.business_id == business_id, chats.c.conversation_id.in_(sorted(conversation_ids))
    return bool(tx.scalar(select(func.count()).where(*mine, chats.c.mark == Mark.SPAM)))


def has_any_marked(tx: Tx, business_id: str) -> bool:
    """Whether any chat of a business is marked as spam."""
    one = select(chats.c.mark).where(chats.c.business_id == business_id, chats.c.mark == Mark.SPAM).limit(1)
    return tx.execute(one).first() is not None


def list_rates(tx: Tx, business_id: str) -> dict[str, Rate]:
    """How many chats of each channel account were judged, and marked as spam."""
    spam = func.count().filter(chats.c.mark == Mark.SPAM)
    wanted = select(chats.c.channel_account_id, spam, func.count()).where(chats.c.business_id == business_id)
    rows = tx.execute(wanted.group_by(chats.c.channel_account_id))
    return {name: Rate(marked, total) for name, marked, total in map(tuple, rows)}


def list_marked(tx: Tx, business_id: str, mark: Mark, limit: int) -> list[str]:
    """The chats that were marked last, by their ids."""
    mine = chats.c.business_id == business_id, chats.c.mark == mark
    found = select(chats.c.conversation_id).where(*mine).order_by(chats.c.marked_at.desc()).limit(limit)
    return list(tx.execute(found).scalars())


def list_businesses_to_learn(tx: Tx) -> list[str]:
    """The businesses of which chats were marked since their words were learned; for the timer only."""
    both = chats.outerjoin(weights, weights.c.business_id == chats.c.business_id)
    fresh = or_(weights.c.learned_at.is_(None), weights.c.learned_at < chats.c.marked_at)
    due = select(chats.c.business_id).select_from(both).where(chats.c.mark != Mark.NONE, fresh)
    return list(tx.execute(due.distinct()).scalars())


def save_weights(tx: Tx, business_id: str, learned: Weights, at: datetime) -> None:
    """Keep what was learned; only pieces that were seen take room."""
    seen = np.flatnonzero(learned.weights).astype(np.uint32)
    parts = (
        np.array([learned.bias, learned.rarity.max()], np.float32), seen, learned.weights[seen],
        learned.rarity[seen],
    )  # fmt: skip
    raw = zlib.compress(b"".join(part.tobytes() for part in parts), 1)
    row = {"business_id": business_id, "learned_at": at, "body": tx.vault.seal_bytes(raw, business_id)}
    insert = tx.upsert(weights).values(row)
    tx.execute(insert.on_conflict_do_update(index_elements=["business_id"], set_=row))


def find_weights(tx: Tx, business_id: str) -> Weights | None:
    """What was learned of a business's marked chats; None before there were enough."""
    row = tx.execute(select(weights.c.body).where(weights.c.business_id == business_id)).first()
    if row is None:
        return None
    raw = zlib.decompress(tx.vault.open_bytes(row[0], business_id))
    if not raw:
        return None
    bias, rarest = np.frombuffer(raw, np.float32, 2).tolist()
    count = (len(raw) - 8) // 12
    seen = np.frombuffer(raw, np.uint32, count, 8)
    learned = Weights(bias, np.zeros(1 << BITS, np.float32), np.full(1 << BITS, rarest, np.float32))
    learned.weights[seen] = np.frombuffer(raw, np.float32, count, 8 + 4 * count)
    learned.rarity[seen] = np.frombuffer(raw, np.float32, count, 8 + 8 * count)
    return learned


def delete_judged(tx: Tx, business_id: str, conversation_ids: Collection[str]) -> None:
    """Forget chats."""
    mine = chats.delete().where(chats.c.business_id == business_id)
    tx.execute(mine.where(chats.c.conversation_id.in_(sorted(conversation_ids))))
