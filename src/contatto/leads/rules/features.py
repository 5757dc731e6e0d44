"""Leads as rows of a table of numbers: a column for each word that is common enough, and for each measure.

Words and measures are those of one business: what no lead of it had has no column, and says nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]
type Described = tuple[Iterable[str], Mapping[str, float]]
"""The words of a lead, and its measures by their names."""

LEAST: Final = 5
"""A word that fewer leads have is left out: nothing can be learned of it."""
MOST: Final = 250
"""So many words have columns, the most common ones."""
_HUGE: Final = 1e12
"""A measure beyond this is taken for one that is not known."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns stand for: first words (1 where a lead has it), then measures (NaN where unknown)."""

    words: tuple[str, ...]
    measures: tuple[str, ...]

    def letters(self) -> list[str]:
        """What each column tells about, by the letter before its value."""
        return [name[:1] for name in (*self.words, *self.measures)]


def choose_columns(some: Sequence[Described]) -> Columns:
    """The columns for leads like these; the same in whatever order they come.

    A word that all of them have, or hardly one, gets none.
    """
    counts = Counter(word for words, _ in some for word in set(words))
    common = [word for word, count in counts.items() if LEAST <= count < len(some)]
    kept = sorted(common, key=lambda word: (-counts[word], word))[:MOST]
    measures = sorted({name for _, numbers in some for name in numbers})
    return Columns(tuple(sorted(kept)), tuple(measures))


def fill_table(columns: Columns, some: Sequence[Described]) -> Floats:
    """A row for each lead."""
    places = {word: place for place, word in enumerate(columns.words)}
    table = np.zeros((len(some), len(columns.words) + len(columns.measures)))
    table[:, len(places) :] = np.nan
    for row, (words, numbers) in enumerate(some):
        for word in words:
            if (place := places.get(word)) is not None:
                table[row, place] = 1.0
        for place, name in enumerate(columns.measures, len(places)):
            value = numbers.get(name)
            if value is not None and isfinite(value) and abs(value) < _HUGE:
                table[row, place] = value
    return table
