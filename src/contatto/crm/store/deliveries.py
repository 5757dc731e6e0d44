"""Tables of deliveries, of the records that they reached, and of erasures."""

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
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
    bindparam,
    exists,
    literal_column,
    select,
    union_all,
    update,
)

from contatto.crm.model.deliveries import Delivery, DeliveryState, LeadRecords, RecordLink
from contatto.crm.model.targets import Target, TargetState
from contatto.crm.store.targets import LiveTarget, crm_targets
from contatto.kit.db.tx import Tx, insert_for
from contatto.kit.db.types import ROW, Choice, Serial, instant, metadata, sealed, tenant, text
from contatto.kit.vault import Vault, row_key

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
    info={ROW: ("target_id", "lead_id", "revision")},
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


@cache
def _counting(dialect: str) -> Any:
    """Made once: it is asked with each change of a lead."""
    insert = insert_for(dialect, crm_records)
    counted = insert.on_conflict_do_update(
        index_elements=["target_id", "lead_id"],
        set_={"revision": crm_records.c.revision + 1, "state": DeliveryState.DUE},
    )
    return counted.returning(crm_records.c.lead_id, crm_records.c.revision)


def record_changes(tx: Tx, target: LiveTarget, lead_ids: Collection[str]) -> dict[str, int]:
    """Count a change of each of some leads for a target: their new revisions, which are due."""
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
    counted = tx.execute(_counting(tx.connection.dialect.name), rows if len(rows) > 1 else rows[0])
    return {row["lead_id"]: row["revision"] for row in counted.mappings()}


def append_deliveries(
    tx: Tx, target: LiveTarget, revisions: Mapping[str, int], *, is_queued: bool, edited: str = ""
) -> dict[str, int]:
    """Keep deliveries that are due, by their leads; give their ids."""
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
    made = tx.execute(_APPEND, rows if len(rows) > 1 else rows[0])
    return {row["lead_id"]: row["id"] for row in made.mappings()}


def seal_edited(vault: Vault, business_id: str, row: tuple[str, str, int], edited: str) -> bytes | None:
    """Seal the values that a member put into a delivery: of this target, lead and revision."""
    return vault.seal(edited, business_id, "crm_deliveries.edited", row_key(*row)) if edited else None


_APPEND: Final = crm_deliveries.insert().returning(crm_deliveries.c.lead_id, crm_deliveries.c.id)


def find_delivery(tx: Tx, business_id: str, delivery_id: int) -> Delivery | None:
    mine = crm_deliveries.c.business_id == business_id, crm_deliveries.c.id == delivery_id
    return tx.find(Delivery, select(crm_deliveries).where(*mine))


def list_deliveries(
    tx: Tx, business_id: str, target_id: str, states: Collection[DeliveryState] = (), limit: int = 50
) -> list[Delivery]:
    """Deliveries of a target, the latest first."""
    query = select(crm_deliveries).where(
        crm_deliveries.c.business_id == business_id, crm_deliveries.c.target_id == target_id
    )
    if states:
        query = query.where(crm_deliveries.c.state.in_(list(states)))
    return tx.list(Delivery, query.order_by(crm_deliveries.c.id.desc()).limit(limit))


def _open_delivery() -> Select[Any]:
    later = crm_deliveries.alias("later")
    overtaking = exists().where(
        later.c.business_id == crm_deliveries.c.business_id,
        later.c.target_id == crm_deliveries.c.target_id,
        later.c.lead_id == crm_deliveries.c.lead_id,
        later.c.revision > crm_deliveries.c.revision,
        later.c.settled_at.is_(None),
    )
    mine = crm_deliveries.c.business_id == bindparam("of"), crm_deliveries.c.id == bindparam("number")
    return select(crm_deliveries).where(*mine, crm_deliveries.c.settled_at.is_(None), ~overtaking)


_OPEN: Final = _open_delivery()


def find_open_delivery(tx: Tx, business_id: str, delivery_id: int) -> Delivery | None:
    """A delivery that did not arrive; None where a later one of its lead is on its way, which settles it."""
    return tx.find(Delivery, _OPEN, {"of": business_id, "number": delivery_id})


def list_held(tx: Tx, limit: int) -> list[Delivery]:
    """Deliveries of active targets that wait without a request, the oldest first; of all businesses."""
    query = (
        select(crm_deliveries)
        .join(crm_targets, crm_targets.c.id == crm_deliveries.c.target_id)
        .where(_held_of_active())
        .order_by(crm_deliveries.c.id)
        .limit(limit)
    )
    return tx.list(Delivery, query.with_for_update(skip_locked=True, of=crm_deliveries)
                   if tx.locks_rows else query)  # fmt: skip


def has_held(tx: Tx) -> bool:
    """Return whether any delivery of an active target waits without a request."""
    query: Select[Any] = select(crm_deliveries.c.id).select_from(
        crm_targets.join(crm_deliveries, crm_deliveries.c.target_id == crm_targets.c.id)
    )
    return tx.scalar(query.where(_held_of_active()).limit(1)) is not None


def _held_of_active() -> ColumnElement[bool]:
    held: ColumnElement[bool] = literal_column(_HELD_TEXT)
    return and_(held, crm_targets.c.state == TargetState.ACTIVE)


def _record(business_id: str, target_id: str, lead_id: str) -> Any:
    return update(crm_records).where(
        crm_records.c.business_id == business_id,
        crm_records.c.target_id == target_id,
        crm_records.c.lead_id == lead_id,
    )


def find_record(tx: Tx, business_id: str, target_id: str, lead_id: str) -> RecordLink | None:
    query = select(crm_records).where(
        crm_records.c.business_id == business_id,
        crm_records.c.target_id == target_id,
        crm_records.c.lead_id == lead_id,
    )
    return tx.find(RecordLink, query)


def find_record_by_id(tx: Tx, business_id: str, target_id: str, record_id: str) -> RecordLink | None:
    """The lead that a record of a CRM belongs to; of several the one that was not merged away."""
    query = select(crm_records).where(
        crm_records.c.business_id == business_id,
        crm_records.c.target_id == target_id,
        crm_records.c.record_id == record_id[:RECORD_LIMIT],
    )
    return tx.find(RecordLink, query.order_by(crm_records.c.merged_into.is_not(None)))


def list_records_of_lead(tx: Tx, business_id: str, lead_id: str) -> list[RecordLink]:
    mine = crm_records.c.business_id == business_id, crm_records.c.lead_id == lead_id
    return tx.list(RecordLink, select(crm_records).where(*mine))


def _records_of() -> Any:
    query = select(crm_records).where(
        crm_records.c.business_id == bindparam("of"), crm_records.c.target_id == bindparam("target")
    )
    lead: BindParameter[str] = bindparam("lead")
    return union_all(
        query.where(crm_records.c.lead_id == lead), query.where(crm_records.c.merged_into == lead)
    )


_RECORDS_OF: Final = _records_of()


def find_records(tx: Tx, business_id: str, target_id: str, lead_id: str) -> LeadRecords:
    """A lead's record, and those of the leads that were merged into it."""
    given = {"of": business_id, "target": target_id, "lead": lead_id}
    found = tx.list(RecordLink, _RECORDS_OF, given)
    own = next((each for each in found if each.lead_id == lead_id), None)
    merged = [each for each in found if each.lead_id != lead_id]
    newest = merged
    while newest:  # leads were merged into these before
        newest = _list_merged(tx, business_id, target_id, {each.lead_id for each in newest})
        merged += newest
    return LeadRecords(own, merged)


def _list_merged(tx: Tx, business_id: str, target_id: str, into: Collection[str]) -> list[RecordLink]:
    query = select(crm_records).where(
        crm_records.c.business_id == business_id,
        crm_records.c.target_id == target_id,
        crm_records.c.merged_into.in_(sorted(into)),
    )
    return tx.list(RecordLink, query)


def record_merged(tx: Tx, business_id: str, lead_id: str, into_id: str | None) -> None:
    """Note in all targets that a lead was merged into another, or with None that it is one again.

    Its record may be a part of the other one by now: it is looked for anew.
    """
    statement = update(crm_records).where(
        crm_records.c.business_id == business_id, crm_records.c.lead_id == lead_id
    )
    values = {"merged_into": into_id} | ({"record_id": ""} if into_id is None else {})
    tx.execute(statement.values(**values))


def record_told(tx: Tx, record: RecordLink, **values: Any) -> None:
    """Keep what the CRM told of a record."""
    for name in ("owner", "told_by"):
        if name in values:
            named = row_key(record.target_id, record.lead_id)
            values[name] = tx.seal(values[name], record.business_id, f"crm_records.{name}", named)
    mine = _record(record.business_id, record.target_id, record.lead_id)
    tx.execute(mine.values(**values, told_at=tx.now))


def list_unknown_leads(tx: Tx, target: Target, lead_ids: Collection[str]) -> list[str]:
    """Those of some leads that a target was never due for, in their order."""
    query = select(crm_records.c.lead_id).where(
        crm_records.c.business_id == target.business_id,
        crm_records.c.target_id == target.id,
        crm_records.c.lead_id.in_(list(lead_ids)),
    )
    known = set(tx.execute(query).scalars())
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


def delete_old_deliveries(tx: Tx, before: datetime) -> int:
    """Delete some deliveries that were settled long ago; say how many. Dead letters stay."""
    over = crm_deliveries.c.settled_at < before, crm_deliveries.c.state != DeliveryState.DEAD
    return tx.delete_some(crm_deliveries, *over)
