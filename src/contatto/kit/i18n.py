"""Marked texts for translation, and the interface of a translator."""

import json
from collections.abc import Mapping
from datetime import date
from typing import Any, Protocol


class Translator(Protocol):
    """One language: its texts, and how it writes numbers and money."""

    def __hash__(self) -> int:
        """Allow caches by language."""

    @property
    def lang(self) -> str:
        """The language's tag, such as ``pt-BR``."""

    @property
    def dir(self) -> str:
        """``ltr`` or ``rtl``."""

    def gettext(self, text: str, /, **values: Any) -> str:
        """Return the text in this language, with its ``%(name)s`` filled in if there are values."""

    def ngettext(self, one: str, many: str, n: int, /, **values: Any) -> str:
        """Return the form for ``n``, with ``%(num)s`` as the number and the other ``%(name)s`` filled in."""

    def plural(self, one: str, many: str, n: int) -> str:
        """Return the form for ``n``, not yet filled in."""

    def written(self, values: Mapping[str, Any], /) -> dict[str, Any]:
        """Return values for a text, with numbers in this language's format."""

    def number(self, value: float | None, places: int | None = None) -> str:
        """Format a number; a dash for None.

        It has ``places`` decimals, for rows to compare; by default up to three.
        """

    def percent(self, value: float | None) -> str:
        """Format a share between 0 and 1 as a percentage with two decimals; a dash for none."""

    def country(self, code: str) -> str:
        """Return a country's name; the code (ISO 3166-1 alpha-2) where there is none."""

    def currency(self, code: str) -> str:
        """Return a currency's name; the code (ISO 4217) where there is none."""

    def day(self, day: date, *, with_year: bool = True) -> str:
        """Format a day of the calendar as the language writes it: ``Dec 1, 2026``, or ``Dec 1``."""

    def money(self, amount_micros: int | None, currency: str) -> str:
        """Format an amount with its currency's code; a dash for none."""


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

    def in_language(self, words: Translator) -> str:
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
