"""Tables of spam verdicts with members' marks, of their counts, and of learned weights."""

import zlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

import numpy as np
import sqlalchemy as sa

from contatto.kit.db.statements import PreparedQuery, Query, add_counts
from contatto.kit.db.tx import Choice, Tx, Words, instant, metadata, row_of, rows_of, sealed, within
from contatto.spam.model import Mark, Rate, SpamVerdict
from contatto.spam.rules import BITS, SpamWeights

chats = sa.Table(
    "judged_chats",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("conversation_id", sa.String(36), primary_key=True),
    sa.Column("channel_account_id", sa.String(36), nullable=False),
    sa.Column("chance", sa.Float, nullable=False),
    sa.Column("signs", Words, nullable=False),
    sa.Column("mark", Choice(Mark), nullable=False),
    instant("judged_at"),
    instant("marked_at", nullable=True),
    sa.Index("ix_judged_chats_mark", "business_id", "mark", "marked_at"),
)

counts = sa.Table(
    "judged_counts",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("channel_account_id", sa.String(36), primary_key=True),
    sa.Column("spam", sa.Integer, nullable=False),
    sa.Column("chats", sa.Integer, nullable=False),
)
"""Chats marked as spam, and all judged chats, of each account; updated together with the verdicts."""

weights = sa.Table(
    "spam_weights",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    instant("learned_at"),
    sealed("body"),
)
"""Learned weights of hashed n-grams; they contain no texts."""

_IN_BUSINESS: Final = chats.c.business_id == sa.bindparam("in_business")
_JUDGED: Final = PreparedQuery(
    SpamVerdict, sa.select(chats).where(_IN_BUSINESS, within(chats.c.conversation_id, "ids"))
)
_COUNTED: Final = Query(
    sa.select(counts.c.channel_account_id, counts.c.spam, counts.c.chats).where(
        counts.c.business_id == sa.bindparam("in_business")
    )
)


def save_verdicts(
    tx: Tx, business_id: str, verdicts: Sequence[SpamVerdict], earlier: Mapping[str, SpamVerdict]
) -> None:
    """Save verdicts in place of earlier ones (by conversation id), and update the counts."""
    if verdicts:
        tx.save(chats, [row_of(verdict) for verdict in verdicts])
        replaced = {verdict.conversation_id: earlier.get(verdict.conversation_id) for verdict in verdicts}
        counted = [
            verdict
            for verdict in verdicts
            if (before := replaced[verdict.conversation_id]) is None or before.mark is not verdict.mark
        ]
        removed = [before for verdict in counted if (before := replaced[verdict.conversation_id])]
        record_counts(tx, business_id, counted, removed)


def record_counts(
    tx: Tx, business_id: str, added: Collection[SpamVerdict], removed: Collection[SpamVerdict]
) -> None:
    """Add some verdicts to the counts of their accounts, and subtract others."""
    rows = [
        {
            "business_id": business_id,
            "channel_account_id": verdict.channel_account_id,
            "spam": step * (verdict.mark is Mark.SPAM),
            "chats": step,
        }
        for step, verdicts in ((1, added), (-1, removed))
        for verdict in verdicts
    ]
    add_counts(tx, counts, ("spam", "chats"), rows)


def list_verdicts(tx: Tx, business_id: str, conversation_ids: Collection[str]) -> dict[str, SpamVerdict]:
    verdicts = _JUDGED.list(tx, {"in_business": business_id, "ids": conversation_ids})
    return {verdict.conversation_id: verdict for verdict in verdicts}


def list_rates(tx: Tx, business_id: str) -> dict[str, Rate]:
    """Return the counts of each channel account."""
    return {name: Rate(spam, total) for name, spam, total in _COUNTED.rows(tx, {"in_business": business_id})}


def list_marked(tx: Tx, business_id: str, mark: Mark, limit: int) -> list[str]:
    """Return the ids of the chats with a mark, the last marked first."""
    has_mark = rows_of(chats, business_id, mark=mark)
    latest = sa.select(chats.c.conversation_id).where(*has_mark).order_by(chats.c.marked_at.desc())
    return list(tx.execute(latest.limit(limit)).scalars())


def list_businesses_to_learn(tx: Tx) -> list[str]:
    """Return the businesses with newer marks than weights, for background work of all tenants."""
    both = chats.outerjoin(weights, weights.c.business_id == chats.c.business_id)
    fresh = sa.or_(weights.c.learned_at.is_(None), weights.c.learned_at < chats.c.marked_at)
    due = sa.select(chats.c.business_id).select_from(both).where(chats.c.mark != Mark.NONE, fresh)
    return list(tx.execute(due.distinct()).scalars())


def save_weights(tx: Tx, business_id: str, learned: SpamWeights, at: datetime) -> None:
    """Save the weights that are not 0, those of n-grams that occurred."""
    indices = np.flatnonzero(learned.weights).astype(np.uint32)
    parts = (
        np.array([learned.bias, learned.rarity.max()], np.float32), indices, learned.weights[indices],
        learned.rarity[indices],
    )  # fmt: skip
    raw = zlib.compress(b"".join(part.tobytes() for part in parts), 1)
    body = tx.vault.seal_bytes(raw, business_id, "spam_weights.body", "")
    tx.save(weights, {"business_id": business_id, "learned_at": at, "body": body})


def find_weights(tx: Tx, business_id: str) -> SpamWeights | None:
    """Return the weights of a business; None before enough chats were marked."""
    row = tx.execute(sa.select(weights.c.body).where(weights.c.business_id == business_id)).first()
    if row is None:
        return None
    raw = zlib.decompress(tx.vault.open_bytes(row[0], business_id, "spam_weights.body", ""))
    if not raw:
        return None
    bias, rarest = np.frombuffer(raw, np.float32, 2).tolist()
    count = (len(raw) - 8) // 12
    indices = np.frombuffer(raw, np.uint32, count, 8)
    learned = SpamWeights(bias, np.zeros(1 << BITS, np.float32), np.full(1 << BITS, rarest, np.float32))
    learned.weights[indices] = np.frombuffer(raw, np.float32, count, 8 + 4 * count)
    learned.rarity[indices] = np.frombuffer(raw, np.float32, count, 8 + 8 * count)
    return learned
