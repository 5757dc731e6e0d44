"""How chances did on leads that were not learned from, and what a model goes by: pure functions."""

from collections.abc import Sequence
from math import exp
from typing import Final

import numpy as np

from contatto.kit.shares import loss_of_rate
from contatto.leads.model.scores import HeldBin, HeldOut, Sign
from contatto.leads.rules.features import Floats

BINS: Final = 10
_LEAST: Final = 20
"""Bins hold at least so many leads, so that a few dozen leads make two or three."""


def tell_held(chances: Floats, good: Floats, signs: tuple[Sign, ...]) -> HeldOut:
    """Chances of leads beside what became of them, in bins of as many leads each.

    Args:
        chances: by lead, told by models that had not learned from it.
        good: 1 for each that became good, else 0.
        signs: what the model goes by.
    """
    order = np.argsort(chances, kind="stable")
    parts = np.array_split(order, min(BINS, max(len(order) // _LEAST, 1)))
    bins = tuple(
        HeldBin(len(part), int(good[part].sum()), float(chances[part].mean())) for part in parts if len(part)
    )
    came, asked = int(good.sum()), len(good)
    return HeldOut(came, loss_of_rate(came, asked, came / asked), bins, signs)


def weigh_signs(letters: Sequence[str], parts: Floats) -> tuple[Sign, ...]:
    """By what the signs of each letter typically move the odds, strongest first.

    Args:
        letters: what each column tells about.
        parts: what each column adds to the log-odds, by lead.
    """
    moved: dict[str, Floats] = {}
    for letter, part in zip(letters, parts.T, strict=True):
        moved[letter] = moved[letter] + part if letter in moved else part
    signs = (Sign(letter, exp(float(added.std()))) for letter, added in moved.items())
    return tuple(sorted(signs, key=lambda sign: (-sign.times, sign.letter)))
