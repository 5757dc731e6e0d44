"""Marking texts for translation, and the words of a request's language."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection


class Words(Protocol):
    """One language: its texts, and how it writes numbers and money."""

    @property
    def lang(self) -> str:
        """The language's tag, such as ``pt-BR``."""

    @property
    def dir(self) -> str:
        """``ltr`` or ``rtl``."""

    def gettext(self, text: str, /, **values: Any) -> str:
        """The text in this language, with its ``%(name)s`` filled in if there are values."""

    def ngettext(self, one: str, many: str, n: int, /, **values: Any) -> str:
        """The form for this many, with ``%(num)s`` as the number and the other ``%(name)s`` filled in."""

    def plural(self, one: str, many: str, n: int) -> str:
        """The form for this many, not yet filled in."""

    def written(self, values: Mapping[str, Any], /) -> dict[str, Any]:
        """What fills a text, with whole numbers as the language writes them."""

    def number(self, value: float | None) -> str:
        """A number with the language's separators; a dash for none."""

    def percent(self, value: float | None) -> str:
        """A share between 0 and 1 as a percentage with two decimals; a dash for none."""

    def country(self, code: str) -> str:
        """A country's name; the code (ISO 3166-1 alpha-2) where there is none."""

    def money(self, amount_micros: int | None, currency: str) -> str:
        """An amount with its currency's code; a dash for none."""


def N_(text: str) -> str:  # noqa: N802  (the name that translators' tools know)
    """Mark a text of a table for translation; whoever shows it translates it."""
    return text


def words_of(connection: "HTTPConnection") -> Words:
    """The words of the language in which this request is answered."""
    words: Words = connection.app.state.context.pages.words_of(connection)
    return words
