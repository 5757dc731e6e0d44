"""The table of trials: the latest of each target."""

from collections.abc import Collection

from sqlalchemy import Column, Index, String, Table, delete, select, update

from contatto.crm.model.targets import Target
from contatto.crm.model.trials import Trial, TrialState
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, instant, metadata, sealed, tenant

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
    """Keep that a trial was asked for, in the place of the one before."""
    delete_trial(tx, target)
    row = {
        "target_id": target.id,
        "business_id": target.business_id,
        "lead_id": lead_id,
        "state": TrialState.ASKED,
        "reason": "",
        "created_at": tx.now,
    }
    tx.insert(crm_trials, row)


def find_trial(tx: Tx, business_id: str, target_id: str) -> Trial | None:
    mine = crm_trials.c.business_id == business_id, crm_trials.c.target_id == target_id
    return tx.find(Trial, select(crm_trials).where(*mine))


def record_trial(tx: Tx, trial: Trial, state: TrialState, reason: str = "", found: str = "") -> None:
    """Note what came of a trial."""
    mine = crm_trials.c.business_id == trial.business_id, crm_trials.c.target_id == trial.target_id
    settled_at = None if state is TrialState.ASKED else tx.now
    sealed_result = tx.seal(found, trial.business_id, "crm_trials.found", trial.target_id)
    values = {"state": state, "reason": reason[:64], "found": sealed_result, "settled_at": settled_at}
    tx.execute(update(crm_trials).where(*mine).values(**values))


def delete_trial(tx: Tx, target: Target) -> None:
    mine = crm_trials.c.business_id == target.business_id, crm_trials.c.target_id == target.id
    tx.execute(delete(crm_trials).where(*mine))


def delete_trials_of(tx: Tx, business_id: str, lead_ids: Collection[str]) -> None:
    """Delete the trials of some leads."""
    mine = crm_trials.c.business_id == business_id, crm_trials.c.lead_id.in_(list(lead_ids))
    tx.execute(delete(crm_trials).where(*mine))
