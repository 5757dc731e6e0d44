"""Judged chats with the marks of members, and what was learned from the words of marked ones."""

import zlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
from sqlalchemy import Column, Float, Index, Integer, String, Table, bindparam, or_, select

from contatto.kit.db.hot import Query, Seek, insert_rows
from contatto.kit.db.tx import Tx, insert_for
from contatto.kit.db.types import Choice, Words, instant, metadata, row_of, sealed
from contatto.kit.db.within import within
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

counts = Table(
    "judged_counts",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("channel_account_id", String(36), primary_key=True),
    Column("spam", Integer, nullable=False),
    Column("chats", Integer, nullable=False),
)
"""How many chats of each account were judged, and are marked as spam; kept with each change of those."""

weights = Table(
    "spam_weights",
    metadata,
    Column("business_id", String(36), primary_key=True),
    instant("learned_at"),
    sealed("body"),
)
"""What the words of marked chats say, by hashed pieces of words; texts are not in it."""

_OF: Final = chats.c.business_id == bindparam("of")
_JUDGED: Final = Seek(Judged, select(chats).where(_OF, within(chats.c.conversation_id, "ids")))
_COUNTED: Final = Query(
    select(counts.c.channel_account_id, counts.c.spam, counts.c.chats).where(
        counts.c.business_id == bindparam("of")
    )
)


def _saving(dialect: str) -> Any:
    insert = insert_for(dialect, chats)
    changed = {column.name: insert.excluded[column.name] for column in chats.c if not column.primary_key}
    return insert.on_conflict_do_update(index_elements=["business_id", "conversation_id"], set_=changed)


def _counting(dialect: str) -> Any:
    insert = insert_for(dialect, counts)
    more = {name: counts.c[name] + insert.excluded[name] for name in ("spam", "chats")}
    return insert.on_conflict_do_update(index_elements=["business_id", "channel_account_id"], set_=more)


_SAVE: Final = {dialect: _saving(dialect) for dialect in ("sqlite", "postgresql")}
_COUNT: Final = {dialect: _counting(dialect) for dialect in ("sqlite", "postgresql")}


def save_judged(tx: Tx, business_id: str, found: Sequence[Judged], before: Mapping[str, Judged]) -> None:
    """Keep what was found of chats in place of what was found ``before``, by their ids, and count them."""
    if found:
        insert_rows(tx, _SAVE[tx.connection.dialect.name], [row_of(each) for each in found])
        known = [before[each.conversation_id] for each in found if each.conversation_id in before]
        _count(tx, business_id, found, known)


def _count(tx: Tx, business_id: str, come: Collection[Judged], gone: Collection[Judged]) -> None:
    """Note that chats of some marks came in place of others."""
    more: dict[str, list[int]] = {}
    for step, some in ((1, come), (-1, gone)):
        for each in some:
            of = more.setdefault(each.channel_account_id, [0, 0])
            of[0] += step * (each.mark is Mark.SPAM)
            of[1] += step
    rows = [
        {"business_id": business_id, "channel_account_id": name, "spam": spam, "chats": total}
        for name, (spam, total) in sorted(more.items())
        if spam or total
    ]
    if rows:
        insert_rows(tx, _COUNT[tx.connection.dialect.name], rows)


def find_judged(tx: Tx, business_id: str, conversation_id: str) -> Judged | None:
    return list_judged(tx, business_id, [conversation_id]).get(conversation_id)


def list_judged(tx: Tx, business_id: str, conversation_ids: Collection[str]) -> dict[str, Judged]:
    """What was found of those of some chats that were judged, by their ids."""
    found = _JUDGED.list(tx, {"of": business_id, "ids": conversation_ids})
    return {each.conversation_id: each for each in found}


def list_rates(tx: Tx, business_id: str) -> dict[str, Rate]:
    """How many chats of each channel account were judged, and marked as spam."""
    return {name: Rate(spam, total) for name, spam, total in _COUNTED.rows(tx, {"of": business_id})}


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
    body = tx.vault.seal_bytes(raw, business_id, "spam_weights.body", "")
    row = {"business_id": business_id, "learned_at": at, "body": body}
    insert = tx.upsert(weights).values(row)
    tx.execute(insert.on_conflict_do_update(index_elements=["business_id"], set_=row))


def find_weights(tx: Tx, business_id: str) -> Weights | None:
    """What was learned of a business's marked chats; None before there were enough."""
    row = tx.execute(select(weights.c.body).where(weights.c.business_id == business_id)).first()
    if row is None:
        return None
    raw = zlib.decompress(tx.vault.open_bytes(row[0], business_id, "spam_weights.body", ""))
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
    gone = list_judged(tx, business_id, conversation_ids)
    mine = chats.delete().where(chats.c.business_id == business_id)
    tx.execute(mine.where(chats.c.conversation_id.in_(sorted(gone))))
    _count(tx, business_id, [], gone.values())
