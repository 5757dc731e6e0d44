"""Currencies that are in use, and the time zones of each country."""

import json

import pytest

from contatto.kit.languages import (
    countries,
    currencies,
    is_zone_of,
    region_choices,
    translator_for,
)


def test_currencies_are_those_in_use() -> None:
    assert {"SGD", "MYR", "EUR", "USD", "JPY", "KWD", "BRL"} <= currencies()
    assert currencies().isdisjoint({"XYZ", "DEM", "XTS", "BTC"})


@pytest.mark.parametrize(
    ("zone", "country", "fits"),
    [
        ("Asia/Kuala_Lumpur", "MY", True),
        ("Asia/Kuching", "MY", True),
        ("UTC", "MY", False),
        ("Asia/Singapore", "MY", False),
        ("Asia/Kolkata", "IN", True),
        ("Asia/Calcutta", "IN", True),
        ("America/New_York", "US", True),
        ("Europe/Belgrade", "XK", True),
        ("Asia/Singapore", "??", False),
    ],
)
def test_a_zone_is_of_its_country_also_by_an_older_name(zone: str, country: str, fits: bool) -> None:
    assert is_zone_of(zone, country) is fits


def test_each_country_has_a_name_a_currency_and_a_zone() -> None:
    words = translator_for("it")
    choices = region_choices(words)
    regions = json.loads(choices["regions"])
    assert dict(choices["countries"])["DE"] == "Germania"
    assert dict(choices["currencies"])["EUR"] == "EUR – euro"
    for country in countries() - {"AQ"}:  # nobody trades in Antarctica
        currency, *zones = regions[country]
        assert currency in currencies()
        assert zones
    assert regions["MY"] == ["MYR", "Asia/Kuala_Lumpur", "Asia/Kuching"]
