"""Tables of deliveries, records, erasures, echoes and CRM events."""

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    Column,
    ColumnElement,
    Index,
    Integer,
    LargeBinary,
    Select,
    String,
    Table,
    UniqueConstraint,
    and_,
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

from contatto.crm.model import (
    Delivery,
    DeliveryState,
    Erasure,
    ErasureState,
    LeadRecords,
    RecordLink,
    Target,
    TargetState,
)
from contatto.crm.rules.mapping import EventSet, LeadEvent
from contatto.crm.store.targets import LiveTarget, crm_targets
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
    values = {"of": delivery.business_id, "number": delivery.id, "now": tx.now}
    tx.execute(_SENT, values)
    _set_record(tx, delivery, {"record_id": record_id[:RECORD_LIMIT]}, DeliveryState.SENT)


def record_arrived(
    tx: Tx, delivery: Delivery, record_id: str, *, is_verified: bool, reason: str = ""
) -> tuple[list[int], str | None]:
    """Note that a delivery arrived, and with it the earlier ones of the same lead.

    Returns:
        The ids of all of them, and the lead that theirs was merged into meanwhile.
    """
    state = DeliveryState.VERIFIED if is_verified else DeliveryState.SENT
    changes = {"now": tx.now, "state_now": state, "why": reason}
    ids = list(tx.execute(_ARRIVED, _lead_up_to(delivery) | changes).scalars())
    known: dict[str, Any] = {"record_id": record_id[:RECORD_LIMIT]}
    if is_verified:
        known |= {"verified_revision": delivery.revision, "verified_at": tx.now}
    return ids, _set_record(tx, delivery, known, state)


_NOW: Final = bindparam("now", type_=Instant)
_STATE_NOW: Final = bindparam("state_now", type_=Choice(DeliveryState))
_SENT: Final = (
    update(crm_deliveries)
    .where(crm_deliveries.c.business_id == bindparam("of"), crm_deliveries.c.id == bindparam("number"))
    .values(state=literal(DeliveryState.SENT, Choice(DeliveryState)), sent_at=_NOW, reason="")
)
_UP_TO: Final = (
    crm_deliveries.c.business_id == bindparam("of"),
    crm_deliveries.c.target_id == bindparam("target"),
    crm_deliveries.c.lead_id == bindparam("lead"),
    crm_deliveries.c.revision <= bindparam("up_to"),
    or_(crm_deliveries.c.settled_at.is_(None), crm_deliveries.c.state == DeliveryState.DEAD),
)
"""A delivery and those before it of the same lead that have not arrived."""
_ARRIVED: Final = (
    update(crm_deliveries)
    .where(*_UP_TO)
    .values(
        state=_STATE_NOW,
        settled_at=_NOW,
        sent_at=func.coalesce(crm_deliveries.c.sent_at, _NOW),
        reason=bindparam("why", type_=String),
        edited=None,
    )
    .returning(crm_deliveries.c.id)
)
_GIVEN_UP: Final = (
    update(crm_deliveries)
    .where(*_UP_TO)
    .values(state=_STATE_NOW, settled_at=_NOW, reason=bindparam("why", type_=String))
)


def _lead_up_to(delivery: Delivery) -> dict[str, Any]:
    names = {"of": delivery.business_id, "target": delivery.target_id, "lead": delivery.lead_id}
    return names | {"up_to": delivery.revision}


def record_dead(tx: Tx, delivery: Delivery, reason: str) -> None:
    """Give a delivery up, and the earlier ones that it would have settled."""
    values = {"now": tx.now, "state_now": DeliveryState.DEAD, "why": reason[:64]}
    tx.execute(_GIVEN_UP, _lead_up_to(delivery) | values)
    _set_record(tx, delivery, {}, DeliveryState.DEAD)


def record_due(tx: Tx, delivery: Delivery, edited: str, *, is_queued: bool) -> None:
    """Make a delivery due again, with the values that a member put into it."""
    values = {"state": DeliveryState.DUE, "settled_at": None, "reason": "", "is_queued": is_queued}
    named = delivery.target_id, delivery.lead_id, delivery.revision
    sealed_text = seal_edited(tx.vault, delivery.business_id, named, edited)
    tx.execute(_one(delivery).values(**values, edited=sealed_text))
    _set_record(tx, delivery, {}, DeliveryState.DUE)


def _set_record(tx: Tx, delivery: Delivery, values: Mapping[str, Any], state: DeliveryState) -> str | None:
    """Change a lead's record link; the state is that of the latest revision alone.

    Returns:
        The lead that this one was merged into.
    """
    given = _lead_up_to(delivery) | {"state_now": state}
    found = tx.execute(_setting(tuple(values)), given | dict(values)).first()
    return None if found is None else found[0]


@cache
def _setting(names: tuple[str, ...]) -> Any:
    """Made once for each choice of columns: it is asked at each step of each delivery."""
    latest = crm_records.c.revision == bindparam("up_to")
    values: dict[str, Any] = {name: bindparam(name, type_=crm_records.c[name].type) for name in names}
    values["state"] = case((latest, _STATE_NOW), else_=crm_records.c.state)
    statement = update(crm_records).where(
        crm_records.c.business_id == bindparam("of"),
        crm_records.c.target_id == bindparam("target"),
        crm_records.c.lead_id == bindparam("lead"),
    )
    return statement.values(values).returning(crm_records.c.merged_into)


def delete_unsettled(tx: Tx, delivery: Delivery) -> list[int]:
    """Delete a delivery, and those before it, that are due no more, as their lead went into another one.

    Returns:
        Their ids.
    """
    statement = crm_deliveries.delete().where(*_UP_TO).returning(crm_deliveries.c.id)
    return list(tx.execute(statement, _lead_up_to(delivery)).scalars())


def count_states(tx: Tx, business_id: str) -> dict[str, dict[DeliveryState, int]]:
    """Leads of each target by what became of their latest revision; of those that are in the lists."""
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
    """Leads that are in the lists; test leads are told to nobody."""
    return int(tx.scalar(select(func.count()).select_from(leads).where(*_in_lists(business_id))))


def count_leads_to_come(tx: Tx, business_id: str, target_id: str) -> int:
    """Leads of the lists that a target was never due for."""
    known = exists().where(
        crm_records.c.business_id == business_id,
        crm_records.c.target_id == target_id,
        crm_records.c.lead_id == leads.c.id,
    )
    return int(tx.scalar(select(func.count()).select_from(leads).where(*_in_lists(business_id), ~known)))


def _in_lists(business_id: str) -> tuple[ColumnElement[bool], ...]:
    return leads.c.business_id == business_id, leads.c.hidden_at.is_(None), leads.c.is_test.is_(False)


def has_dead(tx: Tx, business_id: str, target_id: str) -> bool:
    """Return whether a lead waits at a target for a person."""
    dead = crm_records.c.state == DeliveryState.DEAD
    mine = crm_records.c.business_id == business_id, crm_records.c.target_id == target_id, dead
    return tx.scalar(select(crm_records.c.lead_id).where(*mine).limit(1)) is not None


def find_oldest_due(tx: Tx, business_id: str, target_id: str) -> datetime | None:
    """Since when the oldest delivery of a target is due."""
    oldest = select(func.min(crm_deliveries.c.created_at)).where(
        crm_deliveries.c.business_id == business_id,
        crm_deliveries.c.target_id == target_id,
        crm_deliveries.c.state == DeliveryState.DUE,
    )
    oldest_due: datetime | None = tx.scalar(oldest)
    return oldest_due


_WORST_FIRST: Final = (
    DeliveryState.DEAD,
    DeliveryState.DUE,
    DeliveryState.SENT,
    DeliveryState.VERIFIED,
)


def _records(business_id: str, *what: Any) -> Select[Any]:
    """Of the CRMs that are linked now."""
    live = select(crm_targets.c.id).where(
        crm_targets.c.business_id == business_id, crm_targets.c.state != TargetState.REMOVED
    )
    return select(*what).where(crm_records.c.business_id == business_id, crm_records.c.target_id.in_(live))


def list_lead_ids_in_state(tx: Tx, business_id: str, state: str) -> Select[Any]:
    """Selects the leads that stand so in any CRM."""
    return _records(business_id, crm_records.c.lead_id).where(crm_records.c.state == DeliveryState(state))


def list_states_of_leads(tx: Tx, business_id: str, lead_ids: Collection[str]) -> dict[str, str]:
    """The worst state of each lead among the CRMs; a lead that was never due is left out."""
    mine = _records(business_id, crm_records.c.lead_id, crm_records.c.state)
    found: dict[str, DeliveryState] = {}
    for row in tx.execute(mine.where(crm_records.c.lead_id.in_(list(lead_ids)))).mappings():
        known = found.get(row["lead_id"], DeliveryState.VERIFIED)
        found[row["lead_id"]] = min(known, row["state"], key=_WORST_FIRST.index)
    return {lead_id: state.value for lead_id, state in found.items()}


def list_seen_at(
    tx: Tx, business_id: str, target_id: str, lead_ids: Collection[str]
) -> dict[str, datetime | None]:
    """Return when the records of some leads were seen last; leads that were never due there are left out."""
    query = select(crm_records.c.lead_id, crm_records.c.seen_at).where(
        crm_records.c.business_id == business_id,
        crm_records.c.target_id == target_id,
        crm_records.c.lead_id.in_(list(lead_ids)),
    )
    return {row["lead_id"]: row["seen_at"] for row in tx.execute(query).mappings()}


def mark_seen(tx: Tx, target: Target, lead_ids: Collection[str], at: datetime) -> None:
    """Note that the records of some leads are there."""
    statement = update(crm_records).where(
        crm_records.c.business_id == target.business_id,
        crm_records.c.target_id == target.id,
        crm_records.c.lead_id.in_(list(lead_ids)),
    )
    tx.execute(statement.values(seen_at=at))


def list_sent(tx: Tx, business_id: str, target_id: str, most: int) -> list[RecordLink]:
    """Leads of the lists that were sent and have no record of their own that could be verified.

    Those that are still being tried are left to that: begun anew each day they would never end.
    """
    tried = exists().where(
        crm_deliveries.c.business_id == business_id,
        crm_deliveries.c.target_id == target_id,
        crm_deliveries.c.lead_id == crm_records.c.lead_id,
        crm_deliveries.c.settled_at.is_(None),
    )
    mine = _of_lists(business_id, target_id).where(crm_records.c.state == DeliveryState.SENT, ~tried)
    return tx.list(RecordLink, mine.order_by(crm_records.c.lead_id).limit(most))


def _of_lists(business_id: str, target_id: str) -> Select[Any]:
    return (
        select(crm_records)
        .join(leads, leads.c.id == crm_records.c.lead_id)
        .where(
            crm_records.c.business_id == business_id,
            crm_records.c.target_id == target_id,
            crm_records.c.merged_into.is_(None),
            leads.c.business_id == business_id,
            leads.c.hidden_at.is_(None),
        )
    )


def list_missing(
    tx: Tx, business_id: str, target_id: str, not_seen_since: datetime, verified_before: datetime
) -> list[RecordLink]:
    """Leads of the lists that were verified and are not seen there any more."""
    seen = crm_records.c.seen_at
    mine = _of_lists(business_id, target_id).where(
        crm_records.c.state == DeliveryState.VERIFIED,
        crm_records.c.verified_at < verified_before,
        or_(seen.is_(None), seen < not_seen_since),
    )
    return tx.list(RecordLink, mine.order_by(crm_records.c.lead_id))


def mark_gone(tx: Tx, record: RecordLink) -> None:
    """Note that a record is not there, and is made anew this once."""
    statement = update(crm_records).where(
        crm_records.c.business_id == record.business_id,
        crm_records.c.target_id == record.target_id,
        crm_records.c.lead_id == record.lead_id,
    )
    tx.execute(statement.values(gone_at=tx.now))


def list_erasures_of(tx: Tx, business_id: str, target_id: str, lead_ids: Collection[str]) -> list[Erasure]:
    """Erasures of some leads at a target, whatever became of them."""
    query = select(crm_erasures).where(
        crm_erasures.c.business_id == business_id,
        crm_erasures.c.target_id == target_id,
        crm_erasures.c.lead_id.in_(list(lead_ids)),
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


def save_erasure(tx: Tx, target: LiveTarget, lead_id: str, record_id: str) -> int | None:
    """Keep that a person is to be erased in a target; None when that is known."""
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
    mine = crm_erasures.c.business_id == business_id, crm_erasures.c.id == erasure_id
    return tx.find(Erasure, select(crm_erasures).where(*mine))


def list_erasures(tx: Tx, business_id: str, target_id: str, limit: int = 50) -> list[Erasure]:
    mine = crm_erasures.c.business_id == business_id, crm_erasures.c.target_id == target_id
    return tx.list(Erasure, select(crm_erasures).where(*mine).order_by(crm_erasures.c.id.desc()).limit(limit))


def record_erasure(tx: Tx, erasure: Erasure, state: ErasureState, reason: str = "") -> None:
    settled = None if state is ErasureState.DUE else tx.now
    statement = update(crm_erasures).where(
        crm_erasures.c.business_id == erasure.business_id, crm_erasures.c.id == erasure.id
    )
    tx.execute(statement.values(state=state, reason=reason[:64], settled_at=settled))


def record_erasure_again(tx: Tx, erasure: Erasure, record_id: str) -> None:
    """Make the erasure of a person due once more, whose record is there again."""
    statement = update(crm_erasures).where(
        crm_erasures.c.business_id == erasure.business_id, crm_erasures.c.id == erasure.id
    )
    due = {"state": ErasureState.DUE, "reason": "", "settled_at": None, "created_at": tx.now}
    tx.execute(statement.values(**due, record_id=record_id[:RECORD_LIMIT]))


def list_due_erasures(tx: Tx, business_id: str, target_id: str) -> list[Erasure]:
    """All of a target that are still to be carried out."""
    query = select(crm_erasures).where(
        crm_erasures.c.business_id == business_id,
        crm_erasures.c.target_id == target_id,
        crm_erasures.c.state == ErasureState.DUE,
    )
    return tx.list(Erasure, query.order_by(crm_erasures.c.id))


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
    """Remember fingerprints of what was written into fields of a record."""
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
    """Return whether a value is the one that we wrote into a field last."""
    query = select(crm_echoes.c.digest).where(
        crm_echoes.c.business_id == target.business_id,
        crm_echoes.c.target_id == target.id,
        crm_echoes.c.record_id == record_id[:RECORD_LIMIT],
        crm_echoes.c.field == name,
    )
    found = tx.scalar(query)
    return found is not None and bytes(found) == tx.vault.blind(text, target.business_id)


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


def _row(found: Any) -> dict[str, Any]:
    return row_of(found)


def save_event_set(tx: Tx, made: EventSet) -> bool:
    """Insert an event set; False when the ad account has one of this name."""
    return tx.insert_ignore(crm_event_sets, _row(made))


def list_event_sets(tx: Tx, business_id: str, ad_account_id: str | None = None) -> list[EventSet]:
    """The event sets of an ad account, or of all, oldest first."""
    query = select(crm_event_sets).where(crm_event_sets.c.business_id == business_id)
    if ad_account_id is not None:
        query = query.where(crm_event_sets.c.ad_account_id == ad_account_id)
    return tx.list(EventSet, query.order_by(crm_event_sets.c.number))


def append_lead_event(tx: Tx, event: LeadEvent) -> bool:
    """Append an event; False when it was there before."""
    name = tx.seal(event.name, event.business_id, "lead_events.name", event.id)
    return tx.insert_ignore(lead_events, _row(event) | {"name": name})


def delete_lead_events(tx: Tx, business_id: str, lead_ids: Collection[str]) -> None:
    """Forget what CRMs sent of some leads."""
    mine = lead_events.c.business_id == business_id, lead_events.c.lead_id.in_(list(lead_ids))
    tx.execute(lead_events.delete().where(*mine))


def list_lead_numbers(tx: Tx, business_id: str, lead_ids: Collection[str]) -> dict[str, int]:
    """Numbers by the ids of leads."""
    query = select(leads.c.id, leads.c.number).where(
        leads.c.business_id == business_id, leads.c.id.in_(list(lead_ids))
    )
    return {row["id"]: row["number"] for row in tx.execute(query).mappings()}
