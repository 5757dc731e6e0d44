"""Which conversions are behind a figure of the report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from contatto.leads.model import LeadStatus, Origin
from contatto.measurement.model import ConversionKind, Goal, TouchKind

_CHAT, _LEAD = ConversionKind.CONVERSATION, ConversionKind.LEAD
KINDS: Final = {Goal.LEAD: _LEAD, Goal.CONVERSATION: _CHAT}
"""What a goal counts."""


@dataclass(frozen=True, slots=True)
class Behind:
    """What a metric counts: a kind (None for what the goal counts), on one of two days, maybe only some."""

    kind: ConversionKind | None = None
    own_day: bool = False
    via: TouchKind | None = None
    origins: frozenset[Origin] = frozenset()
    statuses: frozenset[LeadStatus] = frozenset()


BEHIND: Final[Mapping[str, Behind]] = {
    "conversion": Behind(),
    "result": Behind(),
    "real_time_conversion": Behind(own_day=True),
    "real_time_result": Behind(own_day=True),
    "cta_conversion": Behind(via=TouchKind.CLICK),
    "vta_conversion": Behind(via=TouchKind.VIEW),
    "conversations": Behind(_CHAT),
    "real_time_conversations": Behind(_CHAT, own_day=True),
    "leads": Behind(_LEAD),
    "real_time_leads": Behind(_LEAD, own_day=True),
    "onsite_form": Behind(_LEAD, origins=frozenset({Origin.FORM})),
    "chat_leads": Behind(_LEAD, origins=frozenset({Origin.CHAT})),
    "manual_leads": Behind(_LEAD, origins=frozenset({Origin.MANUAL})),
    "qualified_leads": Behind(_LEAD, statuses=frozenset({LeadStatus.QUALIFIED, LeadStatus.CONVERTED})),
    "converted_leads": Behind(_LEAD, statuses=frozenset({LeadStatus.CONVERTED})),
}
"""The metrics that count conversions, and which."""
