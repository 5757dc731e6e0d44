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

from contatto.delivery.model import LossComparison, Relearning, Stage
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
"""One statement writes a model with its row, so no partial model exists. Older rows lose their bytes."""

states = Table(
    "delivery_states",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
"""Current state of each ad group in the learner: value of a conversion, and learning phase."""

DAY_US: Final = 86_400_000_000
NEWEST: Final = 3
"""This many of the newest models keep their bytes, besides one of each day."""


def save_model(tx: Tx, model: ModelVersion, raw: bytes) -> bool:
    """Publish a model; return False when its version exists."""
    row = {
        "business_id": model.business_id, "version": model.version, "through": model.through,
        "made_at": model.made_at, "origin": model.origin, "size": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(), "entries": model.entries,
        "blob": tx.vault.seal_bytes(raw, model.business_id, "delivery_models.blob", str(model.version)),
    }  # fmt: skip
    return tx.insert_ignore(models, row)


def list_models(tx: Tx, business_id: str) -> list[ModelVersion]:
    """List the models of a business, newest first."""
    columns = [column for column in models.c if column.name != "blob"]
    has_blob = models.c.blob.is_not(None).label("has_blob")
    query = select(*columns, has_blob).where(models.c.business_id == business_id)
    return tx.list(ModelVersion, query.order_by(models.c.version.desc()))


_BUSINESS: Final = bindparam("business", type_=String)
_NEWEST: Final = Query(
    select(models.c.version)
    .where(models.c.business_id == _BUSINESS)
    .order_by(models.c.version.desc())
    .limit(1)
)
_STATES: Final = Query(select(states.c.body).where(states.c.business_id == _BUSINESS))


def find_newest_version(tx: Tx, business_id: str) -> int:
    """Return the version of the newest model; 0 without any."""
    rows = _NEWEST.rows(tx, {"business": business_id})
    return int(rows[0][0]) if rows else 0


def load_model(tx: Tx, business_id: str, version: int) -> bytes | None:
    """Return the bytes of a model; None when they were deleted, or cannot be decrypted, or differ.

    The caller falls back to the model before it.
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
    """Delete the bytes of models that no decision in the log needs, and rows older than the log."""
    newest_first = list_models(tx, business_id)
    oldest = micros(tx.now) - keep_days * DAY_US
    needed: set[int] = {model.version for model in newest_first[:NEWEST]}
    days: set[int] = set()
    for model in newest_first:
        if model.made_at >= oldest and model.made_at // DAY_US not in days:
            days.add(model.made_at // DAY_US)
            needed.add(model.version)
    before = [model for model in newest_first if model.made_at < oldest and model.has_blob]
    if before:  # learning from the oldest entries of the log starts from this model
        needed.add(before[0].version)
    unneeded = [model.version for model in newest_first if model.version not in needed and model.has_blob]
    where = models.c.business_id == business_id
    if unneeded:
        tx.execute(update(models).where(where, models.c.version.in_(unneeded)).values(blob=None))
    tx.execute(delete(models).where(where, models.c.blob.is_(None), models.c.made_at < oldest))


def save_states(tx: Tx, business_id: str, group_states: Collection[GroupState]) -> None:
    """Replace the states of the ad groups of a business."""
    values = {"at": micros(tx.now), "body": msgspec.msgpack.encode(list(group_states))}
    insert = tx.upsert(states).values(business_id=business_id, **values)
    tx.execute(insert.on_conflict_do_update(index_elements=["business_id"], set_=values))


def list_states(tx: Tx, business_id: str) -> list[GroupState]:
    """List the latest state of each ad group of a business."""
    rows = _STATES.rows(tx, {"business": business_id})
    return msgspec.msgpack.decode(rows[0][0], type=list[GroupState]) if rows else []


tallies: Final = Table(
    "delivery_foretold",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("ad_account_id", String(36), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("question", Choice(Question), primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Index("ix_delivery_foretold_day", "day"),
)
"""Anonymous counts of predicted and actual outcomes: about 1 kB for each question and day."""

influences: Final = Table(
    "delivery_influences",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("at", BigInteger, nullable=False),
    sealed("body"),
)
"""Encrypted, because the body contains values that requests sent."""

type TallyKey = tuple[str, str, Question]
"""Ad account, day, question."""


def save_tallies(tx: Tx, business_id: str, new: Mapping[TallyKey, PredictionTally]) -> None:
    """Add to the counts; one learner at a time counts for a business (see `store/log`)."""
    if not new:
        return
    days = sorted({day for _, day, _ in new})
    where = tallies.c.business_id == business_id, tallies.c.day.in_(days)
    stored = {(row.ad_account_id, row.day, row.question): row.tally for row in _list_tallies(tx, *where)}
    rows = [
        {
            "business_id": business_id, "ad_account_id": key[0], "day": key[1], "question": key[2],
            "body": msgspec.msgpack.encode(add_tallies([stored.get(key, PredictionTally()), tally])),
        }
        for key, tally in sorted(new.items())
    ]  # fmt: skip
    insert = tx.upsert(tallies)
    keys = ["business_id", "ad_account_id", "day", "question"]
    tx.execute(insert.on_conflict_do_update(index_elements=keys, set_={"body": insert.excluded.body}), rows)


def list_tallies(
    tx: Tx, business_id: str, since: str, ad_account_ids: Collection[str] | None = None
) -> list[PredictionDay]:
    """List the counts from a day on, of all ad accounts or of some."""
    where = [tallies.c.business_id == business_id, tallies.c.day >= since]
    if ad_account_ids is not None:
        where.append(tallies.c.ad_account_id.in_(sorted(ad_account_ids)))
    return _list_tallies(tx, *where)


def _list_tallies(tx: Tx, *where: ColumnElement[bool]) -> list[PredictionDay]:
    return [
        PredictionDay(
            row.ad_account_id, row.day, row.question, msgspec.msgpack.decode(row.body, type=PredictionTally)
        )
        for row in tx.execute(select(tallies).where(*where))
    ]


def delete_old_tallies(tx: Tx, before: str) -> int:
    """Delete some counts from before a day; return their number."""
    return tx.delete_some(tallies, tallies.c.day < before)


def save_influences(tx: Tx, business_id: str, new: list[Influence]) -> None:
    """Replace the influences on the predictions of the newest model."""
    body = tx.vault.seal_bytes(msgspec.msgpack.encode(new), business_id, "delivery_influences.body", "")
    values = {"at": micros(tx.now), "body": body}
    insert = tx.upsert(influences).values(business_id=business_id, **values)
    tx.execute(insert.on_conflict_do_update(index_elements=["business_id"], set_=values))


def find_influences(tx: Tx, business_id: str) -> Influences | None:
    """Return the influences on predictions; None before they were computed."""
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


def save_relearning(tx: Tx, relearning: Relearning) -> None:
    """Replace the state of the relearning run of a business."""
    row = row_of(relearning) | {"compared": msgspec.msgpack.encode(relearning.compared)}
    insert = tx.upsert(relearnings).values(row)
    tx.execute(insert.on_conflict_do_update(index_elements=["business_id"], set_=row))


def find_relearning(tx: Tx, business_id: str) -> Relearning | None:
    """Return the last relearning run; None before the first."""
    row = tx.execute(select(relearnings).where(relearnings.c.business_id == business_id)).mappings().first()
    if row is None:
        return None
    compared = msgspec.msgpack.decode(row["compared"], type=tuple[LossComparison, ...])
    return Relearning(**dict(row) | {"compared": compared})
