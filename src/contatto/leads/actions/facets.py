"""Keeping the facets of leads true: every action calls this after it changed what hangs on a lead."""

from collections.abc import Collection, Set

from contatto.kit.db.tx import Tx
from contatto.leads.store import facets as store


def refresh_facets(tx: Tx, business_id: str, lead_ids: Collection[str]) -> None:
    """Find out anew what leads are filtered by; enough where no contact value came, went, showed or hid."""
    store.record_facets(tx, business_id, set(lead_ids))


def refresh_with_twins(
    tx: Tx, business_id: str, lead_ids: Collection[str], before: Collection[str] = ()
) -> None:
    """The same for leads and those that share a contact value, or shared one ``before`` it went."""
    ids = set(lead_ids) | set(before)
    store.record_facets(tx, business_id, ids | store.list_sharing_leads(tx, business_id, ids))


def refresh_after(tx: Tx, business_id: str, twins: Set[str], touched: Set[str], fresh: Set[str]) -> None:
    """The same for a batch: leads that got contact values, and those that got something else.

    ``fresh`` were inserted with their facets; of these only who shares a value with another needs its mark.
    Nothing went, so of others who share a value those alone change that have no mark of it yet.
    """
    if twins:
        shared = store.list_shared(tx, business_id, twins)
        store.record_twins(tx, business_id, shared.twins & fresh)
        store.record_facets(tx, business_id, twins - fresh - shared.unsure, shared.twins)
        store.record_facets(tx, business_id, shared.unsure | shared.unmarked)
    if others := touched - twins - fresh:
        refresh_facets(tx, business_id, others)
