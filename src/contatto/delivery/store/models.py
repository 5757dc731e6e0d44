"""Published models, their curves and influences, states of ad groups, and relearning runs."""

import hashlib
from collections.abc import Collection, Mapping
from typing import Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    LargeBinary,
    String,
    Table,
    bindparam,
    delete,
    select,
    update,
)

from contatto.delivery.model import Compared, Relearning, Stage
from contatto.kit.db.prepared import Query
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import SEALED, Choice, instant, metadata, row_of, sealed
from contatto.kit.timestamps import micros
from contatto.kit.vault import Sealed
from contatto.learning.evaluation import add_tallies
from contatto.learning.model import (
    GroupState,
    Influence,
    Influences,
    ModelVersion,
    PredictionDay,
    PredictionTally,
    Question,
)

models = Table(
    "delivery_models",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("through", BigInteger, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("origin", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("entries", BigInteger, nullable=False),
    Column("blob", LargeBinary, info={SEALED: True}),
)
"""A model and its row are written by one statement: there is no half a model. Older ones lose their bytes."""

states = Table(
    "delivery_states",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
"""What the learner says of each ad group now: what a conversion is worth to it, how far it has learned."""

DAY_US: Final = 86_400_000_000
NEWEST: Final = 3
"""So many of the newest models keep their bytes, besides one of each day."""


def save_model(tx: Tx, made: ModelVersion, raw: bytes) -> bool:
    """Publish a model; False when another has its number."""
    row = {
        "business_id": made.business_id, "version": made.version, "through": made.through,
        "made_at": made.made_at, "origin": made.origin, "size": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(), "entries": made.entries,
        "blob": tx.vault.seal_bytes(raw, made.business_id, "delivery_models.blob", str(made.version)),
    }  # fmt: skip
    return tx.insert_ignore(models, row)


def list_models(tx: Tx, business_id: str) -> list[ModelVersion]:
    """The models of a business, newest first."""
    columns = [each for each in models.c if each.name != "blob"]
    kept = models.c.blob.is_not(None).label("has_blob")
    query = select(*columns, kept).where(models.c.business_id == business_id)
    return tx.list(ModelVersion, query.order_by(models.c.version.desc()))


_OF: Final = bindparam("of", type_=String)
_NEWEST: Final = Query(
    select(models.c.version).where(models.c.business_id == _OF).order_by(models.c.version.desc()).limit(1)
)
_STATES: Final = Query(select(states.c.body).where(states.c.business_id == _OF))


def find_newest_version(tx: Tx, business_id: str) -> int:
    """The number of the newest model; 0 when there is none."""
    found = _NEWEST.rows(tx, {"of": business_id})
    return int(found[0][0]) if found else 0


def load_model(tx: Tx, business_id: str, version: int) -> bytes | None:
    """The bytes of a model; None when they are not kept, or not what was published.

    A row that cannot be opened, or whose digest differs, counts as none: the one before it serves.
    """
    query = select(models.c.blob, models.c.sha256).where(
        models.c.business_id == business_id, models.c.version == version
    )
    row = tx.execute(query).first()
    if row is None or row.blob is None:
        return None
    try:
        raw = tx.vault.open_bytes(row.blob, business_id, "delivery_models.blob", str(version))
    except Sealed:
        return None
    return raw if hashlib.sha256(raw).hexdigest() == row.sha256 else None


def delete_old_models(tx: Tx, business_id: str, keep_days: int) -> None:
    """Drop the bytes of models that no decision of the log needs any more, and what is older than the log."""
    found = list_models(tx, business_id)
    oldest = micros(tx.now) - keep_days * DAY_US
    kept: set[int] = {each.version for each in found[:NEWEST]}
    days: set[int] = set()
    for each in found:
        if each.made_at >= oldest and each.made_at // DAY_US not in days:
            days.add(each.made_at // DAY_US)
            kept.add(each.version)
    before = [each for each in found if each.made_at < oldest and each.has_blob]
    if before:  # what is learned from the oldest entries that are kept begins here
        kept.add(before[0].version)
    gone = [each.version for each in found if each.version not in kept and each.has_blob]
    mine = models.c.business_id == business_id
    if gone:
        tx.execute(update(models).where(mine, models.c.version.in_(gone)).values(blob=None))
    tx.execute(delete(models).where(mine, models.c.blob.is_(None), models.c.made_at < oldest))


def save_states(tx: Tx, business_id: str, found: Collection[GroupState]) -> None:
    """Keep what the learner says of the ad groups of a business."""
    values = {"at": micros(tx.now), "body": msgspec.msgpack.encode(list(found))}
    insert = tx.upsert(states).values(business_id=business_id, **values)
    tx.execute(insert.on_conflict_do_update(index_elements=["business_id"], set_=values))


def list_states(tx: Tx, business_id: str) -> list[GroupState]:
    """What the learner said last of each ad group of a business."""
    found = _STATES.rows(tx, {"of": business_id})
    return msgspec.msgpack.decode(found[0][0], type=list[GroupState]) if found else []


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


def save_told(tx: Tx, business_id: str, told: Mapping[Key, PredictionTally]) -> None:
    """Add to what was counted. One learner counts for a business at a time (see `store/log`)."""
    if not told:
        return
    days = sorted({day for _, day, _ in told})
    mine = foretold.c.business_id == business_id, foretold.c.day.in_(days)
    had = {(each.ad_account_id, each.day, each.question): each.tally for each in _read(tx, *mine)}
    rows = [
        {
            "business_id": business_id, "ad_account_id": key[0], "day": key[1], "question": key[2],
            "body": msgspec.msgpack.encode(add_tallies([had.get(key, PredictionTally()), tally])),
        }
        for key, tally in sorted(told.items())
    ]  # fmt: skip
    insert = tx.upsert(foretold)
    keys = ["business_id", "ad_account_id", "day", "question"]
    tx.execute(insert.on_conflict_do_update(index_elements=keys, set_={"body": insert.excluded.body}), rows)


def list_told(
    tx: Tx, business_id: str, since: str, ad_account_ids: Collection[str] | None = None
) -> list[PredictionDay]:
    """What was counted from a day on; of some ad accounts alone, if they are given."""
    mine = [foretold.c.business_id == business_id, foretold.c.day >= since]
    if ad_account_ids is not None:
        mine.append(foretold.c.ad_account_id.in_(sorted(ad_account_ids)))
    return _read(tx, *mine)


def _read(tx: Tx, *which: ColumnElement[bool]) -> list[PredictionDay]:
    return [
        PredictionDay(
            row.ad_account_id, row.day, row.question, msgspec.msgpack.decode(row.body, type=PredictionTally)
        )
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


relearnings: Final = Table(
    "delivery_relearnings",
    metadata,
    Column("business_id", String(36), primary_key=True),
    instant("started_at"),
    instant("told_at"),
    Column("stage", Choice(Stage), nullable=False),
    Column("views", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("compared", LargeBinary, nullable=False),
)


def save_relearning(tx: Tx, made: Relearning) -> None:
    """Note how far it is, in place of what was noted before."""
    row = row_of(made) | {"compared": msgspec.msgpack.encode(made.compared)}
    insert = tx.upsert(relearnings).values(row)
    tx.execute(insert.on_conflict_do_update(index_elements=["business_id"], set_=row))


def find_relearning(tx: Tx, business_id: str) -> Relearning | None:
    """The last time; None before the first."""
    row = tx.execute(select(relearnings).where(relearnings.c.business_id == business_id)).mappings().first()
    if row is None:
        return None
    compared = msgspec.msgpack.decode(row["compared"], type=tuple[Compared, ...])
    return Relearning(**dict(row) | {"compared": compared})
