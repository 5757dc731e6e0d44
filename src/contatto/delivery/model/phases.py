"""How far delivery has learned an ad group, and why not further."""

from enum import StrEnum

import msgspec


class Phase(StrEnum):
    LEARNING = "learning"
    LEARNED = "learned"
    LIMITED = "limited"


class Reason(StrEnum):
    """Why an ad group has not learned, in the order in which they are looked for."""

    FEW_CONVERSIONS = "few_conversions"
    """Time alone brings the rest."""
    TOO_FEW_LEADS = "too_few_leads"
    TOO_FEW_CONVERSATIONS = "too_few_conversations"
    LITTLE_TRAFFIC = "little_traffic"
    """Hardly anybody asks for an ad where this ad group may serve."""
    LOW_BID = "low_bid"
    """What a conversion may cost wins next to no place."""
    LITTLE_BUDGET = "little_budget"
    """The budget does not pay for the conversions that learning takes."""


class GroupState(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What the learner says of an ad group; ``number`` is the API's. Money is micros.

    ``multiplier`` is what a conversion is worth to it now. Counts are of what was credited to decisions.
    """

    number: int
    multiplier: float
    phase: Phase
    reasons: list[Reason]
    earned: int
    needed: int
    views: int
    clicks: int
    conversations: int
    spam: int
    leads: int
    predicted_leads: float
    spent_micros: int
