"""Countries with their time zones and currencies, as far as people choose from them."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Final
from unicodedata import combining, normalize

from babel.core import get_global
from babel.languages import get_official_languages
from babel.numbers import get_territory_currencies

from contatto.kit.i18n import Translator

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


def usual_currency(country: str) -> str:
    """Return the currency of a country; empty where there is none."""
    return next(iter(get_territory_currencies(country)), "")


def zones_of(country: str) -> tuple[str, ...]:
    """Return the IANA time zones of a country; empty where there is none."""
    return _zones().get(country, ())


def is_zone_of(zone: str, country: str) -> bool:
    """Report whether a zone, also by an older name, is one of a country."""
    zones = zones_of(country)
    return zone in zones or _links().get(zone) in zones


def country_choices(words: Translator) -> list[tuple[str, str]]:
    """Return the countries to choose from as codes and names, by name."""
    return [(code, words.country(code)) for code in sorted_countries(words, countries())]


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


def zone_choices() -> list[tuple[str, str]]:
    """Return the time zones of all countries to choose from, by name."""
    return [(zone, zone) for zone in sorted({zone for zones in _zones().values() for zone in zones})]


@cache
def choices_by_country() -> str:
    """Return, as JSON for the script of a form, the currency and the zones of each country."""
    return json.dumps({code: [usual_currency(code), *zones_of(code)] for code in sorted(countries())})


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
