"""Scheduling deliveries: in the transaction that changed a lead, and later for those that waited."""

from collections.abc import Collection, Iterable
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import select

from contatto.crm.model.targets import Sweep, Target, TargetState
from contatto.crm.rules.plans import DELIVERY, DELIVERY_PLAN, ECHO, ERASURE, ERASURE_PLAN, KEEP
from contatto.crm.store import deliveries as store
from contatto.crm.store.echoes import delete_old_echoes
from contatto.crm.store.erasures import save_erasure
from contatto.crm.store.events import delete_lead_events
from contatto.crm.store.progress import mark_queued
from contatto.crm.store.targets import LiveTarget, find_swept_target, list_live_targets, record_target
from contatto.crm.store.trials import delete_trials_of
from contatto.kit.clock import in_time
from contatto.kit.db.tx import Tx
from contatto.kit.outbound.model import NewRequest
from contatto.kit.outbound.store import delete_requests_of, queue_request, queue_requests
from contatto.leads.store.records import leads

AT_ONCE: Final = 200


def schedule_lead(tx: Tx, business_id: str, /, *lead_ids: str) -> None:
    """Make changes of leads due at each target of their business; a port of leads.

    A target that is not active keeps what is due, and gets it when it is active again.
    """
    for target in list_live_targets(tx, business_id) if lead_ids else []:
        schedule_deliveries(tx, target, lead_ids)


def schedule_delivery(tx: Tx, target: LiveTarget, lead_id: str, edited: str = "") -> int:
    """Make a lead due at one target; give the id of the delivery."""
    return schedule_deliveries(tx, target, [lead_id], edited)[lead_id]


def schedule_deliveries(
    tx: Tx, target: LiveTarget, lead_ids: Iterable[str], edited: str = ""
) -> dict[str, int]:
    """Make leads due at one target, each once; give the ids of the deliveries, by their leads."""
    due = sorted(set(lead_ids))
    if not due:
        return {}
    is_queued = target.state is TargetState.ACTIVE
    revisions = store.record_changes(tx, target, due)
    made = store.append_deliveries(tx, target, revisions, is_queued=is_queued, edited=edited)
    if is_queued:
        queue_requests(tx, [delivery_request(target, made[each], each) for each in due], DELIVERY_PLAN)
    return made


def delivery_request(target: LiveTarget, delivery_id: int, lead_id: str) -> NewRequest:
    """The request that brings a delivery; those of one lead go one after the other."""
    line = f"{target.number}:{lead_id}"
    return NewRequest(target.business_id, DELIVERY, str(delivery_id), destination_of(target), line)


def destination_of(target: LiveTarget) -> str:
    """What may be slow or down as a whole: one target, so that no other waits for it."""
    host = urlsplit(target.address).netloc.rpartition("@")[2].lower()
    return f"crm-{target.number}-{host}"[:300]


def narrow_target(target: Target) -> LiveTarget:
    """As much of a target as scheduling needs."""
    return LiveTarget(target.id, target.business_id, target.number, target.state, target.address)


def schedule_merge(tx: Tx, business_id: str, kept_id: str, merged_id: str, *, is_undone: bool) -> None:
    """Bring it to each target that two leads became one, or two again; a port of leads."""
    store.record_merged(tx, business_id, merged_id, None if is_undone else kept_id)
    schedule_lead(tx, business_id, kept_id)
    if is_undone:
        schedule_lead(tx, business_id, merged_id)


def schedule_erasure(tx: Tx, business_id: str, lead_ids: Collection[str]) -> None:
    """Make it due at each target to erase leads that are gone, and forget what was to go there; a port.

    What may be on its way meanwhile is found by our id when it is erased.
    """
    targets = list_live_targets(tx, business_id)
    known = {
        (record.target_id, lead_id): record.record_id
        for lead_id in sorted(lead_ids)
        for record in store.list_records_of_lead(tx, business_id, lead_id)
    }
    delete_trials_of(tx, business_id, lead_ids)
    delete_lead_events(tx, business_id, lead_ids)
    gone = store.delete_lead_rows(tx, business_id, lead_ids)
    delete_requests_of(tx, business_id, DELIVERY, [str(each) for each in gone])
    for target in targets:
        for lead_id in sorted(lead_ids):
            if (target.id, lead_id) not in known:
                continue  # nothing of this lead was ever due there
            made = save_erasure(tx, target, lead_id, known[target.id, lead_id])
            if made is not None and target.state is TargetState.ACTIVE:
                queue_erasure(tx, target, made, lead_id)


def queue_erasure(tx: Tx, target: LiveTarget, erasure_id: int, lead_id: str) -> None:
    queue_request(tx, erasure_request(target, erasure_id, lead_id), ERASURE_PLAN)


def erasure_request(target: LiveTarget, erasure_id: int, lead_id: str) -> NewRequest:
    """The request that erases, in one line with what still brings the lead."""
    line = f"{target.number}:{lead_id}"
    return NewRequest(target.business_id, ERASURE, str(erasure_id), destination_of(target), line)


def release_deliveries(tx: Tx) -> int:
    """Queue some deliveries that waited for their target to be active again; say how many."""
    held = store.list_held(tx, AT_ONCE)
    found = {
        target.id: target
        for business_id in sorted({each.business_id for each in held})
        for target in list_live_targets(tx, business_id)
    }
    count = 0
    for delivery in in_time(held):
        target = found[delivery.target_id]
        queue_request(tx, delivery_request(target, delivery.id, delivery.lead_id), DELIVERY_PLAN)
        mark_queued(tx, delivery)
        count += 1
    return count


def sweep_leads(tx: Tx) -> int:
    """Go through some leads of a target that was linked later, or is to get all again; say how many."""
    target = find_swept_target(tx)
    if target is None:
        return 0
    page = list_lead_ids_after(tx, target.business_id, target.sweep_after, AT_ONCE)
    due = page if target.sweep is Sweep.ALL else store.list_unknown_leads(tx, target, page)
    schedule_deliveries(tx, narrow_target(target), due)
    is_over = len(page) < AT_ONCE
    after = "" if is_over else page[-1]
    record_target(tx, target, sweep=Sweep.NONE if is_over else target.sweep, sweep_after=after)
    return max(len(page), 1)


def list_lead_ids_after(tx: Tx, business_id: str, after: str, limit: int) -> list[str]:
    """Ids of leads that are in the lists, in their order; test leads are told to nobody."""
    listed = select(leads.c.id).where(
        leads.c.business_id == business_id,
        leads.c.id > after,
        leads.c.hidden_at.is_(None),
        leads.c.is_test.is_(False),
    )
    return list(tx.execute(listed.order_by(leads.c.id).limit(limit)).scalars())


def purge_sync(tx: Tx) -> int:
    """Delete some deliveries that arrived long ago, and what needs not be known as ours any more."""
    old = store.delete_old_deliveries(tx, tx.now - KEEP)
    return old + delete_old_echoes(tx, tx.now - ECHO)
