"""Taking what a CRM sends back about leads: kept as it came, and moved into statuses where it maps."""

from dataclasses import dataclass
from datetime import datetime

from contatto.accounts.model import AdAccount, Caller
from contatto.accounts.rules import may_use
from contatto.crm.rules import events as rules
from contatto.crm.rules.events import EventSet, LeadEvent
from contatto.crm.store import events as store
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id, new_number
from contatto.leads.actions.records import change_lead_status, note_crm_change
from contatto.leads.model import Lead
from contatto.leads.store.listing import is_earned_elsewhere
from contatto.leads.store.records import find_lead_by_number


@dataclass(frozen=True, slots=True)
class Told:
    """An event as it was sent: of which lead, what happened, when, and the sender's own id of it, if any."""

    lead_number: int
    name: str
    event_id: str
    occurred_at: datetime


def create_event_set(tx: Tx, account: AdAccount, name: str) -> EventSet:
    """Make a CRM event set.

    Raises:
        Refused: INVALID when the name is no name or taken; AD_LIMIT when there are too many.
    """
    wanted = " ".join(name.split())
    if not 0 < len(wanted) <= rules.NAME_LIMIT or not wanted.isprintable():
        raise Refused(errors.INVALID, f"name: write 1 to {rules.NAME_LIMIT} characters.")
    tx.hold_key("event sets", account.id)
    if len(store.list_event_sets(tx, account.business_id, account.id)) >= rules.MOST_SETS:
        raise Refused(errors.AD_LIMIT, f"An ad account has {rules.MOST_SETS} CRM event sets at most.")
    event_set = EventSet(new_id(), account.business_id, new_number(), account.id, wanted, tx.now)
    if not store.save_event_set(tx, event_set):
        raise Refused(
            errors.INVALID,
            "name: This ad account already has an event set with this name. Choose a different name.",
        )
    return event_set


def load_event_set(tx: Tx, caller: Caller, number: int) -> EventSet:
    """A CRM event set of an ad account that the caller may work with.

    Raises:
        Refused: NOT_FOUND.
    """
    for event_set in store.list_event_sets(tx, caller.business_id):
        if event_set.number == number and may_use(caller, event_set.ad_account_id):
            return event_set
    raise Refused(errors.NOT_FOUND, "event_source_id: CRM event set not found. /crm/list/ lists them.")


def find_event_lead(tx: Tx, event_set: EventSet, event: Told) -> Lead | None:
    """Return the lead of an event; None for a lead that is not here, or of another ad account."""
    lead = find_lead_by_number(tx, event_set.business_id, event.lead_number)
    if lead is None or lead.hidden_at is not None:
        return None
    if is_earned_elsewhere(tx, event_set.business_id, lead.id, event_set.ad_account_id):
        return None
    return lead


def take_lead_event(tx: Tx, event_set: EventSet, told: Told, actor: str) -> bool:
    """Keep an event once, and move its lead on if it stands for a status; False when the lead is not here."""
    business_id = event_set.business_id
    lead = find_event_lead(tx, event_set, told)
    if lead is None:
        return False
    status = rules.status_of_event(told.name)
    own_id = told.event_id or str(told.occurred_at.timestamp())
    parts = (str(event_set.number), str(told.lead_number), told.name, own_id)
    # A CRM may call its events by what is personal.
    natural = tx.vault.blind("\0".join(("event", *parts)), business_id).hex()
    event = LeadEvent(
        new_id(), business_id, lead.id, event_set.number, told.name, natural, status, told.occurred_at, tx.now
    )
    if not store.append_lead_event(tx, event):
        return True
    note_crm_change(tx, lead, told.name, actor)
    if status is not None and rules.follows(lead.status, status):
        change_lead_status(tx, business_id, lead.id, lead.status, status, actor)
    return True
