"""How good a lead is expected to become."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class LeadScore:
    """How likely a lead is good, in percent, as its business finds leads good or not.

    ``reasons`` are the strongest signs, at most three: "+" or "-" and a word (see `rules/scoring`).
    """

    business_id: str
    lead_id: str
    score: int
    reasons: tuple[str, ...]
    scored_at: datetime


@dataclass(frozen=True, slots=True)
class ScoredLead:
    """What is known of a lead where it is scored: words, and whether it became good (None: not known yet)."""

    lead_id: str
    words: tuple[str, ...]
    is_good: bool | None
