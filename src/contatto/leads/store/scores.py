"""Scores of leads, and what leads are scored by."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Column,
    Index,
    Integer,
    Select,
    String,
    Table,
    and_,
    bindparam,
    or_,
    select,
    update,
)

from contatto.kit.db.hot import update_rows
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Words, instant, metadata
from contatto.kit.rows import row_of
from contatto.leads.model.leads import LeadStatus
from contatto.leads.model.scores import LeadScore, ScoredLead
from contatto.leads.rules.scoring import BANDS, ScoreBand
from contatto.leads.store.records import leads
from contatto.measurement.model import ConversionKind
from contatto.measurement.store import conversions

lead_scores = Table(
    "lead_scores",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("lead_id", String(36), primary_key=True),
    Column("score", Integer, nullable=False),
    Column("reasons", Words, nullable=False),
    instant("scored_at"),
    Index("ix_lead_scores_score", "business_id", "score"),
)

_GOOD: Final = {LeadStatus.QUALIFIED: True, LeadStatus.CONVERTED: True, LeadStatus.UNQUALIFIED: False}
_KINDS: Final = frozenset("ohcfs")
"""The facets that take part; labels are of what became of a lead."""


_SORTED: Final = (
    update(leads)
    .where(leads.c.business_id == bindparam("of"), leads.c.id == bindparam("of_lead"))
    .where(leads.c.score != bindparam("now"))
    .values(score=bindparam("now"))
)


def save_scores(tx: Tx, scores: Sequence[LeadScore]) -> None:
    """Put scores in place of those of these leads before; the leads themselves carry theirs, to sort by."""
    if not scores:
        return
    insert = tx.upsert(lead_scores)
    more = {name: insert.excluded[name] for name in ("score", "reasons", "scored_at")}
    statement = insert.on_conflict_do_update(index_elements=["business_id", "lead_id"], set_=more)
    tx.execute(statement, [row_of(each) for each in scores])
    now = [{"of": each.business_id, "of_lead": each.lead_id, "now": each.score} for each in scores]
    update_rows(tx, _SORTED, now)


def find_score(tx: Tx, business_id: str, lead_id: str) -> LeadScore | None:
    mine = lead_scores.c.business_id == business_id, lead_scores.c.lead_id == lead_id
    return tx.find(LeadScore, select(lead_scores).where(*mine))


def list_scores(tx: Tx, business_id: str, lead_ids: Collection[str]) -> dict[str, int]:
    """The scores of leads that have one."""
    mine = lead_scores.c.business_id == business_id, lead_scores.c.lead_id.in_(sorted(lead_ids))
    rows = tx.execute(select(lead_scores.c.lead_id, lead_scores.c.score).where(*mine))
    return dict(map(tuple, rows))


def select_scored(business_id: str, bands: Sequence[ScoreBand]) -> Select[Any]:
    """The ids of leads whose scores lie in one of some bands."""
    within = [lead_scores.c.score.between(*BANDS[each]) for each in bands]
    return select(lead_scores.c.lead_id).where(lead_scores.c.business_id == business_id, or_(*within))


def list_leads_to_score(tx: Tx, business_id: str, since: datetime, limit: int) -> list[ScoredLead]:
    """The newest leads of a business, with the words that they are scored by."""
    earned = and_(
        conversions.c.business_id == leads.c.business_id,
        conversions.c.subject_id == leads.c.id,
        conversions.c.kind == ConversionKind.LEAD,
    )
    names = ("id", "status", "facets", "channel_account_id")
    wanted = select(*(leads.c[name] for name in names), conversions.c.ad_id, conversions.c.ad_group_id)
    mine = leads.c.business_id == business_id, leads.c.hidden_at.is_(None), leads.c.created_at >= since
    found = wanted.outerjoin_from(leads, conversions, earned).where(*mine)
    rows = tx.execute(found.order_by(leads.c.created_at.desc()).limit(limit)).mappings()
    return [ScoredLead(row["id"], _words_of(row), _GOOD.get(row["status"])) for row in rows]


def _words_of(row: Any) -> tuple[str, ...]:
    words = {word for word in row["facets"].split() if word[0] in _KINDS and word != "s:twin"}
    others = {"p": row["channel_account_id"], "a": row["ad_id"], "g": row["ad_group_id"]}
    return tuple(sorted(words | {f"{letter}:{value}" for letter, value in others.items() if value}))
