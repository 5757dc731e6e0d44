"""Erasing people at ad platforms: what has not left never does, and what has left is told as such."""

from collections import Counter
from collections.abc import Collection

from contatto.kit.db.tx import Tx
from contatto.kit.outbound.store import delete_requests_of
from contatto.signals.model.events import SIGNAL, AdSignal, SignalState
from contatto.signals.store import erasures
from contatto.signals.store import signals as store


def erase_signals(tx: Tx, business_id: str, lead_ids: Collection[str]) -> None:
    """Forget the signals of leads that are gone, and keep how far that is at each account; part of a port.

    No platform can take an event back: TikTok and Meta have no request for it. Hashes that have left, or may
    have, are counted, so that the business knows what to tell the person.
    """
    signals = store.list_signals_of_leads(tx, business_id, lead_ids)
    sent = Counter((signal.outside_account_id, signal.lead_id) for signal in signals if _may_be_there(signal))
    for account_id, lead_id in sorted({(each.outside_account_id, each.lead_id) for each in signals}):
        erasures.save_signal_erasure(tx, business_id, account_id, lead_id, sent[account_id, lead_id])
    store.delete_signals_of(tx, business_id, lead_ids)
    delete_requests_of(tx, business_id, SIGNAL, [str(each.id) for each in signals])


def _may_be_there(signal: AdSignal) -> bool:
    return signal.state is SignalState.SENT or signal.unsure_at is not None
