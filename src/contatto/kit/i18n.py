"""Marked texts for translation."""

import json
from typing import Any, Protocol


class Gettext(Protocol):
    """Texts in one language, such as `contatto.kit.languages.Translator`."""

    def gettext(self, text: str, /, **values: Any) -> str:
        """Return the text in this language, with its ``%(name)s`` filled in if there are values."""


class LazyText:
    """Text that waits for its language, with values: numbers, words, or further texts.

    As a string it is English.
    """

    __slots__ = ("text", "values")

    def __init__(self, text: str, /, **values: Any) -> None:
        self.text, self.values = text, values

    def __str__(self) -> str:
        return self.text % self.values if self.values else self.text

    def __eq__(self, value: object) -> bool:
        return isinstance(value, LazyText) and (self.text, self.values) == (value.text, value.values)

    def __hash__(self) -> int:
        return hash(str(self))

    def in_language(self, words: Gettext) -> str:
        return words.gettext(self.text, **self.values)

    def kept(self) -> str:
        """Return it as text for storage, for ``read_lazy_text``."""
        if not self.values and not self.text.startswith("["):
            return self.text
        values = {
            name: {"said": value.kept()} if isinstance(value, LazyText) else value
            for name, value in self.values.items()
        }
        return json.dumps([self.text, values], ensure_ascii=False)


def read_lazy_text(stored: str) -> LazyText:
    """Parse a stored text."""
    if not stored.startswith("["):
        return LazyText(stored)
    text, values = json.loads(stored)
    return LazyText(
        text,
        **{
            name: read_lazy_text(value["said"]) if isinstance(value, dict) else value
            for name, value in values.items()
        },
    )


def N_(text: str) -> str:  # noqa: N802  (the name that translators' tools know)
    """Mark a text of a table for translation where it is shown."""
    return text
