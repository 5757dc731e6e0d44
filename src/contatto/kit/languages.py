"""Languages of the screens, with countries, time zones and currencies."""

import gettext
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache, lru_cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from unicodedata import combining, normalize

from babel import Locale
from babel.core import get_global
from babel.dates import format_skeleton
from babel.languages import get_official_languages
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_currency, format_decimal, format_percent, get_territory_currencies

from contatto.kit.i18n import LazyText
from contatto.kit.values import decimal_places, to_units

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


class Translator:
    """One language, by its tag (``pt-BR``): its texts, and how it writes numbers, days and money."""

    def __init__(self, lang: str) -> None:
        self.lang = lang
        self.dir = "rtl" if lang in RIGHT_TO_LEFT else "ltr"
        self._locale = Locale.parse(lang, sep="-")
        self._texts = gettext.NullTranslations()
        if lang != SOURCE:  # a catalogue is kept as text; texts that are marked as unsure are left out
            compiled = BytesIO()
            with catalogue_path(lang).open("rb") as file:
                write_mo(compiled, read_po(file, locale=lang.replace("-", "_")))
            compiled.seek(0)
            self._texts = gettext.GNUTranslations(compiled)

    def gettext(self, text: str, /, **values: Any) -> str:
        """Return a text with its ``%(name)s`` filled in; the source text where the catalogue has none."""
        # the empty text is the head of a catalogue
        translated = self._texts.gettext(text) if text else ""
        return translated % self.written(values) if values else translated

    def ngettext(self, one: str, many: str, n: int, /, **values: Any) -> str:
        """Return the form for ``n``, with ``%(num)s`` as the number and the other ``%(name)s`` filled in."""
        return self.plural(one, many, n) % self.written({"num": n} | values)

    def plural(self, one: str, many: str, n: int) -> str:
        """Return the form for ``n``, not yet filled in."""
        return self._texts.ngettext(one, many, n)

    def written(self, values: Mapping[str, Any], /) -> dict[str, Any]:
        """Return values for a text, with numbers in this language's format."""
        texts = dict(values)
        for name, value in values.items():
            if isinstance(value, LazyText):
                texts[name] = value.in_language(self)
            elif type(value) in (int, float):
                texts[name] = self.number(value)
        return texts

    def number(self, value: float | None, places: int | None = None) -> str:
        """Format a number with ``places`` decimals, or up to three; a dash for None."""
        return NONE if value is None else _write_number(self._locale, value + 0, places)  # a zero has no sign

    def percent(self, value: float | None) -> str:
        """Format a share between 0 and 1 as a percentage with two decimals; a dash for None."""
        if value is None:
            return NONE
        return _write_percent(self._locale, value + 0)

    def country(self, code: str) -> str:
        """Return a country's name; the code (ISO 3166-1 alpha-2) where it has none."""
        return str(self._locale.territories.get(code, code))

    def currency(self, code: str) -> str:
        """Return a currency's name; the code (ISO 4217) where it has none."""
        return str(self._locale.currencies.get(code, code))

    def language(self, code: str) -> str:
        """Return a language's name; the code (ISO 639) where it has none."""
        return str(self._locale.languages.get(code, code))

    def day(self, day: date | str, *, with_year: bool = True) -> str:
        """Format a day, also an ISO text, as the language writes it: ``Dec 1, 2026``, or ``Dec 1``."""
        return _write_day(self._locale, str(day), "yMMMd" if with_year else "MMMd")

    def money(self, amount_micros: int | None, currency: str) -> str:
        """Format an amount with its currency's code; a dash for None."""
        if amount_micros is None:
            return NONE
        return _write_money(self._locale, amount_micros, currency)


@cache
def translator_for(lang: str) -> Translator:
    """Return the words of one of our languages; its catalogue is read once."""
    return Translator(lang)


_CACHED: Final = 4_096
"""Formatted numbers in the cache; a page of a report repeats many."""


@lru_cache(maxsize=_CACHED)
def _write_number(locale: Locale, value: float, places: int | None) -> str:
    if places is None:
        return str(format_decimal(value, locale=locale))
    whole = locale.decimal_formats[None].pattern.partition(".")[0]
    return str(format_decimal(value, f"{whole}.{'0' * places}", locale=locale))


@lru_cache(maxsize=_CACHED)
def _write_day(locale: Locale, day: str, skeleton: str) -> str:
    return str(format_skeleton(skeleton, date.fromisoformat(day), locale=locale))


@lru_cache(maxsize=_CACHED)
def _write_percent(locale: Locale, value: float) -> str:
    pattern = locale.percent_formats[None].pattern.replace("0", "0.00")
    return str(format_percent(value, pattern, locale=locale))


@lru_cache(maxsize=_CACHED)
def _write_money(locale: Locale, amount_micros: int, currency: str) -> str:
    units = to_units(amount_micros)
    amount = f"#,##0{'.' if decimal_places(currency) else ''}{'0' * decimal_places(currency)}"
    code_first = locale.currency_formats["standard"].pattern.lstrip("\u200e\u200f").startswith("¤")
    pattern = f"¤¤ {amount}" if code_first else f"{amount} ¤¤"
    return str(format_currency(units, currency, pattern, locale, currency_digits=False))


_THAI_VOWEL_FIRST: Final = re.compile("([\u0e40-\u0e44])([\u0e01-\u0e2e])")
"""Thai writes these vowels before the consonant by which a dictionary sorts the word."""
_KOSOVO: Final = "XK"
"""A code outside ISO 3166-1 that CLDR and phone numbers know; its clocks are those of Belgrade."""


@cache
def countries() -> frozenset[str]:
    """Return the countries by their ISO 3166-1 alpha-2 codes."""
    return frozenset(_zones())


@cache
def currencies() -> frozenset[str]:
    """Return the ISO 4217 codes that are legal tender somewhere today. Source: CLDR."""
    territories = get_global("territory_currencies")
    return frozenset(code for territory in territories for code in get_territory_currencies(territory))


def zones_of(country: str) -> tuple[str, ...]:
    """Return the IANA time zones of a country; empty where there is none."""
    return _zones().get(country, ())


def is_zone_of(zone: str, country: str) -> bool:
    """Report whether a zone, also by an older name, is one of a country."""
    zones = zones_of(country)
    return zone in zones or _links().get(zone) in zones


def sorted_countries(words: Translator, codes: Iterable[str]) -> list[str]:
    """Sort country codes by their names in the reader's language; accents do not count."""

    def key(code: str) -> str:
        parts = normalize("NFKD", words.country(code)).casefold()
        name = "".join(part for part in parts if not combining(part) or "\u0e00" <= part <= "\u0eff")
        return _THAI_VOWEL_FIRST.sub(r"\2\1", name)

    return sorted(codes, key=key)


def languages_of_countries(codes: Iterable[str]) -> tuple[str, ...]:
    """Return the official languages of countries, the most spoken first. Source: CLDR."""
    spoken = (
        language for code in codes for language in get_official_languages(code, regional=True, de_facto=True)
    )
    return tuple(dict.fromkeys(spoken))


def currency_choices(words: Translator) -> list[tuple[str, str]]:
    """Return the currencies to choose from as codes and texts."""
    return [(code, f"{code} – {words.currency(code)}") for code in sorted(currencies())]


@cache
def region_choices(words: Translator) -> dict[str, Any]:
    """Return the time zones, countries and currencies to choose from in a form.

    ``regions`` is JSON for the script of the form: the currency and the zones of each country.
    """
    zones = sorted({zone for zones in _zones().values() for zone in zones})
    by_country = {
        code: [next(iter(get_territory_currencies(code)), ""), *zones_of(code)]
        for code in sorted(countries())
    }
    return {
        "zones": [(zone, zone) for zone in zones],
        "countries": [(code, words.country(code)) for code in sorted_countries(words, countries())],
        "currencies": currency_choices(words),
        "regions": json.dumps(by_country),
    }


@cache
def _zones() -> dict[str, tuple[str, ...]]:
    """Return the zones by country. Source: ``zone.tab`` of the IANA time zone database."""
    zones: dict[str, list[str]] = defaultdict(list)
    for line in _lines("zone.tab"):
        country, _, zone, *_ = line.split("\t")
        zones[country].append(zone)
    zones[_KOSOVO] = ["Europe/Belgrade"]
    return {country: tuple(sorted(names)) for country, names in zones.items()}


@cache
def _links() -> dict[str, str]:
    """Return the zones by their older names, such as ``Asia/Calcutta``. Source: ``tzdata.zi``, as above."""
    lines = (line.split() for line in _lines("tzdata.zi") if line.startswith("L "))
    return {older: zone for _, zone, older in lines}


def _lines(name: str) -> list[str]:
    text = files("tzdata").joinpath("zoneinfo", name).read_text("utf-8")
    return [line for line in text.splitlines() if not line.startswith("#")]
