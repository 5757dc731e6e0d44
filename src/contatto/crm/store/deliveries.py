"""Tables of deliveries, records, erasures, echoes and CRM events."""

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    Integer,
    LargeBinary,
    Select,
    String,
    Table,
    UniqueConstraint,
    Update,
    bindparam,
    case,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    union_all,
    update,
)

from contatto.crm import model as crm
from contatto.crm.model import Erasure, RecordLink, Target
from contatto.crm.rules.mapping import EventSet, LeadEvent
from contatto.crm.store.targets import LiveTarget, crm_targets
from contatto.integrations.model import DeliveryState, ErasureState
from contatto.integrations.store import REASON_LIMIT, DeliveryLedger, ledger_columns, waiting_index
from contatto.kit.db.tx import Tx, insert_for
from contatto.kit.db.types import (
    ROW,
    Choice,
    Instant,
    Serial,
    instant,
    key,
    metadata,
    row_of,
    sealed,
    tenant,
    text,
)
from contatto.kit.vault import Vault, row_key
from contatto.leads.model import LeadStatus
from contatto.leads.store.records import leads

RECORD_LIMIT: Final = 255
"""Most characters of a CRM's id."""
_MERGED: Final[ColumnElement[bool]] = literal_column("(merged_into IS NOT NULL)")

crm_deliveries = Table(
    "crm_deliveries",
    metadata,
    *ledger_columns(),
    Column("target_id", String(36), nullable=False),
    Column("lead_id", String(36), nullable=False),
    Column("revision", Integer, nullable=False),
    sealed("edited", nullable=True),
    instant("sent_at", nullable=True),
    UniqueConstraint("business_id", "target_id", "lead_id", "revision"),
    Index("ix_crm_deliveries_of_target", "business_id", "target_id", "state", "id"),
    waiting_index("ix_crm_deliveries_held", "target_id"),
    Index("ix_crm_deliveries_settled", "settled_at"),
    info={ROW: ("target_id", "lead_id", "revision")},
)
ledger: Final = DeliveryLedger(
    crm_deliveries,
    crm.Delivery,
    crm_deliveries.c.target_id,
    crm_targets.c.id,
    crm_targets.c.state == crm.TargetState.ACTIVE,
)

crm_records = Table(
    "crm_records",
    metadata,
    Column("target_id", String(36), primary_key=True),
    Column("lead_id", String(36), primary_key=True),
    tenant(),
    Column("record_id", String(RECORD_LIMIT), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("state", Choice(DeliveryState), nullable=False),
    Column("verified_revision", Integer, nullable=False),
    instant("verified_at", nullable=True),
    Column("merged_into", String(36)),
    text("status"),
    sealed("owner", nullable=True),
    text("value"),
    sealed("told_by", nullable=True),
    instant("told_at", nullable=True),
    instant("seen_at", nullable=True),
    instant("gone_at", nullable=True),
    Index("ix_crm_records_of_state", "business_id", "target_id", "state"),
    Index("ix_crm_records_of_lead", "business_id", "lead_id"),
    Index("ix_crm_records_of_record", "business_id", "target_id", "record_id"),
    Index(
        "ix_crm_records_merged",
        "business_id",
        "target_id",
        "merged_into",
        sqlite_where=_MERGED,
        postgresql_where=_MERGED,
    ),
)


def _at(table: Table, business_id: str, target_id: str) -> tuple[ColumnElement[bool], ...]:
    return table.c.business_id == business_id, table.c.target_id == target_id


@cache
def _count_changes(dialect: str) -> Any:
    """Build the statement once per dialect, as each change of a lead runs it."""
    insert = insert_for(dialect, crm_records)
    counted = insert.on_conflict_do_update(
        index_elements=["target_id", "lead_id"],
        set_={"revision": crm_records.c.revision + 1, "state": DeliveryState.DUE},
    )
    return counted.returning(crm_records.c.lead_id, crm_records.c.revision)


def record_changes(tx: Tx, target: Target | LiveTarget, lead_ids: Collection[str]) -> dict[str, int]:
    """Count a change of each lead at a target; return the new revisions, which are due."""
    same = {
        "target_id": target.id,
        "business_id": target.business_id,
        "record_id": "",
        "revision": 1,
        "state": DeliveryState.DUE,
        "verified_revision": 0,
        "status": "",
        "value": "",
    }
    rows = [same | {"lead_id": lead_id} for lead_id in lead_ids]
    counted = tx.execute(_count_changes(tx.connection.dialect.name), rows if len(rows) > 1 else rows[0])
    return {row["lead_id"]: row["revision"] for row in counted.mappings()}


def append_deliveries(
    tx: Tx, target: Target | LiveTarget, revisions: Mapping[str, int], *, is_queued: bool, edited: str = ""
) -> dict[str, int]:
    """Insert due deliveries; return their ids by lead."""
    same = {
        "business_id": target.business_id,
        "target_id": target.id,
        "state": DeliveryState.DUE,
        "is_queued": is_queued,
        "reason": "",
        "created_at": tx.now,
    }
    rows = [
        same
        | {"lead_id": lead_id, "revision": revision}
        | {"edited": seal_edited(tx.vault, target.business_id, (target.id, lead_id, revision), edited)}
        for lead_id, revision in revisions.items()
    ]
    inserted = tx.execute(_APPEND, rows if len(rows) > 1 else rows[0])
    return {row["lead_id"]: row["id"] for row in inserted.mappings()}


def seal_edited(vault: Vault, business_id: str, row: tuple[str, str, int], edited: str) -> bytes | None:
    """Seal the values that a member edited in a delivery; ``row`` is its target, lead and revision."""
    return vault.seal(edited, business_id, "crm_deliveries.edited", row_key(*row)) if edited else None


_APPEND: Final = crm_deliveries.insert().returning(crm_deliveries.c.lead_id, crm_deliveries.c.id)


_LATER: Final = crm_deliveries.alias("later")
_OPEN: Final = select(crm_deliveries).where(
    crm_deliveries.c.business_id == bindparam("of"),
    crm_deliveries.c.id == bindparam("number"),
    crm_deliveries.c.settled_at.is_(None),
    ~exists().where(
        _LATER.c.business_id == crm_deliveries.c.business_id,
        _LATER.c.target_id == crm_deliveries.c.target_id,
        _LATER.c.lead_id == crm_deliveries.c.lead_id,
        _LATER.c.revision > crm_deliveries.c.revision,
        _LATER.c.settled_at.is_(None),
    ),
)


def find_open_delivery(tx: Tx, business_id: str, delivery_id: int) -> crm.Delivery | None:
    """Return a delivery that did not arrive; None where a later one of its lead will settle it."""
    return tx.find(crm.Delivery, _OPEN, {"of": business_id, "number": delivery_id})


def _update_record(record: RecordLink) -> Update:
    return update(crm_records).where(
        crm_records.c.business_id == record.business_id,
        crm_records.c.target_id == record.target_id,
        crm_records.c.lead_id == record.lead_id,
    )


def find_record(tx: Tx, business_id: str, target_id: str, lead_id: str) -> RecordLink | None:
    query = select(crm_records).where(
        *_at(crm_records, business_id, target_id), crm_records.c.lead_id == lead_id
    )
    return tx.find(RecordLink, query)


def find_record_by_id(tx: Tx, business_id: str, target_id: str, record_id: str) -> RecordLink | None:
    """Return the lead of a CRM's record; of several leads the one that was not merged into another."""
    if not record_id:
        return None  # an empty id would match any record
    query = select(crm_records).where(
        *_at(crm_records, business_id, target_id), crm_records.c.record_id == record_id[:RECORD_LIMIT]
    )
    return tx.find(RecordLink, query.order_by(crm_records.c.merged_into.is_not(None)))


def list_records_of_lead(tx: Tx, business_id: str, lead_id: str) -> list[RecordLink]:
    query = select(crm_records).where(crm_records.c.business_id == business_id)
    return tx.list(RecordLink, query.where(crm_records.c.lead_id == lead_id))


_OF_TARGET: Final = select(crm_records).where(
    crm_records.c.business_id == bindparam("of"), crm_records.c.target_id == bindparam("target")
)
_RECORDS_OF: Final = union_all(
    _OF_TARGET.where(crm_records.c.lead_id == bindparam("lead")),
    _OF_TARGET.where(crm_records.c.merged_into == bindparam("lead")),
)


def find_records(tx: Tx, business_id: str, target_id: str, lead_id: str) -> crm.LeadRecords:
    """Return a lead's record, and those of the leads that were merged into it."""
    parameters = {"of": business_id, "target": target_id, "lead": lead_id}
    records = tx.list(RecordLink, _RECORDS_OF, parameters)
    own = next((record for record in records if record.lead_id == lead_id), None)
    merged = [record for record in records if record.lead_id != lead_id]
    newest = merged
    while newest:  # leads may have been merged into these before
        query = select(crm_records).where(
            *_at(crm_records, business_id, target_id),
            crm_records.c.merged_into.in_(sorted({record.lead_id for record in newest})),
        )
        newest = tx.list(RecordLink, query)
        merged += newest
    return crm.LeadRecords(own, merged)


def record_merged(tx: Tx, business_id: str, lead_id: str, into_id: str | None) -> None:
    """Record in all targets that a lead was merged into another; None undoes it.

    After the undoing its record is searched again, as the CRM may have merged it.
    """
    statement = update(crm_records).where(
        crm_records.c.business_id == business_id, crm_records.c.lead_id == lead_id
    )
    values = {"merged_into": into_id} | ({"record_id": ""} if into_id is None else {})
    tx.execute(statement.values(**values))


def record_told(tx: Tx, record: RecordLink, **values: Any) -> None:
    """Record what the CRM reported about a record."""
    for name in ("owner", "told_by"):
        if name in values:
            row = row_key(record.target_id, record.lead_id)
            values[name] = tx.seal(values[name], record.business_id, f"crm_records.{name}", row)
    tx.execute(_update_record(record).values(**values, told_at=tx.now))


def list_unknown_leads(tx: Tx, target: Target, lead_ids: Collection[str]) -> list[str]:
    """Return the leads that were never due at a target, in their order."""
    query = select(crm_records.c.lead_id).where(
        *_at(crm_records, target.business_id, target.id), crm_records.c.lead_id.in_(list(lead_ids))
    )
    due_ids = set(tx.execute(query).scalars())
    return [lead_id for lead_id in lead_ids if lead_id not in due_ids]


def delete_lead_rows(tx: Tx, business_id: str, lead_ids: Collection[str]) -> list[int]:
    """Delete the deliveries and records of leads; return the ids of the deliveries."""
    statement = crm_deliveries.delete().where(
        crm_deliveries.c.business_id == business_id, crm_deliveries.c.lead_id.in_(list(lead_ids))
    )
    delivery_ids = list(tx.execute(statement.returning(crm_deliveries.c.id)).scalars())
    tx.execute(
        crm_records.delete().where(
            crm_records.c.business_id == business_id, crm_records.c.lead_id.in_(list(lead_ids))
        )
    )
    return delivery_ids


def delete_old_deliveries(tx: Tx, before: datetime) -> int:
    """Delete some deliveries that arrived long ago; return their number. Dead letters stay."""
    arrived = crm_deliveries.c.settled_at < before, crm_deliveries.c.state != DeliveryState.DEAD
    return tx.delete_some(crm_deliveries, *arrived)


def record_sent(tx: Tx, delivery: crm.Delivery, record_id: str) -> None:
    """Record that the CRM accepted a delivery, before it is read back."""
    values = {"of": delivery.business_id, "number": delivery.id, "now": tx.now}
    tx.execute(_SENT, values)
    _set_record(tx, delivery, {"record_id": record_id[:RECORD_LIMIT]}, DeliveryState.SENT)


def record_arrived(
    tx: Tx, delivery: crm.Delivery, record_id: str, *, is_verified: bool, reason: str = ""
) -> tuple[list[int], str | None]:
    """Record that a delivery arrived, which settles the earlier ones of its lead.

    Returns:
        The ids of all settled deliveries, and the lead that theirs was merged into meanwhile.
    """
    state = DeliveryState.VERIFIED if is_verified else DeliveryState.SENT
    changes = {"now": tx.now, "state_now": state, "why": reason}
    ids = list(tx.execute(_ARRIVED, _lead_up_to(delivery) | changes).scalars())
    values: dict[str, Any] = {"record_id": record_id[:RECORD_LIMIT]}
    if is_verified:
        values |= {"verified_revision": delivery.revision, "verified_at": tx.now}
    return ids, _set_record(tx, delivery, values, state)


_SETTLED_AT: Final = bindparam("now", type_=Instant)
_STATE_NOW: Final = bindparam("state_now", type_=Choice(DeliveryState))
_SENT: Final = (
    update(crm_deliveries)
    .where(crm_deliveries.c.business_id == bindparam("of"), crm_deliveries.c.id == bindparam("number"))
    .values(state=literal(DeliveryState.SENT, Choice(DeliveryState)), sent_at=_SETTLED_AT, reason="")
)
_UP_TO: Final = (
    crm_deliveries.c.business_id == bindparam("of"),
    crm_deliveries.c.target_id == bindparam("target"),
    crm_deliveries.c.lead_id == bindparam("lead"),
    crm_deliveries.c.revision <= bindparam("up_to"),
    or_(crm_deliveries.c.settled_at.is_(None), crm_deliveries.c.state == DeliveryState.DEAD),
)
"""A delivery and the earlier ones of its lead that did not arrive."""
_ARRIVED: Final = (
    update(crm_deliveries)
    .where(*_UP_TO)
    .values(
        state=_STATE_NOW,
        settled_at=_SETTLED_AT,
        sent_at=func.coalesce(crm_deliveries.c.sent_at, _SETTLED_AT),
        reason=bindparam("why", type_=String),
        edited=None,
    )
    .returning(crm_deliveries.c.id)
)
_GIVEN_UP: Final = (
    update(crm_deliveries)
    .where(*_UP_TO)
    .values(state=_STATE_NOW, settled_at=_SETTLED_AT, reason=bindparam("why", type_=String))
)


def _lead_up_to(delivery: crm.Delivery) -> dict[str, Any]:
    names = {"of": delivery.business_id, "target": delivery.target_id, "lead": delivery.lead_id}
    return names | {"up_to": delivery.revision}


def record_dead(tx: Tx, delivery: crm.Delivery, reason: str) -> None:
    """Make a dead letter of a delivery, and of the earlier ones that it would have settled."""
    values = {"now": tx.now, "state_now": DeliveryState.DEAD, "why": reason[:REASON_LIMIT]}
    tx.execute(_GIVEN_UP, _lead_up_to(delivery) | values)
    _set_record(tx, delivery, {}, DeliveryState.DEAD)


def record_due(tx: Tx, delivery: crm.Delivery, edited: str, *, is_queued: bool) -> None:
    """Make a delivery due again, with the values that a member edited."""
    row = delivery.target_id, delivery.lead_id, delivery.revision
    sealed_text = seal_edited(tx.vault, delivery.business_id, row, edited)
    ledger.record(tx, delivery, DeliveryState.DUE, is_queued=is_queued, edited=sealed_text)
    _set_record(tx, delivery, {}, DeliveryState.DUE)


def _set_record(
    tx: Tx, delivery: crm.Delivery, values: Mapping[str, Any], state: DeliveryState
) -> str | None:
    """Update a lead's record link; only its latest revision sets the state.

    Returns:
        The lead that this one was merged into.
    """
    parameters = _lead_up_to(delivery) | {"state_now": state} | dict(values)
    return tx.execute(_update_columns(tuple(values)), parameters).scalar()


@cache
def _update_columns(names: tuple[str, ...]) -> Any:
    """Build the statement once per set of columns, as each step of a delivery runs it."""
    latest = crm_records.c.revision == bindparam("up_to")
    values: dict[str, Any] = {name: bindparam(name, type_=crm_records.c[name].type) for name in names}
    values["state"] = case((latest, _STATE_NOW), else_=crm_records.c.state)
    statement = update(crm_records).where(
        crm_records.c.business_id == bindparam("of"),
        crm_records.c.target_id == bindparam("target"),
        crm_records.c.lead_id == bindparam("lead"),
    )
    return statement.values(values).returning(crm_records.c.merged_into)


def delete_unsettled(tx: Tx, delivery: crm.Delivery) -> list[int]:
    """Delete the open deliveries of a lead that was merged, up to this one; return their ids."""
    statement = crm_deliveries.delete().where(*_UP_TO).returning(crm_deliveries.c.id)
    return list(tx.execute(statement, _lead_up_to(delivery)).scalars())


def count_states(tx: Tx, business_id: str) -> dict[str, dict[DeliveryState, int]]:
    """Count the listed leads of each target by the state of their latest revision."""
    state = crm_records.c.state
    counted = select(crm_records.c.target_id, state, func.count().label("n")).join(
        leads, leads.c.id == crm_records.c.lead_id
    )
    counted = counted.where(
        crm_records.c.business_id == business_id,
        leads.c.business_id == business_id,
        leads.c.hidden_at.is_(None),
    )
    states: dict[str, dict[DeliveryState, int]] = {}
    for row in tx.execute(counted.group_by(crm_records.c.target_id, state)).mappings():
        states.setdefault(row["target_id"], {})[row["state"]] = row["n"]
    return states


def count_listed_leads(tx: Tx, business_id: str) -> int:
    """Count the leads in the lists, without test leads."""
    return int(tx.scalar(select(func.count()).select_from(leads).where(*_in_lists(business_id))))


def count_leads_to_come(tx: Tx, business_id: str, target_id: str) -> int:
    """Count the listed leads that were never due at a target."""
    was_due = exists().where(*_at(crm_records, business_id, target_id), crm_records.c.lead_id == leads.c.id)
    return int(tx.scalar(select(func.count()).select_from(leads).where(*_in_lists(business_id), ~was_due)))


def _in_lists(business_id: str) -> tuple[ColumnElement[bool], ...]:
    return leads.c.business_id == business_id, leads.c.hidden_at.is_(None), leads.c.is_test.is_(False)


def has_dead(tx: Tx, business_id: str, target_id: str) -> bool:
    """Return whether a target has a dead letter."""
    query = select(crm_records.c.lead_id).where(
        *_at(crm_records, business_id, target_id), crm_records.c.state == DeliveryState.DEAD
    )
    return tx.scalar(query.limit(1)) is not None


_WORST_FIRST: Final = (DeliveryState.DEAD, DeliveryState.DUE, DeliveryState.SENT, DeliveryState.VERIFIED)


def _select_live(business_id: str, *columns: Any) -> Select[Any]:
    """Select columns of the records in linked CRMs."""
    live = select(crm_targets.c.id).where(
        crm_targets.c.business_id == business_id, crm_targets.c.state != crm.TargetState.REMOVED
    )
    return select(*columns).where(crm_records.c.business_id == business_id, crm_records.c.target_id.in_(live))


def list_lead_ids_in_state(tx: Tx, business_id: str, state: str) -> Select[Any]:
    """Select the leads with this state in any CRM."""
    return _select_live(business_id, crm_records.c.lead_id).where(crm_records.c.state == DeliveryState(state))


def list_states_of_leads(tx: Tx, business_id: str, lead_ids: Collection[str]) -> dict[str, str]:
    """Return the worst state of each lead among the CRMs, without leads that were never due."""
    query = _select_live(business_id, crm_records.c.lead_id, crm_records.c.state)
    states: dict[str, DeliveryState] = {}
    for row in tx.execute(query.where(crm_records.c.lead_id.in_(list(lead_ids)))).mappings():
        state = states.get(row["lead_id"], DeliveryState.VERIFIED)
        states[row["lead_id"]] = min(state, row["state"], key=_WORST_FIRST.index)
    return {lead_id: state.value for lead_id, state in states.items()}


def list_seen_at(
    tx: Tx, business_id: str, target_id: str, lead_ids: Collection[str]
) -> dict[str, datetime | None]:
    """Return when comparisons saw the records of leads last, without leads that were never due."""
    query = select(crm_records.c.lead_id, crm_records.c.seen_at).where(
        *_at(crm_records, business_id, target_id), crm_records.c.lead_id.in_(list(lead_ids))
    )
    return {row["lead_id"]: row["seen_at"] for row in tx.execute(query).mappings()}


def mark_seen(tx: Tx, target: Target, lead_ids: Collection[str], at: datetime) -> None:
    """Record that a comparison saw the records of some leads."""
    statement = update(crm_records).where(
        *_at(crm_records, target.business_id, target.id), crm_records.c.lead_id.in_(list(lead_ids))
    )
    tx.execute(statement.values(seen_at=at))


def list_sent(tx: Tx, business_id: str, target_id: str, most: int) -> list[RecordLink]:
    """Return listed leads that were sent and have no verified record of their own.

    Leads with an open delivery are left out: sent again daily they would never end.
    """
    has_delivery = exists().where(
        *_at(crm_deliveries, business_id, target_id),
        crm_deliveries.c.lead_id == crm_records.c.lead_id,
        crm_deliveries.c.settled_at.is_(None),
    )
    query = _select_listed(business_id, target_id).where(
        crm_records.c.state == DeliveryState.SENT, ~has_delivery
    )
    return tx.list(RecordLink, query.order_by(crm_records.c.lead_id).limit(most))


def _select_listed(business_id: str, target_id: str) -> Select[Any]:
    return (
        select(crm_records)
        .join(leads, leads.c.id == crm_records.c.lead_id)
        .where(
            *_at(crm_records, business_id, target_id),
            crm_records.c.merged_into.is_(None),
            leads.c.business_id == business_id,
            leads.c.hidden_at.is_(None),
        )
    )


def list_missing(
    tx: Tx, business_id: str, target_id: str, not_seen_since: datetime, verified_before: datetime
) -> list[RecordLink]:
    """Return listed leads that were verified, and that the comparison did not see."""
    seen_at = crm_records.c.seen_at
    query = _select_listed(business_id, target_id).where(
        crm_records.c.state == DeliveryState.VERIFIED,
        crm_records.c.verified_at < verified_before,
        or_(seen_at.is_(None), seen_at < not_seen_since),
    )
    return tx.list(RecordLink, query.order_by(crm_records.c.lead_id))


def mark_gone(tx: Tx, record: RecordLink) -> None:
    """Record that a record is missing and its lead is sent again, which happens once."""
    tx.execute(_update_record(record).values(gone_at=tx.now))


def list_erasures_of(tx: Tx, business_id: str, target_id: str, lead_ids: Collection[str]) -> list[Erasure]:
    """Return erasures of some leads at a target, in any state."""
    query = select(crm_erasures).where(
        *_at(crm_erasures, business_id, target_id), crm_erasures.c.lead_id.in_(list(lead_ids))
    )
    return tx.list(Erasure, query.order_by(crm_erasures.c.id))


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
    tx: Tx, business_id: str, target_id: str, states: Collection[ErasureState] = tuple(ErasureState)
) -> list[Erasure]:
    """Return erasures of a target, oldest first."""
    query = select(crm_erasures).where(*_at(crm_erasures, business_id, target_id))
    return tx.list(Erasure, query.where(crm_erasures.c.state.in_(states)).order_by(crm_erasures.c.id))


def record_erasure(tx: Tx, erasure: Erasure, state: ErasureState, reason: str = "") -> None:
    settled = None if state is ErasureState.DUE else tx.now
    statement = update(crm_erasures).where(
        crm_erasures.c.business_id == erasure.business_id, crm_erasures.c.id == erasure.id
    )
    tx.execute(statement.values(state=state, reason=reason[:REASON_LIMIT], settled_at=settled))


def record_erasure_again(tx: Tx, erasure: Erasure, record_id: str) -> None:
    """Make an erasure due again, as the person's record reappeared."""
    statement = update(crm_erasures).where(
        crm_erasures.c.business_id == erasure.business_id, crm_erasures.c.id == erasure.id
    )
    due = {"state": ErasureState.DUE, "reason": "", "settled_at": None, "created_at": tx.now}
    tx.execute(statement.values(**due, record_id=record_id[:RECORD_LIMIT]))


crm_echoes = Table(
    "crm_echoes",
    metadata,
    Column("target_id", String(36), primary_key=True),
    Column("record_id", String(RECORD_LIMIT), primary_key=True),
    Column("field", String(32), primary_key=True),
    tenant(),
    Column("digest", LargeBinary(16), nullable=False),
    instant("at"),
    Index("ix_crm_echoes_at", "at"),
)


def save_echoes(tx: Tx, target: Target, record_id: str, values: Mapping[str, str]) -> None:
    """Save digests of the values that we wrote into fields of a record."""
    for name, value in values.items():
        row = {
            "target_id": target.id,
            "record_id": record_id[:RECORD_LIMIT],
            "field": name,
            "business_id": target.business_id,
            "digest": tx.vault.blind(value, target.business_id),
            "at": tx.now,
        }
        insert = tx.upsert(crm_echoes).values(**row)
        changed = {"digest": row["digest"], "at": tx.now}
        key = ["target_id", "record_id", "field"]
        tx.execute(insert.on_conflict_do_update(index_elements=key, set_=changed))


def is_echo(tx: Tx, target: Target, record_id: str, name: str, text: str) -> bool:
    """Return whether a value is the last one that we wrote into a field."""
    query = select(crm_echoes.c.digest).where(
        crm_echoes.c.business_id == target.business_id,
        crm_echoes.c.target_id == target.id,
        crm_echoes.c.record_id == record_id[:RECORD_LIMIT],
        crm_echoes.c.field == name,
    )
    digest = tx.scalar(query)
    return digest is not None and bytes(digest) == tx.vault.blind(text, target.business_id)


def delete_old_echoes(tx: Tx, before: datetime) -> int:
    return tx.delete_some(crm_echoes, crm_echoes.c.at < before)


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


def list_lead_numbers(tx: Tx, business_id: str, lead_ids: Collection[str]) -> dict[str, int]:
    """Return the numbers of leads by id."""
    query = select(leads.c.id, leads.c.number).where(
        leads.c.business_id == business_id, leads.c.id.in_(list(lead_ids))
    )
    return {row["id"]: row["number"] for row in tx.execute(query).mappings()}
