"""Tables of erasures, trials and CRM events."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import BigInteger, Column, Index, String, Table, UniqueConstraint, delete, select, update

from contatto.crm.model import Erasure, Target, Trial
from contatto.crm.rules.mapping import EventSet, LeadEvent
from contatto.crm.store.deliveries import RECORD_LIMIT, LiveTarget
from contatto.integrations.model import ErasureState, TrialState
from contatto.integrations.store import REASON_LIMIT
from contatto.kit.db.tx import Choice, Serial, Tx, instant, key, metadata, row_of, sealed, tenant, text
from contatto.leads.model import LeadStatus

crm_erasures = Table(
    "crm_erasures",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    tenant(),
    Column("target_id", String(36), nullable=False),
    Column("lead_id", String(36), nullable=False),
    Column("record_id", String(RECORD_LIMIT), nullable=False),
    Column("state", Choice(ErasureState), nullable=False),
    Column("reason", String(64), nullable=False),
    instant("created_at"),
    instant("settled_at", nullable=True),
    UniqueConstraint("business_id", "target_id", "lead_id"),
)


def save_erasure(tx: Tx, target: Target | LiveTarget, lead_id: str, record_id: str) -> int | None:
    """Insert an erasure at a target; return None where the lead has one already."""
    row = {
        "business_id": target.business_id,
        "target_id": target.id,
        "lead_id": lead_id,
        "record_id": record_id,
        "state": ErasureState.DUE,
        "reason": "",
        "created_at": tx.now,
    }
    insert = tx.upsert(crm_erasures).values(**row).on_conflict_do_nothing()
    return tx.execute(insert.returning(crm_erasures.c.id)).scalar()


def find_erasure(tx: Tx, business_id: str, erasure_id: int) -> Erasure | None:
    query = select(crm_erasures).where(crm_erasures.c.business_id == business_id)
    return tx.find(Erasure, query.where(crm_erasures.c.id == erasure_id))


def list_erasures(
    tx: Tx,
    business_id: str,
    target_id: str,
    states: Collection[ErasureState] = tuple(ErasureState),
    lead_ids: Collection[str] | None = None,
) -> list[Erasure]:
    """Return erasures of a target, or of some leads there, oldest first."""
    query = select(crm_erasures).where(
        crm_erasures.c.business_id == business_id,
        crm_erasures.c.target_id == target_id,
        crm_erasures.c.state.in_(states),
    )
    if lead_ids is not None:
        query = query.where(crm_erasures.c.lead_id.in_(list(lead_ids)))
    return tx.list(Erasure, query.order_by(crm_erasures.c.id))


def record_erasure(
    tx: Tx, erasure: Erasure, state: ErasureState, reason: str = "", **changes: str | datetime
) -> None:
    """Settle an erasure, or make it due; ``changes`` are those of other columns."""
    statement = update(crm_erasures).where(
        crm_erasures.c.business_id == erasure.business_id, crm_erasures.c.id == erasure.id
    )
    settled_at = None if state is ErasureState.DUE else tx.now
    values = {"state": state, "reason": reason[:REASON_LIMIT], "settled_at": settled_at}
    tx.execute(statement.values(**values, **changes))


crm_event_sets = Table(
    "crm_event_sets",
    metadata,
    key(),
    tenant(),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("ad_account_id", String(36), nullable=False),
    text("name"),
    instant("created_at"),
    UniqueConstraint("business_id", "ad_account_id", "name"),
)


lead_events = Table(
    "lead_events",
    metadata,
    key(),
    tenant(),
    Column("lead_id", String(36), nullable=False),
    Column("set_number", BigInteger, nullable=False),
    sealed("name", nullable=True),
    Column("natural_key", String(64), nullable=False),
    Column("status", Choice(LeadStatus)),
    instant("occurred_at"),
    instant("received_at"),
    UniqueConstraint("business_id", "natural_key"),
    Index("ix_lead_events_of_lead", "business_id", "lead_id", "occurred_at"),
)


def save_event_set(tx: Tx, event_set: EventSet) -> bool:
    """Insert an event set; False when the ad account has one of this name."""
    return tx.insert_ignore(crm_event_sets, row_of(event_set))


def list_event_sets(tx: Tx, business_id: str, ad_account_id: str | None = None) -> list[EventSet]:
    """Return the event sets of an ad account, or of all, oldest first."""
    query = select(crm_event_sets).where(crm_event_sets.c.business_id == business_id)
    if ad_account_id is not None:
        query = query.where(crm_event_sets.c.ad_account_id == ad_account_id)
    return tx.list(EventSet, query.order_by(crm_event_sets.c.number))


def append_lead_event(tx: Tx, event: LeadEvent) -> bool:
    """Append an event; return False for a duplicate."""
    name = tx.seal(event.name, event.business_id, "lead_events.name", event.id)
    return tx.insert_ignore(lead_events, row_of(event) | {"name": name})


def delete_lead_events(tx: Tx, business_id: str, lead_ids: Collection[str]) -> None:
    """Delete the CRM events of some leads."""
    statement = lead_events.delete().where(lead_events.c.business_id == business_id)
    tx.execute(statement.where(lead_events.c.lead_id.in_(list(lead_ids))))


crm_trials = Table(
    "crm_trials",
    metadata,
    Column("target_id", String(36), primary_key=True),
    tenant(),
    Column("lead_id", String(36), nullable=False),
    Column("state", Choice(TrialState), nullable=False),
    Column("reason", String(64), nullable=False),
    sealed("found", nullable=True),
    instant("created_at"),
    instant("settled_at", nullable=True),
    Index("ix_crm_trials_of_lead", "business_id", "lead_id"),
)


def save_trial(tx: Tx, target: Target, lead_id: str) -> None:
    """Save a new trial in the place of the last one."""
    delete_trial(tx, target)
    row = {
        "target_id": target.id,
        "business_id": target.business_id,
        "lead_id": lead_id,
        "state": TrialState.PENDING,
        "reason": "",
        "created_at": tx.now,
    }
    tx.insert(crm_trials, row)


def find_trial(tx: Tx, business_id: str, target_id: str) -> Trial | None:
    query = select(crm_trials).where(crm_trials.c.business_id == business_id)
    return tx.find(Trial, query.where(crm_trials.c.target_id == target_id))


def record_trial(tx: Tx, trial: Trial, state: TrialState, reason: str = "", result: str = "") -> None:
    """Record the state of a trial, and its result as JSON."""
    statement = update(crm_trials).where(
        crm_trials.c.business_id == trial.business_id, crm_trials.c.target_id == trial.target_id
    )
    settled_at = None if state is TrialState.PENDING else tx.now
    sealed_result = tx.seal(result, trial.business_id, "crm_trials.found", trial.target_id)
    values = {"state": state, "reason": reason[:64], "found": sealed_result, "settled_at": settled_at}
    tx.execute(statement.values(**values))


def delete_trial(tx: Tx, target: Target) -> None:
    statement = delete(crm_trials).where(crm_trials.c.business_id == target.business_id)
    tx.execute(statement.where(crm_trials.c.target_id == target.id))


def delete_trials_of(tx: Tx, business_id: str, lead_ids: Collection[str]) -> None:
    """Delete the trials of some leads."""
    statement = delete(crm_trials).where(crm_trials.c.business_id == business_id)
    tx.execute(statement.where(crm_trials.c.lead_id.in_(list(lead_ids))))
