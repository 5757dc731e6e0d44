"""Leads as the list shows them, each with what it has around it, read with a handful of statements."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from contatto.accounts.model import BusinessId, Permission
from contatto.accounts.store import list_able_members, list_members
from contatto.kit.db.tx import Tx
from contatto.leads.model.annotations import Label
from contatto.leads.model.leads import ContactPoint, Lead
from contatto.leads.ports import LeadPorts
from contatto.leads.rules.records import person_label
from contatto.leads.store import annotations, records
from contatto.leads.store.credits import Credit, list_credits, list_winning_ads
from contatto.leads.store.scores import list_scores


def credits_of(tx: Tx, business_id: str, found: list[Lead]) -> dict[str, Credit]:
    """For each lead that an ad earned: the attribution and the ad."""
    return list_credits(tx, business_id, {lead.id for lead in found})


def member_names(tx: Tx, business_id: str) -> dict[str, str]:
    """The names of a business's members, in the order of their joining."""
    return {member.id: member.display_name for member in list_members(tx, BusinessId(business_id))}


def assignees(tx: Tx, business_id: str) -> list[tuple[str, str]]:
    """Ids and names of those whom a lead may be given to: members who may open leads."""
    able = list_able_members(tx, BusinessId(business_id), Permission.READ_LEADS)
    return [(member.id, member.display_name) for member in able]


@dataclass(frozen=True, slots=True)
class LeadRow:
    """A lead of the list, with the ad that earned it; ``owner`` is a name, None when nobody has it.

    ``in_crm`` says how far it is in the linked CRMs; empty for one that was never due there.
    """

    id: str
    name: str
    handle: str | None
    is_test: bool
    contact_points: Sequence[ContactPoint]
    status: str
    source: str
    campaign_name: str | None
    ad_group_name: str | None
    ad_name: str | None
    created_at: datetime
    last_activity_at: datetime
    labels: Sequence[Label]
    owner: str | None
    in_crm: str
    score: int | None


def rows_of(tx: Tx, business_id: str, found: list[Lead], *, with_crm: bool = False) -> list[LeadRow]:
    """With ``with_crm`` each says how far it is in the linked CRMs too."""
    ids = {lead.id for lead in found}
    ads = list_winning_ads(tx, business_id, ids)
    points = records.list_contact_points(tx, business_id, ids)
    labels = annotations.list_labels_of(tx, business_id, ids)
    names = member_names(tx, business_id)
    scores = list_scores(tx, business_id, ids)
    states = tx.ports[LeadPorts].crm_states(tx, business_id, ids) if with_crm else {}
    return [
        LeadRow(
            id=lead.id,
            name=person_label(lead.name, lead.person_id),
            handle=None,
            is_test=lead.is_test,
            contact_points=points[lead.id],
            status=lead.status.value,
            source=lead.origin.value,
            campaign_name=ad.campaign_name if ad else None,
            ad_group_name=ad.ad_group_name if ad else None,
            ad_name=ad.ad_name if ad else None,
            created_at=lead.created_at,
            last_activity_at=lead.updated_at,
            labels=labels[lead.id],
            owner=names.get(lead.owner_id or ""),
            in_crm=states.get(lead.id, ""),
            score=scores.get(lead.id),
        )
        for lead, ad in ((lead, ads.get(lead.id)) for lead in found)
    ]
