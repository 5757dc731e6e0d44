"""Whole numbers and money."""

from decimal import Decimal

import pytest
from babel.numbers import get_currency_precision
from hypothesis import given
from hypothesis import strategies as st

from contatto.kit.values import (
    DECIMALS,
    LARGEST,
    amount_written,
    decimal_places,
    read_number,
    to_micros,
    to_units,
)


@given(st.integers(-(10**15), 10**15))
def test_micros_come_back_from_units_exactly(amount: int) -> None:
    assert to_micros(to_units(amount)) == amount


@pytest.mark.parametrize(
    ("amount", "micros"),
    [(12.5, 12_500_000), ("0.1", 100_000), (0.1, 100_000), (7, 7_000_000), (Decimal("-1.25"), -1_250_000)],
)
def test_an_amount_in_units_becomes_micros(amount: Decimal | float | str, micros: int) -> None:
    assert to_micros(amount) == micros


@pytest.mark.parametrize(("amount", "micros"), [("0.0000005", 0), ("0.0000015", 2), ("0.0000025", 2)])
def test_half_a_micro_goes_to_the_even_neighbour(amount: str, micros: int) -> None:
    assert to_micros(amount) == micros


@pytest.mark.parametrize("text", ["", "abc", "NaN", "Infinity", "1,5", "1e999999999", "1e400000", "-1e20"])
def test_what_is_no_amount_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        to_micros(text)


def test_the_greatest_amount_fits_a_64_bit_column() -> None:
    assert to_micros(10**12) < 2**63


def test_amounts_have_the_decimals_of_their_currency() -> None:
    assert decimal_places("SGD") == 2
    assert decimal_places("IDR") == 0
    assert decimal_places("KWD") == 3
    assert decimal_places("CLF") == 4


def test_decimals_are_those_that_the_world_knows_but_where_custom_has_others() -> None:
    """CLDR names the decimals that people use: none for some currencies whose coins nobody has any more."""
    other = {
        currency: places
        for currency, places in DECIMALS.items()
        if get_currency_precision(currency) != places
    }
    assert other == {"IDR": 0, "IQD": 3}


@pytest.mark.parametrize(("currency", "text"), [("KWD", "1,234.500"), ("USD", "1,234.50"), ("JPY", "1,234")])
def test_an_amount_is_written_with_the_decimals_of_its_currency(currency: str, text: str) -> None:
    assert amount_written(1_234_500_000 - (500_000 if currency == "JPY" else 0), currency) == text


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("25", 25), ("007", 7), (str(LARGEST), LARGEST)])
def test_digits_are_a_number(text: str, number: int) -> None:
    assert read_number(text) == number


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", " 1", "1.0", "²", "١", "x", str(LARGEST + 1), "9" * 20, "9" * 5_000]
)
def test_what_fits_no_column_or_is_no_number_is_none(text: str) -> None:
    assert read_number(text) is None
