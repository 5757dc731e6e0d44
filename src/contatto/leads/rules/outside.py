"""A lead as programs outside are shown it: its source, its fields, and what else is known of it."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Final

from contatto.capture.model import Field
from contatto.kit.answers import Answer, IdText, TimeText, capitals
from contatto.kit.api_types import api_time
from contatto.leads.model.leads import ContactPoint, Lead, LeadSource, LeadStatus, Origin
from contatto.measurement.model import MeasuredAd

NAME: Final = "name"
CHAT_FIELDS: Final = (NAME, *(field.value for field in Field))
"""What a lead of a chat may have: a name, and each kind of contact detail."""
_SOURCES: Final = {
    Origin.CHAT: LeadSource.DIRECT_MESSAGE,
    Origin.MANUAL: LeadSource.DIRECT_MESSAGE,
    Origin.FORM: LeadSource.INSTANT_FORM,
}


def source_of(lead: Lead) -> LeadSource | None:
    """Where a lead comes from; None for one out of a file, which no chat and no form made."""
    return _SOURCES.get(lead.origin)


def origins_of(source: LeadSource) -> tuple[Origin, ...]:
    return tuple(origin for origin, found in _SOURCES.items() if found is source)


def chat_data(lead: Lead, points: Iterable[ContactPoint]) -> dict[str, str]:
    """The name and the contact details of a lead, by field; several values of a field with commas."""
    values: dict[str, list[str]] = {NAME: [lead.name]} if lead.name else {}
    for point in points:
        values.setdefault(point.field.value, []).append(point.value)
    return {field: ", ".join(values[field]) for field in CHAT_FIELDS if field in values}


def ad_data(ad: MeasuredAd | None) -> Mapping[str, str]:
    """Ids and names of the ad that earned a lead, with its ad group and campaign; empty without one."""
    return {
        "campaign_id": str(ad.campaign_number) if ad else "",
        "campaign_name": ad.campaign_name if ad else "",
        "adgroup_id": str(ad.ad_group_number) if ad else "",
        "adgroup_name": ad.ad_group_name if ad else "",
        "ad_id": str(ad.ad_number) if ad else "",
        "ad_name": ad.ad_name if ad else "",
    }


class LeadMeta(Answer, frozen=True):
    """What is known of a lead beside its data; without a form or an ad their ids and names are empty."""

    lead_source: LeadSource
    lead_id: IdText
    page_id: str
    campaign_id: str
    campaign_name: str
    adgroup_id: str
    adgroup_name: str
    ad_id: str
    ad_name: str
    create_time: TimeText
    status: Annotated[str, capitals(LeadStatus)]
    is_test: bool


def meta_data(lead: Lead, source: LeadSource, ad: MeasuredAd | None, page_id: str = "") -> LeadMeta:
    """The ``meta_data`` of a lead in the API; ``is_test`` and ``status`` are extensions."""
    return LeadMeta(
        lead_source=source,
        lead_id=str(lead.number),
        page_id=page_id,
        **ad_data(ad),
        create_time=api_time(lead.created_at),
        status=lead.status.upper(),
        is_test=lead.is_test,
    )
