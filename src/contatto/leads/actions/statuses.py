"""Moving leads through the statuses, and taking a change back."""

from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.outbox import emit
from contatto.leads.model.events import LeadStatusChanged
from contatto.leads.model.leads import HistoryEntry, HistoryKind, Lead, LeadStatus
from contatto.leads.ports import LeadPorts
from contatto.leads.rules import records as rules
from contatto.leads.store import records as store


def change_lead_status(
    tx: Tx, business_id: str, lead_id: str, seen: LeadStatus, new: LeadStatus, actor: str
) -> Lead:
    """Move a lead to another status; ``seen`` is the status that the person had before their eyes.

    A lead that has the new status by now stays as it is.

    Raises:
        Refused: NOT_FOUND; CONFLICT when the move is not allowed or somebody was faster.
    """
    lead = _listed_lead(tx, business_id, lead_id)
    if lead.status is new:
        return lead
    rules.check_seen(lead.status, seen)
    rules.check_move(lead.status, new)
    _move(tx, lead, new, HistoryKind.STATUS, actor)
    return store.find_lead(tx, business_id, lead_id) or lead


def return_lead_status(tx: Tx, lead: Lead, old: LeadStatus, actor: str) -> None:
    """Give a lead the status back that it had before; undoing may go where no move leads, such as to raw.

    Raises:
        Refused: CONFLICT when somebody was faster.
    """
    _move(tx, lead, old, HistoryKind.STATUS_UNDONE, actor)


def undo_lead_status(tx: Tx, business_id: str, lead_id: str, seen: LeadStatus, actor: str) -> None:
    """Take back the change that gave a lead its status, which is ``seen``.

    Raises:
        Refused: NOT_FOUND; CONFLICT when somebody was faster, or the change is too long ago.
    """
    lead = _listed_lead(tx, business_id, lead_id)
    rules.check_seen(lead.status, seen)
    step = rules.status_step_to_undo(store.list_history(tx, business_id, lead_id), lead.status, tx.now)
    if step is None:
        raise Refused(errors.CONFLICT, "This change can no longer be undone. Choose a status instead.")
    return_lead_status(tx, lead, rules.status_before(step), actor)


def _listed_lead(tx: Tx, business_id: str, lead_id: str) -> Lead:
    lead = store.find_lead_to_change(tx, business_id, lead_id)
    if lead is None or lead.hidden_at is not None:
        raise Refused(errors.NOT_FOUND, "Lead not found.")
    return lead


def _move(tx: Tx, lead: Lead, new: LeadStatus, what: HistoryKind, actor: str) -> None:
    if not store.record_status(tx, lead, new):
        raise Refused(errors.CONFLICT)
    detail = f"{lead.status.value}{rules.ARROW}{new.value}"
    store.append_history(tx, lead.business_id, HistoryEntry(new_id(), lead.id, what, detail, actor, tx.now))
    emit(tx, lead.business_id, LeadStatusChanged(lead.business_id, lead.id, lead.status.value, new.value))
    if not lead.is_test:
        tx.ports[LeadPorts].lead_changed(tx, lead.business_id, lead.id)
