"""How good leads are expected to become, learned from what became of others, as a pure function.

Theory. A lead is a set of words: where it came from, how the person can be reached, their country, form and
consent, the ad and ad group that earned it, and the chat. Good is who is qualified or converted, bad who is
unqualified; all others are asked about. The weights are those of a logistic regression (see `kit/logistic`).
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

import numpy as np

from contatto.kit.i18n import N_
from contatto.kit.logistic import chance_of, fit_logistic
from contatto.leads.model.scores import ScoredLead

ENOUGH: Final = 20
"""So many good and so many bad leads there must be before any is scored."""
_SPREAD: Final = 0.5
_ROUNDS: Final = 20
_LEAST: Final = 0.1
"""A sign that moves the log-odds by less is no reason."""
_MOST: Final = 3


class ScoreBand(StrEnum):
    """Scores in three parts, as the filter names them."""

    HIGH = "high"
    MIDDLE = "middle"
    LOW = "low"


BANDS: Final[Mapping[ScoreBand, tuple[int, int]]] = {
    ScoreBand.HIGH: (70, 100),
    ScoreBand.MIDDLE: (40, 69),
    ScoreBand.LOW: (0, 39),
}
"""The least and the greatest score of each band."""
REASONS: Final = {
    "o": N_("How it came"),
    "h": N_("How the person can be reached"),
    "c": N_("Country of the phone"),
    "f": N_("The form"),
    "s": N_("Consent"),
    "a": N_("The ad"),
    "g": N_("The ad group"),
    "p": N_("The chat account"),
}
"""What a sign is, by the letter before its value."""


def score_leads(some: Sequence[ScoredLead]) -> dict[str, tuple[int, tuple[str, ...]]]:
    """The score of each lead in percent, and its reasons; empty while too little is known.

    Args:
        some: leads, among them those of which it is known what they became.
    """
    known = [each for each in some if each.is_good is not None]
    good = sum(bool(each.is_good) for each in known)
    if min(good, len(known) - good) < ENOUGH:
        return {}
    names = {word: place for place, word in enumerate(sorted({word for each in some for word in each.words}))}
    rows = [np.array([names[word] for word in each.words], np.int64) for each in known]
    came = [bool(each.is_good) for each in known]
    bias, weights = fit_logistic(
        [(row, np.ones(len(row))) for row in rows], came, len(names), _SPREAD, _ROUNDS
    )
    found = {}
    for each in some:
        signs = {word: float(weights[names[word]]) for word in each.words}
        strongest = sorted(signs, key=lambda word: (-abs(signs[word]), word))[:_MOST]
        reasons = tuple(
            ("+" if signs[word] > 0.0 else "-") + word for word in strongest if abs(signs[word]) >= _LEAST
        )
        found[each.lead_id] = (round(100.0 * chance_of(bias + sum(signs.values()))), reasons)
    return found


def explain_reasons(reasons: Sequence[str]) -> list[tuple[bool, str]]:
    """Whether each reason speaks for a lead, and what it is."""
    return [(each[0] == "+", REASONS[each[1]]) for each in reasons if each[1:2] in REASONS]
