"""What we know of a lead, weaknesses of mappings and states of deliveries, in words for people."""

from collections.abc import Iterable, Mapping
from typing import Final

from contatto.capture.model import Field
from contatto.crm.model.deliveries import DeliveryState
from contatto.crm.model.sources import ANSWER
from contatto.crm.model.targets import MappingFault, Weakness
from contatto.kit.i18n import N_, LazyText, brand_of

SOURCES: Final[Mapping[str, str]] = {
    "name": N_("Name"),
    "first_name": N_("First name"),
    "last_name": N_("Last name"),
    Field.PHONE.value: N_("Phone"),
    Field.EMAIL.value: N_("E-mail"),
    "status": N_("Status"),
    "owner": N_("Owner (e-mail)"),
    "labels": N_("Labels"),
    "lead_id": N_("Lead number"),
    "lead_url": N_("Lead link"),
    "lead_source": N_("Source"),
    "created_at": N_("Received at"),
    "campaign_id": N_("Campaign ID"),
    "campaign_name": N_("Campaign"),
    "adgroup_id": N_("Ad group ID"),
    "adgroup_name": N_("Ad group"),
    "ad_id": N_("Ad ID"),
    "ad_name": N_("Ad"),
    "form_name": N_("Form"),
}
"""By their names in mappings; other contact details go by the names of their platforms."""
DELIVERIES: Final[Mapping[DeliveryState, tuple[str, str]]] = {
    DeliveryState.DUE: (N_("To send"), "review"),
    DeliveryState.SENT: (N_("Sent"), "contacted"),
    DeliveryState.VERIFIED: (N_("Verified"), "on"),
    DeliveryState.DEAD: (N_("Failed"), "failed"),
}
"""States of deliveries, with the colours of their badges."""


def source_text(source: str) -> LazyText | str:
    """A name of ours as people know it; an answer to a form is named by its question."""
    if source.startswith(ANSWER):
        return LazyText(N_("Answer: %(question)s"), question=source.removeprefix(ANSWER))
    return LazyText(SOURCES[source]) if source in SOURCES else brand_of(source.replace("_", " "))


def fault_texts(faults: Iterable[MappingFault]) -> list[LazyText]:
    """What is wrong with a row of a mapping, and what follows."""
    found = list(faults)
    wrong = [fault.value for fault in found if fault.weakness is Weakness.NO_CHOICE]
    texts = []
    if any(fault.weakness is Weakness.NO_FIELD for fault in found):
        texts.append(LazyText(N_("This field no longer exists in the CRM, so nothing is written to it")))
    if wrong:
        says = N_("Not among the field's options, so not written: %(values)s")
        texts.append(LazyText(says, values=", ".join(wrong)))
    return texts
