"""Tables of targets, of deliveries to them, of records and of echoes."""

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from contatto.crm import model as crm
from contatto.crm.model import LiveTarget, RecordLink, Sweep, Target, TargetState
from contatto.crm.rules.deliveries import DELIVERY
from contatto.integrations.model import DeliveryState
from contatto.integrations.store import IS_WAITING, REASON_LIMIT, DeliveryLedger, ledger_columns
from contatto.kit.db.statements import PreparedQuery
from contatto.kit.db.tx import (
    ROW,
    Choice,
    Instant,
    JsonText,
    Tx,
    insert_for,
    instant,
    key,
    metadata,
    only,
    rows_of,
    sealed,
    tenant,
    text,
)
from contatto.kit.outbound.queue import delete_requests_of
from contatto.kit.vault import row_key
from contatto.leads.store.tables import leads

crm_targets = sa.Table(
    "crm_targets",
    metadata,
    key(),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    tenant(),
    sa.Column("connector", sa.String(32), nullable=False),
    text("name"),
    sa.Column("state", Choice(TargetState), nullable=False),
    text("address"),
    sa.Column("settings", JsonText(dict[str, str]), nullable=False),
    sealed("secrets"),
    sa.Column("secrets_revision", sa.Integer, nullable=False),
    instant("renewing_until", nullable=True),
    instant("consented_at", nullable=True),
    sa.Column("mapping", JsonText(tuple[crm.MappedField, ...]), nullable=False),
    sa.Column("statuses", JsonText(dict[str, str]), nullable=False),
    sa.Column("described", JsonText(tuple[crm.CrmField, ...]), nullable=False),
    instant("described_at", nullable=True),
    sa.Column("faults", JsonText(tuple[crm.MappingFault, ...]), nullable=False),
    text("reason"),
    instant("created_at"),
    instant("verified_at", nullable=True),
    sa.Column("comparison", JsonText(crm.Comparison | None), nullable=False, server_default="null"),
    sa.Column("sweep", Choice(Sweep), nullable=False),
    sa.Column("sweep_after", sa.String(36), nullable=False),
    sa.Index("ix_crm_targets_business_id", "business_id", "state"),
)


_LIVE: Final = PreparedQuery(
    LiveTarget,
    sa.select(crm_targets).where(
        crm_targets.c.business_id == sa.bindparam("of"), crm_targets.c.state != TargetState.REMOVED
    ),
)


def list_live_targets(tx: Tx, business_id: str) -> list[LiveTarget]:
    """Return the targets of a business that are not removed; leads are due at all of them."""
    return _LIVE.list(tx, {"of": business_id})


_NOT_REMOVED: Final = sa.select(crm_targets).where(crm_targets.c.state != TargetState.REMOVED)
_ONE: Final = _NOT_REMOVED.where(
    crm_targets.c.business_id == sa.bindparam("of"), crm_targets.c.id == sa.bindparam("one")
)


def find_target(tx: Tx, business_id: str, target_id: str) -> Target | None:
    """Return a target with its secrets opened; None for a removed one, which no work may bring back."""
    return next(iter(_listed(tx, _ONE, {"of": business_id, "one": target_id})), None)


def list_targets(tx: Tx, business_id: str, **own: int) -> list[Target]:
    """Return the targets of a business, or that of a number, oldest first."""
    query = _NOT_REMOVED.where(*rows_of(crm_targets, business_id, **own))
    return _listed(tx, query.order_by(crm_targets.c.number))


def list_all_targets(tx: Tx, **own: int) -> list[Target]:
    """Return the targets of all businesses for the timer, or that of a number for its signed requests."""
    return _listed(tx, _NOT_REMOVED.filter_by(**own))


def _listed(tx: Tx, statement: sa.Select[Any], parameters: Mapping[str, str] | None = None) -> list[Target]:
    targets = []
    for row in tx.execute(statement, parameters or {}).mappings():
        values = {name: row[name] for name in Target.__dataclass_fields__}
        opened = tx.vault.open_bytes(row["secrets"], row["business_id"], "crm_targets.secrets", row["id"])
        targets.append(Target(**values | {"secrets": msgspec.json.decode(opened, type=dict[str, str])}))
    return targets


def record_target(tx: Tx, target: Target, **values: Any) -> None:
    """Update columns of a target except its secrets."""
    tx.change(crm_targets, target.business_id, target.id, **values)


def record_secrets(tx: Tx, target: Target, secrets: Mapping[str, str], address: str = "") -> None:
    """Replace the secrets of a target, and release the lock of their renewal."""
    raw = msgspec.json.encode(dict(secrets))
    values: dict[str, Any] = {
        "secrets": tx.vault.seal_bytes(raw, target.business_id, "crm_targets.secrets", target.id),
        "secrets_revision": crm_targets.c.secrets_revision + 1,
        "renewing_until": None,
    }
    record_target(tx, target, **values | ({"address": address} if address else {}))


def mark_renewing(tx: Tx, target: Target, until: datetime) -> bool:
    """Lock the renewal of these secrets; return False where another request renews them, or did."""
    free = sa.or_(crm_targets.c.renewing_until.is_(None), crm_targets.c.renewing_until < tx.now)
    same = crm_targets.c.secrets_revision == target.secrets_revision
    return tx.change(crm_targets, target.business_id, target.id, free, same, renewing_until=until)


_SWEEPING: Final = (crm_targets.c.sweep != Sweep.NONE, crm_targets.c.state != TargetState.REMOVED)


def has_sweep(tx: Tx) -> bool:
    return tx.scalar(sa.select(crm_targets.c.id).where(*_SWEEPING).limit(1)) is not None


def find_swept_target(tx: Tx) -> Target | None:
    """Return a target with a sweep, of any business."""
    query = sa.select(crm_targets).where(*_SWEEPING).order_by(crm_targets.c.sweep_after).limit(1)
    locked = query.with_for_update(skip_locked=True)
    return next(iter(_listed(tx, locked)), None)


RECORD_LIMIT: Final = 255
"""Most characters of a CRM's id."""

crm_deliveries = sa.Table(
    "crm_deliveries",
    metadata,
    *ledger_columns(),
    sa.Column("target_id", sa.String(36), nullable=False),
    sa.Column("lead_id", sa.String(36), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sealed("edited", nullable=True),
    instant("sent_at", nullable=True),
    sa.UniqueConstraint("business_id", "target_id", "lead_id", "revision"),
    sa.Index("ix_crm_deliveries_of_target", "business_id", "target_id", "state", "id"),
    sa.Index("ix_crm_deliveries_held", "target_id", "id", **only(IS_WAITING)),
    sa.Index("ix_crm_deliveries_settled", "settled_at"),
    info={ROW: ("target_id", "lead_id", "revision")},
)
ledger: Final = DeliveryLedger(
    crm_deliveries,
    crm.Delivery,
    crm_deliveries.c.target_id,
    crm_targets.c.id,
    crm_targets.c.state == crm.TargetState.ACTIVE,
)

crm_records = sa.Table(
    "crm_records",
    metadata,
    sa.Column("target_id", sa.String(36), primary_key=True),
    sa.Column("lead_id", sa.String(36), primary_key=True),
    tenant(),
    sa.Column("record_id", sa.String(RECORD_LIMIT), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("state", Choice(DeliveryState), nullable=False),
    instant("verified_at", nullable=True),
    sa.Column("merged_into", sa.String(36)),
    text("status"),
    sealed("owner", nullable=True),
    text("value"),
    sealed("told_by", nullable=True),
    instant("told_at", nullable=True),
    instant("seen_at", nullable=True),
    instant("gone_at", nullable=True),
    sa.Index("ix_crm_records_of_state", "business_id", "target_id", "state"),
    sa.Index("ix_crm_records_of_lead", "business_id", "lead_id"),
    sa.Index("ix_crm_records_of_record", "business_id", "target_id", "record_id"),
    sa.Index(
        "ix_crm_records_merged",
        "business_id",
        "target_id",
        "merged_into",
        **only("(merged_into IS NOT NULL)"),
    ),
)


@cache
def _count_changes(dialect: str) -> Any:
    """Build the statement once per dialect, as each change of a lead runs it."""
    insert = insert_for(dialect, crm_records)
    counted = insert.on_conflict_do_update(
        index_elements=["target_id", "lead_id"],
        set_={"revision": crm_records.c.revision + 1, "state": DeliveryState.DUE},
    )
    return counted.returning(crm_records.c.lead_id, crm_records.c.revision)


_APPEND: Final = crm_deliveries.insert().returning(crm_deliveries.c.lead_id, crm_deliveries.c.id)


def append_deliveries(
    tx: Tx, target: LiveTarget, lead_ids: Collection[str], *, is_queued: bool, edited: str = ""
) -> dict[str, int]:
    """Insert a delivery of the next revision of each lead, which is due; return their ids by lead."""
    own = {"business_id": target.business_id, "target_id": target.id, "state": DeliveryState.DUE}
    record = own | {"record_id": "", "revision": 1, "status": "", "value": ""}
    records = [record | {"lead_id": lead_id} for lead_id in lead_ids]
    count_changes = _count_changes(tx.connection.dialect.name)
    counted = tx.execute(count_changes, records if len(records) > 1 else records[0])
    delivery = own | {"is_queued": is_queued, "reason": "", "created_at": tx.now}
    rows = []
    for row in counted.mappings():
        place = row_key(target.id, row["lead_id"], row["revision"])
        sealed_text = tx.seal(edited, target.business_id, "crm_deliveries.edited", place)
        rows.append(delivery | dict(row) | {"edited": sealed_text})
    inserted = tx.execute(_APPEND, rows if len(rows) > 1 else rows[0])
    return {row["lead_id"]: row["id"] for row in inserted.mappings()}


_LATER: Final = crm_deliveries.alias("later")
OPEN_DELIVERY: Final = sa.select(crm_deliveries).where(
    crm_deliveries.c.business_id == sa.bindparam("of"),
    crm_deliveries.c.id == sa.bindparam("number"),
    crm_deliveries.c.settled_at.is_(None),
    ~sa.exists().where(
        _LATER.c.business_id == crm_deliveries.c.business_id,
        _LATER.c.target_id == crm_deliveries.c.target_id,
        _LATER.c.lead_id == crm_deliveries.c.lead_id,
        _LATER.c.revision > crm_deliveries.c.revision,
        _LATER.c.settled_at.is_(None),
    ),
)
"""A delivery that did not arrive, unless a later one of its lead will settle it."""


def list_records(tx: Tx, business_id: str, **own: str) -> list[RecordLink]:
    """Return the records of a lead, or of a CRM's id; those of merged leads come last."""
    query = sa.select(crm_records).where(*rows_of(crm_records, business_id, **own))
    return tx.list(RecordLink, query.order_by(crm_records.c.merged_into.is_not(None)))


_OF_TARGET: Final = sa.select(crm_records).where(
    crm_records.c.business_id == sa.bindparam("of"), crm_records.c.target_id == sa.bindparam("target")
)
_RECORDS_OF: Final = sa.union_all(
    _OF_TARGET.where(crm_records.c.lead_id == sa.bindparam("lead")),
    _OF_TARGET.where(crm_records.c.merged_into == sa.bindparam("lead")),
)


def find_records(tx: Tx, business_id: str, target_id: str, lead_id: str) -> crm.LeadRecords:
    """Return a lead's record, and those of the leads that were merged into it."""
    parameters = {"of": business_id, "target": target_id, "lead": lead_id}
    records = tx.list(RecordLink, _RECORDS_OF, parameters)
    own = next((record for record in records if record.lead_id == lead_id), None)
    merged = [record for record in records if record.lead_id != lead_id]
    newest = merged
    while newest:  # leads may have been merged into these before
        merged_ids = sorted({record.lead_id for record in newest})
        into_them = rows_of(crm_records, business_id, target_id=target_id, merged_into=merged_ids)
        newest = tx.list(RecordLink, sa.select(crm_records).where(*into_them))
        merged += newest
    return crm.LeadRecords(own, merged)


def record_link(tx: Tx, record: RecordLink, **values: Any) -> None:
    """Update columns of a lead's record; what the CRM reported of people is sealed."""
    for name in ("owner", "told_by"):
        if name in values:
            row = row_key(record.target_id, record.lead_id)
            values[name] = tx.seal(values[name], record.business_id, f"crm_records.{name}", row)
    is_record = rows_of(crm_records, record.business_id, target_id=record.target_id, lead_id=record.lead_id)
    tx.execute(sa.update(crm_records).where(*is_record).values(**values))


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
        values["verified_at"] = tx.now
    return ids, _set_record(tx, delivery, values, state)


_SETTLED_AT: Final = sa.bindparam("now", type_=Instant)
_STATE_NOW: Final = sa.bindparam("state_now", type_=Choice(DeliveryState))
_SENT: Final = (
    sa.update(crm_deliveries)
    .where(crm_deliveries.c.business_id == sa.bindparam("of"), crm_deliveries.c.id == sa.bindparam("number"))
    .values(state=sa.literal(DeliveryState.SENT, Choice(DeliveryState)), sent_at=_SETTLED_AT, reason="")
)
_UP_TO: Final = (
    crm_deliveries.c.business_id == sa.bindparam("of"),
    crm_deliveries.c.target_id == sa.bindparam("target"),
    crm_deliveries.c.lead_id == sa.bindparam("lead"),
    crm_deliveries.c.revision <= sa.bindparam("up_to"),
    sa.or_(crm_deliveries.c.settled_at.is_(None), crm_deliveries.c.state == DeliveryState.DEAD),
)
"""A delivery and the earlier ones of its lead that did not arrive."""
_ARRIVED: Final = (
    sa.update(crm_deliveries)
    .where(*_UP_TO)
    .values(
        state=_STATE_NOW,
        settled_at=_SETTLED_AT,
        sent_at=sa.func.coalesce(crm_deliveries.c.sent_at, _SETTLED_AT),
        reason=sa.bindparam("why", type_=sa.String),
        edited=None,
    )
    .returning(crm_deliveries.c.id)
)
_GIVEN_UP: Final = (
    sa.update(crm_deliveries)
    .where(*_UP_TO)
    .values(state=_STATE_NOW, settled_at=_SETTLED_AT, reason=sa.bindparam("why", type_=sa.String))
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
    row = row_key(delivery.target_id, delivery.lead_id, delivery.revision)
    sealed_text = tx.seal(edited, delivery.business_id, "crm_deliveries.edited", row)
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
    latest = crm_records.c.revision == sa.bindparam("up_to")
    values: dict[str, Any] = {name: sa.bindparam(name, type_=crm_records.c[name].type) for name in names}
    values["state"] = sa.case((latest, _STATE_NOW), else_=crm_records.c.state)
    statement = sa.update(crm_records).where(
        crm_records.c.business_id == sa.bindparam("of"),
        crm_records.c.target_id == sa.bindparam("target"),
        crm_records.c.lead_id == sa.bindparam("lead"),
    )
    return statement.values(values).returning(crm_records.c.merged_into)


def delete_unsettled(tx: Tx, delivery: crm.Delivery) -> None:
    """Delete the open deliveries of a lead that was merged, up to this one, with their requests."""
    statement = crm_deliveries.delete().where(*_UP_TO).returning(crm_deliveries.c.id)
    deleted_ids = [str(deleted_id) for deleted_id in tx.execute(statement, _lead_up_to(delivery)).scalars()]
    delete_requests_of(tx, delivery.business_id, DELIVERY, deleted_ids)


def count_states(tx: Tx, business_id: str) -> dict[str, dict[DeliveryState, int]]:
    """Count the listed leads of each target by the state of their latest revision."""
    state = crm_records.c.state
    counted = sa.select(crm_records.c.target_id, state, sa.func.count().label("n")).join(
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


_WORST_FIRST: Final = (DeliveryState.DEAD, DeliveryState.DUE, DeliveryState.SENT, DeliveryState.VERIFIED)


def _select_live(business_id: str, *columns: Any) -> sa.Select[Any]:
    live = sa.select(crm_targets.c.id).where(
        crm_targets.c.business_id == business_id, crm_targets.c.state != crm.TargetState.REMOVED
    )
    return sa.select(*columns).where(
        crm_records.c.business_id == business_id, crm_records.c.target_id.in_(live)
    )


def list_lead_ids_in_state(tx: Tx, business_id: str, state: str) -> sa.Select[Any]:
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


def list_listed(
    tx: Tx, business_id: str, target_id: str, *where: sa.ColumnElement[bool], most: int | None = None
) -> list[RecordLink]:
    query = (
        sa.select(crm_records)
        .join(leads, leads.c.id == crm_records.c.lead_id)
        .where(
            *rows_of(crm_records, business_id, target_id=target_id),
            crm_records.c.merged_into.is_(None),
            leads.c.business_id == business_id,
            leads.c.hidden_at.is_(None),
            *where,
        )
    )
    return tx.list(RecordLink, query.order_by(crm_records.c.lead_id).limit(most))


_SENT_DELIVERY: Final = crm_deliveries.alias("unsettled")
IS_SENT: Final = sa.and_(
    crm_records.c.state == DeliveryState.SENT,
    ~sa.exists().where(
        _SENT_DELIVERY.c.business_id == crm_records.c.business_id,
        _SENT_DELIVERY.c.target_id == crm_records.c.target_id,
        _SENT_DELIVERY.c.lead_id == crm_records.c.lead_id,
        _SENT_DELIVERY.c.settled_at.is_(None),
    ),
)
"""Leads that were sent and have no verified record of their own.

Leads with an open delivery are left out: sent again daily they would never end.
"""


crm_echoes = sa.Table(
    "crm_echoes",
    metadata,
    sa.Column("target_id", sa.String(36), primary_key=True),
    sa.Column("record_id", sa.String(RECORD_LIMIT), primary_key=True),
    sa.Column("field", sa.String(32), primary_key=True),
    tenant(),
    sa.Column("digest", sa.LargeBinary(16), nullable=False),
    instant("at"),
    sa.Index("ix_crm_echoes_at", "at"),
)


def save_echoes(tx: Tx, target: Target, record_id: str, values: Mapping[str, str]) -> None:
    """Save digests of the values that we wrote into fields of a record."""
    rows = [
        {
            "target_id": target.id,
            "record_id": record_id[:RECORD_LIMIT],
            "field": name,
            "business_id": target.business_id,
            "digest": tx.vault.blind(value, target.business_id),
            "at": tx.now,
        }
        for name, value in values.items()
    ]
    tx.save(crm_echoes, rows)


def is_echo(tx: Tx, target: Target, record_id: str, name: str, text: str) -> bool:
    """Return whether a value is the last one that we wrote into a field."""
    key = {"target_id": target.id, "record_id": record_id[:RECORD_LIMIT], "field": name}
    digest = tx.scalar(sa.select(crm_echoes.c.digest).where(*rows_of(crm_echoes, target.business_id, **key)))
    return digest is not None and bytes(digest) == tx.vault.blind(text, target.business_id)


def list_lead_numbers(tx: Tx, business_id: str, lead_ids: Collection[str]) -> dict[str, int]:
    query = sa.select(leads.c.id, leads.c.number).where(*rows_of(leads, business_id, id=list(lead_ids)))
    return {row["id"]: row["number"] for row in tx.execute(query).mappings()}
