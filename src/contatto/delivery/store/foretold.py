"""What was foretold and came, by day, question and ad account; and what the newest model goes by."""

from collections.abc import Collection, Mapping
from typing import Final

import msgspec
from sqlalchemy import BigInteger, Column, ColumnElement, Index, LargeBinary, String, Table, select

from contatto.delivery.model.foretold import Question, Tally, ToldDay
from contatto.delivery.model.influences import Influence, Influences
from contatto.delivery.rules.foretelling import add_tallies
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, metadata, sealed
from contatto.kit.timestamps import micros

foretold: Final = Table(
    "delivery_foretold",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("ad_account_id", String(36), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("question", Choice(Question), primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Index("ix_delivery_foretold_day", "day"),
)
"""Counts alone: nobody's own. A day takes about a kB for each question, however much was told."""

influences: Final = Table(
    "delivery_influences",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("at", BigInteger, nullable=False),
    sealed("body"),
)
"""Sealed, as values of what requests said stand in it."""

type Key = tuple[str, str, Question]
"""Ad account, day, question."""


def save_told(tx: Tx, business_id: str, told: Mapping[Key, Tally]) -> None:
    """Add to what was counted. One learner counts for a business at a time (see `store/log`)."""
    if not told:
        return
    days = sorted({day for _, day, _ in told})
    mine = foretold.c.business_id == business_id, foretold.c.day.in_(days)
    had = {(each.ad_account_id, each.day, each.question): each.tally for each in _read(tx, *mine)}
    rows = [
        {
            "business_id": business_id, "ad_account_id": key[0], "day": key[1], "question": key[2],
            "body": msgspec.msgpack.encode(add_tallies([had.get(key, Tally()), tally])),
        }
        for key, tally in sorted(told.items())
    ]  # fmt: skip
    insert = tx.upsert(foretold)
    keys = ["business_id", "ad_account_id", "day", "question"]
    tx.execute(insert.on_conflict_do_update(index_elements=keys, set_={"body": insert.excluded.body}), rows)


def list_told(
    tx: Tx, business_id: str, since: str, ad_account_ids: Collection[str] | None = None
) -> list[ToldDay]:
    """What was counted from a day on; of some ad accounts alone, if they are given."""
    mine = [foretold.c.business_id == business_id, foretold.c.day >= since]
    if ad_account_ids is not None:
        mine.append(foretold.c.ad_account_id.in_(sorted(ad_account_ids)))
    return _read(tx, *mine)


def _read(tx: Tx, *which: ColumnElement[bool]) -> list[ToldDay]:
    return [
        ToldDay(row.ad_account_id, row.day, row.question, msgspec.msgpack.decode(row.body, type=Tally))
        for row in tx.execute(select(foretold).where(*which))
    ]


def delete_old_told(tx: Tx, before: str) -> int:
    """Delete some counts of days before one; say how many."""
    return tx.delete_some(foretold, foretold.c.day < before)


def save_influences(tx: Tx, business_id: str, found: list[Influence]) -> None:
    """Keep what the newest model goes by, in place of what was before."""
    body = tx.vault.seal_bytes(msgspec.msgpack.encode(found), business_id, "delivery_influences.body", "")
    values = {"at": micros(tx.now), "body": body}
    insert = tx.upsert(influences).values(business_id=business_id, **values)
    tx.execute(insert.on_conflict_do_update(index_elements=["business_id"], set_=values))


def find_influences(tx: Tx, business_id: str) -> Influences | None:
    """What the model goes by; None before it was looked at."""
    row = tx.execute(select(influences).where(influences.c.business_id == business_id)).first()
    if row is None:
        return None
    raw = tx.vault.open_bytes(row.body, business_id, "delivery_influences.body", "")
    return Influences(row.at, msgspec.msgpack.decode(raw, type=list[Influence]))
