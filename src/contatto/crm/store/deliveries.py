"""Tables of deliveries, of the records that they reached, and of erasures."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Index,
    Integer,
    Select,
    String,
    Table,
    UniqueConstraint,
    and_,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    update,
)

from contatto.crm.model.deliveries import Delivery, DeliveryState, RecordLink
from contatto.crm.model.targets import Target, TargetState
from contatto.crm.store.targets import LiveTarget, crm_targets
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, Instant, Serial, instant, metadata, sealed, tenant, text

RECORD_LIMIT: Final = 255
"""Most characters of a CRM's id that are kept."""
_HELD_TEXT: Final = "(crm_deliveries.state = 'due' AND NOT crm_deliveries.is_queued)"
_HELD: Final[ColumnElement[bool]] = literal_column("(state = 'due' AND NOT is_queued)")
"""Whether a delivery is due and has no request, in the words of its index: its target was not active."""
_MERGED: Final[ColumnElement[bool]] = literal_column("(merged_into IS NOT NULL)")

crm_deliveries = Table(
    "crm_deliveries",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    tenant(),
    Column("target_id", String(36), nullable=False),
    Column("lead_id", String(36), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("state", Choice(DeliveryState), nullable=False),
    Column("is_queued", Boolean, nullable=False),
    Column("reason", String(64), nullable=False),
    sealed("edited", nullable=True),
    instant("created_at"),
    instant("sent_at", nullable=True),
    instant("settled_at", nullable=True),
    UniqueConstraint("business_id", "target_id", "lead_id", "revision"),
    Index("ix_crm_deliveries_of_target", "business_id", "target_id", "state", "id"),
    Index("ix_crm_deliveries_held", "target_id", "id", sqlite_where=_HELD, postgresql_where=_HELD),
    Index("ix_crm_deliveries_settled", "settled_at"),
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


def record_change(tx: Tx, target: LiveTarget, lead_id: str) -> int:
    """Count a change of a lead for a target: the new revision, which is due."""
    row = {
        "target_id": target.id,
        "lead_id": lead_id,
        "business_id": target.business_id,
        "record_id": "",
        "revision": 1,
        "state": DeliveryState.DUE,
        "verified_revision": 0,
        "status": "",
        "value": "",
    }
    insert = tx.upsert(crm_records).values(**row)
    counted = insert.on_conflict_do_update(
        index_elements=["target_id", "lead_id"],
        set_={"revision": crm_records.c.revision + 1, "state": DeliveryState.DUE},
    )
    return int(tx.execute(counted.returning(crm_records.c.revision)).scalar_one())


def append_delivery(
    tx: Tx, target: LiveTarget, lead_id: str, revision: int, *, is_queued: bool, edited: str = ""
) -> int:
    """Keep a delivery that is due; give its id."""
    row = {
        "business_id": target.business_id,
        "target_id": target.id,
        "lead_id": lead_id,
        "revision": revision,
        "state": DeliveryState.DUE,
        "is_queued": is_queued,
        "reason": "",
        "edited": tx.seal(edited, target.business_id),
        "created_at": tx.now,
    }
    inserted = tx.execute(crm_deliveries.insert().returning(crm_deliveries.c.id), row)
    return int(inserted.scalar_one())


def find_delivery(tx: Tx, business_id: str, delivery_id: int) -> Delivery | None:
    mine = crm_deliveries.c.business_id == business_id, crm_deliveries.c.id == delivery_id
    return tx.find(Delivery, select(crm_deliveries).where(*mine))


def list_deliveries(
    tx: Tx, business_id: str, target_id: str, states: Collection[DeliveryState] = (), limit: int = 50
) -> list[Delivery]:
    """Deliveries of a target, the latest first."""
    mine = select(crm_deliveries).where(
        crm_deliveries.c.business_id == business_id, crm_deliveries.c.target_id == target_id
    )
    if states:
        mine = mine.where(crm_deliveries.c.state.in_(list(states)))
    return tx.list(Delivery, mine.order_by(crm_deliveries.c.id.desc()).limit(limit))


def is_overtaken(tx: Tx, delivery: Delivery) -> bool:
    """Whether a later delivery of the same lead is on its way, which settles this one too."""
    mine = exists().where(
        crm_deliveries.c.business_id == delivery.business_id,
        crm_deliveries.c.target_id == delivery.target_id,
        crm_deliveries.c.lead_id == delivery.lead_id,
        crm_deliveries.c.revision > delivery.revision,
        crm_deliveries.c.settled_at.is_(None),
    )
    return bool(tx.scalar(select(mine)))


def list_held(tx: Tx, limit: int) -> list[Delivery]:
    """Deliveries of active targets that wait without a request, the oldest first; of all businesses."""
    mine = (
        select(crm_deliveries)
        .join(crm_targets, crm_targets.c.id == crm_deliveries.c.target_id)
        .where(_held_of_active())
        .order_by(crm_deliveries.c.id)
        .limit(limit)
    )
    return tx.list(Delivery, mine.with_for_update(skip_locked=True, of=crm_deliveries)
                   if tx.locks_rows else mine)  # fmt: skip


def has_held(tx: Tx) -> bool:
    """Whether any delivery of an active target waits without a request."""
    mine: Select[Any] = select(crm_deliveries.c.id).select_from(
        crm_targets.join(crm_deliveries, crm_deliveries.c.target_id == crm_targets.c.id)
    )
    return tx.scalar(mine.where(_held_of_active()).limit(1)) is not None


def _held_of_active() -> ColumnElement[bool]:
    held: ColumnElement[bool] = literal_column(_HELD_TEXT)
    return and_(held, crm_targets.c.state == TargetState.ACTIVE)


def mark_queued(tx: Tx, delivery: Delivery) -> None:
    """Note that a delivery has a request that brings it."""
    tx.execute(_one(delivery).values(is_queued=True))


def record_reason(tx: Tx, delivery: Delivery, reason: str) -> None:
    """Say why a delivery is not there yet."""
    tx.execute(_one(delivery).values(reason=reason[:64]))


def _one(delivery: Delivery) -> Any:
    return update(crm_deliveries).where(
        crm_deliveries.c.business_id == delivery.business_id, crm_deliveries.c.id == delivery.id
    )


def record_sent(tx: Tx, delivery: Delivery, record_id: str) -> None:
    """Note that the CRM took a delivery, before it was read back."""
    tx.execute(_one(delivery).values(state=DeliveryState.SENT, sent_at=tx.now, reason=""))
    _set_record(tx, delivery, {"record_id": record_id[:RECORD_LIMIT]}, DeliveryState.SENT)


def record_arrived(tx: Tx, delivery: Delivery, record_id: str, *, is_verified: bool) -> list[int]:
    """Note that a delivery arrived, and with it the earlier ones of the same lead; give the ids of all."""
    state = DeliveryState.VERIFIED if is_verified else DeliveryState.SENT
    sent_at = func.coalesce(crm_deliveries.c.sent_at, literal(tx.now, Instant))
    values = {"state": state, "settled_at": tx.now, "sent_at": sent_at, "reason": "", "edited": None}
    arrived = _unsettled_up_to(delivery).values(**values).returning(crm_deliveries.c.id)
    ids = list(tx.execute(arrived).scalars())
    known: dict[str, Any] = {"record_id": record_id[:RECORD_LIMIT]}
    if is_verified:
        known |= {"verified_revision": delivery.revision, "verified_at": tx.now}
    _set_record(tx, delivery, known, state)
    return ids


def _unsettled_up_to(delivery: Delivery) -> Any:
    """A change of a delivery and of those before it of the same lead that have not arrived."""
    return update(crm_deliveries).where(*_of_lead_up_to(delivery))


def _of_lead_up_to(delivery: Delivery) -> tuple[ColumnElement[bool], ...]:
    return (
        crm_deliveries.c.business_id == delivery.business_id,
        crm_deliveries.c.target_id == delivery.target_id,
        crm_deliveries.c.lead_id == delivery.lead_id,
        crm_deliveries.c.revision <= delivery.revision,
        or_(crm_deliveries.c.settled_at.is_(None), crm_deliveries.c.state == DeliveryState.DEAD),
    )


def record_dead(tx: Tx, delivery: Delivery, reason: str) -> None:
    """Give a delivery up, and the earlier ones that it would have settled."""
    values = {"state": DeliveryState.DEAD, "settled_at": tx.now, "reason": reason[:64]}
    tx.execute(_unsettled_up_to(delivery).values(**values))
    _set_record(tx, delivery, {}, DeliveryState.DEAD)


def record_due(tx: Tx, delivery: Delivery, edited: str, *, is_queued: bool) -> None:
    """Make a delivery due again, with the values that a member put into it."""
    values = {"state": DeliveryState.DUE, "settled_at": None, "reason": "", "is_queued": is_queued}
    kept = tx.seal(edited, delivery.business_id)
    tx.execute(_one(delivery).values(**values, edited=kept))
    _set_record(tx, delivery, {}, DeliveryState.DUE)


def _set_record(tx: Tx, delivery: Delivery, values: Mapping[str, Any], state: DeliveryState) -> None:
    """Change a lead's record link; the state is that of the latest revision alone."""
    mine = _record(delivery.business_id, delivery.target_id, delivery.lead_id)
    if values:
        tx.execute(mine.values(**values))
    tx.execute(mine.where(crm_records.c.revision == delivery.revision).values(state=state))


def _record(business_id: str, target_id: str, lead_id: str) -> Any:
    return update(crm_records).where(
        crm_records.c.business_id == business_id,
        crm_records.c.target_id == target_id,
        crm_records.c.lead_id == lead_id,
    )


def find_record(tx: Tx, business_id: str, target_id: str, lead_id: str) -> RecordLink | None:
    mine = select(crm_records).where(
        crm_records.c.business_id == business_id,
        crm_records.c.target_id == target_id,
        crm_records.c.lead_id == lead_id,
    )
    return tx.find(RecordLink, mine)


def find_record_by_id(tx: Tx, business_id: str, target_id: str, record_id: str) -> RecordLink | None:
    """The lead that a record of a CRM belongs to; of several the one that was not merged away."""
    mine = select(crm_records).where(
        crm_records.c.business_id == business_id,
        crm_records.c.target_id == target_id,
        crm_records.c.record_id == record_id[:RECORD_LIMIT],
    )
    return tx.find(RecordLink, mine.order_by(crm_records.c.merged_into.is_not(None)))


def list_records_of_lead(tx: Tx, business_id: str, lead_id: str) -> list[RecordLink]:
    mine = crm_records.c.business_id == business_id, crm_records.c.lead_id == lead_id
    return tx.list(RecordLink, select(crm_records).where(*mine))


def list_merged_records(tx: Tx, business_id: str, target_id: str, lead_id: str) -> list[RecordLink]:
    """The records of leads that were merged into one."""
    mine = select(crm_records).where(
        crm_records.c.business_id == business_id,
        crm_records.c.target_id == target_id,
        crm_records.c.merged_into == lead_id,
    )
    return tx.list(RecordLink, mine)


def record_merged(tx: Tx, business_id: str, lead_id: str, into_id: str | None) -> None:
    """Note in all targets that a lead was merged into another, or with None that it is one again.

    Its record may be a part of the other one by now: it is looked for anew.
    """
    mine = update(crm_records).where(
        crm_records.c.business_id == business_id, crm_records.c.lead_id == lead_id
    )
    values = {"merged_into": into_id} | ({"record_id": ""} if into_id is None else {})
    tx.execute(mine.values(**values))


def record_told(tx: Tx, record: RecordLink, **values: Any) -> None:
    """Keep what the CRM told of a record."""
    for name in ("owner", "told_by"):
        if name in values:
            values[name] = tx.seal(values[name], record.business_id)
    mine = _record(record.business_id, record.target_id, record.lead_id)
    tx.execute(mine.values(**values, told_at=tx.now))


def list_unknown_leads(tx: Tx, target: Target, lead_ids: Collection[str]) -> list[str]:
    """Those of some leads that a target was never due for, in their order."""
    mine = select(crm_records.c.lead_id).where(
        crm_records.c.business_id == target.business_id,
        crm_records.c.target_id == target.id,
        crm_records.c.lead_id.in_(list(lead_ids)),
    )
    known = set(tx.execute(mine).scalars())
    return [lead_id for lead_id in lead_ids if lead_id not in known]


def delete_lead_rows(tx: Tx, business_id: str, lead_ids: Collection[str]) -> list[int]:
    """Delete what is kept of leads, and give the ids of the deliveries that were."""
    mine = crm_deliveries.c.business_id == business_id, crm_deliveries.c.lead_id.in_(list(lead_ids))
    gone = list(tx.execute(select(crm_deliveries.c.id).where(*mine)).scalars())
    tx.execute(crm_deliveries.delete().where(*mine))
    tx.execute(
        crm_records.delete().where(
            crm_records.c.business_id == business_id, crm_records.c.lead_id.in_(list(lead_ids))
        )
    )
    return gone


def delete_unsettled(tx: Tx, delivery: Delivery) -> list[int]:
    """Delete a delivery, and those before it, that are due no more, as their lead went into another one.

    Returns:
        Their ids.
    """
    gone = crm_deliveries.delete().where(*_of_lead_up_to(delivery)).returning(crm_deliveries.c.id)
    return list(tx.execute(gone).scalars())


def delete_old_deliveries(tx: Tx, before: datetime) -> int:
    """Delete some deliveries that were settled long ago; say how many. Dead letters stay."""
    over = crm_deliveries.c.settled_at < before, crm_deliveries.c.state != DeliveryState.DEAD
    return tx.delete_some(crm_deliveries, *over)
