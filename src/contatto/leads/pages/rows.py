"""Leads as the list shows them, each with what it has around it, read with a handful of statements."""

from typing import Any

from contatto.accounts.model import BusinessId
from contatto.accounts.store import list_members
from contatto.kit.db.tx import Tx
from contatto.leads.model.annotations import Label
from contatto.leads.model.leads import ContactPoint, Lead
from contatto.leads.rules.records import person_label
from contatto.leads.store import annotations, records
from contatto.leads.store.credits import AdNames, Credit, list_credits, list_winning_ads


def credits_of(tx: Tx, business_id: str, found: list[Lead]) -> dict[str, Credit]:
    """For each lead that an ad earned: the attribution and the ad."""
    return list_credits(tx, business_id, {lead.id for lead in found})


def member_names(tx: Tx, business_id: str) -> dict[str, str]:
    """The names of a business's members, in the order of their joining."""
    return {member.id: member.display_name for member in list_members(tx, BusinessId(business_id))}


def rows_of(tx: Tx, business_id: str, found: list[Lead]) -> list[dict[str, Any]]:
    ids = {lead.id for lead in found}
    ads = list_winning_ads(tx, business_id, ids)
    points = records.list_contact_points(tx, business_id, ids)
    labels = annotations.list_labels_of(tx, business_id, ids)
    names = member_names(tx, business_id)
    return [
        _row(lead, points[lead.id], ads.get(lead.id))
        | {"labels": [_tag(label) for label in labels[lead.id]], "owner": names.get(lead.owner_id or "")}
        for lead in found
    ]


def _row(lead: Lead, points: list[ContactPoint], ad: AdNames | None) -> dict[str, Any]:
    return {
        "id": lead.id,
        "name": person_label(lead.name, lead.person_id),
        "handle": None,
        "is_test": lead.is_test,
        "contact_points": points,
        "status": lead.status.value,
        "source": lead.origin.value,
        "campaign_name": ad and ad.campaign_name,
        "ad_group_name": ad and ad.ad_group_name,
        "ad_name": ad and ad.ad_name,
        "created_at": lead.created_at,
        "last_activity_at": lead.updated_at,
    }


def _tag(label: Label) -> dict[str, Any]:
    return {"id": label.id, "name": label.name, "tone": label.tone}
