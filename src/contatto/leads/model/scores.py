"""How good a lead is expected to become, and what it is expected by."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class LeadScore:
    """How likely a lead is good, in percent, as its business finds leads good or not.

    ``reasons`` are the strongest signs, at most three: "+" or "-" and a word (see `rules/scoring`).
    They are None where those that it has stay. ``log_odds`` is what the model said before it was corrected
    for drift; ``is_counted``: the correction knows what became of this lead, or the model had learned it.
    """

    business_id: str
    lead_id: str
    score: int
    reasons: tuple[str, ...] | None
    scored_at: datetime
    log_odds: float | None
    is_counted: bool


@dataclass(frozen=True, slots=True)
class ScoredLead:
    """What is known of a lead where it is scored.

    Args:
        lead_id: its id.
        words: what it has, such as ``c:SG``: a letter that says what it is, and a value.
        numbers: what was measured, by names such as ``w:hour``; what is not known is left out, or NaN.
        is_good: whether it became good; None while that is not known.
        said: the log-odds that the model gave when it last judged this lead; None before it did.
        score: the score that it has.
        is_counted: whether the correction for drift knows what became of it, or the model had learned it.
    """

    lead_id: str
    words: tuple[str, ...]
    numbers: Mapping[str, float]
    is_good: bool | None
    said: float | None = None
    score: int | None = None
    is_counted: bool = False


@dataclass(frozen=True, slots=True)
class HeldBin:
    """Leads that were not learned from, of about the same chance: its mean, and how many became good."""

    asked: int
    came: int
    told: float


@dataclass(frozen=True, slots=True)
class Sign:
    """What is told by columns of one letter (see `rules/scoring`), and by what that moves the odds."""

    letter: str
    times: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """How a model did on leads that it had not learned from, and what it goes by, strongest first.

    ``of_rate`` is the mean log loss of who knows how many become good and nothing else, in nats.
    """

    good: int
    of_rate: float
    bins: tuple[HeldBin, ...]
    signs: tuple[Sign, ...]


@dataclass(frozen=True, slots=True)
class LeadModel:
    """What was learned of a business's leads.

    ``correction`` is JSON of how the model errs (see `rules/drift`). ``share`` is how much of the log-odds
    comes from trees; ``loss`` the mean log loss on leads that were not learned from. ``held`` is None for
    a model from before that was kept.
    """

    business_id: str
    learned_at: datetime
    outcomes: int
    share: float
    loss: float
    correction: bytes
    body: bytes
    held: HeldOut | None = None
