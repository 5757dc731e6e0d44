"""Parts of pages that are the same for many readers: drawn once, and kept while they are asked for."""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Final

from markupsafe import Markup, escape

MOST_CHARACTERS: Final = 8_000_000
"""How much is kept in a process; what was not asked for longest goes first."""


class Holes:
    """Places in a part that are filled in for each reader; nobody outside of this process can name one.

    Args:
        names: of the places.
    """

    def __init__(self, *names: str) -> None:
        self._marks: Final = {name: f"{name}-{secrets.token_hex(16)}" for name in names}

    def mark(self, name: str) -> str:
        """What stands for a value while the part is drawn."""
        return self._marks[name]

    def fill(self, part: str, values: Mapping[str, str]) -> Markup:
        """The part as one reader sees it; the values are escaped."""
        for name, value in values.items():
            part = part.replace(self._marks[name], str(escape(value)))
        return Markup(part)  # noqa: S704  # drawn by a template, and what was filled in is escaped


class DrawnParts:
    """Keeps drawn parts by what they depend on.

    Args:
        most: characters in all.
    """

    def __init__(self, most: int = MOST_CHARACTERS) -> None:
        self._most: Final = most
        self._parts: OrderedDict[Hashable, str] = OrderedDict()
        self.characters = 0

    def find(self, key: Hashable, draw: Callable[[], str]) -> str:
        """The part of this key, which names all that it depends on; it is drawn if it is not there."""
        if (part := self._parts.get(key)) is not None:
            self._parts.move_to_end(key)
            return part
        part = self._parts[key] = draw()
        self.characters += len(part)
        while self.characters > self._most:
            _, oldest = self._parts.popitem(last=False)
            self.characters -= len(oldest)
        return part
