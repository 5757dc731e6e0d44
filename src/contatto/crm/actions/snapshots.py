"""Reading all that is known of a lead, as the texts that mappings use."""

from contatto.accounts.model import BusinessId
from contatto.accounts.store import find_member
from contatto.crm.model.sources import ANSWER, OWNER, STATUS, Snapshot
from contatto.crm.ports import CrmPorts
from contatto.crm.rules.mapping import name_values
from contatto.kit.db.tx import Tx
from contatto.kit.i18n import is_unreadable
from contatto.leads.model import Lead
from contatto.leads.rules.records import ad_data, source_of
from contatto.leads.store.annotations import list_entries, list_labels_of
from contatto.leads.store.listing import list_credits
from contatto.leads.store.records import list_contact_points


def read_snapshot(tx: Tx, lead: Lead, base_url: str) -> Snapshot:
    """A lead as it is now."""
    business_id = lead.business_id
    values = name_values(lead.name)
    wrong: dict[str, list[str]] = {}
    for point in list_contact_points(tx, business_id, {lead.id})[lead.id]:
        if is_unreadable(point.value):
            continue
        if point.wrong_at is not None:
            wrong.setdefault(point.field.value, []).append(point.value)
            continue
        known = values.get(point.field.value)
        values[point.field.value] = f"{known}, {point.value}" if known else point.value
    owner = find_member(tx, BusinessId(business_id), lead.owner_id) if lead.owner_id else None
    earned = list_credits(tx, business_id, {lead.id}).get(lead.id)
    forms = list_entries(tx, business_id, lead.id)
    source = source_of(lead)
    values |= {
        STATUS: lead.status.value,
        OWNER: owner.email if owner else "",
        "labels": ", ".join(label.name for label in list_labels_of(tx, business_id, {lead.id})[lead.id]),
        "lead_id": str(lead.number),
        "lead_url": f"{base_url}/leads/{lead.id}",
        "lead_source": source.value if source else "",
        "created_at": lead.created_at.isoformat(),
        "form_name": forms[-1].form_name if forms else "",
        **ad_data(earned[1] if earned else None),
    }
    answers = tx.ports[CrmPorts].answers(tx, business_id, lead.id)
    values |= {f"{ANSWER}{label}": text for label, text in answers.items()}
    return Snapshot(lead.id, values, lead.updated_at, wrong)
