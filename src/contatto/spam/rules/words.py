"""How much a chat reads like those that were marked as spam: pieces of its words, hashed, and their weights.

Theory. A text is a bag of pieces: its words, cut into two to five letters with their edges marked, and how
much of it is digits, capitals and links. Each piece counts by how rare it is among the marked chats, and all
pieces of a text have a length of one. The weights are the likeliest of a logistic regression with a Gaussian
prior (see `kit/logistic`). Pieces are numbers; no text is kept.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contatto.kit.logistic import Floats, fit_logistic

BITS: Final = 18
SPREAD: Final = 10.0
"""The variance expected of a weight."""
ROUNDS: Final = 12
LONGEST: Final = 4_000
"""So many letters of a chat are read."""
_LENGTHS: Final = (1, 2, 3, 4, 5)
_MASK: Final = (1 << BITS) - 1
_LINK: Final = re.compile(r"https?:|www\.|\.(?:com|net|org|co|ru|xyz|top)\b", re.IGNORECASE)

type Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Weights:
    """What was learned from marked chats: the weight of each piece, how rare it is, and what all have."""

    bias: float
    weights: NDArray[np.float32]
    rarity: NDArray[np.float32]


def pieces_of(text: str) -> tuple[Places, Floats]:
    """The places of the pieces of a text, each once, and by how much each counts there (before rarity)."""
    counts: dict[int, int] = {}
    shown = text[:LONGEST]
    for word in shown.lower().split():
        marked = f" {word} "
        for length in _LENGTHS:
            for start in range(max(len(marked) - length + 1, 1)):
                place = zlib.crc32(marked[start : start + length].encode("utf-8", "surrogatepass")) & _MASK
                counts[place] = counts.get(place, 0) + 1
    for name in _looks_of(shown):
        counts[zlib.crc32(f"\0{name}".encode()) & _MASK] = 1
    places = np.fromiter(counts.keys(), np.int64, len(counts))
    return places, 1.0 + np.log(np.fromiter(counts.values(), np.float64, len(counts)))


def _looks_of(text: str) -> list[str]:
    """What a text looks like as a whole, in steps."""
    letters = max(len(text), 1)
    digits = sum(letter.isdigit() for letter in text)
    capitals = sum(letter.isupper() for letter in text)
    names = [f"digits {digits.bit_length()}", f"length {letters.bit_length()}"]
    names.append(f"capitals {int(8 * capitals / letters)}")
    if _LINK.search(text):
        names.append("link")
    return names


def fit_weights(texts: Sequence[tuple[Places, Floats]], came: Sequence[bool]) -> Weights:
    """Learn from the pieces of marked chats; ``came`` tells which were spam."""
    seen = np.zeros(1 << BITS)
    for places, _ in texts:
        seen[places] += 1.0
    rarity = (1.0 + np.log((1.0 + len(texts)) / (1.0 + seen))).astype(np.float32)
    rows = [_weighed(row, rarity) for row in texts]
    bias, weights = fit_logistic(rows, came, 1 << BITS, SPREAD, ROUNDS)
    return Weights(bias, weights.astype(np.float32), rarity)


def score_text(learned: Weights, text: tuple[Places, Floats]) -> float:
    """The log-odds of a chat being spam, by its pieces alone."""
    places, values = _weighed(text, learned.rarity)
    return learned.bias + float(values @ learned.weights[places])


def _weighed(text: tuple[Places, Floats], rarity: NDArray[np.float32]) -> tuple[Places, Floats]:
    places, values = text
    weighed = values * rarity[places]
    return places, weighed / max(float(np.sqrt(weighed @ weighed)), 1e-9)
