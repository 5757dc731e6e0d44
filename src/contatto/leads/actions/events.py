"""Writing into a lead's history what a CRM tells of it."""

from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id
from contatto.kit.outbox import emit
from contatto.leads.model.events import LeadEventReceived
from contatto.leads.model.leads import HistoryEntry, HistoryKind, Lead
from contatto.leads.store.records import append_history


def note_crm_change(tx: Tx, lead: Lead, detail: str, actor: str) -> None:
    """Write into a lead's history what somebody did to it in a CRM, and tell of it."""
    step = HistoryEntry(new_id(), lead.id, HistoryKind.CRM_EVENT, detail, actor, tx.now)
    append_history(tx, lead.business_id, step)
    emit(tx, lead.business_id, LeadEventReceived(lead.business_id, lead.id))
