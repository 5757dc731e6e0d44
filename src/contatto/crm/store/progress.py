"""How far deliveries are: what is written at their steps, and at the record of their lead."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from sqlalchemy import String, bindparam, case, func, literal, or_, update

from contatto.crm.model.deliveries import Delivery, DeliveryState
from contatto.crm.store.deliveries import RECORD_LIMIT, crm_deliveries, crm_records, seal_edited
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, Instant


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
