"""Names of things that people choose from: those that are alike are told apart by something of their own."""

from collections import Counter
from collections.abc import Sequence


def tell_apart(named: Sequence[tuple[str, str]]) -> list[str]:
    """The names of pairs of a name and a mark; the mark stands behind a name that comes more than once."""
    counts = Counter(name for name, _ in named)
    return [f"{name} · {mark}" if counts[name] > 1 else name for name, mark in named]
