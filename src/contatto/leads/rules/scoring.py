"""Scores as people see them: their bands, and their reasons, which are what adds most to the log-odds."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

from contatto.kit.i18n import N_

ENOUGH: Final = 20
"""So many good and so many bad leads there must be before any is scored."""
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
    "o": N_("Source of the lead"),
    "h": N_("Kinds of contact details"),
    "c": N_("Country of the phone"),
    "f": N_("The form"),
    "s": N_("Consent"),
    "a": N_("The ad"),
    "g": N_("The ad group"),
    "p": N_("Channel account"),
    "v": N_("Click or view of the ad"),
    "w": N_("Time of arrival"),
    "d": N_("Time since the ad"),
    "t": N_("Content of the chat"),
}
"""What a sign is, by the letter before its value."""


def is_enough(outcomes: Iterable[bool]) -> bool:
    """Report whether there are enough good and enough other leads to learn from."""
    outcome_list = list(outcomes)
    good = sum(outcome_list)
    return min(good, len(outcome_list) - good) >= ENOUGH


def choose_reasons(letters: Sequence[str], parts: Sequence[float], words: Iterable[str]) -> tuple[str, ...]:
    """The signs that speak most for or against a lead, strongest first: "+" or "-" and a word.

    Columns that tell of the same thing count together, also by what a lead does not have: no phone, say.

    Args:
        letters: what each column tells about.
        parts: what each adds to the log-odds of this lead.
        words: those that the lead has, of which one stands behind its letter.
    """
    of_letter: dict[str, float] = {}
    for letter, part in zip(letters, parts, strict=True):
        of_letter[letter] = of_letter.get(letter, 0.0) + part
    named = {word[:1]: word for word in sorted(words, reverse=True)}
    strongest = sorted(of_letter, key=lambda letter: (-abs(of_letter[letter]), letter))[:_MOST]
    return tuple(
        ("+" if of_letter[letter] > 0.0 else "-") + named.get(letter, f"{letter}:")
        for letter in strongest
        if abs(of_letter[letter]) >= _LEAST
    )


def explain_reasons(reasons: Sequence[str]) -> list[tuple[bool, str]]:
    """Return the text of each reason, and whether it speaks for a lead."""
    return [(reason[0] == "+", REASONS[reason[1]]) for reason in reasons if reason[1:2] in REASONS]
