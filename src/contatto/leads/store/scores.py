"""Scores of leads, and what leads are scored by."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    Select,
    String,
    Table,
    and_,
    bindparam,
    literal_column,
    or_,
    select,
    update,
)

from contatto.kit.db.prepared import Query, update_rows
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Words, instant, metadata, row_of, sealed, within
from contatto.leads.model import HeldOut, LeadModel, LeadScore, LeadStatus, ScoredLead
from contatto.leads.rules.scoring import BANDS, ScoreBand
from contatto.leads.store.records import leads
from contatto.measurement.model import ConversionKind
from contatto.measurement.store import conversions
from contatto.spam.store import chats

lead_scores = Table(
    "lead_scores",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("lead_id", String(36), primary_key=True),
    Column("score", Integer, nullable=False),
    Column("reasons", Words, nullable=False),
    instant("scored_at"),
    Column("log_odds", Float),
    Column("is_counted", Boolean, nullable=False, server_default=literal_column("FALSE")),
    Index("ix_lead_scores_score", "business_id", "score"),
)

_MICROS_A_SECOND: Final = 1_000_000
_GOOD: Final = {LeadStatus.QUALIFIED: True, LeadStatus.CONVERTED: True, LeadStatus.UNQUALIFIED: False}
_KINDS: Final = frozenset("ohcfs")
"""The facets that take part; labels are of what became of a lead."""


_SORTED: Final = (
    update(leads)
    .where(leads.c.business_id == bindparam("of"), leads.c.id == bindparam("of_lead"))
    .where(leads.c.score != bindparam("now"))
    .values(score=bindparam("now"))
)
_LISTED: Final = Query(
    select(leads.c.id).where(
        leads.c.business_id == bindparam("of"), leads.c.hidden_at.is_(None), within(leads.c.id, "ids")
    )
)
_MOVED: Final = (
    update(lead_scores)
    .where(lead_scores.c.business_id == bindparam("of"), lead_scores.c.lead_id == bindparam("of_lead"))
    .values(score=bindparam("now"), scored_at=bindparam("at"), is_counted=bindparam("counted"))
)


def save_scores(tx: Tx, scores: Sequence[LeadScore]) -> None:
    """Put scores in place of those of these leads before; the leads themselves carry theirs, to sort by.

    All are of one business. A lead that was erased or hidden while it was scored gets none.
    """
    if not scores:
        return
    values = {"of": scores[0].business_id, "ids": [score.lead_id for score in scores]}
    listed = {row[0] for row in _LISTED.rows(tx, values)}
    rows = [row_of(score) for score in scores if score.lead_id in listed]
    if fresh := [row for row in rows if row["reasons"] is not None]:
        insert = tx.upsert(lead_scores)
        more = {name: insert.excluded[name] for name in fresh[0] if name not in ("business_id", "lead_id")}
        statement = insert.on_conflict_do_update(index_elements=["business_id", "lead_id"], set_=more)
        tx.execute(statement, fresh)
    moved = [
        {
            "of": row["business_id"], "of_lead": row["lead_id"], "now": row["score"], "at": row["scored_at"],
            "counted": row["is_counted"],
        }
        for row in rows
        if row["reasons"] is None
    ]  # fmt: skip
    update_rows(tx, _MOVED, moved)
    now = [{"of": row["business_id"], "of_lead": row["lead_id"], "now": row["score"]} for row in rows]
    update_rows(tx, _SORTED, now)


def find_score(tx: Tx, business_id: str, lead_id: str) -> LeadScore | None:
    conditions = lead_scores.c.business_id == business_id, lead_scores.c.lead_id == lead_id
    return tx.find(LeadScore, select(lead_scores).where(*conditions))


def list_scores(tx: Tx, business_id: str, lead_ids: Collection[str]) -> dict[str, int]:
    """The scores of leads that have one."""
    conditions = lead_scores.c.business_id == business_id, lead_scores.c.lead_id.in_(sorted(lead_ids))
    rows = tx.execute(select(lead_scores.c.lead_id, lead_scores.c.score).where(*conditions))
    return dict(map(tuple, rows))


def select_scored(business_id: str, bands: Sequence[ScoreBand]) -> Select[Any]:
    """The ids of leads whose scores lie in one of some bands."""
    spans = [lead_scores.c.score.between(*BANDS[band]) for band in bands]
    return select(lead_scores.c.lead_id).where(lead_scores.c.business_id == business_id, or_(*spans))


def list_leads_to_score(tx: Tx, business_id: str, since: datetime, limit: int) -> list[ScoredLead]:
    """The newest leads of a business, oldest first, with what they are scored by."""
    earned = and_(
        conversions.c.business_id == leads.c.business_id,
        conversions.c.subject_id == leads.c.id,
        conversions.c.ad_id.is_not(None),
        conversions.c.kind == ConversionKind.LEAD,
        conversions.c.withdrawn_at.is_(None),
    )
    scored = and_(lead_scores.c.business_id == leads.c.business_id, lead_scores.c.lead_id == leads.c.id)
    judged = and_(
        chats.c.business_id == leads.c.business_id, chats.c.conversation_id == leads.c.conversation_id
    )
    conditions = leads.c.business_id == business_id, leads.c.hidden_at.is_(None), leads.c.created_at >= since
    query = select(
        *(leads.c[name] for name in ("id", "status", "facets", "channel_account_id", "created_at")),
        *(conversions.c[name] for name in ("ad_id", "ad_group_id", "via", "touch_ts", "ts")),
        *(lead_scores.c[name] for name in ("log_odds", "score", "is_counted")),
        chats.c.chance,
    )
    joined = leads.outerjoin(conversions, earned).outerjoin(lead_scores, scored).outerjoin(chats, judged)
    newest = query.select_from(joined).where(*conditions, leads.c.is_test.is_(False))
    rows = tx.execute(newest.order_by(leads.c.created_at.desc(), leads.c.id).limit(limit)).mappings()
    return [_scored_lead(row) for row in reversed(rows.all())]


def _scored_lead(row: Any) -> ScoredLead:
    return ScoredLead(
        row["id"], _words_of(row), _measures_of(row), _GOOD.get(row["status"]), row["log_odds"], row["score"],
        bool(row["is_counted"]),
    )  # fmt: skip


def _words_of(row: Any) -> tuple[str, ...]:
    words = {word for word in row["facets"].split() if word[0] in _KINDS and word != "s:twin"}
    channel_words = {
        "p": row["channel_account_id"],
        "a": row["ad_id"],
        "g": row["ad_group_id"],
        "v": row["via"],
    }
    return tuple(sorted(words | {f"{letter}:{value}" for letter, value in channel_words.items() if value}))


def _measures_of(row: Any) -> dict[str, float]:
    """Return measures of a lead: hour and day (UTC), delay after its touch, and spam score of its chat."""
    created_at = row["created_at"]
    measures = {"w:hour": float(created_at.hour), "w:day": float(created_at.weekday())}
    if row["touch_ts"] is not None:
        measures["d:seconds"] = max(row["ts"] - row["touch_ts"], 0) / _MICROS_A_SECOND
    if row["chance"] is not None:
        measures["t:spam"] = row["chance"]
    return measures


lead_models: Final = Table(
    "lead_models",
    metadata,
    Column("business_id", String(36), primary_key=True),
    instant("learned_at"),
    Column("outcomes", Integer, nullable=False),
    Column("share", Float, nullable=False),
    Column("loss", Float, nullable=False),
    Column("correction", LargeBinary, nullable=False),
    sealed("body"),
    Column("held", LargeBinary),
)


def save_lead_model(tx: Tx, model: LeadModel) -> None:
    """Keep what was learned in place of what was before."""
    row = {
        "business_id": model.business_id,
        "learned_at": model.learned_at,
        "outcomes": model.outcomes,
        "share": model.share,
        "loss": model.loss,
        "correction": model.correction,
        "body": tx.vault.seal_bytes(model.body, model.business_id, "lead_models.body", ""),
        "held": None if model.held is None else msgspec.json.encode(model.held),
    }
    insert = tx.upsert(lead_models).values(row)
    tx.execute(insert.on_conflict_do_update(index_elements=["business_id"], set_=row))


def find_lead_model(tx: Tx, business_id: str) -> LeadModel | None:
    """Find the model of a business; None before the first attempt."""
    row = tx.execute(select(lead_models).where(lead_models.c.business_id == business_id)).mappings().first()
    if row is None:
        return None
    opened = tx.vault.open_bytes(bytes(row["body"]), business_id, "lead_models.body", "")
    held_out = None if row["held"] is None else msgspec.json.decode(row["held"], type=HeldOut)
    return LeadModel(**dict(row) | {"body": opened, "correction": bytes(row["correction"]), "held": held_out})
