"""The languages of the screens: their catalogues of texts, and how they write numbers and money."""

import gettext
from collections.abc import Mapping
from datetime import date
from functools import cache, lru_cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from babel import Locale
from babel.dates import format_skeleton
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_currency, format_decimal, format_percent

from contatto.kit.i18n import LazyText, Translator
from contatto.kit.money import decimal_places, to_units

SOURCE: Final = "en"
"""The language that the texts are written in; it has no catalogue."""
LANGUAGES: Final = {
    "en": "English",
    "it": "Italiano",
    "es": "Español",
    "pt-BR": "Português (Brasil)",
    "id": "Bahasa Indonesia",
    "th": "ไทย",
    "vi": "Tiếng Việt",
    "ja": "日本語",
    "ar": "العربية",
}
"""Each language's tag (BCP 47) and its own name for itself, in the order of the pickers."""
RIGHT_TO_LEFT: Final = frozenset({"ar"})
CATALOGUES: Final = Path(str(files("contatto"))) / "kit" / "locale"
NONE: Final = "–"


def catalogue_path(lang: str) -> Path:
    return CATALOGUES / f"{lang.replace('-', '_')}.po"


@cache
def translator_for(lang: str) -> Translator:
    """The words of one of our languages; its catalogue is read once."""
    return _CataloguedWords(lang)


class _CataloguedWords:
    """Texts from a catalogue; the source text where it has none."""

    def __init__(self, lang: str) -> None:
        self.lang = lang
        self.dir = "rtl" if lang in RIGHT_TO_LEFT else "ltr"
        self._locale = Locale.parse(lang, sep="-")
        self._texts = _read_catalogue(lang)

    def gettext(self, text: str, /, **values: Any) -> str:
        # the empty text is the head of a catalogue
        found = self._texts.gettext(text) if text else ""
        return found % self.written(values) if values else found

    def ngettext(self, one: str, many: str, n: int, /, **values: Any) -> str:
        return self.plural(one, many, n) % self.written({"num": n} | values)

    def plural(self, one: str, many: str, n: int) -> str:
        return self._texts.ngettext(one, many, n)

    def written(self, values: Mapping[str, Any], /) -> dict[str, Any]:
        return {name: self._written(value) for name, value in values.items()}

    def _written(self, value: Any) -> Any:
        if isinstance(value, LazyText):
            return value.in_language(self)
        return self.number(value) if type(value) in (int, float) else value

    def number(self, value: float | None, places: int | None = None) -> str:
        return NONE if value is None else _write_number(self._locale, value + 0, places)  # a zero has no sign

    def percent(self, value: float | None) -> str:
        if value is None:
            return NONE
        return _write_percent(self._locale, value + 0)

    def country(self, code: str) -> str:
        return str(self._locale.territories.get(code, code))

    def currency(self, code: str) -> str:
        return str(self._locale.currencies.get(code, code))

    def day(self, day: date, *, with_year: bool = True) -> str:
        return str(format_skeleton("yMMMd" if with_year else "MMMd", day, locale=self._locale))

    def money(self, amount_micros: int | None, currency: str) -> str:
        if amount_micros is None:
            return NONE
        return _write_money(self._locale, amount_micros, currency)


_KEPT: Final = 4_096
"""Numbers as they are written that are kept: a page of a report has some hundred, and many of them again."""


@lru_cache(maxsize=_KEPT)
def _write_number(locale: Locale, value: float, places: int | None) -> str:
    if places is None:
        return str(format_decimal(value, locale=locale))
    whole = locale.decimal_formats[None].pattern.partition(".")[0]
    return str(format_decimal(value, f"{whole}.{'0' * places}", locale=locale))


@lru_cache(maxsize=_KEPT)
def _write_percent(locale: Locale, value: float) -> str:
    pattern = locale.percent_formats[None].pattern.replace("0", "0.00")
    return str(format_percent(value, pattern, locale=locale))


@lru_cache(maxsize=_KEPT)
def _write_money(locale: Locale, amount_micros: int, currency: str) -> str:
    units = to_units(amount_micros)
    amount = f"#,##0{'.' if decimal_places(currency) else ''}{'0' * decimal_places(currency)}"
    code_first = locale.currency_formats["standard"].pattern.lstrip("\u200e\u200f").startswith("¤")
    pattern = f"¤¤ {amount}" if code_first else f"{amount} ¤¤"
    return str(format_currency(units, currency, pattern, locale, currency_digits=False))


def _read_catalogue(lang: str) -> gettext.NullTranslations:
    """A catalogue as it is kept, in text; texts that are marked as unsure are left out."""
    if lang == SOURCE:
        return gettext.NullTranslations()
    compiled = BytesIO()
    with catalogue_path(lang).open("rb") as file:
        write_mo(compiled, read_po(file, locale=lang.replace("-", "_")))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
