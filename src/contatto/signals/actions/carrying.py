"""Carries what became of leads to linked CRMs and ad platforms, in its transaction: ports of leads."""

from collections.abc import Collection

from contatto.crm.actions.deliveries import schedule_erasure, schedule_lead, schedule_merge
from contatto.kit.db.tx import Tx
from contatto.signals.actions.erasing import erase_signals
from contatto.signals.actions.scheduling import schedule_signals, signals_merged


def carry_change(tx: Tx, business_id: str, /, *lead_ids: str) -> None:
    """Make changes of leads due at linked CRMs, and at the ad platforms that earned them."""
    schedule_lead(tx, business_id, *lead_ids)
    schedule_signals(tx, business_id, *lead_ids)


def carry_merge(tx: Tx, business_id: str, kept_id: str, merged_id: str, *, is_undone: bool) -> None:
    """Let linked CRMs and ad platforms take note of a merge."""
    schedule_merge(tx, business_id, kept_id, merged_id, is_undone=is_undone)
    signals_merged(tx, business_id, kept_id, merged_id, is_undone=is_undone)


def carry_erasure(tx: Tx, business_id: str, lead_ids: Collection[str]) -> None:
    """Carry an erasure to linked CRMs and to ad platforms."""
    schedule_erasure(tx, business_id, lead_ids)
    erase_signals(tx, business_id, lead_ids)
