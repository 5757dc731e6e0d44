"""Tables of targets and of their trials."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    Select,
    String,
    Table,
    Text,
    Update,
    bindparam,
    delete,
    or_,
    select,
    update,
)

from contatto.crm.model import (
    Comparison,
    CrmField,
    MappedField,
    MappingFault,
    Sweep,
    Target,
    TargetState,
    Trial,
)
from contatto.integrations.model import TrialState
from contatto.kit.db.prepared import PreparedQuery
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, instant, key, metadata, sealed, tenant, text

crm_targets = Table(
    "crm_targets",
    metadata,
    key(),
    Column("number", BigInteger, nullable=False, unique=True),
    tenant(),
    Column("connector", String(32), nullable=False),
    text("name"),
    Column("state", Choice(TargetState), nullable=False),
    text("address"),
    text("settings"),
    sealed("secrets"),
    Column("secrets_revision", Integer, nullable=False),
    instant("renewing_until", nullable=True),
    instant("consented_at", nullable=True),
    text("mapping"),
    text("statuses"),
    Column("described", Text, nullable=False),
    instant("described_at", nullable=True),
    text("faults"),
    text("reason"),
    instant("created_at"),
    instant("verified_at", nullable=True),
    Column("comparison", Text, nullable=False, server_default="null"),
    Column("sweep", Choice(Sweep), nullable=False),
    Column("sweep_after", String(36), nullable=False),
    Index("ix_crm_targets_business_id", "business_id", "state"),
)
_JSON: Final = {
    "settings": dict[str, str],
    "mapping": tuple[MappedField, ...],
    "statuses": dict[str, str],
    "described": tuple[CrmField, ...],
    "faults": tuple[MappingFault, ...],
    "comparison": Comparison | None,
}


@dataclass(frozen=True, slots=True)
class LiveTarget:
    """The columns of a target that scheduling needs."""

    id: str
    business_id: str
    number: int
    state: TargetState
    address: str


_LIVE: Final = PreparedQuery(
    LiveTarget,
    select(crm_targets).where(
        crm_targets.c.business_id == bindparam("of"), crm_targets.c.state != TargetState.REMOVED
    ),
)


def list_live_targets(tx: Tx, business_id: str) -> list[LiveTarget]:
    """Return the targets at which changes of a business's leads are due, in any state."""
    return _LIVE.list(tx, {"of": business_id})


def save_target(tx: Tx, target: Target) -> None:
    row = {name: getattr(target, name) for name in Target.__dataclass_fields__}
    tx.insert(crm_targets, row | _texts(row) | {"secrets": _sealed(tx, target, target.secrets)})


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: msgspec.json.encode(values[name]).decode() for name in _JSON if name in values}


def _sealed(tx: Tx, target: Target, secrets: Mapping[str, str]) -> bytes:
    raw = msgspec.json.encode(dict(secrets))
    return tx.vault.seal_bytes(raw, target.business_id, "crm_targets.secrets", target.id)


_ONE: Final = select(crm_targets).where(
    crm_targets.c.business_id == bindparam("of"), crm_targets.c.id == bindparam("one")
)


def find_target(tx: Tx, business_id: str, target_id: str) -> Target | None:
    """Return a target with its secrets opened, removed ones too."""
    row = tx.execute(_ONE, {"of": business_id, "one": target_id}).mappings().first()
    return None if row is None else _opened(tx, row)


_NOT_REMOVED: Final = select(crm_targets).where(crm_targets.c.state != TargetState.REMOVED)


def find_target_by_number(tx: Tx, business_id: str, number: int) -> Target | None:
    """Return a target by the number in addresses of pages."""
    query = _NOT_REMOVED.where(crm_targets.c.business_id == business_id, crm_targets.c.number == number)
    return next(iter(_listed(tx, query)), None)


def find_target_of_number(tx: Tx, number: int) -> Target | None:
    """Return a target of any business, for requests that are signed with its secret."""
    return next(iter(_listed(tx, _NOT_REMOVED.where(crm_targets.c.number == number))), None)


def list_targets(tx: Tx, business_id: str) -> list[Target]:
    """Return the targets of a business, oldest first."""
    query = _NOT_REMOVED.where(crm_targets.c.business_id == business_id)
    return _listed(tx, query.order_by(crm_targets.c.number))


def list_all_targets(tx: Tx) -> list[Target]:
    """Return the targets of all businesses, for the timer."""
    return _listed(tx, _NOT_REMOVED)


def _listed(tx: Tx, statement: Select[Any]) -> list[Target]:
    return [_opened(tx, row) for row in tx.execute(statement).mappings()]


def _opened(tx: Tx, row: Mapping[Any, Any]) -> Target:
    values = {name: row[name] for name in Target.__dataclass_fields__}
    values |= {name: msgspec.json.decode(row[name], type=kind) for name, kind in _JSON.items()}
    opened = tx.vault.open_bytes(row["secrets"], row["business_id"], "crm_targets.secrets", row["id"])
    return Target(**values | {"secrets": msgspec.json.decode(opened, type=dict[str, str])})


def record_target(tx: Tx, target: Target, **values: Any) -> None:
    """Update columns of a target except its secrets."""
    tx.execute(_change(target).values(**values | _texts(values)))


def record_secrets(tx: Tx, target: Target, secrets: Mapping[str, str], address: str = "") -> None:
    """Replace the secrets of a target, and release the lock of their renewal."""
    values: dict[str, Any] = {
        "secrets": _sealed(tx, target, secrets),
        "secrets_revision": crm_targets.c.secrets_revision + 1,
        "renewing_until": None,
    }
    tx.execute(_change(target).values(**values | ({"address": address} if address else {})))


def mark_renewing(tx: Tx, target: Target, until: datetime) -> bool:
    """Lock the renewal of these secrets; return False where another request renews them, or did."""
    free = or_(crm_targets.c.renewing_until.is_(None), crm_targets.c.renewing_until < tx.now)
    same = crm_targets.c.secrets_revision == target.secrets_revision
    return tx.execute(_change(target).where(free, same).values(renewing_until=until)).rowcount == 1


def mark_consented(tx: Tx, target: Target, asked_at: datetime) -> bool:
    """Use a consent up; return False where it, or one requested later, was used before."""
    fresh = or_(crm_targets.c.consented_at.is_(None), crm_targets.c.consented_at < asked_at)
    return tx.execute(_change(target).where(fresh).values(consented_at=asked_at)).rowcount == 1


def record_verified_at(tx: Tx, target: Target) -> None:
    tx.execute(_change(target).values(verified_at=tx.now))


_SWEEPING: Final = (crm_targets.c.sweep != Sweep.NONE, crm_targets.c.state != TargetState.REMOVED)


def has_sweep(tx: Tx) -> bool:
    """Return whether any target has a sweep."""
    return tx.scalar(select(crm_targets.c.id).where(*_SWEEPING).limit(1)) is not None


def find_swept_target(tx: Tx) -> Target | None:
    """Return a target with a sweep, of any business."""
    query = select(crm_targets).where(*_SWEEPING).order_by(crm_targets.c.sweep_after).limit(1)
    locked = query.with_for_update(skip_locked=True) if tx.locks_rows else query
    return next(iter(_listed(tx, locked)), None)


def _change(target: Target) -> Update:
    return update(crm_targets).where(
        crm_targets.c.business_id == target.business_id, crm_targets.c.id == target.id
    )


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
