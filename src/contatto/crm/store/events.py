"""Tables of erasures, trials and CRM events."""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from contatto.crm.model import Erasure, EventSet, Trial
from contatto.crm.store.deliveries import RECORD_LIMIT
from contatto.integrations.model import ErasureState, TrialState
from contatto.integrations.store import REASON_LIMIT
from contatto.kit.db.tx import Choice, Serial, Tx, instant, key, metadata, rows_of, sealed, tenant, text
from contatto.leads.model import LeadStatus

crm_erasures = sa.Table(
    "crm_erasures",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    tenant(),
    sa.Column("target_id", sa.String(36), nullable=False),
    sa.Column("lead_id", sa.String(36), nullable=False),
    sa.Column("record_id", sa.String(RECORD_LIMIT), nullable=False),
    sa.Column("state", Choice(ErasureState), nullable=False),
    sa.Column("reason", sa.String(64), nullable=False),
    instant("created_at"),
    instant("settled_at", nullable=True),
    sa.UniqueConstraint("business_id", "target_id", "lead_id"),
)


def find_erasure(tx: Tx, business_id: str, erasure_id: int) -> Erasure | None:
    return tx.find(Erasure, sa.select(crm_erasures).where(*rows_of(crm_erasures, business_id, id=erasure_id)))


def list_erasures(
    tx: Tx,
    business_id: str,
    target_id: str,
    states: Collection[ErasureState] = tuple(ErasureState),
    lead_ids: Collection[str] | None = None,
) -> list[Erasure]:
    """Return erasures of a target, or of some leads there, oldest first."""
    of_leads = {} if lead_ids is None else {"lead_id": list(lead_ids)}
    chosen = rows_of(crm_erasures, business_id, target_id=target_id, state=list(states), **of_leads)
    return tx.list(Erasure, sa.select(crm_erasures).where(*chosen).order_by(crm_erasures.c.id))


def record_erasure(
    tx: Tx, erasure: Erasure, state: ErasureState, reason: str = "", **changes: str | datetime
) -> None:
    """Settle an erasure, or make it due; ``changes`` are those of other columns."""
    settled_at = None if state is ErasureState.DUE else tx.now
    values = {"state": state, "reason": reason[:REASON_LIMIT], "settled_at": settled_at}
    tx.change(crm_erasures, erasure.business_id, erasure.id, **values, **changes)


crm_event_sets = sa.Table(
    "crm_event_sets",
    metadata,
    key(),
    tenant(),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    sa.Column("ad_account_id", sa.String(36), nullable=False),
    text("name"),
    instant("created_at"),
    sa.UniqueConstraint("business_id", "ad_account_id", "name"),
)


lead_events = sa.Table(
    "lead_events",
    metadata,
    key(),
    tenant(),
    sa.Column("lead_id", sa.String(36), nullable=False),
    sa.Column("set_number", sa.BigInteger, nullable=False),
    sealed("name", nullable=True),
    sa.Column("natural_key", sa.String(64), nullable=False),
    sa.Column("status", Choice(LeadStatus)),
    instant("occurred_at"),
    instant("received_at"),
    sa.UniqueConstraint("business_id", "natural_key"),
    sa.Index("ix_lead_events_of_lead", "business_id", "lead_id", "occurred_at"),
)


def list_event_sets(tx: Tx, business_id: str, ad_account_id: str | None = None) -> list[EventSet]:
    """Return the event sets of an ad account, or of all, oldest first."""
    of_account = {} if ad_account_id is None else {"ad_account_id": ad_account_id}
    query = sa.select(crm_event_sets).where(*rows_of(crm_event_sets, business_id, **of_account))
    return tx.list(EventSet, query.order_by(crm_event_sets.c.number))


crm_trials = sa.Table(
    "crm_trials",
    metadata,
    sa.Column("target_id", sa.String(36), primary_key=True),
    tenant(),
    sa.Column("lead_id", sa.String(36), nullable=False),
    sa.Column("state", Choice(TrialState), nullable=False),
    sa.Column("reason", sa.String(64), nullable=False),
    sealed("found", nullable=True),
    instant("created_at"),
    instant("settled_at", nullable=True),
    sa.Index("ix_crm_trials_of_lead", "business_id", "lead_id"),
)


def find_trial(tx: Tx, business_id: str, target_id: str) -> Trial | None:
    return tx.find(Trial, sa.select(crm_trials).where(*rows_of(crm_trials, business_id, target_id=target_id)))


def record_trial(tx: Tx, trial: Trial, state: TrialState, reason: str = "", result: str = "") -> None:
    settled_at = None if state is TrialState.PENDING else tx.now
    sealed_result = tx.seal(result, trial.business_id, "crm_trials.found", trial.target_id)
    values = {"state": state, "reason": reason[:64], "found": sealed_result, "settled_at": settled_at}
    is_trial = rows_of(crm_trials, trial.business_id, target_id=trial.target_id)
    tx.execute(sa.update(crm_trials).where(*is_trial).values(**values))
